# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a transaction writes down, so that whoever comes after a kill knows what to do.

writing.json  a transaction runs, or was killed: put its records back
pending.json  files were changed and nobody has confirmed yet that the services run on them; `records` lead back to the
              last confirmed state and are kept only while a dead-man switch may need them
done.json     leftovers of a finished transaction: remove them

Each step from one to the next is a rename, so there is no moment in between. Renaming takes no space on the disk.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.shipshape.stack.plugins.module_utils import _config_restore
from ansible_collections.shipshape.stack.plugins.module_utils._config_restore import (
    Record,
    forget,
    read_json,
    recover,
    sync_directory,
)


def _source() -> str:
    """The restore program's own text, which the running module holds inside its zip archive."""
    text: Any = _config_restore.__spec__.loader.get_source(_config_restore.__name__)  # type: ignore[union-attr]
    return text if isinstance(text, str) else text.decode("utf-8")  # ansible's loader on a controller has bytes


def _write(path: str, text: str) -> None:
    with open(f"{path}.tmp", "w", encoding="utf-8") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    os.rename(f"{path}.tmp", path)
    sync_directory(os.path.dirname(path))


def make_root(root: str) -> None:
    os.makedirs(root, 0o700, exist_ok=True)


def recover_all(root: str, disarm: Callable[[str], object]) -> list[str]:
    """Every journal that a killed run left, whatever its name: under the lock nobody can still be at it."""
    names = sorted(entry.name for entry in os.scandir(root) if entry.is_dir(follow_symlinks=False))
    recovered = []
    for name in names:
        folder = os.path.join(root, name)
        if recover(folder):
            recovered.append(name)
        if not os.path.exists(os.path.join(folder, "pending.json")):
            disarm(name)
            shutil.rmtree(folder)
    return recovered


@dataclass(frozen=True)
class Journal:
    root: str
    name: str

    @property
    def folder(self) -> str:
        return os.path.join(self.root, self.name)

    def _path(self, name: str) -> str:
        return os.path.join(self.folder, name)

    @property
    def pending(self) -> dict[str, Any] | None:
        return read_json(self._path("pending.json"))

    @property
    def interrupted(self) -> bool:
        return os.path.exists(self._path("writing.json"))

    @property
    def rolled_back(self) -> str:
        """What the dead-man switch wrote when it put the files back, or ''."""
        with contextlib.suppress(FileNotFoundError), open(f"{self.folder}.rolled_back", encoding="utf-8") as handle:
            return handle.read().strip()
        return ""

    @property
    def restore_program(self) -> list[str]:
        system = "/usr/bin/python3"
        return [system if os.path.exists(system) else sys.executable, self._path("restore.py")]

    def begin(self, txid: str, records: Sequence[Record], guard: dict[str, Any] | None) -> None:
        os.makedirs(self.folder, 0o700, exist_ok=True)
        if guard:
            _write(self._path("restore.py"), _source())
        _write(self._path("writing.json"), json.dumps({"txid": txid, "records": list(records), "guard": guard}))
        sync_directory(self.root)

    def commit(self, txid: str, files: Sequence[str], records: Sequence[Record], guard: dict[str, Any] | None) -> None:
        """From here on the change stands. The old state that an earlier call saved is the one to go back to."""
        before = self.pending or {"files": [], "records": []}
        known = {record["dest"] for record in before["records"]}
        kept = before["records"] + [record for record in records if record["dest"] not in known]
        everything = {
            "txid": txid,
            "files": sorted({*before["files"], *files}),
            "records": kept if guard else [],
            "guard": guard,
        }
        _write(self._path("pending.json"), json.dumps(everything))

    def finish(self) -> None:
        """Throw away what only a restore would have needed."""
        os.rename(self._path("writing.json"), self._path("done.json"))
        sync_directory(self.folder)
        forget(self.folder)
        self._leave()

    def abort(self) -> None:
        """Everything has been put back."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path("writing.json"))
        self._leave()

    def confirm(self) -> None:
        os.rename(self._path("pending.json"), self._path("done.json"))
        forget(self.folder)
        self._leave()

    def clear_record(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self.folder}.rolled_back")

    def _leave(self) -> None:
        if not os.path.exists(self._path("pending.json")):
            shutil.rmtree(self.folder, ignore_errors=True)
