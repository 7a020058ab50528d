# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restore what is no database of PostgreSQL: Redis with its append-only file, SQLite, files. Each can be undone."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import _backup_manifest as manifest
from . import _backup_redis as redis
from ._backup_files import sqlite_facts
from ._backup_host import execute, remove, sync_folder
from ._backup_manifest import BackupError
from ._backup_sets import check_artefact

START_SECONDS = 600
SETTINGS = ("dir", "dbfilename", "appendonly", "appenddirname", "appendfilename")


class RedisRestore:
    """The server reads its append-only file and never looks at dump.rdb where it has one: so it gets a new one.

    A dump is a valid first part of it. An append-only file that was switched on with an empty folder would start empty.
    """

    def __init__(self, component: Mapping[str, Any], folder: Path, entry: Mapping[str, Any]) -> None:
        self.component, self.entry = component, entry
        self.path = folder / entry["name"]
        self.folder = folder
        self.unit = f"{component['flavour']}-server.service"
        self.stamp = manifest.set_id(time.time())
        self.before = f"*.before-{self.stamp} in the folder of its data"
        self.moved: list[tuple[Path, Path]] = []
        self.made: list[Path] = []
        self.settings: dict[str, str] = {}

    def prepare(self) -> None:
        check_artefact(self.folder, self.entry)
        keys, _expires = redis.check(self.path, self.component["flavour"], self.component["timeout"])
        if keys != self.entry["keys"]:
            raise BackupError(
                f"{self.path} has {keys} keys, and the manifest says {self.entry['keys']}: take another set"
            )
        for name in SETTINGS:
            lines = redis.ask(self.component, "CONFIG", "GET", name).splitlines()
            self.settings[name] = lines[1] if len(lines) > 1 else ""

    def swap(self) -> None:
        data = Path(self.settings["dir"])
        owner = data.stat()
        _systemctl("stop", self.unit)
        names = [self.settings["dbfilename"]]
        if self.settings["appenddirname"]:
            names.append(self.settings["appenddirname"])
        for name in names:
            old = data / name
            if old.exists():
                kept = old.with_name(f"{name}.before-{self.stamp}")
                old.rename(kept)
                self.moved.append((kept, old))
        self._place(data / self.settings["dbfilename"], owner)
        if self.settings["appendonly"] == "yes":
            self._log(data / self.settings["appenddirname"], owner)
        sync_folder(data)
        _systemctl("start", self.unit)
        self._prove()

    def _place(self, path: Path, owner: os.stat_result) -> None:
        self.made.append(path)
        shutil.copyfile(self.path, path)
        path.chmod(0o640)
        os.chown(path, owner.st_uid, owner.st_gid)

    def _log(self, folder: Path, owner: os.stat_result) -> None:
        self.made.append(folder)
        folder.mkdir(mode=0o750)
        name = self.settings["appendfilename"]
        base, listing = folder / f"{name}.1.base.rdb", folder / f"{name}.manifest"
        self._place(base, owner)
        listing.write_text(f"file {base.name} seq 1 type b\n", encoding="utf-8")
        for path in (folder, listing):
            os.chown(path, owner.st_uid, owner.st_gid)

    def _prove(self) -> None:
        """Keys that had a time to live may have gone since."""
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                found = redis.total_keys(redis.info(self.component, "keyspace"))
                break
            except BackupError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)
        most = self.entry["keys"]
        least = most - self.entry.get("expires", 0)
        if not least <= found <= most:
            raise BackupError(f"{self.unit} came up with {found} keys, and the set has {most}")

    def undo(self) -> None:
        _systemctl("stop", self.unit)
        for path in reversed(self.made):
            if path.exists():
                remove(path)
        for kept, old in self.moved:
            kept.rename(old)
        _systemctl("start", self.unit)

    def drop(self) -> None:
        """Nothing was made yet."""


def _systemctl(verb: str, *units: str) -> None:
    execute(["systemctl", verb, *units], f"{verb} {' '.join(units)}", START_SECONDS)


class SqliteRestore:
    """The whole file is put beside, looked at, and then takes the name."""

    def __init__(self, folder: Path, entry: Mapping[str, Any]) -> None:
        self.folder, self.entry = folder, entry
        self.path = Path(entry["source"]["path"])
        self.stamp = manifest.set_id(time.time())
        self.fresh = self.path.with_name(f".{self.path.name}.restore")
        self.before = self.path.with_name(f"{self.path.name}.before-{self.stamp}")
        self.replaced = False

    def prepare(self) -> None:
        check_artefact(self.folder, self.entry)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Nobody else's to read meanwhile; and where there is no file any more, the owner of its folder's alone.
        self.fresh.unlink(missing_ok=True)
        os.close(os.open(self.fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        shutil.copyfile(self.folder / self.entry["name"], self.fresh)
        like = self.path.stat() if self.path.exists() else self.path.parent.stat()
        os.chown(self.fresh, like.st_uid, like.st_gid)
        self.fresh.chmod(like.st_mode & 0o666 if self.path.exists() else 0o600)
        try:
            database = sqlite3.connect(self.fresh)
            try:
                found = sqlite_facts(database)
            finally:
                database.close()
        except sqlite3.Error as exc:
            raise BackupError(f"{self.fresh}: {exc}: take another set") from None
        if found != self.entry["tables"]:
            raise BackupError(f"{self.fresh} has not the rows that were backed up: take another set")

    def swap(self) -> None:
        """The log of the old file would be played into the new one, so it goes with the old one."""
        for tail in ("-wal", "-shm", "-journal", ""):
            old = Path(f"{self.path}{tail}")
            if old.exists():
                old.rename(f"{self.before}{tail}")
                self.replaced = True
        self.fresh.rename(self.path)
        sync_folder(self.path.parent)

    def undo(self) -> None:
        if not self.fresh.exists():
            self.path.rename(self.fresh)
        for tail in ("", "-wal", "-shm", "-journal"):
            kept = Path(f"{self.before}{tail}")
            if kept.exists():
                kept.rename(f"{self.path}{tail}")
        self.drop()

    def drop(self) -> None:
        self.fresh.unlink(missing_ok=True)


class FilesRestore:
    """Over what is there; files that came since the backup stay. What is there now goes into an archive before."""

    def __init__(self, component: Mapping[str, Any], folder: Path, entry: Mapping[str, Any], aside: Path) -> None:
        self.component, self.folder, self.entry = component, folder, entry
        self.before = aside / f"before-{manifest.set_id(time.time())}-{entry['name']}"

    def prepare(self) -> None:
        path = check_artefact(self.folder, self.entry)
        # Only what the archive would overwrite.
        seconds = self.component["timeout"]
        _rc, names, _said = execute(["tar", "--quoting-style=literal", "-tzf", str(path)], f"{path.name}", seconds)
        there = [
            name for name in names.split(b"\n") if name and os.path.lexists(b"/" + name) and not name.endswith(b"/")
        ]
        listing = self.before.with_suffix(".list")
        listing.write_bytes(b"".join(name + b"\0" for name in there))
        try:
            argv = [
                "tar",
                "-czf",
                str(self.before),
                "--acls",
                "--xattrs",
                "--numeric-owner",
                "--no-recursion",
                "-C",
                "/",
            ]
            execute([*argv, "--null", f"--files-from={listing}"], "files of before", seconds, accepted=(0, 1))
        finally:
            listing.unlink(missing_ok=True)
        self.before.chmod(0o600)

    def swap(self) -> None:
        self._extract(self.folder / self.entry["name"])

    def undo(self) -> None:
        self._extract(self.before)

    def _extract(self, path: Path) -> None:
        argv = ["tar", "-xzpf", str(path), "--acls", "--xattrs", "--numeric-owner", "-C", "/"]
        execute(argv, f"files of {path.name}", self.component["timeout"])

    def drop(self) -> None:
        self.before.unlink(missing_ok=True)
