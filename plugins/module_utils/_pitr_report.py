# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Point in time recovery: what a check and the repository look like from outside.

Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Optional

from ._backup_report import age, amount
from ._pitr_plan import Repository, Seen, short

KINDS = ("full", "diff", "incr")
HELP = {
    "check_timestamp_seconds": "When it was checked.",
    "ok": "Whether nothing was found.",
    "finding": "What was found.",
    "backup_timestamp_seconds": "When the newest backup of the type had ended.",
    "window_start_timestamp_seconds": "The earliest time that can be recovered.",
    "archived_timestamp_seconds": "When the last WAL segment was archived.",
    "archive_failures_total": "Attempts to archive that failed.",
    "archive_queue_bytes": "WAL that waits to be archived.",
    "repository_free_bytes": "Free space where the repository is.",
    "wal_free_bytes": "Free space where pg_wal is.",
}


def metrics(seen: Seen, found: Sequence[Mapping[str, str]]) -> str:
    """For node_exporter's textfile collector. What is not known is left out."""
    values: dict[str, list[tuple[str, float]]] = {name: [] for name in HELP}
    values["check_timestamp_seconds"] = [("", seen.now)]
    values["ok"] = [("", int(not found))]
    values["finding"] = [(f'{{id="{name}"}}', 1) for name in sorted({each["id"] for each in found})]
    for kind in KINDS:
        own = [each.ended for each in seen.repository.backups if each.kind == kind]
        values["backup_timestamp_seconds"] += [(f'{{type="{kind}"}}', max(own))] if own else []
    values["window_start_timestamp_seconds"] = [("", seen.window)] if seen.window else []
    if seen.archiver:
        values["archived_timestamp_seconds"] = [("", seen.archiver.archived_at)] if seen.archiver.archived_at else []
        values["archive_failures_total"] = [("", seen.archiver.failed)]
        values["archive_queue_bytes"] = [("", seen.archiver.waiting * seen.archiver.segment_size)]
    for name, value in (("repository_free_bytes", seen.repository_free), ("wal_free_bytes", seen.wal_free)):
        values[name] = [("", value)] if value is not None else []
    lines = []
    for name, rows in values.items():
        if rows:
            full = f"shipshape_pitr_{name}"
            kind = "counter" if name.endswith("_total") else "gauge"
            lines += [f"# HELP {full} {HELP[name]}", f"# TYPE {full} {kind}"]
            lines += [f"{full}{label} {value:.15g}" for label, value in rows]
    return "\n".join(lines) + "\n"


def table(repository: Repository, window: Optional[float], now: float) -> str:
    """For people."""
    if not repository.backups:
        return f"There is no backup in the repository ({repository.message}).\n"
    rows = [("BACKUP", "TYPE", "ENDED", "AGE", "SIZE", "STORED")]
    for each in reversed(repository.backups):
        sizes = (amount(each.size), amount(each.stored))
        rows.append((each.label, each.kind, short(each.ended), age(now - each.ended), *sizes))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    text = "".join("  ".join(map(str.ljust, row, widths)).rstrip() + "\n" for row in rows)
    if window is None:
        return f"{text}WAL is missing since the newest backup: see `shipshape backup pitr check`.\n"
    return f"{text}Any time from {short(window)} on can be recovered, up to the WAL segment {repository.newest_wal}.\n"
