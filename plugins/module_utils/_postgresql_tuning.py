# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A configuration of PostgreSQL for a host: every value with its reason, and within the memory that is there.

Pure functions: no I/O and no Ansible imports. docs/tuning.md explains the formulas.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ._postgresql_parameters import WAL_PART, Settings, parameters
from ._postgresql_tuning_memory import FEWEST, MB, PROFILES, Ask, Memory, least_share_kb, solve
from ._postgresql_units import TRUE, number
from ._postgresql_wishes import DEFAULTS, problems, read_overrides

RESERVED_LEAST_MB = 256
RESERVED_PART = 10
# Fewer connections are worth a word, even if nobody asked for a number: PostgreSQL keeps three for superusers.
FEW = 10
POOL = "Let the clients share connections through pgbouncer, or give PostgreSQL more memory"


class TuningError(ValueError):
    """What the user is told."""


def _share_mb(wishes: Mapping[str, Any]) -> int:
    """What PostgreSQL may have: what others leave, and no more than a limit of its own unit, if there is one."""
    memory, limit, share = wishes["memory_mb"], wishes["limit_mb"], wishes["share_mb"]
    most = memory if limit is None else min(memory, limit)
    if share is not None:
        if share > most:
            raise TuningError(f"share_mb {share} is more than the {most} MB that the machine or the unit has: lower it")
        return int(share)
    reserved = wishes["reserved_mb"]
    if reserved is None:
        reserved = max(RESERVED_LEAST_MB, math.ceil(memory / RESERVED_PART))
    left = memory - wishes["claims_mb"] - reserved
    # The kernel counts its own work for the unit, such as sockets, against the limit, too.
    return int(left if limit is None else min(left, limit - math.ceil(limit / RESERVED_PART)))


def _too_little(wishes: Mapping[str, Any], share: int) -> str:
    limit = wishes["limit_mb"]
    if wishes["share_mb"] is not None:
        origin = f"share_mb is {share}"
    elif limit is not None and share == limit - math.ceil(limit / RESERVED_PART):
        origin = f"its unit may take {limit} MB, of which {share} MB count"
    else:
        rest = wishes["memory_mb"] - wishes["claims_mb"] - share
        origin = (
            f"of {wishes['memory_mb']} MB, {wishes['claims_mb']} MB are claimed by others and {rest} MB are reserved "
            f"for the system, so {max(0, share)} MB are left"
        )
    return (
        f"too little memory for PostgreSQL: {origin}; it needs {math.ceil(least_share_kb() / MB)} MB. "
        "Give it more memory, or lower what others claim"
    )


def _memory_warnings(
    wishes: Mapping[str, Any], memory: Memory, share_kb: int, causes: list[str], settings: Settings
) -> list[str]:
    """What the user asked for, and does not get."""
    cause, share = " and ".join(causes), f"{share_kb // MB} MB"
    if memory.total_kb > share_kb:
        return [
            f"PostgreSQL may take {math.ceil(memory.total_kb / MB)} MB, but its share is {share}: {cause} cannot be "
            "met within it, whatever the other values are. Lower that, or give PostgreSQL more memory"
        ]
    sizes = ", ".join(f"{name} is {settings[name]['value']}" for name in ("work_mem", "shared_buffers"))
    return [f"{cause} leaves little of the {share} of PostgreSQL: {sizes}. {POOL}"]


def _connection_warnings(wishes: Mapping[str, Any], memory: Memory, share_kb: int) -> list[str]:
    wanted, share = wishes["connections"], f"{share_kb // MB} MB"
    if wanted and memory.connections < wanted:
        return [
            f"max_connections is {memory.connections}, not {wanted} as wanted: more do not fit into the {share} of "
            f"PostgreSQL. {POOL}"
        ]
    if not wanted and memory.connections < FEW:
        return [f"only {memory.connections} connections fit into the {share} of PostgreSQL. {POOL}"]
    return []


def _standby_warnings(wishes: Mapping[str, Any], settings: Settings) -> list[str]:
    """Overrides win, even where the server will not start."""
    found = []
    for name, value in wishes["primary"].items():
        mine = settings.get(name, {}).get("value", "")
        if mine.isdigit() and int(mine) < value:
            found.append(f"{name} = {mine} is below the {value} of the primary: the standby will not start. Raise it")
    return found


def _wal_warnings(free_mb: int | None, settings: Settings) -> list[str]:
    value = settings["max_wal_size"]["value"]
    if free_mb is None or number(value, "MB") <= free_mb * WAL_PART:
        return []
    return [
        f"max_wal_size = {value} is more than {WAL_PART:.0%} of the {free_mb} MB that are free where the WAL is: "
        "make room there, or move pg_wal"
    ]


def tune(wishes: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with their reasons, the division of the memory, and what the user should know."""
    if not isinstance(wishes, Mapping):
        raise TuningError(f"{wishes!r} is not a dictionary of wishes")
    wrong = problems(wishes)
    wishes = {**DEFAULTS, **wishes}
    texts, fixed, more = read_overrides(wishes["overrides"])
    if wrong or more:
        raise TuningError("; ".join(wrong + more))
    share = _share_mb(wishes)
    profile, standby = PROFILES[wishes["profile"]], wishes["role"] == "standby"
    at_least = wishes["primary"].get("max_connections", 0) if standby else 0
    wanted = max(wishes["connections"] or profile.connections, at_least)
    huge = texts.get("huge_pages", "").lower() in TRUE
    memory, good = solve(Ask(share * MB, profile, wishes["cpus"], wanted, at_least, fixed, huge))
    causes = [f"{name} = {texts[name]}" for name in fixed if name != "max_wal_size"]
    causes += [f"max_connections = {at_least} of the primary"] if at_least > FEWEST else []
    if share <= 0 or not (good or causes):
        raise TuningError(_too_little(wishes, share))
    settings = parameters(wishes, memory, share * MB, wanted, fixed)
    settings.update({name: {"value": text, "why": "set by you"} for name, text in texts.items()})
    warnings = [] if good else _memory_warnings(wishes, memory, share * MB, causes, settings)
    if "max_connections" not in fixed:
        warnings += _connection_warnings(wishes, memory, share * MB)
    if standby:
        warnings += _standby_warnings(wishes, settings)
    return {
        "settings": settings,
        "memory": _table(share, memory),
        "warnings": warnings + _wal_warnings(wishes["wal_free_mb"], settings),
    }


def _table(share_mb: int, memory: Memory) -> dict[str, int]:
    sizes = {
        "shared_buffers_mb": memory.shared_buffers_kb,
        "maintenance_mb": memory.maintenance_total_kb,
        "work_mb": memory.work_total_kb,
        "connections_mb": memory.processes_kb,
        "server_mb": memory.server_kb,
        "total_mb": memory.total_kb,
    }
    return {"share_mb": share_mb, **{name: math.ceil(size / MB) for name, size in sizes.items()}}
