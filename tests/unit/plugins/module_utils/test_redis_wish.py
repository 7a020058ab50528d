# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wanted of a Redis server."""

from __future__ import annotations

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils._redis_plan import Flavour
from ansible_collections.shipshape.stack.plugins.module_utils._redis_wish import Wish, certificate_missing, with_manager

TLS = {"tls-port": 6380, "tls-cert-file": "a.crt", "tls-key-file": "a.key", "tls-ca-cert-file": "ca.crt"}


@pytest.mark.parametrize(
    ("settings", "there", "missing"),
    [
        (TLS, ("a.crt", "a.key", "ca.crt"), False),
        (TLS, ("a.crt", "a.key"), True),
        (TLS, ("a.crt", "ca.crt"), True),
        (TLS, ("a.key", "ca.crt"), True),
        ({**TLS, "tls-cert-file": '"a.crt"'}, ("a.crt", "a.key", "ca.crt"), False),
        ({**TLS, "tls-port": 0}, (), False),
        ({}, (), False),
    ],
)
def test_a_file_of_tls_that_is_missing(tmp_path, monkeypatch, settings, there, missing):
    monkeypatch.chdir(tmp_path)
    for name in there:
        (tmp_path / name).touch()
    assert certificate_missing(Wish(Flavour("redis"), settings, [], {})) is missing


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("user shipshape on #old ~*\nuser default off\nuser shop on\n", "user default off\nuser shop on\n"),
        ("user default off\nuser shipshape on #old ~*", "user default off\n"),
        ("user shipshape2 on\nuser shop on #a\n", "user shipshape2 on\nuser shop on #a\n"),
        ("", ""),
    ],
)
def test_the_manager_of_a_file_of_users_is_renewed(old, new):
    manager = "user shipshape on #new ~* &* +@all\n"
    found = with_manager(old, f"{manager}user default off\nuser other on\n")
    assert found == manager + new
    assert with_manager(found, manager) == found
