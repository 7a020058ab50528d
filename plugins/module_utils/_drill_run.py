# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a drill: bring the newest sets from where they would be after a fire, restore them aside, and time it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Protocol

from ._backup_config import MANUAL, SAFETY
from ._backup_host import need_space, private_folder, remove
from ._backup_manifest import BackupError
from ._backup_sets import Store
from ._cli_verify import remember as verified
from ._drill_plan import HERE, Brought, line, result, selection
from ._verify_engine import verify
from ._verify_history import parsed, record
from ._verify_model import FINDINGS

# Not among the verifications, which are many more and would push them out.
HISTORY, METRICS = "drills.jsonl", "shipshape_drill.prom"
Say = Callable[[str], None]
# Its id, its schedule, and the names of its artefacts.
Candidate = tuple[str, str, tuple[str, ...]]


class Copy(Protocol):
    """What a drill needs of a target of copies."""

    name: str
    options: Mapping[str, Any]

    def snapshots(self, host: Optional[str]) -> Mapping[str, Mapping[str, Any]]: ...
    def fetch(self, name: str, snapshot: Mapping[str, Any], sets: Path, identity: str = "") -> None: ...


@dataclass(frozen=True)
class How:
    """How far, how long for each artefact, and with whose key."""

    level: str
    timeout: float
    identity: str = ""
    ignore: Sequence[Mapping[str, str]] = ()


def drill(config: Mapping[str, Any], copy: Optional[Copy], how: How, say: Say) -> dict[str, Any]:
    """The report. BackupError where there is nothing to make it with."""
    store = Store(config)
    here = [each for each in _known(store) if each[1] != SAFETY]
    brought: list[Brought] = []
    lacking: list[tuple[str, str]] = []
    away: Mapping[str, Mapping[str, Any]] = {}
    with _noted(lacking):
        away = copy.snapshots(config["host"]) if copy else {}
    chosen = selection(_candidates(copy, here, away), config["schedules"])
    if not chosen and not lacking:
        raise BackupError(f"there is no set in {store.sets}: run `shipshape backup run`")
    if copy and not lacking:
        copied = store.memory()["copies"]
        newest = selection(here, config["schedules"])
        gone = [name for name in newest if name not in away and copy.name in copied.get(name, {})]
        lacking += [("OFFSITE_MISSING", f"{copy.name} has no {name}, and had it") for name in gone]
    for name in chosen:
        with _noted(lacking):
            brought.append(_verified(store, copy if name in away else None, away.get(name, {}), name, how, say))
    targets = (config["rto_seconds"], config["rpo_seconds"])
    return result(brought, lacking, how.level, targets, time.time(), [each["id"] for each in how.ignore])


@contextmanager
def _noted(lacking: list[tuple[str, str]]) -> Iterator[None]:
    """What cannot be brought is a finding like any other: the history and the metrics have to know of it."""
    try:
        yield
    except BackupError as exc:
        lacking.append((getattr(exc, "found", "NOT_READABLE"), str(exc)))


def _candidates(
    copy: Optional[Copy], here: Sequence[Candidate], away: Mapping[str, Mapping[str, Any]]
) -> list[Candidate]:
    """All sets of this host; of those that go to a copy, the ones that are there, as the rest burns with the host."""
    if not copy:
        return list(here)
    names = {name: artefacts for name, _schedule, artefacts in here}
    sent = (*copy.options["schedules"], MANUAL)
    stay = [each for each in here if each[1] not in sent and each[0] not in away]
    # What is in one that only the copy has is not known; it stands for its schedule.
    there = [(name, each["schedule"], names.get(name) or (f"any {each['schedule']}",)) for name, each in away.items()]
    return [*stay, *there]


def _known(store: Store) -> Iterator[Candidate]:
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
            need_space(folder, store.last_size(snapshot["schedule"]))
            copy.fetch(name, snapshot, folder, how.identity)
            path = folder / name
        seconds = time.monotonic() - begun
        say(f"{name}: is restored, up to {how.level}")
        known = [each for each in how.ignore if each["id"] in FINDINGS]
        report = verify(str(path), {"level": how.level, "timeout": how.timeout, "ignore": known})
    if source == HERE:
        verified(store, name, report)  # for the floor of retention, which is of what is here
    return Brought(name, source, seconds, report)


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
