# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A configuration of PostgreSQL for a host: every value with its reason, and within the memory that is there.

Pure functions: no I/O and no Ansible imports. docs/tuning.md explains the formulas.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Optional

from ._postgresql_parameters import NOT_BELOW_PRIMARY, Settings, parameters
from ._postgresql_tuning_memory import MB, PROFILES, Ask, Memory, least_share_kb, solve
from ._postgresql_units import UnitError, number

VERSIONS = range(13, 19)
RESERVED_LEAST_MB = 256
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)?")
DEFAULTS: dict[str, Any] = {
    "claims_mb": 0,
    "reserved_mb": None,
    "share_mb": None,
    "disk": "unknown",
    "wal_free_mb": None,
    "role": "primary",
    "profile": "mixed",
    "connections": None,
    "primary": {},
    "overrides": {},
}
REQUIRED = ("memory_mb", "cpus", "version")
CHOICES: dict[str, tuple[Any, ...]] = {
    "disk": ("ssd", "nvme", "hdd", "unknown"),
    "role": ("primary", "standby"),
    "profile": tuple(PROFILES),
    "version": tuple(VERSIONS),
}
# Whole numbers: the least of each, and whether it may be left open.
NUMBERS = {
    "memory_mb": (1, False),
    "claims_mb": (0, False),
    "reserved_mb": (0, True),
    "share_mb": (1, True),
    "wal_free_mb": (0, True),
    "connections": (1, True),
}
# What the user may set that the memory depends on: unit, least, most (as pg_settings has them).
SOLVED: dict[str, tuple[Optional[str], float, float]] = {
    "max_connections": (None, 1, 262143),
    "shared_buffers": ("8kB", 16, 1073741823),
    "maintenance_work_mem": ("kB", 64, 2147483647),
    "autovacuum_work_mem": ("kB", -1, 2147483647),
    "autovacuum_max_workers": (None, 1, 262143),
    "work_mem": ("kB", 64, 2147483647),
    "hash_mem_multiplier": (None, 1, 1000),
    "wal_buffers": ("8kB", -1, 262143),
    "max_wal_size": ("MB", 2, 2147483647),
    "max_worker_processes": (None, 0, 262143),
    "max_parallel_workers": (None, 0, 1024),
}


class TuningError(ValueError):
    """What the user is told."""


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _problems(wishes: Mapping[str, Any]) -> list[str]:
    found = [f"{name} is not known; use {', '.join([*REQUIRED, *DEFAULTS])}" for name in set(wishes) - set(DEFAULTS)]
    found = sorted(text for text in found if text.split()[0] not in REQUIRED)
    found += [f"{name} is missing" for name in REQUIRED if name not in wishes]
    for name, (least, is_open) in NUMBERS.items():
        value = wishes.get(name, least)
        if not (_whole(value) and value >= least) and not (is_open and value is None):
            found.append(f"{name} {value!r} is not a whole number from {least} on")
    cpus = wishes.get("cpus", 1)
    if isinstance(cpus, bool) or not isinstance(cpus, (int, float)) or not 0 < cpus < math.inf:
        found.append(f"cpus {cpus!r} is not a number above 0")
    for name, choices in CHOICES.items():
        value = wishes.get(name, choices[0])
        if isinstance(value, bool) or value not in choices:
            found.append(f"{name} {value!r} is not one of {', '.join(map(str, choices))}")
    return found + _primary_problems(wishes.get("primary", {}))


def _primary_problems(primary: Any) -> list[str]:
    if not isinstance(primary, Mapping):
        return [f"primary {primary!r} is not a dictionary of values of the primary"]
    found = [
        f"primary: {name} is not one of {', '.join(NOT_BELOW_PRIMARY)}"
        for name in set(primary).difference(NOT_BELOW_PRIMARY)
    ]
    found += [
        f"primary: {name} {value!r} is not a whole number from 0 on"
        for name, value in primary.items()
        if not (_whole(value) and value >= 0)
    ]
    return found


def _text(value: Any) -> str:
    """A value of YAML as PostgreSQL writes it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)


def _overrides(overrides: Any) -> tuple[dict[str, str], dict[str, float], list[str]]:
    """The user's values as text, those that the memory depends on as numbers (sizes in kB), and what is wrong."""
    if not isinstance(overrides, Mapping):
        return {}, {}, [f"overrides {overrides!r} is not a dictionary of parameters"]
    texts: dict[str, str] = {}
    numbers: dict[str, float] = {}
    problems = []
    for key, value in overrides.items():
        name = str(key).lower() if str(key).lower() in SOLVED else str(key)
        if not NAME.fullmatch(name):
            problems.append(f"overrides: {name!r} is not the name of a parameter")
        elif name.lower() in map(str.lower, texts):
            problems.append(f"overrides: {name} is given twice")
        elif not isinstance(value, (str, int, float)) or "\n" in str(value):
            problems.append(f"overrides: {name} {value!r} is not a text or a number of one line")
        else:
            texts[name] = _text(value)
            try:
                numbers.update(_solved(name, value))
            except UnitError as exc:
                problems.append(f"overrides: {name} {exc}")
    return texts, numbers, problems


def _solved(name: str, value: Any) -> dict[str, float]:
    if name not in SOLVED:
        return {}
    unit, least, most = SOLVED[name]
    amount = number(value, unit)
    amount = amount if name == "hash_mem_multiplier" else round(amount)
    if not least <= amount <= most:
        raise UnitError(f"{value!r} is not between {least} and {most}{' x ' + unit if unit else ''}")
    return {name: amount * 8 if unit == "8kB" and amount > 0 else amount}


def _share_mb(wishes: Mapping[str, Any]) -> int:
    if wishes["share_mb"] is not None:
        if wishes["share_mb"] > wishes["memory_mb"]:
            raise TuningError(
                f"share_mb {wishes['share_mb']} is more than the {wishes['memory_mb']} MB of the machine: lower it"
            )
        return int(wishes["share_mb"])
    reserved = wishes["reserved_mb"]
    if reserved is None:
        reserved = max(RESERVED_LEAST_MB, math.ceil(wishes["memory_mb"] / 10))
    return int(wishes["memory_mb"] - wishes["claims_mb"] - reserved)


def _origin(wishes: Mapping[str, Any], share: int) -> str:
    if wishes["share_mb"] is not None:
        return f"share_mb is {share} MB"
    return (
        f"{share} of {wishes['memory_mb']} MB are left for PostgreSQL ({wishes['claims_mb']} MB are claimed by others, "
        f"{wishes['memory_mb'] - wishes['claims_mb'] - share} MB reserved for the system)"
    )


def _warnings(
    wishes: Mapping[str, Any], memory: Memory, good: bool, share_kb: int, fixed: Mapping[str, float], settings: Settings
) -> list[str]:
    found = []
    wanted = wishes["connections"]
    own = ", ".join(f"{name} = {wishes['overrides'].get(name)}" for name in fixed if name != "max_wal_size")
    if wanted and memory.connections < wanted and "max_connections" not in fixed:
        found.append(
            f"max_connections is {memory.connections}, not {wanted} as wanted: more do not fit into the "
            f"{share_kb // MB} MB of PostgreSQL. Let the clients share connections through pgbouncer, or give it more"
        )
    if not good:
        cause = own or f"max_connections = {wishes['primary'].get('max_connections')} of the primary"
        if memory.total_kb > share_kb:
            found.append(
                f"PostgreSQL may take {math.ceil(memory.total_kb / MB)} MB, but its share is {share_kb // MB} MB: "
                f"{cause} cannot be met within it. Lower it, or give PostgreSQL more memory"
            )
        else:
            found.append(
                f"{cause} leaves little: work_mem is {settings['work_mem']['value']}, shared_buffers is "
                f"{settings['shared_buffers']['value']}. Lower it, or give PostgreSQL more memory"
            )
    return found + _standby_warnings(wishes, settings) + _wal_warnings(wishes, settings, fixed)


def _standby_warnings(wishes: Mapping[str, Any], settings: Settings) -> list[str]:
    """Overrides win, also where the server will not start."""
    found = []
    for name, value in wishes["primary"].items():
        mine = settings.get(name, {}).get("value", "")
        if wishes["role"] == "standby" and mine.isdigit() and int(mine) < value:
            found.append(f"{name} = {mine} is below the {value} of the primary: the standby will not start. Raise it")
    return found


def _wal_warnings(wishes: Mapping[str, Any], settings: Settings, fixed: Mapping[str, float]) -> list[str]:
    free = wishes["wal_free_mb"]
    most = number(settings["max_wal_size"]["value"], "MB")
    if free is None or most <= free * 0.2:
        return []
    return [
        f"max_wal_size = {settings['max_wal_size']['value']} is more than 20 % of the {free} MB that are free where "
        "the WAL is: free some room, or move pg_wal"
    ]


def tune(wishes: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with their reasons, the division of the memory, and what the user should know."""
    problems = _problems(wishes)
    wishes = {**DEFAULTS, **wishes}
    texts, fixed, wrong = _overrides(wishes["overrides"])
    if problems or wrong:
        raise TuningError("; ".join(problems + wrong))
    share = _share_mb(wishes)
    profile = PROFILES[wishes["profile"]]
    at_least = wishes["primary"].get("max_connections", 0) if wishes["role"] == "standby" else 0
    wanted = max(wishes["connections"] or profile.connections, at_least)
    memory, good = solve(Ask(share * MB, profile, wishes["cpus"], wanted, at_least, fixed))
    sized = set(fixed) - {"max_wal_size"} or at_least
    if share <= 0 or not (good or sized):
        raise TuningError(
            f"too little memory for PostgreSQL: {_origin(wishes, share)} and the least is "
            f"{math.ceil(least_share_kb() / MB)} MB. Give the machine more memory, or lower what others claim"
        )
    settings = parameters(wishes, memory, share * MB, wanted, fixed)
    settings.update({name: {"value": value, "why": "set by you"} for name, value in texts.items()})
    return {
        "settings": settings,
        "memory": {
            "share_mb": share,
            "shared_buffers_mb": memory.shared_buffers_kb // MB,
            "maintenance_mb": math.ceil(memory.maintenance_total_kb / MB),
            "work_mb": math.ceil(memory.work_total_kb / MB),
            "connections_mb": memory.processes_kb // MB,
            "server_mb": math.ceil(memory.server_kb / MB),
            "total_mb": math.ceil(memory.total_kb / MB),
        },
        "warnings": _warnings(wishes, memory, good, share * MB, fixed, settings),
    }
