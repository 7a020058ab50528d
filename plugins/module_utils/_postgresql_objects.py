# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what a cluster has to what it shall have: the steps, in the order in which they can run.

Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping

from ._postgresql_extensions import extension_steps
from ._postgresql_grants import grant_steps
from ._postgresql_model import DATABASE_OWNER, MARK, Catalog, Database, Step, Wanted, WantedDatabase
from ._postgresql_roles import Salt, drop_steps, role_steps, setting_steps
from ._postgresql_sql import ident, literal

# What has rows or shows some: with one of them a database is not new.
FILLED = "table"


def plan(current: Catalog, wanted: Wanted, salt: Salt = secrets.token_bytes) -> list[Step]:
    """Nothing to do: no steps. What is wanted and cannot be was refused before."""
    steps = role_steps(current, wanted, salt)
    for wish in wanted.databases:
        if wish.absent and wish.name in current.databases:
            sql = f"DROP DATABASE {ident(wish.name)}"
            steps.append(Step("", sql, before=f"database {wish.name} and all that is in it", alone=True))
    present = [wish for wish in wanted.databases if not wish.absent]
    steps += [_create(wish, wanted) for wish in present if wish.name not in current.databases]
    for wish in present:
        steps += _database(current, wish, wanted)
    return steps + drop_steps(current, wanted)


def _create(wish: WantedDatabase, wanted: Wanted) -> Step:
    owner = wish.owner or wanted.login_user
    words = [f"CREATE DATABASE {ident(wish.name)} OWNER {ident(owner)} ENCODING {literal(wish.encoding)}"]
    words += [f"LC_COLLATE {literal(wish.collate)}"] if wish.collate else []
    words += [f"LC_CTYPE {literal(wish.ctype)}"] if wish.ctype else []
    words.append(f"TEMPLATE {ident(wish.template)}")
    line = f"database {wish.name}: owner {owner}, {wish.encoding}"
    return Step("", " ".join(words), after=line, alone=True)


def _database(current: Catalog, wish: WantedDatabase, wanted: Wanted) -> list[Step]:
    have = current.databases.get(wish.name) or current.fresh(wish.name, wish.owner or wanted.login_user)
    owner = wish.owner or have.owner
    alter, line = f"ALTER DATABASE {ident(wish.name)}", f"database {wish.name}"
    steps = []
    if owner != have.owner:
        sql = f"{alter} OWNER TO {ident(owner)}"
        steps.append(Step(wish.name, sql, f"{line}: owner {have.owner}", f"{line}: owner {owner}"))
    if wish.connection_limit is not None and wish.connection_limit != have.connection_limit:
        sql = f"{alter} CONNECTION LIMIT {wish.connection_limit}"
        before, after = (f"{line}: connection limit {one}" for one in (have.connection_limit, wish.connection_limit))
        steps.append(Step(wish.name, sql, before, after))
    steps += setting_steps(wish.name, line, have.settings, wish.settings)
    owners = _owners(current, have, wish, owner)
    steps += _schemas(have, owners)
    steps += extension_steps(have, wish, current)
    known = frozenset(role.name for role in wanted.roles if not role.absent)
    steps += grant_steps(have, wish, owner, owners, known)
    return steps + _import(have, wish, owner)


def _owners(current: Catalog, have: Database, wish: WantedDatabase, owner: str) -> dict[str, str]:
    """Who shall own public and the schemas that are declared."""
    # Since version 14 the database's owner owns public through a role of which it is always the one member.
    public = DATABASE_OWNER if current.version >= 140000 else owner
    owners = {"public": public} if "public" in have.schemas else {}
    owners.update((name, one or (public if name == "public" else owner)) for name, one in wish.schemas.items())
    return owners


def _schemas(have: Database, owners: Mapping[str, str]) -> list[Step]:
    steps = []
    for name, new in owners.items():
        line = f"database {have.name}: schema {name}, owner "
        old = have.schemas[name].owner if name in have.schemas else None
        if old is None:
            sql = f"CREATE SCHEMA {ident(name)} AUTHORIZATION {ident(new)}"
            steps.append(Step(have.name, sql, after=f"{line}{new}"))
        elif old != new:
            sql = f"ALTER SCHEMA {ident(name)} OWNER TO {ident(new)}"
            steps.append(Step(have.name, sql, f"{line}{old}", f"{line}{new}"))
    return steps


# --- the schema file --------------------------------------------------------------------------------------------------


def digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def _filled(have: Database) -> bool:
    return any(relation.kind == FILLED for relation in have.relations)


def _import(have: Database, wish: WantedDatabase, owner: str) -> list[Step]:
    """Once: the mark is part of the same transaction."""
    if wish.schema_content is None or MARK in have.settings or _filled(have):
        return []
    mark = digest(wish.schema_content)
    sql = f"ALTER DATABASE {ident(wish.name)} SET {'.'.join(map(ident, MARK.split('.')))} TO {literal(mark)}"
    line = f"database {wish.name}: schema file {mark[:12]}, imported as {owner}"
    return [Step(wish.name, sql, after=line, script=wish.schema_content, owner=owner)]


def remarks(current: Catalog, wanted: Wanted) -> list[str]:
    """What is left alone although it differs."""
    found = []
    for wish in wanted.databases:
        have = current.databases.get(wish.name)
        if have is None or wish.absent or wish.schema_content is None:
            continue
        mark = have.settings.get(MARK)
        if mark is None and _filled(have):
            found.append(f"database {wish.name} has tables already: its schema file is not imported")
        elif mark is not None and mark != digest(wish.schema_content):
            found.append(
                f"database {wish.name}: the schema file is another one than the one that was imported. It is imported"
                " once; bring later changes by a migration"
            )
    return found
