# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which run of Ansible this is, and whether another one still goes on: asked on the controller, about its processes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

PROC = pathlib.Path("/proc")


@dataclass(frozen=True)
class Process:
    pid: int
    parent: int
    started: str
    words: str


def identity(who: Mapping[str, Any]) -> dict[str, Any]:
    """What tells this run from any other, with `by` and `job` as they are given.

    Templates are made in processes of their own, which look like the one that they were split off from.
    """
    process = _process(os.getpid())
    while process:
        parent = _process(process.parent)
        if parent is None or parent.words != process.words:
            break
        process = parent
    pid, started = (process.pid, process.started) if process else (os.getpid(), "")
    place = _place()
    name = hashlib.sha256(f"{place} {pid} {started}".encode()).hexdigest()[:16]
    return {"id": name, "controller": socket.gethostname(), "place": place, "pid": pid, "started": started, **who}


def lives(run: Mapping[str, Any]) -> bool:
    """Whether it may go on still: one of another controller cannot be seen to be dead."""
    if run.get("place") != _place():
        return True
    process = _process(int(run.get("pid") or 0))
    return process is not None and process.started == run.get("started")


def _place() -> str:
    """Where a number means the same process: this machine, or this container on it."""
    words = [socket.gethostname()]
    with contextlib.suppress(OSError):
        words.append(os.readlink(PROC / "self/ns/pid"))
    with contextlib.suppress(OSError):
        words.append(pathlib.Path("/etc/machine-id").read_text(encoding="utf-8").strip())
    return hashlib.sha256(" ".join(words).encode()).hexdigest()[:16]


def _process(pid: int) -> Optional[Process]:
    return _from_proc(pid) if (PROC / "self/stat").exists() else _from_ps(pid)


def _from_proc(pid: int) -> Optional[Process]:
    try:
        # The name may have blanks and brackets in it.
        fields = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        words = (PROC / str(pid) / "cmdline").read_text(encoding="utf-8", errors="replace")
        boot = (PROC / "sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return None
    if fields[0] == "Z":
        return None  # dead, and not yet waited for
    return Process(pid, int(fields[1]), f"{boot} {fields[19]}", words)


def _from_ps(pid: int) -> Optional[Process]:
    """Where there is no /proc, as on a Mac."""
    argv = ["ps", "-o", "ppid=", "-o", "lstart=", "-o", "args=", "-p", str(pid)]
    with contextlib.suppress(OSError, ValueError):
        words = subprocess.run(argv, capture_output=True, text=True, check=False).stdout.split()
        if len(words) > 6:
            return Process(pid, int(words[0]), " ".join(words[1:6]), " ".join(words[6:]))
    return None
