# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a drill: bring the newest sets from where they would be after a fire, restore them aside, and time it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Protocol

from . import _backup_manifest as manifest
from ._backup_host import need_space, private_folder, remove
from ._backup_manifest import BackupError
from ._backup_sets import Store
from ._drill_plan import HERE, Brought, line, result, selection
from ._verify_engine import verify
from ._verify_history import parsed, record

# Not among the verifications, which are many more and would push them out.
HISTORY, METRICS = "drills.jsonl", "shipshape_drill.prom"
Say = Callable[[str], None]


class Copy(Protocol):
    """What a drill needs of a target of copies."""

    name: str

    def snapshots(self, host: Optional[str]) -> Mapping[str, Mapping[str, Any]]: ...
    def fetch(self, name: str, snapshot: Mapping[str, Any], sets: Path, identity: str = "") -> None: ...


@dataclass(frozen=True)
class How:
    """How far, how long for each artefact, and with whose key."""

    level: str
    timeout: float
    identity: str = ""


def drill(config: Mapping[str, Any], copy: Optional[Copy], how: How, say: Say) -> dict[str, Any]:
    """The report. BackupError where there is nothing to make it with."""
    store = Store(config)
    sets = list(_known(store))
    away: Mapping[str, Mapping[str, Any]] = copy.snapshots(config["host"]) if copy else {}
    if not sets:
        # On a host that lost its disk the copy has all that there is.
        sets = [(name, str(each.get("schedule", "")), ()) for name, each in list(away.items())[-1:]]
    chosen = selection(sets, config["schedules"])
    if not chosen:
        raise BackupError(f"there is no set in {store.sets}: run `shipshape backup run`")
    brought, missing = [], []
    copied = store.memory()["copies"]
    for name in chosen:
        if copy and name not in away and copy.name in copied.get(name, {}):
            missing.append(f"{copy.name} has no {name}, and had it")
            continue
        brought.append(_verified(store, copy if name in away else None, away.get(name, {}), name, how, say))
    targets = (config["rto_seconds"], config["rpo_seconds"])
    return result(brought, missing, how.level, targets, time.time())


def _known(store: Store) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    for name in store.names():
        try:
            document = store.read(name)
        except (BackupError, OSError):
            yield name, "", ()
            continue
        yield name, document["schedule"], tuple(each["name"] for each in document["artefacts"])


def _verified(
    store: Store, copy: Optional[Copy], snapshot: Mapping[str, Any], name: str, how: How, say: Say
) -> Brought:
    begun = time.monotonic()
    with _place(store) as folder:
        path, source = store.sets / name, HERE
        if copy:
            source = copy.name
            say(f"{name}: comes from {source}")
            need_space(folder, manifest.size(store.read(name)) if path.exists() else 0)
            copy.fetch(name, snapshot, folder, how.identity)
            path = folder / name
        seconds = time.monotonic() - begun
        say(f"{name}: is restored, up to {how.level}")
        return Brought(name, source, seconds, verify(str(path), {"level": how.level, "timeout": how.timeout}))


@contextmanager
def _place(store: Store) -> Iterator[Path]:
    """Where a set of a copy lies meanwhile; what a drill left that was killed is cleared first."""
    folder = store.state / "drill"
    if folder.exists():
        remove(folder)
    try:
        yield private_folder(folder)
    finally:
        remove(folder)


def history(store: Store) -> list[dict[str, Any]]:
    """Oldest first."""
    path = store.state / HISTORY
    return parsed(path.read_text(encoding="utf-8", errors="replace")) if path.exists() else []


def remember(config: Mapping[str, Any], report: Mapping[str, Any]) -> list[str]:
    """A line of the history, and metrics where somebody collects them. Returns what could not be written."""
    store = Store(config)
    private_folder(store.state)
    collector = Path(config["metrics_file"]).parent if config["metrics_file"] else None
    exported = collector / METRICS if collector and collector.is_dir() else ""
    return [each.message for each in record(line(report), store.state / HISTORY, exported)]
