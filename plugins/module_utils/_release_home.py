# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder of an app on its host: state, lock and releases. All of it is for root alone, as secrets are there."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from typing import Any, Optional

from ._release_state import LOCK_SECONDS, ReleaseError, holder, locked, read


class Home:
    """Files are written beside their names and renamed, so that a killed run leaves whole ones."""

    def __init__(self, directory: str, app: str) -> None:
        self.top = os.path.join(directory, app)
        self.directory = directory

    def path(self, *parts: str) -> str:
        return os.path.join(self.top, *parts)

    def exists(self) -> bool:
        return os.path.isdir(self.top)

    def state(self) -> dict[str, Any]:
        return read(self.load("state.json"))

    def save(self, state: Mapping[str, Any]) -> None:
        self.write_json(state, "state.json")

    def load(self, *parts: str) -> Optional[dict[str, Any]]:
        """What a file has in it; None where there is none. A damaged one is somebody's to look at."""
        try:
            with open(self.path(*parts), encoding="utf-8") as file:
                found = json.load(file)
        except FileNotFoundError:
            return None
        except ValueError as exc:
            raise ReleaseError(
                f"{self.path(*parts)} is damaged ({exc}): put it right, or move it away and deploy again"
            ) from exc
        if not isinstance(found, dict):
            raise ReleaseError(
                f"{self.path(*parts)} has no object in it: put it right, or move it away and deploy again"
            )
        return found

    def write_json(self, data: Mapping[str, Any], *parts: str) -> None:
        self.write(json.dumps(data, indent=1, sort_keys=True) + "\n", *parts)

    def write(self, text: str, *parts: str) -> None:
        target = self.path(*parts)
        self._folders(os.path.dirname(target))
        temporary = f"{target}.new"
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)

    def _folders(self, path: str) -> None:
        os.makedirs(self.directory, mode=0o755, exist_ok=True)
        inner = [path]
        while inner[0] != self.top:
            inner.insert(0, os.path.dirname(inner[0]))
        for each in inner:  # one by one: the mode is that of the last alone
            os.makedirs(each, mode=0o700, exist_ok=True)

    def text(self, *parts: str) -> str:
        try:
            with open(self.path(*parts), encoding="utf-8") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def remove(self, *parts: str) -> None:
        shutil.rmtree(self.path(*parts), ignore_errors=True)

    def names(self, *parts: str) -> list[str]:
        return sorted(os.listdir(self.path(*parts))) if os.path.isdir(self.path(*parts)) else []

    def others(self) -> Iterator[dict[str, Any]]:
        """The states of the other apps of this host."""
        for name in sorted(os.listdir(self.directory)) if os.path.isdir(self.directory) else []:
            other = Home(self.directory, name)
            if other.top != self.top:
                yield other.state()

    def owner(self) -> Optional[dict[str, Any]]:
        return self.load("lock.json")

    def lock(
        self, run: Mapping[str, Any], take: bool = False, seconds: float = LOCK_SECONDS
    ) -> Optional[dict[str, Any]]:
        """Take or renew the lock; whose it is instead, if somebody else's."""
        self._folders(self.top)
        with self._alone():
            other = holder(self.owner(), run, time.time(), take)
            if other is None:
                self.write_json(locked(run, time.time(), seconds), "lock.json")
            return other

    def unlock(self) -> bool:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path("lock.json"))
            return True
        return False

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Two runs that look at the same moment must not both find no lock."""
        descriptor = os.open(self.path(".guard"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
