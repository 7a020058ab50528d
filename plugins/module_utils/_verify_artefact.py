# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verify one artefact up to decode: in one pass over its bytes, or two where a program wants a file."""

from __future__ import annotations

import os
import stat
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Optional

from . import _verify_decode as decode
from ._backup_host import read_back
from ._verify_formats import (
    DUMPED_FROM,
    TAR_BLOCK,
    UNFINISHED,
    DumpHeader,
    detect,
    dump_header,
    major,
    plain_problems,
    rdb_version,
    sqlite_size,
)
from ._verify_model import FOLDERS, Finding, StopError, at_least, finding, highest, stop
from ._verify_stream import Clock, Stack, opened

# A file of some bytes is the output of a program that failed; gzip of nothing has 20.
LEAST_BYTES = 21
RUN_SAMPLES = 7
STREAMED: dict[str, Callable[[Stack, dict[str, Any], Clock], Iterator[Finding]]] = {
    "pg_custom": decode.pg_custom,
    "pg_tar": decode.pg_tar,
    "pg_plain": decode.pg_plain,
    "pg_globals": decode.pg_globals,
    "tar": decode.tar,
}


class Artefact:
    """One file, what is expected of it, and what was found."""

    def __init__(self, path: str, options: Mapping[str, Any], entry: Optional[Mapping[str, Any]] = None) -> None:
        self.path, self.options, self.entry = path, options, entry or {}
        self.clock = Clock(options["timeout"])
        self.findings: list[Finding] = []
        self.facts: dict[str, Any] = {"path": path}
        self.durations: dict[str, float] = {}
        self.kind = self.entry.get("kind") or (options["type"] if options["type"] != "auto" else "")
        self.level = options["level"]
        # What others know: sizes of the ones before, and the roles that the globals beside it make.
        self.sizes: list[int] = []
        self.roles: Optional[set[str]] = None

    @property
    def source(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.entry.get("source", {})
        return found

    def wanted(self, level: str) -> bool:
        return at_least(level, self.level)

    def add(self, found: Iterator[Finding]) -> None:
        self.findings += found

    def check(self) -> None:
        """The levels up to decode. The first thing that bars the way ends it."""
        begun = time.monotonic()
        try:
            self.add(self._exists())
            self.durations["exists"] = time.monotonic() - begun
            if self.wanted("checksum"):
                self._read()
        except StopError as exc:
            self.findings.append(exc.finding)

    def _exists(self) -> Iterator[Finding]:
        try:
            status = os.stat(self.path)
        except OSError as exc:
            name = "MISSING" if isinstance(exc, (FileNotFoundError, NotADirectoryError)) else "NOT_READABLE"
            raise stop(name, f"{self.path}: {exc.strerror}") from None
        self.facts |= {"size": status.st_size, "mtime": status.st_mtime, "age_seconds": time.time() - status.st_mtime}
        yield from self._what(status)
        name = os.path.basename(self.path)
        if UNFINISHED.search(name):
            yield finding("PARTIAL", f"{name} is the name of a file that was not finished")
        if status.st_mode & 0o077 & ~(0o040 if self.options["group_readable"] else 0):
            yield finding("PERMS", f"its mode is {stat.S_IMODE(status.st_mode):04o}: others than its owner can read it")
        age = self.facts.get("age_seconds", 0)
        if self.options["max_age"] and age > self.options["max_age"]:
            yield finding("STALE", f"it is {age:.0f} s old, and max_age is {self.options['max_age']} s")
        yield from self._size(self.facts["size"])

    def _what(self, status: os.stat_result) -> Iterator[Finding]:
        if not stat.S_ISREG(status.st_mode) or self.kind in FOLDERS:
            raise stop("WRONG_FORMAT", f"{self.path} is not {self.kind or 'a file'}", "exists")
        return iter(())

    def _size(self, size: int) -> Iterator[Finding]:
        known = self.entry.get("size")
        if size < LEAST_BYTES and known != size:
            raise stop("EMPTY_ARTEFACT", f"it has {size} bytes")
        if known is not None and size < known:
            yield finding("TRUNCATED", f"it has {size} bytes, and had {known} when it was made", "exists")
        if size < self.options["min_size"]:
            yield finding("TOO_SMALL", f"it has {size} bytes, and min_size is {self.options['min_size']}")
        usual = statistics.median(self.sizes[-RUN_SAMPLES:]) if self.sizes else 0
        tolerance = self.options["size_tolerance"]
        if usual and tolerance and abs(size - usual) > usual * tolerance / 100:
            of = len(self.sizes[-RUN_SAMPLES:])
            yield finding("SIZE_ANOMALY", f"it has {size} bytes, and the median of the last {of} is {usual:.0f}")

    def _read(self) -> None:
        begun = time.monotonic()
        with opened(self.path, self.options["decrypt"], self.clock) as stack:
            try:
                if self.wanted("structure"):
                    self._structure(stack)
                    self.level = highest(self.kind, self.level)
                    self.durations["structure"] = time.monotonic() - begun
                if self.wanted("decode"):
                    self._decode(stack)
                stack.finish() if self.wanted("decode") else stack.source.drain()
            except StopError as exc:
                self.findings.append(exc.finding)
            self._compare(stack.source.drain())
        self.durations["decode" if self.wanted("decode") else "checksum"] = time.monotonic() - begun

    def _compare(self, digest: str) -> None:
        self.facts["sha256"] = digest
        wanted = self.entry.get("sha256") or self.options["checksum"]
        if wanted and digest != wanted:
            self.findings.append(finding("CHECKSUM_MISMATCH", f"its SHA-256 is {digest}, and {wanted} is expected"))
        self.facts["copies"] = 1
        for copy in self.options["copies"]:
            inside = os.path.join(copy["path"], os.path.basename(self.path.rstrip("/")))
            within = os.path.exists(inside) or (os.path.isfile(self.path) and os.path.isdir(copy["path"]))
            path = inside if within else copy["path"]
            try:
                same = self.digest(path) == digest
            except OSError as exc:
                self.findings.append(finding("OFFSITE_MISSING", f"{path}: {exc.strerror}"))
                continue
            if same:
                self.facts["copies"] += 1
            else:
                self.findings.append(finding("OFFSITE_DIFFERS", f"{path} is not the same"))
        if self.facts["copies"] < self.options["min_copies"]:
            message = f"it is in {self.facts['copies']} place(s), and min_copies is {self.options['min_copies']}"
            self.findings.append(finding("COPIES_BELOW", message, "checksum"))

    def digest(self, path: str) -> str:
        self.clock.left("checksum")
        return read_back(Path(path))[1]

    def _structure(self, stack: Stack) -> None:
        head = stack.top.head()
        found = detect(head)
        self.facts |= {"compression": stack.compression, "format": found or self.kind or "output"}
        if self.kind and self.kind != "output" and found != self.kind:
            raise stop("WRONG_FORMAT", f"it is {found or 'nothing that is known'}, and {self.kind} is expected")
        self.kind = self.kind or found
        if not self.kind:
            raise stop("WRONG_FORMAT", "it is neither a dump of PostgreSQL, nor an RDB, SQLite or tar file")
        judge = {
            "pg_custom": self._dump,
            "pg_tar": self._dump_in_tar,
            "pg_plain": self._plain,
            "redis_rdb": self._rdb,
            "sqlite": self._sqlite,
        }
        if self.kind in judge:
            self.add(judge[self.kind](stack, head))

    def _expected(self) -> tuple[str, str]:
        database = self.options["expected_database"] or self.source.get("database", "")
        return database, self.options["expected_version"] or self.source.get("server_version", "")

    def _dump(self, stack: Stack, head: bytes) -> Iterator[Finding]:
        try:
            header = dump_header(head)
        except ValueError as exc:
            raise stop("WRONG_FORMAT", str(exc)) from None
        self.facts |= {"database": header.database, "server_version": header.server_version}
        yield from self.expected_dump(header)
        tables, owners = decode.listing(stack, header.server_version, self.clock)
        self.facts |= {"tables": tables, "owners": owners}
        yield from self.listed()

    def listed(self) -> Iterator[Finding]:
        """What its table of contents says."""
        owners = self.facts["owners"]
        yield from self._no_tables()
        if self.roles is not None and owners - self.roles:
            missing = ", ".join(sorted(owners - self.roles))
            yield finding("ROLE_MISSING", f"the globals do not have {missing}, whom objects of it belong to")

    def _dump_in_tar(self, _stack: Stack, head: bytes) -> Iterator[Finding]:
        """Its table of contents is the first file, with the header that a custom dump begins with."""
        try:
            header = dump_header(head[TAR_BLOCK:])
        except ValueError as exc:
            raise stop("WRONG_FORMAT", str(exc)) from None
        self.facts |= {"database": header.database, "server_version": header.server_version}
        yield from self.expected_dump(header)

    def expected_dump(self, header: DumpHeader) -> Iterator[Finding]:
        database, version = self._expected()
        if database and header.database != database:
            yield finding("WRONG_DATABASE", f"it is a dump of {header.database}, and {database} is expected")
        if version and major(header.server_version) != major(version):
            yield finding("VERSION_MISMATCH", f"it is of PostgreSQL {header.server_version}, and {version} is expected")

    def _no_tables(self) -> Iterator[Finding]:
        known = self.entry.get("tables")
        if not self.facts["tables"] and not self.options["allow_empty"] and known != {}:
            level = "structure" if self.kind in ("pg_custom", "pg_dir") else "decode"
            yield finding("EMPTY_DATABASE", "there is no table in it", level)

    def _plain(self, _stack: Stack, head: bytes) -> Iterator[Finding]:
        dumped = DUMPED_FROM.search(head)
        if dumped:
            self.facts["server_version"] = dumped[1].decode()
        for name, message in plain_problems(head, *self._expected()):
            yield finding(name, message)

    def _rdb(self, stack: Stack, head: bytes) -> Iterator[Finding]:
        self.facts["rdb_version"] = rdb_version(head)
        beside = os.path.join(os.path.dirname(self.path), "appendonlydir")
        if not stack.wrapped and os.path.isdir(beside) and os.listdir(beside):
            yield finding("AOF_SHADOWS", f"{beside} is beside it")

    def _sqlite(self, stack: Stack, head: bytes) -> Iterator[Finding]:
        wanted = sqlite_size(head)
        if not stack.wrapped and wanted and self.facts["size"] < wanted:
            yield finding("TRUNCATED", f"it has {self.facts['size']} bytes, and its header says {wanted}", "structure")

    def _decode(self, stack: Stack) -> None:
        if self.kind in STREAMED:
            self.add(STREAMED[self.kind](stack, self.facts, self.clock))
        elif self.kind in ("redis_rdb", "sqlite"):
            with decode.file_of(stack, self.options["work_dir"], self.clock) as path:
                if self.kind == "redis_rdb":
                    self.add(decode.redis_rdb(path, self.facts, self.clock))
                else:
                    self.add(decode.sqlite_facts(path, self.facts))
        if self.kind == "pg_plain":
            self.add(self._no_tables())
        if self.kind == "pg_tar" and "owners" in self.facts:
            self.add(self.listed())
        if self.kind == "sqlite" and "tables" in self.facts:
            self.add(self._no_tables())
        self.add(self._files())

    def _files(self) -> Iterator[Finding]:
        names = self.facts.pop("names", None)
        if names is None:
            return
        wanted = self.entry.get("files")
        if wanted is not None and self.facts.get("files") != wanted:
            yield finding(
                "FILES_MISSING", f"it has {self.facts.get('files', 0)} files, and had {wanted} when it was made"
            )
        missing = [each for each in self.options["contains"] if each.strip("/") not in names]
        if missing:
            yield finding("FILES_MISSING", f"{', '.join(missing)} is not in it")
