"""What a caller from outside gets, after the power was cut once."""

from __future__ import annotations

import socket

import pytest

pytestmark = pytest.mark.usefixtures("as_root")


@pytest.fixture
def listener(host):
    """A service that nobody declared, on both families."""
    serve = "systemd-run --quiet --unit=undeclared python3 -m http.server --bind :: 9999"
    host.check_output(serve)
    yield 9999
    host.check_output("systemctl stop undeclared.service")


def answers(address, port):
    try:
        with socket.create_connection((address, port), timeout=2):
            return True
    except OSError:
        return False


def test_ssh_answers(address):
    assert answers(address, 22)


def test_an_undeclared_port_is_shut_but_for_the_host_itself(host, address, listener):
    host.check_output(
        f"sleep 1; python3 -c 'import socket; socket.create_connection((\"::1\", {listener}), timeout=2)'"
    )
    assert not answers(address, listener)


def test_the_host_reaches_others(host, address):
    """Replies come back in, and so does what is related to them."""
    gateway = host.check_output("ip -4 route show default").split()[2]
    host.check_output(f"ping -c1 -W2 {gateway}")


@pytest.mark.parametrize("tool", ["iptables", "ip6tables"])
def test_the_ruleset_was_loaded_at_boot(host, tool):
    saved = host.check_output(f"{tool}-save -t filter")
    assert ":INPUT DROP" in saved
    assert ":FORWARD DROP" in saved
    assert ":OUTPUT ACCEPT" in saved
    assert "-A DOCKER-USER -j shipshape-published" in saved


def test_ufw_says_the_same(host):
    status = host.check_output("ufw status verbose")
    assert "Status: active" in status
    assert "deny (incoming), allow (outgoing)" in status
    assert sum(line.startswith("22/tcp") for line in status.splitlines()) == 2


def test_no_switch_is_left_armed(host):
    assert not host.file("/etc/systemd/system/shipshape-rollback-ufw.timer").exists
