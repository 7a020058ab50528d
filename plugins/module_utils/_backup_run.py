# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a set, all or nothing; verify, copy and prune; and say how it went."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Optional

from . import _backup_files, _backup_postgresql, _backup_redis, _backup_retention
from . import _backup_manifest as manifest
from ._backup_config import SAFETY, components_of, copied, copies_of
from ._backup_copies import target as target_for
from ._backup_host import need_space, write_atomically
from ._backup_manifest import BackupError
from ._backup_report import below, findings, metrics, refusal
from ._backup_send import lacking, send
from ._backup_sets import PASSED, Store, collect, new_set

MAKERS: dict[str, Callable[[Mapping[str, Any], Path], Iterator[dict[str, Any]]]] = {
    "postgresql": _backup_postgresql.back_up,
    "redis": _backup_redis.back_up,
    "sqlite": _backup_files.sqlite,
    "files": _backup_files.files,
    "command": _backup_files.command,
}
PROGRAM = "/usr/local/bin/shipshape"
# The exit status of a verification that could not look at everything.
UNVERIFIED = 2
# The last set may have been smaller than the next one.
GROWTH = 1.25
# For the safety copy and by hand there is no schedule that says how long.
POLICIES = {"manual": {"keep_last": 10}, SAFETY: {"keep_last": 3}}


@dataclass
class Report:
    """How a run went. `name` is the set, also where something failed after it was made."""

    schedule: str
    began: float
    name: str = ""
    size: int = 0
    seconds: float = 0.0
    errors: list[str] = field(default_factory=list)
    # Those of them that are of copies, which can be made up for.
    not_sent: list[str] = field(default_factory=list)
    found: list[dict[str, str]] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return bool(self.name) and not self.errors


Say = Callable[[str], None]


def run(config: Mapping[str, Any], schedule: str, say: Say, verify: Optional[str] = None) -> Report:
    """With the lock held. Every error is in the report, none is swallowed."""
    store, report, start = Store(config), Report(schedule, time.time()), time.monotonic()
    try:
        store.prepare()
        report.name, report.size = make(config, store, schedule, say)
    except (BackupError, OSError) as exc:
        report.errors.append(_said(exc))
    if left := store.unfinished():
        report.errors.append(left)
    if report.name:
        _afterwards(config, store, report, say, verify)
    report.seconds = time.monotonic() - start
    _remember(config, store, report)
    return report


def _said(exc: Exception) -> str:
    if isinstance(exc, OSError):
        return f"{exc.filename or 'the backup'}: {exc.strerror or exc}"
    return str(exc)


def make(config: Mapping[str, Any], store: Store, schedule: str, say: Say) -> tuple[str, int]:
    components = components_of(config, schedule)
    if not components:
        raise BackupError(f"no component has the schedule {schedule!r}: name it in one, or remove it")
    need_space(store.sets, int(store.last_size(schedule) * GROWTH))
    name, start = _free_name(store), time.time()
    with new_set(store, name) as folder:
        entries = []
        for component in components:
            say(f"{component['name']} ({component['type']})")
            entries += collect(MAKERS[component["type"]](component, folder), say)
        if not entries:
            raise BackupError(f"the schedule {schedule!r} made nothing: none of its optional files is there")
        document = manifest.build(name, config["host"], (start, max(start, time.time())), schedule, entries)
        text = manifest.dumps(document)
        manifest.parse(text)
        write_atomically(folder / manifest.FILE, text)
    return name, manifest.size(document)


def _free_name(store: Store) -> str:
    """Two runs within a second, or a clock that was put back, do not get one name."""
    while True:
        name = manifest.set_id(time.time())
        if not (store.sets / name).exists():
            return name
        time.sleep(0.2)


def _afterwards(config: Mapping[str, Any], store: Store, report: Report, say: Say, level: Optional[str]) -> None:
    """The set is there. What fails from now on fails the run, and keeps old sets from being removed."""
    usual = config["schedules"].get(report.schedule, {}).get("verify")
    if level or usual:
        # Who asks for it wants to know it; of what a schedule does each time, what this host cannot look at is said.
        _attempt(report, partial(verify_set, config, report, level or usual, bool(level)))
    for options in copies_of(config, report.schedule):
        failed = len(report.errors)
        _attempt(report, partial(send, config, store, options, report.name))
        report.not_sent += report.errors[failed:]
        say(f"copy {options['name']}: {'failed' if len(report.errors) > failed else 'read back and compared'}")
    # Only when all of them are there: as long as one target fails, the others keep what they have.
    for options in copies_of(config, report.schedule) if not report.errors else ():
        _attempt(report, partial(_forget, config, report, options))
    _attempt(report, partial(_prune, config, store, report))


def _attempt(report: Report, action: Callable[[], None]) -> None:
    try:
        action()
    except (BackupError, OSError) as exc:
        report.errors.append(_said(exc))


def verify_set(config: Mapping[str, Any], report: Report, level: str, strict: bool) -> None:
    """By the program, as an operator would: whoever verifies shares no state with whoever made it."""
    # Copies are made after it.
    argv = [PROGRAM, "backup", "--config", config["file"], "verify", "--no-copies"]
    argv += ["--set", report.name, "--level", level]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if not done.returncode:
        return
    verdict = {1: "failed", UNVERIFIED: "could not be made whole"}.get(done.returncode, f"ended with {done.returncode}")
    said = " ".join((done.stdout + done.stderr).split())
    message = f"the verification of {report.name} up to {level}: {verdict}: {said[-1500:]}"
    if strict or done.returncode != UNVERIFIED:
        raise BackupError(message)
    report.found.append({"id": "UNVERIFIED", "message": message, "hint": "install what it lacks, or ask for less"})


def make_up(config: Mapping[str, Any], say: Say) -> Report:
    """Copies that failed are sent; no set is made."""
    store, report, start = Store(config), Report("copies", time.time()), time.monotonic()
    for options, name in lacking(config, store):
        report.name = name
        _attempt(report, partial(send, config, store, options, name))
        say(f"copy {options['name']}: {name}{' failed' if report.errors else ''}")
    report.seconds = time.monotonic() - start
    if not report.errors:
        _made_up(config, store, report)
    return report


def _made_up(config: Mapping[str, Any], store: Store, report: Report) -> None:
    """What failed for want of a copy alone has not failed any more."""
    memory = store.memory()
    for entry in memory["schedules"].values():
        if entry.get("errors") and entry["errors"] == entry.get("not_sent"):
            entry.update(ok=True, errors=[], not_sent=[])
    _keep(config, store, memory, report)


def _forget(config: Mapping[str, Any], report: Report, options: Mapping[str, Any]) -> None:
    refused = target_for(options, config["host"]).forget(config["min_verified"], report.name)
    report.found += refusal(f"copy {options['name']}: {refused}" if refused else "")


def _prune(config: Mapping[str, Any], store: Store, report: Report) -> None:
    if report.schedule == SAFETY:
        return  # what is to be restored may be the very set that would go
    policies = {**POLICIES, **config["schedules"]}
    needed = [report.name, *store.fetched(time.time())]
    decided = _backup_retention.plan(store.known(), policies, config["min_verified"], time.time(), report.ok, needed)
    for name in decided.remove:
        store.remove(name)
        report.removed.append(name)
    memory = store.memory()
    # A schedule that goes to no target is meant to stay here.
    wanted = config["copies_min"] if copied(config, report.schedule) else 1
    lacking = below(memory["copies"].get(report.name, {}), config["copies"], wanted)
    refused = decided.refused if report.ok else ""
    report.found += findings(report.name, lacking, store.names()[-1], time.time(), refused)


def _remember(config: Mapping[str, Any], store: Store, report: Report) -> None:
    """State and metrics. Where there is no room for them the run has failed anyway, and says so itself."""
    try:
        memory, sets = store.memory(), store.names()
        entry = memory["schedules"].setdefault(report.schedule, {})
        entry.update(last_attempt=report.began, ok=report.ok, seconds=report.seconds)
        entry.update(errors=report.errors, not_sent=report.not_sent)
        if report.name:
            entry.update(last_success=report.began, last_set=report.name, size=report.size)
        memory["copies"] = {name: each for name, each in memory["copies"].items() if name in sets}
    except OSError as exc:
        report.errors.append(_said(exc))
        return
    _keep(config, store, memory, report)


def _keep(config: Mapping[str, Any], store: Store, memory: Mapping[str, Any], report: Report) -> None:
    try:
        store.remember(memory)
        if config["metrics_file"] and Path(config["metrics_file"]).parent.is_dir():
            sets = store.names()
            passed = sum(each.get("verdict") == PASSED for name, each in store.verified().items() if name in sets)
            away = [each.name for each in store.known() if copied(config, each.schedule)]
            text = metrics(memory, sets, away, passed, config["copies_min"])
            write_atomically(Path(config["metrics_file"]), text, 0o644)
    except OSError as exc:
        report.errors.append(_said(exc))
