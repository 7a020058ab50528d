# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs whose bytes pass through here, to be hashed on their way, and that have an end whatever happens."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import IO, Optional, Union

from ._backup_host import CHUNK, PATH, SAID, MissingProgramError, OvertimeError
from ._backup_manifest import BackupError

# What it says when it is ended in the middle of its work is worth a moment.
ENDING_SECONDS = 10.0


class EndedError(BackupError):
    """A program's own failure."""

    def __init__(self, status: int, problem: str, said: str) -> None:
        super().__init__(f"{problem} {status}: {said}")
        self.status, self.said = status, said


def pump(source: IO[bytes], sink: Optional[IO[bytes]] = None) -> str:
    """The SHA-256 of what went from one to the other."""
    digest = hashlib.sha256()
    while chunk := source.read(CHUNK):
        digest.update(chunk)
        if sink:
            sink.write(chunk)
    return digest.hexdigest()


class Programs:
    """Started in the block, and gone after it; whoever runs longer than the time is ended, and that is the error."""

    def __init__(self, what: str, seconds: float) -> None:
        self.what, self.seconds, self.late = what, seconds, False
        self.running: list[tuple[subprocess.Popen[bytes], IO[bytes], str]] = []
        self.watch = threading.Timer(seconds, self._overtime)
        self.watch.daemon = True

    def __enter__(self) -> Programs:
        self.watch.start()
        return self

    def __exit__(self, _kind: object, exc: Optional[BaseException], _trace: Optional[TracebackType]) -> None:
        self.watch.cancel()
        try:
            if self.late:
                problem = f"{self.what}: no end within {self.seconds:.0f} s; give it more by timeout"
                raise OvertimeError(problem + self._heard())
            if isinstance(exc, BrokenPipeError):  # the reason is what the one has said that reads no more
                self.finish(ENDING_SECONDS)
        finally:
            self._kill()
            for process, said, _name in self.running:
                process.wait()
                for pipe in (process.stdin, process.stdout, said):
                    with contextlib.suppress(OSError):
                        if pipe:
                            pipe.close()

    def start(
        self,
        argv: Sequence[str],
        environment: Optional[Mapping[str, str]] = None,
        stdin: Union[IO[bytes], int] = subprocess.DEVNULL,
        stdout: Union[IO[bytes], int] = subprocess.PIPE,
    ) -> subprocess.Popen[bytes]:
        said = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the block
        try:
            process = subprocess.Popen(
                list(argv),
                stdin=stdin,
                stdout=stdout,
                stderr=said,
                start_new_session=True,
                # Also what it writes to a folder is for root's eyes only.
                umask=0o077,
                env={"PATH": PATH, "LC_ALL": "C.UTF-8", "HOME": os.environ.get("HOME", "/root"), **(environment or {})},
                cwd="/",
            )
        except OSError as exc:
            said.close()
            problem = f"{self.what}: {argv[0]}: {exc.strerror}: install the package that it comes with"
            raise MissingProgramError(problem) from None
        self.running.append((process, said, argv[0]))
        return process

    def finish(self, seconds: Optional[float] = None) -> None:
        """Wait for all. The last one is asked first: who writes to one that has failed fails by that."""
        end = time.monotonic() + seconds if seconds else None
        for process, said, name in reversed(self.running):
            try:
                process.wait(max(0.1, end - time.monotonic()) if end else None)
            except subprocess.TimeoutExpired:
                continue
            if process.returncode and not self.late:
                raise EndedError(process.returncode, f"{self.what}: {name} ended with", _text(said))

    def _heard(self) -> str:
        heard = [_text(said) for _process, said, _name in self.running]
        return f": {' '.join(each for each in heard if each)}" if any(heard) else ""

    def _overtime(self) -> None:
        self.late = True
        self._kill()

    def _kill(self) -> None:
        for process, _said, _name in self.running:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)


def _text(said: IO[bytes]) -> str:
    said.seek(0)
    return " ".join(said.read().decode("utf-8", "replace").split())[-SAID:]
