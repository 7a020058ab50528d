# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Administrators: what is planned for them, and what is refused."""

from __future__ import annotations

import base64
import struct

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils._administrators import administrators, key_problem


def public_key(kind="ssh-ed25519", inside=None):
    """A key as ssh-keygen writes it: the type, and a blob that begins with it."""
    fields = [(inside or kind).encode(), bytes(32), *([b"ssh:"] if kind.startswith("sk-") or kind == "ssh-rsa" else [])]
    blob = b"".join(struct.pack(">I", len(field)) + field for field in fields)
    return f"{kind} {base64.b64encode(blob).decode()}"


KEY = public_key()
ALICE = {"name": "alice", "authorized_keys": [KEY + " alice@laptop"]}


@pytest.mark.parametrize(
    "key",
    [
        KEY,
        f"{KEY} alice@laptop",
        f'from="192.0.2.0/24",no-pty {KEY} with options',
        f'command="echo ssh-thing" {KEY}',
        public_key("ecdsa-sha2-nistp256"),
        public_key("sk-ssh-ed25519@openssh.com"),
        public_key("ssh-rsa"),
    ],
)
def test_public_keys(key):
    assert key_problem(key) == ""


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("", "empty"),
        (None, "empty"),
        ("https://example.com/alice.keys", "no public key"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nabc", "private key"),
        (f"{KEY}\n{KEY}", "several lines"),
        (public_key("ssh-dss"), "DSA"),
        ("ssh-ed25519 AAA", "damaged"),
        # As a key looks whose end was lost on the way, and as examples look.
        (KEY[:-8] + "AAAA", "damaged"),
        (KEY[: KEY.index("AAAA") + 40], "damaged"),
        ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEXAMPLEexampleEXAMPLEexampleEXAMPLEexam", "damaged"),
        ("ssh-ed25519 AAAAAAA=", "damaged"),
        (public_key("ssh-rsa", inside="ssh-ed25519"), "damaged"),
    ],
)
def test_what_is_no_public_key(key, reason):
    assert reason in key_problem(key)


def test_nobody_listed_nothing_to_do():
    assert administrators([], "admin") == {"present": [], "absent": [], "problems": []}


def test_plan():
    plan = administrators(
        [
            ALICE,
            {"name": "bob", "sudo": "password", "groups": ["adm"], "shell": "/bin/zsh"},
            {"name": "eve", "state": "absent"},
        ],
        "admin",
        with_password=["bob"],
    )
    assert plan["problems"] == []
    assert plan["absent"] == ["eve"]
    assert [admin["name"] for admin in plan["present"]] == ["alice", "bob"]
    assert plan["present"][0]["key"] == KEY + " alice@laptop"
    assert plan["present"][0]["rule"] == "alice ALL=(ALL:ALL) NOPASSWD: ALL"
    assert plan["present"][0]["groups"] == ["sudo"]
    assert plan["present"][1] == {
        "name": "bob",
        "shell": "/bin/zsh",
        "groups": ["adm"],
        "sudo": "password",
        "rule": "bob ALL=(ALL:ALL) ALL",
        "key": "",
    }


@pytest.mark.parametrize(
    ("admins", "options", "reason"),
    [
        pytest.param([{"name": "Al ice"}], {}, "no name for an account", id="name"),
        pytest.param([{"name": "a\nALL ALL"}], {}, "no name for an account", id="sudoers-injection"),
        pytest.param([{}], {}, "no name for an account", id="no-name"),
        pytest.param([{"name": "root"}], {}, "root is no administrator", id="root"),
        pytest.param([ALICE, ALICE], {}, "listed twice", id="twice"),
        pytest.param([ALICE, {"name": "alice", "state": "absent"}], {}, "listed twice", id="present-and-absent"),
        pytest.param([{"name": "bob", "authorized_keys": ["x"]}], {}, "key 1 of bob is no public key", id="key"),
        pytest.param([{**ALICE, "sudo": "password"}], {}, "no password", id="sudo-password-without-password"),
        pytest.param([ALICE], {"with_password": ["bob"]}, "bob is not among", id="hash-of-nobody"),
        pytest.param([{"name": "admin", "state": "absent"}], {}, "login of this run", id="login-removed"),
        pytest.param(
            [ALICE, {"name": "admin", "state": "absent"}], {}, "login of this run", id="login-removed-even-with-another"
        ),
        pytest.param([{"name": "admin", "state": "absent"}], {}, "no administrator with a key", id="nobody-left"),
        pytest.param(
            [{"name": "bob", "state": "absent"}],
            {"login_user": ""},
            "no administrator with a key",
            id="login-not-known",
        ),
        pytest.param([{"name": "admin"}], {"exclusive": True}, "would remove the ones", id="exclusive-no-key"),
        pytest.param(
            [{"name": "admin", "authorized_keys": [KEY], "sudo": "password"}],
            {"with_password": ["admin"]},
            "could not become root",
            id="sudo-path-of-this-run",
        ),
    ],
)
def test_refused(admins, options, reason):
    plan = administrators(admins, **{"login_user": "admin", **options})
    assert reason in "; ".join(plan["problems"])


@pytest.mark.parametrize(
    ("admins", "options"),
    [
        pytest.param([{"name": "bob", "state": "absent"}], {}, id="the-login-stays"),
        pytest.param([{"name": "bob"}], {}, id="an-account-without-key-takes-nobodys-way"),
        pytest.param([ALICE, {"name": "bob", "state": "absent"}], {"login_user": ""}, id="another-has-a-key"),
        pytest.param([{"name": "admin", "authorized_keys": [KEY]}], {"exclusive": True}, id="exclusive-with-key"),
        pytest.param(
            [{"name": "admin", "authorized_keys": [KEY], "sudo": "password"}],
            {"with_password": ["admin"], "become_password": True},
            id="sudo-password-known",
        ),
    ],
)
def test_allowed(admins, options):
    assert administrators(admins, **{"login_user": "admin", **options})["problems"] == []
