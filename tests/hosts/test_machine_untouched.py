"""Starting hosts, and writing kernel settings in them, leaves the machine as it was."""

from __future__ import annotations

import json
import pathlib
import subprocess
import time

import pytest

HERE = pathlib.Path(__file__).resolve().parent
GROUP = "untouched"
# Counters and identifiers that move by themselves.
RESTLESS = (
    "fs.dentry-state",
    "fs.file-nr",
    "fs.inode-nr",
    "fs.inode-state",
    "fs.aio-nr",
    "fs.quota.",
    "kernel.ns_last_pid",
    "kernel.pty.nr",
    "kernel.random.",
    "kernel.sched_domain.",
    "vm.stat_refresh",
)


def hosts(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([HERE / "hosts", *arguments], capture_output=True, text=True, check=False)


def in_host(name: str, command: str) -> subprocess.CompletedProcess[str]:
    return hosts("run", "--group", GROUP, name, "sh", "-c", command)


def machine_settings() -> dict[str, str]:
    """kernel.*, vm.* and fs.* as files, so that no sysctl program is needed."""
    found = {}
    for top in ("kernel", "vm", "fs"):
        for path in pathlib.Path("/proc/sys", top).rglob("*"):
            name = ".".join(path.parts[3:])
            if path.is_file() and not name.startswith(RESTLESS):
                try:
                    found[name] = path.read_text(encoding="utf-8", errors="replace")
                except OSError:
                    continue  # write-only, or of a device that is not there
    return found


@pytest.fixture(scope="module")
def group():
    before = machine_settings()
    started = hosts("up", "--group", GROUP, "--json", "old=bookworm", "new=trixie")
    assert started.returncode == 0, started.stderr
    yield before, [host["name"] for host in json.loads(started.stdout)["hosts"]]
    hosts("down", "--group", GROUP)


@pytest.mark.parametrize("name", ["old", "new"])
@pytest.mark.parametrize(
    "command",
    [
        "sysctl -w vm.swappiness=$(( $(cat /proc/sys/vm/swappiness) + 1 ))",
        "sysctl -w kernel.panic=3",
        "echo 1 > /proc/sys/vm/drop_caches",
        "echo s > /proc/sysrq-trigger",
        "echo 1 > /sys/module/kernel/parameters/initcall_debug || exit 1",
        "date --set=@$(date +%s)",
        "truncate -s 1M /swap && mkswap /swap && swapon /swap",
        "dmesg --console-level 4",
        "ls /dev | grep -E '^(vd|sd|nvme|xvd)'",
        "ls /dev/kmsg",
        "ls /dev/mem",
    ],
)
def test_a_host_cannot_change_the_machine(group, name, command):
    assert in_host(name, command).returncode != 0


@pytest.mark.parametrize("name", ["old", "new"])
def test_what_belongs_to_a_host_can_be_set(group, name):
    done = in_host(name, "sysctl -w net.ipv4.ip_forward=1 && hostname other && hostname " + name)
    assert done.returncode == 0, done.stderr


def test_the_machine_is_as_before_after_boot_and_restart(group):
    before, names = group
    for name in names:
        written = in_host(name, "echo 'vm.swappiness = 1' > /etc/sysctl.d/99-test.conf")
        assert written.returncode == 0, written.stderr
    clock = time.time() - time.monotonic()
    assert hosts("restart", "--group", GROUP).returncode == 0
    assert machine_settings() == before
    assert abs(time.time() - time.monotonic() - clock) < 1
    for name in names:
        assert in_host(name, "systemctl is-system-running").stdout.strip() == "running"
