"""From flows between groups to the rules of one host."""

from __future__ import annotations

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils._firewall_flows import (
    STANDARD,
    FlowError,
    problems,
    rules,
)

GROUPS = {"app": ["app1", "app2"], "db": ["db1", "app1"], "all": ["app1", "app2", "db1"]}
ADDRESSES = {"app1": ["192.0.2.11", "2001:db8::11"], "app2": ["192.0.2.12"], "db1": ["192.0.2.21"]}
POSTGRESQL = {"to": "db", "ports": [5432], "from": ["app"], "comment": "PostgreSQL"}


def of(host, *flows, groups=None, addresses=None):
    groups = groups or GROUPS
    names = [name for name, hosts in groups.items() if host in hosts]
    return rules(flows, names, groups, addresses or ADDRESSES, host)


def test_a_host_is_open_to_the_hosts_of_the_other_group():
    assert of("db1", POSTGRESQL) == [
        {
            "rule": "allow",
            "proto": "tcp",
            "to_port": "5432",
            "from_ip": ["192.0.2.11", "2001:db8::11", "192.0.2.12"],
            "comment": "PostgreSQL",
        }
    ]


def test_a_host_needs_no_rule_to_call_itself():
    (rule,) = of("app1", POSTGRESQL)
    assert rule["from_ip"] == ["192.0.2.12"]
    assert of("app1", POSTGRESQL, groups={"app": ["app1"], "db": ["app1"]}) == []


@pytest.mark.parametrize(
    ("flow", "sources"),
    [
        pytest.param({"to": "all", "ports": [9100], "from": ["192.0.2.0/24", "app"]}, None, id="network"),
        pytest.param({"to": "all", "ports": [9100]}, [], id="left out"),
        pytest.param({"to": "all", "ports": [9100], "from": ["app", "any"]}, [], id="any wins"),
    ],
)
def test_sources(flow, sources):
    (rule,) = of("db1", flow)
    assert rule["from_ip"] == (
        sources if sources is not None else ["192.0.2.0/24", *of("db1", POSTGRESQL)[0]["from_ip"]]
    )
    assert rule["comment"] == "all"


@pytest.mark.parametrize(
    "flow",
    [
        pytest.param({"to": "app", "ports": [8000], "from": ["db"]}, id="another group's"),
        pytest.param({"to": "all", "ports": [], "from": ["any"]}, id="no ports"),
        pytest.param({"to": "all", "ports": [1], "from": ["lb"]}, id="group that the inventory does not have"),
    ],
)
def test_nothing_for_a_flow_that_nobody_uses(flow):
    assert of("db1", flow) == []


@pytest.mark.parametrize(
    ("flow", "addresses", "message"),
    [
        pytest.param({"ports": [1]}, ADDRESSES, "to is missing", id="to"),
        pytest.param({"to": "db"}, ADDRESSES, "ports is missing", id="ports"),
        pytest.param({"to": "db", "ports": [1], "form": ["app"]}, ADDRESSES, "form is not known", id="mistyped"),
        pytest.param(
            {"to": "db", "ports": [1], "from": ["10.0.0/8"]}, ADDRESSES, "'10.0.0/8' is neither", id="network"
        ),
        pytest.param(
            {"to": "db", "ports": "5432"}, ADDRESSES, r"ports is '5432', not a list: write \[5432\]", id="text"
        ),
        pytest.param({"to": "db", "ports": 5432}, ADDRESSES, "ports is 5432, not a list", id="number"),
        pytest.param({"to": "db", "ports": {"a": 1}}, ADDRESSES, "not a list", id="mapping"),
        pytest.param(
            {"to": "db", "ports": [1], "from": "app"}, ADDRESSES, "from is 'app', not a list", id="from a text"
        ),
        pytest.param(
            {"to": "db", "ports": [1], "from": "any"}, ADDRESSES, "from is 'any', not a list", id="any as text"
        ),
        pytest.param({"to": "db", "ports": [1], "from": None}, ADDRESSES, "from is None, not a list", id="from nobody"),
        pytest.param({"to": ["db"], "ports": [1]}, ADDRESSES, "to .* is not a group", id="to a list"),
        pytest.param({"to": "dbs", "ports": [1]}, ADDRESSES, r"to 'dbs' .*did you mean db\?", id="to nobody"),
        pytest.param({"to": "db", "ports": [1], "from": ["apps"]}, ADDRESSES, "did you mean app", id="misspelt source"),
        pytest.param({"to": "db", "ports": [1], "from": ["x-y"]}, ADDRESSES, "may be there without", id="nothing near"),
        pytest.param("db", ADDRESSES, "'db' is no flow", id="no mapping"),
        pytest.param(POSTGRESQL, {"app1": ["app.example.com"]}, "set stack_addresses for app1", id="name"),
        pytest.param(POSTGRESQL, {"app1": []}, "none given", id="none"),
    ],
)
def test_refused(flow, addresses, message):
    with pytest.raises(FlowError, match=message):
        of("db1", flow, addresses=addresses)


@pytest.mark.parametrize("name", ["my-apps", "2nd", "empty"])
def test_a_group_of_the_inventory_may_have_any_name(name):
    groups = {**GROUPS, "my-apps": ["app2"], "2nd": ["app2"], "empty": []}
    flow = {"to": "db", "ports": [5432], "from": [name]}
    assert [rule["from_ip"] for rule in of("db1", flow, groups=groups)] == ([] if name == "empty" else [["192.0.2.12"]])
    to = {"to": name, "ports": [1]}
    assert len(of("app2", to, groups=groups)) == (name != "empty")


@pytest.mark.parametrize("name", sorted(STANDARD))
def test_standard_groups_need_not_be_in_the_inventory(name):
    groups = {"db": ["db1"]}
    assert of("db1", {"to": "db", "ports": [5432], "from": [name]}, groups=groups) == []
    assert len(of("db1", {"to": name, "ports": [5432]}, groups=groups)) == (name in ("db", "all"))


def test_options_are_judged_without_the_host():
    assert problems([{"proto": "tcp", "to_port": "443"}, {"name": "Any Profile"}]) == []
    assert problems([{"comment": 5}], ["docker0", "br-+"], ["192.0.2.1", "2001:db8::1"]) == []
    assert "not a port" in problems([{"proto": "tcp", "to_port": "0"}])[0]


@pytest.mark.parametrize(
    ("interfaces", "controllers", "message"),
    [
        pytest.param([], [], "ufw_docker_interfaces is empty", id="no interface"),
        pytest.param(["docker0", "a b"], [], "ufw_docker_interfaces: 'a b'", id="interface"),
        pytest.param(["docker0"], ["ctl.example.com"], "ufw_controller_addresses: 'ctl.example.com'", id="name"),
        pytest.param(["docker0"], ["10.89.5.0/24"], "ufw_controller_addresses: '10.89.5.0/24'", id="network"),
    ],
)
def test_what_is_wrong_with_options_is_said_once(interfaces, controllers, message):
    (problem,) = problems([{"from_ip": controllers}], interfaces, controllers)
    assert problem.startswith(message)
