# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies of sets as files, by rclone; encrypted by age for keys whose secret half is not on this host."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

from . import _backup_manifest as manifest
from ._backup_host import private_folder
from ._backup_manifest import BackupError
from ._backup_pipe import EndedError, Programs, pump
from ._backup_rclone_remote import AGE, Remote, folder_of, listing, part_size, place, remote
from ._backup_sets import check_artefact
from ._backup_target import DIFFERS, MISSING, CopyError, Target, wanted

# Exit statuses of rclone: no such folder, no such file.
NO_FOLDER, NO_FILE = 3, 4
EMPTY = hashlib.sha256(b"").hexdigest()
KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")
FIXED = {
    # Nothing is read from a file, and nothing is asked.
    "RCLONE_CONFIG": "/notfound",
    "RCLONE_ASK_PASSWORD": "false",
    "RCLONE_RETRIES": "1",
    "RCLONE_STATS": "0",
}


class Rclone(Target):
    """One folder of one remote, which the sets of several hosts may share."""

    @property
    def place(self) -> Remote:
        return remote(self.options["repository"], self.given())

    def environment(self) -> dict[str, str]:
        given = self.given()
        found = {**FIXED, **given, **remote(self.options["repository"], given).environment}
        if found.get("RCLONE_CONFIG_SHIPSHAPE_TYPE") == "sftp" and "RCLONE_SFTP_KEY_FILE" not in given:
            # As ssh itself does, which is what restic uses.
            keys = [f"/root/.ssh/{name}" for name in KEYS if os.path.exists(f"/root/.ssh/{name}")]
            found.update({"RCLONE_CONFIG_SHIPSHAPE_KEY_FILE": keys[0]} if keys else {})
        return found

    def rclone(self, *words: str, accepted: tuple[int, ...] = (0,)) -> tuple[int, str, str]:
        return self.tool("rclone", *words, accepted=accepted)

    def at(self, path: str) -> str:
        root = self.place.root
        return f"{root}{path}" if root.endswith((":", "/")) else f"{root}/{path}"

    def _paths(self, host: Optional[str]) -> list[str]:
        """Of all files. A folder or a bucket that is not there has none; rclone makes it with the first file."""
        below = f"{folder_of(host)}/" if host else ""
        where = self.at(below.rstrip("/")) if host else self.place.root
        rc, out, _said = self.rclone("lsf", "--recursive", "--files-only", where, accepted=(0, NO_FOLDER))
        return [] if rc else [f"{below}{line}" for line in out.splitlines()]

    def open(self, known: bool) -> None:
        found = listing(self._paths(self.host))
        if known and not found.sets:
            # Not made again under this name: nobody would notice what is lost.
            message = f"{self.options['repository']} held copies of this host, and holds none: see where they are"
            raise CopyError(self.name, MISSING, f"{message}; a target that is to begin anew gets another name")
        if self.place.kind == "local":
            Path(self.options["repository"]).mkdir(mode=0o700, parents=True, exist_ok=True)
        # A run that was killed left them; only one run of a host is at work.
        for half in found.halves:
            self.rclone("purge", self.at(half))

    def upload(self, folder: Path, schedule: str) -> dict[str, Any]:
        """Each file is read back before the manifest goes there, so that what has one is whole."""
        for entry in manifest.parse((folder / manifest.FILE).read_text(encoding="utf-8"))["artefacts"]:
            check_artefact(folder, entry)
        snapshot = place(self.host, schedule, folder.name)
        files: dict[str, str] = {}
        for name in wanted(folder):
            file = name + (AGE if self.options["age_recipients"] else "")
            # The end of a sender that is killed is to rclone the end of the file: the manifest has another name first.
            sent = f"{snapshot}/{file}" + (manifest.PARTIAL if name == manifest.FILE else "")
            files[file] = self._send(folder / name, self.at(sent))
            self._same(sent, files[file])
        self.rclone("moveto", self.at(sent), self.at(f"{snapshot}/{file}"))
        self._same(f"{snapshot}/{file}", files[file])
        if self.place.kind == "local":
            os.sync()  # rclone leaves that to the kernel, and so a disk that is unplugged to chance
        return {"snapshot": snapshot, "files": files}

    def _send(self, path: Path, where: str) -> str:
        """The SHA-256 of what went out. Nothing is written to a disk on the way."""
        environment = {"RCLONE_S3_CHUNK_SIZE": f"{part_size(path.stat().st_size)}B", **self.environment()}
        with path.open("rb") as source, Programs(f"copy {self.name}: {path.name}", self.left) as programs:
            stream: Any = source
            if self.options["age_recipients"]:
                words = [word for each in self.options["age_recipients"] for word in ("--recipient", each)]
                stream = programs.start(["age", "--encrypt", *words], stdin=source).stdout
            argv = ["rclone", "rcat", where]
            sink: Any = programs.start(argv, environment, subprocess.PIPE, subprocess.DEVNULL).stdin
            digest = pump(stream, sink)
            sink.close()
            programs.finish()
        return digest

    def _same(self, path: str, digest: str) -> None:
        try:
            with Programs(f"copy {self.name}: rclone cat", self.left) as programs:
                stream: Any = programs.start(["rclone", "cat", self.at(path)], self.environment()).stdout
                found = pump(stream)
                programs.finish()
        except EndedError as exc:
            if exc.status in (NO_FOLDER, NO_FILE):
                raise CopyError(self.name, MISSING, f"{path} is not there") from None
            raise
        if found == EMPTY != digest:  # of a file that is not in a bucket rclone says nothing, and is content
            raise CopyError(self.name, MISSING, f"{path} is not there, or empty")
        if found != digest:
            raise CopyError(self.name, DIFFERS, f"{path} came back as something else")

    def compare(self, folder: Path, record: Mapping[str, Any]) -> None:
        own, files = wanted(folder), record.get("files") or {}
        there = self.snapshots(self.host).get(folder.name)
        if not there:
            raise CopyError(self.name, MISSING, f"{folder.name} is not there any more")
        if there["encrypted"] and not files:
            raise BackupError(
                f"copy {self.name}: what was sent of {folder.name} is not remembered on this host: to check the copy,"
                " fetch it with the identity on another host"
            )
        for file, digest in (files if there["encrypted"] else own).items():
            self._same(f"{there['id']}/{file}", digest)

    def snapshots(self, host: Optional[str]) -> dict[str, dict[str, Any]]:
        return dict(listing(self._paths(host)).sets)

    def remove(self, gone: list[dict[str, Any]]) -> None:
        """The manifest first: what is left of a removal that was cut short is no set."""
        for each in gone:
            file = manifest.FILE + (AGE if each["encrypted"] else "")
            self.rclone("deletefile", self.at(f"{each['id']}/{file}"))
            self.rclone("purge", self.at(each["id"]), accepted=(0, NO_FOLDER))

    def bring(self, snapshot: Mapping[str, Any], folder: Path, identity: str) -> Path:
        private_folder(folder)
        escrow = self.options["escrow"]
        if snapshot["encrypted"] and not identity:
            raise BackupError(
                f"copy {self.name}: it is encrypted by age: give --identity FILE; it is kept here: {escrow}"
            )
        if identity and not os.path.isfile(identity):
            raise BackupError(f"--identity {identity}: there is no such file; the key is kept here: {escrow}")
        self._get(snapshot, manifest.FILE, folder, identity)
        # Only what the manifest names: what else lies there may be called anything.
        for entry in manifest.parse((folder / manifest.FILE).read_text(encoding="utf-8"))["artefacts"]:
            self._get(snapshot, entry["name"], folder, identity)
        return folder

    def _get(self, snapshot: Mapping[str, Any], name: str, folder: Path, identity: str) -> None:
        file = name + (AGE if snapshot["encrypted"] else "")
        environment = self.environment()
        try:
            with (folder / name).open("xb") as out, Programs(f"copy {self.name}: {file}", self.left) as programs:
                argv = ["rclone", "cat", self.at(f"{snapshot['id']}/{file}")]
                stream: Any = programs.start(argv, environment).stdout
                sink: Any = out
                if snapshot["encrypted"]:
                    argv = ["age", "--decrypt", "--identity", identity]
                    sink = programs.start(argv, stdin=subprocess.PIPE, stdout=out).stdin
                pump(stream, sink)
                sink.flush()
                if sink is not out:
                    sink.close()
                programs.finish()
                os.fsync(out.fileno())
        except BackupError as exc:
            if "no identity matched" in str(exc):
                message = (
                    f"{identity} does not open {file}: bring the identity that is kept here: {self.options['escrow']}"
                )
                raise BackupError(f"copy {self.name}: {message}") from None
            raise
