# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tuner of PostgreSQL is asked: judged as a whole, before anything is worked out.

Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Optional

from ._postgresql_parameters import NOT_BELOW_PRIMARY
from ._postgresql_tuning_memory import PROFILES
from ._postgresql_units import UnitError, number, whole

REQUIRED = ("memory_mb", "cpus", "version")
DEFAULTS: dict[str, Any] = {
    "claims_mb": 0,
    "reserved_mb": None,
    "limit_mb": None,
    "share_mb": None,
    "disk": "unknown",
    "wal_free_mb": None,
    "role": "primary",
    "profile": "mixed",
    "connections": None,
    "primary": {},
    "overrides": {},
}
CHOICES: dict[str, tuple[Any, ...]] = {
    "disk": ("ssd", "nvme", "hdd", "unknown"),
    "role": ("primary", "standby"),
    "profile": tuple(PROFILES),
    "version": tuple(range(13, 19)),
}
# Whole numbers: the least of each, and whether it may be left open.
NUMBERS = {
    "memory_mb": (1, False),
    "claims_mb": (0, False),
    "reserved_mb": (0, True),
    "limit_mb": (1, True),
    "share_mb": (1, True),
    "wal_free_mb": (0, True),
    "connections": (1, True),
}
# What the user may set that other values depend on: unit, least and most, as in pg_settings.
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
NAME = re.compile(r"[a-z_][a-z0-9_$]*(\.[a-z_][a-z0-9_$]*)?")
# The server takes names in any case; these are the only ones of its own that are not lower case.
MIXED_CASE = {"datestyle": "DateStyle", "intervalstyle": "IntervalStyle", "timezone": "TimeZone"}


def _is_whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def problems(wishes: Mapping[str, Any]) -> list[str]:
    """Everything that is wrong with the wishes, but for the overrides."""
    unknown = sorted(str(name) for name in wishes if name not in DEFAULTS and name not in REQUIRED)
    found = [f"{', '.join(unknown)}: not known here; use {', '.join([*REQUIRED, *DEFAULTS])}"] if unknown else []
    found += [f"{name} is missing" for name in REQUIRED if name not in wishes]
    for name, (least, is_open) in NUMBERS.items():
        value = wishes.get(name, least)
        if not _is_whole(value, least) and not (is_open and value is None):
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
        return [f"primary {primary!r} is not a dictionary of the primary's values"]
    known = ", ".join(NOT_BELOW_PRIMARY)
    found = [f"primary: {name} is not one of {known}" for name in primary if name not in NOT_BELOW_PRIMARY]
    return found + [
        f"primary: {name} {value!r} is not a whole number from 0 on"
        for name, value in primary.items()
        if not _is_whole(value, 0)
    ]


def read_overrides(overrides: Any) -> tuple[dict[str, str], dict[str, float], list[str]]:
    """The user's values as texts, those that others depend on as numbers (kB; MB of WAL), and what is wrong."""
    if not isinstance(overrides, Mapping):
        return {}, {}, [f"overrides {overrides!r} is not a dictionary of parameters"]
    texts: dict[str, str] = {}
    numbers: dict[str, float] = {}
    wrong = []
    for key, value in overrides.items():
        name = MIXED_CASE.get(str(key).lower(), str(key).lower())
        if not NAME.fullmatch(name.lower()):
            wrong.append(f"overrides: {key!r} is not the name of a parameter")
        elif name in texts:
            wrong.append(f"overrides: {name} is given twice")
        elif not isinstance(value, (str, int, float)) or re.search(r"[\0\r\n]", str(value)):
            wrong.append(f"overrides: {name} {value!r} is not a text or a number of one line")
        else:
            texts[name] = ("off", "on")[value] if isinstance(value, bool) else str(value)
            try:
                if name in SOLVED:
                    numbers[name] = _solved(name, value)
            except UnitError as exc:
                wrong.append(f"overrides: {name} {exc}")
    return texts, numbers, wrong


def _solved(name: str, value: Any) -> float:
    unit, least, most = SOLVED[name]
    amount = number(value) if name == "hash_mem_multiplier" else whole(value, unit)
    if not least <= amount <= most:
        raise UnitError(f"{value!r} is not between {least} and {most}{f' times {unit}' if unit else ''}")
    return amount * 8 if unit == "8kB" and amount > 0 else amount
