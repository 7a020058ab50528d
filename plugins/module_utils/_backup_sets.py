# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sets on this host, and what is remembered of runs, copies and verifications."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from . import _backup_manifest as manifest
from ._backup_host import private_folder, read_back, read_json, remove, sync_file, sync_folder, write_atomically
from ._backup_manifest import BackupError
from ._backup_retention import Known
from ._backup_undo import steps_left
from ._verify_model import FAILED, LEVELS, PASSED, at_least

FETCHED_SECONDS = 7 * 86400


class Store:
    """The folder of the sets and the folder of the memory."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.folder, self.state = Path(config["folder"]), Path(config["state_folder"])
        self.sets = self.folder / "sets"

    def prepare(self) -> None:
        """With the lock held: what is partial now is nobody's work any more."""
        for path in (self.folder, self.sets, self.state):
            private_folder(path)
        for left in [*self.sets.glob(f"*{manifest.PARTIAL}"), *self.sets.glob(".removing-*")]:
            remove(left)

    def names(self) -> list[str]:
        """Oldest first."""
        if not self.sets.is_dir():
            return []
        return sorted(each.name for each in self.sets.iterdir() if manifest.is_id(each.name) and each.is_dir())

    def read(self, name: str) -> dict[str, Any]:
        manifest.began(name)
        path = self.sets / name / manifest.FILE
        try:
            found = manifest.parse(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise BackupError(f"there is no set {name} in {self.sets}: see `shipshape backup list`") from None
        if found["id"] != name:
            raise BackupError(f"{path} is the manifest of {found['id']}: the folder was renamed; take another set")
        return found

    def known(self) -> list[Known]:
        """What retention decides on. A set that cannot be read is left to people, not removed."""
        verified = self.verified()
        found = []
        for name in self.names():
            with contextlib.suppress(BackupError, OSError):
                own = verified.get(name, {})
                passed = own.get("verdict") == PASSED and at_least("restore", own.get("level", LEVELS[0]))
                failed = own.get("verdict") == FAILED
                found.append(Known(name, self.read(name)["schedule"], passed, failed))
        return found

    def verified(self) -> dict[str, Any]:
        found = read_json(self.state / "verified.json")
        return {name: each for name, each in found.items() if isinstance(each, dict)}

    def memory(self) -> dict[str, Any]:
        """How schedules went, copies of sets, targets that were begun or held copies, sets that were fetched."""
        found = read_json(self.state / "state.json")
        return {key: found.get(key, {}) for key in ("schedules", "copies", "targets", "fetched")}

    def fetched(self, now: float) -> list[str]:
        """Sets that somebody has brought home to restore them; retention would take many of them at once."""
        return [name for name, at in self.memory()["fetched"].items() if now - at < FETCHED_SECONDS]

    def remember(self, memory: Mapping[str, Any]) -> None:
        write_atomically(self.state / "state.json", manifest.json.dumps(memory, indent=1, sort_keys=True) + "\n")

    @property
    def journal(self) -> Path:
        """The folder of what a restore is replacing; it is there after one that was killed, too."""
        return self.state / "restore"

    @property
    def recovery(self) -> Path:
        """What a recovery to a point in time is replacing."""
        return self.state / "pitr-restore.json"

    @property
    def stopped(self) -> Path:
        """The apps that a restore has stopped, and not yet started."""
        return self.state / "stopped.json"

    def unfinished(self) -> str:
        """What is to be said of a restore that was killed; empty if none was. It stops the apps before all else."""
        if not self.replaced():
            if not self.stopped.exists():
                return ""
            return "a restore was killed that had stopped things: `shipshape restore mend` starts them"
        steps = steps_left(self.journal)
        what = read_json(steps[0]).get("what") if steps else ""
        return (
            f"a restore{f' of {what}' if what else ''} was killed while it replaced things: `shipshape restore mend`"
            " puts back what was there before, and starts what was stopped"
        )

    def replaced(self) -> bool:
        """Whether something is not as it was, or may not be."""
        return bool(steps_left(self.journal)) or self.recovery.exists()

    def remove(self, name: str) -> None:
        """First under a name that is no set's, so that a removal that was cut short leaves no half of one."""
        manifest.began(name)
        hidden = self.sets / f".removing-{name}"
        (self.sets / name).rename(hidden)
        remove(hidden)

    def last_size(self, schedule: str) -> int:
        """What the last set of the schedule took, as the best guess of what the next one will."""
        for each in reversed(self.known()):
            if each.schedule == schedule:
                return manifest.size(self.read(each.name))
        return 0


@contextlib.contextmanager
def new_set(store: Store, name: str) -> Iterator[Path]:
    """A folder that gets the set's name when the block has ended well, and is gone when it has not."""
    partial = store.sets / f"{name}{manifest.PARTIAL}"
    partial.mkdir(mode=0o700)
    try:
        yield partial
        sync_folder(partial)
        partial.rename(store.sets / name)
        sync_folder(store.sets)
    except BaseException:
        with contextlib.suppress(OSError):
            remove(partial)
        raise


def collect(made: Iterator[dict[str, Any]], say: Callable[[str], None]) -> list[dict[str, Any]]:
    """The manifest's entries of artefacts that are on the disk."""
    entries = []
    for each in made:
        path = each.pop("path")
        path.chmod(0o600)
        sync_file(path)
        size, digest = read_back(path)
        entries.append({"name": path.name, "size": size, "sha256": digest, **each})
        say(f"{path.name}: {size} bytes")
    return entries


def check_artefact(folder: Path, entry: Mapping[str, Any]) -> Path:
    """Nothing is restored that is not what the run wrote."""
    path = folder / entry["name"]
    try:
        size, digest = read_back(path)
    except OSError as exc:
        raise BackupError(f"{path}: {exc.strerror}: take another set, or a copy of this one") from None
    if (size, digest) != (entry["size"], entry["sha256"]):
        raise BackupError(
            f"{path} is not what was backed up (size or SHA-256 differ): take another set, or a copy of it"
        )
    return path
