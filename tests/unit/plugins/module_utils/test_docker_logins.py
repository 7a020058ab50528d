# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which logins are made, and which are there already."""

from __future__ import annotations

import base64
import json

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils._docker_logins import HUB, LoginError, plan
from hypothesis import given
from hypothesis import strategies as st

SECRET = "correct-horse-battery"
IN = [{"registry": "r.example.org", "username": "deploy", "state": "present"}]
OUT = [{"registry": "r.example.org", "username": "deploy", "state": "absent"}]


def config(**entries):
    auths = {name: {"auth": base64.b64encode(text.encode()).decode()} for name, text in entries.items()}
    return json.dumps({"auths": auths})


HERE = config(**{"r.example.org": f"deploy:{SECRET}"})


@pytest.mark.parametrize(
    ("text", "logins", "wanted"),
    [
        ("", IN, [True]),
        ("{}", IN, [True]),
        (HERE, IN, []),
        (config(**{"r.example.org": "deploy:old"}), IN, [True]),
        (config(**{"r.example.org": f"other:{SECRET}"}), IN, [True]),
        (config(**{"other.example.org": f"deploy:{SECRET}"}), IN, [True]),
        (HERE, OUT, [False]),
        ("", OUT, []),
        (HERE, [], []),
    ],
)
def test_plan(text, logins, wanted):
    assert [step.login for step in plan(text, logins, {"r.example.org": SECRET})] == wanted


@pytest.mark.parametrize("name", ["docker.io", "index.docker.io"])
def test_docker_hub_has_another_name_in_the_file(name):
    logins = [{"registry": name, "username": "deploy"}]
    assert plan(config(**{HUB: f"deploy:{SECRET}"}), logins, {name: SECRET}) == []
    [step] = plan("", logins, {name: SECRET})
    assert step.argv("/root/.docker")[-1] == "--password-stdin"


def test_no_password_is_in_an_argument():
    [step] = plan("", IN, {"r.example.org": SECRET})
    argv = step.argv("/root/.docker")
    assert argv == [
        *("docker", "--config", "/root/.docker", "login", "--username", "deploy", "--password-stdin"),
        "r.example.org",
    ]


@pytest.mark.parametrize(
    ("text", "passwords", "reason"),
    [
        ("{broken", {"r.example.org": SECRET}, "not JSON"),
        ("[]", {"r.example.org": SECRET}, "not a configuration"),
        ('{"auths": []}', {"r.example.org": SECRET}, "not a configuration"),
        ('{"credsStore": "pass"}', {"r.example.org": SECRET}, "credsStore keeps the passwords elsewhere"),
        ("", {}, "r.example.org needs a user name and a password"),
    ],
)
def test_what_cannot_be_judged_is_refused(text, passwords, reason):
    with pytest.raises(LoginError, match=reason) as caught:
        plan(text, IN, passwords)
    assert SECRET not in str(caught.value)


@given(st.text(min_size=1), st.text(min_size=1).filter(lambda text: ":" not in text))
def test_a_second_plan_is_empty(password, user):
    logins = [{"registry": "r", "username": user}]
    try:
        stored = config(r=f"{user}:{password}")
    except UnicodeEncodeError:  # half a character: no text that anybody can type
        return
    assert len(plan("", logins, {"r": password})) == 1
    assert plan(stored, logins, {"r": password}) == []
