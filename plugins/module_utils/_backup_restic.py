# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies of sets in repositories of restic: encrypted by restic's password, each one read back and compared."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

from . import _backup_manifest as manifest
from ._backup_host import CHUNK, MissingProgramError, execute, private_folder
from ._backup_manifest import BackupError
from ._backup_pipe import Programs
from ._backup_redis import read_secret
from ._backup_target import DIFFERS, MISSING, CopyError, Target, wanted

CACHE = "/var/cache/shipshape-restic"
TAG = "shipshape"
PROBE_SECONDS = 60.0
WRONG_PASSWORD = "wrong password"  # noqa: S105
# restic of Debian 12 has one exit status for everything. What it says when there is no repository, or a file of it:
GONE = re.compile(
    r"specified (key|bucket) does not exist|no such file|file does not exist"
    r"|repository does not exist|no matching ID|not found in snapshot",
    re.IGNORECASE,
)
INITIALIZED = re.compile(r"already (exists|initialized)", re.IGNORECASE)
# ... and when what comes back is not what it has written.
BROKEN = re.compile(
    r"verification failed|invalid data|invalid hash|hash mismatch|not match|unexpected EOF|corrupt", re.I
)


class Restic(Target):
    """One repository."""

    def environment(self) -> dict[str, str]:
        read_secret(self.options["password_file"])
        private_folder(Path(CACHE))
        return {
            **self.given(),
            "RESTIC_REPOSITORY": self.options["repository"],
            "RESTIC_PASSWORD_FILE": self.options["password_file"],
            "RESTIC_CACHE_DIR": CACHE,
            "RESTIC_PROGRESS_FPS": "0.001",
        }

    def restic(self, *words: str, accepted: tuple[int, ...] = (0,)) -> tuple[int, str, str]:
        return self.tool("restic", *words, accepted=accepted)

    def problem(self) -> str:
        """What keeps the repository from being opened. restic asks for a missing bucket for a quarter of an hour."""
        try:
            seconds = min(PROBE_SECONDS, self.left / 2)
            argv = ["restic", "cat", "config", "--no-lock", "--no-cache"]
            execute(argv, f"copy {self.name}: restic cat", seconds, environment=self.environment())
        except MissingProgramError:
            raise
        except BackupError as exc:
            return str(exc)
        return ""

    def open(self, known: bool) -> None:
        if not known:
            # It refuses to where there is one, and says so at once; to ask first takes long where nothing is.
            rc, _out, said = self.restic("init", accepted=tuple(range(256)))
            if rc == 0:
                return
            if not INITIALIZED.search(said):
                raise BackupError(f"copy {self.name}: there is no repository, and none can be made: {said}")
        said = self.problem()
        if not said:
            # Of processes that are gone, such as one that was ended while it removed old copies.
            self.restic("unlock")
            return
        if WRONG_PASSWORD in said:
            file = self.options["password_file"]
            raise BackupError(f"copy {self.name}: the password is not the repository's: put the right one into {file}")
        if not GONE.search(said):
            raise BackupError(f"the repository cannot be opened: {said}")
        raise CopyError(self.name, MISSING, f"the repository held copies, and is not there: {said}")

    def upload(self, folder: Path, schedule: str) -> dict[str, Any]:
        words = ["--host", self.host, "--tag", f"{TAG},schedule-{schedule}", str(folder)]
        _rc, out, _said = self.restic("backup", "--json", *words)
        snapshot = snapshot_of(out)
        if not snapshot:
            raise BackupError(f"copy {self.name}: restic backup named no snapshot")
        record = {"snapshot": snapshot}
        self.compare(folder, record)
        return record

    def compare(self, folder: Path, record: Mapping[str, Any]) -> None:
        """A check by restic alone reads a part, and never the source; and its cache is not the target."""
        what = f"copy {self.name}: restic dump"
        argv = ["restic", "dump", "--no-lock", "--no-cache", "--archive", "tar", record["snapshot"], str(folder)]
        try:
            with Programs(what, self.left) as programs:
                found = digests(programs.start(argv, self.environment()).stdout)
                programs.finish()
        except BackupError as exc:
            for finding, words in ((DIFFERS, BROKEN), (MISSING, GONE)):
                if words.search(str(exc)):
                    raise CopyError(self.name, finding, f"{folder.name} does not come back whole: {exc}") from None
            raise
        for name, digest in wanted(folder).items():
            if found.get(name) != digest:
                raise CopyError(self.name, DIFFERS, f"{name} of {folder.name} came back as something else")

    def look(self, folder: Path, record: Mapping[str, Any]) -> None:
        self.open(known=True)
        self.compare(folder, record)

    def remove(self, gone: list[dict[str, Any]]) -> None:
        self.restic("forget", "--prune", *(each["id"] for each in gone))

    def snapshots(self, host: Optional[str]) -> dict[str, dict[str, Any]]:
        words = ["--host", host] if host else []
        _rc, out, _said = self.restic("snapshots", "--json", "--no-lock", "--tag", TAG, *words)
        return sets_of(out)

    def bring(self, snapshot: Mapping[str, Any], folder: Path, identity: str) -> Path:
        if identity:
            raise BackupError(f"copy {self.name}: restic's password opens it: leave --identity out")
        self.restic("restore", snapshot["id"], "--no-lock", "--target", str(folder / "whole"))
        return folder / "whole" / snapshot["paths"][0].lstrip("/")


def digests(archive: Any) -> dict[str, str]:
    """SHA-256 by name of the files in a stream of tar. What is torn has no digest; the program says why."""
    found = {}
    with contextlib.suppress(tarfile.TarError), tarfile.open(fileobj=archive, mode="r|") as members:
        for member in members:
            content = members.extractfile(member) if member.isfile() else None
            if not content:
                continue
            digest = hashlib.sha256()
            while chunk := content.read(CHUNK):
                digest.update(chunk)
            found[os.path.basename(member.name)] = digest.hexdigest()
    # Otherwise its writer waits for a reader.
    while archive.read(CHUNK):
        pass
    return found


def snapshot_of(lines: str) -> Optional[str]:
    """From what `restic backup --json` prints."""
    for line in reversed(lines.splitlines()):
        with contextlib.suppress(ValueError):
            found = json.loads(line)
            if isinstance(found, dict) and found.get("message_type") == "summary":
                return found.get("snapshot_id")
    return None


def sets_of(text: str) -> dict[str, dict[str, Any]]:
    found = {}
    for each in json.loads(text or "[]") or []:
        name = os.path.basename((each.get("paths") or [""])[0])
        if manifest.is_id(name):
            found[name] = {**each, "schedule": schedule_of(each.get("tags") or [])}
    return dict(sorted(found.items()))


def schedule_of(tags: list[str]) -> str:
    return next((tag.partition("-")[2] for tag in tags if tag.startswith("schedule-")), "")
