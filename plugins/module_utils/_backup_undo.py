# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a restore replaces, written down before it is done: undone by the one that fails, or by the next after a kill.

A step that was written down and not done is undone, too: each looks at what is there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ._backup_host import execute, read_json, remove, sync_folder, write_atomically
from ._backup_manifest import BackupError

SERVICE_SECONDS = 600
Step = Mapping[str, Any]


class UndoLog:
    """Steps of one restore, oldest first."""

    def __init__(self, path: Path, what: str) -> None:
        self.path, self.what, self.steps = path, what, list[Step]()

    def note(self, kind: str, **values: Any) -> None:
        self.steps.append({"kind": kind, **values})
        write_atomically(self.path, json.dumps({"what": self.what, "steps": self.steps}))

    def rename(self, old: Path, new: Path) -> None:
        self.note("rename", old=str(old), new=str(new))
        old.rename(new)
        sync_folder(new.parent)

    def made(self, path: Path) -> None:
        """Before it is made."""
        self.note("made", path=str(path))

    def stop(self, unit: str) -> None:
        """It is started again when all after it has been undone."""
        self.note("service", unit=unit)
        systemctl("stop", unit)

    def done(self) -> None:
        self.path.unlink(missing_ok=True)


def undo(path: Path, other: Mapping[str, Callable[[Step], None]]) -> list[str]:
    """Take the steps of a log back, newest first; `other` knows the kinds that are not of files.

    Returns what could not be undone: that stays in the log, and can be tried again. What was undone leaves it at once,
    as a second time would remove the old file that has its name back.
    """
    left = read_json(path)
    kinds = {"rename": _rename_back, "made": _unmake, "service": _start, **other}
    steps: list[Step] = left.get("steps", [])
    problems = [said for each in steps if each["kind"] == "service" for said in _tried(_stop, each)]
    kept: list[Step] = []
    while steps:
        *steps, step = steps
        said = _tried(kinds[step["kind"]], step)
        problems += said
        # Its data may be among what could not be put back, so it is stopped for the next attempt, too.
        if said or (problems and step["kind"] == "service"):
            kept.insert(0, step)
        write_atomically(path, json.dumps({**left, "steps": [*steps, *kept]}))
    if not problems:
        path.unlink(missing_ok=True)
    return problems


def _tried(action: Callable[[Step], None], step: Step) -> list[str]:
    try:
        action(step)
    except (BackupError, OSError) as exc:
        return [str(exc)]
    return []


def systemctl(verb: str, unit: str) -> None:
    execute(["systemctl", verb, unit], f"{verb} {unit}", SERVICE_SECONDS)


def _stop(step: Step) -> None:
    systemctl("stop", step["unit"])


def _start(step: Step) -> None:
    # One that was ended too often is not started otherwise.
    execute(["systemctl", "reset-failed", step["unit"]], step["unit"], SERVICE_SECONDS, accepted=(0, 1))
    systemctl("start", step["unit"])


def _rename_back(step: Step) -> None:
    old, new = Path(step["old"]), Path(step["new"])
    if new.exists() or new.is_symlink():
        new.rename(old)
        sync_folder(old.parent)


def _unmake(step: Step) -> None:
    path = Path(step["path"])
    if path.exists() or path.is_symlink():
        remove(path)
