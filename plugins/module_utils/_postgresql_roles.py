# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Roles of a cluster: what is created, altered and dropped. No step shows a password, or what is stored of one.

Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ._postgresql_model import FLAGS, MARK, Catalog, Role, Step, Wanted, WantedRole
from ._postgresql_scram import SALT_BYTES, fits, is_verifier, make
from ._postgresql_sql import ident, literal, same_setting, set_to, setting_name

Salt = Callable[[int], bytes]
# PostgreSQL keeps who let a role in, and takes back only what the named one gave.
GRANTED_BY = 160000


def role_steps(current: Catalog, wanted: Wanted, salt: Salt) -> list[Step]:
    present = [role for role in wanted.roles if not role.absent]
    steps = [step for wish in present for step in _role(current, wish, salt)]
    # Last, as the groups may be new, too.
    return steps + [step for wish in present for step in _memberships(current, wish)]


def _role(current: Catalog, wish: WantedRole, salt: Salt) -> list[Step]:
    have = current.roles.get(wish.name)
    steps = []
    if have is None:
        flags = [flag for flag in FLAGS if flag in wish.flags]
        line = f"role {wish.name}: {', '.join(flags) or 'no login'}"
        words = " ".join(flag.upper() if flag in wish.flags else f"NO{flag.upper()}" for flag in FLAGS)
        steps.append(Step("", f"CREATE ROLE {ident(wish.name)} WITH {words}", after=line))
        have = Role(wish.name, wish.flags)
    for flag in FLAGS:
        if (flag in have.flags) != (flag in wish.flags):
            yes, line = flag in wish.flags, f"role {wish.name}: {flag}"
            sql = _alter(wish, f"WITH {'' if yes else 'NO'}{flag.upper()}")
            steps.append(Step("", sql, "" if yes else line, line if yes else ""))
    steps += _password(current, have, wish, salt)
    if wish.connection_limit is not None and wish.connection_limit != have.connection_limit:
        sql = _alter(wish, f"WITH CONNECTION LIMIT {wish.connection_limit}")
        line = f"role {wish.name}: connection limit "
        steps.append(Step("", sql, f"{line}{have.connection_limit}", f"{line}{wish.connection_limit}"))
    if wish.valid_until is not None and wish.valid_until != have.valid_until:
        until = literal(wish.valid_until if wish.valid_until == "infinity" else f"{wish.valid_until}+00")
        line = f"role {wish.name}: valid until "
        sql = _alter(wish, f"WITH VALID UNTIL {until}")
        steps.append(Step("", sql, f"{line}{have.valid_until}", f"{line}{wish.valid_until}"))
    return steps + setting_steps("", f"role {wish.name}", have.settings, wish.settings)


def _alter(wish: WantedRole, what: str) -> str:
    return f"ALTER ROLE {ident(wish.name)} {what}"


def _password(current: Catalog, have: Role, wish: WantedRole, salt: Salt) -> list[Step]:
    if wish.password is None or fits(have.verifier, wish.password):
        return []
    ready = is_verifier(wish.password)
    verifier = wish.password if ready else make(wish.password, salt(SALT_BYTES), current.iterations)
    before = f"role {wish.name}: another password" if have.verifier else ""
    sql = _alter(wish, f"WITH PASSWORD {literal(verifier)}")
    return [Step("", sql, before, f"role {wish.name}: the given password, as SCRAM-SHA-256", secret=True)]


def setting_steps(database: str, where: str, have: Mapping[str, str], wish: Mapping[str, str] | None) -> list[Step]:
    """ALTER ROLE or DATABASE ... SET: where given, exactly these; C(where) is the kind and the name."""
    if wish is None:
        return []
    kind, _space, name = where.partition(" ")
    alter = f"ALTER {kind.upper()} {ident(name)}"
    ours = {key.lower(): (key, value) for key, value in wish.items()}
    theirs = {key.lower(): (key, value) for key, value in have.items() if key.lower() != MARK}
    steps = []
    for key, (shown, value) in theirs.items():
        if key not in ours:
            sql = f"{alter} RESET {setting_name(shown)}"
            steps.append(Step(database, sql, before=f"{where}: {shown} = {value}"))
    for key, (shown, value) in ours.items():
        old = theirs.get(key)
        if old is None or not same_setting(key, old[1], value):
            before = f"{where}: {old[0]} = {old[1]}" if old else ""
            sql = f"{alter} {set_to(shown, value)}"
            steps.append(Step(database, sql, before, f"{where}: {shown} = {value}", setting=(shown, value)))
    return steps


def _memberships(current: Catalog, wish: WantedRole) -> list[Step]:
    if wish.member_of is None:
        return []
    have = current.roles.get(wish.name, Role(wish.name)).member_of
    steps = []
    for group, grantor in sorted(have):
        if group not in wish.member_of:
            by = f" GRANTED BY {ident(grantor)}" if current.version >= GRANTED_BY else ""
            sql = f"REVOKE {ident(group)} FROM {ident(wish.name)}{by}"
            steps.append(Step("", sql, before=f"role {wish.name}: member of {group}"))
    for group in wish.member_of:
        if group not in {one for one, _grantor in have}:
            sql = f"GRANT {ident(group)} TO {ident(wish.name)}"
            steps.append(Step("", sql, after=f"role {wish.name}: member of {group}"))
    return steps


def drop_steps(current: Catalog, wanted: Wanted) -> list[Step]:
    """Privileges first, in each database that has some; what a role owns was refused."""
    gone = [role.name for role in wanted.roles if role.absent and role.name in current.roles]
    dropped = {one.name for one in wanted.databases if one.absent}
    steps = []
    for role, database in sorted(current.mentioned):
        if role in gone and database not in dropped:
            line = f"database {database}: privileges of role {role}"
            steps.append(Step(database, f"{_owns_nothing(role)}; DROP OWNED BY {ident(role)}", before=line))
    return steps + [Step("", f"DROP ROLE {ident(role)}", before=f"role {role}") for role in gone]


def _owns_nothing(role: str) -> str:
    """DROP OWNED drops tables as well: this stops it, should there be one by now. Default privileges may go."""
    owned = (
        "FROM pg_shdepend d JOIN pg_roles r ON r.oid = d.refobjid"  # noqa: S608 - the name is quoted
        f" WHERE d.refclassid = 'pg_authid'::regclass AND r.rolname = {literal(role)} AND d.deptype = 'o'"
        " AND d.classid <> 'pg_default_acl'::regclass"
        " AND d.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    refused = "RAISE EXCEPTION 'the role owns something in this database'"
    return f"DO {literal(f'BEGIN PERFORM {owned}; IF FOUND THEN {refused}; END IF; END')}"
