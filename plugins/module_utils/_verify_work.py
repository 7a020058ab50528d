# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Folders that a verification works in. Each has a mark: what a killed one left goes with the next, nothing else."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ._verify_model import stop

OURS = "/var/lib/shipshape"
PREFIXES = SCRATCH, REDIS, UNPACKED = ("scratch-", "redis-", "unpacked-")
MARK = ".shipshape-verify"


@contextmanager
def workspace(work: str, prefix: str, level: str, owner: str = "") -> Iterator[str]:
    """A folder of one verification; with an owner, the account of the server that runs in it."""
    try:
        make_work(work)
        clear(work)
        folder = tempfile.mkdtemp(dir=work, prefix=prefix)
    except OSError as exc:
        raise stop("NO_SPACE", f"{work}: {exc.strerror}", level) from None
    try:
        _prepare(folder, level, owner)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _prepare(folder: str, level: str, owner: str) -> None:
    try:
        with open(f"{folder}/{MARK}", "w", encoding="ascii") as file:
            file.write(mark())
        if owner and os.geteuid() == 0:
            shutil.chown(folder, owner, owner)
    except LookupError:
        raise stop("TOOL_MISSING", f"there is no user {owner}: install the server that it belongs to", level) from None
    except OSError as exc:
        raise stop("NO_SPACE", f"{folder}: {exc.strerror}", level) from None


def make_work(work: str) -> None:
    """The server's user has to come through to its own folder, whatever umask the first of our programs had."""
    os.makedirs(work, mode=0o711, exist_ok=True)
    for path in (work, os.path.dirname(work)):
        mode = os.stat(path).st_mode
        if path.startswith(OURS) and not mode & 0o001:
            os.chmod(path, mode & 0o7777 | 0o011)  # noqa: S103


def mark() -> str:
    """This process, so that another one with its number is not taken for it."""
    return f"{os.getpid()} {_started(os.getpid())}\n"


def _started(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def alive(text: str) -> bool:
    words = text.split()
    return len(words) == 2 and words[0].isdigit() and _started(int(words[0])) == words[1]


def clear(work: str) -> None:
    """Remove what killed runs left: servers first, then their folders."""
    for entry in os.scandir(work):
        path = os.path.join(entry.path, MARK)
        if not entry.name.startswith(PREFIXES) or not entry.is_dir(follow_symlinks=False) or not os.path.exists(path):
            continue
        with open(path, encoding="ascii", errors="replace") as file:
            if alive(file.read()):
                continue
        _end_server(os.path.join(entry.path, "data"))
        shutil.rmtree(entry.path, ignore_errors=True)


def _end_server(data: str) -> None:
    with contextlib.suppress(OSError, ValueError), open(f"{data}/postmaster.pid", encoding="utf-8") as file:
        pid = int(file.readline())
        # The number may be another process' by now: only a server of this very folder is ended.
        if os.readlink(f"/proc/{pid}/cwd") == os.path.realpath(data):
            os.kill(pid, signal.SIGQUIT)
            for _attempt in range(50):
                os.kill(pid, 0)
                time.sleep(0.1)
