"""One rule: ufw's own lines as recorded from Debian 12 and 13 (both have 0.36.2), and what a playbook asks for."""

from __future__ import annotations

import pathlib
from dataclasses import fields, replace

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils._ufw_options import RULE_SPEC
from ansible_collections.shipshape.stack.plugins.module_utils._ufw_rules import (
    ANYWHERE,
    MARK,
    Rule,
    RuleError,
    desired,
    from_tuple,
    parse_rules,
    to_tuple,
)
from hypothesis import given, settings
from hypothesis import strategies as st

FIXTURES = pathlib.Path(__file__).resolve().parent.parent / "fixtures"
RECORDED = {v6: (FIXTURES / f"ufw_user{'6' if v6 else ''}.rules").read_text(encoding="utf-8") for v6 in (False, True)}
LINES = [(line, v6) for v6, text in RECORDED.items() for line in text.splitlines() if line.startswith(MARK)]
APPS = {"OpenSSH": [("22", "tcp")], "Two Words": [("8080,8081", "tcp"), ("5353", "udp"), ("9999", "any")]}


# --- ufw's own text ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("line", "v6"), [pytest.param(*each, id=each[0][len(MARK) :]) for each in LINES])
def test_recorded_lines_come_back_as_they_were(line, v6):
    rule = from_tuple(line, v6)
    assert to_tuple(rule) == line
    assert rule.v6 == v6


def test_recorded_files():
    four, six = (parse_rules(RECORDED[v6], v6) for v6 in (False, True))
    assert (len(four), len(six)) == (35, 21)
    assert [str(rule) for rule in four[:3]] == [
        'deny in from 192.0.2.66 to any # it#s "quoted"',
        "limit in proto tcp from any to any port 22 # shipshape: ssh",
        "allow in proto tcp from 192.0.2.0/24 to any port 80,443",
    ]
    assert len({rule.key for rule in four + six}) == len(four + six)
    assert not parse_rules("", False)
    assert not parse_rules("*filter\n:ufw-user-input - [0:0]\n### RULES ###\nCOMMIT\n", False)


PARSED = [
    pytest.param(
        "allow tcp 22 0.0.0.0/0 any 192.0.2.0/24 in",
        Rule("allow", "tcp", "22", src="192.0.2.0/24"),
        "allow in proto tcp from 192.0.2.0/24 to any port 22",
        id="plain",
    ),
    pytest.param(
        "deny any any 0.0.0.0/0 any 0.0.0.0/0 out",
        Rule("deny", direction="out"),
        "deny out from any to any",
        id="out",
    ),
    pytest.param(
        "reject_log-all udp 53 192.0.2.1 1024:65535 0.0.0.0/0 in_eth0",
        Rule("reject", "udp", "53", "192.0.2.1", "1024:65535", interface_in="eth0", log="log-all"),
        "reject in on eth0 log-all proto udp from any port 1024:65535 to 192.0.2.1 port 53",
        id="interface-log-all-and-source-port",
    ),
    pytest.param(
        "allow any any 0.0.0.0/0 any 0.0.0.0/0 out_my_if",
        Rule("allow", direction="out", interface_out="my_if"),
        "allow out on my_if from any to any",
        id="underscore-in-an-interface",
    ),
    pytest.param(
        "route:allow_log any any 10.1.0.0/16 any 0.0.0.0/0 in_eth0!out_eth1",
        Rule("allow", dst="10.1.0.0/16", forward=True, interface_in="eth0", interface_out="eth1", log="log"),
        "route allow in on eth0 out on eth1 log from any to 10.1.0.0/16",
        id="route-with-two-interfaces",
    ),
    pytest.param(
        "route:deny any any 0.0.0.0/0 any 0.0.0.0/0 out_eth1",
        Rule("deny", direction="out", forward=True, interface_out="eth1"),
        "route deny out on eth1 from any to any",
        id="route-out",
    ),
    pytest.param(
        "allow tcp 8080,8081 0.0.0.0/0 any 0.0.0.0/0 Two%20Words - in",
        Rule("allow", "tcp", "8080,8081", dapp="Two Words"),
        "allow in proto tcp from any to any app Two Words",
        id="profile-with-a-space",
    ),
    pytest.param(
        "allow tcp 22 0.0.0.0/0 8080 0.0.0.0/0 OpenSSH Two%20Words in_eth0 comment=736869707368617065",
        Rule(
            "allow",
            "tcp",
            "22",
            sport="8080",
            dapp="OpenSSH",
            sapp="Two Words",
            interface_in="eth0",
            comment="shipshape",
        ),
        "allow in on eth0 proto tcp from any app Two Words to any app OpenSSH # shipshape",
        id="nine-words",
    ),
    pytest.param(
        "allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in comment=5072c3bc66756e672066c3bc7220c39c6d6c61757465",
        Rule("allow", "tcp", "22", comment="Prüfung für Ümlaute"),
        "allow in proto tcp from any to any port 22 # Prüfung für Ümlaute",
        id="umlauts",
    ),
]


@pytest.mark.parametrize(("line", "rule", "text"), PARSED)
def test_tuple(line, rule, text):
    assert from_tuple(MARK + line, False) == rule
    assert to_tuple(rule) == MARK + line
    assert str(rule) == text


@pytest.mark.parametrize(
    ("legacy", "now"),
    [
        pytest.param("allow tcp 22 0.0.0.0/0 any 0.0.0.0/0", "allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in", id="six"),
        pytest.param(
            "allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 Two%20Words -",
            "allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 Two%20Words - in",
            id="eight",
        ),
        pytest.param(
            "allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 comment=41",
            "allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in comment=41",
            id="six-and-a-comment",
        ),
    ],
)
def test_lines_of_old_versions_have_no_direction(legacy, now):
    rule = from_tuple(MARK + legacy, False)
    assert to_tuple(rule) == MARK + now
    assert from_tuple(MARK + now, False) == rule


@pytest.mark.parametrize(
    ("line", "message"),
    [
        pytest.param("", "has 0 words", id="empty"),
        pytest.param("allow tcp 22 0.0.0.0/0 any", "has 5 words", id="too-short"),
        pytest.param("allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 a b in more", "has 10 words", id="too-long"),
        pytest.param("allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in comment=zz", "damaged comment", id="not-hexadecimal"),
        pytest.param("allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in comment=4", "damaged comment", id="half-a-byte"),
    ],
)
def test_a_damaged_line_is_named(line, message):
    with pytest.raises(RuleError, match=message) as failed:
        parse_rules(f"*filter\n{MARK}{line}\n", False)
    assert line in str(failed.value)


PORTS = st.integers(1, 65535).map(str) | st.sampled_from(["any", "80,443", "6000:6007", "1,2:3,4"])
INTERFACES = st.sampled_from(["", "eth0", "br-+", "wg_0", "a.1", "e@x"])
NAMES = st.sampled_from(["", "WWW Full", "OpenSSH", "a b c"])


@st.composite
def valid_rules(draw):
    v6, forward = draw(st.booleans()), draw(st.booleans())
    inward, outward = draw(INTERFACES), draw(INTERFACES)
    if not forward and inward:
        outward = ""
    networks = st.ip_addresses(v=6 if v6 else 4).map(str) | st.just(ANYWHERE[v6])
    free = forward and not inward and not outward
    return Rule(
        action=draw(st.sampled_from(["allow", "deny", "reject", "limit"])),
        proto=draw(st.sampled_from(["any", "tcp", "udp", "esp"])),
        dport=draw(PORTS),
        dst=draw(networks),
        sport=draw(PORTS),
        src=draw(networks),
        direction="in" if inward or free else ("out" if outward else draw(st.sampled_from(["in", "out"]))),
        forward=forward,
        interface_in=inward,
        interface_out=outward,
        log=draw(st.sampled_from(["", "log", "log-all"])),
        comment=draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=20)),
        dapp=draw(NAMES),
        sapp=draw(NAMES),
        v6=v6,
    )


@settings(deadline=None, max_examples=50)
@given(valid_rules())
def test_every_rule_survives_its_line(rule):
    assert from_tuple(to_tuple(rule), rule.v6) == rule
    assert "\n" not in to_tuple(rule)


@settings(deadline=None, max_examples=20)
@given(st.lists(valid_rules(), max_size=3))
def test_every_file_keeps_its_order(rules):
    rules = [replace(rule, v6=False) for rule in rules]
    text = "".join(f"{to_tuple(rule)}\n-A ufw-user-input -j ACCEPT\n\n" for rule in rules)
    assert parse_rules(text, False) == rules


@pytest.mark.parametrize(
    ("comment", "own"),
    [
        ("shipshape", True),
        ("shipshape: web", True),
        ("", False),
        ("shipshapely", False),
        ("Shipshape: web", False),
        ("web shipshape", False),
    ],
)
def test_own_is_told_by_the_comment(comment, own):
    assert Rule("allow", comment=comment).own is own


def test_key_is_all_but_what_is_done():
    rule = Rule("allow", "tcp", "22")
    other = {"forward": True, "v6": True}
    for name in (field.name for field in fields(Rule)):
        changed = replace(rule, **{name: other.get(name, "x")})
        assert (changed.key == rule.key) == (name in ("action", "log", "comment")), name


# --- what a playbook asks for -----------------------------------------------------------------------------------------


def entry(**changes):
    """As the module hands it over: every option is there."""
    return {**{name: option.get("default") for name, option in RULE_SPEC.items()}, **changes}


def lines(found):
    return [to_tuple(rule)[len(MARK) :].removesuffix(" comment=736869707368617065") for rule in found]


ANY4, ANY6 = "0.0.0.0/0 any 0.0.0.0/0", "::/0 any ::/0"
GOOD = [
    pytest.param({}, [f"allow any any {ANY4} in", f"allow any any {ANY6} in"], id="nothing-given"),
    pytest.param({"rule": "limit", "family": "ipv4"}, [f"limit any any {ANY4} in"], id="rule"),
    pytest.param({"direction": "out", "family": "ipv6"}, [f"allow any any {ANY6} out"], id="direction"),
    pytest.param({"route": True, "family": "ipv4"}, [f"route:allow any any {ANY4} in"], id="route"),
    pytest.param({"to_port": "22"}, [f"allow any 22 {ANY4} in", f"allow any 22 {ANY6} in"], id="one-port-any-proto"),
    pytest.param({"to_port": 22, "family": "ipv4"}, [f"allow any 22 {ANY4} in"], id="port-as-a-number"),
    pytest.param({"to_port": "any", "family": "ipv4"}, [f"allow any any {ANY4} in"], id="port-any"),
    pytest.param({"to_port": "022", "family": "ipv4"}, [f"allow any 22 {ANY4} in"], id="port-with-a-zero"),
    pytest.param({"to_port": "1", "family": "ipv4"}, [f"allow any 1 {ANY4} in"], id="lowest-port"),
    pytest.param({"to_port": "65535", "family": "ipv4"}, [f"allow any 65535 {ANY4} in"], id="highest-port"),
    pytest.param(
        {"proto": "tcp", "to_port": "443, 80,443", "family": "ipv4"},
        [f"allow tcp 80,443 {ANY4} in"],
        id="ports-are-sorted-as-ufw-does",
    ),
    pytest.param(
        {"proto": "udp", "to_port": "3000,1000:1010,900", "family": "ipv4"},
        [f"allow udp 900,1000:1010,3000 {ANY4} in"],
        id="range",
    ),
    pytest.param(
        {"proto": "tcp", "to_port": "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15", "family": "ipv4"},
        [f"allow tcp 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15 {ANY4} in"],
        id="fifteen-ports",
    ),
    pytest.param(
        {"proto": "udp", "from_port": "67", "to_port": "68", "family": "ipv4"},
        ["allow udp 68 0.0.0.0/0 67 0.0.0.0/0 in"],
        id="source-port",
    ),
    pytest.param({"proto": "esp", "family": "ipv4"}, [f"allow esp any {ANY4} in"], id="proto-without-ports"),
    pytest.param({"proto": "ah"}, [f"allow ah any {ANY4} in", f"allow ah any {ANY6} in"], id="proto-of-both-families"),
    pytest.param({"proto": "igmp"}, [f"allow igmp any {ANY4} in"], id="proto-of-ipv4"),
    pytest.param({"proto": "ipv6"}, [f"allow ipv6 any {ANY4} in"], id="proto-ipv6-is-a-tunnel-in-ipv4"),
    pytest.param(
        {"from_ip": ["192.0.2.7", "2001:db8::7"]},
        ["allow any any 0.0.0.0/0 any 192.0.2.7 in", "allow any any ::/0 any 2001:db8::7 in"],
        id="addresses-of-both-families",
    ),
    pytest.param({"from_ip": ["any"], "family": "ipv4"}, [f"allow any any {ANY4} in"], id="any"),
    pytest.param({"from_ip": [], "family": "ipv4"}, [f"allow any any {ANY4} in"], id="no-address"),
    pytest.param(
        {"from_ip": ["192.0.2.77/24"]}, ["allow any any 0.0.0.0/0 any 192.0.2.0/24 in"], id="host-bits-of-ipv4"
    ),
    pytest.param(
        {"from_ip": ["2001:DB8::BAD/64"]}, ["allow any any ::/0 any 2001:db8::/64 in"], id="host-bits-and-upper-case"
    ),
    pytest.param({"to_ip": ["192.0.2.7/32"]}, ["allow any any 192.0.2.7 any 0.0.0.0/0 in"], id="host-mask-of-ipv4"),
    pytest.param({"to_ip": ["2001:db8::7/128"]}, ["allow any any 2001:db8::7 any ::/0 in"], id="host-mask-of-ipv6"),
    pytest.param(
        {"to_ip": ["192.0.2.0/255.255.255.0"]}, ["allow any any 192.0.2.0/24 any 0.0.0.0/0 in"], id="mask-in-words"
    ),
    pytest.param({"from_ip": ["0.0.0.0/0"]}, [f"allow any any {ANY4} in"], id="all-of-ipv4-is-ipv4-only"),
    pytest.param({"from_ip": ["::/0"]}, [f"allow any any {ANY6} in"], id="all-of-ipv6-is-ipv6-only"),
    pytest.param(
        {"from_ip": ["192.0.2.1", "192.0.2.2"], "to_ip": ["198.51.100.1", "198.51.100.2"]},
        [
            "allow any any 198.51.100.1 any 192.0.2.1 in",
            "allow any any 198.51.100.2 any 192.0.2.1 in",
            "allow any any 198.51.100.1 any 192.0.2.2 in",
            "allow any any 198.51.100.2 any 192.0.2.2 in",
        ],
        id="each-with-each",
    ),
    pytest.param({"interface": "eth0", "family": "ipv4"}, [f"allow any any {ANY4} in_eth0"], id="interface-in"),
    pytest.param(
        {"interface": "eth0", "direction": "out", "family": "ipv4"},
        [f"allow any any {ANY4} out_eth0"],
        id="interface-out",
    ),
    pytest.param({"interface": "br-+", "family": "ipv4"}, [f"allow any any {ANY4} in_br-+"], id="any-ending"),
    pytest.param({"interface": "a" * 15, "family": "ipv4"}, [f"allow any any {ANY4} in_{'a' * 15}"], id="longest-name"),
    pytest.param(
        {"route": True, "interface_in": "eth0", "interface_out": "eth1", "family": "ipv4"},
        [f"route:allow any any {ANY4} in_eth0!out_eth1"],
        id="route-with-two-interfaces",
    ),
    pytest.param(
        {"route": True, "interface_in": "eth0", "family": "ipv4"},
        [f"route:allow any any {ANY4} in_eth0"],
        id="route-in",
    ),
    pytest.param(
        {"route": True, "interface_out": "eth1", "family": "ipv4"},
        [f"route:allow any any {ANY4} out_eth1"],
        id="route-out",
    ),
    pytest.param({"log": "new", "family": "ipv4"}, [f"allow_log any any {ANY4} in"], id="log-new"),
    pytest.param({"log": "all", "family": "ipv4"}, [f"allow_log-all any any {ANY4} in"], id="log-all"),
    pytest.param(
        {"name": "OpenSSH"},
        ["allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 OpenSSH - in", "allow tcp 22 ::/0 any ::/0 OpenSSH - in"],
        id="profile",
    ),
    pytest.param(
        {"name": "Two Words", "from_ip": ["192.0.2.7"]},
        [
            "allow tcp 8080,8081 0.0.0.0/0 any 192.0.2.7 Two%20Words - in",
            "allow udp 5353 0.0.0.0/0 any 192.0.2.7 Two%20Words - in",
            "allow any 9999 0.0.0.0/0 any 192.0.2.7 Two%20Words - in",
        ],
        id="profile-of-three-parts",
    ),
    pytest.param(
        {"comment": "Büro", "family": "ipv4"},
        [f"allow any any {ANY4} in comment={'shipshape: Büro'.encode().hex()}"],
        id="comment",
    ),
    pytest.param({"comment": "  ", "family": "ipv4"}, [f"allow any any {ANY4} in"], id="comment-of-spaces"),
]


@pytest.mark.parametrize(("changes", "expected"), GOOD)
def test_desired(changes, expected):
    found = desired(entry(**changes), APPS)
    assert lines(found) == expected
    assert found == desired(changes, APPS)  # what is not given is the default
    for rule in found:
        assert rule.own
        assert from_tuple(to_tuple(rule), rule.v6) == rule


def test_every_option_has_a_case():
    assert {name for case in GOOD for name in case.values[0]} == set(RULE_SPEC)


def test_ipv4_mapped_addresses_are_ipv6():
    found = desired(entry(from_ip=["::ffff:192.0.2.1"]), {})
    assert [(rule.v6, rule.src in ("::ffff:c000:201", "::ffff:192.0.2.1")) for rule in found] == [(True, True)]


BAD = [
    pytest.param({"to_port": "0"}, "to_port '0' is not a port", id="port-0"),
    pytest.param({"to_port": "70000"}, "to_port '70000' is not a port", id="port-70000"),
    pytest.param({"to_port": "-1"}, "to_port '-1' is not a port", id="negative-port"),
    pytest.param({"to_port": "ssh"}, "to_port 'ssh' is not a port", id="port-by-name"),
    pytest.param({"to_port": "22/tcp"}, "to_port '22/tcp' is not a port", id="port-with-protocol"),
    pytest.param({"proto": "tcp", "to_port": "22\n"}, "is not a port", id="port-with-a-line-break"),
    pytest.param({"proto": "tcp", "to_port": "443:80"}, "443:80 is a range that ends before", id="range-backwards"),
    pytest.param({"proto": "tcp", "to_port": "80:80"}, "80:80 is a range that ends before", id="range-of-one"),
    pytest.param({"proto": "tcp", "to_port": "80:70000"}, "'80:70000' is not a port", id="range-too-high"),
    pytest.param({"proto": "tcp", "to_port": "80:"}, "'80:' is not a port", id="range-without-end"),
    pytest.param({"proto": "tcp", "to_port": "1:2:3"}, "'1:2:3' is not a port", id="range-of-three"),
    pytest.param({"proto": "tcp", "to_port": "80,ssh"}, "'ssh' is not a port", id="one-of-the-ports"),
    pytest.param({"from_port": "0"}, "from_port '0' is not a port", id="source-port"),
    pytest.param({"to_port": "80,443"}, "several ports, which ufw takes with proto tcp or udp", id="ports-proto-any"),
    pytest.param({"to_port": "80:90"}, "several ports, which ufw takes with proto tcp or udp", id="range-proto-any"),
    pytest.param({"from_port": "80,443"}, "from_port 80,443 has several ports", id="source-ports-proto-any"),
    pytest.param(
        {"proto": "tcp", "to_port": ",".join(map(str, range(1, 17)))}, "more than 15 ports", id="sixteen-ports"
    ),
    pytest.param(
        {"proto": "tcp", "to_port": "1:2,4:5,7:8,10:11,13:14,16:17,19:20,22:23"},
        "more than 15 ports",
        id="eight-ranges",
    ),
    pytest.param({"proto": "esp", "to_port": "22"}, "with proto esp, which has no ports", id="port-of-esp"),
    pytest.param({"proto": "gre", "from_port": "22"}, "from_port 22 with proto gre", id="source-port-of-gre"),
    pytest.param({"from_ip": ["192.0.2.256"]}, "from_ip '192.0.2.256' is not an address", id="address"),
    pytest.param({"from_ip": ["192.0.2.1/33"]}, "from_ip '192.0.2.1/33' is not", id="prefix"),
    pytest.param({"from_ip": ["app1.example.com"]}, "from_ip 'app1.example.com' is not", id="host-name"),
    pytest.param({"from_ip": ["192.0.2.1-192.0.2.9"]}, "is not an address", id="address-range"),
    pytest.param({"from_ip": ["010.0.0.1"]}, "is not an address", id="octal"),
    pytest.param({"from_ip": ["192.0.2.1", "x"]}, "from_ip 'x' is not", id="second-address"),
    pytest.param({"to_ip": ["2001:db8::g"]}, "to_ip '2001:db8::g' is not", id="destination"),
    pytest.param({"from_ip": ["192.0.2.1"], "to_ip": ["2001:db8::1"]}, "different families", id="mixed-families"),
    pytest.param({"from_ip": ["192.0.2.1"], "family": "ipv6"}, "family ipv6 and the addresses", id="family-ipv6"),
    pytest.param({"to_ip": ["2001:db8::1"], "family": "ipv4"}, "family ipv4 and the addresses", id="family-ipv4"),
    pytest.param({"proto": "igmp", "family": "ipv6"}, "igmp does not exist over IPv6", id="igmp-over-ipv6"),
    pytest.param({"proto": "ipv6", "from_ip": ["2001:db8::1"]}, "does not exist over IPv6", id="tunnel-over-ipv6"),
    pytest.param({"interface": "a" * 16}, "is not the name of a network interface", id="long-interface"),
    pytest.param({"interface": "eth0!"}, "'eth0!' is not the name", id="interface-with-ufws-separator"),
    pytest.param({"interface": "eth0 -j ACCEPT"}, "is not the name", id="interface-with-spaces"),
    pytest.param({"interface": "a/b"}, "'a/b' is not the name", id="interface-with-a-slash"),
    pytest.param({"interface": "eth0:1"}, "'eth0:1' is not the name", id="interface-alias"),
    pytest.param({"interface": "eth+0"}, "'eth+0' is not the name", id="plus-in-the-middle"),
    pytest.param({"interface": ".."}, "'..' is not the name", id="interface-dots"),
    pytest.param({"interface": "ü"}, "'ü' is not the name", id="interface-umlaut"),
    pytest.param({"route": True, "interface_in": "a b"}, "'a b' is not the name", id="interface-in-name"),
    pytest.param({"route": True, "interface_out": "a b"}, "'a b' is not the name", id="interface-out-name"),
    pytest.param({"route": True, "interface": "eth0"}, "takes interface_in and interface_out", id="interface-of-route"),
    pytest.param({"interface_in": "eth0"}, "are for route rules", id="interface-in-without-route"),
    pytest.param({"interface_out": "eth0"}, "are for route rules", id="interface-out-without-route"),
    pytest.param({"route": True, "direction": "out"}, "a route rule has no direction", id="direction-of-route"),
    pytest.param({"comment": "it's"}, "has a line break or a quote", id="comment-with-a-quote"),
    pytest.param({"comment": "two\nlines"}, "has a line break or a quote", id="comment-with-a-line-break"),
    pytest.param({"name": "Nope"}, "not an application profile of this host (known: OpenSSH, Two Words)", id="profile"),
    pytest.param({"name": "OpenSSH", "to_port": "22"}, "leave to_port and proto out", id="profile-with-port"),
    pytest.param({"name": "OpenSSH", "proto": "tcp"}, "leave to_port and proto out", id="profile-with-proto"),
    pytest.param(
        {"name": "Two Words", "from_port": "80,443"}, "from_port 80,443 has several", id="profile-with-source-ports"
    ),
]


@pytest.mark.parametrize(("changes", "message"), BAD)
def test_refused(changes, message):
    with pytest.raises(RuleError) as failed:
        desired(entry(**changes), APPS)
    assert message in str(failed.value)


def test_a_host_without_profiles_says_so():
    with pytest.raises(RuleError, match=r"\(known: none\)"):
        desired(entry(name="OpenSSH"), {})
