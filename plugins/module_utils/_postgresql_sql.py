# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names and values for SQL: everything that a playbook names goes through these functions.

Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

# A longer name is cut by PostgreSQL without an error, and would be created again and again.
NAME_BYTES = 63
# Settings whose value is a list of names (GUC_LIST_QUOTE): one literal would be one name.
LISTS = ("search_path", "temp_tablespaces", "session_preload_libraries", "local_preload_libraries")
SETTING = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)*")
ITEM = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([^",]*?))\s*(?:,|$)')


def name_problem(name: str) -> str:
    """Why this cannot be the name of anything; empty if it can."""
    if not name:
        return "is empty"
    if "\0" in name or "\n" in name:
        return "has a line break or a NUL"
    if len(name.encode()) > NAME_BYTES:
        return f"is longer than {NAME_BYTES} bytes, where PostgreSQL cuts"
    return ""


def ident(name: str) -> str:
    """A name, quoted always: what need not be quoted changes with each version's keywords."""
    if name_problem(name):
        raise ValueError(f"the name {name!r} {name_problem(name)}")
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def idents(names: Iterable[str]) -> str:
    return ", ".join(map(ident, names))


def literal(value: str) -> str:
    """A string, whatever standard_conforming_strings says."""
    if "\0" in value:
        raise ValueError("a value has a NUL")
    doubled = value.replace("'", "''")
    if "\\" not in value:
        return f"'{doubled}'"
    escaped = doubled.replace("\\", "\\\\")
    return f"E'{escaped}'"


def grantee(role: str) -> str:
    """PUBLIC has no name in the catalog; here it is the empty one."""
    return ident(role) if role else "PUBLIC"


def text(value: Any) -> str:
    """The value of a setting as PostgreSQL writes it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)


def items(value: str) -> list[str]:
    """The names in the value of a setting of LISTS; unquoted ones are folded as PostgreSQL does."""
    if not value.strip():
        return [""]
    found = []
    position = 0
    while position < len(value):
        match = ITEM.match(value, position)
        if not match:
            raise ValueError(f"{value!r} is not a list of names: separate them by commas, with closed quotes")
        found.append(match[1].replace('""', '"') if match[1] is not None else match[2].lower())
        position = match.end()
    return found


def same_setting(name: str, current: str, wanted: str) -> bool:
    if name.lower() in LISTS:
        return items(current) == items(wanted)
    return current == wanted


def setting_name(name: str) -> str:
    """One that SETTING has checked; the dot of an extension's setting stays outside of the quotes."""
    return ".".join(map(ident, name.split(".")))


def set_to(name: str, value: str) -> str:
    """The tail of ALTER ... SET."""
    if name.lower() in LISTS:
        return f"SET {setting_name(name)} TO {', '.join(map(literal, items(value)))}"
    return f"SET {setting_name(name)} TO {literal(value)}"
