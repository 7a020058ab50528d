"""What sshd does on the wire when the role ran without a single variable, after a power cut."""

from __future__ import annotations

import pathlib
import subprocess

import pytest

pytestmark = pytest.mark.usefixtures("as_root")

AUDIT = pathlib.Path(__file__).resolve().parents[3] / "tests/grade/ssh-audit"


def effective(host, user="admin"):
    output = host.check_output(f"sshd -T -C user={user},host=192.0.2.1,addr=192.0.2.1")
    return dict(line.split(" ", 1) for line in output.splitlines() if " " in line)


def attempt(address, user, *options):
    words = ["ssh", "-F", "/dev/null", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    words += ["-o", "LogLevel=INFO", "-o", "NumberOfPasswordPrompts=0", "-o", "PubkeyAuthentication=no", *options]
    return subprocess.run(
        [*words, f"{user}@{address}", "true"], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("passwordauthentication", "no"),
        ("kbdinteractiveauthentication", "no"),
        ("permitrootlogin", "no"),
        ("permitemptypasswords", "no"),
        ("x11forwarding", "no"),
        ("allowtcpforwarding", "no"),
        ("allowagentforwarding", "no"),
        ("maxauthtries", "4"),
        ("logingracetime", "30"),
        ("loglevel", "VERBOSE"),
        ("requiredrsasize", "3072"),
    ],
)
def test_effective_settings(host, keyword, value):
    assert effective(host)[keyword] == value


def test_cloud_init_still_asks_for_passwords_and_loses(host):
    assert "PasswordAuthentication yes" in host.check_output("cat /etc/ssh/sshd_config.d/50-cloud-init.conf")
    assert effective(host)["passwordauthentication"] == "no"


@pytest.mark.parametrize("user", ["admin", "root"])
def test_only_keys_are_offered(address, user):
    refused = attempt(address, user)
    assert refused.returncode == 255
    assert "Permission denied (publickey)" in refused.stderr


def test_a_weak_exchange_is_refused(address):
    refused = attempt(address, "admin", "-o", "KexAlgorithms=+diffie-hellman-group14-sha1")
    old = attempt(address, "admin", "-o", "KexAlgorithms=diffie-hellman-group14-sha1")
    assert "Permission denied (publickey)" in refused.stderr
    assert "no matching key exchange method" in old.stderr


def test_ssh_audit_passes(address):
    graded = subprocess.run([str(AUDIT), address], capture_output=True, text=True, check=False)
    assert graded.returncode == 0, graded.stdout + graded.stderr
    assert "Passed, 0 fail" in graded.stdout


def test_the_controller_is_exempt_from_penalties(host):
    if "persourcepenalties" not in effective(host):
        assert host.system_info.codename == "bookworm", "only OpenSSH before 9.8 has no penalties"
        return
    assert effective(host)["persourcepenaltyexemptlist"] != "none"


def test_the_distribution_s_host_keys_are_left_alone(host):
    assert host.file("/etc/ssh/ssh_host_rsa_key").exists
    assert host.file("/etc/ssh/ssh_host_rsa4096_key").mode == 0o600
    assert host.check_output("ssh-keygen -lf /etc/ssh/ssh_host_rsa4096_key.pub").startswith("4096 ")


def test_no_timer_is_left_and_the_drop_in_is_root_s(host):
    assert host.run("ls /etc/systemd/system | grep shipshape-rollback").rc == 1
    drop_in = host.file("/etc/ssh/sshd_config.d/00-shipshape.conf")
    assert (drop_in.user, drop_in.mode) == ("root", 0o600)
