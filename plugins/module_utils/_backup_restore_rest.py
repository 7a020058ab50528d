# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restore Redis with its append-only file, and SQLite. Each can be undone."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import _backup_manifest as manifest
from . import _backup_redis as redis
from ._backup_files import sqlite_facts
from ._backup_host import execute, need_space, put_file, sync_folder
from ._backup_manifest import BackupError
from ._backup_sets import check_artefact
from ._backup_undo import UndoLog, systemctl

START_SECONDS = 600
HERE = ("", "localhost", "127.0.0.1", "::1")
SIDE_FILES = ("-wal", "-shm", "-journal")


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
        self.settings: Mapping[str, str] = {}
        self.runs = False

    def prepare(self) -> None:
        check_artefact(self.folder, self.entry)
        keys, _expires = redis.check(self.path, self.component["flavour"], self.component["timeout"])
        if keys != self.entry["keys"]:
            raise BackupError(
                f"{self.path} has {keys} keys, and the manifest says {self.entry['keys']}: take another set"
            )
        self.settings = self._settings()
        # Once for the dump, and once for the first part of an append-only file.
        need_space(Path(self.settings["dir"]), 2 * self.entry["size"])

    def _settings(self) -> Mapping[str, str]:
        own = _main_process(self.unit)
        try:
            asked = redis.info(self.component, "server").get("process_id", "")
        except BackupError:
            # One that does not come up is why somebody restores; what it said when the set was made still holds.
            known: Mapping[str, str] = self.entry["source"].get("settings") or {}
            if own or not known or self.component["host"] not in HERE:
                raise
            return known
        if asked != own:
            raise BackupError(
                f"{self.component['name']} is process {asked}, and {self.unit} is {own or 'not running'}: the data of"
                " another server are not in this host's folders; put its dump back where it runs"
            )
        self.runs = True
        return redis.settings(self.component)

    def swap(self, log: UndoLog) -> None:
        data = Path(self.settings["dir"])
        owner = data.stat()
        if self.runs and self.settings["appendonly"] != "yes" and not self.settings.get("save"):
            # It would end with nothing on the disk, and there would be nothing of before.
            redis.ask(self.component, "SAVE", seconds=self.component["timeout"])
        log.stop(self.unit)
        for name in (self.settings["dbfilename"], self.settings["appenddirname"]):
            if name and (data / name).exists():
                log.rename(data / name, data / f"{name}.before-{self.stamp}")
        self._place(log, data / self.settings["dbfilename"], owner)
        if self.settings["appendonly"] == "yes":
            self._first_part(log, data / self.settings["appenddirname"], owner)
        sync_folder(data)
        systemctl("start", self.unit)
        self._prove()

    def _place(self, log: UndoLog, path: Path, owner: os.stat_result) -> None:
        log.made(path)
        put_file(self.path, path, owner, 0o640)

    def _first_part(self, log: UndoLog, folder: Path, owner: os.stat_result) -> None:
        log.made(folder)
        folder.mkdir(mode=0o750)
        name = self.settings["appendfilename"]
        base, listing = folder / f"{name}.1.base.rdb", folder / f"{name}.manifest"
        put_file(self.path, base, owner, 0o640)
        listing.write_text(f"file {base.name} seq 1 type b\n", encoding="utf-8")
        for path in (listing, folder):
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)

    def _prove(self) -> None:
        """Keys that had a time to live may have gone since."""
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                found = redis.total_keys(redis.info(self.component, "keyspace"))
                break
            except BackupError:
                if time.monotonic() > end or not _main_process(self.unit):
                    raise
                time.sleep(0.2)
        most = self.entry["keys"]
        least = most - self.entry.get("expires", 0)
        if not least <= found <= most:
            raise BackupError(f"{self.unit} came up with {found} keys, and the set has {most}")

    def drop(self) -> None:
        """Nothing was made yet."""


def _main_process(unit: str) -> str:
    """Empty where it does not run."""
    argv = ["systemctl", "show", "--property=MainPID", "--value", unit]
    _rc, out, _said = execute(argv, unit, 60)
    return out.decode().strip().removeprefix("0")


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
        if self.path.is_symlink():
            raise BackupError(
                f"{self.path} is a link, and was a file: name what it leads to in the component, or put"
                f" {self.entry['name']} back by hand"
            )
        self.path.parent.mkdir(parents=True, exist_ok=True)
        need_space(self.path.parent, self.entry["size"])
        like = self.path.stat() if self.path.exists() else self.path.parent.stat()
        mode = like.st_mode & 0o666 if self.path.exists() else 0o600
        put_file(self.folder / self.entry["name"], self.fresh, like, mode)
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

    def swap(self, log: UndoLog) -> None:
        """The log of the old file would be played into the new one, so it goes with the old one."""
        for tail in (*SIDE_FILES, ""):
            old = Path(f"{self.path}{tail}")
            if old.exists():
                log.rename(old, Path(f"{self.before}{tail}"))
                self.replaced = True
        # Also what an app makes beside it before it is undone: the old file must not get the log of this one.
        for path in (self.fresh, self.path, *(Path(f"{self.path}{tail}") for tail in SIDE_FILES)):
            log.made(path)
        self.fresh.rename(self.path)
        sync_folder(self.path.parent)

    def drop(self) -> None:
        self.fresh.unlink(missing_ok=True)
