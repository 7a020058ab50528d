# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role certbot refuses, with the path of the wrong value, and what it makes of its options."""

from __future__ import annotations

import pathlib

import pytest
import yaml
from ansible_collections.shipshape.stack.plugins.module_utils._certbot_model import (
    TARGETS,
    certificates,
    deployment,
    domain_problem,
    from_sites,
    plugins,
    problems,
)
from hypothesis import given
from hypothesis import strategies as st

SPECS = pathlib.Path(__file__).resolve().parents[4] / "roles/certbot/meta/argument_specs.yml"
OPTIONS = yaml.safe_load(SPECS.read_text(encoding="utf-8"))["argument_specs"]["main"]["options"]
DEFAULTS = {name.removeprefix("certbot_"): option["default"] for name, option in OPTIONS.items()}
PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"
SECRET = "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----"
SHOP = {"name": "shop", "domains": ["shop.example.org", "www.shop.example.org"]}
FILES = {**SHOP, "provider": "files", "certificate": PEM}
DNS = {**SHOP, "challenge": "dns", "dns_plugin": "cloudflare"}
TOKEN = {"dns_credentials": {"cloudflare": "dns_cloudflare_api_token = hunter2"}}


def options(*entries, **changed):
    return {**DEFAULTS, "agree_terms": True, "certificates": list(entries), **changed}


@pytest.mark.parametrize(
    "given_options",
    [
        DEFAULTS,
        options(SHOP),
        options({**SHOP, "challenge": "standalone", "key_type": "rsa", "profile": "shortlived"}),
        options({**SHOP, "challenge": None, "certificate": None}),
        options({"name": "old", "state": "absent"}, agree_terms=False),
        options({**SHOP, "provider": "self_signed"}, agree_terms=False),
        options(FILES, private_keys={"shop": SECRET}, agree_terms=False),
        options({**FILES, "certificate": "/etc/ssl/shop.pem"}, private_keys={"shop": "/etc/ssl/shop.key"}),
        options({**DNS, "domains": ["*.example.org", "example.org"]}, **TOKEN),
        options(DNS, challenge="dns", **TOKEN),
        options({**SHOP, "deploy": list(TARGETS), "commands": ["/bin/true 'a b'", ["/bin/true", "a b"]]}),
        options({**SHOP, "deploy": []}),
        options(SHOP, {**SHOP, "name": "second"}),
        options(SHOP, directory="staging", email="admin@example.org", ca_file="/etc/ssl/ca.pem"),
        options(SHOP, directory="https://ca.example.org:14000/dir", renew_before_days=20),
    ],
)
def test_good_options(given_options):
    assert problems(given_options) == []


@pytest.mark.parametrize(
    ("given_options", "message"),
    [
        (options(SHOP, agree_terms=False), "certbot_certificates[0]: certbot_agree_terms is false"),
        (options({"name": "shop"}), "certbot_certificates[0].domains is empty"),
        (
            options({**SHOP, "domains": "shop.example.org"}),
            "certbot_certificates[0].domains: 'shop.example.org' is not a",
        ),
        (options({**SHOP, "domains": ["shop"]}), "certbot_certificates[0].domains[0]: 'shop' is not the full name"),
        (options({**SHOP, "domains": ["a.org", "192.0.2.1"]}), "domains[1]: '192.0.2.1' is an address"),
        (options({**SHOP, "domains": ["a.org", "a.org"]}), "domains[1]: 'a.org' is there twice"),
        (options({**SHOP, "domains": ["Shop.example.org"]}), "has capital letters"),
        (options({**SHOP, "domains": ["müller.example"]}), "write it as xn--"),
        (options({**SHOP, "domains": ["*.example.org"]}), "is proven by challenge: dns alone"),
        (options({**SHOP, "domains": [f"h{n}.example.org" for n in range(101)]}), "domains has 101 names"),
        (options({**SHOP, "name": "../shop"}), "certbot_certificates[0].name: '../shop' is not a name"),
        (options({**SHOP, "name": "a..b"}), "'a..b' is not a name"),
        (options({**SHOP, "name": "--help"}), "'--help' is not a name"),
        (options(SHOP, SHOP), "certbot_certificates[1].name: 'shop' is certbot_certificates[0], too"),
        (options({**SHOP, "domain": "a.org"}), "certbot_certificates[0].domain is not known: write one of name"),
        (options("shop"), "certbot_certificates[0]: 'shop' is not a certificate"),
        (options({**SHOP, "provider": "acne"}), "certbot_certificates[0].provider: 'acne' is none of acme, files"),
        (options({**SHOP, "challenge": "http"}), "certbot_certificates[0].challenge: 'http' is none of webroot"),
        (options({**SHOP, "key_type": "dsa"}), "certbot_certificates[0].key_type: 'dsa' is none of"),
        (options({**SHOP, "state": "gone"}), "certbot_certificates[0].state: 'gone' is none of"),
        (options({**SHOP, "profile": "short lived"}), "certbot_certificates[0].profile: 'short lived' is not the name"),
        (options({**SHOP, "certificate": PEM}), "certbot_certificates[0].certificate: the provider acme makes one"),
        (options({**SHOP, "deploy": ["apache"]}), "certbot_certificates[0].deploy[0]: 'apache' is none of nginx"),
        (options({**SHOP, "commands": ["reload"]}), "commands[0]: 'reload' does not begin with the path of a program"),
        (options({**SHOP, "commands": ["/bin/a 'b"]}), "cannot be split into words"),
        (options({**DNS, "dns_plugin": "bind"}, **TOKEN), "certbot_certificates[0].dns_plugin: 'bind' is none of"),
        (options(DNS), "certbot_dns_credentials has nothing for cloudflare"),
        (options({**DNS, "dns_propagation_seconds": -1}, **TOKEN), "dns_propagation_seconds: -1 is not 0 to 3600"),
        (options(FILES), "certbot_private_keys.shop is missing"),
        (options(FILES, private_keys={"shop": "hunter2"}), "certbot_private_keys.shop is neither PEM text nor"),
        (
            options({**FILES, "certificate": f"{PEM}\n{SECRET}"}, private_keys={"shop": SECRET}),
            "certbot_certificates[0].certificate holds a private key, too",
        ),
        (options({**FILES, "certificate": ""}, private_keys={"shop": SECRET}), "[0].certificate is missing"),
        (options(SHOP, private_keys={"shpo": SECRET}), "certbot_private_keys: there is no certificate shpo"),
        (options(SHOP, private_keys=[SECRET]), "certbot_private_keys: write a name and a text"),
        (options(SHOP, dns_credentials={"cloudflare": {"token": "hunter2"}}), "certbot_dns_credentials: write a name"),
        (options(SHOP, dns_credentials={"bind": "hunter2"}), "certbot_dns_credentials: bind is none of"),
        (options(SHOP, directory="http://ca.example.org"), "certbot_directory: 'http://ca.example.org' is neither"),
        (options(SHOP, email="admin"), "certbot_email: 'admin' is not an address"),
        (options(SHOP, webroot="www"), "certbot_webroot: 'www' is not an absolute path"),
        (options(SHOP, webroot="/"), "certbot_webroot: '/' is not an absolute path"),
        (options(SHOP, ca_file="ca.pem"), "certbot_ca_file: 'ca.pem' is not an absolute path"),
        (options(SHOP, ca_file="/etc/a\nb"), "certbot_ca_file"),
        (options(SHOP, retry_seconds=0), "certbot_retry_seconds is 0: give 60 or more"),
        (options(SHOP, retry_max_seconds=1), "certbot_retry_max_seconds is 1"),
        (options(SHOP, renew_before_days=-1), "certbot_renew_before_days is -1"),
    ],
)
def test_bad_options(given_options, message):
    found = problems(given_options)
    assert any(message in each for each in found), found
    assert "hunter2" not in str(found)


def test_all_problems_are_told_at_once():
    found = problems(options({**SHOP, "name": "a b", "domains": ["shop", "x"]}, {"name": "b"}))
    assert len(found) == 4


@pytest.mark.parametrize(
    "name", ["a.b", "xn--mller-kva.example", "*.example.org", "_acme.example.org", "1.example.org"]
)
def test_names_of_hosts(name):
    assert domain_problem(name) == ""


@pytest.mark.parametrize(
    "name", ["", ".", "a", "*", "*.*.org", "a..org", "-a.org", "a.org\n", "a b.org", "a.org/x", "::1"]
)
def test_what_is_no_name_of_a_host(name):
    assert domain_problem(name)


@given(st.text(max_size=60))
def test_what_is_taken_for_a_domain_can_be_an_argument(text):
    if not domain_problem(text):
        assert text.isascii()
        assert not text.startswith("-")
        assert text == "".join(text.split())


def test_defaults_of_the_role_reach_each_certificate():
    entries = [SHOP, {**SHOP, "name": "b", "challenge": "standalone", "key_type": "ecdsa", "profile": "tlsserver"}]
    first, second = certificates(options(*entries, challenge="dns", key_type="rsa", profile="classic"))
    assert (first["challenge"], first["key_type"], first["profile"]) == ("dns", "rsa", "classic")
    assert (second["challenge"], second["key_type"], second["profile"]) == ("standalone", "ecdsa", "tlsserver")


def test_the_hook_knows_what_certbot_renews_and_nothing_else():
    entries = [
        {**SHOP, "deploy": ["nginx", "redis"], "commands": ["/bin/echo 'a b'"]},
        {**FILES, "name": "given"},
        {"name": "old", "state": "absent"},
        {**SHOP, "name": "own", "provider": "self_signed"},
    ]
    assert deployment(options(*entries)) == {
        "names": {"shop": {"targets": ["nginx", "redis"], "commands": [["/bin/echo", "a b"]]}}
    }


def test_plugins_in_use():
    entries = [DNS, {**DNS, "name": "b"}, {**SHOP, "name": "c", "dns_plugin": "google"}]
    assert plugins(options(*entries, **TOKEN)) == ["cloudflare"]


def test_what_the_sites_of_nginx_need():
    sites = [
        {"name": "shop", "server_names": ["a.org", "www.a.org"], "tls": {"certificate": "a"}},
        {"name": "admin", "server_names": ["admin.a.org", "a.org"], "tls": {"certificate": "a"}},
        {"name": "plain", "server_names": ["b.org"]},
        {"name": "other", "server_names": ["c.org"], "tls": {"certificate": "c", "policy": "modern"}},
    ]
    found = from_sites(sites)
    assert found == [
        {"name": "a", "domains": ["a.org", "www.a.org", "admin.a.org"]},
        {"name": "c", "domains": ["c.org"]},
    ]
    assert problems(options(*found)) == []
    assert from_sites([]) == []
