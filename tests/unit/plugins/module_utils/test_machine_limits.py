# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a service may take of its machine, on machines built of real files."""

from __future__ import annotations

import os

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils._machine_limits import (
    cpus,
    disk_kind,
    free_mb,
    memory_mb,
)

GIB = 1024**3
UNIT = "postgresql@17-main"
SLICE = "system.slice/system-postgresql.slice"
NO_LIMIT_V1 = "9223372036854771712"


@pytest.fixture
def machine(tmp_path):
    """A machine of 8 GiB and 4 CPUs; called with more files, path to text."""

    def build(**files):
        known = {
            "proc/meminfo": f"MemTotal:       {8 * 1024**2} kB\nMemFree:          123456 kB\n",
            "proc/1/status": "Name:\tsystemd\nCpus_allowed:\tf\nCpus_allowed_list:\t0-3\n",
            "sys/devices/system/cpu/online": "0-3\n",
            **files,
        }
        for name, text in known.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return str(tmp_path)

    return build


def v2(**files):
    """Files of the unified hierarchy; the top of a machine has none with limits."""
    return {"proc/1/cgroup": "0::/init.scope\n", **{f"sys/fs/cgroup/{name}": text for name, text in files.items()}}


# -- memory --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param({}, 8192, id="no-cgroups-at-all"),
        pytest.param(v2(**{f"{SLICE}/{UNIT}.service/memory.max": "max\n"}), 8192, id="no-limit"),
        pytest.param(v2(**{f"{SLICE}/{UNIT}.service/memory.max": f"{GIB}\n"}), 1024, id="MemoryMax-of-the-unit"),
        pytest.param(v2(**{f"{SLICE}/memory.max": f"{2 * GIB}\n"}), 8192, id="a-unit-that-does-not-run"),
        pytest.param(
            v2(**{f"{SLICE}/memory.max": f"{2 * GIB}\n", f"{SLICE}/{UNIT}.service/memory.max": "max\n"}),
            2048,
            id="of-the-slice",
        ),
        pytest.param(
            v2(**{"system.slice/memory.max": f"{GIB}\n", f"{SLICE}/{UNIT}.service/memory.max": f"{2 * GIB}\n"}),
            1024,
            id="the-least-of-all",
        ),
        pytest.param(
            v2(**{f"{SLICE}/postgresql@15-main.service/memory.max": f"{GIB}\n"}), 8192, id="of-another-cluster"
        ),
        pytest.param(v2(**{"system.slice/other.service/memory.max": f"{GIB}\n"}), 8192, id="of-another-unit"),
        pytest.param(
            v2(**{"memory.max": f"{3 * GIB}\n", f"{SLICE}/{UNIT}.service/memory.max": "max\n"}),
            3072,
            id="container-with-a-namespace-of-its-own",
        ),
        pytest.param(
            {
                **v2(**{"machine.slice/libpod-1.scope/memory.max": f"{GIB}\n"}),
                "proc/1/cgroup": "0::/machine.slice/libpod-1.scope/init.scope\n",
            },
            1024,
            id="container-that-sees-the-whole-tree",
        ),
        pytest.param(
            {
                **v2(
                    **{
                        "machine.slice/libpod-1.scope/memory.max": "max\n",
                        f"machine.slice/libpod-1.scope/{SLICE}/{UNIT}.service/memory.max": f"{GIB}\n",
                        f"{SLICE}/{UNIT}.service/memory.max": "1048576\n",
                    }
                ),
                "proc/1/cgroup": "0::/machine.slice/libpod-1.scope\n",
            },
            1024,
            id="its-own-unit-and-not-that-of-the-host",
        ),
        pytest.param(v2(**{f"{SLICE}/{UNIT}.service/memory.max": f"{64 * GIB}\n"}), 8192, id="more-than-there-is"),
        pytest.param(
            {"sys/fs/cgroup/memory/memory.limit_in_bytes": f"{NO_LIMIT_V1}\n"}, 8192, id="version-1-without-a-limit"
        ),
        pytest.param(
            {
                "proc/1/cgroup": "4:memory:/init.scope\n0::/init.scope\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{NO_LIMIT_V1}\n",
                f"sys/fs/cgroup/memory/{SLICE}/{UNIT}.service/memory.limit_in_bytes": f"{GIB}\n",
            },
            1024,
            id="version-1-unit",
        ),
        pytest.param(
            {
                # Docker's version 1: the path is the host's, the mount is the container's own.
                "proc/1/cgroup": "4:cpuset,memory:/docker/abc\n",
                "sys/fs/cgroup/cpuset,memory/memory.limit_in_bytes": f"{2 * GIB}\n",
            },
            2048,
            id="version-1-container",
        ),
        pytest.param(
            {
                "proc/1/cgroup": "4:memory:/docker/abc\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{NO_LIMIT_V1}\n",
                "sys/fs/cgroup/memory/docker/memory.limit_in_bytes": f"{3 * GIB}\n",
                "sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": f"{NO_LIMIT_V1}\n",
            },
            3072,
            id="version-1-container-that-sees-the-whole-tree",
        ),
        pytest.param(
            {
                "proc/1/cgroup": "4:memory:/\n0::/\n",
                "sys/fs/cgroup/unified/cgroup.controllers": "",
                "sys/fs/cgroup/unified/memory.max": f"{GIB}\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{2 * GIB}\n",
            },
            1024,
            id="both-versions",
        ),
    ],
)
def test_memory(machine, files, expected):
    assert memory_mb(UNIT, machine(**files)) == expected


@pytest.mark.parametrize("unit", [UNIT, f"{UNIT}.service"])
def test_a_unit_with_and_without_its_suffix(machine, unit):
    root = machine(**v2(**{f"{SLICE}/{UNIT}.service/memory.max": f"{GIB}\n"}))
    assert memory_mb(unit, root) == 1024


def test_a_unit_with_a_dot_in_its_name(machine):
    root = machine(**v2(**{"system.slice/db.example.service/memory.max": f"{GIB}\n"}))
    assert memory_mb("db.example", root) == memory_mb("db.example.service", root) == 1024


def test_without_a_unit_only_the_machine_counts(machine):
    files = v2(**{f"{SLICE}/{UNIT}.service/memory.max": f"{GIB}\n", "memory.max": f"{4 * GIB}\n"})
    assert memory_mb(None, machine(**files)) == 4096


def test_memory_is_rounded_down(machine):
    assert memory_mb(None, machine(**{"proc/meminfo": "MemTotal: 2097151 kB\n"})) == 2047


def test_a_machine_that_does_not_say_its_memory(machine):
    with pytest.raises(ValueError, match="has no MemTotal"):
        memory_mb(None, machine(**{"proc/meminfo": "MemFree: 1 kB\n"}))


# -- CPUs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param({}, 4, id="all"),
        pytest.param({"sys/devices/system/cpu/online": "0-1,3\n"}, 3, id="one-is-off"),
        pytest.param({"proc/1/status": "Cpus_allowed_list:\t1-2\n"}, 2, id="affinity"),
        pytest.param(v2(**{f"{SLICE}/{UNIT}.service/cpu.max": "150000 100000\n"}), 1.5, id="CPUQuota-of-the-unit"),
        pytest.param(v2(**{f"{SLICE}/{UNIT}.service/cpu.max": "max 100000\n"}), 4, id="no-quota"),
        pytest.param(
            v2(**{"system.slice/cpu.max": "20000 20000\n", f"{SLICE}/{UNIT}.service/cpu.max": "max 100000\n"}),
            1,
            id="quota-of-the-slice",
        ),
        pytest.param(v2(**{"cpu.max": "250000 100000\n"}), 2.5, id="quota-of-the-container"),
        pytest.param(v2(**{f"{SLICE}/{UNIT}.service/cpu.max": "900000 100000\n"}), 4, id="quota-above-the-machine"),
        pytest.param(v2(**{"cpuset.cpus.effective": "0,2\n"}), 2, id="cpuset"),
        pytest.param(v2(**{"cpuset.cpus.effective": "\n"}), 4, id="empty-cpuset"),
        pytest.param(
            {
                "proc/1/cgroup": "1:cpu,cpuacct:/\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "50000\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            0.5,
            id="version-1-quota",
        ),
        pytest.param(
            {
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/cpuset/cpuset.effective_cpus": "0\n",
            },
            1,
            id="version-1-cpuset",
        ),
    ],
)
def test_cpus(machine, files, expected):
    assert cpus(UNIT, machine(**files)) == expected


def test_a_machine_that_does_not_say_its_cpus(tmp_path):
    assert cpus(None, str(tmp_path)) == os.cpu_count()


def test_this_machine_itself():
    """Not the built ones only: what the running kernel really writes can be read."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 1024**2
    assert 0 < memory_mb(None) <= total
    assert 0 < cpus(None) <= (os.cpu_count() or 1)
    assert disk_kind("/") in ("ssd", "nvme", "hdd", "unknown")


# -- disk ----------------------------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path):
    """A machine whose data lie on the device that is described; paths of /sys to texts, and links to their targets."""

    def build(device, files, links=()):
        data, root = tmp_path / "data", tmp_path / "root"
        data.mkdir()
        number = data.stat().st_dev
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        for link, target in links:
            path = root / link
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(root / target)
        if device:
            link = root / f"sys/dev/block/{os.major(number)}:{os.minor(number)}"
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(root / device)
        return str(data / "17/main"), str(root)

    return build


@pytest.mark.parametrize(
    ("device", "files", "links", "kind"),
    [
        pytest.param("sys/block/sda", {"sys/block/sda/queue/rotational": "0\n"}, [], "ssd", id="ssd"),
        pytest.param("sys/block/sda", {"sys/block/sda/queue/rotational": "1\n"}, [], "hdd", id="hdd"),
        pytest.param(
            "sys/block/sda/sda2",
            {"sys/block/sda/queue/rotational": "1\n", "sys/block/sda/sda2/partition": "2\n"},
            [],
            "hdd",
            id="partition",
        ),
        pytest.param(
            "sys/block/nvme0n1/nvme0n1p1",
            {"sys/block/nvme0n1/queue/rotational": "0\n", "sys/block/nvme0n1/nvme0n1p1/partition": "1\n"},
            [],
            "nvme",
            id="nvme",
        ),
        pytest.param(
            "sys/block/vda", {"sys/block/vda/queue/rotational": "1\n"}, [], "unknown", id="virtio-says-nothing"
        ),
        pytest.param("sys/block/vda", {"sys/block/vda/queue/rotational": "0\n"}, [], "ssd", id="virtio-says-flash"),
        pytest.param(
            "sys/block/sda",
            {"sys/block/sda/queue/rotational": "1\n", "sys/block/sda/device/vendor": "QEMU    \n"},
            [],
            "unknown",
            id="virtual-scsi",
        ),
        pytest.param(
            "sys/block/sda",
            {"sys/block/sda/queue/rotational": "1\n", "sys/block/sda/device/vendor": "ATA     \n"},
            [],
            "hdd",
            id="real-scsi",
        ),
        pytest.param(
            "sys/block/dm-0",
            {
                "sys/block/dm-0/queue/rotational": "1\n",
                "sys/block/nvme0n1/queue/rotational": "0\n",
                "sys/block/nvme0n1/nvme0n1p3/partition": "3\n",
            },
            [("sys/block/dm-0/slaves/nvme0n1p3", "sys/block/nvme0n1/nvme0n1p3")],
            "nvme",
            id="lvm",
        ),
        pytest.param(
            "sys/block/dm-1",
            {"sys/block/md0/queue/rotational": "0\n", "sys/block/sda/queue/rotational": "0\n"}
            | {"sys/block/sdb/queue/rotational": "1\n", "sys/block/dm-1/queue/rotational": "0\n"},
            [
                ("sys/block/dm-1/slaves/md0", "sys/block/md0"),
                ("sys/block/md0/slaves/sda", "sys/block/sda"),
                ("sys/block/md0/slaves/sdb", "sys/block/sdb"),
            ],
            "hdd",
            id="encryption-over-a-mixed-raid-is-as-slow-as-its-slowest",
        ),
        pytest.param("sys/block/rbd0", {"sys/block/rbd0/size": "1\n"}, [], "unknown", id="nothing-is-said"),
        pytest.param("", {}, [], "unknown", id="no-device"),
        pytest.param(
            "", {"proc/self/mountinfo": "1 0 0:30 / / rw - overlay overlay rw\n"}, [], "unknown", id="overlay"
        ),
        pytest.param(
            "",
            {
                "proc/self/mountinfo": "1 0 0:30 / / rw - btrfs /dev/sda2 rw\n",
                "sys/block/sda/queue/rotational": "0\n",
                "sys/block/sda/sda2/partition": "2\n",
            },
            [("sys/class/block/sda2", "sys/block/sda/sda2")],
            "ssd",
            id="btrfs",
        ),
        pytest.param(
            "",
            {
                "proc/self/mountinfo": "1 0 0:30 / / rw - btrfs /dev/mapper/vg-root rw\n",
                "dev/dm-0": "",
                "sys/block/dm-0/queue/rotational": "1\n",
                "sys/block/sda/queue/rotational": "1\n",
            },
            [
                ("dev/mapper/vg-root", "dev/dm-0"),
                ("sys/class/block/dm-0", "sys/block/dm-0"),
                ("sys/block/dm-0/slaves/sda", "sys/block/sda"),
            ],
            "hdd",
            id="btrfs-on-lvm",
        ),
    ],
)
def test_disks(disk, device, files, links, kind):
    assert disk_kind(*disk(device, files, links)) == kind


def test_the_nearest_mount_counts_and_the_last_one_there(disk, tmp_path):
    lines = [
        "1 0 0:30 / / rw - btrfs /dev/sda rw",
        f"2 1 0:31 / {tmp_path} rw - btrfs /dev/sdb rw",
        f"3 1 0:32 / {tmp_path} rw shared:1 - btrfs /dev/sdc rw",
        f"4 1 0:33 / {tmp_path}/dat rw - btrfs /dev/sdd rw",
    ]
    files = {"proc/self/mountinfo": "\n".join(lines) + "\n"}
    for name, rotational in [("sda", 1), ("sdb", 1), ("sdc", 0), ("sdd", 1)]:
        files[f"sys/class/block/{name}/queue/rotational"] = f"{rotational}\n"
    assert disk_kind(*disk("", files)) == "ssd"


# -- room ----------------------------------------------------------------------------------------------------


def test_free_room_of_a_folder_that_is_not_there_yet(tmp_path):
    found = os.statvfs(tmp_path)
    there = found.f_bavail * found.f_frsize // 1024**2
    # Others write to the same disk meanwhile.
    assert free_mb(str(tmp_path / "not/yet/there")) == pytest.approx(there, abs=max(100, there // 10))


def test_free_room_is_that_of_the_path(tmp_path):
    if os.stat("/dev/shm").st_dev == tmp_path.stat().st_dev:
        pytest.skip("only one file system here")
    found = os.statvfs("/dev/shm")
    assert free_mb("/dev/shm/x") == pytest.approx(found.f_bavail * found.f_frsize // 1024**2, abs=100)
