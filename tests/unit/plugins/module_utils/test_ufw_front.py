"""Rules of others that stand in front of the firewall: which of them let packets past it."""

from __future__ import annotations

import pathlib

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils._ufw_front import in_front
from ansible_collections.shipshape.stack.plugins.module_utils._ufw_load import ADOPT, Table, parse

RECORDED = (pathlib.Path(__file__).resolve().parent.parent / "fixtures/ufw_iptables_save.txt").read_text(
    encoding="utf-8"
)
DOCKER = ["-j DOCKER-USER", "-o docker0 -j DOCKER", "-i docker0 ! -o docker0 -j ACCEPT"]


def found(chain, *rules, behind=(), family=4, **chains):
    """What is said of a host that has these in front of what it had, and those behind."""
    table = parse(RECORDED)["filter"]
    table.chains[chain] = [*rules, *table.chains[chain], *behind]
    table.chains.update(chains)
    return in_front({family: {"filter": table}})


LET_PASS = [
    pytest.param("INPUT", "-j ACCEPT", id="all"),
    pytest.param("INPUT", "-s 192.0.2.7/32 -p tcp -m tcp --dport 5432 -j ACCEPT", id="one"),
    pytest.param("INPUT", "! -i lo -j ACCEPT", id="not-loopback"),
    pytest.param("INPUT", "-m conntrack ! --ctstate ESTABLISHED -j ACCEPT", id="not-established"),
    pytest.param("INPUT", "-m conntrack --ctstate NEW,ESTABLISHED -j ACCEPT", id="new-connections-too"),
    pytest.param("INPUT", '-m comment --comment "-j DROP" -j ACCEPT', id="a-comment-that-looks-like-a-target"),
    pytest.param("FORWARD", "-j ACCEPT", id="forwarded"),
    pytest.param("OUTPUT", "-j ACCEPT", id="outgoing"),
    pytest.param("DOCKER-USER", "-j ACCEPT", id="published"),
    pytest.param("DOCKER-USER", "-s 192.0.2.7/32 -j RETURN", id="published-by-leaving-the-chain"),
]


@pytest.mark.parametrize(("chain", "rule"), LET_PASS)
def test_told_of(chain, rule):
    assert found(chain, rule) == [f"iptables -A {chain} {rule}"]
    assert found(chain, rule, rule, family=6) == [f"ip6tables -A {chain} {rule}"]
    assert found(chain, behind=[rule]) == []


PASSED_OVER = [
    pytest.param("INPUT", "-s 192.0.2.7/32 -j DROP", id="stricter"),
    pytest.param("INPUT", "-s 192.0.2.7/32 -j REJECT --reject-with icmp-port-unreachable", id="reject"),
    pytest.param("INPUT", "-j LOG", id="log"),
    pytest.param("INPUT", "-s 192.0.2.7/32", id="counts-only"),
    pytest.param("INPUT", "-j RETURN", id="return-to-the-policy"),
    pytest.param("INPUT", "-i lo -j ACCEPT", id="loopback"),
    pytest.param("INPUT", "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", id="replies"),
    pytest.param("INPUT", "-m state --state RELATED,ESTABLISHED -j ACCEPT", id="replies-as-of-old"),
    pytest.param("OUTPUT", ADOPT, id="our-own-exception"),
    pytest.param("DOCKER-USER", "-m conntrack --ctstate RELATED,ESTABLISHED -j RETURN", id="replies-of-containers"),
]


@pytest.mark.parametrize(("chain", "rule"), PASSED_OVER)
def test_passed_over(chain, rule):
    assert found(chain, rule) == []


def test_chains_of_others_are_followed():
    jump = "-p tcp -j mine"
    assert found("INPUT", jump, mine=["-s 192.0.2.7/32 -j DROP", "-j RETURN"]) == []
    assert found("INPUT", jump, mine=["-j more"], more=["-j mine", "-j ACCEPT"]) == [f"iptables -A INPUT {jump}"]
    assert found("INPUT", jump, mine=["-j mine"]) == []
    assert found("INPUT", jump, mine=["-j ufw-user-input"]) == []


def test_docker_is_no_rule_of_others_behind_its_door():
    chains = {"DOCKER": ["-d 172.17.0.2/32 -j ACCEPT"]}
    assert found("FORWARD", *DOCKER, **chains) == []
    assert found("FORWARD", "-j ACCEPT", *DOCKER, **chains) == ["iptables -A FORWARD -j ACCEPT"]
    # Without the door, as Docker 20.10 is over IPv6, it lets all in.
    assert found("FORWARD", *DOCKER[1:], **chains) == [f"iptables -A FORWARD {rule}" for rule in DOCKER[1:]]


def test_published_ports_that_are_left_to_docker():
    assert found("INPUT", **{"DOCKER-USER": ["-j ACCEPT"]}) == []


@pytest.mark.parametrize("tables", [{}, {6: {}}, {4: {"filter": Table({}, {"INPUT": ["-j ACCEPT"]})}}])
def test_nothing_where_no_firewall_is_loaded(tables):
    assert in_front(tables) == []
