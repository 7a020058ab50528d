# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the first and the last bytes of an artefact say of it.

Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Optional

# A dump's header and the head of a text; more is never needed to know what a file is.
HEAD = 1 << 16
COMPRESSIONS = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
}
AGE = (b"age-encryption.org/", b"-----BEGIN AGE ENCRYPTED FILE-----")
SQLITE = b"SQLite format 3\x00"
DUMP_END = b"-- PostgreSQL database dump complete"
CLUSTER_END = b"-- PostgreSQL database cluster dump complete"
DUMPED_FROM = re.compile(rb"^-- Dumped from database version (\d+(?:\.\d+)*)", re.MULTILINE)
CONNECT = re.compile(rb'^\\connect (?:-reuse-previous=\w+ )?"?(?:dbname=\'?)?([^"\'\s]+)', re.MULTILINE)
RDB = re.compile(rb"(REDIS|VALKEY)(\d{3,4})")
TABLES = (b"\nCREATE TABLE ", b"\nCREATE UNLOGGED TABLE ")
KEPT = 4096
TAR_BLOCK = 512
# The names of steps that programs give to files which are not finished.
UNFINISHED = re.compile(r"\.(tmp|temp|part|partial|incomplete|new)$|^\.|~$", re.IGNORECASE)
DUMPED_FILE = re.compile(r"^\d+\.dat(\.\w+)?$")
TABLE_OF_CONTENTS = re.compile(r"^\d+; \d+ \d+ (.+) (\S+)$")


def compression(head: bytes) -> str:
    return next((name for magic, name in COMPRESSIONS.items() if head.startswith(magic)), "")


def folder_kind(names: Collection[str], config: bytes = b"") -> str:
    """The kind of a folder by what is in it; empty if it is none that is known."""
    names = set(names)
    if "backup_manifest" in names:
        return "basebackup"
    if "toc.dat" in names or any(DUMPED_FILE.search(each) for each in names):
        return "pg_dir"
    if {"config", "data", "index", "keys", "snapshots"} <= names:
        return "restic"
    if {"config", "data"} <= names and config.startswith(b"[repository]"):
        return "borg"
    return "pgbackrest" if {"archive", "backup"} <= names else ""


def encrypted(head: bytes) -> bool:
    return head.startswith(AGE)


def detect(head: bytes) -> str:
    """The kind of what is decrypted and decompressed; empty if it is none that is known."""
    if head.startswith(b"PGDMP"):
        return "pg_custom"
    if head.startswith(SQLITE):
        return "sqlite"
    if RDB.match(head):
        return "redis_rdb"
    if head[257:262] == b"ustar":
        return "pg_tar" if head[:100].rstrip(b"\x00") == b"toc.dat" else "tar"
    if b"PostgreSQL database cluster dump" in head:
        return "pg_globals"
    if b"PostgreSQL database dump" in head:
        return "pg_plain"
    return ""


@dataclass(frozen=True)
class DumpHeader:
    """What a dump in the custom format says of itself."""

    database: str
    server_version: str


class _Reader:
    """Integers and strings as pg_backup_archiver.c writes them."""

    def __init__(self, data: bytes, at: int, width: int) -> None:
        self.data, self.at, self.width = data, at, width

    def integer(self) -> int:
        raw = self.data[self.at : self.at + 1 + self.width]
        if len(raw) < 1 + self.width:
            raise ValueError("the header ends too early")
        self.at += 1 + self.width
        value = int.from_bytes(raw[1:], "little")
        return -value if raw[0] else value

    def string(self) -> str:
        length = self.integer()
        if length < 0:
            return ""
        raw = self.data[self.at : self.at + length]
        if len(raw) < length:
            raise ValueError("the header ends too early")
        self.at += length
        return raw.decode("utf-8", "replace")


def dump_header(head: bytes) -> DumpHeader:
    """Of PGDMP: version, widths, format, compression, time, names. ValueError if it is none."""
    if len(head) < 16 or head[:5] != b"PGDMP":
        raise ValueError("it does not begin with PGDMP")
    major, minor, width = head[5], head[6], head[8]
    if major != 1 or not 8 <= width * 2 <= 16:
        raise ValueError(f"the archive's version {major}.{minor} is not known")
    reader = _Reader(head, 11, width)
    if (major, minor) >= (1, 15):
        reader.at += 1  # the compression has been one byte since PostgreSQL 16
    else:
        reader.integer()
    for _part in range(7):
        reader.integer()
    return DumpHeader(reader.string(), reader.string().split(" ", 1)[0])


def rdb_version(head: bytes) -> int:
    found = RDB.match(head)
    return int(found[2]) if found else 0


def sqlite_size(head: bytes) -> Optional[int]:
    """How long the file has to be, where its header is sure of it."""
    if len(head) < 100:
        return None
    page = struct.unpack(">H", head[16:18])[0]
    pages, changed, valid_for = (struct.unpack(">I", head[at : at + 4])[0] for at in (28, 24, 92))
    return (65536 if page == 1 else page) * pages if pages and changed == valid_for else None


def contents(listing: str) -> tuple[int, set[str]]:
    """From what C(pg_restore --list) says: the number of tables, and the owners."""
    tables, owners = 0, set()
    for line in listing.splitlines():
        match = TABLE_OF_CONTENTS.match(line)
        if match:
            tables += bool(re.match(r"TABLE (?!DATA |ATTACH )", match[1]))
            owners.add(match[2].strip('"'))
    return tables, owners


class Text:
    """A plain dump as it goes by: its tables are counted, its end is kept."""

    def __init__(self) -> None:
        self.tables, self.tail = 0, b""

    def feed(self, chunk: bytes) -> None:
        for each in TABLES:
            # What lies across two chunks, and then what lies in this one: no chunk is copied.
            border = self.tail[1 - len(each) :] + chunk[: len(each) - 1]
            self.tables += border.count(each) + chunk.count(each)
        self.tail = (self.tail + chunk[-KEPT:])[-KEPT:]

    def ends_with(self, marker: bytes) -> bool:
        return marker in self.tail


def plain_problems(head: bytes, database: str, version: str) -> Iterator[tuple[str, str]]:
    """What the head of a plain dump says against what is expected."""
    named, dumped = CONNECT.search(head), DUMPED_FROM.search(head)
    if database and named and named[1].decode("utf-8", "replace") != database:
        yield "WRONG_DATABASE", f"it is a dump of {named[1].decode('utf-8', 'replace')}, and {database} is expected"
    if version and dumped and major(dumped[1].decode()) != major(version):
        yield "VERSION_MISMATCH", f"it is of PostgreSQL {dumped[1].decode()}, and {version} is expected"


def major(version: str) -> str:
    """15.4 and 15.4 (Debian 15.4-1) are 15."""
    return version.partition(" ")[0].partition(".")[0]
