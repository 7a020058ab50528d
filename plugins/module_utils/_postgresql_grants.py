# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may do what in one database: the least that readers and writers need, now and after the next migration.

Given and taken are only these privileges, and only those of the roles that the task declares.

Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ._postgresql_model import DATABASE_OWNER, PUBLIC, Database, Relation, Schema, Step, WantedDatabase
from ._postgresql_sql import grantee, ident

# A guest owns a schema: it has to get in, and needs no more.
PRIVILEGES: dict[str, dict[str, tuple[str, ...]]] = {
    "database": {"guest": ("CONNECT",), "reader": ("CONNECT",), "writer": ("CONNECT",)},
    "schema": {"reader": ("USAGE",), "writer": ("USAGE",)},
    "table": {"reader": ("SELECT",), "writer": ("SELECT", "INSERT", "UPDATE", "DELETE")},
    "sequence": {"reader": ("SELECT",), "writer": ("SELECT", "USAGE")},
}
SHOWN = 3  # names in one line of a diff


@dataclass(frozen=True)
class Access:
    """Who is what in a database, once its owners are as wanted."""

    database: str
    owner: str
    owners: Mapping[str, str]
    """By schema."""
    levels: Mapping[str, str]
    known: frozenset[str]

    @property
    def creators(self) -> list[str]:
        """Whose new tables shall be readable."""
        own = [self.owner if owner == DATABASE_OWNER else owner for owner in self.owners.values()]
        return list(dict.fromkeys([self.owner, *own]))

    def wanted(self, kind: str, role: str) -> tuple[str, ...]:
        return PRIVILEGES[kind].get(self.levels.get(role, ""), ())

    def differences(
        self, kind: str, owner: str, acl: Iterable[tuple[str, str]]
    ) -> Iterator[tuple[bool, str, tuple[str, ...]]]:
        """Give (true) or take, to or from whom, and what. An owner needs nothing and loses nothing."""
        have = set(acl)
        for role in sorted(self.known | set(self.levels)):
            if role in (owner, self.owner):
                continue
            want = self.wanted(kind, role)
            give = tuple(privilege for privilege in want if (role, privilege) not in have)
            take = tuple(
                privilege
                for privilege in PRIVILEGES[kind]["writer"]
                if (role, privilege) in have and privilege not in want and role in self.known
            )
            yield from ((given, role, some) for given, some in ((False, take), (True, give)) if some)


def access(
    have: Database, wish: WantedDatabase, owner: str, owners: Mapping[str, str], known: frozenset[str]
) -> Access:
    """C(owners) has public and the declared schemas; those that the same owners have made themselves count, too."""
    ours = {owner, DATABASE_OWNER, *owners.values()}
    found = {name: schema.owner for name, schema in have.schemas.items() if schema.owner in ours}
    guests = dict.fromkeys(owners.values(), "guest")
    levels = {role: level for role, level in {**guests, **wish.access}.items() if role not in (owner, DATABASE_OWNER)}
    return Access(wish.name, owner, {**found, **owners}, levels, known)


def grant_steps(
    have: Database, wish: WantedDatabase, owner: str, owners: Mapping[str, str], known: frozenset[str]
) -> list[Step]:
    who = access(have, wish, owner, owners, known)
    steps = _public(have, wish)
    for given, role, privileges in who.differences("database", owner, _moved(have.acl, have.owner, owner)):
        steps.append(_step(who, given, role, privileges, f"DATABASE {ident(who.database)}", ""))
    for name, schema_owner in who.owners.items():
        schema = have.schemas.get(name) or _created(have, schema_owner)
        acl = _moved(schema.acl, schema.owner, schema_owner)
        for given, role, privileges in who.differences("schema", schema_owner, acl):
            steps.append(_step(who, given, role, privileges, f"SCHEMA {ident(name)}", f" on schema {name}"))
    return [*steps, *_defaults(have, who), *_relations(have, who)]


def _created(have: Database, owner: str) -> Schema:
    """A schema that a step before has made: with what its owner gives away by default."""
    acl = {(role, privilege) for one, what, role, privilege in have.defaults if (one, what) == (owner, "schema")}
    return Schema(owner, frozenset(acl))


def _moved(acl: Iterable[tuple[str, str]], old: str, new: str) -> set[tuple[str, str]]:
    """What a change of owner makes of the privileges."""
    return {(new if role == old else role, privilege) for role, privilege in acl}


def _step(who: Access, given: bool, role: str, privileges: tuple[str, ...], target: str, shown: str) -> Step:
    words = ", ".join(privileges)
    verb, to = ("GRANT", "TO") if given else ("REVOKE", "FROM")
    line = f"database {who.database}: {role or 'everybody'} may {words}{shown}"
    sql = f"{verb} {words} ON {target} {to} {grantee(role)}"
    return Step(who.database, sql, "" if given else line, line if given else "")


def _public(have: Database, wish: WantedDatabase) -> list[Step]:
    """What PostgreSQL gives to everybody, and version 15 still does except for CREATE."""
    if not wish.revoke_public:
        return []
    nobody = Access(wish.name, "", {}, {}, frozenset())
    steps = []
    on_database = tuple(one for one in ("CONNECT", "TEMPORARY") if (PUBLIC, one) in have.acl)
    if on_database:
        steps.append(_step(nobody, False, PUBLIC, on_database, f"DATABASE {ident(wish.name)}", ""))
    if "public" in have.schemas and (PUBLIC, "CREATE") in have.schemas["public"].acl:
        steps.append(_step(nobody, False, PUBLIC, ("CREATE",), 'SCHEMA "public"', " on schema public"))
    return steps


def _defaults(have: Database, who: Access) -> list[Step]:
    steps = []
    gone = [have.owner] if have.owner not in who.creators else []
    nobody = Access(who.database, who.owner, {}, {}, who.known)
    for creator in [*who.creators, *gone]:
        for kind in ("schema", "table", "sequence"):
            acl = [(role, privilege) for one, what, role, privilege in have.defaults if (one, what) == (creator, kind)]
            judge = nobody if creator in gone else who
            for given, role, privileges in judge.differences(kind, creator, acl):
                step = _step(who, given, role, privileges, f"{kind.upper()}S", f" on new {kind}s of {creator}")
                steps.append(
                    Step(
                        step.database,
                        f"ALTER DEFAULT PRIVILEGES FOR ROLE {ident(creator)} {step.sql}",
                        step.before,
                        step.after,
                    )
                )
    return steps


def _relations(have: Database, who: Access) -> list[Step]:
    """One statement for all relations of a schema that lack, or have too much of, the same."""
    groups: dict[tuple[str, str, bool, str, tuple[str, ...]], list[Relation]] = {}
    for relation in have.relations:
        if relation.schema in who.owners:
            for difference in who.differences(relation.kind, relation.owner, relation.acl):
                groups.setdefault((relation.schema, relation.kind, *difference), []).append(relation)
    steps = []
    for (schema, kind, given, role, privileges), relations in groups.items():
        names = ", ".join(f"{ident(schema)}.{ident(relation.name)}" for relation in relations)
        some = ", ".join(relation.name for relation in relations[:SHOWN])
        more = f" and {len(relations) - SHOWN} more" if len(relations) > SHOWN else ""
        shown = f" on {kind}s of schema {schema}: {some}{more}"
        steps.append(_step(who, given, role, privileges, f"{kind.upper()} {names}", shown))
    return steps
