"""What the role does without a single variable, after a power cut: nothing is issued, and the timer runs."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.usefixtures("as_root")


def test_the_timer_came_back_with_the_host(host):
    timer = host.service("certbot.timer")
    assert timer.is_enabled
    assert timer.is_running


def test_nothing_is_issued(host):
    assert host.run("ls -A /etc/letsencrypt/live /etc/letsencrypt/accounts").stdout.split() == []
    assert not host.file("/etc/nginx").exists


def test_the_packages_files_are_left_alone(host):
    assert host.check_output("dpkg --verify certbot") == ""


@pytest.mark.parametrize(
    ("path", "mode"),
    [
        ("/etc/letsencrypt/renewal-hooks/deploy/50-shipshape", 0o755),
        ("/etc/letsencrypt/shipshape", 0o700),
        ("/etc/letsencrypt/shipshape/deploy.json", 0o600),
    ],
)
def test_files(host, path, mode):
    found = host.file(path)
    assert (found.mode, found.user, found.group) == (mode, "root", "root")


def test_the_hook_runs_without_a_controller(host):
    hook = "/etc/letsencrypt/renewal-hooks/deploy/50-shipshape"
    assert "is not declared" in host.check_output(f"{hook} something")
    assert host.run(hook).rc == 3
    assert host.run("/usr/bin/certbot -q renew --no-random-sleep-on-renew").rc == 0


def test_no_second_trust(host):
    assert "REQUESTS_CA_BUNDLE" not in host.check_output("systemctl show certbot.service --property=Environment")
