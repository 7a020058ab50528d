# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One target that gets copies of sets: what is the same for restic and for rclone."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

from . import _backup_manifest as manifest
from . import _backup_retention
from ._backup_host import execute, remove, sync_folder
from ._backup_keys import KEEP
from ._backup_manifest import BackupError
from ._backup_redis import read_secret
from ._backup_sets import check_artefact

VARIABLE = re.compile(r"([A-Z][A-Z0-9_]*)=(.*)")
MISSING, DIFFERS = "OFFSITE_MISSING", "OFFSITE_DIFFERS"


class CopyError(BackupError):
    """What is wrong with a copy itself, by its finding; not that it could not be looked at."""

    def __init__(self, target: str, found: str, message: str) -> None:
        super().__init__(f"copy {target}: {found}: {message}")
        self.found = found


def parse_environment(text: str, path: str) -> dict[str, str]:
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = VARIABLE.fullmatch(line.strip())
        if not match:
            raise BackupError(f"{path}:{number} is not NAME=value")
        found[match[1]] = match[2]
    return found


class Target:
    """A folder, an account on another host or a bucket. `snapshots` gives sets by id, oldest first, each with `id`
    (what the target calls it), `schedule` and `hostname`."""

    def __init__(self, options: Mapping[str, Any], host: str) -> None:
        self.options, self.host, self.name = options, host, options["name"]
        self.end = time.monotonic() + options["timeout"]

    @property
    def left(self) -> float:
        """Seconds until the target has had its time, over all of its programs."""
        return max(1.0, self.end - time.monotonic())

    def given(self) -> dict[str, str]:
        path = self.options["environment_file"]
        return parse_environment(read_secret(path), path) if path else {}

    def environment(self) -> dict[str, str]:
        raise NotImplementedError

    def open(self, known: bool) -> None:
        """The target is made where there is none; one that held copies and is gone is not made again."""
        raise NotImplementedError

    def upload(self, folder: Path, schedule: str) -> dict[str, Any]:
        """Returns what to remember, when every byte of the set has come back from there."""
        raise NotImplementedError

    def compare(self, folder: Path, record: Mapping[str, Any]) -> None:
        """Read a set back; `record` is what the upload returned. CopyError where it is not what was sent."""
        raise NotImplementedError

    def snapshots(self, host: Optional[str]) -> dict[str, dict[str, Any]]:
        """Of one host, or of any where it is None."""
        raise NotImplementedError

    def look(self, folder: Path, record: Mapping[str, Any]) -> None:
        """The same for a set that was sent some time ago."""
        self.compare(folder, record)

    def remove(self, gone: list[dict[str, Any]]) -> None:
        """Some of the snapshots."""
        raise NotImplementedError

    def bring(self, snapshot: Mapping[str, Any], folder: Path, identity: str) -> Path:
        """Put a set's files below the folder, and say where they are."""
        raise NotImplementedError

    def tool(self, *argv: str, accepted: tuple[int, ...] = (0,)) -> tuple[int, str, str]:
        what = f"copy {self.name}: {argv[0]} {argv[1]}"
        rc, out, said = execute(argv, what, self.left, environment=self.environment(), accepted=accepted)
        return rc, out.decode("utf-8", "replace"), said

    def _is_whole(self, folder: Path) -> bool:
        try:
            for entry in manifest.parse((folder / manifest.FILE).read_text(encoding="utf-8"))["artefacts"]:
                check_artefact(folder, entry)
        except (BackupError, OSError, UnicodeDecodeError):
            return False
        return True

    def forget(self, floor: int, made: str) -> str:
        """By the plan that local sets go by; why it was refused, or empty. All that is there was read back once, so
        that the floor is the newest of it."""
        there = self.snapshots(self.host)
        known = [_backup_retention.Known(name, each["schedule"], True) for name, each in there.items()]
        policy = {key: self.options[key] for key in KEEP}
        policies = {each.schedule: policy for each in known}
        decided = _backup_retention.plan(known, policies, max(floor, 1), time.time(), True, [made])
        if decided.remove:
            self.remove([there[name] for name in decided.remove])
        return decided.refused

    def fetch(self, name: str, snapshot: Mapping[str, Any], sets: Path, identity: str = "") -> None:
        """Bring a set home. It gets its name when every artefact is what the manifest says."""
        partial = sets / f"{name}{manifest.PARTIAL}"
        if (sets / name).exists() and self._is_whole(sets / name):
            there = manifest.parse((sets / name / manifest.FILE).read_text(encoding="utf-8"))["host"]
            if there != snapshot["hostname"]:
                raise BackupError(
                    f"{sets / name} is a set of {there}, and that of {snapshot['hostname']} is called alike"
                )
            return
        try:
            folder = self.bring(snapshot, partial, identity)
            document = manifest.parse((folder / manifest.FILE).read_text(encoding="utf-8"))
            if document["id"] != name:
                raise BackupError(f"copy {self.name}: what is called {name} there is the set {document['id']}")
            for entry in document["artefacts"]:
                check_artefact(folder, entry)
            for file in folder.iterdir():
                file.chmod(0o600)
            folder.chmod(0o700)
            if (sets / name).exists():
                # One that is broken makes way, and is kept for whoever wants to know why.
                (sets / name).rename(sets / f"{name}.broken-{manifest.set_id(time.time())}")
            folder.rename(sets / name)
            sync_folder(sets)
        except (OSError, UnicodeDecodeError) as exc:
            raise BackupError(f"copy {self.name}: {name} did not come back whole: {exc}") from None
        finally:
            if partial.exists():
                remove(partial)


def wanted(folder: Path) -> dict[str, str]:
    """SHA-256 of the files of a set on this host as they were made, the manifest last: it makes a folder a set."""
    text = (folder / manifest.FILE).read_bytes()
    document = manifest.parse(text.decode("utf-8"))
    return {
        **{each["name"]: each["sha256"] for each in document["artefacts"]},
        manifest.FILE: hashlib.sha256(text).hexdigest(),
    }
