# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a restore of a database is held against, and which roles it needs.

Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from ._backup_schema import literal, quoted

IDENTIFIER = r'(?:"((?:[^"]|"")+)"|([a-zA-Z_][\w$]*))'
NEEDED = (
    re.compile(rf"\bOWNER TO {IDENTIFIER};"),
    re.compile(rf"^(?:ALTER DEFAULT PRIVILEGES .*)?GRANT .* TO {IDENTIFIER}(?: WITH .*)?;$", re.MULTILINE),
    re.compile(rf"^(?:ALTER DEFAULT PRIVILEGES .*)?REVOKE .* FROM {IDENTIFIER};$", re.MULTILINE),
    re.compile(rf"^ALTER DEFAULT PRIVILEGES FOR ROLE {IDENTIFIER} ", re.MULTILINE),
)
GLOBAL = re.compile(rf"^(?:CREATE|ALTER) ROLE {IDENTIFIER}[ ;]")
MEMBER = re.compile(rf"^GRANT {IDENTIFIER} TO {IDENTIFIER}(?: .*?)??(?: GRANTED BY {IDENTIFIER})?;$")
# Of a policy that is for some roles alone; others are for PUBLIC, and have no TO.
POLICY = re.compile(rf"^CREATE POLICY .*? TO ({IDENTIFIER}(?:, {IDENTIFIER})*)(?: USING| WITH|;)", re.MULTILINE)
# Not names of roles.
NOBODY = {"public", "current_user", "session_user", "current_role"}
LONGEST = 63
# Of locales, but for libc, which collate and ctype name.
PROVIDERS = {"i": "icu", "b": "builtin"}


def _name(groups: Sequence[Any]) -> str:
    return groups[0].replace('""', '"') if groups[0] else str(groups[1]).lower()


def roles_needed(sql: str) -> set[str]:
    """Roles that the statements of a dump name."""
    found = {_name(match.groups()) for pattern in NEEDED for match in pattern.finditer(sql)}
    for policy in POLICY.finditer(sql):
        found |= {_name(match.groups()) for match in re.finditer(IDENTIFIER, policy[1])}
    return found - NOBODY


def globals_for(text: str, roles: Collection[str]) -> str:
    """The statements of pg_dumpall --globals-only about these roles alone: others keep the passwords that they have."""
    kept = []
    for line in text.splitlines():
        role, member = GLOBAL.match(line), MEMBER.match(line)
        if (role and _name(role.groups()) in roles) or (member and _name(member.groups()[2:4]) in roles):
            kept.append(line)
    return "".join(f"{line}\n" for line in kept)


def with_groups(text: str, roles: Collection[str], there: Collection[str]) -> set[str]:
    """The roles, and those that their memberships name: a GRANT of a role that is missing would fail."""
    found = set(roles)
    while True:
        own = [
            each.groups()
            for each in map(MEMBER.match, text.splitlines())
            if each and _name(each.groups()[2:4]) in found
        ]
        named = {_name(part) for groups in own for part in (groups[:2], groups[4:]) if any(part)}
        more = named - found - set(there)
        if not more:
            return found
        found |= more


def differences(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[str]:
    """Where a restored database is not what was backed up."""
    tables, there = wanted.get("tables", {}), found["tables"]
    for name in sorted(set(tables) | set(there)):
        if name not in there:
            yield f"the table {name} is missing"
        elif name not in tables:
            yield f"there is a table {name} that was not backed up"
        elif tables[name] != there[name]:
            yield f"{name} has {there[name]} rows, and had {tables[name]}"
    yield from schema_differences(wanted, found)


def schema_differences(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[str]:
    for key, value in wanted.get("schema", {}).items():
        if found["schema"].get(key) != value:
            yield f"{key}: {found['schema'].get(key)}, and was {value}"
    if "revision" in wanted and wanted["revision"] != found.get("revision"):
        yield f"the schema is at revision {found.get('revision')}, and was at {wanted['revision']}"


def aside(name: str, word: str, stamp: str) -> str:
    """A name beside the database's own. PostgreSQL cuts what is longer without a word."""
    tail = f"__{word}_{stamp}"
    if len(name.encode()) + len(tail) > LONGEST:
        # Of two that begin alike each has its own.
        tail = f"_{hashlib.sha256(name.encode()).hexdigest()[:8]}{tail}"
    head = name.encode()[: LONGEST - len(tail)].decode("utf-8", "ignore")
    return head + tail


def create_statement(name: str, source: Mapping[str, Any]) -> str:
    words = [f"CREATE DATABASE {quoted(name)} TEMPLATE template0 OWNER {quoted(source['owner'])}"]
    for word, key in (("ENCODING", "encoding"), ("LC_COLLATE", "collate"), ("LC_CTYPE", "ctype")):
        if source.get(key):
            words.append(f"{word} {literal(source[key])}")
    provider = PROVIDERS.get(source.get("provider") or "")
    if provider and source.get("locale"):
        words.append(f"LOCALE_PROVIDER {provider} {provider.upper()}_LOCALE {literal(source['locale'])}")
    return " ".join(words)


def property_statements(name: str, source: Mapping[str, Any]) -> Iterator[str]:
    """What belongs to the database itself, and is in no dump of what is in it."""
    database = quoted(name)
    if source.get("connection_limit", -1) != -1:
        yield f"ALTER DATABASE {database} CONNECTION LIMIT {int(source['connection_limit'])}"
    for role, settings in source.get("settings", []):
        for setting in settings:
            key, _equals, value = setting.partition("=")
            who = f"ALTER ROLE {quoted(role)} IN DATABASE {database}" if role else f"ALTER DATABASE {database}"
            yield f"{who} SET {_parameter(key)} TO {_setting(key, value)}"
    if "grants" in source:
        yield f"REVOKE ALL ON DATABASE {database} FROM PUBLIC"
        for role, privilege, grantable in source["grants"]:
            who = quoted(role) if role else "PUBLIC"
            yield f"GRANT {privilege} ON DATABASE {database} TO {who}" + (" WITH GRANT OPTION" if grantable else "")


def _parameter(name: str) -> str:
    return ".".join(quoted(part) for part in name.split("."))


def _setting(name: str, value: str) -> str:
    """Lists are stored as SQL has them, so they are given back as they are; all else is one text."""
    if name.lower() in ("search_path", "temp_tablespaces", "session_preload_libraries", "local_preload_libraries"):
        return value or "''"
    return literal(value)


def roles_of_source(source: Mapping[str, Any]) -> set[str]:
    """Roles that the database itself names."""
    named = {source["owner"], *(each[0] for each in source.get("settings", []))}
    return {each for each in named | {each[0] for each in source.get("grants", [])} if each}
