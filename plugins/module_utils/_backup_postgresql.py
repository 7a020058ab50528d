# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Back PostgreSQL up: each database with the client of the server's own version, and the roles.

The rows are counted in the snapshot that the dump is made from, so that a restore can be held against them exactly.
"""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Optional

from ._acting_as import acting_as
from ._backup_host import as_user, execute
from ._backup_manifest import BackupError, file_name
from ._backup_schema import REVISIONS, SCHEMA, TABLES, quoted

try:
    import psycopg
except ImportError:
    psycopg = None  # type: ignore[assignment]

BINARIES = "/usr/lib/postgresql/{}/bin/{}"
MAINTENANCE = "postgres"
# What a restore leaves beside: the database of before, and one that was not finished.
ASIDE = re.compile(r"__(before|restore)_[0-9]{8}T[0-9]{6}Z")
GLOBALS_END = "-- PostgreSQL database cluster dump complete"
ROLE = re.compile(r'^CREATE ROLE (?:"((?:[^"]|"")+)"|([^\s;"]+));$', re.MULTILINE)
DATABASES = "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY datname"
# What CREATE DATABASE needs to have it again, and what was set for it beside.
SOURCE = """
SELECT json_build_object(
  'owner', pg_get_userbyid(datdba), 'encoding', pg_encoding_to_char(encoding), 'collate', datcollate,
  'ctype', datctype, 'provider', to_jsonb(pg_database) ->> 'datlocprovider',
  'locale', coalesce(to_jsonb(pg_database) ->> 'datlocale', to_jsonb(pg_database) ->> 'daticulocale'),
  'connection_limit', datconnlimit,
  'settings', (SELECT coalesce(json_agg(json_build_array(coalesce(rolname, ''), setconfig)), '[]')
    FROM pg_db_role_setting LEFT JOIN pg_roles ON pg_roles.oid = setrole WHERE setdatabase = pg_database.oid),
  'grants', (SELECT coalesce(json_agg(json_build_array(
      CASE WHEN grantee = 0 THEN '' ELSE pg_get_userbyid(grantee) END, privilege_type, is_grantable)), '[]')
    FROM aclexplode(coalesce(datacl, acldefault('d', datdba)))))
FROM pg_database WHERE datname = current_database()
"""


def account(component: Mapping[str, Any]) -> Optional[pwd.struct_passwd]:
    """Who calls: the system's account of the name, unless there is a password."""
    if component["passfile"]:
        return None
    try:
        return pwd.getpwnam(component["user"])
    except KeyError:
        raise BackupError(
            f"there is no user {component['user']!r} on this host: correct the component's user"
        ) from None


def environment(component: Mapping[str, Any]) -> dict[str, str]:
    passfile = {"PGPASSFILE": component["passfile"]} if component["passfile"] else {}
    return {**passfile, "PGCONNECT_TIMEOUT": "10", "PGOPTIONS": "-c statement_timeout=0 -c lock_timeout=60s"}


def place(component: Mapping[str, Any]) -> list[str]:
    """The arguments that every client has."""
    return ["-h", component["host"], "-p", str(component["port"]), "-U", component["user"], "-w"]


def caller(component: Mapping[str, Any]) -> str:
    return "root" if component["passfile"] else component["user"]


@contextmanager
def connected(component: Mapping[str, Any], database: str = MAINTENANCE, **options: Any) -> Iterator[Any]:
    if psycopg is None:
        raise BackupError("this Python has no psycopg 3: install the package python3-psycopg")
    where = {"host": component["host"], "port": component["port"], "user": component["user"]}
    if component["passfile"]:
        where["passfile"] = component["passfile"]
    try:
        with acting_as(account(component)):
            # Where nothing says otherwise, libpq looks for certificates in the home of root.
            connection = psycopg.connect(
                **where,
                dbname=database,
                # What somebody has set for the database is meant for its apps: this one waits while a dump is made.
                options="-c statement_timeout=0 -c idle_in_transaction_session_timeout=0 -c lock_timeout=60s",
                connect_timeout=10,
                client_encoding="UTF8",
                application_name="shipshape",
                **options,
            )
    except psycopg.Error as exc:
        raise BackupError(f"cannot log in to database {database} as {component['user']}: {exc}") from None
    try:
        yield connection
    except psycopg.Error as exc:
        raise BackupError(f"PostgreSQL, database {database}: {str(exc).strip()}") from None
    finally:
        connection.close()


def value(connection: Any, query: str) -> Any:
    row = connection.execute(query).fetchone()
    return row[0] if row else None


def version(connection: Any) -> str:
    return str(value(connection, "SELECT current_setting('server_version')")).split()[0]


def program(server_version: str, name: str) -> str:
    """Of the server's own version: an older one refuses to dump, a newer one writes what the server cannot restore."""
    path = BINARIES.format(server_version.partition(".")[0], name)
    if not os.access(path, os.X_OK):
        major = server_version.partition(".")[0]
        raise BackupError(f"{path} is missing, and the server is {server_version}: install postgresql-client-{major}")
    return path


def chosen(found: list[str], component: Mapping[str, Any]) -> list[str]:
    usual = [name for name in found if name not in component["exclude"] and not ASIDE.search(name)]
    wanted = component["databases"] or usual
    missing = [name for name in wanted if name not in found]
    if missing:
        raise BackupError(f"there is no database {', '.join(missing)}: correct {component['name']}.databases")
    return wanted


def back_up(component: Mapping[str, Any], folder: Path) -> Iterator[dict[str, Any]]:
    with connected(component, autocommit=True) as connection:
        server = version(connection)
        names = chosen([row[0] for row in connection.execute(DATABASES)], component)
    for name in names:
        yield _database(component, name, server, folder)
    yield _globals(component, server, folder)


def _database(component: Mapping[str, Any], name: str, server: str, folder: Path) -> dict[str, Any]:
    path = folder / file_name(component["name"], name, ".dump")
    what = f"database {name}"
    with connected(component, name) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        snapshot = value(connection, "SELECT pg_export_snapshot()")
        argv = [program(server, "pg_dump"), "-Fc", "--snapshot", snapshot, *place(component), "-d", _conninfo(name)]
        with path.open("xb") as out:
            execute(as_user(caller(component), argv), what, component["timeout"], None, out, environment(component))
        source = {"database": name, "server_version": server, "port": component["port"], **value(connection, SOURCE)}
        source["bytes"] = value(connection, "SELECT pg_database_size(current_database())")
        facts = counts(connection)
    # All of it is decoded, as a dump that was cut passes --list.
    with path.open("rb") as handle:
        execute(
            [program(server, "pg_restore"), "-f", "/dev/null"], f"{what}: the new dump", component["timeout"], handle
        )
    return {"path": path, "component": "postgresql", "kind": "pg_custom", "source": source, **facts}


def _conninfo(name: str) -> str:
    """A name alone would be read as a connection string where it has a = in it."""
    escaped = name.replace("\\", "\\\\").replace("'", "\\'")
    return f"dbname='{escaped}'"


def counts(connection: Any) -> dict[str, Any]:
    """Rows by table, what the schema is made of, and the app's own revision of it, in one transaction."""
    tables = {}
    for schema, table in connection.execute(TABLES).fetchall():
        query = f"SELECT count(*) FROM {quoted(schema)}.{quoted(table)}"  # noqa: S608
        tables[f"{schema}.{table}"] = value(connection, query)
    found: dict[str, Any] = {"tables": tables, "schema": value(connection, SCHEMA)}
    for table, query in REVISIONS:
        if f"public.{table}" in tables:
            try:
                with connection.transaction():
                    revision = value(connection, query)
            except psycopg.errors.ProgrammingError:
                continue  # a table of the app's own that is called alike
            return {**found, **({"revision": str(revision)} if revision is not None else {})}
    return found


def _globals(component: Mapping[str, Any], server: str, folder: Path) -> dict[str, Any]:
    path = folder / f"{component['name']}-globals.sql"
    argv = [program(server, "pg_dumpall"), "--globals-only", *place(component), "-l", MAINTENANCE]
    with path.open("xb") as out:
        execute(as_user(caller(component), argv), "roles", component["timeout"], None, out, environment(component))
    text = path.read_text(encoding="utf-8", errors="replace")
    roles = roles_of(text)
    if GLOBALS_END not in text or not roles:
        raise BackupError("roles: what pg_dumpall wrote has no end or no role in it: the dump is not whole")
    source = {"server_version": server, "port": component["port"]}
    return {"path": path, "component": "postgresql", "kind": "pg_globals", "source": source, "roles": roles}


def roles_of(text: str) -> list[str]:
    return sorted((quoted_name or plain).replace('""', '"') for quoted_name, plain in ROLE.findall(text))
