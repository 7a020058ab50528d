# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What verifications and drills found over time: a line for each, and metrics of the newest of each series.

C(line) and C(metrics) are pure. C(record) does all of it, and never fails: a history that cannot be written is told,
and is no reason to throw away what it would have said.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

from ._backup_host import write_atomically
from ._verify_model import FAILED, PASSED, UNVERIFIED, Finding

KEEP = 400
HISTORY = "history.jsonl"
METRICS = "/var/lib/prometheus/node-exporter/shipshape_verify.prom"
WARNING = "warning"
VERDICTS = (PASSED, FAILED, UNVERIFIED)
# Name, help, and the key of the line that its value is; what a line has no value of has no sample.
GAUGES = (
    ("shipshape_verify_timestamp_seconds", "When it was last verified", "time"),
    ("shipshape_verify_duration_seconds", "How long the last verification took", "seconds"),
    ("shipshape_verify_rto_seconds", "How long its last restore took", "rto_seconds"),
    ("shipshape_verify_rpo_seconds", "The age of its data when it was last verified", "rpo_seconds"),
    ("shipshape_verify_rto_target_seconds", "How long a restore may take", "rto_target"),
    ("shipshape_verify_rpo_target_seconds", "How old its data may be", "rpo_target"),
)


def line(
    artefact: str,
    report: Mapping[str, Any],
    now: float,
    series: str = "",
    rto_target: float = 0,
    rpo_target: float = 0,
) -> dict[str, Any]:
    """One verification. The series is what is verified again and again, as sets come and go; usually the artefact."""
    found = {each["id"] for artefacts in report.get("artefacts", []) for each in artefacts["findings"]}
    values = {
        "time": round(now, 3),
        "artefact": artefact,
        "series": series or artefact,
        "level": report["level_requested"],
        "verdict": report["verdict"],
        "findings": sorted(found),
        "seconds": _rounded(report["seconds"]),
        "rto_seconds": _rounded(report.get("rto_seconds")),
        "rpo_seconds": _rounded(report.get("rpo_seconds")),
        "rto_target": rto_target,
        "rpo_target": rpo_target,
    }
    # A target of 0 is none.
    return {key: each for key, each in values.items() if each is not None and (each or not key.endswith("target"))}


def _rounded(value: Optional[float]) -> Optional[float]:
    return None if value is None else round(value, 3)


def metrics(lines: Iterable[Mapping[str, Any]]) -> str:
    """For node_exporter's textfile collector: of each series the newest line, and when one last passed."""
    newest: dict[str, Mapping[str, Any]] = {}
    passed: dict[str, float] = {}
    for each in lines:
        newest[each["series"]] = each
        if each["verdict"] == PASSED:
            passed[each["series"]] = each["time"]
    return "".join(f"{text}\n" for text in _exposition(newest, passed))


def _exposition(newest: Mapping[str, Mapping[str, Any]], passed: Mapping[str, float]) -> Iterator[str]:
    yield from _head("shipshape_verify_verdict", "1 for the verdict of the last verification, 0 for the others")
    for series, each in sorted(newest.items()):
        for verdict in VERDICTS:
            labels = f'series="{escaped(series)}",level="{escaped(each["level"])}",verdict="{verdict}"'
            yield f"shipshape_verify_verdict{{{labels}}} {int(each['verdict'] == verdict)}"
    yield from _head("shipshape_verify_last_passed_timestamp_seconds", "When it last passed, 0 if not within memory")
    for series in sorted(newest):
        yield f'shipshape_verify_last_passed_timestamp_seconds{{series="{escaped(series)}"}} {passed.get(series, 0)}'
    for name, said, key in GAUGES:
        known = sorted((escaped(series), each[key]) for series, each in newest.items() if key in each)
        if known:
            yield from _head(name, said)
            yield from (f'{name}{{series="{series}"}} {value}' for series, value in known)


def escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _head(name: str, said: str) -> Iterator[str]:
    yield f"# HELP {name} {said}."
    yield f"# TYPE {name} gauge"


def parsed(text: str) -> list[dict[str, Any]]:
    """Lines of ours. One that somebody broke is not worth the others."""
    found = []
    for each in text.splitlines():
        with contextlib.suppress(ValueError):
            value = json.loads(each)
            if isinstance(value, dict) and {"time", "series", "level", "verdict"} <= value.keys():
                found.append(value)
    return found


def append(path: str | Path, new: Mapping[str, Any], keep: int = KEEP) -> list[dict[str, Any]]:
    """All or nothing, the oldest lines give way. Returns what is there now; OSError where it cannot be written."""
    path = Path(path)
    with alone(path.parent):
        text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
        lines = [*parsed(text), dict(new)][-keep:]
        write_atomically(path, "".join(f"{json.dumps(each)}\n" for each in lines))
    return lines


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Two that end at once would else lose a line of one. The folder is the lock: nothing is left of it."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def record(new: Mapping[str, Any], history: str | Path = "", exported: str | Path = "") -> Sequence[Finding]:
    """Both files, where they are asked for. What could not be written is returned as a warning.

    Without a history the metrics are those of this line alone.
    """
    found, lines = [], [dict(new)]
    if history:
        try:
            lines = append(history, new)
        except OSError as exc:
            found.append(_unwritten("HISTORY_NOT_WRITTEN", history, exc))
    if exported:
        try:
            write_atomically(Path(exported), metrics(lines), 0o644)
        except OSError as exc:
            found.append(_unwritten("METRICS_NOT_WRITTEN", exported, exc))
    return found


def _unwritten(name: str, path: str | Path, exc: OSError) -> Finding:
    hint = "make its folder, and room on its disk; the verdict stands"
    return Finding(name, WARNING, "exists", f"{path}: {exc.strerror or exc}", hint)


def default_metrics() -> str:
    """Where node_exporter reads, if it does on this host."""
    return METRICS if os.path.isdir(os.path.dirname(METRICS)) else ""
