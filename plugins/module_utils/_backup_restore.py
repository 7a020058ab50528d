# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restore databases, or all of a set: all is made beside first, then swapped in, and swapped back if one fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional, Protocol

from . import _backup_manifest as manifest
from ._backup_host import execute, read_json, write_atomically
from ._backup_manifest import BackupError
from ._backup_restore_db import Restore
from ._backup_restore_file import FileRestore
from ._backup_restore_rest import FilesRestore, RedisRestore, SqliteRestore
from ._backup_sets import Store

STOPPED = "stopped.json"
STOP_SECONDS = 180
LABEL = "stack.shipshape.app"
INFRA = "stack.shipshape.slot=infra"
KINDS = {"pg_custom": "postgresql", "redis_rdb": "redis", "sqlite": "sqlite", "tar": "files"}
Say = Callable[[str], None]


class _NotUndoneError(BackupError):
    """Something of what was there before is not in its place."""


class NotStartedError(BackupError):
    """The restore has ended well, and what it had stopped does not start."""


class Part(Protocol):
    """One artefact on its way back."""

    def prepare(self) -> None: ...
    def swap(self) -> None: ...
    def undo(self) -> None: ...
    def drop(self) -> None: ...


@dataclass
class Outcome:
    """What came back, and the time that it took."""

    name: str
    restored: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    down_seconds: float = 0.0
    # The command that makes it good if it is killed.
    again: str = ""
    # The set that was made of what was there before.
    safety: str = ""
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
    words = f"db {database} --set {name}" + (f" --into {into}" if into else "")
    return _one_database(config, store, part, Outcome(name, again=words), start, say)


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
    return _one_database(config, Store(config), part, Outcome(str(path), again=f"db {path} --into {into}"), start, say)


@dataclass(frozen=True)
class Wanted:
    """Of a whole set: these kinds alone, and the components that are put back on request."""

    only: Sequence[str] = ()
    requested: Sequence[str] = ()


def restore_full(config: Mapping[str, Any], name: str, wanted: Wanted, safety: str, say: Say) -> Outcome:
    store, start = Store(config), time.monotonic()
    document, outcome = store.read(name), Outcome(name, again=f"full {name}", safety=safety)
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
    start = time.monotonic()
    with stopped(store.state, apps, say), _written_down(store, [name for name, _part in parts], outcome):
        begun: list[Part] = []
        try:
            for name, part in parts:
                say(f"{name}: takes the place of what was there")
                begun.append(part)
                part.swap()
                outcome.restored.append(name)
        except BaseException as exc:
            _undo(begun, parts, exc)
            raise
    outcome.down_seconds = time.monotonic() - start


@contextmanager
def _written_down(store: Store, names: Sequence[str], outcome: Outcome) -> Iterator[None]:
    """What is being replaced, as the restore may be killed. One that was killed is made good by all that it had."""
    earlier = read_json(store.journal)
    safety = earlier.get("safety") or outcome.safety
    parts = sorted({*names, *earlier.get("parts", [])})
    document = {"set": outcome.name, "again": outcome.again, "safety": safety, "parts": parts}
    write_atomically(store.journal, manifest.json.dumps(document))
    try:
        yield
    except _NotUndoneError:
        raise
    except BaseException:
        if earlier:
            write_atomically(store.journal, manifest.json.dumps(earlier))
        else:
            store.journal.unlink()
        raise
    if set(parts) <= set(names):
        store.journal.unlink()
    else:
        write_atomically(store.journal, manifest.json.dumps(earlier))


def _undo(begun: list[Part], parts: list[tuple[str, Part]], cause: BaseException) -> None:
    problems = []
    for part in reversed(begun):
        try:
            part.undo()
        except (BackupError, OSError) as exc:
            problems.append(str(exc))
    for _name, part in parts:
        if part not in begun:
            part.drop()
    if problems:
        raise _NotUndoneError(f"{cause}; and not everything could be put back: {'; '.join(problems)}") from None


@contextmanager
def stopped(state: Path, apps: Sequence[Mapping[str, Any]], say: Say) -> Iterator[None]:
    """Apps are stopped in their order and started in the other. Written down, as the restore may be killed."""
    path = state / STOPPED
    earlier = read_json(path)
    there = set(_docker("ps", "--all", "--quiet", "--no-trunc"))
    units = earlier.get("units", []) + [unit for app in apps for unit in app["units"] if _is_active(unit)]
    # What a killed restore had stopped may have been replaced by a release since.
    containers = [each for each in earlier.get("containers", []) if each in there] + [
        each for app in apps if app["containers"] for each in _containers(app["name"])
    ]
    if units or containers:
        write_atomically(path, manifest.json.dumps({"units": units, "containers": containers}))
    try:
        if units:
            say(f"stops {', '.join(units)}")
            execute(["systemctl", "stop", *units], "stop the apps", STOP_SECONDS)
        if containers:
            say(f"stops {len(containers)} containers")
            execute(["docker", "stop", *containers], "stop the apps", STOP_SECONDS)
        yield
    except BaseException:
        for problem in _start(units, containers, path):
            say(problem)
        raise
    problems = list(_start(units, containers, path))
    if problems:
        raise NotStartedError("; ".join(problems))


def _start(units: Sequence[str], containers: Sequence[str], path: Path) -> Iterator[str]:
    """Each on its own, so that one that is broken does not keep the others down. What failed is told."""
    for argv in (*(["docker", "start", each] for each in reversed(containers)),
                 *(["systemctl", "start", each] for each in reversed(units))):  # fmt: skip
        try:
            execute(argv, "start the apps", STOP_SECONDS)
        except BackupError as exc:
            yield str(exc)
    path.unlink(missing_ok=True)


def _is_active(unit: str) -> bool:
    rc, _out, _said = execute(["systemctl", "is-active", "--quiet", unit], unit, 60, accepted=tuple(range(8)))
    return rc == 0


def _containers(app: str) -> list[str]:
    """The running containers of an app, but for what it brought along: that holds data of its own."""
    words = ["ps", "--quiet", "--no-trunc", "--filter", f"label={LABEL}={app}"]
    own = set(_docker(*words, "--filter", f"label={INFRA}"))
    return [each for each in _docker(*words) if each not in own]


def _docker(*words: str) -> list[str]:
    if not Path("/usr/bin/docker").exists():
        return []
    _rc, out, _said = execute(["docker", *words], "containers", 60)
    return out.decode().split()
