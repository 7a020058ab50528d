"""Every option of the role shows in what the firewall really does."""

from __future__ import annotations

import json
import os
import pathlib
import socket

import pytest
import yaml

pytestmark = pytest.mark.usefixtures("as_root")

SCENARIO = pathlib.Path(__file__).resolve().parents[1]
SPECS = pathlib.Path(__file__).resolve().parents[3] / "roles/ufw/meta/argument_specs.yml"
KNOCK = """
import socket, sys
for _ in range(9):
    try:
        socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=1).close()
        print("in")
    except OSError as exc:
        print(type(exc).__name__)
"""


@pytest.fixture(scope="module")
def serve(host):
    """Listeners on the declared ports and on one that is not."""
    with host.sudo():
        for port in (8000, 9001, 9002, 9003, 9999):
            host.check_output(f"systemd-run --quiet --unit=serve-{port} python3 -m http.server --bind :: {port}")
        host.check_output("sleep 1")
        yield
        host.check_output("systemctl stop 'serve-*'")


@pytest.fixture
def neighbour(address):
    """The address of the other host of this scenario."""
    state = pathlib.Path(os.environ["MOLECULE_PROJECT_DIRECTORY"]) / ".cache/hosts"
    known = json.loads((state / os.environ["MOLECULE_SCENARIO_NAME"] / "hosts.json").read_text(encoding="utf-8"))
    return next(entry["address"] for entry in known["hosts"] if entry["address"] != address)


def knock(address, port):
    try:
        with socket.create_connection((address, port), timeout=2):
            return "in"
    except OSError as exc:
        return type(exc).__name__


def test_every_option_of_the_role_is_set_in_this_scenario():
    options = yaml.safe_load(SPECS.read_text(encoding="utf-8"))["argument_specs"]["main"]["options"]
    scenario = yaml.safe_load((SCENARIO / "molecule.yml").read_text(encoding="utf-8"))
    assert set(scenario["provisioner"]["inventory"]["group_vars"]["all"]) == set(options)


@pytest.mark.parametrize(
    ("port", "outcome"),
    [
        pytest.param(22, "in", id="ssh"),
        pytest.param(8000, "in", id="list"),
        pytest.param(9001, "in", id="range"),
        pytest.param(9002, "ConnectionRefusedError", id="rejected by a rule"),
        pytest.param(9999, "ConnectionRefusedError", id="rejected by default"),
    ],
)
def test_from_outside(address, serve, port, outcome):
    assert knock(address, port) == outcome


def test_the_controller_is_not_slowed_down(address):
    assert [knock(address, 22) for _time in range(12)] == ["in"] * 12


def test_others_are_let_out_only_where_a_rule_says_so(host, neighbour):
    """Outgoing is denied: a host cannot even call its neighbour's SSH."""
    assert "in" not in host.check_output(f"python3 -c '{KNOCK}' {neighbour} 22".replace("range(9)", "range(1)"))


def test_the_limit_turns_a_busy_caller_away(address, serve):
    outcomes = [knock(address, 9003) for _time in range(9)]
    assert outcomes[:5] == ["in"] * 5
    assert outcomes[-1] != "in"


@pytest.mark.parametrize(
    ("tool", "rule"),
    [
        ("iptables", "-A ufw-user-input -s 192.0.2.66/32 -j DROP"),
        ("ip6tables", "-A ufw6-user-input -s 2001:db8::66/128 -j DROP"),
        ("iptables", "-A ufw-user-forward -d 10.1.0.0/16 -i wg0 -o eth0 -j ACCEPT"),
        ("iptables", "-A ufw-user-output -p tcp -m multiport --dports 80,443 -j ACCEPT"),
        ("iptables", "-A ufw-user-input -s 10.0.0.9/32 -p esp -j ACCEPT"),
        ("ip6tables", "-A ufw6-user-input -s fd00::/8 -p tcp -m multiport --dports 22,2222 -j ufw6-user-limit-accept"),
        ("iptables", "[UFW AUDIT] "),
    ],
)
def test_rules_that_are_loaded(host, tool, rule):
    assert rule in host.check_output(f"{tool}-save -t filter")


def test_published_ports_are_left_to_docker(host):
    assert "shipshape-published" not in host.check_output("iptables-save")
