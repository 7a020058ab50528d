# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pg_hba.conf: what is written, and what is refused."""

from __future__ import annotations

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils._postgresql_hba import (
    HbaError,
    hba_text,
    ident_text,
    line,
    problems,
)

LINES = [
    pytest.param({"type": "local"}, "local all all scram-sha-256", id="everything-by-default"),
    pytest.param(
        {"type": "local", "users": ["postgres"], "method": "peer", "options": {"map": "shipshape"}},
        "local all postgres peer map=shipshape",
        id="option",
    ),
    pytest.param(
        {"type": "hostssl", "databases": ["shop", "stock"], "users": ["shop"], "address": "10.0.0.0/24"},
        "hostssl shop,stock shop 10.0.0.0/24 scram-sha-256",
        id="lists",
    ),
    pytest.param({"type": "host", "address": "10.0.0.1"}, "host all all 10.0.0.1/32 scram-sha-256", id="one-address"),
    pytest.param({"type": "host", "address": "2001:db8::/64"}, "host all all 2001:db8::/64 scram-sha-256", id="ipv6"),
    pytest.param(
        {"type": "host", "address": "db.example.com", "method": "reject"},
        "host all all db.example.com reject",
        id="name",
    ),
    pytest.param(
        {"type": "host", "databases": ["my-db"], "users": ["Ann", "+staff"], "address": "samenet"},
        'host "my-db" "Ann",+staff samenet scram-sha-256',
        id="quoted-where-needed",
    ),
    pytest.param(
        {"type": "host", "address": "all", "method": "ldap", "options": {"ldapurl": "ldap://x/dc=a b"}},
        'host all all all ldap ldapurl="ldap://x/dc=a b"',
        id="option-with-a-space",
    ),
]
REFUSED = [
    pytest.param({}, "type None is none of local", id="no-type"),
    pytest.param({"type": "hosts", "address": "all"}, "type 'hosts' is none of", id="type"),
    pytest.param({"type": "host"}, "type host needs an address", id="no-address"),
    pytest.param({"type": "local", "address": "10.0.0.0/8"}, "type local has no address", id="local-with-address"),
    pytest.param({"type": "host", "address": "10.0.0.1/8"}, "host bits set", id="host-bits"),
    pytest.param({"type": "host", "address": "10.0.0"}, "Write a network such as", id="not-a-network"),
    pytest.param({"type": "host", "address": "a b"}, "no network and no host name", id="address-of-two-words"),
    pytest.param({"type": "host", "address": "all", "method": "trust"}, "lets everybody in", id="trust"),
    pytest.param({"type": "host", "address": "all", "method": "peer"}, "peer is for type local", id="peer"),
    pytest.param({"type": "host", "address": "all", "method": "password"}, "in the clear", id="password"),
    pytest.param({"type": "host", "address": "all", "method": "scram"}, "method 'scram' is none of", id="method"),
    pytest.param({"type": "local", "users": ['a"b']}, "has a quote", id="quote"),
    pytest.param({"type": "local", "users": ["a\nlocal all all trust"]}, "line break", id="line-break"),
    pytest.param({"type": "local", "users": []}, "may not be empty", id="nobody"),
    pytest.param({"type": "local", "options": {"map": "x\ny"}}, "cannot hold", id="option-with-a-line-break"),
    pytest.param({"type": "local", "options": {"a b": "x"}}, "cannot hold", id="option-of-two-words"),
]


@pytest.mark.parametrize(("rule", "text"), LINES)
def test_line(rule, text):
    assert line(rule).split() == text.split()
    assert problems([rule], "rules") == []


@pytest.mark.parametrize(("rule", "told"), REFUSED)
def test_refused(rule, told):
    with pytest.raises(HbaError, match=told):
        line(rule)
    assert [text[:10] for text in problems([{"type": "local"}, rule], "rules")] == ["rules[1]: "]


def test_the_whole_file_keeps_the_order():
    text = hba_text([{"type": "local"}, {"type": "host", "address": "all", "method": "reject"}], "# head")
    assert text.startswith("# head\n# TYPE")
    assert [row.split()[0] for row in text.splitlines()[2:]] == ["local", "host"]


def test_nobody_is_locked_out_of_the_socket():
    with pytest.raises(HbaError, match="no rule of type local"):
        hba_text([{"type": "host", "address": "all"}], "")


def test_ident():
    text = ident_text([{"map": "shipshape", "system_user": "root", "role": "postgres"}], "# head")
    assert text.splitlines()[-1] == "shipshape root postgres"
    with pytest.raises(HbaError, match="line break"):
        ident_text([{"map": "m", "system_user": "a\nb", "role": "c"}], "")
