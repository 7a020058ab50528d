# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parameters of PostgreSQL that the tuner sets, each with its reason.

Pure functions: no I/O and no Ansible imports. Only what the given version knows is written.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Optional

from ._postgresql_tuning_memory import MB, WORK_FLOOR_KB, Memory

Settings = dict[str, dict[str, str]]
# What a standby has to have at least as much of as its primary, and PostgreSQL's own default.
NOT_BELOW_PRIMARY = {
    "max_connections": 100,
    "max_worker_processes": 8,
    "max_wal_senders": 10,
    "max_prepared_transactions": 0,
    "max_locks_per_transaction": 64,
}
WAL_MOST_MB = {"web": 4096, "mixed": 4096, "oltp": 8192, "dw": 16384}
# Two segments of 16 MB: the server does not start with less.
WAL_LEAST_MB = 32
WAL_PART, SLOT_PART = 0.2, 0.4


def size(kilobytes: int) -> str:
    """A size as SHOW prints it, but never above MB, which people compare at a glance."""
    return f"{kilobytes // MB}MB" if kilobytes % MB == 0 else f"{kilobytes}kB"


def _power_of_two(amount: float) -> int:
    """Rounded down: free room changes from run to run, and the setting should not follow every time."""
    return 1 << int(math.log2(amount)) if amount >= 1 else 0


class Writer:
    """Collects settings in order."""

    def __init__(self) -> None:
        self.settings: Settings = {}

    def add(self, name: str, value: object, why: str) -> None:
        self.settings[name] = {"value": str(value), "why": why}


def _connections_why(wishes: Mapping[str, Any], memory: Memory, share: str, wanted: int) -> str:
    why = f"each may take work_mem x hash_mem_multiplier and {memory.process_kb // MB} MB besides"
    if memory.connections < wanted:
        return f"{wanted} do not fit into {share}: {why}"
    if wishes["role"] == "standby" and memory.connections == wishes["primary"].get("max_connections"):
        return f"as many as on the primary, without which a standby does not start; {why}"
    return why


def _memory(out: Writer, wishes: Mapping[str, Any], memory: Memory, share_kb: int, wanted: int) -> None:
    share = f"PostgreSQL's share of {share_kb // MB} MB"
    out.add("max_connections", memory.connections, _connections_why(wishes, memory, share, wanted))
    quarter = memory.shared_buffers_kb >= share_kb // 4 // MB * MB
    why = f"a quarter of {share}" if quarter else f"less than a quarter of {share}, as the connections need it"
    out.add("shared_buffers", size(memory.shared_buffers_kb), why)
    out.add("huge_pages", "try", "fewer page tables where the kernel has huge pages reserved; normal pages elsewhere")
    cache = max(memory.shared_buffers_kb, share_kb // MB * 3 // 4 * MB)
    out.add("effective_cache_size", size(cache), f"three quarters of {share}; a guess for the planner, takes nothing")
    out.add(
        "maintenance_work_mem",
        size(memory.maintenance_kb),
        f"for VACUUM and CREATE INDEX: {memory.autovacuum_workers} workers and one command by hand count",
    )
    if memory.autovacuum_kb != memory.maintenance_kb:
        out.add("autovacuum_work_mem", size(memory.autovacuum_kb), "a worker of autovacuum gains nothing from more")
    out.add(
        "autovacuum_max_workers", memory.autovacuum_workers, "the default is 3; one more from 16 CPUs on, two from 32"
    )
    low = "; below 4 MB, as max_connections may not be lowered" if memory.work_kb < WORK_FLOOR_KB else ""
    out.add(
        "work_mem",
        size(memory.work_kb),
        f"what is left, for {memory.connections} connections and {memory.parallel_workers} parallel workers{low}",
    )
    out.add(
        "hash_mem_multiplier",
        f"{memory.hash_multiplier:g}",
        "hashes gain more from memory than sorts" if memory.hash_multiplier > 1 else "the memory goes to connections",
    )


def wal_sizes(profile: str, free_mb: Optional[int], given: Mapping[str, float]) -> tuple[int, int, int]:
    """max_wal_size, min_wal_size and max_slot_wal_keep_size in MB."""
    most: int = WAL_MOST_MB[profile]
    if free_mb is not None:
        most = max(WAL_LEAST_MB, min(most, _power_of_two(free_mb * WAL_PART)))
    most = int(given.get("max_wal_size", most))
    keep = max(most, _power_of_two(free_mb * SLOT_PART)) if free_mb is not None else 2 * most
    return most, max(WAL_LEAST_MB, most // 4), keep


def _wal(out: Writer, wishes: Mapping[str, Any], memory: Memory, given: Mapping[str, float]) -> None:
    free = wishes["wal_free_mb"]
    most, least, keep = wal_sizes(wishes["profile"], free, given)
    room = "of the free room where the WAL is" if free is not None else "of the free room, which is not known"
    out.add("max_wal_size", f"{most}MB", f"fewer checkpoints; at most 20 % {room}")
    out.add("min_wal_size", f"{least}MB", "files that are kept to be used again: a quarter of max_wal_size")
    out.add("max_slot_wal_keep_size", f"{keep}MB", f"a standby that is gone may not fill the disk: 40 % {room}")
    minutes = 30 if wishes["profile"] == "dw" else 15
    out.add("checkpoint_timeout", f"{minutes}min", "each page is written whole once per checkpoint: fewer are cheaper")
    out.add("checkpoint_completion_target", "0.9", "spreads the writing over the whole time")
    out.add("wal_buffers", size(memory.wal_buffers_kb), "up to a segment of the WAL, for many commits at once")
    if wishes["version"] >= 15:
        out.add("wal_compression", "lz4", "whole pages in the WAL get smaller, for little CPU")
    else:
        out.add("wal_compression", "on", "whole pages in the WAL get smaller")


def _planner(out: Writer, wishes: Mapping[str, Any]) -> None:
    disk, dw = wishes["disk"], wishes["profile"] == "dw"
    out.add(
        "default_statistics_target",
        500 if dw else 100,
        "long queries earn better estimates" if dw else "the default: short queries do not earn longer planning",
    )
    cost = {"hdd": ("4", "the disk spins"), "unknown": ("2", "the kind of disk is not known; half of a spinning one's")}
    out.add("random_page_cost", *cost.get(disk, ("1.1", "any page of a flash disk is about as near as the next")))
    if disk in ("ssd", "nvme"):
        out.add("effective_io_concurrency", 200, "a flash disk answers many requests at once")
    else:
        out.add(
            "effective_io_concurrency", 16, "the default since PostgreSQL 18, for disks with few requests at once too"
        )
    out.add(
        "jit", "on" if dw else "off", "pays for long queries" if dw else "costs more than it gains for short queries"
    )


def _parallel(out: Writer, wishes: Mapping[str, Any], memory: Memory, given: Mapping[str, float]) -> None:
    workers = memory.parallel_workers
    processes = max(NOT_BELOW_PRIMARY["max_worker_processes"], workers)
    if wishes["role"] == "standby":
        processes = max(processes, wishes["primary"].get("max_worker_processes", 0))
    out.add("max_worker_processes", processes, "never below the default of 8: a standby may have no fewer")
    out.add("max_parallel_workers", workers, "one per CPU as far as memory reaches; none on a single CPU")
    half = math.ceil(workers / 2)
    gather = half if wishes["profile"] == "dw" else min(half, 4 if wishes["profile"] == "mixed" else 2)
    out.add("max_parallel_workers_per_gather", gather, "how many of them a single query may take")
    out.add("max_parallel_maintenance_workers", min(4, half), "for CREATE INDEX and VACUUM")
    if wishes["version"] >= 18:
        out.add("io_method", "worker", "io_uring does not start where the kernel or a container forbids it")
        out.add("io_workers", min(32, max(3, int(wishes["cpus"]) // 4)), "a quarter of the CPUs, at least the default")


def _standby(out: Writer, wishes: Mapping[str, Any]) -> None:
    """What else must not be below the primary; the defaults need no line."""
    for name, default in NOT_BELOW_PRIMARY.items():
        value = wishes["primary"].get(name, default)
        if name not in out.settings and value > default:
            out.add(name, value, "as on the primary: with less a standby does not start")


def parameters(
    wishes: Mapping[str, Any], memory: Memory, share_kb: int, wanted: int, given: Mapping[str, float]
) -> Settings:
    """All settings in the order in which they are written; `given` are the sizes and numbers of the user."""
    out = Writer()
    _memory(out, wishes, memory, share_kb, wanted)
    _wal(out, wishes, memory, given)
    _planner(out, wishes)
    _parallel(out, wishes, memory, given)
    if wishes["role"] == "standby":
        _standby(out, wishes)
    return out.settings
