# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who runs a play, so that a lock names its owner, and a dead owner is known for one on the same controller."""

from __future__ import annotations

import getpass
import multiprocessing
import os
import socket
from collections.abc import Mapping
from typing import Any, Optional


def started(process: int) -> Optional[int]:
    """When a process began, in the kernel's ticks; None where there is none. A number may be another process later."""
    try:
        with open(f"/proc/{process}/stat", encoding="utf-8", errors="replace") as file:
            return int(file.read().rpartition(")")[2].split()[19])
    except (OSError, IndexError):
        return None


def owner(job: Any = "") -> dict[str, Any]:
    """This run: the same for all its tasks and hosts. C(job) is the number of an AWX job, if it is one."""
    # Tasks are templated in children of ansible-playbook, and sometimes in itself.
    process = os.getpid() if multiprocessing.parent_process() is None else os.getppid()
    controller, began = socket.gethostname(), started(process)
    return {
        "id": f"{controller}-{process}-{began}",
        "controller": controller,
        "pid": process,
        "started": began,
        "by": os.environ.get("SUDO_USER") or _user(),
        "job": str(job or ""),
    }


def lives(run: Mapping[str, Any]) -> bool:
    """Whether the run that a lock is of may still be there. On another controller nobody can tell, so it may."""
    if run.get("controller") != socket.gethostname() or not run.get("pid"):
        return True
    began = started(int(run["pid"]))
    return began is not None and began == run.get("started")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())  # a user without a name, as in an execution environment
