# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role fail2ban refuses, and what it makes of its options."""

from __future__ import annotations

import pathlib

import pytest
import yaml
from ansible_collections.shipshape.stack.plugins.module_utils._fail2ban import (
    filter_section,
    jail_sections,
    never_banned,
    problems,
    seconds,
)

SPECS = pathlib.Path(__file__).resolve().parents[4] / "roles/fail2ban/meta/argument_specs.yml"
OPTIONS = yaml.safe_load(SPECS.read_text(encoding="utf-8"))["argument_specs"]["main"]["options"]
DEFAULTS = {name: option["default"] for name, option in OPTIONS.items()}
SHOP = {"name": "shop", "failregex": ["^bad login from <HOST>$"], "journalmatch": "SYSLOG_IDENTIFIER=shop"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("600", 600),
        ("10m", 600),
        ("1h 30m", 5400),
        ("1d12h", 129600),
        ("1mo", 2592000),
        ("-1", -1),
        ("0", 0),
        ("soon", None),
        ("", None),
        ("10 minutes", None),
        ("-2", None),
        ("1h; reboot", None),
    ],
)
def test_seconds(text, expected):
    assert seconds(text) == expected


@pytest.mark.parametrize(
    ("networks", "controllers", "expected"),
    [
        ([], [], []),
        ([], [""], []),
        (["192.0.2.0/24"], ["192.0.2.7"], ["192.0.2.0/24"]),
        (["192.0.2.0/24"], ["198.51.100.7"], ["192.0.2.0/24", "198.51.100.7"]),
        (["192.0.2.0/24"], ["2001:db8::7"], ["192.0.2.0/24", "2001:db8::7"]),
        ([], ["fe80::1%eth0"], ["fe80::1"]),
        ([], ["127.0.0.1", "::1"], []),
        (["192.0.2.7", "192.0.2.7"], ["192.0.2.7"], ["192.0.2.7"]),
    ],
)
def test_never_banned(networks, controllers, expected):
    assert never_banned(networks, controllers) == ["127.0.0.0/8", "::1", *expected]


def test_the_defaults_are_taken():
    assert problems(DEFAULTS) == []


TAKEN = [
    {"jails": [{"name": "shop", "filter": "shop", "port": [80, "https", "8000:8010"]}], "filters": [SHOP]},
    {"jails": [{"name": "web", "filter": "nginx-http-auth", "service": "nginx", "port": 80, "bantime": "-1"}]},
    {"jails": [{"name": "web", "filter": "sshd[mode=ddos]", "logpath": ["/var/log/web.log"]}]},
    {"ignore_ips": ["10.0.0.0/8", "2001:db8::/32", "192.0.2.7/24"], "bantime": "-1"},
]


@pytest.mark.parametrize("options", TAKEN)
def test_taken(options):
    assert problems({**DEFAULTS, **{f"fail2ban_{name}": value for name, value in options.items()}}) == []


def jail(**keys):
    return {"jails": [{"name": "web", "filter": "nginx-http-auth", **keys}]}


REFUSED = [
    ({"bantime": "soon"}, "fail2ban_bantime: 'soon' is not a duration"),
    ({"findtime": "0"}, "fail2ban_findtime: '0' is not a duration"),
    ({"findtime": "-1"}, "fail2ban_findtime: '-1' is not a duration"),
    ({"bantime": "2w"}, "fail2ban_bantime_maxtime: 1w is less than"),
    ({"maxretry": 0}, "fail2ban_maxretry: 0 would ban at once"),
    ({"bantime_factor": 0}, "give more than 0"),
    ({"sshd_ports": []}, "fail2ban_sshd_ports is empty"),
    ({"sshd_ports": [22, 70000]}, "not a port (1-65535): 70000"),
    ({"ignore_ips": ["10.0.0.300"]}, "fail2ban_ignore_ips: '10.0.0.300' is not an address"),
    ({"ignore_ips": ["10.0.0.0/33"]}, "'10.0.0.0/33' is not an address"),
    ({"ignore_ips": ["host.example.com"]}, "is not an address"),
    ({"ignore_ips": ["::/0"]}, "::/0 leaves nobody to ban"),
    ({"ignore_ips": ["0.0.0.0/0"]}, "0.0.0.0/0 leaves nobody to ban"),
    ({"controller_addresses": ["me"]}, "fail2ban_controller_addresses: 'me' is not an address"),
    ({"banaction": "nft\nx"}, "is not an action"),
    ({"defaults": {"ignoreip": "::1"}}, "ignoreip has an option of its own"),
    ({"defaults": {"a b": "1"}}, "is not the name of a setting"),
    ({"defaults": {"usedns": "no\n[x]"}}, "has more than one line"),
    ({"rollback_seconds": 5}, "give 30 to 3600"),
    ({"jails": [{"name": "web"}]}, "fail2ban_jails: web has no filter"),
    ({"jails": [{"name": "a]\n[b", "filter": "sshd"}]}, "is not a name"),
    ({"jails": [{"name": "../x", "filter": "sshd"}]}, "is not a name"),
    ({"jails": [{"name": "x" * 26, "filter": "sshd"}]}, "is not a name"),
    ({"jails": [{"name": "sshd", "filter": "sshd"}]}, "the name sshd is taken"),
    ({"jails": [{"name": "DEFAULT", "filter": "sshd"}]}, "the name DEFAULT is taken"),
    ({"jails": [{"name": "a", "filter": "sshd"}] * 2}, "a is there twice"),
    ({"filters": [SHOP] * 2}, "fail2ban_filters: shop is there twice"),
    ({"filters": [{**SHOP, "name": "recidive"}]}, "the name recidive is taken"),
    ({"filters": [{"name": "shop"}]}, "shop has no failregex"),
    ({"filters": [{"name": "shop", "failregex": ["bad login"]}]}, "says nowhere whom to ban"),
    ({"filters": [{**SHOP, "failregex": ["<HOST>\nx = 1"]}]}, "has more than one line"),
    ({"filters": [{**SHOP, "settings": {"failregex": "x"}}]}, "has an option of its own"),
    (jail(filter="x; reboot"), "is not a name, such as"),
    (jail(port=70000), "fail2ban_jails: web: port: '70000' is not a port"),
    (jail(port="80;reboot"), "is not a port"),
    (jail(port="$(id)"), "is not a port"),
    (jail(port="http$(id)"), "is not the name of a service"),
    (jail(port=["http", 0]), "'0' is not a port"),
    (jail(bantime="soon"), "web: bantime: 'soon' is not a duration"),
    (jail(maxretry=0), "maxretry 0 would ban at once"),
    (jail(backend="polling"), "backend polling reads files: give logpath"),
    (jail(logpath=["access.log"]), "'access.log' is not absolute"),
    (jail(journalmatch="A=b\nenabled = false"), "has more than one line"),
    (jail(settings={"enabled": False}), "enabled has an option of its own"),
    (
        {"jails": [{"name": "a", "filter": "a"}], "filters": [{"name": "a", "failregex": ["<HOST>"]}]},
        "would read the whole journal",
    ),
]


@pytest.mark.parametrize(("options", "words"), REFUSED)
def test_refused(options, words):
    found = problems({**DEFAULTS, **{f"fail2ban_{name}": value for name, value in options.items()}})
    assert any(words in message for message in found), found
    assert len(found) == 1, found


def test_a_jail_only_where_its_service_is():
    jails = [{"name": "web", "filter": "nginx-http-auth", "service": "nginx"}]
    assert jail_sections(jails, [], ["ssh.service"]) == {}
    assert "web" in jail_sections(jails, [], ["nginx.service"])
    assert "web" in jail_sections([{**jails[0], "service": "nginx.timer"}], [], ["nginx.timer"])


def test_the_lines_of_a_jail():
    found = jail_sections(
        [
            {
                "name": "shop",
                "filter": "shop[x=1]",
                "port": [80, "https"],
                "logpath": ["/a", "/b"],
                "maxretry": 3,
                "settings": {"bantime.increment": False, "ignoreregex.x": ["a", "b"]},
            }
        ],
        [SHOP],
        [],
    )
    assert found == {
        "shop": {
            "enabled": ["true"],
            "filter": ["shipshape-shop[x=1]"],
            "backend": ["polling"],
            "port": ["80,https"],
            "logpath": ["/a", "/b"],
            "maxretry": ["3"],
            "bantime.increment": ["false"],
            "ignoreregex.x": ["a", "b"],
        }
    }


def test_the_lines_of_a_filter():
    assert filter_section({**SHOP, "settings": {"maxlines": 2}}) == {
        "failregex": ["^bad login from <HOST>$"],
        "journalmatch": ["SYSLOG_IDENTIFIER=shop"],
        "maxlines": ["2"],
    }
