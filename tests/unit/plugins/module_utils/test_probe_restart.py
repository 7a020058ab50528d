"""The probe `restart` on recorded files of /proc."""

from __future__ import annotations

import pathlib

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils import _probe_restart as probe_restart

MAPS = """\
55d1c8a00000-55d1c8a2c000 r--p 00000000 08:01 1571  /usr/sbin/sshd (deleted)
55d1c8a2c000-55d1c8ab4000 r-xp 0002c000 08:01 1571  /usr/sbin/sshd (deleted)
7f0a3c000000-7f0a3c028000 r-xp 00028000 08:01 9314                    /usr/lib/x86_64-linux-gnu/libcrypto.so.3 (deleted)
7f0a3c100000-7f0a3c128000 r-xp 00028000 08:01 9315                       /usr/lib/x86_64-linux-gnu/libc.so.6
7f0a3c200000-7f0a3c228000 r--p 00000000 08:01 9316                       /usr/lib/locale/locale-archive (deleted)
7f0a3c300000-7f0a3c328000 rw-s 00000000 00:01 2048                       /memfd:pulse (deleted)
7f0a3c400000-7f0a3c428000 rwxs 00000000 00:01 2049                       /dev/zero (deleted)
7f0a3c500000-7f0a3c528000 r-xp 00000000 08:01 9317                       /tmp/jit-1 (deleted)
7ffc5b1f0000-7ffc5b1f2000 r-xp 00000000 00:00 0                          [vdso]
"""


def test_only_code_counts() -> None:
    assert probe_restart.deleted_code(MAPS) == {"/usr/sbin/sshd", "/usr/lib/x86_64-linux-gnu/libcrypto.so.3"}


@pytest.mark.parametrize(
    ("cgroup", "base", "unit"),
    [
        ("0::/system.slice/ssh.service\n", "", "ssh.service"),
        ("0::/user.slice/user-0.slice/session-1.scope\n", "", None),
        ("0::/user.slice/user-0.slice/user@0.service/app.slice/dbus.service\n", "", "user@0.service"),
        ("0::/system.slice/system-getty.slice/getty@tty1.service\n", "", "getty@tty1.service"),
        ("0::/init.scope\n", "", "init.scope"),
        ("0::/system.slice/docker-1f0a.scope\n", "", None),
        ("0::/machine.slice/libpod-77.scope/container\n", "", None),
        ("0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-2.scope\n", "", None),
        (
            "0::/machine.slice/libpod-77.scope/system.slice/cron.service\n",
            "/machine.slice/libpod-77.scope",
            "cron.service",
        ),
        ("0::/\n", "", "processes without a unit"),
        ("12:pids:/x\n0::/system.slice/ssh.service\n", "", "ssh.service"),
    ],
)
def test_the_unit_of_a_process(cgroup: str, base: str, unit: str | None) -> None:
    assert probe_restart.unit_of(cgroup, base) == unit


@pytest.mark.parametrize(
    ("running", "installed", "newer"),
    [
        ("6.1.0-18-amd64", ["6.1.0-18-amd64"], None),
        ("6.1.0-9-amd64", ["6.1.0-9-amd64", "6.1.0-18-amd64"], "6.1.0-18-amd64"),
        ("6.1.0-18-amd64", ["6.1.0-9-amd64", "6.1.0-18-amd64"], None),
        ("6.1.0-18-amd64", ["6.1.0-21-cloud-amd64", "6.1.0-18-amd64"], None),
        ("6.12.38+deb13-amd64", ["6.12.38+deb13-amd64", "6.12.48+deb13-amd64"], "6.12.48+deb13-amd64"),
        ("6.12.48+deb13-cloud-amd64", ["6.12.48+deb13.1-cloud-amd64"], "6.12.48+deb13.1-cloud-amd64"),
        ("5.15.0-91-generic", ["5.15.0-100-generic", "5.15.0-91-generic"], "5.15.0-100-generic"),
        ("6.1.0-18-amd64", [], None),
        ("4.4.0", ["4.4.0"], None),
    ],
)
def test_a_newer_kernel(running: str, installed: list[str], newer: str | None) -> None:
    assert probe_restart.newer_kernel(running, installed) == newer


@pytest.mark.parametrize(
    ("reasons", "units", "status", "said"),
    [
        ([], {}, "healthy", "nothing runs old code"),
        ([], {"ssh.service": {"/a"}, "cron.service": {"/a"}}, "degraded", "restart: cron.service, ssh.service"),
        ([], {"user@0.service": {"/a"}}, "healthy", "nothing runs old code"),
        (["asked for by libc6"], {}, "degraded", "reboot: asked for by libc6"),
    ],
)
def test_judging(reasons: list[str], units: dict[str, set[str]], status: str, said: str) -> None:
    outcome = probe_restart.evaluate(reasons, units, 0, {"ignore": ["user@0.service"]})
    assert (outcome.status, outcome.detail) == (status, said)
    assert outcome.json["reboot"] == reasons


@pytest.fixture
def proc(tmp_path: pathlib.Path) -> pathlib.Path:
    def process(pid: int, maps: str, cgroup: str) -> None:
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "maps").write_text(maps)
        (tmp_path / str(pid) / "cgroup").write_text(cgroup)

    process(1, "", "0::/init.scope\n")
    process(7000001, MAPS, "0::/system.slice/ssh.service\n")
    process(7000002, MAPS, "0::/system.slice/docker-1f0a.scope\n")
    process(7000003, "", "0::/system.slice/cron.service\n")
    (tmp_path / "7000004").mkdir()
    (tmp_path / "self").mkdir()
    return tmp_path


def test_a_scan_of_recorded_processes(proc: pathlib.Path) -> None:
    units, hidden = probe_restart.scan(proc)
    assert (set(units), hidden) == ({"ssh.service"}, 0)


def test_the_mark_of_packages(tmp_path: pathlib.Path) -> None:
    (tmp_path / "run/systemd").mkdir(parents=True)
    (tmp_path / "run/systemd/container").touch()
    assert probe_restart._reboot_reasons(tmp_path) == []
    (tmp_path / "run/reboot-required").touch()
    assert probe_restart._reboot_reasons(tmp_path) == ["asked for by a package"]
    (tmp_path / "run/reboot-required.pkgs").write_text("linux-image-6.1\nlibc6\nlibc6\n")
    assert probe_restart._reboot_reasons(tmp_path) == ["asked for by libc6, linux-image-6.1"]


def test_a_scan_of_this_machine() -> None:
    units, hidden = probe_restart.scan(pathlib.Path("/proc"))
    assert all(files for files in units.values())
    assert hidden >= 0
