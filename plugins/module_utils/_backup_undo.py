# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a restore replaces, written down before it is done: undone by the one that fails, or by `mend` after a kill.

A step that was written down and not done is undone, too: each looks at what is there.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ._backup_host import execute, private_folder, read_json, remove, sync_folder, write_atomically
from ._backup_manifest import BackupError, set_id

SERVICE_SECONDS = 600
Step = Mapping[str, Any]


class UndoLog:
    """Steps of one restore, a file for each: one that was undone is removed, which needs no room on a full disk."""

    def __init__(self, folder: Path, what: str) -> None:
        self.folder, self.what, self.count = folder, what, 0

    def note(self, kind: str, **values: Any) -> None:
        private_folder(self.folder)
        step = {"kind": kind, "what": self.what, **values}
        write_atomically(self.folder / f"{self.count:06}.json", json.dumps(step))
        self.count += 1

    def rename(self, old: Path, new: Path) -> None:
        self.note("rename", old=str(old), new=str(new))
        old.rename(new)
        sync_folder(new.parent)

    def made(self, path: Path) -> None:
        """Before it is made."""
        self.note("made", path=str(path))

    def stop(self, unit: str) -> None:
        """It is started again when all after it has been undone, if it ran."""
        self.note("service", unit=unit, active=is_active(unit))
        systemctl("stop", unit)

    def done(self) -> None:
        put_aside(self.folder, remove)


def put_aside(folder: Path, what: Callable[[Path], None]) -> None:
    """At once, as half of a log would undo half."""
    if folder.exists():
        aside = folder.with_name(f"{folder.name}.until-{set_id(time.time())}")
        folder.rename(aside)
        sync_folder(aside.parent)
        what(aside)


def steps_left(folder: Path) -> list[Path]:
    """Oldest first."""
    return sorted(folder.glob("[0-9]*.json"))


def undo(folder: Path, other: Mapping[str, Callable[[Step], None]]) -> list[str]:
    """Take the steps of a log back, newest first; `other` knows the kinds that are not of files.

    Returns what could not be undone: that stays in the log, and can be tried again. What was undone leaves it at once,
    as a second time would remove the old file that has its name back.
    """
    kinds = {"rename": _rename_back, "made": _unmake, "service": _start, **other}
    steps = {path: read_json(path) for path in steps_left(folder)}
    problems = [said for each in steps.values() if each.get("kind") == "service" for said in _tried(_stop, each)]
    for path, step in reversed(steps.items()):
        action = kinds.get(step.get("kind", ""), _unreadable)
        said = _tried(action, {**step, "file": str(path)})
        problems += said
        # The data of a service may be among what could not be put back, so it is stopped for the next attempt, too.
        if not said and not (problems and step["kind"] == "service"):
            problems += _tried(_forget, {"file": str(path)})
    if not problems and folder.exists():
        folder.rmdir()
    return problems


def _tried(action: Callable[[Step], None], step: Step) -> list[str]:
    try:
        action(step)
    except (BackupError, OSError) as exc:
        return [str(exc)]
    return []


def _unreadable(step: Step) -> None:
    raise BackupError(f"{step['file']} cannot be read: see what it says")


def _forget(step: Step) -> None:
    path = Path(step["file"])
    path.unlink()
    sync_folder(path.parent)


def systemctl(verb: str, unit: str) -> None:
    execute(["systemctl", verb, unit], f"{verb} {unit}", SERVICE_SECONDS)


def is_active(unit: str) -> bool:
    rc, _out, _said = execute(["systemctl", "is-active", "--quiet", unit], unit, 60, accepted=tuple(range(8)))
    return rc == 0


def _stop(step: Step) -> None:
    systemctl("stop", step["unit"])


def _start(step: Step) -> None:
    if step["active"]:
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
        sync_folder(path.parent)
