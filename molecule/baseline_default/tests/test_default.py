"""What a host has when the role ran without a single variable, after a power cut."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.usefixtures("as_root")


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


def test_the_memory_of_databases_is_left_alone_where_there_are_none(host):
    assert host.run("grep -r overcommit /etc/sysctl.d").rc == 1


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


@pytest.fixture
def people(host):
    """Two accounts with a password: an administrator, and somebody who is none."""
    for name, groups in [("guest", ""), ("boss", "--groups sudo")]:
        host.check_output(f"id {name} || useradd --create-home --shell /bin/bash {groups} {name}")
        host.check_output(f"echo '{name}:Correct-Horse-42-Battery' | chpasswd")
        host.check_output(f"faillock --user {name} --reset")


def becomes(host, name, password="Correct-Horse-42-Battery"):
    return host.run(f"echo '{password}' | runuser -u nobody -- su {name} -c true").rc == 0


def test_wrong_passwords_lock_an_account_but_no_administrator(host, people):
    assert becomes(host, "guest")
    assert becomes(host, "boss")
    for _attempt in range(3):
        assert not becomes(host, "guest", "wrong")
        assert not becomes(host, "boss", "wrong")
    assert not becomes(host, "guest")
    assert becomes(host, "boss")
    # Root, sudo without a password and keys ask nobody for one.
    assert host.run("su guest -c true").rc == 0
    host.check_output("faillock --user guest --reset")
    assert becomes(host, "guest")


def test_weak_passwords_are_not_taken(host, people):
    def choose(password):
        words = f"Correct-Horse-42-Battery\\n{password}\\n{password}\\n"
        return host.run(f"printf '{words}' | runuser -u guest -- passwd")

    for weak in ["Sh0rt-One", "onlylowercaseletters"]:
        refused = choose(weak)
        assert refused.rc != 0
        assert "BAD PASSWORD" in refused.stdout + refused.stderr
    assert choose("Different-Zebra-77-Staple").rc == 0
    assert becomes(host, "guest", "Different-Zebra-77-Staple")


def test_new_homes_and_hashes(host, people):
    assert host.file("/home/guest").mode == 0o700
    assert host.check_output("getent shadow guest").startswith("guest:$y$")


def test_idle_shells_end_and_scripts_do_not(host):
    assert host.check_output("su - admin -c 'bash -lic \"echo $TMOUT\"' 2>/dev/null") == ""
    assert host.run("su - admin -c 'bash -lic \"echo \\$TMOUT\"'").stdout.strip().endswith("3600")
    assert host.check_output("su - admin -c 'echo $TMOUT'") == ""


def test_unused_modules_are_not_loaded(host):
    settings = host.check_output("modprobe --showconfig")
    for module in ["sctp", "dccp", "usb_storage", "firewire_core"]:
        assert f"install {module} /bin/false" in settings
    for module in ["overlay", "vfat", "squashfs", "br_netfilter"]:
        assert f"install {module} " not in settings


def test_a_changed_program_is_found_and_reported(host):
    assert host.file("/etc/systemd/system/timers.target.wants/shipshape-debsums.timer").exists
    assert host.service("shipshape-debsums.timer").is_running
    host.check_output("systemctl start shipshape-debsums.service")
    host.check_output("cp -a /usr/bin/less /root/less && echo >> /usr/bin/less")
    try:
        assert host.run("systemctl start shipshape-debsums.service").rc != 0
        assert "/usr/bin/less" in host.check_output("journalctl --unit=shipshape-debsums.service --no-pager")
        assert host.run("shipshape health").rc != 0
    finally:
        host.check_output("mv /root/less /usr/bin/less && systemctl start shipshape-debsums.service")


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
