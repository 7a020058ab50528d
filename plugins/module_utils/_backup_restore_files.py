# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restore an archive of files over what is there. What it overwrites goes into an archive of before."""

from __future__ import annotations

import os
import tarfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from . import _backup_manifest as manifest
from ._backup_host import execute, need_space
from ._backup_manifest import BackupError
from ._backup_sets import check_artefact
from ._backup_undo import UndoLog

# Of files, beside their mode and times.
KEPT = ("--acls", "--xattrs", "--numeric-owner")
# The program goes with who has started it: one that went on would overwrite what `mend` has put back.
TAR = ("setpriv", "--pdeathsig", "KILL", "tar")


class FilesRestore:
    """Files that came since the backup stay."""

    def __init__(self, component: Mapping[str, Any], folder: Path, entry: Mapping[str, Any], aside: Path) -> None:
        self.component, self.folder, self.entry = component, folder, entry
        self.before = aside / f"before-{manifest.set_id(time.time())}-{entry['name']}"

    def prepare(self) -> None:
        path = check_artefact(self.folder, self.entry)
        need: dict[int, tuple[Path, int]] = {}
        for name, size in _members(path):
            folder, more = _growth(name, size)
            device = folder.stat().st_dev
            need[device] = (folder, need.get(device, (folder, 0))[1] + more)
        for folder, wanted in need.values():
            need_space(folder, wanted)
        # Of those that it overwrites, which may be larger than they were; how much larger nobody knows.
        need_space(self.before.parent, 2 * self.entry["size"])

    def swap(self, log: UndoLog) -> None:
        """The archive of before is made now, with the apps stopped: what they have written until then is in it."""
        path, seconds = self.folder / self.entry["name"], self.component["timeout"]
        names = [name for name, _size in _members(path)]
        there = [name for name in names if os.path.lexists(b"/" + name)]
        new = [_real(name) for name in names if not os.path.lexists(b"/" + name)]
        listing = self.before.with_suffix(".list")
        try:
            listing.write_bytes(b"".join(name + b"\0" for name in there))
            argv = [*TAR, "-czf", str(self.before), *KEPT, "--no-recursion", "-C", "/"]
            execute([*argv, "--null", f"--files-from={listing}"], "files of before", seconds)
        finally:
            listing.unlink(missing_ok=True)
        self.before.chmod(0o600)
        log.note("files", before=str(self.before), new=new, seconds=seconds)
        _extract(path, seconds)

    def drop(self) -> None:
        self.before.unlink(missing_ok=True)


def _members(path: Path) -> Iterator[tuple[bytes, int]]:
    """Names, and sizes of files, of an archive that is whole."""
    with tarfile.open(path, "r|gz") as archive:
        for each in archive:
            archive.members = []  # type: ignore[attr-defined]  # a stream would keep all of them
            name = os.fsencode(each.name)
            if each.isdir() and os.path.islink(b"/" + name):
                raise BackupError(
                    f"/{each.name} was a folder, and is a link now, which tar would replace: put the folder back and"
                    f" take it into the link's place, or restore {path} by hand"
                )
            yield name, each.size if each.isreg() else 0


def _growth(name: bytes, size: int) -> tuple[Path, int]:
    """Where it goes, and how much more than now it takes there."""
    place = Path("/" + os.fsdecode(name))
    now = place.lstat().st_size if place.is_file() and not place.is_symlink() else 0
    folder = place.parent
    while not folder.is_dir():
        folder = folder.parent
    return folder, max(0, size - now)


def _real(name: bytes) -> str:
    """Its place without links on the way, so that what is removed is what was made."""
    folder, _slash, own = (b"/" + name).rpartition(b"/")
    return os.fsdecode(os.path.join(os.path.realpath(folder or b"/"), own))


def _extract(path: Path, seconds: float) -> None:
    execute([*TAR, "-xzpf", str(path), *KEPT, "-C", "/"], f"files of {path.name}", seconds)


def files_back(step: Mapping[str, Any]) -> None:
    """What was not there is gone, deepest first, which makes room; then what was overwritten is as it was."""
    before = Path(step["before"])
    for name in sorted(step["new"], key=len, reverse=True):
        _remove(name)
    _extract(before, step["seconds"])
    before.unlink()


def _remove(name: str) -> None:
    folder = os.path.dirname(name)
    if os.path.realpath(folder) != folder:
        # Somebody else's by now, whom a link in an app's folder leads to.
        raise BackupError(f"{folder} leads elsewhere since the restore: see what is there, and remove it")
    if os.path.isdir(name) and not os.path.islink(name):
        # Not empty where somebody has put something into it since.
        if not os.listdir(name):
            os.rmdir(name)
    elif os.path.lexists(name):
        os.unlink(name)
