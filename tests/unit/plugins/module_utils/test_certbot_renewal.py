# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""certbot's renewal configuration, changed in place."""

from __future__ import annotations

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils._certbot_renewal import (
    DAY,
    lifetime_before,
    parse,
    set_map,
    set_values,
    wanted,
)
from hypothesis import given
from hypothesis import strategies as st

# As certbot 2.1 writes it.
TEXT = """\
# renew_before_expiry = 30 days
version = 2.1.0
archive_dir = /etc/letsencrypt/archive/shop
cert = /etc/letsencrypt/live/shop/cert.pem
privkey = /etc/letsencrypt/live/shop/privkey.pem
chain = /etc/letsencrypt/live/shop/chain.pem
fullchain = /etc/letsencrypt/live/shop/fullchain.pem

# Options used in the renewal process
[renewalparams]
account = 0123456789abcdef
authenticator = webroot
webroot_path = /var/www/acme,
server = https://127.0.0.1:14000/dir
key_type = ecdsa
renew_hook = /etc/letsencrypt/renewal-hooks/deploy/50-shipshape
[[webroot_map]]
shop.example.org = /var/www/acme
"""
AS_IT_IS = {"authenticator": "webroot", "key_type": "ecdsa", "webroot_path": "/var/www/acme,"}
MAP = {"shop.example.org": "/var/www/acme"}


def test_what_stands_in_it():
    found = parse(TEXT)
    assert found[""]["fullchain"] == "/etc/letsencrypt/live/shop/fullchain.pem"
    assert "renew_before_expiry" not in found[""]
    assert found["renewalparams"]["server"] == "https://127.0.0.1:14000/dir"
    assert found["webroot_map"] == MAP
    assert parse('a = "b c"\n')[""] == {"a": "b c"}
    assert parse("") == {"": {}}


def test_nothing_changes_where_it_is_as_it_should_be():
    assert wanted(TEXT, AS_IT_IS, MAP, "") == TEXT


@pytest.mark.parametrize(
    ("parameters", "webroots", "before", "check"),
    [
        (AS_IT_IS, MAP, "3 days", lambda found: found[""]["renew_before_expiry"] == "3 days"),
        ({**AS_IT_IS, "key_type": "rsa"}, MAP, "", lambda found: found["renewalparams"]["key_type"] == "rsa"),
        ({"authenticator": "standalone", "webroot_path": None}, {}, "", lambda found: "webroot_map" not in found),
        ({"preferred_profile": "shortlived"}, MAP, "", lambda found: found["webroot_map"] == MAP),
        ({"renew_hook": None}, MAP, None, lambda found: "renew_hook" not in found["renewalparams"]),
        (AS_IT_IS, {"a.org": "/srv"}, "", lambda found: found["webroot_map"] == {"a.org": "/srv"}),
    ],
)
def test_a_change_is_made_once_and_leaves_the_rest(parameters, webroots, before, check):
    new = wanted(TEXT, parameters, webroots, before)
    assert new != TEXT
    assert check(parse(new))
    assert wanted(new, parameters, webroots, before) == new
    left = parse(new)["renewalparams"]
    assert (left["account"], left["server"]) == ("0123456789abcdef", "https://127.0.0.1:14000/dir")
    assert parse(new)[""]["version"] == "2.1.0"


def test_a_change_and_back_is_the_same_configuration():
    new = wanted(TEXT, {"authenticator": "standalone", "webroot_path": None}, {}, "3 days")
    assert parse(wanted(new, AS_IT_IS, MAP, "")) == parse(TEXT)


KEYS = st.sampled_from(["authenticator", "key_type", "server", "new_one", "webroot_path"])
VALUES = st.none() | st.text("abcdefghij0123456789/:.-_", min_size=1, max_size=20)


@given(st.dictionaries(KEYS, VALUES), st.dictionaries(st.sampled_from(["a.org", "b.org"]), st.just("/srv")))
def test_whatever_is_set_is_read_again(values, webroots):
    new = set_map(set_values(TEXT, "renewalparams", values), webroots)
    found = parse(new)
    assert all(found["renewalparams"].get(key) == value for key, value in values.items())
    assert found.get("webroot_map", {}) == webroots
    assert found[""] == parse(TEXT)[""]


def test_a_section_that_is_missing():
    assert parse(set_values("version = 1\n", "renewalparams", {"server": "x"}))["renewalparams"] == {"server": "x"}


@pytest.mark.parametrize(
    ("days", "given_days", "text"),
    [
        (90, 0, ""),
        (60, 0, ""),
        (45, 0, "15 days"),
        (10, 0, "3 days"),
        (9, 0, "4 days"),
        (6, 0, "3 days"),
        (1, 0, "12 hours"),
        (0.01, 0, "1 hours"),
        (90, 20, "20 days"),
        (6, 20, "3 days"),
    ],
)
def test_when_to_renew(days, given_days, text):
    assert lifetime_before(days * DAY, given_days) == text


@given(st.floats(0.1, 400), st.integers(0, 100))
def test_a_new_certificate_is_never_due(days, given_days):
    text = lifetime_before(days * DAY, given_days)
    if text:
        count, unit = text.split()
        assert int(count) * {"days": 1.0, "hours": 1 / 24}[unit] < days
