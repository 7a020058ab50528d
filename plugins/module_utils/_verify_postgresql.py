# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restore a dump into a server of its own, and hold the result against what is known of its source."""

from __future__ import annotations

import io
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Optional

from . import _backup_postgresql as postgresql
from ._backup_restore_plan import create_statement, globals_for, roles_needed, schema_differences
from ._backup_schema import OURS, quoted
from ._verify_artefact import Artefact
from ._verify_bytes import texts
from ._verify_model import Finding, finding, stop
from ._verify_scratch import OWNER, Scratch, scratch
from ._verify_stream import Clock, Pipe, opened

DATABASE = "verified"
# Not that of root, whatever is in it; one that is there and no plain file would be warned of.
NO_PASSWORDS = "/nonexistent"
ARCHIVES = ("pg_custom", "pg_tar", "pg_dir")
ERRORS = re.compile(r"(?:ERROR|pg_restore: error): ")
EXTENSION = re.compile(r'extension "([^"]+)" is not available')
NO_SPACE = "No space left on device"
SHOWN = 3
INDEXES = f"""
SELECT c.oid, c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_index i ON i.indexrelid = c.oid JOIN pg_am a ON a.oid = c.relam
WHERE c.relkind = 'i' AND a.amname = 'btree' AND i.indisvalid AND {OURS} ORDER BY 2
"""  # noqa: S608
SEQUENCES = """
SELECT s.seqrelid::regclass::text, d.refobjid::regclass::text, a.attname FROM pg_sequence s
JOIN pg_depend d ON d.objid = s.seqrelid AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid WHERE s.seqincrement > 0
"""
COLLATIONS = "SELECT collname FROM pg_collation WHERE collversion <> pg_collation_actual_version(oid)"


class Restored:
    """One artefact in one scratch server, from restore to integrity."""

    def __init__(self, artefact: Artefact, globals_text: str) -> None:
        self.artefact, self.globals = artefact, globals_text
        self.clock: Clock = artefact.clock

    def check(self) -> None:
        facts, work = self.artefact.facts, self.artefact.options["work_dir"]
        version = facts.get("server_version") or self.artefact.options["expected_version"]
        if not version:
            raise stop("TOOL_MISSING", "the dump does not say its version: say expected_version", "restore")
        begun = time.monotonic()
        with scratch(version, work, self.clock) as server:
            filled = time.monotonic()
            self.artefact.add(self._fill(server))
            facts["restore_seconds"] = time.monotonic() - filled
            self._mark("restore", begun)
            budget = self.artefact.options["rto_budget"]
            if budget and facts["restore_seconds"] > budget:
                message = f"the restore took {facts['restore_seconds']:.1f} s, and rto_budget is {budget} s"
                self.artefact.findings.append(finding("RTO_EXCEEDED", message))
            self._look(server)

    def _mark(self, level: str, begun: float) -> None:
        self.artefact.durations[level] = time.monotonic() - begun

    def _fill(self, server: Scratch) -> Iterator[Finding]:
        yield from self._globals(server)
        with self._connected(server, "postgres", autocommit=True) as connection:
            known = {row[0] for row in connection.execute("SELECT rolname FROM pg_roles")}
            # A role that the globals lack was found before this; here it would only hide other errors.
            for role in sorted(self._roles(server) - known):
                connection.execute(f"CREATE ROLE {quoted(role)}")
            # Encoding and locale as they were: bytes that are no UTF-8 are whole in a database that is not.
            source = {**self.artefact.source, "owner": OWNER}
            connection.execute(create_statement(DATABASE, source))
        custom = self.artefact.kind in ARCHIVES
        words = ["-d", DATABASE] if custom else ["-X", "-q", "-v", "ON_ERROR_STOP=0", "-d", DATABASE]
        # The server's user cannot read a folder; what a dump may start is started by the server in any case.
        argv = server.client("pg_restore" if custom else "psql", *words, owner=not os.path.isdir(self.artefact.path))
        code, said = self._pipe(argv)
        errors = len(ERRORS.findall(said))
        if NO_SPACE in said:
            raise stop("NO_SPACE", f"{self.artefact.options['work_dir']}: {NO_SPACE.lower()}")
        for name in sorted(set(EXTENSION.findall(said))):
            yield finding("EXTENSION_MISSING", f"the extension {name} is not installed here")
        if errors or code:
            yield finding("RESTORE_ERRORS", f"{max(errors, 1)} errors: {said[:400]}")
        self.artefact.facts["restore_errors"] = errors

    def _globals(self, server: Scratch) -> Iterator[Finding]:
        """The roles as a restore makes them, with their memberships. Tablespaces are places of the source."""
        roles = set(postgresql.roles_of(self.globals)) - {OWNER}
        if not roles:
            return
        script = io.BytesIO(globals_for(self.globals, roles).encode())
        argv = server.client("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", "postgres")
        code, said = self._through(argv, script, None)
        if code:
            yield finding("RESTORE_ERRORS", f"the roles of the globals: {said[:400]}")

    def _roles(self, server: Scratch) -> set[str]:
        if self.artefact.kind not in ARCHIVES:
            return roles_needed_of_head(self.artefact, self.clock) | set(postgresql.roles_of(self.globals))
        schema: list[bytes] = []
        code, said = self._pipe([server.program("pg_restore"), "--schema-only", "-f", "-"], schema)
        if code:
            raise stop("RESTORE_ERRORS", f"pg_restore --schema-only: {said}", "restore")
        return roles_needed(b"".join(schema).decode("utf-8", "replace")) | set(postgresql.roles_of(self.globals))

    def _pipe(self, argv: Sequence[str], out: Optional[list[bytes]] = None) -> tuple[int, str]:
        path = self.artefact.path
        if os.path.isdir(path):
            return self._through([*argv, path], io.BytesIO(), out)
        with opened(path, self.artefact.options["decrypt"], self.clock) as stack:
            return self._through(argv, stack.top, out)

    def _through(self, argv: Sequence[str], source: Any, out: Optional[list[bytes]]) -> tuple[int, str]:
        pipe = Pipe(argv, source, self.clock, "restore")
        try:
            while out is not None and (chunk := pipe.read()):
                out.append(chunk)
            return pipe.end()
        finally:
            pipe.close()

    def _connected(self, server: Scratch, database: str = DATABASE, **options: Any) -> Any:
        if postgresql.psycopg is None:
            raise stop("TOOL_MISSING", "this Python has no psycopg 3: install python3-psycopg", "restore")
        where = {"host": server.socket, "user": OWNER, "port": 5432, "passfile": NO_PASSWORDS, "name": "scratch"}
        return postgresql.connected(where, database, **options)

    def _look(self, server: Scratch) -> None:
        """What stands in the database now. A query that fails is a finding, not the end."""
        artefact = self.artefact
        for level, look in (
            ("schema", self._schema),
            ("rows", self._rows),
            ("queries", self._queries),
            ("integrity", self._integrity),
        ):
            if not artefact.wanted(level):
                return
            begun = time.monotonic()
            self.clock.left(level)
            with self._connected(server, autocommit=level == "integrity") as connection:
                if level == "schema":
                    artefact.facts["restored"] = postgresql.counts(connection)
                artefact.add(look(connection))
            self._mark(level, begun)

    def _schema(self, _connection: Any) -> Iterator[Finding]:
        entry, there = self.artefact.entry, self.artefact.facts["restored"]
        if "schema" not in entry:
            yield finding("NO_REFERENCE", "no manifest says which tables, indexes and constraints it has to have")
            return
        missing = sorted(set(entry.get("tables", {})) - set(there["tables"]))
        wrong = [*schema_differences(entry, there), *(f"the table {name} is missing" for name in missing)]
        if wrong:
            yield finding("SCHEMA_DIFFERS", "; ".join(wrong[:SHOWN]))

    def _rows(self, _connection: Any) -> Iterator[Finding]:
        yield from dropped(self.artefact.entry, self.artefact.facts["restored"]["tables"], self.artefact.options)

    def _queries(self, connection: Any) -> Iterator[Finding]:
        connection.read_only = True

        def ask(query: str) -> Any:
            # One that fails must not take the next one along.
            with connection.transaction():
                return postgresql.value(connection, query)

        yield from asked(self.artefact, ask, postgresql.psycopg.Error)

    def _integrity(self, connection: Any) -> Iterator[Finding]:
        if self.artefact.options["amcheck"]:
            yield from self._indexes(connection)
        for sequence, table, column in connection.execute(SEQUENCES).fetchall():
            # Names come as regclass writes them, quoted where they have to be.
            query = (
                f"SELECT coalesce((SELECT max({quoted(column)}) FROM {table}), 0) >"  # noqa: S608
                f" (SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM {sequence})"
            )
            if postgresql.value(connection, query):
                yield finding("SEQUENCE_BEHIND", f"{sequence} is behind the greatest {column} of {table}")
        for (name,) in connection.execute(COLLATIONS).fetchall():
            yield finding("COLLATION", f"the collation {name} is of another version here")

    def _indexes(self, connection: Any) -> Iterator[Finding]:
        there = postgresql.value(connection, "SELECT count(*) FROM pg_available_extensions WHERE name = 'amcheck'")
        if not there:
            yield finding("TOOL_MISSING", "the extension amcheck is not installed here", "integrity")
            return
        connection.execute("CREATE EXTENSION IF NOT EXISTS amcheck")
        for oid, name in connection.execute(INDEXES).fetchall():
            try:
                connection.execute("SELECT bt_index_check(%s::oid::regclass, true)", (oid,))
            except postgresql.psycopg.Error as exc:
                yield finding("INDEX_CORRUPT", f"{name}: {str(exc).splitlines()[0]}")


def roles_needed_of_head(artefact: Artefact, clock: Clock) -> set[str]:
    """Of a plain dump all statements have to be read, as it has no table of contents."""
    with opened(artefact.path, artefact.options["decrypt"], clock) as stack:
        return {role for text in texts(stack.top) for role in roles_needed(text)}


def dropped(entry: Mapping[str, Any], there: Mapping[str, int], options: Mapping[str, Any]) -> Iterator[Finding]:
    """Fewer rows than when it was made, by more than the tolerance."""
    if "tables" not in entry:
        yield finding("NO_REFERENCE", "no manifest says how many rows it has to have", "rows")
        return
    least = 1 - options["row_tolerance"] / 100
    lost = [
        f"{name} has {there.get(name, 0)} rows, and had {count}"
        for name, count in entry["tables"].items()
        if there.get(name, 0) < count * least
    ]
    if lost:
        yield finding("ROW_DROP", "; ".join(lost[:SHOWN]))


def asked(artefact: Artefact, ask: Any, error: type[Exception]) -> Iterator[Finding]:
    """The user's own questions. What the database answers is never shown: it may be anybody's data."""
    database = artefact.facts.get("database", "")
    answers = artefact.facts.setdefault("checks", [])
    for check in artefact.options["checks"]:
        if check.get("database") and check["database"] != database:
            continue
        name = check["name"]
        try:
            passed, problem = answered(check, ask(check["query"]))
        except error as exc:
            passed, problem = False, ("CHECK_FAILED", str(exc).splitlines()[0])
        answers.append({"name": name, "passed": passed})
        if not passed:
            yield finding(problem[0], f"{name}: {problem[1]}")


def answered(check: Mapping[str, Any], value: Any) -> tuple[bool, tuple[str, str]]:
    if check.get("max_age") is not None:
        problem = "STALE_DATA", f"the time it found is older than {check['max_age']} s, or none"
        return fresh(value, float(check["max_age"])), problem
    return str(value) == str(check["expect"]), ("CHECK_FAILED", f"the answer is not {check['expect']!r}")


def fresh(value: Any, seconds: float) -> bool:
    """A time of the database, or seconds since 1970."""
    if value is None:
        return False
    try:
        moment = value.timestamp() if hasattr(value, "timestamp") else float(value)
    except (TypeError, ValueError):
        return False
    return bool(time.time() - moment <= seconds)
