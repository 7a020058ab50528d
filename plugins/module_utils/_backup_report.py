# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run and the sets look like from outside: metrics, a table, findings.

Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ._backup_config import ALL_PLACES
from ._backup_manifest import began

HELP = {
    "last_success_timestamp_seconds": "When the newest set of the schedule was begun.",
    "last_attempt_timestamp_seconds": "When the schedule was run the last time.",
    "last_run_ok": "Whether that run did everything that it had to, copies and all.",
    "last_run_seconds": "How long it took.",
    "last_set_bytes": "Size of the newest set.",
    "sets": "Complete sets on this host.",
    "sets_verified": "Those of them that passed a verification.",
    "copies": "Places that have the newest set of those that are copied, this host among them.",
    "copies_wanted": "Places that should have it.",
}


def metrics(memory: Mapping[str, Any], sets: Sequence[str], copied: Sequence[str], passed: int, copies_min: int) -> str:
    """For node_exporter's textfile collector."""
    found: dict[str, list[tuple[str, float]]] = {name: [] for name in HELP}
    for name, each in sorted(memory["schedules"].items()):
        label = f'{{schedule="{name}"}}'
        for metric, key in (
            ("last_success_timestamp_seconds", "last_success"),
            ("last_attempt_timestamp_seconds", "last_attempt"),
            ("last_run_seconds", "seconds"),
            ("last_set_bytes", "size"),
        ):
            if each.get(key) is not None:
                found[metric].append((label, each[key]))
        found["last_run_ok"].append((label, int(bool(each.get("ok")))))
    found["sets"].append(("", len(sets)))
    found["sets_verified"].append(("", passed))
    found["copies"].append(("", copies(memory, copied[-1]) if copied else 0))
    found["copies_wanted"].append(("", copies_min))
    lines = []
    for name, values in found.items():
        if values:
            full = f"shipshape_backup_{name}"
            lines += [f"# HELP {full} {HELP[name]}", f"# TYPE {full} gauge"]
            lines += [f"{full}{label} {value:.10g}" for label, value in values]
    return "\n".join(lines) + "\n"


def copies(memory: Mapping[str, Any], name: str) -> int:
    """Places that have a set: this host, and each target that gave it back whole."""
    return 1 + len(memory["copies"].get(name, {}))


def below(names: Collection[str], targets: Iterable[Mapping[str, Any]], copies_min: int) -> str:
    """What a set that is on this host and in the targets of these names lacks of 3-2-1; empty if nothing."""
    there = 1 + len(names)
    if there < copies_min:
        return f"in {there} place(s), and {copies_min} are wanted"
    if copies_min >= ALL_PLACES and not any(each["offsite"] for each in targets if each["name"] in names):
        return f"in {there} places, and none of them is off site"
    return ""


def findings(name: str, lacking: str, newest: str, now: float, refused: str) -> Iterator[dict[str, str]]:
    if lacking:
        message = f"{name} is {lacking}"
        yield {"id": "COPIES_BELOW", "message": message, "hint": "add targets to backup_copies, or see why one failed"}
    if newest > name or began(newest) > now + 3600:
        message = f"{newest} is newer than the set that was just made"
        yield {"id": "CLOCK", "message": message, "hint": "set the clock; a restore of the newest set takes that one"}
    yield from refusal(refused)


def refusal(why: str) -> Iterator[dict[str, str]]:
    """Of removing what is not kept, if there is a reason."""
    if why:
        yield {"id": "RETENTION", "message": why, "hint": "sets pile up until this is put right"}


def due(memory: Mapping[str, Any], schedules: Mapping[str, Mapping[str, Any]], now: float) -> list[str]:
    """Schedules whose run was missed: the host was off, or the run failed."""
    last = {name: memory["schedules"].get(name, {}).get("last_success") or 0 for name in schedules}
    return sorted(
        name for name, each in schedules.items() if now - last[name] > each["max_age"] or last[name] > now + 3600
    )


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return "There is no backup set on this host.\n"
    head = ("SET", "SCHEDULE", "AGE", "SIZE", "COPIES", "VERIFIED", "ARTEFACTS")
    return columns(head, [_row(each) for each in rows])


def columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table for a terminal."""
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "".join("  ".join(map(str.ljust, line, widths)).rstrip() + "\n" for line in lines)


def _row(each: Mapping[str, Any]) -> tuple[str, ...]:
    verdict = each["verified"]
    said = f"{verdict['verdict']} ({verdict.get('level', '?')})" if verdict else "no"
    names = ", ".join(each["artefacts"])
    return (each["id"], each["schedule"], age(each["age"]), amount(each["size"]), str(each["copies"]), said, names)


def age(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(0, seconds):.0f} s"


def amount(size: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError(size)


def describe(
    name: str, document: Mapping[str, Any], verified: Mapping[str, Any], memory: Mapping[str, Any], now: float
) -> dict[str, Any]:
    """One set, for people and for the module backup_info."""
    entries: Iterable[Mapping[str, Any]] = document["artefacts"]
    return {
        "id": name,
        "host": document["host"],
        "schedule": document["schedule"],
        "age": max(0.0, now - began(name)),
        "size": sum(each["size"] for each in entries),
        "seconds": document["ended"] - document["began"],
        "copies": copies(memory, name),
        "targets": sorted(memory["copies"].get(name, {})),
        "verified": verified.get(name, {}),
        "artefacts": [each["name"] for each in entries],
    }
