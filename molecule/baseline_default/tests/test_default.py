"""What a host has when the role ran without a single variable, after a power cut."""

from __future__ import annotations

import json

import pytest


@pytest.fixture(autouse=True)
def _as_root(host):
    with host.sudo():
        yield


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("net.ipv4.tcp_syncookies", 1),
        ("net.ipv4.tcp_rfc1337", 1),
        ("net.ipv4.conf.all.accept_redirects", 0),
        ("net.ipv4.conf.default.accept_redirects", 0),
        ("net.ipv4.conf.eth0.accept_redirects", 0),
        ("net.ipv4.conf.eth0.rp_filter", 2),
        ("net.ipv6.conf.eth0.accept_redirects", 0),
    ],
)
def test_kernel_settings_are_in_effect(host, name, value):
    assert host.sysctl(name) == value


@pytest.mark.parametrize(
    "name", ["net.ipv4.ip_forward", "net.ipv4.conf.all.forwarding", "net.ipv6.conf.all.forwarding"]
)
def test_forwarding_is_left_to_docker_and_routers(host, name):
    assert host.run(f"grep -F '{name.rsplit('.', 1)[-1]}' /etc/sysctl.d/60-shipshape.conf").rc == 1


def test_updates_come_from_the_security_origin_only(host):
    said = host.run("unattended-upgrade --dry-run --debug 2>&1").stdout
    (origins,) = [line for line in said.splitlines() if "Allowed origins are" in line]
    codename = host.system_info.codename
    assert f"origin=Debian,codename={codename}-security,label=Debian-Security" in origins
    assert origins.count("origin=") == 2


def test_updates_run_daily(host):
    settings = host.check_output("apt-config dump APT::Periodic")
    assert 'APT::Periodic::Unattended-Upgrade "1";' in settings
    assert 'APT::Periodic::Update-Package-Lists "1";' in settings
    for timer in ["apt-daily.timer", "apt-daily-upgrade.timer"]:
        assert host.service(timer).is_running


def test_an_origin_without_its_semicolon_is_refused(host, updates_check):
    """apt itself takes such a file and drops the origin without a word."""
    good = "/etc/apt/apt.conf.d/52-shipshape-updates"
    host.run(f"sed '0,/Security\";/s//Security\"/' {good} > /tmp/broken")
    assert host.run("apt-config -c /tmp/broken dump").rc == 0
    assert host.run(updates_check(good, 2)).rc == 0
    refused = host.run(updates_check("/tmp/broken", 2))
    assert refused.rc != 0
    assert "apt reads" in refused.stderr


def test_journal_is_limited_and_kept(host):
    settings = host.check_output("systemd-analyze cat-config systemd/journald.conf").splitlines()
    assert [line for line in settings if line.startswith("SystemMaxUse=")][-1] == "SystemMaxUse=1G"
    assert host.run("journalctl --disk-usage").rc == 0
    # sshd's first start was before the power cut.
    starts = host.check_output("journalctl --unit=ssh.service --no-pager | grep --count 'Starting ssh.service'")
    assert int(starts) >= 2


def test_umask_of_people_and_of_root(host):
    assert host.check_output("su - admin -c umask") == "0027"
    assert host.check_output("su - admin -c 'sudo sh -c umask'") == "0022"
    assert host.check_output("su - admin -c 'sudo -i umask'") == "0022"
    assert host.check_output("bash -lc umask") == "0022"


def test_a_file_made_under_sudo_is_readable_for_apt(host):
    host.check_output("su - admin -c 'sudo touch /etc/apt/keyrings-test'")
    assert host.file("/etc/apt/keyrings-test").mode == 0o644
    host.check_output("rm /etc/apt/keyrings-test")


def test_no_core_dumps(host):
    assert host.check_output("su - admin -c 'ulimit -Hc'") == "0"
    assert host.check_output("systemctl show --property=DefaultLimitCORE --value") == "0"
    assert host.check_output("systemd-run --quiet --pipe --wait sh -c 'ulimit -Hc'") == "0"


def test_clock_zone_and_language(host):
    assert host.service("systemd-timesyncd").is_enabled
    assert host.file("/etc/localtime").linked_to == "/usr/share/zoneinfo/Etc/UTC"
    assert host.check_output("su - admin -c locale").splitlines()[0] == "LANG=C.UTF-8"


def test_sudo_policy_is_valid_and_in_force(host):
    assert host.run("visudo --check").rc == 0
    assert host.file("/etc/sudoers.d/60-shipshape").mode == 0o440
    for policy in ["use_pty", "umask_override", "umask=0022", "timestamp_timeout=5"]:
        assert policy in host.check_output("sudo -l -U admin")


def test_banner(host):
    assert host.file("/etc/issue.net").content_string.startswith("Authorised users only.")


def test_health_command(host):
    found = host.run("shipshape health --format json")
    states = {each["name"]: each["status"] for each in json.loads(found.stdout)["checks"]}
    # The load is the machine's, which is busy with other tests.
    assert states.pop("load") in ("healthy", "degraded")
    assert states.pop("clock") == "skipped"
    assert states == dict.fromkeys(["disk", "memory", "failed units", "restarts"], "healthy")
    assert host.file("/etc/shipshape/health.json").mode == 0o600


def test_nothing_waits_for_a_confirmation(host):
    assert not host.file("/var/lib/shipshape/config_files/baseline/pending.json").exists


def test_no_unit_failed(host):
    assert host.check_output("systemctl --failed --no-legend") == ""
