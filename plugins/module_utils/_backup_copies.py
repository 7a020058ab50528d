# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies of sets in restic repositories: encrypted, each one read back and compared byte for byte."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

from . import _backup_manifest as manifest
from ._backup_config import KEEP
from ._backup_host import CHUNK, PATH, execute, private_folder, remove, sync_folder
from ._backup_manifest import BackupError
from ._backup_redis import read_secret
from ._backup_sets import check_artefact

CACHE = "/var/cache/shipshape-restic"
TAG = "shipshape"
VARIABLE = re.compile(r"([A-Z][A-Z0-9_]*)=(.*)")
WRONG_PASSWORD = "wrong password"  # noqa: S105


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
    """One repository."""

    def __init__(self, options: Mapping[str, Any], host: str) -> None:
        self.options, self.host, self.name = options, host, options["name"]
        self.end = time.monotonic() + options["timeout"]

    def environment(self) -> dict[str, str]:
        read_secret(self.options["password_file"])
        path = self.options["environment_file"]
        given = parse_environment(read_secret(path), path) if path else {}
        private_folder(Path(CACHE))
        return {
            **given,
            "RESTIC_REPOSITORY": self.options["repository"],
            "RESTIC_PASSWORD_FILE": self.options["password_file"],
            "RESTIC_CACHE_DIR": CACHE,
            "RESTIC_PROGRESS_FPS": "0.001",
        }

    @property
    def left(self) -> float:
        """Seconds until the target has had its time, over all of its programs."""
        return max(1.0, self.end - time.monotonic())

    def restic(self, *words: str, accepted: tuple[int, ...] = (0,)) -> tuple[int, str, str]:
        what = f"copy {self.name}: restic {words[0]}"
        rc, out, said = execute(["restic", *words], what, self.left, environment=self.environment(), accepted=accepted)
        return rc, out.decode("utf-8", "replace"), said

    def open(self, known: bool) -> None:
        """The repository is made where there is none; one that held copies and is gone is not made again."""
        rc, _out, said = self.restic("cat", "config", "--no-lock", accepted=tuple(range(256)))
        if rc == 0:
            return
        if WRONG_PASSWORD in said:
            file = self.options["password_file"]
            raise BackupError(f"copy {self.name}: the password is not the repository's: put the right one into {file}")
        if known:
            raise BackupError(
                f"copy {self.name}: OFFSITE_MISSING: the repository held copies and cannot be opened: {said}"
            )
        self.restic("init")

    def upload(self, folder: Path, schedule: str) -> str:
        """Returns the snapshot, which holds the very bytes of the set."""
        words = ["--host", self.host, "--tag", f"{TAG},schedule-{schedule}", str(folder)]
        _rc, out, _said = self.restic("backup", "--json", *words)
        snapshot = snapshot_of(out)
        if not snapshot:
            raise BackupError(f"copy {self.name}: restic backup named no snapshot")
        self.compare(folder, snapshot)
        return snapshot

    def compare(self, folder: Path, snapshot: str) -> None:
        """Every byte comes back from the target; a check by restic alone reads a part, and never the source."""
        document = manifest.parse((folder / manifest.FILE).read_text(encoding="utf-8"))
        own = hashlib.sha256((folder / manifest.FILE).read_bytes()).hexdigest()
        for name, wanted in [(manifest.FILE, own), *((each["name"], each["sha256"]) for each in document["artefacts"])]:
            if self.digest(snapshot, f"{folder}/{name}") != wanted:
                raise BackupError(f"copy {self.name}: OFFSITE_DIFFERS: {name} came back from it as something else")

    def digest(self, snapshot: str, path: str) -> str:
        environment = {"PATH": PATH, "LC_ALL": "C.UTF-8", "HOME": "/root", **self.environment()}
        digest = hashlib.sha256()
        process = subprocess.Popen(
            ["restic", "dump", "--no-lock", snapshot, path],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env=environment,
        )
        watch = threading.Timer(self.left, _kill, [process.pid])
        watch.start()
        try:
            while chunk := (process.stdout.read(CHUNK) if process.stdout else b""):
                digest.update(chunk)
            if process.wait() != 0:
                raise BackupError(f"copy {self.name}: {path} cannot be read back (restic dump: {process.returncode})")
        finally:
            watch.cancel()
            _kill(process.pid)
            process.wait()
        return digest.hexdigest()

    def forget(self, floor: int) -> None:
        """By restic's own plan, a schedule at a time."""
        keep = {key: self.options[key] for key in KEEP if self.options[key]}
        keep["keep_last"] = max(keep.get("keep_last", 0), floor, 1)
        words = [word for key, count in keep.items() for word in (f"--{key.replace('_', '-')}", str(count))]
        self.restic("unlock")
        self.restic("forget", "--host", self.host, "--tag", TAG, "--group-by", "host,tags", "--prune", *words)

    def snapshots(self, any_host: bool = False) -> dict[str, dict[str, Any]]:
        """Set ids with their snapshots, oldest first."""
        host = [] if any_host else ["--host", self.host]
        _rc, out, _said = self.restic("snapshots", "--json", "--no-lock", "--tag", TAG, *host)
        return sets_of(out)

    def fetch(self, snapshot: Mapping[str, Any], sets: Path) -> str:
        """Bring a set home. It gets its name when every artefact is what the manifest says."""
        name = os.path.basename(snapshot["paths"][0])
        partial = sets / f"{name}{manifest.PARTIAL}"
        if (sets / name).exists():
            return name
        try:
            self.restic("restore", snapshot["id"], "--no-lock", "--target", str(partial / "whole"))
            folder = partial / "whole" / snapshot["paths"][0].lstrip("/")
            document = manifest.parse((folder / manifest.FILE).read_text(encoding="utf-8"))
            for entry in document["artefacts"]:
                check_artefact(folder, entry)
            folder.chmod(0o700)
            folder.rename(sets / name)
            sync_folder(sets)
        except OSError as exc:
            raise BackupError(f"copy {self.name}: {name} did not come back whole: {exc}") from None
        finally:
            if partial.exists():
                remove(partial)
        return name


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


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
