# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decode an artefact to its end, kind by kind, and say what is in it."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Optional
from urllib.parse import quote

from . import _verify_archive as archive
from ._backup_files import refuse_damage, table_rows
from ._backup_postgresql import BINARIES, roles_of
from ._verify_formats import CLUSTER_END, DUMP_END, HEAD, Text, contents, dump_header, major
from ._verify_model import Finding, finding, stop
from ._verify_stream import CHUNK, PATH, Clock, Pipe, Stack, ask, broken, spill
from ._verify_work import UNPACKED, workspace

KEYS = re.compile(r"^\[info\] (\d+) keys read$", re.MULTILINE)
GOOD_RDB = "RDB looks OK!"
LISTED_HEAD = 8 << 20
TABLE_OF_CONTENTS = "toc.dat"
SHOWN = 3


def postgresql_program(version: str, name: str, level: str = "decode") -> str:
    """Of the dump's own major version, or the newest that is here: a newer one reads older dumps."""
    wanted = BINARIES.format(major(version), name)
    if os.access(wanted, os.X_OK):
        return wanted
    folder = os.path.dirname(os.path.dirname(os.path.dirname(wanted)))
    try:
        there = sorted((int(each) for each in os.listdir(folder) if each.isdigit()), reverse=True)
    except OSError:
        there = []
    for number in there:
        if number >= int(major(version) or 0) and os.access(BINARIES.format(number, name), os.X_OK):
            return BINARIES.format(number, name)
    raise stop(
        "TOOL_MISSING", f"{wanted}: not here, nor a newer one; install postgresql-client-{major(version)}", level
    )


def listing(stack: Stack, version: str, clock: Clock) -> tuple[int, set[str]]:
    """Tables and owners of a dump in the custom format, which stand at its beginning."""
    argv = [postgresql_program(version, "pg_restore", "structure"), "--list"]
    with tempfile.TemporaryFile() as head:
        if stack.wrapped:
            head.write(stack.top.head())
        else:
            with open(stack.source.path, "rb") as file:
                head.write(file.read(LISTED_HEAD))
        head.seek(0)
        code, out, said = ask(argv, clock, "structure", head)
    if code:
        raise broken(said[-300:])
    return contents(out)


def pg_custom(stack: Stack, facts: dict[str, Any], clock: Clock) -> Iterator[Finding]:
    version = facts.get("server_version") or dump_header(stack.top.head()).server_version
    pipe = Pipe([postgresql_program(version, "pg_restore"), "-f", "/dev/null"], stack.top, clock, "decode")
    try:
        code, said = pipe.end()
    finally:
        pipe.close()
    if code:
        raise broken(f"pg_restore: {said}")
    return iter(())


def text(stack: Stack, marker: bytes, facts: dict[str, Any]) -> Iterator[Finding]:
    scan = Text()
    while chunk := stack.top.read(CHUNK):
        scan.feed(chunk)
    if not scan.ends_with(marker):
        yield finding("TRUNCATED", f"the last line of a whole dump ({marker.decode()[3:]}) is not there")
    facts["tables"] = scan.tables


def pg_plain(stack: Stack, facts: dict[str, Any], _clock: Clock) -> Iterator[Finding]:
    yield from text(stack, DUMP_END, facts)


def pg_globals(stack: Stack, facts: dict[str, Any], _clock: Clock) -> Iterator[Finding]:
    facts["roles"] = roles_of(stack.top.head().decode("utf-8", "replace"))
    yield from text(stack, CLUSTER_END, facts)
    if not facts["roles"]:
        yield finding("EMPTY_DATABASE", "no role is in it")


class Tail:
    """The stream with its last bytes kept: to Python's tar reader an archive that was cut between files is whole."""

    def __init__(self, lower: Any) -> None:
        self.lower, self.last = lower, b""

    def read(self, size: int = -1) -> bytes:
        chunk: bytes = self.lower.read(size)
        self.last = (self.last + chunk)[-1024:]
        return chunk


def members(stack: Stack, look: Callable[[tarfile.TarFile, tarfile.TarInfo], None]) -> None:
    """All of a tar archive, one by one. It has to have an end."""
    tail = Tail(stack.top)
    try:
        with tarfile.open(fileobj=tail, mode="r|", errorlevel=2, bufsize=CHUNK) as packed:  # type: ignore[call-overload]
            for member in packed:
                look(packed, member)
                packed.members = []
            # To Python's reader a header that is damaged is the end of the archive.
            while rest := packed.fileobj.read(CHUNK):
                if rest.strip(b"\x00"):
                    raise stop("DECODE_ERROR", "a header in the archive is damaged, and all behind it is lost")
    except (tarfile.TarError, ValueError) as exc:
        raise broken(str(exc)) from None
    if tail.last.strip(b"\x00") or len(tail.last) < 1024:
        raise stop("TRUNCATED", "the archive has no end: what was to come after it is not known")


def tar(stack: Stack, facts: dict[str, Any], _clock: Clock) -> Iterator[Finding]:
    names: set[str] = set()

    def look(_packed: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        names.add(member.name.rstrip("/").removeprefix("./").lstrip("/"))
        facts["files"] = facts.get("files", 0) + 1

    members(stack, look)
    facts["names"] = names
    return iter(())


def last_of(file: Any) -> bytes:
    """Read to the end, and keep that."""
    last = b""
    while chunk := file.read(CHUNK):
        last = (last + chunk)[-16:] if len(chunk) < 16 else chunk[-16:]
    return last


def table_of(read: Callable[[int], bytes]) -> Optional[archive.Archive]:
    """Of an archive of pg_dump; nothing if its version is one of the future."""
    try:
        return archive.contents(archive.Stream(read))
    except archive.CutError as exc:
        raise stop("TRUNCATED", f"its table of contents: {exc}") from None
    except archive.DamagedError as exc:
        raise stop("DECODE_ERROR", f"its table of contents: {exc}") from None
    except KeyError:
        return None


def pg_tar(stack: Stack, facts: dict[str, Any], _clock: Clock) -> Iterator[Finding]:
    """By its table of contents: C(pg_restore) does not end where a tar was cut, and reads over the rest."""
    found: dict[str, bytes] = {}
    tables: list[archive.Archive] = []

    def look(packed: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        file = packed.extractfile(member)
        if not file:
            return
        if member.name == TABLE_OF_CONTENTS and (table := table_of(file.read)):
            tables.append(table)
        else:
            found[member.name] = last_of(file)

    members(stack, look)
    for table in tables:
        facts |= {"tables": table.tables(), "owners": table.owners()}
        yield from data_problems(table, found.get)


def data_problems(table: archive.Archive, last: Callable[[str], Optional[bytes]]) -> Iterator[Finding]:
    """Of a folder or a tar: each file of data is there, and ends as it has to."""
    lasts = {name: last(name) for name in archive.data_files(table)}
    missing = [name for name, tail in lasts.items() if tail is None]
    if missing:
        yield finding("FILES_MISSING", f"{', '.join(missing[:SHOWN])} is not in it ({len(missing)} of {len(lasts)})")
    copied = archive.data_files(table)
    cut = [name for name, tail in lasts.items() if tail is not None and not archive.whole(tail, copied[name])]
    if cut:
        yield finding("TRUNCATED", f"{', '.join(cut[:SHOWN])} has not the end that COPY writes")


@contextmanager
def file_of(stack: Stack, work: str, clock: Clock) -> Iterator[str]:
    """A path for programs that need one: the artefact's own, or that of what is in it."""
    if not stack.wrapped:
        yield stack.source.path
        return
    clock.left("decode")
    with workspace(work, UNPACKED, "decode") as folder:
        path = os.path.join(folder, "artefact")
        try:
            with open(path, "xb") as file:
                spill(stack.top, file)
        except OSError as exc:
            raise stop("NO_SPACE", f"{work}: {exc.strerror}", "decode") from None
        yield path


def redis_rdb(path: str, facts: dict[str, Any], clock: Clock) -> Iterator[Finding]:
    """By the server's own reader, to the checksum at its end."""
    with open(path, "rb") as file:
        flavours = ("valkey", "redis") if file.read(HEAD).startswith(b"VALKEY") else ("redis", "valkey")
    there = [each for each in flavours if shutil.which(f"{each}-check-rdb", path=PATH)]
    if not there:
        problem = "neither redis-check-rdb nor valkey-check-rdb is here: install redis-tools or valkey-tools"
        raise stop("TOOL_MISSING", problem)
    said = []
    for flavour in there:
        code, out, _said = ask([f"{flavour}-check-rdb", path], clock, "decode")
        found = KEYS.search(out)
        if GOOD_RDB in out and code == 0 and found:
            facts["keys"], facts["flavour"] = int(found[1]), flavour
            return
        said.append(" ".join(out.split())[-300:])
    if any("can't handle rdb format version" in each.lower() for each in said):
        yield finding("VERSION_MISMATCH", f"the server here is too old for it: {said[-1]}", "decode")
        return
    raise broken(f"check-rdb: {said[-1]}")


def sqlite_facts(path: str, facts: dict[str, Any]) -> Iterator[Finding]:
    """Nothing is written beside it, and no log of the live database is taken for the copy's."""
    try:
        database = sqlite3.connect(f"file:{quote(path)}?mode=ro&immutable=1", uri=True)
        try:
            refuse_damage(database)
            facts["rows"] = table_rows(database)
            facts["tables"] = len(facts["rows"])
        finally:
            database.close()
    except sqlite3.Error as exc:
        yield finding("DECODE_ERROR", str(exc))
