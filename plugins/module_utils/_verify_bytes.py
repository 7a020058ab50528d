# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done with each byte of an artefact: SHA-256, inflating, and lines."""

from __future__ import annotations

import hashlib
import queue
import threading
import zlib
from collections.abc import Iterator
from typing import Any

from ._backup_host import CHUNK

# Pieces of a file that wait to be hashed.
AHEAD = 8
GZIP = zlib.MAX_WBITS | 16


class Digest:
    """SHA-256 in a thread of its own, so that it and what decodes the same bytes share the time on two cores."""

    def __init__(self) -> None:
        self._sum, self._found = hashlib.sha256(), ""
        self._queue: queue.Queue[bytes] = queue.Queue(AHEAD)
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while chunk := self._queue.get():
            self._sum.update(chunk)

    def update(self, chunk: bytes) -> None:
        if chunk:
            self._queue.put(chunk)

    def hexdigest(self) -> str:
        """Of all of it. Nothing can be added after that."""
        if not self._found:
            self.close()
            self._found = self._sum.hexdigest()
        return self._found

    def close(self) -> None:
        if self._thread.is_alive():
            self._queue.put(b"")
            self._thread.join()


class Gunzip:
    """Members of gzip, one after the other. Python's own reader hands the bytes through three layers."""

    def __init__(self, lower: Any) -> None:
        self.lower, self._unpack, self._rest, self._begun = lower, zlib.decompressobj(GZIP), b"", False

    def read(self, size: int = -1) -> bytes:
        size = CHUNK if size is None or size < 0 else size
        while True:
            if self._unpack.eof:
                # Padding of zeros behind a member is usual on tapes.
                self._rest = self._unpack.unused_data.lstrip(b"\x00")
                self._unpack, self._begun = zlib.decompressobj(GZIP), False
            data = self._rest or self.lower.read(CHUNK)
            if not data and not self._begun:
                return b""
            self._rest = b""
            if not self._begun and not (data := data.lstrip(b"\x00")):
                continue
            self._begun = True
            chunk = self._unpack.decompress(data, size)
            self._rest = self._unpack.unconsumed_tail
            if chunk:
                return chunk
            # What it held back was asked for, too.
            if not data and not self._unpack.eof:
                raise EOFError("the compressed file ended before the end of its last member")


def texts(reader: Any) -> Iterator[str]:
    """What is read, as texts of whole lines."""
    rest = b""
    while chunk := reader.read(CHUNK):
        lines, newline, rest = (rest + chunk).rpartition(b"\n")
        yield (lines + newline).decode("utf-8", "replace")
    yield rest.decode("utf-8", "replace")
