# Copyright: (c) 2026, The shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The probes `disk`, `memory` and `load`: how full the host is. Waiting does not mend these, so they are asked once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Optional

from ._health_spec import (
    DEGRADED,
    HEALTHY,
    UNHEALTHY,
    Option,
    Outcome,
    Probe,
    level,
    number,
    path_name,
    percent,
    thresholds,
    worst,
)

PERCENTS = ("degraded_percent", "unhealthy_percent")
CGROUP = Path("/sys/fs/cgroup")


def in_container(root: Path = Path("/")) -> bool:
    """Whether PID 1 here is not the machine's: container managers leave these marks."""
    marks = ("run/systemd/container", "run/.containerenv", ".dockerenv")
    return any((root / mark).exists() for mark in marks)


def size(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


# -- disk ----------------------------------------------------------------------------------------------------

DISK = {
    "path": Option(path_name(), "/"),
    "degraded_percent": Option(percent(), 80.0),
    "unhealthy_percent": Option(percent(), 90.0),
}


def used_percent(total: int, free: int, available: int) -> float:
    """As `df` counts: what is kept for root is neither used nor free. No total (btrfs inodes) is nothing used."""
    usable = total - free + available
    return 100 * (total - free) / usable if usable > 0 else 0.0


def evaluate_disk(stat: Any, options: Mapping[str, Any]) -> Outcome:
    """Judge a statvfs result, blocks and inodes alike: a disk without inodes is as full as one without blocks."""
    limits = [options[key] for key in PERCENTS]
    space = used_percent(stat.f_blocks, stat.f_bfree, stat.f_bavail)
    inodes = used_percent(stat.f_files, stat.f_ffree, stat.f_favail)
    states = [level(space, *limits), level(inodes, *limits)]
    found = [f"{space:.0f}% of the space used, {size(stat.f_bavail * stat.f_frsize)} left"]
    if states[1] != HEALTHY:
        found.append(f"{inodes:.0f}% of the inodes used, {stat.f_favail} left")
    return Outcome(worst(states), f"{options['path']}: {', '.join(found)}{_limits(worst(states), *limits)}")


def _limits(state: str, degraded: Optional[float], unhealthy: Optional[float], unit: str = "%") -> str:
    limit = {DEGRADED: degraded, UNHEALTHY: unhealthy}.get(state)
    return "" if limit is None else f", wanted less than {limit:g}{unit}"


def _run_disk(options: Mapping[str, Any], timeout: float) -> Outcome:
    try:
        return evaluate_disk(os.statvfs(options["path"]), options)
    except OSError as exc:
        return Outcome(UNHEALTHY, f"{options['path']}: {exc.strerror}")


# -- memory --------------------------------------------------------------------------------------------------

MEMORY = {
    "degraded_percent": Option(percent(), 85.0),
    "unhealthy_percent": Option(percent(), 95.0),
}


def evaluate_memory(read: Callable[[str], str], options: Mapping[str, Any]) -> Outcome:
    """Judge the machine and, inside a container that has a limit, the container: the tighter of the two counts.

    `read` gives the text of `meminfo` and of the files of the cgroup, "" for a file that is not there.
    """
    lines = (line.partition(":") for line in read("meminfo").splitlines())
    machine = {key: int(value.split()[0]) * 1024 for key, _colon, value in lines if value.strip()}
    if "MemTotal" not in machine or "MemAvailable" not in machine:
        return Outcome(UNHEALTHY, "/proc/meminfo does not say how much memory there is")
    total, left = machine["MemTotal"], machine["MemAvailable"]
    where = ""
    limit, current = read("memory.max").strip(), read("memory.current").strip()
    if limit.isdigit() and current.isdigit():
        # File cache that nobody has touched lately is given back when memory is asked for.
        stat = dict(line.split() for line in read("memory.stat").splitlines() if len(line.split()) == 2)
        own = max(0, int(limit) - int(current) + int(stat.get("inactive_file", 0)))
        if int(limit) and own / int(limit) < left / total:
            total, left, where = int(limit), own, " of the container's limit"
    used = 100 * (total - left) / total
    limits = [options[key] for key in PERCENTS]
    state = level(used, *limits)
    return Outcome(state, f"{used:.0f}%{where} used, {size(left)} of {size(total)} left{_limits(state, *limits)}")


def _read_memory(name: str) -> str:
    try:
        return (Path("/proc") / name if name == "meminfo" else CGROUP / name).read_text()
    except OSError:
        return ""


def _run_memory(options: Mapping[str, Any], timeout: float) -> Outcome:
    return evaluate_memory(_read_memory, options)


# -- load ----------------------------------------------------------------------------------------------------

# A high load makes a host slow, not broken: it is unhealthy only where the user says from when on.
LOAD = {
    "degraded_per_cpu": Option(number(0.01, 10000), 2.0),
    "unhealthy_per_cpu": Option(number(0.01, 10000)),
}


def evaluate_load(load5: float, cpus: int, options: Mapping[str, Any]) -> Outcome:
    limits = options["degraded_per_cpu"], options["unhealthy_per_cpu"]
    state = level(load5 / cpus, *limits)
    said = f"load over 5 minutes {load5:.2f}, {load5 / cpus:.2f} per CPU of {cpus}"
    return Outcome(state, said + _limits(state, *limits, unit=""))


def _run_load(options: Mapping[str, Any], timeout: float) -> Outcome:
    # The load that the kernel tells is the machine's, so it is shared by the machine's CPUs.
    return evaluate_load(os.getloadavg()[1], os.cpu_count() or 1, options)


DISK_PROBE = Probe(DISK, _run_disk, asked_once=True, agree=thresholds(*PERCENTS))
MEMORY_PROBE = Probe(MEMORY, _run_memory, asked_once=True, agree=thresholds(*PERCENTS))
LOAD_PROBE = Probe(LOAD, _run_load, asked_once=True, agree=thresholds("degraded_per_cpu", "unhealthy_per_cpu"))
