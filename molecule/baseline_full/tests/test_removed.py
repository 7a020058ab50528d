"""The role takes its files back. The last test of the scenario, as the file names are sorted."""

from __future__ import annotations

import pytest
from scenario import ROOT, run_playbook


@pytest.fixture(scope="module")
def removed():
    runs = [run_playbook(ROOT / "molecule/shared/converge.yml", "-e", "baseline_state=absent") for _run in range(2)]
    assert [run.returncode for run in runs] == [0, 0], runs[0].stdout + runs[1].stdout
    return runs


def test_second_run_changes_nothing(removed):
    recap = removed[1].stdout.split("PLAY RECAP")[1]
    assert recap.count("changed=0") == recap.count("ok=")


def test_files_are_gone(host, removed):
    with host.sudo():
        found = host.check_output("find /etc /usr/local -name '*shipshape*' -not -path '/etc/shipshape'")
        assert sorted(found.split()) == ["/etc/sudoers.d/60-shipshape-alice", "/etc/sudoers.d/60-shipshape-bob"]
        settings = host.check_output("systemd-analyze cat-config systemd/journald.conf")
        assert "SystemMaxUse=200M" not in settings


def test_passwords_are_as_before(host, removed):
    with host.sudo():
        assert host.run("grep -rl 'faillock\\|pwhistory' /etc/pam.d/common-*").stdout == ""
        assert host.run("grep -l shipshape /etc/login.defs /etc/security/pwquality.conf").stdout == ""
        assert "pam_unix.so" in host.file("/etc/pam.d/common-auth").content_string


def test_people_and_packages_stay(host, removed, login):
    assert host.user("alice").exists
    assert host.package("unattended-upgrades").is_installed
    assert login("alice", "sudo -n id -un").stdout == "root\n"


def test_the_way_in_stays(host, removed):
    with host.sudo():
        assert host.run("visudo --check").rc == 0
        assert host.check_output("id -u") == "0"
