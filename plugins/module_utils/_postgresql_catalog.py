# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what a cluster has, as far as the task is about it: a fixed number of queries for each database."""

from __future__ import annotations

import itertools
import locale
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from ._postgresql_model import (
    FLAGS,
    Available,
    Catalog,
    Database,
    Extension,
    ObjectsError,
    Ownership,
    Relation,
    Role,
    Wanted,
)
from ._postgresql_model import Schema as SchemaOf
from ._postgresql_server import MAINTENANCE, Server

ROLES = """
SELECT r.rolname::text, r.rolcanlogin, r.rolsuper, r.rolcreatedb, r.rolcreaterole, r.rolreplication, r.rolconnlimit,
       CASE WHEN isfinite(r.rolvaliduntil) IS NOT TRUE
            THEN coalesce(r.rolvaliduntil::text, 'infinity')
            ELSE to_char(r.rolvaliduntil AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') END,
       coalesce(r.rolpassword, ''), coalesce(s.setconfig, '{}')
FROM pg_authid r LEFT JOIN pg_db_role_setting s ON s.setrole = r.oid AND s.setdatabase = 0
"""
MEMBERS = """
SELECT m.rolname::text, g.rolname::text, coalesce(by.rolname::text, '')
FROM pg_auth_members a JOIN pg_roles m ON m.oid = a.member JOIN pg_roles g ON g.oid = a.roleid
LEFT JOIN pg_roles by ON by.oid = a.grantor
"""
# What the owner gave, to roles that are ours or to everybody: "PRIVILEGE role", as names may hold anything else.
ACL = """ARRAY(
    SELECT x.privilege_type || ' ' || coalesce(r.rolname, '')
    FROM aclexplode({acl}) x LEFT JOIN pg_roles r ON r.oid = x.grantee
    WHERE x.grantor = {owner} AND (x.grantee = 0 OR r.rolname = ANY (%(known)s)))"""
DATABASES = f"""
SELECT d.datname::text, o.rolname::text, pg_encoding_to_char(d.encoding)::text, d.datcollate::text, d.datctype::text,
       d.datconnlimit, coalesce(s.setconfig, '{{}}'),
       {ACL.format(acl="coalesce(d.datacl, acldefault('d', d.datdba))", owner="d.datdba")}
FROM pg_database d JOIN pg_roles o ON o.oid = d.datdba
LEFT JOIN pg_db_role_setting s ON s.setdatabase = d.oid AND s.setrole = 0
"""  # noqa: S608 - no value is part of it
SCHEMAS = f"""
SELECT n.nspname::text, o.rolname::text, {ACL.format(acl="n.nspacl", owner="n.nspowner")}
FROM pg_namespace n JOIN pg_roles o ON o.oid = n.nspowner
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
"""  # noqa: S608
# Not what belongs to an extension.
RELATIONS = f"""
SELECT n.nspname::text, c.relname::text, CASE c.relkind WHEN 'S' THEN 'sequence' ELSE 'table' END, o.rolname::text,
       {ACL.format(acl="c.relacl", owner="c.relowner")}
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_roles o ON o.oid = c.relowner
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_depend e
                  WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e')
ORDER BY 1, 2
"""  # noqa: S608
DEFAULTS = """
SELECT o.rolname::text, CASE d.defaclobjtype WHEN 'r' THEN 'table' WHEN 'S' THEN 'sequence' ELSE 'schema' END,
       r.rolname::text, x.privilege_type
FROM pg_default_acl d JOIN pg_roles o ON o.oid = d.defaclrole, aclexplode(d.defaclacl) x
JOIN pg_roles r ON r.oid = x.grantee
WHERE d.defaclnamespace = 0 AND d.defaclobjtype IN ('r', 'S', 'n') AND r.rolname = ANY (%(known)s)
"""
EXTENSIONS = """
SELECT e.extname::text, e.extversion, n.nspname::text, e.extrelocatable
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
"""
AVAILABLE = """
SELECT e.name::text, e.default_version,
       ARRAY(SELECT v.version FROM pg_available_extension_versions v WHERE v.name = e.name)
FROM pg_available_extensions e WHERE e.name = ANY (%(names)s)
"""
# Default privileges are part of what goes with the role.
DEPENDENTS = """
SELECT r.rolname::text, coalesce(d.datname, ''), s.deptype = 'o' AND s.classid <> 'pg_default_acl'::regclass,
       coalesce(o.datname, ''), count(*)
FROM pg_shdepend s JOIN pg_roles r ON r.oid = s.refobjid LEFT JOIN pg_database d ON d.oid = s.dbid
LEFT JOIN pg_database o ON s.classid = 'pg_database'::regclass AND o.oid = s.objid
WHERE s.refclassid = 'pg_authid'::regclass AND r.rolname = ANY (%(gone)s)
GROUP BY 1, 2, 3, 4 ORDER BY 1, 2
"""
SESSIONS = """
SELECT datname::text, count(*) FROM pg_stat_activity
WHERE backend_type = 'client backend' AND datname = ANY (%(names)s) GROUP BY 1
"""
SERVER_ENCODINGS = "SELECT pg_encoding_to_char(n)::text FROM generate_series(0, 34) n"
SERVER = """
SELECT current_setting('server_version_num')::int, pg_is_in_recovery(), current_setting('is_superuser') = 'on',
       current_setting('shared_preload_libraries'), coalesce(current_setting('scram_iterations', true), '4096')::int
"""


def read(server: Server, wanted: Wanted) -> Catalog:
    version, standby, superuser, preloaded, iterations = server.rows("", SERVER)[0]
    if not superuser:
        raise ObjectsError(f"{wanted.login_user} is not a superuser: give one as login_user")
    known = sorted(wanted.known)
    found = {row[0]: _database(row) for row in server.rows("", DATABASES, known=known)}
    details = [one.name for one in wanted.databases if not one.absent and one.name in found]
    found.update((name, _contents(server, found[name], known)) for name in details)
    names = [extension.name for one in wanted.databases for extension in one.extensions]
    current = Catalog(
        version=version,
        standby=standby,
        roles=_roles(server),
        databases=found,
        preloaded=frozenset(libraries(preloaded)),
        available={
            name: Available(default, frozenset(versions))
            for name, default, versions in (server.rows("", AVAILABLE, names=names) if names else [])
        },
        encodings=frozenset(name for (name,) in server.rows("", SERVER_ENCODINGS)),
        locales=frozenset(filter(usable, _locales(wanted))),
        iterations=iterations,
    )
    return _what_goes(server, current, wanted)


def _locales(wanted: Wanted) -> set[str]:
    return {name for one in wanted.databases for name in (one.collate, one.ctype) if name}


def _what_goes(server: Server, current: Catalog, wanted: Wanted) -> Catalog:
    roles = [role.name for role in wanted.roles if role.absent and role.name in current.roles]
    databases = [one.name for one in wanted.databases if one.absent and one.name in current.databases]
    owned, mentioned = [], set()
    for role, database, owns, whole, count in server.rows("", DEPENDENTS, gone=roles) if roles else []:
        if not owns:
            mentioned.add((role, database or MAINTENANCE))
        elif whole:
            owned.append(Ownership(role, whole, f"database {whole}"))
        else:
            where = f"database {database}" if database else "the cluster"
            owned.append(Ownership(role, database, f"{count} objects in {where}"))
    sessions = dict(server.rows("", SESSIONS, names=databases)) if databases else {}
    return replace(current, owned=tuple(owned), mentioned=frozenset(mentioned), sessions=sessions)


def _roles(server: Server) -> dict[str, Role]:
    groups: dict[str, set[tuple[str, str]]] = {}
    for member, group, grantor in server.rows("", MEMBERS):
        groups.setdefault(member, set()).add((group, grantor))
    found = {}
    for name, *flags, limit, until, verifier, settings in server.rows("", ROLES):
        found[name] = Role(
            name=name,
            flags=frozenset(itertools.compress(FLAGS, flags)),
            connection_limit=limit,
            valid_until=until,
            verifier=verifier,
            settings=_settings(settings),
            member_of=frozenset(groups.get(name, ())),
        )
    return found


def _settings(lines: Iterable[str]) -> dict[str, str]:
    return {name: value for name, _equal, value in (line.partition("=") for line in lines)}


def _acl(words: Iterable[str]) -> frozenset[tuple[str, str]]:
    return frozenset((role, privilege) for privilege, _space, role in (word.partition(" ") for word in words))


def _database(row: Any) -> Database:
    name, owner, encoding, collate, ctype, limit, settings, acl = row
    return Database(name, owner, encoding, collate, ctype, limit, _settings(settings), _acl(acl))


def _contents(server: Server, database: Database, known: list[str]) -> Database:
    name = database.name
    return replace(
        database,
        schemas={one: SchemaOf(owner, _acl(acl)) for one, owner, acl in server.rows(name, SCHEMAS, known=known)},
        relations=tuple(
            Relation(schema, one, kind, owner, _acl(acl))
            for schema, one, kind, owner, acl in server.rows(name, RELATIONS, known=known)
        ),
        defaults=frozenset(map(tuple, server.rows(name, DEFAULTS, known=known))),
        extensions={one: Extension(*row) for one, *row in server.rows(name, EXTENSIONS)},
    )


def libraries(setting: str) -> list[str]:
    """The names in shared_preload_libraries, which may be quoted and have a folder."""
    return [part.strip().strip('"').rpartition("/")[2] for part in setting.split(",") if part.strip()]


def usable(name: str) -> bool:
    """Whether this host has the locale."""
    before = locale.setlocale(locale.LC_CTYPE)
    try:
        locale.setlocale(locale.LC_CTYPE, name)
    except locale.Error:
        return False
    locale.setlocale(locale.LC_CTYPE, before)
    return True
