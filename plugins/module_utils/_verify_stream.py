# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read an artefact once, from its first byte to its last: hashed as it is, decrypted and decompressed as it goes on."""

from __future__ import annotations

import bz2
import contextlib
import lzma
import os
import shutil
import signal
import subprocess
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Any, Optional

from ._backup_host import CHUNK, PATH, MissingProgramError, OvertimeError, execute
from ._verify_bytes import Digest, Gunzip
from ._verify_formats import HEAD, compression, encrypted
from ._verify_model import StopError, stop

SAID = 600
ANY_STATUS = range(-64, 256)
ENDS_EARLY = (
    "end of file",
    "unexpected end",
    "ended before",
    "early end",
    "truncated",
    "end-of-stream",
    "unexpected eof",
    "premature end",
)


class Clock:
    """The time that a whole verification has."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.end = seconds, time.monotonic() + seconds

    def left(self, level: str) -> float:
        left = self.end - time.monotonic()
        if left <= 0:
            raise stop("TIMEOUT", f"no end within {self.seconds:g} s", level)
        return left


def ask(
    argv: Sequence[str],
    clock: Clock,
    level: str,
    stdin: Optional[IO[bytes]] = None,
    environment: Optional[Mapping[str, str]] = None,
) -> tuple[int, str, str]:
    """A program that is short with its answer: exit status, output, and what it said on the other channel."""
    try:
        code, out, said = execute(argv, level, clock.left(level), stdin, environment=environment, accepted=ANY_STATUS)
    except MissingProgramError as exc:
        raise stop("TOOL_MISSING", str(exc), level) from None
    except OvertimeError as exc:
        raise stop("TIMEOUT", str(exc), level) from None
    return code, out.decode("utf-8", "replace"), said


class Source:
    """The file itself: what is read of it is hashed, in order and once."""

    def __init__(self, path: str, clock: Clock) -> None:
        self.path, self.clock, self.size, self._digest = path, clock, 0, Digest()
        try:
            self._file = open(path, "rb", buffering=0)  # noqa: SIM115
            os.posix_fadvise(self._file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
        except OSError as exc:
            self._digest.close()
            raise stop("NOT_READABLE", f"{path}: {exc.strerror}") from None

    def read(self, size: int = -1) -> bytes:
        self.clock.left("checksum")
        try:
            chunk = self._file.read(CHUNK if size is None or size < 0 else size)
        except OSError as exc:
            raise stop("NOT_READABLE", f"{self.path}, at byte {self.size}: {exc.strerror}", "checksum") from None
        self._digest.update(chunk)
        self.size += len(chunk)
        return chunk

    def drain(self) -> str:
        """What nobody asked for is hashed all the same. Returns the SHA-256 of the whole file."""
        while self.read(CHUNK):
            pass
        return self._digest.hexdigest()

    def close(self) -> None:
        self._digest.close()
        self._file.close()


class Pipe:
    """A program that the bytes go through."""

    def __init__(self, argv: Sequence[str], source: Any, clock: Clock, level: str) -> None:
        self.argv, self.source, self.clock, self.level = argv, source, clock, level
        self.failure: Optional[StopError] = None
        try:
            self.process = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                env={"PATH": PATH, "LC_ALL": "C.UTF-8"},
                cwd="/",
            )
        except OSError as exc:
            raise stop("TOOL_MISSING", f"{argv[0]}: {exc.strerror}", level) from None
        self._said: list[bytes] = []
        self.threads = [threading.Thread(target=each, daemon=True) for each in (self._fill, self._listen)]
        for thread in self.threads:
            thread.start()
        self.watch = threading.Timer(clock.left(level), self.kill)
        self.watch.start()

    def _fill(self) -> None:
        with contextlib.suppress(OSError, ValueError), self.process.stdin as stdin:  # type: ignore[union-attr]
            try:
                while chunk := self.source.read(CHUNK):
                    stdin.write(chunk)
            except StopError as exc:
                # At once: pg_restore does not end by itself at the end of a tar that was cut.
                self.failure = exc
                self.kill()

    def _listen(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._said.append(self.process.stderr.read())  # type: ignore[union-attr]

    def read(self, size: int = -1) -> bytes:
        return self.process.stdout.read(CHUNK if size is None or size < 0 else size)  # type: ignore[union-attr]

    def end(self) -> tuple[int, str]:
        """The exit status and what it said, once nothing more is to be read of it."""
        while self.read():
            pass
        code = self.process.wait()
        for thread in self.threads:
            thread.join()
        if self.failure:
            raise self.failure
        self.clock.left(self.level)
        return code, " ".join(b"".join(self._said).decode("utf-8", "replace").split())[-SAID:]

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def close(self) -> None:
        self.watch.cancel()
        self.kill()
        self.process.wait()


class Stack:
    """The readers of one pass, each over the one before."""

    def __init__(self, path: str, decrypt: Mapping[str, Any], clock: Clock) -> None:
        self.source = Source(path, clock)
        self.clock, self.top, self.pipes = clock, Peeked(self.source), list[Pipe]()
        self.wrapped, self.compression = False, ""
        try:
            if encrypted(self.top.head()):
                self._decrypt(path, decrypt)
            self.compression = compression(self.top.head())
            if self.compression:
                self._decompress()
        except BaseException:
            self.close()
            raise

    def _decrypt(self, path: str, decrypt: Mapping[str, Any]) -> None:
        key = decrypt.get("identity_file") or ""
        if not key or not os.access(key, os.R_OK):
            where = f"{key} cannot be read" if key else "no identity_file is given"
            raise stop("KEY_UNAVAILABLE", f"{path} is encrypted, and {where}")
        if not shutil.which("age", path=PATH):
            raise stop("TOOL_MISSING", "age: not installed; it has to decrypt this", "structure")
        self._through(["age", "--decrypt", "-i", key], "structure")
        if not self.top.head():
            code, said = self.pipes[-1].end()
            if code:
                raise stop("DECRYPT_FAILED", f"{path}: {said}")

    def _decompress(self) -> None:
        self.wrapped = True
        if self.compression in ("zstd", "lz4"):
            self._through([self.compression, "--decompress", "--stdout"], "decode")
            return
        openers: dict[str, Callable[..., Any]] = {"gzip": Gunzip, "bzip2": bz2.BZ2File, "xz": lzma.LZMAFile}
        self.top = Peeked(openers[self.compression](self.top))

    def _through(self, argv: Sequence[str], level: str) -> None:
        self.wrapped = True
        self.pipes.append(Pipe(argv, self.top, self.clock, level))
        self.top = Peeked(self.pipes[-1])

    def finish(self) -> str:
        """Every program has to have ended well. Returns the SHA-256 of the file."""
        for pipe in reversed(self.pipes):
            code, said = pipe.end()
            if code:
                name = os.path.basename(pipe.argv[0])
                if name == "age":
                    raise stop("DECRYPT_FAILED", f"{name}: {said}")
                raise broken(f"{name}: {said}")
        return self.source.drain()

    def close(self) -> None:
        for pipe in self.pipes:
            pipe.close()
        self.source.close()


class Peeked:
    """A reader whose head may be looked at first. Files of Python's decompressors take it for one of their own."""

    def __init__(self, lower: Any) -> None:
        self.lower, self._head, self._taken = lower, b"", False

    def head(self) -> bytes:
        if not self._taken:
            self._taken = True
            with translated():
                while len(self._head) < HEAD and (chunk := self.lower.read(HEAD - len(self._head))):
                    self._head += chunk
        return self._head

    def read(self, size: int = -1) -> bytes:
        self._taken = True
        if self._head:
            size = len(self._head) if size is None or size < 0 else size
            chunk, self._head = self._head[:size], self._head[size:]
            return chunk
        with translated():
            found: bytes = self.lower.read(CHUNK if size is None or size < 0 else size)
            return found

    def seekable(self) -> bool:
        return False

    def readable(self) -> bool:
        return True

    @property
    def closed(self) -> bool:
        return False


@contextmanager
def translated() -> Iterator[None]:
    """What decompressors raise, as what it means."""
    try:
        yield
    except EOFError as exc:
        raise stop("TRUNCATED", str(exc)) from None
    except (zlib.error, lzma.LZMAError, OSError) as exc:
        raise broken(str(exc)) from None


def broken(said: str) -> StopError:
    cut = any(each in said.lower() for each in ENDS_EARLY)
    return stop("TRUNCATED" if cut else "DECODE_ERROR", said)


@contextmanager
def opened(path: str, decrypt: Mapping[str, Any], clock: Clock) -> Iterator[Stack]:
    stack = Stack(path, decrypt, clock)
    try:
        yield stack
    finally:
        stack.close()


def spill(top: Any, to: IO[bytes]) -> None:
    """For programs that want a file."""
    while chunk := top.read(CHUNK):
        to.write(chunk)
    to.flush()
