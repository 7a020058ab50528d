# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a PostgreSQL cluster has, what it shall have, and the steps between the two.

Pure data: no I/O and no Ansible imports.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

PUBLIC = ""  # the grantee without a name
MARK = "shipshape.schema"  # the setting of a database that says which file was imported
# Since version 14 whoever owns the database is its only member.
DATABASE_OWNER = "pg_database_owner"
FLAGS = ("login", "superuser", "createdb", "createrole", "replication")


class ObjectsError(Exception):
    """What the user is told."""


# --- what there is ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Role:
    name: str
    flags: frozenset[str] = frozenset({"login"})
    connection_limit: int = -1
    valid_until: str = "infinity"
    verifier: str = field(default="", repr=False)
    settings: Mapping[str, str] = field(default_factory=dict)
    member_of: frozenset[tuple[str, str]] = frozenset()
    """Each group, and who let the role in."""


@dataclass(frozen=True)
class Schema:
    owner: str
    acl: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True)
class Relation:
    schema: str
    name: str
    kind: str
    owner: str
    acl: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True)
class Extension:
    version: str
    schema: str
    relocatable: bool = True


@dataclass(frozen=True)
class Available:
    """What the installed packages have of an extension."""

    default: str
    versions: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Database:
    name: str
    owner: str
    encoding: str = "UTF8"
    collate: str = "C.UTF-8"
    ctype: str = "C.UTF-8"
    connection_limit: int = -1
    settings: Mapping[str, str] = field(default_factory=dict)
    acl: frozenset[tuple[str, str]] = frozenset()
    schemas: Mapping[str, Schema] = field(default_factory=dict)
    relations: tuple[Relation, ...] = ()
    defaults: frozenset[tuple[str, str, str, str]] = frozenset()
    """Default privileges: who creates, kind of object, grantee, privilege."""
    extensions: Mapping[str, Extension] = field(default_factory=dict)


@dataclass(frozen=True)
class Ownership:
    """What keeps a role from being dropped: it owns something."""

    role: str
    database: str
    what: str


@dataclass(frozen=True)
class Catalog:
    version: int = 170000
    reachable: bool = True
    standby: bool = False
    roles: Mapping[str, Role] = field(default_factory=dict)
    databases: Mapping[str, Database] = field(default_factory=dict)
    preloaded: frozenset[str] = frozenset()
    available: Mapping[str, Available] = field(default_factory=dict)
    encodings: frozenset[str] = frozenset({"UTF8"})
    locales: frozenset[str] = frozenset()
    """Of those that are asked for, the ones that the host has."""
    iterations: int = 4096
    owned: tuple[Ownership, ...] = ()
    """Of the roles that shall go."""
    mentioned: frozenset[tuple[str, str]] = frozenset()
    """Role that shall go, and database where it has privileges."""
    sessions: Mapping[str, int] = field(default_factory=dict)
    """Of the databases that shall go."""

    def fresh(self, name: str, owner: str) -> Database:
        """What CREATE DATABASE leaves."""
        if self.version >= 140000:
            schema = Schema(DATABASE_OWNER, frozenset({(PUBLIC, "USAGE")}))
        else:
            schema = Schema("postgres", frozenset({(PUBLIC, "USAGE"), (PUBLIC, "CREATE")}))
        acl = frozenset({(PUBLIC, "CONNECT"), (PUBLIC, "TEMPORARY")})
        return Database(name, owner, acl=acl, schemas={"public": schema})


# --- what there shall be ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class WantedRole:
    """None leaves as it is."""

    name: str
    absent: bool = False
    flags: frozenset[str] = frozenset({"login"})
    connection_limit: int | None = None
    valid_until: str | None = None
    password: str | None = field(default=None, repr=False)
    settings: Mapping[str, str] | None = None
    member_of: tuple[str, ...] | None = None


@dataclass(frozen=True)
class WantedExtension:
    name: str
    schema: str | None = None
    version: str | None = None


@dataclass(frozen=True)
class WantedDatabase:
    """None leaves as it is."""

    name: str
    absent: bool = False
    owner: str | None = None
    encoding: str = "UTF8"
    collate: str | None = None
    ctype: str | None = None
    template: str = "template0"
    connection_limit: int | None = None
    settings: Mapping[str, str] | None = None
    extensions: tuple[WantedExtension, ...] = ()
    schemas: Mapping[str, str | None] = field(default_factory=dict)
    """Owner by schema; None is the database's owner."""
    schema_content: str | None = field(default=None, repr=False)
    access: Mapping[str, str] = field(default_factory=dict)
    """C(reader) or C(writer) by role."""
    revoke_public: bool = True


@dataclass(frozen=True)
class Wanted:
    roles: tuple[WantedRole, ...] = ()
    databases: tuple[WantedDatabase, ...] = ()
    login_user: str = "postgres"

    @property
    def known(self) -> frozenset[str]:
        """Whose privileges are ours to give and to take."""
        return frozenset(role.name for role in self.roles)


# --- between the two --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """One statement, where it runs, and what a diff shows of it."""

    database: str
    """Empty: the cluster as a whole."""
    sql: str = field(repr=False)
    before: str = ""
    after: str = ""
    alone: bool = False
    """Not within a transaction."""
    script: str | None = field(default=None, repr=False)
    """A schema file; C(sql) is then the mark that is set with it."""
    owner: str = ""
    """Who the objects of the script belong to."""
    secret: bool = False
    """Nothing that the server logs."""
    setting: tuple[str, str] | None = None
    """Name and value, which the server can judge beforehand."""

    def __str__(self) -> str:
        return ", ".join(filter(None, [self.before and f"- {self.before}", self.after and f"+ {self.after}"]))
