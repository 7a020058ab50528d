# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a service may take of its machine: memory and CPUs with the limits of all cgroups above it, disk and room.

Reads files only. Every path is below `root`, so that a test can build a machine of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

CGROUP = "sys/fs/cgroup"
MIB = 1024**2
SUFFIXES = (".service", ".scope", ".slice")
# Disks of virtual machines: most say that they spin, whatever is below them.
VIRTUAL_NAMES = ("vd", "xvd")
VIRTUAL_VENDORS = ("QEMU", "Msft", "VMware", "VBOX", "Google", "Xen")


def _read(path: Path) -> str:
    """A file's text; a file that is not there limits nothing."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


# -- cgroups -------------------------------------------------------------------------------------------------


def _own_path(root: Path, controller: str) -> str:
    """The cgroup of this machine's first process: in a container without a namespace of its own, not the top."""
    for line in _read(root / "proc/1/cgroup").splitlines():
        _number, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return path[: -len("/init.scope")] if path.endswith("/init.scope") else path
    return "/"


def _find(folder: Path, unit: str) -> Optional[Path]:
    """The folder of a running unit, somewhere below the slices."""
    try:
        children = sorted(entry for entry in folder.iterdir() if entry.is_dir())
    except OSError:
        return None
    for child in children:
        if child.name == unit:
            return child
    for child in children:
        if child.name.endswith(".slice"):
            found = _find(child, unit)
            if found:
                return found
    return None


def _folders(root: Path, mount: str, controller: str, unit: Optional[str]) -> Iterator[Path]:
    """Every folder whose limits count, in one hierarchy: up from the unit, and up from the machine itself."""
    top = root / CGROUP / mount
    machine = top / _own_path(root, controller).strip("/")
    starts = [machine]
    if unit:
        name = unit if unit.endswith(SUFFIXES) else f"{unit}.service"
        found = _find(machine if machine.is_dir() else top, name)
        starts += [found] if found else []
    for start in starts:
        while start != top:
            yield start
            start = start.parent
    yield top


def _hierarchies(root: Path, controller: str) -> Iterator[tuple[str, str]]:
    """The places where a controller may be, and the name that /proc gives it: version 2, and 1 by its folders."""
    yield "", ""
    yield "unified", ""
    try:
        names = sorted(entry.name for entry in (root / CGROUP).iterdir())
    except OSError:
        return
    for name in names:
        if controller in name.split(","):
            yield name, controller


def _limits(root: Path, unit: Optional[str], controller: str, *names: str) -> Iterator[list[str]]:
    """The texts of the named files, wherever all of them are there."""
    for mount, listed in _hierarchies(root, controller):
        for folder in _folders(root, mount, listed, unit):
            texts = [_read(folder / name) for name in names]
            if all(texts):
                yield texts


# -- memory and CPUs -----------------------------------------------------------------------------------------


def memory_mb(unit: Optional[str], root: str = "/") -> int:
    """Memory in MiB that the unit, or without one the machine, can have."""
    base = Path(root)
    found = []
    for line in _read(base / "proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            found.append(int(line.split()[1]) * 1024)
    for name in ("memory.max", "memory.limit_in_bytes"):
        found += [int(text) for (text,) in _limits(base, unit, "memory", name) if text.isdigit()]
    if not found:
        raise ValueError(f"the memory of the machine is not known: {base / 'proc/meminfo'} has no MemTotal")
    return min(found) // MIB


def _count(text: str) -> int:
    """How many CPUs a list such as "0-3,6" has."""
    total = 0
    for part in text.split(","):
        first, _dash, last = part.partition("-")
        total += int(last or first) - int(first) + 1
    return total


def cpus(unit: Optional[str], root: str = "/") -> float:
    """CPUs that the unit, or without one the machine, can have; a quota may be a fraction."""
    base = Path(root)
    lists = [_read(base / "sys/devices/system/cpu/online")]
    for line in _read(base / "proc/1/status").splitlines():
        if line.startswith("Cpus_allowed_list:"):
            lists.append(line.split()[1])
    for name in ("cpuset.cpus.effective", "cpuset.effective_cpus"):
        lists += [text for (text,) in _limits(base, unit, "cpuset", name)]
    found = [float(_count(text)) for text in lists if text]
    quotas = [text.split() for (text,) in _limits(base, unit, "cpu", "cpu.max")]
    quotas += _limits(base, unit, "cpu", "cpu.cfs_quota_us", "cpu.cfs_period_us")
    found += [int(quota) / int(period) for quota, period in quotas if quota.isdigit()]
    return min(found) if found else float(os.cpu_count() or 1)


# -- disk ----------------------------------------------------------------------------------------------------


def _existing(path: str) -> Path:
    """The path, or its nearest parent that is there."""
    place = Path(os.path.abspath(path))
    while not place.exists() and place != place.parent:
        place = place.parent
    return place


def free_mb(path: str) -> int:
    """Room in MiB that is free for a service, not only for root, where the path is or will be."""
    found = os.statvfs(_existing(path))
    return found.f_bavail * found.f_frsize // MIB


def _source(place: Path, root: Path) -> str:
    """The device that the mount of a path names: btrfs has no device number of its own."""
    best, source = "", ""
    for line in _read(root / "proc/self/mountinfo").splitlines():
        left, _dash, right = line.partition(" - ")
        mount = left.split()[4]
        inside = mount == "/" or str(place) == mount or str(place).startswith(mount + "/")
        # The last one of several mounts at the same place is the one that is seen.
        if inside and len(mount) >= len(best):
            best, source = mount, right.split()[1]
    return source


def _kind(device: Path) -> str:
    """The kind of a folder of /sys/block, or of what it is made of."""
    device = device.resolve()
    if (device / "partition").exists():
        device = device.parent
    slaves = sorted((device / "slaves").iterdir()) if (device / "slaves").is_dir() else []
    if slaves:
        kinds = {_kind(slave) for slave in slaves}
        return next(kind for kind in ("hdd", "unknown", "ssd", "nvme") if kind in kinds)
    if device.name.startswith("nvme"):
        return "nvme"
    rotational = _read(device / "queue/rotational")
    is_virtual = device.name.startswith(VIRTUAL_NAMES) or _read(device / "device/vendor").startswith(VIRTUAL_VENDORS)
    if rotational == "1" and is_virtual:
        return "unknown"
    return {"0": "ssd", "1": "hdd"}.get(rotational, "unknown")


def disk_kind(path: str, root: str = "/") -> str:
    """ssd, nvme, hdd, or unknown where nobody says it: overlays, network and virtual disks."""
    base, place = Path(root), _existing(path)
    number = place.stat().st_dev
    device = base / f"sys/dev/block/{os.major(number)}:{os.minor(number)}"
    if not device.exists():
        source = _source(place.resolve(), base)
        if not source.startswith("/dev/"):
            return "unknown"
        device = base / "sys/class/block" / (base / source.lstrip("/")).resolve().name
    return _kind(device) if device.exists() else "unknown"
