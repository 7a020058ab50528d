# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restore a database from a dump that no run of this host made: of pg_dump, whoever called it and whatever packed it.

It is verified first, as nothing else says that it is whole. What it holds is run by PostgreSQL's superuser.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import _backup_postgresql as postgresql
from ._backup_host import as_user
from ._backup_manifest import BackupError
from ._backup_restore_db import Restore
from ._backup_restore_plan import roles_needed, roles_of_source
from ._verify_bytes import texts
from ._verify_engine import problems, verify
from ._verify_model import PASSED, StopError
from ._verify_stream import Clock, Pipe, opened

KINDS = ("pg_custom", "pg_tar", "pg_plain")
# A file of somebody else's may be readable by others; that is no reason not to restore it.
IGNORED = [{"id": "PERMS", "reason": "it is read here, not kept"}]
# psql would go to another database, and what is restored beside would be restored over.
LEAVES = re.compile(r"^(\\(?:c|connect)\b.*|(?:CREATE|DROP) DATABASE .*)$", re.MULTILINE)
LINE = 200


def looked_at(path: Path, seconds: float) -> dict[str, Any]:
    """What verification says of the file: its format, database and version. BackupError where it is no whole dump."""
    report = verify(str(path), {"level": "decode", "timeout": seconds, "ignore": IGNORED})
    if report["verdict"] != PASSED:
        raise BackupError(f"nothing was changed: {'; '.join(problems(report))}")
    found: dict[str, Any] = report["artefacts"][0]
    if found["format"] not in KINDS:
        raise BackupError(f"{path} is no dump of a database, but {found['format']}: `restore full` puts sets back")
    return found


class FileRestore(Restore):
    """One file into one database. What belongs to the database itself is taken from the one that it replaces."""

    def __init__(
        self, component: Mapping[str, Any], path: Path, found: Mapping[str, Any], into: str, say: Callable[[str], None]
    ) -> None:
        self.path, self.kind = path, found["format"]
        source = {"owner": component["user"], "server_version": found.get("server_version") or "0", "port": None}
        with postgresql.connected(component, autocommit=True) as connection:
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (into,)).fetchone():
                with postgresql.connected(component, into) as own:
                    source.update(postgresql.value(own, postgresql.SOURCE))
        super().__init__(component, path.parent, {}, {"name": path.name, "source": source}, into, say)

    def _whole(self) -> Path:
        return self.path

    def _roles(self, path: Path, server: str) -> set[str]:
        """All of it is read, as a plain dump has no table of contents."""
        found = roles_of_source(self.source)
        with self._reader(path, self._program(server, ["--schema-only", "-f", "-"])) as reader:
            for text in texts(reader):
                found |= roles_needed(text)
                self._refuse_leaving(path, text)
        return found

    def _program(self, server: str, words: list[str]) -> list[str]:
        return [] if self.kind == "pg_plain" else [postgresql.program(server, "pg_restore"), *words]

    def _refuse_leaving(self, path: Path, text: str) -> None:
        leaves = LEAVES.search(text) if self.kind == "pg_plain" else None
        if leaves:
            raise BackupError(
                f"{path} has {leaves[1][:LINE]!r} in it, which leads into another database: take that line out, or make"
                " the dump without --create and with pg_dump"
            )

    @contextmanager
    def _reader(self, path: Path, argv: Sequence[str]) -> Iterator[Any]:
        """What is in the file, or what a program makes of that; every program has to end well."""
        clock = Clock(self.component["timeout"])
        try:
            with opened(str(path), {}, clock) as stack:
                if not argv:
                    yield stack.top
                    return
                pipe = Pipe(argv, stack.top, clock, "restore")
                try:
                    yield pipe
                    code, said = pipe.end()
                    if code:
                        raise BackupError(f"{path}: {os.path.basename(argv[0])} ended with {code}: {said}")
                finally:
                    pipe.close()
        except StopError as exc:
            raise BackupError(f"{path}: {exc}") from None

    def _bring_roles(self, missing: set[str], there: set[str]) -> None:
        names = ", ".join(sorted(missing))
        raise BackupError(f"the roles {names} are missing, and {self.path} does not make them: create them first")

    def _fill(self, path: Path, server: str) -> None:
        psql = ["-X", "-q", "-1", "-v", "ON_ERROR_STOP=1"]
        name, words = ("psql", psql) if self.kind == "pg_plain" else ("pg_restore", ["--exit-on-error"])
        environment = [f"{key}={value}" for key, value in postgresql.environment(self.component).items()]
        argv = [postgresql.program(server, name), *postgresql.place(self.component), *words, "-d", self.fresh]
        with self._reader(path, as_user(postgresql.caller(self.component), ["env", *environment, *argv])):
            pass

    def _compare(self, found: Mapping[str, Any]) -> None:
        """There is nothing to hold it against, so it is said what there is."""
        tables = found["tables"]
        self.say(
            f"{self.name}: {len(tables)} tables with {sum(tables.values())} rows; there is no manifest to compare with"
        )
