"""The rules for ports that Docker publishes: line by line, and by what becomes of packets."""

from __future__ import annotations

import ipaddress
import itertools
from dataclasses import dataclass, replace

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils._ufw_published import (
    BEGIN,
    CHAIN,
    DOCKERS,
    END,
    block,
    interface_problems,
    interfaces_of,
    with_block,
    without_block,
)
from ansible_collections.shipshape.stack.plugins.module_utils._ufw_rules import Rule, RuleError
from hypothesis import given, settings
from hypothesis import strategies as st

WEB = Rule("allow", "tcp", "80")
DNAT = "-m conntrack --ctstate DNAT"


def own_lines(*rules, interfaces=(), logging="off"):
    """The lines for the rules, less the name of the chain."""
    text = block(rules, interfaces, logging)
    return [line.removeprefix(f"-A {CHAIN} ") for line in text.splitlines()[6:-2]]


CASES = [
    pytest.param(WEB, [f"-p tcp {DNAT} --ctorigdstport 80 -j RETURN"], id="allow"),
    pytest.param(replace(WEB, action="deny"), [f"-p tcp {DNAT} --ctorigdstport 80 -j DROP"], id="deny"),
    pytest.param(
        replace(WEB, action="reject"),
        [f"-p tcp {DNAT} --ctorigdstport 80 -j REJECT --reject-with tcp-reset"],
        id="reject-tcp",
    ),
    pytest.param(Rule("reject"), [f"{DNAT} -j REJECT"], id="reject-all"),
    pytest.param(
        replace(WEB, action="limit"),
        [
            f"-p tcp {DNAT} --ctorigdstport 80 -m conntrack --ctstate NEW -m recent --name {CHAIN}-0 --set",
            f"-p tcp {DNAT} --ctorigdstport 80 -m conntrack --ctstate NEW -m recent --name {CHAIN}-0"
            " --update --seconds 30 --hitcount 6 -j DROP",
            f"-p tcp {DNAT} --ctorigdstport 80 -j RETURN",
        ],
        id="limit",
    ),
    pytest.param(
        replace(WEB, dport="80,6000:6007"),
        [
            f"-p tcp {DNAT} --ctorigdstport 80 -j RETURN",
            f"-p tcp {DNAT} --ctorigdstport 6000:6007 -j RETURN",
        ],
        id="ports-one-by-one",
    ),
    pytest.param(
        replace(WEB, proto="any"),
        [f"-p tcp {DNAT} --ctorigdstport 80 -j RETURN", f"-p udp {DNAT} --ctorigdstport 80 -j RETURN"],
        id="protocols-one-by-one",
    ),
    pytest.param(Rule("allow", "esp"), [f"-p esp {DNAT} -j RETURN"], id="protocol-without-ports"),
    pytest.param(
        Rule("allow", "udp", "68", sport="67"),
        [f"-p udp -m multiport --sports 67 {DNAT} --ctorigdstport 68 -j RETURN"],
        id="source-port",
    ),
    pytest.param(
        replace(WEB, src="192.0.2.0/24", dst="198.51.100.1", interface_in="eth0"),
        [f"-i eth0 -s 192.0.2.0/24 -p tcp {DNAT} --ctorigdst 198.51.100.1 --ctorigdstport 80 -j RETURN"],
        id="all-that-a-packet-has",
    ),
    pytest.param(
        replace(WEB, v6=True, src="2001:db8::/32", dst="::/0"),
        [f"-s 2001:db8::/32 -p tcp {DNAT} --ctorigdstport 80 -j RETURN"],
        id="ipv6",
    ),
    pytest.param(replace(WEB, direction="out"), [], id="out-is-not-for-containers"),
    pytest.param(
        Rule("allow", "tcp", "80,443", "172.17.0.2", forward=True, interface_in="eth0", interface_out="docker0"),
        ["-i eth0 -o docker0 -d 172.17.0.2 -p tcp -m multiport --dports 80,443 -j RETURN"],
        id="route-by-the-address-of-the-container",
    ),
    pytest.param(
        Rule("deny", forward=True, direction="out", interface_out="docker0"),
        ["-o docker0 -j DROP"],
        id="route-out",
    ),
    pytest.param(Rule("allow", forward=True), ["-j RETURN"], id="route-all"),
]


@pytest.mark.parametrize(("rule", "expected"), CASES)
def test_lines(rule, expected):
    assert own_lines(rule) == expected


def test_block():
    assert block([WEB], ["docker0", "br-+"], "low").splitlines() == [
        BEGIN,
        "*filter",
        ":DOCKER-USER - [0:0]",
        f":{CHAIN} - [0:0]",
        f"-A DOCKER-USER -j {CHAIN}",
        f"-A {CHAIN} -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN",
        f"-A {CHAIN} -i docker0 -j RETURN",
        f"-A {CHAIN} -i br-+ -j RETURN",
        f"-A {CHAIN} -p tcp {DNAT} --ctorigdstport 80 -j RETURN",
        f'-A {CHAIN} -o docker0 -m limit --limit 3/min --limit-burst 10 -j LOG --log-prefix "[UFW BLOCK] "',
        f"-A {CHAIN} -o docker0 -j DROP",
        f'-A {CHAIN} -o br-+ -m limit --limit 3/min --limit-burst 10 -j LOG --log-prefix "[UFW BLOCK] "',
        f"-A {CHAIN} -o br-+ -j DROP",
        "COMMIT",
        END,
    ]


def test_logging_off_logs_nothing():
    assert "LOG" not in block([WEB], ["docker0"], "off")


@pytest.mark.parametrize(
    ("action", "word"), [("allow", "ALLOW"), ("deny", "BLOCK"), ("reject", "BLOCK"), ("limit", "LIMIT")]
)
@pytest.mark.parametrize("log", ["log", "log-all"])
def test_a_rule_that_logs_does_so_before_it_decides(action, word, log):
    rule = replace(WEB, action=action)
    plain, logged = own_lines(rule, logging="low"), own_lines(replace(rule, log=log), logging="low")
    assert logged[1:] == plain
    assert logged[0] == (
        f'-p tcp {DNAT} --ctorigdstport 80 -m limit --limit 3/min --limit-burst 10 -j LOG --log-prefix "[UFW {word}] "'
    )
    assert own_lines(replace(rule, log=log), logging="off") == plain


def test_limits_count_apart():
    text = block([replace(WEB, action="limit"), replace(WEB, action="limit", dport="443")], [], "off")
    assert f"--name {CHAIN}-0 " in text
    assert f"--name {CHAIN}-1 " in text


# --- what becomes of packets ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Packet:
    """The first one to a published port, as DOCKER-USER sees it: rewritten from 198.51.100.1 to the container."""

    src: str
    interface: str
    proto: str
    sport: int
    port: int
    published: bool = True
    container: str = "172.17.0.2"
    inside: int = 8080


def ranges(ports):
    return [range(int(low), int(high or low) + 1) for low, _c, high in (p.partition(":") for p in ports.split(","))]


def wild(name, pattern):
    return name.startswith(pattern[:-1]) if pattern.endswith("+") else name == pattern


def inside(address, network):
    return ipaddress.ip_address(address) in ipaddress.ip_network(network)


def through_chain(text, packet, often=False):
    """The verdict of the chain's lines, read as iptables does. Often: one packet more than limit lets through."""
    tests = {
        "-i": lambda value: wild(packet.interface, value),
        "-o": lambda value: wild("docker0", value),
        "-s": lambda value: inside(packet.src, value),
        "-d": lambda value: inside(packet.container, value),
        "-p": lambda value: value == packet.proto,
        "--sports": lambda value: any(packet.sport in each for each in ranges(value)),
        "--dports": lambda value: any(packet.inside in each for each in ranges(value)),
        "--ctorigdst": lambda value: inside("198.51.100.1", value),
        "--ctorigdstport": lambda value: any(packet.port in each for each in ranges(value)),
        "--ctstate": lambda value: value == "NEW" or (value == "DNAT" and packet.published),
        "--hitcount": lambda _value: often,
    }
    for line in text.splitlines():
        words = line.split()
        verdict = words[words.index("-j") + 1] if "-j" in words else ""
        if (
            verdict
            and words[:2] == ["-A", CHAIN]
            and all(tests[a](b) for a, b in itertools.pairwise(words) if a in tests)
        ):
            return verdict
    return "RETURN"


def by_the_rules(rules, packet, often):
    """What ufw would do, were the container a service of the host; a route rule is about the container itself."""
    for rule in rules:
        target, port = (packet.container, packet.inside) if rule.forward else ("198.51.100.1", packet.port)
        if (
            (rule.forward or (rule.direction == "in" and packet.published))
            and rule.proto in ("any", packet.proto)
            and inside(packet.src, rule.src)
            and inside(target, rule.dst)
            and (rule.dport == "any" or any(port in each for each in ranges(rule.dport)))
            and (rule.sport == "any" or any(packet.sport in each for each in ranges(rule.sport)))
            and (not rule.interface_in or wild(packet.interface, rule.interface_in))
            and (not rule.interface_out or wild("docker0", rule.interface_out))
        ):
            limit = "DROP" if often else "RETURN"
            return {"allow": "RETURN", "limit": limit, "deny": "DROP", "reject": "REJECT"}[rule.action]
    return "DROP"


@st.composite
def rules(draw):
    forward = draw(st.sampled_from([False, False, True]))
    proto = draw(st.sampled_from(["tcp", "udp", "any"]))
    lists = [] if proto == "any" else ["80,443", "8000:8100"]
    return Rule(
        action=draw(st.sampled_from(["allow", "deny", "reject", "limit"])),
        proto=proto,
        dport=draw(st.sampled_from(["any", "80", "8080", *lists])),
        dst=draw(st.sampled_from(["0.0.0.0/0", "198.51.100.1", "198.51.100.0/24", "172.17.0.2", "172.17.0.3"])),
        sport=draw(st.sampled_from(["any", "any", "any", "4000"])),
        src=draw(st.sampled_from(["0.0.0.0/0", "192.0.2.0/24", "192.0.2.7"])),
        direction=draw(st.sampled_from(["in", "in", "out"])) if not forward else "in",
        forward=forward,
        interface_in=draw(st.sampled_from(["", "", "eth0", "eth+"])),
        interface_out=draw(st.sampled_from(["", "docker0", "eth1"])) if forward else "",
    )


@settings(deadline=None, max_examples=80)
@given(
    st.lists(rules(), max_size=5),
    st.builds(
        Packet,
        src=st.sampled_from(["192.0.2.7", "192.0.2.8", "203.0.113.1"]),
        interface=st.sampled_from(["eth0", "eth1", "wg0"]),
        proto=st.sampled_from(["tcp", "udp"]),
        sport=st.sampled_from([4000, 5000]),
        port=st.sampled_from([80, 443, 8080]),
        published=st.sampled_from([True, True, False]),
    ),
    st.sampled_from(["off", "low"]),
    st.booleans(),
)
def test_a_rule_means_the_same_for_a_container(given_rules, packet, logging, often):
    text = block(given_rules, ["docker0", "br-+"], logging)
    text = "\n".join(line for line in text.splitlines() if " -j LOG " not in line)
    assert through_chain(text, packet, often) == by_the_rules(given_rules, packet, often)


def test_containers_themselves_pass():
    text = block([Rule("deny")], ["docker0", "br-+"], "off")
    assert through_chain(text, Packet("172.17.0.2", "docker0", "tcp", 1, 80)) == "RETURN"
    assert through_chain(text, Packet("172.18.0.2", "br-1234", "tcp", 1, 80)) == "RETURN"
    assert through_chain(text, Packet("192.0.2.7", "eth0", "tcp", 1, 80)) == "DROP"


# --- the interfaces, read back ----------------------------------------------------------------------------------------

NAMES = ["docker0", "br-+", "mybr0", "eth0"]


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.sampled_from(NAMES), min_size=1, unique=True),
    st.lists(
        st.builds(
            lambda action, name, out: Rule(action, forward=True, **{f"interface_{'out' if out else 'in'}": name}),
            st.sampled_from(["allow", "deny"]),
            st.sampled_from(NAMES),
            st.booleans(),
        ),
        max_size=4,
    ),
    st.sampled_from(["off", "low"]),
)
def test_interfaces_are_read_back_whatever_the_rules_look_like(interfaces, given_rules, logging):
    assert interfaces_of(f"*filter\nCOMMIT\n{block(given_rules, interfaces, logging)}# more\n") == interfaces


@pytest.mark.parametrize("text", ["", "*filter\nCOMMIT\n", f"{BEGIN}\n*filter\nCOMMIT\n", block([], [], "off")])
def test_no_section_no_interfaces(text):
    assert interfaces_of(text) == []


@pytest.mark.parametrize("names", [DOCKERS, ["a" * 15], ["br_1.2-x+"]])
def test_interfaces(names):
    assert interface_problems(names) == []


@pytest.mark.parametrize("names", [[], ["a" * 16], ["a b"], [""], ["a\n"], [".."], ["docker0", "-j ACCEPT"]])
def test_interfaces_that_are_none(names):
    assert len(interface_problems(names)) == 1


# --- the section in the file ------------------------------------------------------------------------------------------

SECTION, OTHER = block([WEB], ["docker0"], "low"), block([], [], "off")


@pytest.mark.parametrize(
    ("text", "after"),
    [
        pytest.param("", SECTION, id="empty"),
        pytest.param("*filter\nCOMMIT\n", f"*filter\nCOMMIT\n{SECTION}", id="appended"),
        pytest.param("COMMIT", f"COMMIT\n{SECTION}", id="last-line-without-end"),
        pytest.param(f"a\n{SECTION}", f"a\n{SECTION}", id="as-it-is"),
        pytest.param(f"a\n{OTHER}", f"a\n{SECTION}", id="replaced"),
        pytest.param(f"a\n{OTHER}b\n", f"a\nb\n{SECTION}", id="what-was-added-behind-is-kept"),
    ],
)
def test_with_block(text, after):
    assert with_block(text, SECTION) == after
    assert with_block(after, SECTION) == after
    assert without_block(with_block(after, OTHER)) == without_block(after)


TEXTS = st.lists(st.sampled_from(["*filter", "COMMIT", "", "# END", "# a", "-A x"]), max_size=6).map(
    lambda lines: "".join(f"{line}\n" for line in lines)
)


@settings(deadline=None, max_examples=50)
@given(TEXTS, st.sampled_from([SECTION, OTHER]))
def test_the_section_comes_and_goes_without_a_trace(text, section):
    once = with_block(text, section)
    assert without_block(once) == text
    assert with_block(once, section) == once
    assert without_block(text) == text
    assert with_block(with_block(text, OTHER), section) == once


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(SECTION.replace(f"{END}\n", ""), id="end-lost"),
        pytest.param(f"a\n{SECTION.replace(END, '')}*filter\n-A mine\nCOMMIT\n", id="rules-behind"),
        pytest.param(f"{SECTION.replace(END, '')}{SECTION}", id="one-of-two"),
        pytest.param(SECTION.replace(END, f" {END}"), id="moved"),
    ],
)
def test_a_section_without_its_end_is_refused(text):
    for change in (without_block, lambda each: with_block(each, OTHER)):
        with pytest.raises(RuleError, match=r"the line '# BEGIN shipshape.stack.*put it back"):
            change(text)
    with pytest.raises(RuleError, match=r"^after.rules has"):
        without_block(text, "after.rules")


def test_a_section_whose_last_line_has_no_end_is_one():
    assert without_block(f"a\n{SECTION}".rstrip("\n")) == "a\n"
    assert without_block(f"{SECTION}a\n{OTHER}") == "a\n"
