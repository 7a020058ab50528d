"""The lockout drill: whatever is asked of the sshd role, a person can still log in afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import time

import pytest

from .conftest import until

# Ten minutes of logins that must not be lost; the scenarios of the role stand for it on every commit.
pytestmark = pytest.mark.nightly

ROLE = [
    {
        "hosts": "all",
        "gather_facts": False,
        "tasks": [{"ansible.builtin.import_role": {"name": "shipshape.stack.sshd", "tasks_from": "connect"}}],
    },
    {"hosts": "all", "gather_facts": False, "become": True, "roles": ["shipshape.stack.sshd"]},
]
DROP_IN = "/etc/ssh/sshd_config.d/00-shipshape.conf"


@pytest.fixture(scope="module")
def converged(hosts):
    run = hosts.play(ROLE)
    assert run.code == 0, run.output
    return hosts


def drop_ins(hosts):
    return [hosts.shell(name, f"cat {DROP_IN}; stat -c '%a %U %Y' {DROP_IN}") for name in hosts.names]


def back_to_22(hosts, changes=None):
    """With an inventory that names the port from before."""
    moved = hosts.folder / "moved.yml"
    moved.write_text(json.dumps({"all": {"hosts": {name: {"ansible_port": 2222} for name in hosts.names}}}))
    run = hosts.play(ROLE, "-i", str(moved))
    assert run.code == 0, run.output
    assert changes is None or [run.changed(name) for name in hosts.names] == [changes, changes]
    assert all(hosts.can_log_in(name, port=22) for name in hosts.names)


def no_timer_left(hosts):
    for name in hosts.names:
        assert hosts.shell(name, "ls /etc/systemd/system | grep shipshape-rollback || true") == ""


REFUSED = [
    pytest.param({"sshd_ciphers": ["aes256-rot13"]}, "sshd_ciphers: OpenSSH", id="bad-cipher"),
    pytest.param({"sshd_allow_groups": ["wheel"]}, "has no group of the login user admin", id="allow-groups"),
    pytest.param({"sshd_allow_users": ["bob"]}, "leaves out the login user admin", id="allow-users"),
    pytest.param(
        {"sshd_admin_networks": ["192.0.2.0/24"]}, "the address that this controller comes from", id="network"
    ),
    pytest.param({"sshd_ports": [2222, 70000]}, "not a port (1-65535): 70000", id="no-port"),
    pytest.param({"sshd_portz": [2222]}, "did you mean sshd_ports", id="misspelt-option"),
    pytest.param({"sshd_rollback_seconds": 5}, "give 20 to 3600", id="timer-too-short"),
    pytest.param({"sshd_profile": "paranoid"}, "value of sshd_profile must be one of", id="unknown-profile"),
]


@pytest.mark.parametrize(("variables", "words"), REFUSED)
def test_refused_before_any_change(converged, variables, words):
    before = drop_ins(converged)
    run = converged.play(ROLE, variables=variables)
    assert run.code != 0
    assert words in run.text
    assert all(run.changed(name) == 0 for name in converged.names)
    assert drop_ins(converged) == before
    assert all(converged.can_log_in(name) for name in converged.names)


def test_no_key_is_refused(converged):
    # The login of this run is kept open while the key is taken away, as it would be by another administrator.
    play = [
        {
            "hosts": "d13",
            "gather_facts": False,
            "become": True,
            "pre_tasks": [{"ansible.builtin.command": "mv /home/admin/.ssh/authorized_keys /root/kept_keys"}],
            "roles": ["shipshape.stack.sshd"],
        }
    ]
    try:
        run = converged.play(play, variables={"sshd_max_sessions": 7})
    finally:
        converged.shell("d13", "mv /root/kept_keys /home/admin/.ssh/authorized_keys")
    assert run.code != 0
    assert "has no key in /home/admin/.ssh/authorized_keys" in run.text
    assert "MaxSessions 7" not in converged.shell("d13", f"cat {DROP_IN}")
    assert converged.can_log_in("d13")


FAULTS = [
    pytest.param(
        "mv /etc/sudoers.d/90-cloud-init-users /root/kept",
        "mv /root/kept /etc/sudoers.d/90-cloud-init-users",
        "sudo",
        id="sudo-path-lost",
    ),
    pytest.param(
        "systemd-run --unit=squatter python3 -m http.server 2222;"
        " until grep -q ':08AE .* 0A' /proc/net/tcp; do sleep 0.1; done",
        "systemctl stop squatter",
        "port 2222 of sshd_ports is used by python3",
        id="port-in-use",
    ),
    pytest.param(
        "echo Nonsense yes >/etc/ssh/sshd_config.d/99-foreign.conf",
        "rm /etc/ssh/sshd_config.d/99-foreign.conf",
        "99-foreign.conf",
        id="broken-drop-in-of-someone-else",
    ),
]


@pytest.mark.parametrize(("fault", "mend", "words"), FAULTS)
def test_a_fault_of_the_host_is_found_before_any_change(converged, fault, mend, words):
    with converged.broken("d13", fault, mend):
        run = converged.play(ROLE, "--limit", "d13", variables={"sshd_ports": [22, 2222]})
    assert run.code != 0
    assert words in run.text
    assert run.changed("d13") == 0
    assert "2222" not in converged.shell("d13", f"cat {DROP_IN}")
    assert converged.can_log_in("d13")


def test_controller_without_a_common_algorithm_is_refused(converged, monkeypatch, tmp_path):
    # ssh on this controller is told by its own configuration to offer one old exchange only.
    config = tmp_path / "config"
    config.write_text("KexAlgorithms curve25519-sha256\n")
    wrapper = tmp_path / "ssh"
    wrapper.write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F {config} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    # Debian 13's drop-in is post-quantum only, so this controller could not even connect: it is loosened first.
    converged.shell("d13", f"sed -i 's/^KexAlgorithms.*/&,curve25519-sha256/' {DROP_IN} && systemctl reload ssh")
    try:
        run = converged.play(ROLE, "--limit", "d13")
    finally:
        monkeypatch.undo()
        assert converged.play(ROLE, "--limit", "d13").code == 0
    assert run.code != 0
    assert "have nothing in common" in run.text
    assert converged.can_log_in("d13")


def test_a_foreign_file_that_wins_is_named_and_the_change_taken_back(converged):
    foreign = "/etc/ssh/sshd_config.d/00-aaa-foreign.conf"
    before = drop_ins(converged)
    for name in converged.names:
        converged.shell(name, f"echo MaxSessions 99 >{foreign}")
    try:
        unchanged = converged.play(ROLE)
        changed = converged.play(ROLE, variables={"sshd_login_grace_time": 25})
    finally:
        for name in converged.names:
            converged.shell(name, f"rm {foreign}")
    for run in (unchanged, changed):
        assert run.code != 0
        assert f"MaxSessions: asked for '10', in effect is '99' ({foreign}:1 sets '99')" in run.text
    assert "The old sshd configuration is back" in changed.text
    assert [text.rpartition("\n")[0].rpartition(" ")[0] for text in drop_ins(converged)] == [
        text.rpartition("\n")[0].rpartition(" ")[0] for text in before
    ]
    no_timer_left(converged)
    assert converged.play(ROLE).code == 0


def test_a_login_that_fails_after_the_change_is_taken_back(converged):
    # sshd accepts this, and everything but a real login looks right.
    started = time.monotonic()
    run = converged.play(
        ROLE, variables={"sshd_config": {"AuthorizedKeysFile": "/nonexistent/%u"}, "sshd_rollback_seconds": 30}
    )
    assert run.code != 0
    assert "The old sshd configuration is back" in run.text
    assert time.monotonic() - started < 150
    assert all(converged.can_log_in(name) for name in converged.names)
    no_timer_left(converged)
    again = converged.play(ROLE)
    assert (again.code, [again.changed(name) for name in converged.names]) == (0, [0, 0])


def test_a_lost_controller_is_no_lockout(converged):
    """The run dies between the reload and its login: the hosts put the old files back by themselves."""
    variables = {"sshd_config": {"AuthorizedKeysFile": "/nonexistent/%u"}, "sshd_rollback_seconds": 20}
    converged.play_killed_at(ROLE, "activate | Log in anew", variables=variables)
    assert not converged.can_log_in("d13"), "the change was not in effect: this test would prove nothing"
    # Nor is a daemon that did not survive the change.
    converged.shell("d12", "systemctl stop ssh.service")
    until(lambda: all(converged.can_log_in(name) for name in converged.names), 60, "the timer put the old files back")
    no_timer_left(converged)
    again = converged.play(ROLE)
    assert (again.code, [again.changed(name) for name in converged.names]) == (0, [0, 0])


def test_port_change_and_the_same_inventory_again_both_ways(converged):
    there = converged.play(ROLE, variables={"sshd_ports": [2222]})
    assert there.code == 0, there.output
    assert all(converged.can_log_in(name, port=2222) for name in converged.names)
    assert not any(converged.can_log_in(name, port=22) for name in converged.names)
    again = converged.play(ROLE, variables={"sshd_ports": [2222]})
    assert (again.code, [again.changed(name) for name in converged.names]) == (0, [0, 0])

    # Back, with the port that they have now in the inventory, twice.
    back_to_22(converged)
    assert not any(converged.can_log_in(name, port=2222) for name in converged.names)
    back_to_22(converged, changes=0)


def test_a_new_port_that_a_firewall_blocks_is_taken_back(converged):
    converged.shell("d13", "apt-get install --yes --no-install-recommends iptables >/dev/null 2>&1")
    rule = "INPUT --protocol tcp --dport 2222 --jump DROP"
    with converged.broken("d13", f"iptables --append {rule}", f"iptables --delete {rule}"):
        variables = {"sshd_ports": [2222], "sshd_rollback_seconds": 100}
        run = converged.play(ROLE, "--limit", "d13", variables=variables)
    assert run.code != 0
    assert "The old sshd configuration is back" in run.text
    assert converged.can_log_in("d13")
    no_timer_left(converged)
    again = converged.play(ROLE, "--limit", "d13")
    assert (again.code, again.changed("d13")) == (0, 0)


def test_a_main_file_from_before_drop_ins_is_mended_and_taken_back_with_the_rest(converged):
    main = "/etc/ssh/sshd_config"
    old = f"cp {main} /root/main; sed -i /^Include/d {main}; echo AllowUsers bob >/etc/ssh/sshd_config.d/50-old.conf"
    with converged.broken("d13", old, f"cp /root/main {main}; rm -f /etc/ssh/sshd_config.d/50-old.conf"):
        refused = converged.play(ROLE, "--limit", "d13")
        assert refused.code != 0
        assert converged.can_log_in("d13")
        converged.shell("d13", "rm /etc/ssh/sshd_config.d/50-old.conf")
        mended = converged.play(ROLE, "--limit", "d13")
        assert mended.code == 0, mended.output
        assert converged.shell("d13", f"head -n 1 {main}") == "Include /etc/ssh/sshd_config.d/*.conf\n"
    assert converged.play(ROLE, "--limit", "d13").code == 0


def test_a_guessed_port_that_is_another_host_is_not_taken(converged, tmp_path):
    """As behind a gateway: d12 is down, and port 22 of its address is d13."""
    wrong = tmp_path / "wrong.yml"
    entry = {"ansible_host": converged.address("d13"), "ansible_port": 2022}
    wrong.write_text(json.dumps({"all": {"hosts": {"d12": entry}}}))
    run = converged.play(ROLE, "-i", str(wrong), "--limit", "d12", variables={"sshd_max_sessions": 7})
    assert run.code != 0
    assert "Port 22 does not answer, or not as d12." in run.text
    assert "MaxSessions 7" not in converged.shell("d13", f"cat {DROP_IN}")


def test_socket_activation_is_respected(converged):
    for name in converged.names:
        converged.shell(name, "systemctl disable --now ssh.service && systemctl enable --now ssh.socket")
    try:
        there = converged.play(ROLE, variables={"sshd_ports": [2222]})
        assert there.code == 0, there.output
        assert all(converged.can_log_in(name, port=2222) for name in converged.names)
        for name in converged.names:
            assert converged.shell(
                name, "systemctl is-active ssh.socket; systemctl is-enabled ssh.service || true"
            ) == ("active\ndisabled\n")
        again = converged.play(ROLE, variables={"sshd_ports": [2222]})
        assert (again.code, [again.changed(name) for name in converged.names]) == (0, [0, 0])
    finally:
        for name in converged.names:
            converged.shell(name, "systemctl disable --now ssh.socket; systemctl stop ssh; systemctl enable --now ssh")
        back_to_22(converged)


def test_absent_takes_the_drop_in_away_and_leaves_a_way_in(converged):
    gone = converged.play(ROLE, variables={"sshd_state": "absent"})
    assert gone.code == 0, gone.output
    for name in converged.names:
        assert "passwordauthentication yes" in converged.shell(name, "sshd -T")
        assert converged.shell(name, f"ls {DROP_IN} /etc/systemd/system/ssh.socket.d/*.conf 2>/dev/null || true") == ""
        assert converged.can_log_in(name)
    again = converged.play(ROLE, variables={"sshd_state": "absent"})
    assert (again.code, [again.changed(name) for name in converged.names]) == (0, [0, 0])


def test_ssh_is_checked_strictly(converged):
    """The logins of this module prove something: a host key that is not known is refused."""
    done = subprocess.run(
        [
            "ssh",
            "-F",
            str(converged.state / "ssh_config"),
            "-o",
            "UserKnownHostsFile=/dev/null",
            "-o",
            "ControlPath=none",
            "-o",
            "BatchMode=yes",
            "d13",
            "true",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
