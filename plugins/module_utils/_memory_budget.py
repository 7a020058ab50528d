# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The memory budget of a host: what its services may take, against what it has.

Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

import math
import re
from typing import Any

UNITS = {"K": 1 / 1024, "M": 1, "G": 1024, "T": 1024 * 1024}
SIZE = re.compile(r"(\d+(?:\.\d+)?)\s?([KMGT])(?:i?B)?", re.IGNORECASE)
BIGGEST = 3


class MemoryBudgetError(ValueError):
    """A claim that cannot be understood."""


def mebibytes(value: Any) -> int:
    """A size as whole MiB, rounded up.

    A number is MiB. A text has a unit of 1024s (K, M, G, T, as Docker, PostgreSQL and Redis mean them): a text without
    a unit could as well be bytes, so it is refused instead of guessed.
    """
    if isinstance(value, bool):
        raise MemoryBudgetError(f"{value!r} is not a size")
    if isinstance(value, int):
        if value < 0:
            raise MemoryBudgetError(f"{value!r} is negative")
        return value
    found = SIZE.fullmatch(value) if isinstance(value, str) else None
    if not found:
        raise MemoryBudgetError(f'{value!r} is not a size; write a number with a unit, as in "512M" or "2G"')
    return math.ceil(float(found.group(1)) * UNITS[found.group(2).upper()])


def _row(index: int, claim: dict[str, Any]) -> dict[str, Any]:
    """One claim as a row; `count` copies of a service claim that often."""
    name = claim.get("name") or f"number {index + 1}"
    if "memory" not in claim:
        raise MemoryBudgetError(f"the claim {name} has no memory; every claim needs one")
    count = claim.get("count", 1)
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise MemoryBudgetError(f"the claim {name}: count {count!r} is not a whole number")
    try:
        each = mebibytes(claim["memory"])
    except MemoryBudgetError as exc:
        raise MemoryBudgetError(f"the claim {name}: {exc}") from None
    return {"name": name, "count": count, "each_mb": each, "memory_mb": each * count}


def _table(rows: list[dict[str, Any]], total_mb: int, reserved_mb: int, free_mb: int) -> list[str]:
    """The budget for people, biggest claim first."""
    entries = [("memory of the host", total_mb), ("reserved for the system", reserved_mb)]
    entries += [
        (f"{row['name']}{' x ' + str(row['count']) if row['count'] != 1 else ''}", row["memory_mb"]) for row in rows
    ]
    entries.append(("free" if free_mb >= 0 else "too much by", abs(free_mb)))
    width = max(len(name) for name, _size in entries)
    return [f"{name:<{width}}  {size:>8} MiB" for name, size in entries]


def memory_budget(claims: list[dict[str, Any]], total_mb: Any, reserved_mb: Any) -> dict[str, Any]:
    """What is claimed, what is free, and whether it fits; `message` says what to do when it does not.

    An empty list always fits: a host without claims has nothing to keep within its memory, and its size need not be
    known.
    """
    problems = []
    rows = []
    for index, claim in enumerate(claims):
        try:
            rows.append(_row(index, claim))
        except MemoryBudgetError as exc:
            problems.append(str(exc))
    total, reserved = int(total_mb or 0), int(reserved_mb)
    rows.sort(key=lambda row: (-row["memory_mb"], row["name"]))
    claimed = sum(row["memory_mb"] for row in rows)
    free = total - reserved - claimed
    if claims and not total:
        problems.append("the memory of the host is not known: gather the facts of the subset 'hardware' first")
    elif claims and free < 0:
        biggest = ", ".join(f"{row['name']} {row['memory_mb']} MiB" for row in rows[:BIGGEST])
        problems.append(
            f"the services claim {claimed} MiB and {reserved} MiB are reserved for the system, but the host has "
            f"{total} MiB: {-free} MiB too much. The biggest claims: {biggest}. "
            "Lower them, move a service to another host, or give this one more memory"
        )
    return {
        "rows": rows,
        "total_mb": total,
        "reserved_mb": reserved,
        "claimed_mb": claimed,
        "free_mb": free,
        "ok": not problems,
        "message": "; ".join(problems),
        "table": _table(rows, total, reserved, free),
    }
