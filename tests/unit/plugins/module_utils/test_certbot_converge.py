# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What counts as a failure of a name, and what is no more than a file or a moment. certbot is a script here."""

from __future__ import annotations

import json

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils import _certbot_host as host
from ansible_collections.shipshape.stack.plugins.module_utils._certbot_converge import Work
from ansible_collections.shipshape.stack.plugins.module_utils._certificate_deploy import World

BUSY = "Another instance of Certbot is already running."
REFUSED = "Domain: a.org\n  Type: dns\n  Detail: no such name"
OPTIONS = {
    "certificates": [{"name": "shop", "domains": ["a.org"], "deploy": []}],
    "challenge": "standalone", "key_type": "ecdsa", "profile": "", "directory": "staging", "ca_file": "",
    "retry_seconds": 3600, "retry_max_seconds": 86400, "renew_before_days": 0, "ignore_backoff": False, "email": "",
    "hook": "/hook", "webroot": "/var/www/acme",
}  # fmt: skip


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(host, "ETC", str(tmp_path / "etc"))
    monkeypatch.setattr(host, "BUSY_SECONDS", 0)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    file = tmp_path / "state/attempts.json"
    file.parent.mkdir()

    def call(says):
        script = tmp_path / "certbot"
        script.write_text(f"#!/bin/sh\ncat <<'END'\n{says}\nEND\nexit 1\n")
        script.chmod(0o755)
        work = Work(OPTIONS, False, World(nginx_root=str(tmp_path / "tls"), state=str(file.parent)))
        work.acme(work.certs[0])
        return work.report

    call.file = file
    return call


def failures(file):
    return {name: entry["failures"] for name, entry in json.loads(file.read_text()).items()}


def test_only_what_the_authority_refuses_counts(run):
    busy = run(BUSY)
    assert "shop: another certbot runs" in busy.failed["shop"]
    assert busy.issued == []
    assert not run.file.exists()
    assert "a.org: no such name (dns); failed 1 times in a row" in run(REFUSED).failed["shop"]
    assert failures(run.file) == {"shop": 1}
    assert "no such name" in run(REFUSED).waiting["shop"]
    assert failures(run.file) == {"shop": 1}


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\xff"])
def test_a_broken_file_is_empty_and_said(run, text):
    run.file.write_bytes(text.encode("latin-1"))
    report = run(REFUSED)
    assert f"{run.file} is broken and taken for empty" in report.warnings[0]
    assert failures(run.file) == {"shop": 1}
    assert run(REFUSED).warnings == []


def test_a_file_of_another_version_still_holds_back(run):
    run(REFUSED)
    known = json.loads(run.file.read_text())
    known["shop"]["since"] = 1
    run.file.write_text(json.dumps({**known, "other": 7}))
    report = run(REFUSED)
    assert report.warnings == []
    assert "no such name" in report.waiting["shop"]


def test_an_empty_one_is_not_broken(run):
    run.file.write_text("{}")
    assert run(BUSY).warnings == []
