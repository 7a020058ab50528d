# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restore databases, or all of a set: all is made beside first, then swapped in, and swapped back if one fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional, Protocol

from . import _backup_manifest as manifest
from ._backup_host import unhurried
from ._backup_manifest import BackupError
from ._backup_restore_apps import stopped
from ._backup_restore_db import Restore, names_back
from ._backup_restore_file import FileRestore
from ._backup_restore_files import FilesRestore, files_back
from ._backup_restore_rest import RedisRestore, SqliteRestore
from ._backup_sets import Store
from ._backup_undo import UndoLog, put_aside, undo

Say = Callable[[str], None]
KINDS = {"pg_custom": "postgresql", "redis_rdb": "redis", "sqlite": "sqlite", "tar": "files"}
UNDO = {"database": names_back, "files": files_back}


class Part(Protocol):
    """One artefact on its way back."""

    def prepare(self) -> None: ...
    def swap(self, log: UndoLog) -> None: ...
    def drop(self) -> None: ...


@dataclass
class Outcome:
    """What came back, and the time that it took."""

    name: str
    restored: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    down_seconds: float = 0.0
    # Whether anything was there before that it took the place of.
    replaced: bool = True


def component_of(config: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    """Which part of this host's configuration an artefact belongs to; on a new host it has the names of the old one."""
    kind = entry["component"]
    own = [each for each in config["components"] if each["type"] == kind]
    same = [each for each in own if each.get("port") == entry["source"].get("port")]
    named = [each for each in own if entry["name"].startswith((f"{each['name']}-", f"{kind}-{each['name']}."))]
    for found in (named if kind != "postgresql" else [], same, named, own):
        if found:
            return found[0]
    if kind in ("files", "sqlite"):
        return {"timeout": 21600, "name": kind}
    raise BackupError(f"this host's configuration has no component of the type {kind}, which {entry['name']} needs")


def set_with(store: Store, database: str, name: Optional[str]) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """The set, its manifest and its dump of a database; the newest that has it, unless one is named."""
    for each in [name] if name else list(reversed(store.names())):
        try:
            document = store.read(each)
        except BackupError:
            if name:
                raise
            continue  # `shipshape backup list` says so; an older one may do
        entries = manifest.having(document, "pg_custom", database=database)
        if entries:
            return each, document, entries[0]
        if name:
            there = [entry["source"]["database"] for entry in manifest.having(document, "pg_custom")]
            raise BackupError(f"{name} has no dump of the database {database}: it has {', '.join(there) or 'none'}")
    raise BackupError(f"no set on this host has a dump of the database {database}: see `shipshape backup list`")


def restore_database(
    config: Mapping[str, Any], database: str, name: Optional[str], into: Optional[str], say: Say
) -> Outcome:
    store, start = Store(config), time.monotonic()
    name, document, entry = set_with(store, database, name)
    part = Restore(component_of(config, entry), store.sets / name, document, entry, into or database, say)
    return _one_database(config, store, part, Outcome(name), start, say)


def _one_database(
    config: Mapping[str, Any], store: Store, part: Restore, outcome: Outcome, start: float, say: Say
) -> Outcome:
    users = [each for each in config["apps"] if part.name in each["databases"]]
    _change(store, [(part.entry["name"], part)], users, outcome, say)
    outcome.replaced = part.replaced
    if part.replaced:
        outcome.notes.append(
            f"the database of before is kept as {part.before}; drop it when you do not need it any more"
        )
    outcome.seconds = time.monotonic() - start
    return outcome


def artefact_of(store: Store, path: Path) -> Optional[tuple[str, str]]:
    """The set and the database of a file that is a dump of one of this host's sets."""
    if path.parent.parent != store.sets or not manifest.is_id(path.parent.name):
        return None
    name = path.parent.name
    for entry in manifest.having(store.read(name), "pg_custom"):
        if entry["name"] == path.name:
            return name, entry["source"]["database"]
    raise BackupError(f"{path} is no dump of a database: `shipshape restore full {name}` puts all of the set back")


def postgresql_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The server that a file is restored into."""
    for each in config["components"]:
        if each["type"] == "postgresql":
            return dict(each)
    raise BackupError("this host's configuration has no component of the type postgresql to restore into")


def restore_file(
    config: Mapping[str, Any], component: Mapping[str, Any], path: Path, found: Mapping[str, Any], into: str, say: Say
) -> Outcome:
    """A dump that no run of this host made. What it replaces is kept, as with any other."""
    start = time.monotonic()
    part = FileRestore(component, path, found, into, say)
    return _one_database(config, Store(config), part, Outcome(str(path)), start, say)


@dataclass(frozen=True)
class Wanted:
    """Of a whole set: these kinds alone, and the components that are put back on request."""

    only: Sequence[str] = ()
    requested: Sequence[str] = ()


def restore_full(config: Mapping[str, Any], name: str, wanted: Wanted, say: Say) -> Outcome:
    store, start = Store(config), time.monotonic()
    document, outcome = store.read(name), Outcome(name)
    parts: list[tuple[str, Part]] = []
    for entry in document["artefacts"]:
        kind = KINDS.get(entry["kind"])
        if kind is None and entry["kind"] != "pg_globals":
            outcome.notes.append(f"{entry['name']} is the output of a command: put it back as its program wants it")
        if _is_bare(entry) or not kind or (wanted.only and kind not in wanted.only):
            continue
        component = component_of(config, entry)
        if component.get("on_request") and component["name"] not in wanted.requested:
            outcome.notes.append(f"{entry['name']} was left out: it is put back by --with {component['name']} only")
        else:
            parts.append((entry["name"], _part(config, store, name, document, entry, say)))
    if not parts:
        raise BackupError(f"{name} has nothing of {', '.join(wanted.only) or 'what can be restored'}")
    _change(store, parts, config["apps"], outcome, say)
    for each, part in parts:
        before = getattr(part, "before", None)
        if before and getattr(part, "replaced", True):
            outcome.notes.append(f"what was there before {each} is kept as {before}")
    outcome.seconds = time.monotonic() - start
    return outcome


def _is_bare(entry: Mapping[str, Any]) -> bool:
    """The server's own database, which every cluster has, with nothing in it."""
    return entry["source"].get("database") == "postgres" and not entry.get("tables")


def _part(
    config: Mapping[str, Any], store: Store, name: str, document: Mapping[str, Any], entry: Mapping[str, Any], say: Say
) -> Part:
    folder, component = store.sets / name, component_of(config, entry)
    if entry["kind"] == "pg_custom":
        return Restore(component, folder, document, entry, entry["source"]["database"], say)
    if entry["kind"] == "redis_rdb":
        return RedisRestore(component, folder, entry)
    if entry["kind"] == "sqlite":
        return SqliteRestore(folder, entry)
    return FilesRestore(component, folder, entry, store.folder)


def _change(
    store: Store, parts: list[tuple[str, Part]], apps: Sequence[Mapping[str, Any]], outcome: Outcome, say: Say
) -> None:
    """The slow part with everything up, the swap with the apps stopped, and back if any of it fails."""
    ready: list[Part] = []
    try:
        for name, part in parts:
            say(f"{name}: restored beside, and looked at")
            ready.append(part)
            part.prepare()
    except BaseException:
        for part in ready:
            part.drop()
        raise
    start, log = time.monotonic(), UndoLog(store.journal, outcome.name)
    with stopped(store, apps, say):
        try:
            for name, part in parts:
                say(f"{name}: takes the place of what was there")
                part.swap(log)
                outcome.restored.append(name)
        except BaseException as exc:
            with unhurried():
                problems = undo(store.journal, UNDO)
            if problems:
                raise BackupError(
                    f"{exc}; and not everything could be put back: {'; '.join(problems)}."
                    " `shipshape restore mend` tries again"
                ) from None
            for _name, part in parts:
                part.drop()
            raise
        log.done()
    outcome.down_seconds = time.monotonic() - start


def put_back(config: Mapping[str, Any], recovered: Callable[[], list[str]], give_up: bool, say: Say) -> list[str]:
    """What a restore that was killed had replaced, and what it had stopped. A recovery puts back its own."""
    store = Store(config)
    if not store.replaced():
        with stopped(store, config["apps"], say):
            return ["that restore had replaced nothing, or had come to its end: what it had stopped is started"]
    say("puts back what was there before the restore that was killed")
    with stopped(store, config["apps"], say):
        with unhurried():
            problems = undo(store.journal, UNDO)
        if problems and not give_up:
            raise BackupError(
                f"not everything could be put back: {'; '.join(problems)}. Mend that, and try again, or leave it as it"
                " is by `shipshape restore mend --give-up`"
            )
        put_aside(store.journal, lambda kept: problems.append(f"the log of it is {kept}"))
        notes = recovered()
    return ["given up: " + "; ".join(problems) if problems else "what was there before is back", *notes]
