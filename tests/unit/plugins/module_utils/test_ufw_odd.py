"""Odd rules, files and kernels that the firewall code once took wrongly."""

from __future__ import annotations

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils import _ufw_load as load
from ansible_collections.shipshape.stack.plugins.module_utils._ufw_host import applications
from ansible_collections.shipshape.stack.plugins.module_utils._ufw_lockout import Connection, lockout
from ansible_collections.shipshape.stack.plugins.module_utils._ufw_plan import Policy, expand, plan
from ansible_collections.shipshape.stack.plugins.module_utils._ufw_rules import (
    MARK,
    Rule,
    RuleError,
    desired,
    from_tuple,
)

KERNEL = dict.fromkeys(load.BUILTIN, "ACCEPT")


def test_way_back_to_a_kernel_without_tables_opens_the_policies():
    now = load.Table(
        {"INPUT": "DROP", "FORWARD": "DROP", "OUTPUT": "ACCEPT"}, {"INPUT": ["-j ufw-a"], "ufw-a": ["-j ACCEPT"]}
    )
    assert ":INPUT ACCEPT [0:0]" in load.transaction(load.Table(), now)


def test_parse_of_a_counting_rule():
    assert load.parse("*filter\n:INPUT ACCEPT [0:0]\n-A INPUT\nCOMMIT\n")["filter"].chains == {"INPUT": [""]}


def test_two_jumps_in_docker_user_keep_their_order():
    wanted = load.Table(KERNEL, {"ufw-a": ["-j DROP"], "ufw-b": ["-j DROP"], "DOCKER-USER": ["-j ufw-a", "-j ufw-b"]})
    lines = load.transaction(wanted, load.Table(KERNEL, {"DOCKER-USER": []})).splitlines()
    chain = []
    for line in lines:
        if line.startswith("-I DOCKER-USER "):
            chain.insert(0, line.split(" ", 2)[2])
        elif line.startswith("-A DOCKER-USER "):
            chain.append(line.split(" ", 2)[2])
    assert chain == ["-j ufw-a", "-j ufw-b"]


def test_a_chain_of_the_administrator_in_before_rules():
    wanted = load.Table(KERNEL, {"my-chain": ["-j DROP"], "ufw-before-input": ["-j my-chain"]})
    lines = load.transaction(wanted, load.Table()).splitlines()
    assert ":my-chain - [0:0]" in lines
    assert "-A my-chain -j DROP" in lines


@pytest.mark.parametrize(("given", "comment"), [(5, "shipshape: 5"), (0, "shipshape: 0"), (None, "shipshape")])
def test_a_comment_that_is_a_number(given, comment):
    assert desired({"comment": given}, {})[0].comment == comment


def test_an_interface_that_is_a_number():
    assert desired({"interface": 5}, {})[0].interface_in == "5"


@pytest.mark.parametrize("port", ["80 81", "8 0", ",", " , "])
def test_ports_that_are_none(port):
    with pytest.raises(RuleError):
        desired({"proto": "tcp", "to_port": port}, {})


@pytest.mark.parametrize(("given", "port"), [("80,080", "80"), ("06000:6007", "6000:6007")])
def test_ports_are_brought_to_one_form(given, port):
    assert desired({"proto": "tcp", "to_port": given}, {})[0].dport == port


@pytest.mark.parametrize("name", ["eth0\n", "a" * 15 + "\n"])
def test_interface_with_a_line_break(name):
    with pytest.raises(RuleError):
        desired({"interface": name}, {})


def test_damaged_comment_that_is_not_ascii():
    with pytest.raises(RuleError):
        from_tuple(f"{MARK}allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in comment=ü", False)


@pytest.mark.parametrize(
    "words", ["22 no-address any 0.0.0.0/0", "22 0.0.0.0/0 any 1.2.3", "ssh 0.0.0.0/0 any ::/0", "22 ::/0 1- ::/0"]
)
def test_damaged_address_or_port(words):
    with pytest.raises(RuleError, match="where an address or a port should be"):
        from_tuple(f"{MARK}allow tcp {words} in", False)


def test_address_with_a_zone():
    with pytest.raises(RuleError):
        desired({"from_ip": ["fe80::1%eth0"]}, {})


def test_following_the_message_helps_with_a_rule_of_others_in_front():
    login = Connection("192.0.2.10", "198.51.100.1", 22, "eth0")
    current = Policy(enabled=True, rules=(Rule("deny", "tcp", "22"),))
    request = {"rules": [{"rule": "allow", "proto": "tcp", "to_port": "22", "from_ip": ["192.0.2.10"]}]}
    problems = lockout(plan(current, request, {}), [login])
    assert not any("before it" in line for line in problems)  # it is in front of all that `rules` can say


def test_text_of_a_contradiction():
    with pytest.raises(RuleError) as failed:
        expand([{"to_port": "22"}, {"rule": "deny", "to_port": "22"}], {})
    assert "( " not in str(failed.value)


def test_ufw_skips_a_damaged_file_as_a_whole(tmp_path):
    (tmp_path / "x").write_text("[Bad]\ntitle=x\nports=80/tcp\ngarbage line\n")
    assert applications(str(tmp_path)) == {}


def test_no_address_in_a_list_is_not_anywhere():
    with pytest.raises(RuleError):
        desired({"from_ip": ["192.0.2.1", ""]}, {})
