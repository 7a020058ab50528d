# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The memory of a PostgreSQL server: how its share is divided so that the worst case still fits.

shared_buffers + what maintenance takes + work_mem x hash_mem_multiplier x active + the processes <= share

Active are all connections and all parallel workers at once, each with one sort or hash of full size.

Pure functions: no I/O and no Ansible imports. Sizes are kB, as PostgreSQL's own work_mem is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Optional

MB = 1024
GB = 1024 * MB
# What a process takes besides work_mem: caches of the catalogue, its place in the lock table.
PROCESS_KB = 10 * MB
# Page tables of a process that has seen all of shared_buffers: 8 bytes for each 4 kB, unless pages are huge.
PAGE_TABLE_PART = 512
# What the server takes besides: the processes in the background, and shared memory that is not shared_buffers.
SERVER_KB = 32 * MB
SERVER_PART = 25
WORK_FLOOR_KB = 4 * MB
WORK_LEAST_KB = 64
BUFFERS_LEAST_KB = 16 * MB
WAL_BUFFERS_KB = 16 * MB
FEWEST = 5
# Autovacuum can use no more before PostgreSQL 17, and needs no more since.
AUTOVACUUM_MOST_KB = GB
# Below this hashes get no more than sorts: the memory goes to connections.
SMALL_KB = GB


@dataclass(frozen=True)
class Profile:
    """What a kind of work wants."""

    connections: int
    work_most_kb: int
    maintenance_most_kb: int = GB
    maintenance_more: bool = False

    def maintenance_budget_kb(self, share_kb: int) -> int:
        """An eighth of the share; where whole tables are loaded and indexed, a fourth of what is above 1 GB."""
        return (share_kb + (max(0, share_kb - GB) if self.maintenance_more else 0)) // 8


PROFILES = {
    "web": Profile(200, 128 * MB),
    "oltp": Profile(300, 128 * MB),
    "dw": Profile(40, 2 * GB, 2 * GB, True),
    "mixed": Profile(100, 256 * MB),
}


@dataclass(frozen=True)
class Ask:
    """What is to be solved; `fixed` are values of the user, by parameter, sizes in kB."""

    share_kb: int
    profile: Profile
    cpus: float
    connections: int
    at_least: int
    fixed: Mapping[str, float]
    huge_pages: bool = False

    def take(self, name: str) -> Optional[int]:
        return int(self.fixed[name]) if name in self.fixed else None


@dataclass(frozen=True)
class Memory:
    """One division of the share."""

    connections: int
    parallel_workers: int
    autovacuum_workers: int
    hash_multiplier: float
    shared_buffers_kb: int
    wal_buffers_kb: int
    maintenance_kb: int
    autovacuum_kb: int
    work_kb: int
    huge_pages: bool

    @property
    def active(self) -> int:
        return self.connections + self.parallel_workers

    @property
    def server_kb(self) -> int:
        return SERVER_KB + self.wal_buffers_kb + self.shared_buffers_kb // SERVER_PART

    @property
    def maintenance_total_kb(self) -> int:
        """Every worker of autovacuum, and one command by hand: an index is built, a dump is restored."""
        return self.autovacuum_kb * self.autovacuum_workers + self.maintenance_kb

    @property
    def work_total_kb(self) -> int:
        return math.ceil(self.work_kb * self.hash_multiplier * self.active)

    @property
    def process_kb(self) -> int:
        return PROCESS_KB + (0 if self.huge_pages else math.ceil(self.shared_buffers_kb / PAGE_TABLE_PART))

    @property
    def processes_kb(self) -> int:
        return self.process_kb * self.active

    @property
    def total_kb(self) -> int:
        return (
            self.shared_buffers_kb + self.server_kb + self.maintenance_total_kb + self.work_total_kb + self.processes_kb
        )


def _whole(size_kb: float, step_kb: int = MB) -> int:
    return int(size_kb) // step_kb * step_kb


def _first(ask: Ask) -> Memory:
    """All that does not depend on the number of connections."""
    workers = ask.take("autovacuum_max_workers") or (5 if ask.cpus >= 32 else 4 if ask.cpus >= 16 else 3)
    budget = ask.profile.maintenance_budget_kb(ask.share_kb)
    given = ask.take("autovacuum_work_mem")
    size = budget // (workers + 1) if given is None or given < 0 else budget - given * workers
    maintenance = ask.take("maintenance_work_mem") or max(MB, _whole(min(size, ask.profile.maintenance_most_kb)))
    if given is None:
        given = min(maintenance, AUTOVACUUM_MOST_KB) if "maintenance_work_mem" not in ask.fixed else maintenance
    buffers = ask.take("shared_buffers") or max(BUFFERS_LEAST_KB, _whole(ask.share_kb // 4))
    wal_buffers = ask.take("wal_buffers") or -1
    if wal_buffers < 0:
        wal_buffers = max(MB, _whole(min(WAL_BUFFERS_KB, ask.share_kb // 32)))
    return Memory(
        connections=0,
        parallel_workers=0,
        autovacuum_workers=workers,
        hash_multiplier=ask.fixed.get("hash_mem_multiplier", 1.0 if ask.share_kb < SMALL_KB else 2.0),
        shared_buffers_kb=buffers,
        wal_buffers_kb=wal_buffers,
        maintenance_kb=maintenance,
        autovacuum_kb=maintenance if given < 0 else given,
        work_kb=ask.take("work_mem") or WORK_FLOOR_KB,
        huge_pages=ask.huge_pages,
    )


def _room(ask: Ask, first: Memory) -> int:
    """What is left for connections.

    Sizes that are rounded down count unrounded: more memory would else leave less room at every step of the rounding.
    """
    share, profile = ask.share_kb, ask.profile
    maintenance, wal_buffers = first.maintenance_total_kb, first.wal_buffers_kb
    if not {"maintenance_work_mem", "autovacuum_work_mem"} & set(ask.fixed):
        bound = min(profile.maintenance_most_kb * (first.autovacuum_workers + 1), profile.maintenance_budget_kb(share))
        maintenance = max(maintenance, bound)
    if ask.fixed.get("wal_buffers", -1) < 0:
        wal_buffers = max(wal_buffers, min(WAL_BUFFERS_KB, share // 32))
    return share - first.shared_buffers_kb - first.server_kb + first.wal_buffers_kb - wal_buffers - maintenance


def _work(room_kb: int, memory: Memory, least_kb: int, most_kb: int) -> int:
    """work_mem from what the processes leave, in steps that people can read."""
    size = (room_kb - memory.processes_kb) / (memory.hash_multiplier * memory.active)
    return max(least_kb, min(most_kb, _whole(size, MB if size >= WORK_FLOOR_KB else WORK_LEAST_KB)))


def _parallel(ask: Ask, slots: int) -> int:
    """One worker for each CPU, but no more than a fourth of all that may work at once."""
    given = ask.take("max_parallel_workers")
    if given is None:
        given = min(int(ask.cpus), slots // 4) if ask.cpus >= 2 else 0
    return min(given, int(ask.fixed.get("max_worker_processes", given)))


def solve(ask: Ask) -> tuple[Memory, bool]:
    """The division, and whether work_mem and shared_buffers are as they should be in it.

    Connections give way first. Where they may not (a standby, a number that the user insists on), everything else does;
    whether that was enough says C(total_kb).
    """
    first = _first(ask)
    room = _room(ask, first)
    slots = max(0, int(room // (first.work_kb * first.hash_multiplier + first.process_kb)))
    parallel = _parallel(ask, slots)
    least = max(FEWEST, ask.at_least)
    connections = ask.take("max_connections") or max(least, min(ask.connections, slots - parallel))
    if "max_parallel_workers" not in ask.fixed:
        parallel = max(0, min(parallel, slots - connections))
    memory = replace(first, connections=connections, parallel_workers=parallel)
    if memory.active > slots:
        squeezed = _squeeze(ask, memory, room)
        same = (squeezed.shared_buffers_kb, squeezed.work_kb) == (memory.shared_buffers_kb, memory.work_kb)
        return squeezed, same and squeezed.total_kb <= ask.share_kb
    if "work_mem" not in ask.fixed:
        memory = replace(memory, work_kb=_work(room, memory, WORK_FLOOR_KB, ask.profile.work_most_kb))
    return memory, True


def _squeeze(ask: Ask, memory: Memory, room_kb: int) -> Memory:
    """More connections than fit: half of shared_buffers gives way, then work_mem, then the rest of shared_buffers."""

    def room(other: Memory) -> int:
        return room_kb + memory.shared_buffers_kb + memory.server_kb - other.shared_buffers_kb - other.server_kb

    def with_buffers(other: Memory) -> Memory:
        """As much of shared_buffers as fits; each kB less of it also frees what is kept to manage it."""
        missing = other.work_total_kb + other.processes_kb - room(other)
        if missing <= 0 or "shared_buffers" in ask.fixed:
            return other
        freed = 1 + 1 / SERVER_PART + (0 if other.huge_pages else other.active / PAGE_TABLE_PART)
        smaller = _whole(other.shared_buffers_kb - missing / freed)
        return replace(other, shared_buffers_kb=max(BUFFERS_LEAST_KB, smaller))

    if "hash_mem_multiplier" not in ask.fixed:
        memory = replace(memory, hash_multiplier=1.0)
    low = memory
    if "shared_buffers" not in ask.fixed:
        low = replace(memory, shared_buffers_kb=max(BUFFERS_LEAST_KB, _whole(ask.share_kb // 8)))
    if "work_mem" in ask.fixed or _work(room(low), low, 0, WORK_FLOOR_KB) == WORK_FLOOR_KB:
        return with_buffers(memory)
    low = replace(low, work_kb=_work(room(low), low, WORK_LEAST_KB, WORK_FLOOR_KB))
    return with_buffers(low)


def least_share_kb() -> int:
    """The smallest share that can be divided without giving up a floor."""
    fixed = SERVER_KB + FEWEST * (WORK_FLOOR_KB + PROCESS_KB)
    buffers = (1 + 1 / SERVER_PART + FEWEST / PAGE_TABLE_PART) / 4
    return math.ceil(fixed / (1 - buffers - 1 / 8 - 1 / 32))
