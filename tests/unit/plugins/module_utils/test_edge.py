from __future__ import annotations

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils._edge import site_checks, upstream_servers
from ansible_collections.shipshape.stack.plugins.module_utils._health_plan import read_plan
from ansible_collections.shipshape.stack.plugins.module_utils._probe_registry import REGISTRY

SHOP = {"name": "shop", "server_names": ["shop.example.org", "www.shop.example.org"], "tls": {"certificate": "shop"}}
ADDRESSES = {"app1": ["198.51.100.7", "2001:db8::7"], "app2": ["2001:db8::8"], "app3": ["app3.example.org"]}


def test_a_host_is_called_by_its_first_address_and_itself_on_loopback():
    assert upstream_servers(["app1", "app2", "app3"], ADDRESSES, 8000, "app1") == [
        {"address": "127.0.0.1:8000"},
        {"address": "[2001:db8::8]:8000"},
        {"address": "app3.example.org:8000"},
    ]


def test_no_hosts_are_no_servers():
    assert upstream_servers([], ADDRESSES, 8000, "lb1") == []


@pytest.mark.parametrize(
    ("directory", "providers", "reason"),
    [
        ("production", {}, None),
        ("production", {"shop": "files"}, None),
        ("staging", {"shop": "files"}, None),
        ("staging", {}, "issued by staging"),
        ("https://ca.example.org/dir", {}, "issued by https://ca.example.org/dir"),
        ("production", {"shop": "self_signed"}, "self-signed"),
    ],
)
def test_a_chain_is_judged_where_the_host_has_to_trust_it(directory, providers, reason):
    (check,) = site_checks([SHOP], ["*", "::"], directory, providers)
    assert check.get("unverified") == reason
    assert (check["host"], check["names"]) == ("127.0.0.1", SHOP["server_names"])
    read_plan({"checks": [check]}, REGISTRY)  # health_check takes it


@pytest.mark.parametrize(
    "site",
    [
        {"name": "plain", "server_names": ["plain.example.org"]},
        {"name": "plain", "server_names": ["plain.example.org"], "tls": None},
        {"server_names": ["nameless.example.org"], "tls": {"certificate": "nameless"}},
        {"name": "mistaken", "server_names": ["mistaken.example.org"], "tls": "mistaken"},
        "mistaken",
    ],
)
def test_sites_without_a_certificate_and_mistaken_ones_have_none_to_check(site):
    assert site_checks([site], ["*"], "production", {}) == []


@pytest.mark.parametrize(
    ("listen", "host"),
    [
        (["::"], "::1"),
        (["*", "::"], "127.0.0.1"),
        (["203.0.113.7", "2001:db8::7"], "203.0.113.7"),
        (["::", "2001:db8::7"], "2001:db8::7"),
    ],
)
def test_an_address_is_asked_that_is_listened_on(listen, host):
    assert site_checks([SHOP], listen, "production", {})[0]["host"] == host


def test_a_site_on_another_port_is_asked_there():
    assert site_checks([{**SHOP, "ports": {"https": 8443}}], ["*"], "production", {})[0]["port"] == 8443
