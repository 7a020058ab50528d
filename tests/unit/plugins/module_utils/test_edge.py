# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What follows from the hosts and sites of an inventory."""

from __future__ import annotations

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils._edge import edge_checks, upstream_servers
from ansible_collections.shipshape.stack.plugins.module_utils._health_plan import read_plan
from ansible_collections.shipshape.stack.plugins.module_utils._probe_registry import REGISTRY

SHOP = {
    "name": "shop",
    "server_names": ["shop.example.org", "www.shop.example.org"],
    "tls": {"certificate": "shop"},
    "locations": [{"path": "/", "type": "return", "code": 204}],
}
ADDRESSES = {"app1": ["198.51.100.7", "2001:db8::7"], "app2": ["2001:db8::8"], "app3": ["app3.example.org"]}


def test_a_host_is_called_by_its_first_address_and_itself_on_loopback():
    assert upstream_servers(["app1", "app2", "app3"], ADDRESSES, 8000, "app1") == [
        {"address": "127.0.0.1:8000"},
        {"address": "[2001:db8::8]:8000"},
        {"address": "app3.example.org:8000"},
    ]


def test_no_hosts_are_no_servers():
    assert upstream_servers([], ADDRESSES, 8000, "lb1") == []


def checks(*sites, certificates=(), directory="production", **options):
    found = edge_checks({"nginx_sites": list(sites), **options}, certificates, directory)
    if found:
        read_plan({"checks": found}, REGISTRY)  # health_check takes them
    return found


@pytest.mark.parametrize(
    ("directory", "provider", "reason"),
    [
        ("production", None, None),
        ("production", "acme", None),
        ("production", "files", None),
        ("staging", "files", None),
        ("staging", "acme", "issued by staging"),
        ("staging", None, "issued by staging"),
        ("https://ca.example.org/dir", None, "issued by https://ca.example.org/dir"),
        ("production", "self_signed", "self-signed"),
    ],
)
def test_a_chain_is_judged_where_the_host_has_to_trust_it(directory, provider, reason):
    certificates = [{"name": "shop", **({"provider": provider} if provider else {})}, "mistaken"]
    web, check = checks(SHOP, certificates=certificates, directory=directory)
    assert web == {"name": "nginx", "type": "http", "url": "http://127.0.0.1:8081/stub_status"}
    assert check.get("unverified") == reason
    assert (check["host"], check["port"], check["names"]) == ("127.0.0.1", 443, SHOP["server_names"])


def test_a_site_without_a_certificate_has_none_to_check():
    assert [each["name"] for each in checks({**SHOP, "tls": None})] == ["nginx"]


@pytest.mark.parametrize(
    "site", [{**SHOP, "name": ""}, {**SHOP, "tls": "mistaken"}, {"tls": {"certificate": "shop"}}, "mistaken"]
)
def test_of_what_the_role_refuses_there_is_nothing_to_check(site):
    assert checks(SHOP, site) == []


@pytest.mark.parametrize(
    ("listen", "host"),
    [
        (["*", "::"], "127.0.0.1"),
        (["::"], "::1"),
        (["203.0.113.7", "2001:db8::7"], "203.0.113.7"),
        (["*"], "127.0.0.1"),
    ],
)
def test_an_address_is_asked_that_is_listened_on(listen, host):
    assert checks(SHOP, nginx_addresses=listen)[1]["host"] == host


def test_they_ask_where_the_options_say():
    web, site = checks(
        {**SHOP, "ports": {"https": 8443}}, nginx_status={"listen": "127.0.0.1:9000"}, nginx_warnings="accept"
    )
    assert (web["url"], site["port"]) == ("http://127.0.0.1:9000/stub_status", 8443)
