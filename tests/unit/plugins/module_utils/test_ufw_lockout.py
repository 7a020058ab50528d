"""Would the login be shut out? Compared with a second opinion, which sends packets through the rules."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import replace

import pytest
import yaml
from ansible_collections.shipshape.stack.plugins.module_utils._ufw_lockout import (
    Connection,
    controller_problems,
    deciding_rule,
    lockout,
    logins,
)
from ansible_collections.shipshape.stack.plugins.module_utils._ufw_plan import Policy
from ansible_collections.shipshape.stack.plugins.module_utils._ufw_rules import TAG, Rule, desired
from hypothesis import given, settings
from hypothesis import strategies as st

FOUR = Connection("192.0.2.10", "198.51.100.1", 22, "eth0")
SIX = Connection("2001:db8::10", "2001:db8:1::1", 22, "eth0")
UNKNOWN = replace(FOUR, interface="")
ALLOW = Rule("allow", "tcp", "22")
DENY = Rule("deny", "tcp", "22")
ANY6 = {"src": "::/0", "dst": "::/0", "v6": True}


def policy(*rules, incoming="deny", enabled=True):
    """Rules of ours, in front of which another one can be put."""
    rules = tuple(replace(rule, comment=TAG) for rule in rules)
    return Policy(enabled=enabled, defaults={"incoming": incoming, "outgoing": "allow", "routed": "deny"}, rules=rules)


PASSES = [
    pytest.param(policy(ALLOW), FOUR, id="port"),
    pytest.param(policy(replace(ALLOW, action="limit")), FOUR, id="limit"),
    pytest.param(policy(replace(ALLOW, proto="any")), FOUR, id="any-protocol"),
    pytest.param(policy(replace(ALLOW, dport="any")), FOUR, id="any-port"),
    pytest.param(policy(replace(ALLOW, dport="80,20:25")), FOUR, id="range-in-a-list"),
    pytest.param(policy(replace(ALLOW, src="192.0.2.0/24")), FOUR, id="network"),
    pytest.param(policy(replace(ALLOW, src="192.0.2.77/24")), FOUR, id="host-bits-of-others-rules"),
    pytest.param(policy(replace(ALLOW, dst="198.51.100.1")), FOUR, id="destination"),
    pytest.param(policy(replace(ALLOW, interface_in="eth0")), FOUR, id="interface"),
    pytest.param(policy(replace(ALLOW, interface_in="eth+")), FOUR, id="interface-pattern"),
    pytest.param(policy(replace(ALLOW, **ANY6)), SIX, id="ipv6"),
    pytest.param(policy(replace(ALLOW, **{**ANY6, "src": "2001:db8::/64"})), SIX, id="ipv6-network"),
    pytest.param(policy(ALLOW, DENY), FOUR, id="the-first-decides"),
    pytest.param(policy(incoming="allow"), FOUR, id="default"),
    pytest.param(policy(enabled=False), FOUR, id="disabled"),
    pytest.param(policy(DENY, enabled=False), FOUR, id="disabled-with-rules"),
    pytest.param(policy(), Connection("127.0.0.1", "127.0.0.1", 22), id="loopback"),
    pytest.param(policy(), Connection("::1", "::1", 22), id="loopback-ipv6"),
    pytest.param(policy(replace(DENY, dport="23"), incoming="allow"), FOUR, id="another-port"),
    pytest.param(policy(replace(DENY, proto="udp"), incoming="allow"), FOUR, id="another-protocol"),
    pytest.param(policy(replace(DENY, direction="out"), incoming="allow"), FOUR, id="another-direction"),
    pytest.param(policy(replace(DENY, forward=True), incoming="allow"), FOUR, id="forwarded"),
    pytest.param(policy(replace(DENY, **ANY6), incoming="allow"), FOUR, id="another-family"),
    pytest.param(policy(replace(DENY, interface_in="eth1"), incoming="allow"), FOUR, id="another-interface"),
    pytest.param(policy(replace(DENY, dst="198.51.100.2"), incoming="allow"), FOUR, id="another-destination"),
]


@pytest.mark.parametrize(("asked", "connection"), PASSES)
def test_passes(asked, connection):
    assert lockout(asked, [connection]) == []


SHUT = [
    pytest.param(policy(), FOUR, "the default is deny", id="no-rule"),
    pytest.param(policy(incoming="reject"), FOUR, "the default is reject", id="default-reject"),
    pytest.param(policy(DENY, ALLOW), FOUR, "'deny in proto tcp from any to any port 22 # shipshape'", id="deny-first"),
    pytest.param(policy(replace(DENY, action="reject"), ALLOW), FOUR, "'reject in ", id="reject-first"),
    pytest.param(policy(DENY, incoming="allow"), FOUR, "comes first", id="default-allow"),
    pytest.param(policy(replace(ALLOW, dport="2222")), FOUR, "no rule allows it", id="another-port"),
    pytest.param(policy(replace(ALLOW, dport="20:21,23:30")), FOUR, "no rule allows it", id="between-the-ranges"),
    pytest.param(policy(replace(ALLOW, proto="udp")), FOUR, "no rule allows it", id="udp"),
    pytest.param(policy(replace(ALLOW, src="203.0.113.0/24")), FOUR, "no rule allows it", id="another-network"),
    pytest.param(policy(replace(ALLOW, direction="out")), FOUR, "no rule allows it", id="out"),
    pytest.param(policy(replace(ALLOW, forward=True)), FOUR, "no rule allows it", id="route"),
    pytest.param(policy(ALLOW), SIX, "no rule allows it", id="ipv4-rule-for-ipv6"),
    pytest.param(policy(replace(ALLOW, interface_in="eth1")), FOUR, "no rule allows it", id="another-interface"),
    pytest.param(policy(replace(ALLOW, interface_in="eth0")), UNKNOWN, "no rule allows it", id="interface-unknown"),
    pytest.param(policy(replace(DENY, interface_in="eth9"), ALLOW), UNKNOWN, "deny in on eth9", id="deny-somewhere"),
    pytest.param(policy(replace(ALLOW, sport="40000")), FOUR, "no rule allows it", id="one-source-port"),
    pytest.param(policy(replace(DENY, sport="40000"), ALLOW), FOUR, "comes first", id="deny-of-one-source-port"),
]


@pytest.mark.parametrize(("asked", "connection", "cause"), SHUT)
def test_shut_out(asked, connection, cause):
    problems = lockout(asked, [connection])
    assert len(problems) == 1
    assert f"logins from {connection.client} to port 22 of {connection.server} would be shut out" in problems[0]
    assert cause in problems[0]
    assert lockout(repaired(asked, connection, problems[0]), [connection]) == []


def test_every_login_is_judged():
    problems = lockout(policy(ALLOW), [FOUR, SIX, replace(FOUR, port=2222)])
    assert [re.findall(r"from (\S+) to port (\d+)", line)[0] for line in problems] == [
        ("2001:db8::10", "22"),
        ("192.0.2.10", "2222"),
    ]


# --- who is to get in -------------------------------------------------------------------------------------------------

HERE = {"client": "192.0.2.10", "server": "198.51.100.1", "server_port": 22}
ROUTES = {
    "192.0.2.10": ("eth0", "198.51.100.9"),
    "192.0.2.5": ("eth1", "198.51.100.9"),
    "2001:db8::5": ("eth1", "2001:db8:1::1"),
}


def asked_for(**params):
    request = {"here": HERE, "keep_connection": True, "ssh_ports": [], "controllers": [], **params}
    return logins(request["here"], request, lambda client: ROUTES.get(client, ("", "")))


@pytest.mark.parametrize(
    ("params", "found"),
    [
        pytest.param({}, [FOUR], id="this-connection"),
        pytest.param({"keep_connection": False}, [], id="not-even-this-one"),
        pytest.param({"ssh_ports": [22, 2222]}, [FOUR, replace(FOUR, port=2222)], id="ports"),
        pytest.param({"controllers": ["192.0.2.10"]}, [FOUR], id="itself"),
        pytest.param(
            {"controllers": ["192.0.2.5"]}, [FOUR, Connection("192.0.2.5", "198.51.100.1", 22, "eth1")], id="another"
        ),
        pytest.param(
            {"controllers": ["2001:db8::5"]},
            [FOUR, Connection("2001:db8::5", "2001:db8:1::1", 22, "eth1")],
            id="of-the-other-family",
        ),
        pytest.param(
            {"controllers": ["2001:db8::6"]}, [FOUR, Connection("2001:db8::6", "", 22)], id="that-no-route-leads-to"
        ),
        pytest.param({"here": None}, [], id="no-connection"),
        pytest.param(
            {"here": None, "ssh_ports": [22], "controllers": ["192.0.2.5"]},
            [Connection("192.0.2.5", "198.51.100.9", 22, "eth1")],
            id="a-controller-without-a-connection",
        ),
    ],
)
def test_logins(params, found):
    assert asked_for(**params) == found


def test_a_controller_of_the_other_family_is_judged():
    login = Connection("2001:db8::5", "", 22)
    for rule in (ALLOW, replace(ALLOW, **{**ANY6, "dst": "2001:db8:1::1"})):
        (problem,) = lockout(policy(rule), [login])
        assert "logins from 2001:db8::5 to port 22 would be shut out" in problem
        assert lockout(repaired(policy(rule), login, problem), [login]) == []
    assert lockout(policy(replace(ALLOW, **ANY6)), [login]) == []
    deny = replace(DENY, **{**ANY6, "dst": "2001:db8:1::1"})
    assert len(lockout(policy(deny, replace(ALLOW, **ANY6)), [login])) == 1


@pytest.mark.parametrize("given", ["ctl.example.com", "10.89.5.0/24", "10.89.5.300", "", "any"])
def test_controllers_that_are_no_addresses(given):
    (problem,) = controller_problems(["192.0.2.5", given, "2001:db8::5"])
    assert problem.startswith(f"{given!r} is not an address of a controller")


# --- a second opinion -------------------------------------------------------------------------------------------------


def repaired(asked, connection, problem):
    """The policy with the rule that the message names, at the place that it names."""
    text, before = re.search(r"add (\{.*?\})( before it)?,", problem).groups()
    (rule,) = desired(yaml.safe_load(text), {})
    place = asked.rules.index(deciding_rule(asked.rules, connection)) if before else len(asked.rules)
    return replace(asked, rules=(*asked.rules[:place], rule, *asked.rules[place:]))


def let_through(asked, connection, sport, interface):
    """What the kernel does with the first packet of a login."""
    client, server = ipaddress.ip_address(connection.client), ipaddress.ip_address(connection.server)
    for rule in asked.rules:
        name, wild = rule.interface_in.removesuffix("+"), rule.interface_in.endswith("+")
        if (
            rule.direction == "in"
            and not rule.forward
            and rule.v6 == (client.version == 6)
            and rule.proto in ("tcp", "any")
            and client in ipaddress.ip_network(rule.src)
            and server in ipaddress.ip_network(rule.dst)
            and has(rule.dport, connection.port)
            and has(rule.sport, sport)
            and (not name or interface == name or (wild and interface.startswith(name)))
        ):
            return rule.action in ("allow", "limit")
    return asked.defaults["incoming"] == "allow"


def has(ports, port):
    ends = [part.partition(":") for part in ports.split(",")]
    return ports == "any" or any(int(low) <= port <= int(high or low) for low, _colon, high in ends)


PORTS = st.sampled_from(["any", "22", "22,80", "20:25", "23"])
INTERFACES = ["", "eth0", "eth+", "eth1"]
ADDRESSES = {
    False: (["0.0.0.0/0", "192.0.2.0/24", "192.0.2.10", "192.0.2.11"], ["0.0.0.0/0", "198.51.100.1", "198.51.100.2"]),
    True: (["::/0", "2001:db8::/64", "2001:db8::10", "2001:db8::11"], ["::/0", "2001:db8:1::1", "2001:db8:1::2"]),
}


@st.composite
def rules(draw):
    v6 = draw(st.booleans())
    clients, servers = ADDRESSES[v6]
    return Rule(
        action=draw(st.sampled_from(["allow", "deny", "reject", "limit"])),
        proto=draw(st.sampled_from(["any", "tcp", "tcp", "udp"])),
        dport=draw(PORTS),
        dst=draw(st.sampled_from(servers)),
        sport=draw(st.sampled_from(["any", "any", "any", "40000", "1024:65535"])),
        src=draw(st.sampled_from(clients)),
        direction=draw(st.sampled_from(["in", "in", "in", "out"])),
        forward=draw(st.sampled_from([False, False, False, True])),
        interface_in=draw(st.sampled_from(INTERFACES)),
        v6=v6,
    )


@settings(deadline=None, max_examples=100)
@given(
    st.lists(rules(), max_size=5),
    st.sampled_from(["allow", "deny", "reject"]),
    st.sampled_from([FOUR, SIX]),
    st.sampled_from(["", "eth0", "eth1", "wg0"]),
)
def test_what_is_found_safe_is_let_through(given_rules, incoming, login, interface):
    asked, connection = policy(*given_rules, incoming=incoming), replace(login, interface=interface)
    problems = lockout(asked, [connection])
    if problems:
        (problem,) = problems
        asked = repaired(asked, connection, problem)
        assert lockout(asked, [connection]) == []
    for sport in (1023, 1024, 40000, 65535):
        for name in [interface] if interface else ["eth0", "eth1", "wg0"]:
            assert let_through(asked, connection, sport, name)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(rules().map(lambda rule: replace(rule, sport="any")), max_size=5),
    st.sampled_from(["allow", "deny", "reject"]),
    st.sampled_from([FOUR, SIX]),
)
def test_no_false_alarm_where_all_is_known(given_rules, incoming, connection):
    asked = policy(*given_rules, incoming=incoming)
    assert bool(lockout(asked, [connection])) != let_through(asked, connection, 40000, connection.interface)
