# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What cannot be, given what the cluster has: all of it is found before anything is changed.

Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

import re

from ._postgresql_extensions import extension_problems
from ._postgresql_model import Catalog, Database, ObjectsError, Ownership, Wanted, WantedDatabase
from ._postgresql_wanted import users


def refuse(current: Catalog, wanted: Wanted) -> None:
    """Raises with every reason at once. A server that is not there yet has no say."""
    if not current.reachable:
        return
    problems = _unknown_roles(current, wanted) + _cycles(current, wanted) + _owners(current, wanted)
    for wish in wanted.databases:
        have = current.databases.get(wish.name)
        if wish.absent:
            sessions = current.sessions.get(wish.name, 0)
            if have and sessions:
                problems.append(f"database {wish.name} has {sessions} sessions: end them before it is dropped")
        elif have:
            problems += _fixed(have, wish)
        else:
            problems += _new(current, wish)
    if problems:
        raise ObjectsError("; ".join(dict.fromkeys(problems)))


def lacking(current: Catalog, wanted: Wanted) -> list[str]:
    """Extensions that cannot be created yet: packages or settings may come with the same play."""
    if not current.reachable:
        return []
    return [
        problem
        for wish in wanted.databases
        if not wish.absent
        for problem in extension_problems(current.databases.get(wish.name), wish, current)
    ]


def _unknown_roles(current: Catalog, wanted: Wanted) -> list[str]:
    there = set(current.roles) | {role.name for role in wanted.roles}
    used = [(f"database {one.name}", name) for one in wanted.databases if not one.absent for name in users(one)]
    used += [(f"role {one.name}", name) for one in wanted.roles for name in one.member_of or ()]
    unknown = [(where, name) for where, name in used if name not in there]
    return [f"{where} names role {name}, which does not exist: add it to roles" for where, name in unknown]


def _cycles(current: Catalog, wanted: Wanted) -> list[str]:
    """A role that would be a member of itself through roles that the task does not name."""
    groups = {name: [group for group, _grantor in role.member_of] for name, role in current.roles.items()}
    groups.update((role.name, list(role.member_of)) for role in wanted.roles if role.member_of is not None)
    for start in (role.name for role in wanted.roles if role.member_of):
        seen: set[str] = set()
        ahead = list(groups[start])
        while ahead:
            name = ahead.pop()
            if name == start:
                return [f"role {start} would be a member of itself: look at the members of {', '.join(sorted(seen))}"]
            if name not in seen:
                seen.add(name)
                ahead += groups.get(name, ())
    return []


def _owners(current: Catalog, wanted: Wanted) -> list[str]:
    """Roles that shall go and own something that stays."""
    gone = {role.name for role in wanted.roles if role.absent and role.name in current.roles}
    wishes = {one.name: one for one in wanted.databases}
    stays = [owned for owned in current.owned if owned.role in gone and not _leaves(owned, wishes)]
    return [
        f"role {owned.role} cannot be dropped: it owns {owned.what}. Give that to somebody first"
        f" (REASSIGN OWNED BY in that database, or another owner in databases)"
        for owned in stays
    ]


def _leaves(owned: Ownership, wishes: dict[str, WantedDatabase]) -> bool:
    wish = wishes.get(owned.database)
    if wish is None:
        return False
    return wish.absent or (owned.what == f"database {wish.name}" and wish.owner not in (None, owned.role))


def _same_locale(one: str, other: str) -> bool:
    def plain(name: str) -> str:
        language, _dot, codeset = name.partition(".")
        return f"{language}.{re.sub('[^a-z0-9]', '', codeset.lower())}"

    return plain(one) == plain(other)


def _same_encoding(one: str, other: str) -> bool:
    def plain(name: str) -> str:
        return re.sub("[^a-z0-9]", "", name.lower())

    return plain(one) == plain(other)


def _fixed(have: Database, wish: WantedDatabase) -> list[str]:
    """What was decided when the database was created."""
    problems = []
    after = "which only a new database can have: dump it and load it there, or take the option back"
    if not _same_encoding(have.encoding, wish.encoding):
        problems.append(f"database {wish.name} has encoding {have.encoding}, not {wish.encoding}, {after}")
    for option, old, new in (("lc_collate", have.collate, wish.collate), ("lc_ctype", have.ctype, wish.ctype)):
        if new is not None and not _same_locale(old, new):
            problems.append(f"database {wish.name} has {option} {old}, not {new}, {after}")
    return problems


def _new(current: Catalog, wish: WantedDatabase) -> list[str]:
    problems = []
    if not any(_same_encoding(wish.encoding, name) for name in current.encodings):
        problems.append(f"database {wish.name}: {wish.encoding} is not an encoding of PostgreSQL: write UTF8")
    for name in dict.fromkeys(filter(None, (wish.collate, wish.ctype))):
        if name not in current.locales:
            problems.append(f"database {wish.name}: this host has no locale {name}: add it (`locale -a` lists them)")
    if wish.template not in current.databases:
        problems.append(f"database {wish.name}: there is no template {wish.template}")
    return problems
