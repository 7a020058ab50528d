"""Mistakes are refused with their reason, and the host stays as it was."""

from __future__ import annotations

from scenario import mistake, run_tasks

MISTAKES = [
    ({"baseline_timezon": "UTC"}, "did you mean baseline_timezone"),
    ({"baseline_timezone": "../../etc/passwd"}, "baseline_timezone: not a name"),
    ({"baseline_timezone": "Europe/Atlantis"}, "no such time zone"),
    ({"baseline_auto_updates": {"extra_origins": ['a"; "b']}}, "extra_origins: write no quotes"),
    ({"baseline_auto_updates": {"reboot_time": "25:00"}}, "reboot_time: write HH:MM"),
    ({"baseline_sudo": {"logfile": "/var/log/x, !authenticate"}}, "logfile: write an absolute path"),
    ({"baseline_passwords": {"min_classes": 5}}, "min_classes: write 1 to 4"),
    ({"baseline_passwords": {"lock_after": -1}}, "less than 0: lock_after"),
    ({"baseline_blocked_modules": ["sctp; rm"]}, "not the name of a module: sctp; rm"),
    ({"baseline_login_timeout_seconds": -1}, "less than 0"),
    ({"baseline_login_umask": "999"}, "three octal digits"),
    ({"baseline_health_checks": [{"name": "x", "type": "disc"}]}, "did you mean disk"),
    ({"baseline_memory_claims": [{"name": "db", "memory": "900G"}]}, "The biggest claims: db 921600 MiB"),
    ({"baseline_memory_claims": [{"name": "db", "memory": "2"}]}, "is not a size"),
    ({"baseline_admins": [{"name": "admin", "state": "absent"}]}, "admin is the login of this run"),
    ({"baseline_admins": [{"name": "admin"}]}, "would remove the ones on the host"),
    (
        {"baseline_admins": [{"name": "bob", "sudo": "password"}, {"name": "eve", "sudo": "password"}]},
        "eve has 'sudo: p",
    ),
    ({"baseline_journald": {"SystemMaxUs": "1G"}}, "SystemMaxUs"),
]
FILES = "/etc/apt/apt.conf.d/* /etc/sudoers.d/* /etc/sysctl.d/* /etc/shipshape/* /etc/systemd/*.d/* /etc/localtime"
STATE = f"sha256sum {FILES}; getent passwd"


def test_mistakes_change_nothing(host):
    with host.sudo():
        before = host.run(STATE).stdout
        found = run_tasks(*(mistake("baseline", *each) for each in MISTAKES))
        assert found.returncode == 0, found.stdout
        recap = found.stdout.split("PLAY RECAP")[1]
        assert recap.count("changed=0") == recap.count("ok=")
        assert host.run(STATE).stdout == before
