# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a task's parameters to what is wanted: all that can be refused without asking a server is refused here.

Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from typing import Any

from ._postgresql_model import (
    FLAGS,
    MARK,
    ObjectsError,
    Wanted,
    WantedDatabase,
    WantedExtension,
    WantedRole,
)
from ._postgresql_scram import is_verifier
from ._postgresql_sql import LISTS, SETTING, items, name_problem, text

TEMPLATES = ("template0", "template1")
MD5 = re.compile(r"md5[0-9a-f]{32}")
FOREVER = "infinity"


def parse(params: Mapping[str, Any]) -> Wanted:
    problems: list[str] = []
    login_user = params.get("login_user") or "postgres"
    passwords = {name: _password(value) for name, value in (params.get("passwords") or {}).items()}
    roles = [_role(entry, passwords, login_user, problems) for entry in params.get("roles") or []]
    databases = [_database(entry, problems) for entry in params.get("databases") or []]
    problems += [f"roles: {name} is there {n} times: keep one" for name, n in _twice(role.name for role in roles)]
    problems += [f"databases: {name} is there {n} times: keep one" for name, n in _twice(one.name for one in databases)]
    for name in sorted(set(passwords) - {role.name for role in roles}):
        problems.append(f"passwords: {name} is not in roles: add it there")
    wanted = Wanted(tuple(roles), tuple(databases), login_user)
    problems += _absent_but_used(wanted) + _cycles(wanted)
    if problems:
        raise ObjectsError("; ".join(dict.fromkeys(problems)))
    return wanted


def _twice(names: Iterable[str]) -> list[tuple[str, int]]:
    return [(name, count) for name, count in Counter(names).items() if count > 1]


def _name(what: str, name: str, problems: list[str]) -> None:
    problem = name_problem(name)
    if problem:
        problems.append(f"{what} {name!r} {problem}")
    elif name.startswith("pg_"):
        problems.append(f"{what} {name}: names that begin with pg_ belong to PostgreSQL: choose another")


# --- roles ------------------------------------------------------------------------------------------------------------


def _password(value: Any) -> str | None:
    return None if value is None else str(value)


def _role(entry: Mapping[str, Any], passwords: Mapping[str, str | None], user: str, problems: list[str]) -> WantedRole:
    name = entry["name"]
    where = f"role {name}"
    _name("role", name, problems)
    if name in ("public", "none"):
        problems.append(f"{where} is a reserved word: choose another name")
    if name == user:
        problems.append(f"{where} is the one that this module works as: leave it out")
    password = _password(entry.get("password"))
    if password is not None and passwords.get(name) not in (None, password):
        problems.append(f"{where} has one password in roles and another one in passwords: keep one")
    password = password if password is not None else passwords.get(name)
    problems += [f"{where}: {problem}" for problem in _password_problems(password)]
    limit = entry.get("connection_limit")
    if limit is not None and limit < -1:
        problems.append(f"{where}: connection_limit is {limit}: give -1 (no limit) or more")
    return WantedRole(
        name=name,
        absent=entry.get("state") == "absent",
        flags=frozenset(flag for flag in FLAGS if _flag(entry, flag)),
        connection_limit=limit,
        valid_until=_moment(where, entry.get("valid_until"), problems),
        password=password,
        settings=_settings(where, entry.get("settings"), problems),
        member_of=tuple(dict.fromkeys(entry["member_of"])) if entry.get("member_of") is not None else None,
    )


def _flag(entry: Mapping[str, Any], flag: str) -> bool:
    value = entry.get(flag)
    return flag == "login" if value is None else bool(value)


def _password_problems(password: str | None) -> list[str]:
    """None of them repeats the password."""
    if password is None or is_verifier(password):
        return []
    if not password:
        return ["the password is empty: leave it out, or give one"]
    if any(char in password for char in "\0\r\n"):
        return ["the password has a line break or a NUL, which no client can send: choose another"]
    if MD5.fullmatch(password):
        return ["the password is an MD5 hash: give the password itself, or its SCRAM-SHA-256 verifier"]
    if password.startswith("SCRAM-SHA-256$"):
        return ["the password looks like a SCRAM-SHA-256 verifier, and is none: copy it whole"]
    return []


def _moment(where: str, value: str | None, problems: list[str]) -> str | None:
    """In UTC, where the value names no zone, and always written the same way."""
    if value is None:
        return None
    if value.lower() == FOREVER:
        return FOREVER
    try:
        moment = datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", value))
    except ValueError:
        problems.append(f"{where}: valid_until is {value!r}: write 2030-12-31, 2030-12-31 23:59:59+00:00 or infinity")
        return None
    if moment.tzinfo is not None:
        moment = moment.astimezone(timezone.utc)
    return moment.replace(tzinfo=None, microsecond=0).isoformat(" ")


def _settings(where: str, settings: Mapping[str, Any] | None, problems: list[str]) -> dict[str, str] | None:
    if settings is None:
        return None
    for name, value in settings.items():
        if not SETTING.fullmatch(name) or name.lower() == MARK:
            problems.append(f"{where}: {name!r} is not the name of a setting")
        elif value is None or isinstance(value, (list, dict)) or "\0" in text(value):
            problems.append(f"{where}: setting {name} needs one value, written as in postgresql.conf")
        elif name.lower() in LISTS:
            try:
                items(text(value))
            except ValueError as exc:
                problems.append(f"{where}: setting {name}: {exc}")
    problems += [f"{where}: setting {name} is there twice" for name, _n in _twice(name.lower() for name in settings)]
    return {name: text(value) for name, value in settings.items()}


def _cycles(wanted: Wanted) -> list[str]:
    groups = {role.name: role.member_of or () for role in wanted.roles if not role.absent}
    for start in groups:
        seen: set[str] = set()
        ahead = list(groups[start])
        while ahead:
            name = ahead.pop()
            if name == start:
                return [f"role {start} is a member of itself by its member_of: take one of them out"]
            if name not in seen:
                seen.add(name)
                ahead += groups.get(name, ())
    return []


# --- databases --------------------------------------------------------------------------------------------------------


def _database(entry: Mapping[str, Any], problems: list[str]) -> WantedDatabase:
    name = entry["name"]
    where = f"database {name}"
    _name("database", name, problems)
    absent = entry.get("state") == "absent"
    if name in TEMPLATES:
        problems.append(f"{where} is a template of PostgreSQL: leave it out")
    if absent and name == "postgres":
        problems.append(f"{where} cannot be dropped: tools connect to it")
    if absent and entry.get("confirm_drop") != name:
        problems.append(f"{where} would be dropped with all that is in it: if so, add confirm_drop: {name}")
    limit = entry.get("connection_limit")
    if limit is not None and limit < -1:
        problems.append(f"{where}: connection_limit is {limit}: give -1 (no limit) or more")
    readers, writers = entry.get("readers") or [], entry.get("writers") or []
    content = entry.get("schema_content") or None
    if content is not None and "\0" in content:
        problems.append(f"{where}: schema_content has a NUL, so it is no SQL text")
    return WantedDatabase(
        name=name,
        absent=absent,
        owner=entry.get("owner"),
        encoding=entry.get("encoding") or "UTF8",
        collate=entry.get("lc_collate") or entry.get("locale"),
        ctype=entry.get("lc_ctype") or entry.get("locale"),
        template=entry.get("template") or "template0",
        connection_limit=limit,
        settings=_settings(where, entry.get("settings"), problems),
        extensions=_extensions(where, entry.get("extensions") or [], problems),
        schemas=_schemas(where, entry.get("schemas") or [], problems),
        schema_content=content,
        access={**dict.fromkeys(readers, "reader"), **dict.fromkeys(writers, "writer")},
        revoke_public=entry.get("revoke_public") is not False,
    )


def _extensions(where: str, entries: Iterable[Any], problems: list[str]) -> tuple[WantedExtension, ...]:
    found = []
    for entry in entries:
        fields = {"name": entry} if isinstance(entry, str) else entry
        unknown = sorted(set(fields) - {"name", "schema", "version"}) if isinstance(fields, Mapping) else ["?"]
        if unknown or not isinstance(fields.get("name"), str) or name_problem(fields["name"]):
            problems.append(f"{where}: extension {entry!r}: give a name, or name, schema and version")
            continue
        version = fields.get("version")
        found.append(WantedExtension(fields["name"], fields.get("schema"), None if version is None else str(version)))
    problems += [f"{where}: extension {name} is there {n} times" for name, n in _twice(one.name for one in found)]
    return tuple(found)


def _schemas(where: str, entries: Iterable[Mapping[str, Any]], problems: list[str]) -> dict[str, str | None]:
    for entry in entries:
        _name(f"{where}: schema", entry["name"], problems)
        if entry["name"] == "information_schema":
            problems.append(f"{where}: schema information_schema belongs to PostgreSQL: leave it out")
    problems += [f"{where}: schema {name} is there {n} times" for name, n in _twice(one["name"] for one in entries)]
    return {entry["name"]: entry.get("owner") for entry in entries}


def _absent_but_used(wanted: Wanted) -> list[str]:
    gone = {role.name for role in wanted.roles if role.absent}
    used = [(f"database {one.name}", name) for one in wanted.databases if not one.absent for name in users(one)]
    used += [(f"role {one.name}", name) for one in wanted.roles if not one.absent for name in one.member_of or ()]
    used = [(where, name) for where, name in used if name in gone]
    return [f"{where} needs role {name}, which is absent in roles: keep one of them" for where, name in used]


def users(database: WantedDatabase) -> list[str]:
    """Every role that an entry names."""
    names = [database.owner, *database.schemas.values(), *database.access]
    return list(dict.fromkeys(name for name in names if name))
