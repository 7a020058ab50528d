# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of others that let packets past the firewall, because they stand in front of it.

They are told of and left alone: they may be somebody's wish, and what put them there would put them there again.
Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ._ufw_load import ADOPT, BUILTIN, OWN, TOOLS, Table

# What ufw lets pass itself, whatever its rules are.
HARMLESS = re.compile(r"(?<!! )(?:-i lo|--(?:ct)?state (?:RELATED|ESTABLISHED)(?:,RELATED|,ESTABLISHED)?)(?: |$)")


def _target(rule: str) -> str:
    found = re.search(r"(?:^| )-[jg] (\S+)", re.sub(r'"[^"]*"', "", rule))
    return found[1] if found else ""


def _lets_pass(rule: str, table: Table, seen: frozenset[str]) -> bool:
    target = _target(rule)
    if rule == ADOPT or HARMLESS.search(rule) or OWN.match(target) or target in seen:
        return False
    return target == "ACCEPT" or any(_lets_pass(each, table, seen | {target}) for each in table.chains.get(target, []))


def _front(name: str, table: Table) -> list[str]:
    """What packets meet in a chain before they meet us; in FORWARD that is behind Docker's door, where there is one."""
    rules = table.chains.get(name, [])
    doors = [name == "FORWARD" and _target(rule) == "DOCKER-USER" for rule in rules]
    return rules[: doors.index(True) if True in doors else _first_jump(rules)]


def _first_jump(rules: Sequence[str]) -> int | None:
    return next((number for number, rule in enumerate(rules) if OWN.match(_target(rule))), None)


def in_front(tables: Mapping[int, Mapping[str, Table]]) -> list[str]:
    """The commands that show each of them, as iptables writes it; nothing where the firewall is not loaded."""
    found = []
    for family, each in tables.items():
        table = each.get("filter", Table())
        if not any(OWN.match(name) and rules for name, rules in table.chains.items()):
            continue
        for name in (*BUILTIN, "DOCKER-USER"):
            if name == "DOCKER-USER" and _first_jump(table.chains.get(name, [])) is None:
                continue
            for rule in _front(name, table):
                # To return from Docker's chain is to pass there: what follows is Docker's own, which lets all in.
                leaves = name == "DOCKER-USER" and _target(rule) == "RETURN" and not HARMLESS.search(rule)
                if leaves or _lets_pass(rule, table, frozenset()):
                    found.append(f"{TOOLS[family]} -A {name} {rule}")
    return list(dict.fromkeys(found))
