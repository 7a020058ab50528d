# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role redis refuses, and what it makes of its options."""

from __future__ import annotations

import pathlib

import pytest
import yaml
from ansible_collections.shipshape.stack.plugins.module_utils._redis_options import (
    maxmemory_mb,
    passwords,
    problems,
    settings,
    users,
)
from hypothesis import given
from hypothesis import strategies as st

SPECS = pathlib.Path(__file__).resolve().parents[4] / "roles/redis/meta/argument_specs.yml"
OPTIONS = yaml.safe_load(SPECS.read_text(encoding="utf-8"))["argument_specs"]["main"]["options"]
DEFAULTS = {name: option["default"] for name, option in OPTIONS.items()}
SECRET = "correct-horse-battery"
SHOP = {"redis_users": [{"name": "shop", "rules": ["~shop:*", "+@all"]}], "redis_user_passwords": {"shop": SECRET}}
TLS = {"redis_tls": True, "redis_tls_certificate": "/etc/ssl/x.crt", "redis_tls_key": "/etc/ssl/x.key"}


def found(total_mb=16000, release="Debian-13", **changed):
    return problems({**DEFAULTS, **changed}, total_mb, release)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        SHOP,
        TLS,
        {"redis_tls": True, "redis_port": 0},
        {"redis_password": SECRET},
        {"redis_flavour": "valkey"},
        {"redis_bind_addresses": ["*", "-::*"]},
        {"redis_bind_addresses": ["192.0.2.7", "-2001:db8::7", "fe80::1%eth0"]},
        {"redis_users": [{"name": "a", "rules": ["(~x:* +get)", "~*"]}], "redis_user_passwords": {"a": SECRET}},
        {"redis_save": []},
        {"redis_save": [["900", "1"]]},
        {"redis_maxmemory": "2G"},
        {"redis_maxmemory": "512"},
        {"redis_memory_claims": [{"name": "postgresql", "memory": "4G"}]},
        {"redis_settings": {"databases": 4, "client-output-buffer-limit": ["normal 0 0 0", "pubsub 1mb 1mb 60"]}},
        {"redis_purpose": "queue"},
        {"redis_purpose": "cache", "redis_maxmemory_policy": "allkeys-lru"},
        {"redis_maxmemory_policy": "allkeys-lru"},
    ],
)
def test_good_options(changed):
    assert found(**changed) == []


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"redis_bind_addresses": []}, "redis_bind_addresses is empty"),
        ({"redis_bind_addresses": ["10.0.0.300"]}, "'10.0.0.300' is not an address"),
        ({"redis_bind_addresses": ["127.0.0.1\nprotected-mode no"]}, "is not an address"),
        ({"redis_port": 70000}, "redis_port: 70000 is not a port"),
        ({"redis_tls": True, "redis_tls_port": 6379}, "redis_tls_port: 6379 is redis_port, too"),
        ({"redis_tls_certificate": "/etc/ssl/x.crt"}, "belong together"),
        ({**TLS, "redis_tls_key": "x.key"}, "redis_tls_key: 'x.key' is not an absolute path"),
        ({**TLS, "redis_tls_key": "/root/x.key"}, "the service does not see /root/x.key"),
        ({**TLS, "redis_tls_client_certificates": "required"}, "say who signs them"),
        ({"redis_users": SHOP["redis_users"]}, "shop has no password"),
        ({"redis_user_passwords": {"shop": SECRET}}, "there is no user shop"),
        ({"redis_user_passwords": [SECRET]}, "redis_user_passwords: write the name"),
        ({"redis_user_passwords": {"shop": 12345678901234}}, "redis_user_passwords: write the name"),
        ({**SHOP, "redis_users": SHOP["redis_users"] * 2}, "shop is there twice"),
        ({"redis_users": [{"name": "shipshape", "rules": ["~*"]}]}, "'shipshape' is not a name"),
        ({"redis_users": [{"name": "a b", "rules": ["~*"]}]}, "'a b' is not a name"),
        ({**SHOP, "redis_users": [{"name": "shop", "rules": []}]}, "shop has no rules"),
        ({**SHOP, "redis_users": [{"name": "shop", "rules": ["~* +@all"]}]}, "'~* +@all' is not one rule"),
        ({**SHOP, "redis_users": [{"name": "shop", "rules": ["nopass"]}]}, "a rule sets a password"),
        ({**SHOP, "redis_user_passwords": {"shop": "short"}}, "the password of the user shop has less than 12"),
        ({"redis_password": "short"}, "the password of the user default has less than 12"),
        ({"redis_default_user_rules": ["~a ~b"]}, "redis_default_user_rules: '~a ~b' is not one rule"),
        ({"redis_save": [[900]]}, "[900] is not a pair"),
        ({"redis_save": [["soon", 1]]}, "is not a pair"),
        ({"redis_maxmemory": "lots"}, "redis_maxmemory: 'lots' is not a size"),
        ({"redis_maxmemory": "0"}, "0 is no limit"),
        ({"redis_maxmemory": "8G"}, "redis (twice: it saves from a copy) 16384 MiB"),
        ({"redis_memory_claims": [{"name": "postgresql", "memory": "15500M"}]}, "too much"),
        ({"redis_memory_reserved_mb": 15990}, "too much"),
        ({"total_mb": 0}, "the memory of the host is not known"),
        ({"redis_flavour": "valkey", "release": "Debian-12"}, "Debian 12 has no valkey"),
        ({"redis_purpose": "queue", "redis_maxmemory_policy": "allkeys-lru"}, "jobs of a queue would be lost"),
        ({"redis_purpose": "queue", "redis_settings": {"maxmemory-policy": "volatile-lru"}}, "jobs of a queue"),
        ({"redis_settings": {"requirepass": SECRET}}, "requirepass has no place there: use redis_users"),
        ({"redis_settings": {"tls-key-file-pass": SECRET}}, "tls-key-file-pass has no place there"),
        ({"redis_settings": {"replicaof": "a 1"}}, "this role sets up single servers"),
        ({"redis_settings": {"maxmemory": "64gb"}}, "maxmemory has no place there"),
        ({"redis_settings": {"AppendOnly": True}}, "appendonly has no place there"),
        ({"redis_settings": {"include": "/x"}}, "include has no place there"),
        ({"redis_settings": {"hz 10\nport": 1}}, "is not the name of a directive"),
        ({"redis_settings": {"hz": "10\nport 1"}}, "hz has more than one line"),
        ({"redis_persist_seconds": 0}, "redis_persist_seconds is 0"),
    ],
)
def test_bad_options(changed, words):
    assert any(words in problem for problem in found(**changed)), found(**changed)


@given(
    rule=st.sampled_from(["nopass", "resetpass", "reset", "on", "off"]).flatmap(
        lambda word: st.tuples(*(st.sampled_from([sign, sign.upper()]) for sign in word)).map("".join)
    )
)
def test_a_rule_about_passwords_is_refused_however_it_is_written(rule):
    for changed in (
        {**SHOP, "redis_users": [{"name": "shop", "rules": [rule]}]},
        {"redis_default_user_rules": [rule]},
    ):
        assert any("a rule sets a password" in problem for problem in found(**changed)), rule


@pytest.mark.parametrize(
    "changed",
    [
        {"redis_user_passwords": [SECRET]},
        {"redis_user_passwords": {"shop": SECRET}},
        {"redis_user_passwords": SECRET},
        {**SHOP, "redis_users": [{"name": "shop", "rules": [f">{SECRET}"]}]},
        {**SHOP, "redis_users": [{"name": "shop", "rules": [f"#{SECRET}"]}]},
        {"redis_settings": {"requirepass": SECRET}},
        {"redis_settings": {"hz": f"{SECRET}\n"}},
    ],
)
def test_no_problem_repeats_a_secret(changed):
    assert found(**changed)
    assert SECRET not in "".join(found(**changed))


def test_everything_that_is_wrong_is_said_at_once():
    assert len(found(redis_port=-1, redis_save=[[1]], redis_maxmemory="x", redis_bind_addresses=[])) == 4


@given(total=st.integers(2048, 262144), other=st.integers(0, 1024), append=st.booleans())
def test_the_computed_memory_always_fits(total, other, append):
    options = {**DEFAULTS, "redis_memory_claims": [{"name": "x", "memory": other}], "redis_appendonly": append}
    assert problems(options, total, "Debian-13") == []
    size = maxmemory_mb(options, total)
    assert 0 < size * 2 <= total - other - 512
    assert size > (total - other - 512) / 4 - 64


def test_settings():
    found = settings({**DEFAULTS, "redis_settings": {"appendfsync": "always"}}, 8704, "/etc/redis")
    assert found == {
        "port": 6379, "bind": "127.0.0.1 -::1", "protected-mode": True, "maxmemory": "2048mb",
        "maxmemory-policy": "noeviction", "save": "900 1 300 10 60 10000", "appendonly": True,
        "appendfsync": "always", "tls-port": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "key", "value"),
    [
        ({}, "tls-cert-file", "/etc/redis/shipshape.crt"),
        ({}, "tls-ca-cert-file", "/etc/redis/shipshape.crt"),
        ({}, "tls-protocols", '"TLSv1.2 TLSv1.3"'),
        ({}, "tls-auth-clients", "no"),
        (TLS, "tls-key-file", "/etc/ssl/x.key"),
        (TLS, "tls-ca-cert-file", "/etc/ssl/x.crt"),
        ({**TLS, "redis_tls_ca_certificate": "/etc/ssl/ca.crt"}, "tls-ca-cert-file", "/etc/ssl/ca.crt"),
        ({"redis_tls_client_certificates": "required"}, "tls-auth-clients", "yes"),
        ({"redis_tls_min": "TLSv1.3"}, "tls-protocols", '"TLSv1.3"'),
        ({"redis_tls_port": 7000}, "tls-port", 7000),
    ],
)
def test_tls(changed, key, value):
    assert settings({**DEFAULTS, "redis_tls": True, **changed}, 16000, "/etc/redis")[key] == value


def test_users_and_passwords():
    options = {**DEFAULTS, **SHOP}
    assert users(options) == SHOP["redis_users"]
    assert passwords(options) == {"shop": SECRET}
    options["redis_password"] = "another-long-one"
    assert [user["name"] for user in users(options)] == ["default", "shop"]
    assert passwords(options) == {"shop": SECRET, "default": "another-long-one"}
