# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Point in time recovery: what pgBackRest and the server say, what can be restored, and what is wrong.

Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Optional

from ._backup_manifest import BackupError
from ._backup_report import age, amount
from ._pitr_config import MAX_AGE

WAL = re.compile(r"(?:^|/)([0-9A-F]{24})-[0-9a-f]{40}")
MISSING_STANZA = (1, 3)
GROWTH = 1.25
SAID = 300
FAILED, UNVERIFIED = 1, 2


@dataclass(frozen=True)
class Backup:
    """One backup in the repository."""

    label: str
    kind: str
    began: float
    ended: float
    first_wal: str
    size: int
    stored: int


@dataclass(frozen=True)
class Repository:
    """What C(pgbackrest info) says of the stanza. C(code) is pgBackRest's own: 0 is well, 2 that there is no backup."""

    code: int
    message: str
    backups: tuple[Backup, ...] = ()
    newest_wal: str = ""
    system_id: str = ""
    version: str = ""
    document: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_missing(self) -> bool:
        return self.code in MISSING_STANZA


def parse_info(text: str, stanza: str) -> Repository:
    try:
        found = next((each for each in json.loads(text) if each["name"] == stanza), None)
        if found is None:
            return Repository(MISSING_STANZA[0], "missing stanza path")
        backups = tuple(_backup(each) for each in found["backup"] if not each.get("error"))
        newest = [each["max"] for each in found["archive"] if each["max"]]
        known = found["db"][-1] if found["db"] else {"system-id": "", "version": ""}
        return Repository(
            found["status"]["code"],
            said(found),
            backups,
            newest[-1] if newest else "",
            str(known["system-id"]),
            str(known["version"]),
            found,
        )
    except (ValueError, LookupError, TypeError, AttributeError):
        raise BackupError(f"`pgbackrest info` said what is not understood: {text[:200]!r}") from None


def said(stanza: Mapping[str, Any]) -> str:
    """Where a repository cannot be read, the reason is with the repository."""
    own = [str(each["status"].get("message", "")) for each in stanza.get("repo", [])]
    return " ".join("; ".join(dict.fromkeys([stanza["status"]["message"], *own])).split())[:SAID]


def _backup(entry: Mapping[str, Any]) -> Backup:
    return Backup(
        entry["label"],
        entry["type"],
        float(entry["timestamp"]["start"]),
        float(entry["timestamp"]["stop"]),
        entry["archive"]["start"] or "",
        int(entry["info"]["size"]),
        int(entry["info"]["repository"].get("size") or entry["info"]["repository"]["delta"]),
    )


def moment(text: str) -> float:
    """A time that somebody wrote. Without a zone it would be another one on another host."""
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise BackupError(f"{text!r} is not a time: write it like '2026-11-26 02:00:00+00'") from None
    if found.tzinfo is None:
        raise BackupError(f"{text!r} has no time zone: add it, as in '{text.strip()}+00'")
    return found.timestamp()


def written(epoch: float) -> str:
    """As PostgreSQL reads it, whatever the zone of the server."""
    return datetime.fromtimestamp(epoch, timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f+00")


def short(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, timezone.utc).strftime("%Y-%m-%d %H:%M:%S+00")


def base_of(repository: Repository, target: float, now: float, records: Iterable[Mapping[str, Any]] = ()) -> Backup:
    """The backup that a recovery begins with: the last that had ended by then, and was not undone by a recovery before
    that time."""
    if not repository.backups:
        raise BackupError(
            f"there is no backup to begin with ({repository.message}): `shipshape backup pitr run` makes one"
        )
    if target > now:
        raise BackupError(f"{short(target)} is in the future: it is {short(now)} now")
    undone = [(each["target"], each["began"]) for each in records if each["began"] <= target]
    fitting = [
        each
        for each in repository.backups
        if each.ended <= target and not any(first < each.ended < last for first, last in undone)
    ]
    if not fitting:
        first = min(each.ended for each in repository.backups)
        raise BackupError(f"{short(target)} is before the first backup had ended, at {short(first)}: take a later time")
    return max(fitting, key=lambda each: each.ended)


def timeline_at(records: Iterable[Mapping[str, Any]], target: float, current: int) -> int:
    """The timeline that was written to at that time. Each recovery begins a new one and is remembered; the last of them
    would not have what the server did between the target of a recovery and that recovery itself."""
    for each in sorted(records, key=lambda each: float(each["began"])):
        if target < each["began"]:
            return int(each["left"])
    return current


def due(repository: Repository, now: float, max_age: float = MAX_AGE) -> Optional[str]:
    """What should have been made by now: a full backup where there is none."""
    if not repository.backups:
        return "full"
    return "diff" if now - max(each.ended for each in repository.backups) > max_age else None


def segments(listing: Mapping[str, Any]) -> set[str]:
    """The complete WAL segments of a listing of the repository."""
    return {match[1] for match in (WAL.search(path) for path in listing) if match}


def gaps(there: set[str], first: str, segment_size: int) -> list[str]:
    """Segments that are missing between the first that is needed and the last that is there, on its timeline. At most
    three: one is enough to end a recovery."""
    timeline, per_file = first[:8], (1 << 32) // segment_size
    own = sorted(_number(each, per_file) for each in there if each.startswith(timeline))
    start = _number(first, per_file)
    found = []
    for number in range(start, (own[-1] if own else start) + 1):
        name = f"{timeline}{number // per_file:08X}{number % per_file:08X}"
        if name not in there:
            found.append(name)
            if len(found) == 3:
                break
    return found


def window(backups: Iterable[Backup], there: set[str], segment_size: int) -> Optional[float]:
    """From when on any time can be recovered: the end of the first backup after which no WAL is missing."""
    start = None
    for each in sorted(backups, key=lambda each: each.ended, reverse=True):
        if gaps(there, each.first_wal, segment_size):
            break
        start = each.ended
    return start


def _number(name: str, per_file: int) -> int:
    return int(name[8:16], 16) * per_file + int(name[16:24], 16)


@dataclass(frozen=True)
class Archiver:
    """What the server says of its archiving."""

    mode: str = "on"
    command: str = ""
    failed: int = 0
    archived_at: float = 0.0
    failed_at: float = 0.0
    last_wal: str = ""
    waiting: int = 0
    segment_size: int = 16 << 20
    timeline: int = 1


@dataclass(frozen=True)
class Seen:
    """All that a check looked at; what could not be looked at is in C(unknown)."""

    now: float
    repository: Repository
    archiver: Optional[Archiver] = None
    arrived: str = ""
    missing: tuple[str, ...] = ()
    window: Optional[float] = None
    repository_free: Optional[int] = None
    wal_free: Optional[int] = None
    queue_max: int = 0
    stanza: str = ""
    left: str = ""
    unknown: tuple[str, ...] = ()


def findings(seen: Seen) -> list[dict[str, str]]:
    return list(_findings(seen))


def _finding(identity: str, message: str, hint: str) -> dict[str, str]:
    return {"id": identity, "message": message, "hint": hint}


def _findings(seen: Seen) -> Iterator[dict[str, str]]:
    for each in seen.unknown:
        yield _finding("NOT_READABLE", each, "nothing is known until this is put right")
    if seen.left:
        yield _finding("RESTORE_LEFT", seen.left, "`shipshape restore mend` puts back what was there before")
    yield from _archiving(seen)
    yield from _gap(seen)
    yield from _stale(seen)
    yield from _space(seen)


def _archiving(seen: Seen) -> Iterator[dict[str, str]]:
    server = seen.archiver
    hint = "see the log of PostgreSQL; after it is mended: `shipshape backup pitr check`"
    if server and (server.mode != "on" or f"--stanza={seen.stanza} " not in server.command):
        message = f"archive_mode is {server.mode}, archive_command is {server.command!r}"
        yield _finding("ARCHIVE_FAILING", message, "run the role backup; archive_mode needs a restart of the server")
        return
    queue = server.waiting * server.segment_size if server else 0
    waits = f"; {amount(queue)} wait in pg_wal, and from {amount(seen.queue_max)} on WAL is dropped" if queue else ""
    if seen.arrived:
        yield _finding("ARCHIVE_FAILING", f"{seen.arrived}{waits}", hint)
    elif server and server.failed_at > server.archived_at:
        when = age(seen.now - server.failed_at)
        yield _finding("ARCHIVE_FAILING", f"the last attempt failed, {when} ago{waits}", hint)


def _gap(seen: Seen) -> Iterator[dict[str, str]]:
    if seen.missing:
        yield _finding(
            "WAL_GAP",
            f"WAL since the newest backup is missing from the repository, from {seen.missing[0]} on",
            "what was written after it cannot be recovered until there is a new backup: `shipshape backup pitr run`",
        )


def _stale(seen: Seen) -> Iterator[dict[str, str]]:
    if seen.repository.code not in (0, 2):
        return
    if not seen.repository.backups:
        yield _finding("STALE", "there is no backup", "`shipshape backup pitr run --type full`")
        return
    newest = max(each.ended for each in seen.repository.backups)
    if seen.now - newest > MAX_AGE:
        yield _finding("STALE", f"the newest backup is {age(seen.now - newest)} old", "`shipshape backup pitr run`")


def _space(seen: Seen) -> Iterator[dict[str, str]]:
    fulls = [each.stored for each in seen.repository.backups if each.kind == "full"]
    wanted = int(max(fulls, default=0) * GROWTH)
    if seen.repository_free is not None and seen.repository_free < wanted:
        message = f"the repository has {amount(seen.repository_free)} free, and a full backup takes {amount(wanted)}"
        yield _finding("NO_SPACE", message, "make room, or keep fewer days (backup_pitr_days)")
    waiting = seen.archiver.waiting * seen.archiver.segment_size if seen.archiver else 0
    room = max(0, seen.queue_max - waiting)
    if seen.wal_free is not None and seen.wal_free < room:
        message = (
            f"pg_wal has {amount(seen.wal_free)} free, and WAL that cannot be archived may take {amount(room)} more"
        )
        yield _finding("NO_SPACE", message, "make room, or lower backup_pitr_queue_max")


def status(found: Sequence[Mapping[str, str]]) -> int:
    """0 all is well, 1 something is wrong, 2 nothing is known to be wrong but not all could be looked at."""
    names = {each["id"] for each in found}
    return FAILED if names - {"NOT_READABLE"} else UNVERIFIED if names else 0
