# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Talks to one PostgreSQL cluster over its socket, as the account that peer authentication lets in."""

from __future__ import annotations

import os
import pwd
import socket
from collections.abc import Iterable
from itertools import groupby
from typing import Any

from ._acting_as import acting_as
from ._postgresql_import import SchemaFile, run
from ._postgresql_model import ObjectsError, Step

try:
    import psycopg
except ImportError:
    psycopg = None  # type: ignore[assignment]

MAINTENANCE = "postgres"
ACCOUNT = "postgres"  # who runs the server on Debian
LOCK = 0x73686970
OPTIONS = {
    "search_path": "pg_catalog",  # nobody else's functions
    "lc_messages": "C",
    "lock_timeout": "60s",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "default_transaction_read_only": "off",
}
# Whatever the log and pg_stat_statements are set to: what is stored of a password stays out of both.
SILENT = {
    "log_statement": "none",
    "log_duration": "off",
    "log_min_duration_statement": "-1",
    "log_min_duration_sample": "-1",
    "log_transaction_sample_rate": "0",
    "log_min_error_statement": "panic",
    "pg_stat_statements.track_utility": "off",
}
QUIET = "; ".join(f"SET LOCAL {name} TO {value}" for name, value in SILENT.items())
LOUD = "; ".join(f"SET LOCAL {name} TO DEFAULT" for name in SILENT)
# Settings that a session may have at all; the others belong into the server's file.
SESSION = ("user", "superuser")
LATER = ("backend", "superuser-backend")


class Server:
    def __init__(self, port: int, directory: str, user: str) -> None:
        self.port, self.directory, self.user = port, directory, user
        self._open: dict[str, Any] = {}

    @property
    def account(self) -> pwd.struct_passwd | None:
        for name in (self.user, ACCOUNT):
            try:
                return pwd.getpwnam(name)
            except KeyError:
                continue
        return None

    def missing(self) -> str:
        """Why there is nobody to ask; empty if there is."""
        if psycopg is None:
            return "this Python has no psycopg 3: install the package python3-psycopg"
        path = os.path.join(self.directory, f".s.PGSQL.{self.port}")
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return f"no server listens on {path}: start PostgreSQL, or correct port and socket_directory"
        except OSError as exc:
            raise ObjectsError(f"{path}: {exc.strerror or exc}: correct socket_directory") from exc
        return ""

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self, *but: str) -> None:
        for name in [name for name in self._open if name not in but]:
            self._open.pop(name).close()

    def connect(self, database: str = "") -> Any:
        database = database or MAINTENANCE
        if database not in self._open:
            with acting_as(self.account):
                try:
                    self._open[database] = psycopg.connect(
                        host=self.directory,
                        port=self.port,
                        user=self.user,
                        dbname=database,
                        autocommit=True,
                        client_encoding="UTF8",
                        application_name="shipshape",
                        connect_timeout=10,
                        options=" ".join(f"-c {name}={value}" for name, value in OPTIONS.items()),
                    )
                except psycopg.Error as exc:
                    hint = "" if os.geteuid() == 0 else ". Run it with become: true"
                    raise ObjectsError(f"cannot log in to database {database} as {self.user}: {exc}{hint}") from exc
        return self._open[database]

    def rows(self, database: str, query: str, **values: Any) -> list[Any]:
        try:
            return list(self.connect(database).execute(query, values or None).fetchall())
        except psycopg.Error as exc:
            raise ObjectsError(f"PostgreSQL did not answer: {primary(exc)}") from exc

    def lock(self) -> None:
        """One of us at a time; another one's end is waited for."""
        self.rows("", "SELECT pg_advisory_lock(%(key)s)", key=LOCK)

    # --- changing -----------------------------------------------------------------------------------------------------

    def setting_problems(self, steps: Iterable[Step]) -> list[str]:
        """The server's own opinion of settings, while nothing is changed."""
        problems = []
        for step in steps:
            if step.setting is None:
                continue
            name, value = step.setting
            found = self.rows("", "SELECT context FROM pg_settings WHERE lower(name) = lower(%(name)s)", name=name)
            if found and found[0][0] not in (*SESSION, *LATER):
                problems.append(f"{step.after}: only the whole server can have that: set it in its configuration")
            if found and found[0][0] not in SESSION:
                continue
            try:
                with self.connect().transaction(force_rollback=True):
                    self.connect().execute("SELECT set_config(%s, %s, true)", (name, value))
            except psycopg.Error as exc:
                problems.append(f"{step.after}: {primary(exc)}")
        return problems

    def apply(self, steps: Iterable[Step]) -> list[Step]:
        """Runs them, each database in one transaction; returns what was done, also within the error that it raises."""
        done: list[Step] = []
        for (database, alone, script), group in groupby(
            steps, key=lambda step: (step.database, step.alone and step.sql, step.script)
        ):
            batch = list(group)
            try:
                if script is not None:
                    batch = self._import(batch[0])
                elif alone:
                    self.close(MAINTENANCE)  # neither a template nor what is dropped may be in use
                    self.connect(database).execute(batch[0].sql)
                else:
                    self._transaction(database, batch)
            except ObjectsError as exc:
                before = "; ".join(map(str, done)) or "nothing"
                raise ObjectsError(f"{exc}. Done before: {before}") from exc
            except psycopg.Error as exc:
                before = "; ".join(map(str, done)) or "nothing"
                raise ObjectsError(f"{batch[0]}: {primary(exc)}. Done before: {before}") from exc
            done += batch
        return done

    def _transaction(self, database: str, steps: list[Step]) -> None:
        connection = self.connect(database)
        with connection.transaction():
            for step in steps:
                try:
                    for statement in [QUIET, step.sql, LOUD] if step.secret else [step.sql]:
                        connection.execute(statement)
                except psycopg.Error as exc:
                    raise ObjectsError(f"{step}: {primary(exc)}") from exc

    def _import(self, step: Step) -> list[Step]:
        account = self.account if os.geteuid() == 0 else None
        target = {"PGHOST": self.directory, "PGPORT": str(self.port), "PGUSER": self.user, "PGDATABASE": step.database}
        imported = run(SchemaFile(step.database, step.owner, step.script or "", step.sql), target, account)
        return [step] if imported else []


def primary(exc: Any) -> str:
    """The server's sentence, without the statement and without rows."""
    found = exc.diag.message_primary or str(exc).strip()
    return f"{found} ({exc.diag.message_hint})" if exc.diag.message_hint else found
