# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of contents of an archive of pg_dump: which objects have data, and in which file of a folder or a tar.

C(pg_restore) is content with files of a folder that were cut (measured with 17: uncompressed, zstd and lz4), and does
not come to an end with a tar that was. Its custom format is left to it: inflating that here was no faster.
Pure but for the stream that is read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

MAGIC = b"PGDMP"
# Of PostgreSQL 12 to 18. What is newer is left to the pg_restore that knows it.
KNOWN = range(14, 17)
CUSTOM = 1
COPY_END = b"\\.\n\n\n"
READ = 1 << 20
LONGEST = 1 << 30


class CutError(EOFError):
    """The end is missing."""


class DamagedError(ValueError):
    """No pg_dump wrote this."""


@dataclass(frozen=True)
class Entry:
    """An object in the table of contents."""

    kind: str
    owner: str
    data: bool
    # Whether its data are those of COPY, which have an end of their own.
    copied: bool
    file: str


@dataclass(frozen=True)
class Archive:
    """What stands before the data."""

    entries: tuple[Entry, ...]

    def tables(self) -> int:
        return sum(each.kind == "TABLE" for each in self.entries)

    def owners(self) -> set[str]:
        return {each.owner for each in self.entries if each.owner}


class Stream:
    """Bytes in order, however many at a time the reader below gives."""

    def __init__(self, read: Callable[[int], bytes], width: int = 4) -> None:
        self.read, self.width = read, width
        self.buffer, self.at = b"", 0

    def take(self, size: int) -> bytes:
        end = self.at + size
        if end <= len(self.buffer):
            found = self.buffer[self.at : end]
            self.at = end
            return found
        parts = [self.buffer[self.at :]]
        left = size - len(parts[0])
        self.buffer, self.at = b"", 0
        while left > 0:
            chunk = self.read(READ)
            if not chunk:
                raise CutError("it ends in the middle of an object")
            parts.append(chunk[:left])
            self.buffer, self.at = chunk, min(left, len(chunk))
            left -= len(chunk)
        return b"".join(parts)

    def integer(self) -> int:
        raw = self.take(1 + self.width)
        if raw[0] > 1:
            raise DamagedError("a number in it has no sign")
        value = int.from_bytes(raw[1:], "little")
        return -value if raw[0] else value

    def string(self) -> str:
        length = self.integer()
        if length > LONGEST:
            raise DamagedError(f"a name in it has {length} bytes")
        return self.take(length).decode("utf-8", "replace") if length > 0 else ""


def contents(stream: Stream) -> Archive:
    """Everything before the data. C(KeyError) if it is of a version that is not known here."""
    head = stream.take(11)
    if head[:5] != MAGIC or head[5] != 1:
        raise DamagedError("it does not begin as an archive of pg_dump")
    if head[6] not in KNOWN:
        raise KeyError(head[6])
    minor, stream.width, offset, form = head[6], head[8], head[9], head[10]
    if not (4 <= stream.width <= 8 and 4 <= offset <= 8):
        raise DamagedError("the sizes of its numbers are impossible")
    stream.take(1) if minor >= 15 else stream.integer()  # how it is compressed
    for _part in range(7):
        stream.integer()
    for _name in ("database", "server", "pg_dump"):
        stream.string()
    count = stream.integer()
    return Archive(tuple(_entry(stream, minor, form, offset) for _number in range(count)))


def _entry(stream: Stream, minor: int, form: int, offset: int) -> Entry:
    stream.integer()
    dumped = stream.integer()
    stream.string(), stream.string(), stream.string()  # the catalogue's table, the object's number, its name
    kind = stream.string()
    stream.integer()
    stream.string(), stream.string()  # how it is made, and removed
    copied = bool(stream.string())
    for _name in ("schema", "tablespace", "access method"):
        stream.string()
    if minor >= 16:
        stream.integer()
    owner = stream.string()
    stream.string()
    while _depends(stream):
        pass
    file = ""
    if form == CUSTOM:
        stream.take(1 + offset)
    else:
        file = stream.string()
    return Entry(kind, owner, bool(dumped), copied, file)


def _depends(stream: Stream) -> bool:
    """One more object that this one needs; the list ends with a string that is none."""
    length = stream.integer()
    if length < 0:
        return False
    stream.take(length)
    return True


def data_files(archive: Archive) -> dict[str, bool]:
    """Of a folder or a tar: the files of data, and whether COPY wrote them. Large objects are not named in a tar's."""
    files = [each for each in archive.entries if each.data and each.file]
    return {each.file: each.copied for each in files if each.kind != "BLOBS" or each.file.endswith(".toc")}


def whole(tail: bytes, copied: bool) -> bool:
    """Whether it ends as COPY ends it. What else there is (INSERT, large objects) has no end of its own."""
    return not copied or tail.endswith(COPY_END)
