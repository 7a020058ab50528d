# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A drill: which sets it takes, what it makes of their verifications, and what is kept of it.

Pure functions: no I/O and no Ansible imports. RTO and RPO (recovery time and recovery point objective) are the terms of
ISO 22301: how long it may take until the data are back, and how old they may be then.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from posixpath import basename
from time import gmtime, strftime
from typing import Any

from ._backup_manifest import began
from ._backup_report import age
from ._verify_model import FAILED, PASSED, UNVERIFIED, worst

HERE = "here"
# Nobody waits for these before the app is started again.
NOT_WAITED_FOR = ("queries", "integrity")
SERIES = "drill"
HEAD = ("DRILL", "VERDICT", "FROM", "RTO", "RPO", "SETS", "FINDINGS")


@dataclass(frozen=True)
class Brought:
    """One set of a drill: where it came from, how long that took, and what its verification said."""

    name: str
    source: str
    seconds: float
    report: Mapping[str, Any]


def selection(sets: Sequence[tuple[str, str, Collection[str]]], schedules: Collection[str]) -> list[str]:
    """The newest sets that together have all that the newest set of each schedule has; newest first.

    Each of `sets` is its id, its schedule and the names of its artefacts; a set that cannot be read has none, and is
    taken where it is the newest, so that somebody looks at it.
    """
    newest = sorted(sets, reverse=True)
    wanted: set[str] = set()
    for schedule in schedules:
        wanted |= set(next((names for _name, own, names in newest if own == schedule), ()))
    if not wanted:
        wanted = set(next((names for _name, _own, names in newest if names), ()))
    chosen = []
    for name, _schedule, names in newest:
        if wanted & set(names) or (not names and name == newest[0][0]):
            chosen.append(name)
            wanted -= set(names)
    return chosen


def result(
    brought: Sequence[Brought],
    lacking: Sequence[tuple[str, str]],
    level: str,
    targets: tuple[int, int],
    now: float,
    ignore: Collection[str] = (),
) -> dict[str, Any]:
    """The report of a drill. `lacking` is what could not be brought, `targets` are RTO and RPO in seconds."""
    rto = sum(each.seconds + _waited_for(each.report) for each in brought)
    rpo = max((now - began(each.name) for each in brought), default=0.0)
    findings = [{"id": name, "message": message} for name, message in lacking]
    findings += list(_exceeded("RTO", "it took", rto, targets[0])) + list(
        _exceeded("RPO", "the data are", rpo, targets[1])
    )
    findings = [each for each in findings if each["id"] not in ignore]
    verdict = worst([FAILED] if findings else [each.report["verdict"] for each in brought])
    for each in brought:
        findings += _named(each.report)
    return {
        "at": now,
        "verdict": verdict,
        "level": level,
        "seconds": round(sum(each.seconds + each.report["seconds"] for each in brought), 1),
        "sets": [{"id": each.name, "source": each.source, "seconds": round(each.seconds, 1)} for each in brought],
        "rto_seconds": round(rto, 1),
        "rto_target_seconds": targets[0],
        "rpo_seconds": round(rpo, 1),
        "rpo_target_seconds": targets[1],
        "findings": findings,
    }


def _waited_for(report: Mapping[str, Any]) -> float:
    later = sum(each["durations"].get(level, 0.0) for each in report["artefacts"] for level in NOT_WAITED_FOR)
    return max(0.0, float(report["seconds"]) - later)


def _exceeded(what: str, words: str, seconds: float, target: int) -> Iterator[dict[str, str]]:
    if target and seconds > target:
        yield {"id": f"{what}_EXCEEDED", "message": f"{words} {seconds:.0f} s, and {target} s are wanted"}


def _named(report: Mapping[str, Any]) -> list[dict[str, str]]:
    return [
        {"id": found["id"], "message": f"{basename(each['path'])}: {found['message']}: {found['hint']}"}
        for each in report["artefacts"]
        for found in each["findings"]
    ]


def line(report: Mapping[str, Any]) -> dict[str, Any]:
    """What the history keeps of it, beside those of verifications and in their form."""
    return {
        "time": report["at"],
        "artefact": " ".join(each["id"] for each in report["sets"]),
        "series": SERIES,
        "source": ", ".join(sorted({each["source"] for each in report["sets"]})),
        "level": report["level"],
        "verdict": report["verdict"],
        "findings": sorted({each["id"] for each in report["findings"]}),
        "seconds": report["seconds"],
        "rto_seconds": report["rto_seconds"],
        "rpo_seconds": report["rpo_seconds"],
        "rto_target": report["rto_target_seconds"],
        "rpo_target": report["rpo_target_seconds"],
    }


def rows(history: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    """Newest first, for a table with HEAD."""
    for each in reversed(history):
        yield (
            strftime("%Y-%m-%d %H:%M", gmtime(each["time"])),
            each["verdict"],
            each["source"],
            f"{age(each['rto_seconds'])} of {age(each['rto_target'])}",
            f"{age(each['rpo_seconds'])} of {age(each['rpo_target'])}",
            each["artefact"],
            " ".join(each["findings"]),
        )


def summary(report: Mapping[str, Any]) -> list[str]:
    """What an operator wants to read."""
    sets = ", ".join(f"{each['id']} from {each['source']}" for each in report["sets"])
    text = {PASSED: "passed", FAILED: "FAILED", UNVERIFIED: "could not be made whole"}[report["verdict"]]
    return [
        f"drill {text} up to {report['level']}: {sets or 'nothing'}",
        f"RTO {report['rto_seconds']:.1f} s of {report['rto_target_seconds']} s,"
        f" RPO {report['rpo_seconds']:.0f} s of {report['rpo_target_seconds']} s",
        *(f"{each['id']}: {each['message']}" for each in report["findings"]),
    ]
