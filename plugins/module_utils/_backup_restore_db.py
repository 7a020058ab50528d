# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restore a database beside the one that is there, look at it, and only then let them change names."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Optional

from . import _backup_manifest as manifest
from . import _backup_postgresql as postgresql
from ._backup_host import as_user, execute, need_space
from ._backup_manifest import BackupError
from ._backup_restore_plan import (
    aside,
    create_statement,
    differences,
    globals_for,
    property_statements,
    roles_needed,
    roles_of_source,
    with_groups,
)
from ._backup_schema import quoted
from ._backup_sets import check_artefact
from ._backup_undo import UndoLog

RENAME_ATTEMPTS = 20
TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"


class Restore:
    """One database of one set."""

    def __init__(
        self,
        component: Mapping[str, Any],
        folder: Path,
        document: Mapping[str, Any],
        entry: Mapping[str, Any],
        into: str,
        say: Callable[[str], None],
    ) -> None:
        self.component, self.folder, self.document, self.entry = component, folder, document, entry
        self.name, self.say = into, say
        self.source: Mapping[str, Any] = entry["source"]
        stamp = manifest.set_id(time.time())
        self.fresh, self.before = aside(into, "restore", stamp), aside(into, "before", stamp)
        self.replaced = False

    @property
    def elsewhere(self) -> str:
        """Where the names are changed from: nobody can rename the database that they are connected to."""
        return "template1" if self.name == postgresql.MAINTENANCE else postgresql.MAINTENANCE

    def prepare(self) -> None:
        """A new database that is proven to be what was backed up. The one that is there is not touched."""
        path = self._whole()
        with postgresql.connected(self.component, autocommit=True) as connection:
            server = postgresql.version(connection)
            old, new = (int(each.partition(".")[0]) for each in (self.source["server_version"], server))
            if new < old:
                raise BackupError(
                    f"the dump is of PostgreSQL {old}, and the server is {new}: restore to {old} or newer"
                )
            self._drop_left(connection)
            if self.component["host"].startswith("/") and self.source.get("bytes"):
                need_space(Path(postgresql.value(connection, "SHOW data_directory")), self.source["bytes"])
            there = {row[0] for row in connection.execute("SELECT rolname FROM pg_roles")}
            missing = self._roles(path, server) - there
            if missing:
                self._bring_roles(missing, there)
            connection.execute(create_statement(self.fresh, self.source))
        try:
            self._fill(path, server)
            self._prove()
        except BaseException:
            self.drop()
            raise

    def _drop_left(self, connection: Any) -> None:
        """What a killed restore of this database left."""
        pattern = aside(self.name, "restore", "0" * 16)[:-16]
        query = "SELECT datname FROM pg_database WHERE starts_with(datname, %s)"
        for (name,) in connection.execute(query, (pattern,)).fetchall():
            if postgresql.ASIDE.search(name):
                connection.execute(f"DROP DATABASE {quoted(name)} WITH (FORCE)")

    def _whole(self) -> Path:
        """The file, once it is known to be what the run wrote."""
        return check_artefact(self.folder, self.entry)

    def _roles(self, path: Path, server: str) -> set[str]:
        """Those that it cannot be restored without."""
        with path.open("rb") as handle:
            argv = [postgresql.program(server, "pg_restore"), "--schema-only", "-f", "-"]
            _rc, out, _said = execute(argv, f"{path.name}: its schema", self.component["timeout"], handle)
        return roles_needed(out.decode("utf-8", "replace")) | roles_of_source(self.source)

    def _bring_roles(self, missing: set[str], there: set[str]) -> None:
        entries = manifest.having(self.document, "pg_globals", port=self.source["port"])
        if not entries:
            raise BackupError(f"the roles {', '.join(sorted(missing))} are missing, and the set has none: create them")
        text = check_artefact(self.folder, entries[0]).read_text(encoding="utf-8")
        missing = with_groups(text, missing, there)
        self.say(f"roles: {', '.join(sorted(missing))}")
        with tempfile.TemporaryFile() as script:
            script.write(globals_for(text, missing).encode())
            script.seek(0)
            self._client(
                "psql", ["-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", "-d", postgresql.MAINTENANCE], "roles", script
            )

    def _client(self, program: str, words: list[str], what: str, stdin: Any, server: str = "") -> None:
        argv = [postgresql.program(server, program) if server else program, *postgresql.place(self.component), *words]
        environment = postgresql.environment(self.component)
        caller = postgresql.caller(self.component)
        execute(as_user(caller, argv), what, self.component["timeout"], stdin, subprocess.DEVNULL, environment)  # type: ignore[arg-type]

    def _fill(self, path: Path, server: str) -> None:
        with path.open("rb") as handle:
            self._client("pg_restore", ["--exit-on-error", "-d", self.fresh], f"database {self.name}", handle, server)

    def _prove(self) -> None:
        with postgresql.connected(self.component, self.fresh) as connection:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            self._compare(postgresql.counts(connection))
            connection.rollback()
            # Without statistics its first hours are slow ones.
            connection.autocommit = True
            connection.execute("ANALYZE")

    def _compare(self, found: Mapping[str, Any]) -> None:
        wrong = list(differences(self.entry, found))
        if wrong:
            raise BackupError(f"the restored {self.name} is not what was backed up: {'; '.join(wrong[:10])}")

    def drop(self) -> None:
        with contextlib.suppress(BackupError), postgresql.connected(self.component, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {quoted(self.fresh)} WITH (FORCE)")

    def swap(self, log: UndoLog) -> None:
        """Both names change in one transaction: there is no moment with none, and none with a wrong one."""
        with postgresql.connected(self.component, self.elsewhere, autocommit=True) as connection:
            for statement in property_statements(self.fresh, self.source):
                connection.execute(statement)
            there = connection.execute("SELECT FROM pg_database WHERE datname = %s", (self.name,)).fetchone()
            self.replaced = there is not None
            steps = [(self.name, self.before)] if self.replaced else []
            names = {"name": self.name, "fresh": self.fresh, "before": self.before if self.replaced else ""}
            log.note("database", component=dict(self.component), elsewhere=self.elsewhere, **names)
            _rename(connection, [*steps, (self.fresh, self.name)])


def names_back(step: Mapping[str, Any]) -> None:
    """The database of before has its name again, and the restored one is gone. It may never have lost it."""
    name, fresh, before = step["name"], step["fresh"], step["before"]
    with postgresql.connected(step["component"], step["elsewhere"], autocommit=True) as connection:
        there = {row[0] for row in connection.execute("SELECT datname FROM pg_database")}
        # Not once it has its name back: the DROP of a mend that was killed ends without it.
        if fresh not in there and name in there and (not before or before in there):
            _rename(connection, [(name, fresh), *([(before, name)] if before else [])])
        connection.execute(f"DROP DATABASE IF EXISTS {quoted(fresh)} WITH (FORCE)")


def _rename(connection: Any, steps: list[tuple[str, str]]) -> None:
    """Whoever is still connected is sent away, again and again, as some come back at once."""
    problem: Optional[Exception] = None
    for _attempt in range(RENAME_ATTEMPTS):
        for old, _new in steps:
            connection.execute(TERMINATE, (old,))
        try:
            with connection.transaction():
                for old, new in steps:
                    connection.execute(f"ALTER DATABASE {quoted(old)} RENAME TO {quoted(new)}")
            return
        except postgresql.psycopg.errors.ObjectInUse as exc:
            problem = exc
    raise BackupError(f"{steps[0][0]} is in use and could not be replaced: stop what is connected. {problem}")
