"""What fail2ban does when the role ran without a single variable, after a power cut."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess

import pytest
from scenario import until

pytestmark = pytest.mark.usefixtures("as_root")

ROOT = pathlib.Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])


@pytest.fixture
def places():
    known = json.loads((ROOT / ".cache/hosts/fail2ban_default/hosts.json").read_text(encoding="utf-8"))
    return {entry["name"]: entry for entry in known["hosts"]}


def elsewhere(name, script):
    """Run a script on another host of the scenario."""
    tool = [str(ROOT / "tests/hosts/hosts"), "run", "--group", "fail2ban_default", name, "sh", "-c", script]
    return subprocess.run(tool, capture_output=True, text=True, check=False).stdout


def test_it_came_back_with_the_host(host):
    assert host.service("fail2ban").is_enabled
    until(lambda: host.run("fail2ban-client ping").rc == 0, 20, "an answer")
    assert host.check_output("fail2ban-client status").rstrip().endswith("Jail list:\trecidive, sshd")


def test_it_reads_the_journal(host):
    assert host.package("python3-systemd").is_installed
    assert "Journal matches:" in host.check_output("fail2ban-client status sshd")
    assert "SYSTEMD-JOURNAL" in host.check_output("fail2ban-client get logtarget")


def test_the_self_test_left_nothing_behind(host):
    banned = host.check_output("fail2ban-client banned")
    assert "240.0.0.1" not in banned
    assert "100::1" not in banned
    assert host.run("ls /etc/systemd/system | grep shipshape-rollback").rc == 1


def test_this_host_and_the_controller_are_never_banned(host):
    ignored = host.check_output("fail2ban-client get sshd ignoreip")
    controller = host.check_output(
        "journalctl -u ssh -o cat | grep -o 'Accepted publickey for admin from [^ ]*' | tail -1"
    )
    for address in ("127.0.0.0/8", "::1", controller.split()[-1]):
        assert address in ignored


def test_the_package_s_files_are_left_alone(host):
    assert host.check_output("dpkg --verify fail2ban") == ""


@pytest.mark.parametrize("key", ["address", "address6"])
def test_a_neighbour_that_guesses_is_shut_out(host, places, key):
    here = host.backend.get_pytest_id().rsplit("/", 1)[-1]
    there = next(name for name in places if name != here)
    goal, source = places[here][key], places[there][key]
    login = f"timeout 8 ssh -o BatchMode=yes -o StrictHostKeyChecking=no nobody-here@{goal} true"

    def banned():
        """sshd itself turns a guesser away for some seconds after the first failures, so one round may not do."""
        elsewhere(there, f"seq 12 | xargs -P6 -I% {login}")
        return source in host.check_output("fail2ban-client banned")

    until(banned, 60, f"a ban of {source}")
    probe = f"timeout 3 bash -c 'exec 3<>/dev/tcp/{goal}/22' 2>/dev/null && echo open || echo shut"
    until(lambda: elsewhere(there, probe).strip() == "shut", 5, "the closed port")
