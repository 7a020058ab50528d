"""What every option does, after a power cut."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.usefixtures("as_root")


def test_packages(host):
    assert host.package("tree").is_installed


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("net.ipv4.tcp_keepalive_time", 600),
        ("net.ipv4.conf.eth0.log_martians", 0),
        pytest.param("net.ipv4.tcp_rfc1337", 0, id="taken-out"),
        pytest.param("net.ipv4.tcp_syncookies", 1, id="kept"),
    ],
)
def test_kernel_settings_over_the_roles_own(host, name, value):
    assert host.sysctl(name) == value


def test_memory_of_databases_has_one_owner(host):
    """What is written: vm.* belongs to the machine, and a container cannot write huge pages, so no file asks it to."""
    assert "\nvm.overcommit_memory = 1\n" in host.file("/etc/sysctl.d/60-shipshape.conf").content_string
    assert not host.file("/etc/tmpfiles.d/60-shipshape-hugepages.conf").exists


def test_updates(host):
    said = host.run("LC_ALL=C unattended-upgrade --dry-run --debug 2>&1").stdout
    (origins,) = [line for line in said.splitlines() if "Allowed origins are" in line]
    for origin in ["label=Debian-Security", "label=Debian,", "origin=Docker,label=Docker CE"]:
        assert origin in origins + ","
    settings = host.check_output("apt-config dump Unattended-Upgrade")
    for line in [
        r'Package-Blacklist:: "libc6\.$";',
        'Package-Blacklist:: "^linux-image";',
        'Automatic-Reboot "true";',
        'Automatic-Reboot-Time "03:30";',
        'Automatic-Reboot-WithUsers "false";',
        'Mail "ops@example.com";',
        'MailReport "only-on-error";',
        'Remove-Unused-Dependencies "false";',
    ]:
        assert f"Unattended-Upgrade::{line}" in settings


def test_clock(host):
    settings = host.check_output("systemd-analyze cat-config systemd/timesyncd.conf").splitlines()
    assert [line for line in settings if line.startswith("NTP=")][-1] == "NTP=ntp1.example.com ntp2.example.com"
    assert host.check_output("date --date=2026-07-01T12:00Z +%H:%M%Z") == "14:00CEST"
    assert host.check_output("date --date=2026-01-01T12:00Z +%H:%M%Z") == "13:00CET"


def test_language(host, login):
    assert {"de_DE.utf8", "en_GB.utf8"} <= set(host.check_output("locale -a").split())
    assert login("alice", "locale").stdout.splitlines()[0] == "LANG=de_DE.UTF-8"
    assert "Datei" in login("alice", "ls /nonexistent").stderr


def test_journal(host):
    settings = host.check_output("systemd-analyze cat-config systemd/journald.conf").splitlines()
    for wanted in ["SystemMaxUse=200M", "MaxRetentionSec=1month", "RateLimitBurst=5000", "ForwardToSyslog=no"]:
        assert [line for line in settings if line.startswith(wanted.partition("=")[0] + "=")][-1] == wanted


def test_core_dumps_are_allowed(host):
    for name in ["security/limits.d", "systemd/system.conf.d", "systemd/coredump.conf.d"]:
        assert not host.file(f"/etc/{name}/60-shipshape.conf").exists
    assert "fs.suid_dumpable = 2" in host.file("/etc/sysctl.d/60-shipshape.conf").content_string


def test_banner(host):
    assert host.file("/etc/issue").content_string == "Property of Example Ltd.\n"
    assert host.file("/etc/issue.net").content_string == "Property of Example Ltd.\n"


def test_administrator_logs_in_and_becomes_root(host, login):
    assert login("alice", "sudo -n id -un").stdout == "root\n"
    assert login("alice", "exec $SHELL -lc umask").stdout == "0077\n"
    assert login("alice", "sudo -n sh -c umask").stdout == "0022\n"
    assert "adm" in host.user("alice").groups
    assert host.user("alice").shell == "/bin/sh"


def test_sudo_with_a_password(login):
    assert login("bob", "sudo -n true").returncode != 0
    assert login("bob", "sudo -S -p '' id -un", stdin="correct horse\n").stdout == "root\n"
    assert login("bob", "sudo -S -p '' id -un", stdin="wrong\n").returncode != 0


def test_sudo_keeps_a_log(host, login):
    login("alice", "sudo -n /bin/true")
    assert "alice" in host.file("/var/log/sudo.log").content_string


def test_passwords(host):
    quality = host.file("/etc/security/pwquality.conf").content_string
    assert "\nminlen = 8\nminclass = 2\n#" in quality
    auth = host.file("/etc/pam.d/common-auth").content_string
    assert "deny=2 fail_interval=60 unlock_time=60" in auth
    assert "pam_pwhistory" not in host.file("/etc/pam.d/common-password").content_string


def test_session_modules_and_package_check(host):
    assert not host.file("/etc/profile.d/shipshape-session.sh").exists
    settings = host.check_output("modprobe --showconfig")
    assert "install sctp /bin/false" in settings
    assert "usb_storage" not in settings
    assert not host.file("/etc/systemd/system/shipshape-debsums.timer").exists


def test_health_command(host):
    report = json.loads(host.check_output("shipshape health --format json"))
    assert {each["name"]: each["status"] for each in report["checks"]} == {"disk": "healthy", "ssh": "healthy"}


def test_no_unit_failed(host):
    assert host.check_output("systemctl --failed --no-legend") == ""
