# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""certbot's renewal configuration as text: what stands in it, and single values changed in place. Pure.

certbot reads it with configobj: `key = value` lines, `[sections]`, and `[[sections]]` within those at their end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

SECTION = re.compile(r"^\s*(\[+)\s*([^\[\]]+?)\s*\]+\s*(#.*)?$")
SETTING = re.compile(r"^\s*([A-Za-z0-9_.*-]+)\s*=\s*(.*?)\s*$")
PARAMETERS = "renewalparams"
MAP = "webroot_map"
BEFORE = "renew_before_expiry"
DAY = 86400


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" else value


def parse(text: str) -> dict[str, dict[str, str]]:
    """Settings by section; those in front of all sections are in ''."""
    found: dict[str, dict[str, str]] = {"": {}}
    section = ""
    for line in text.splitlines():
        heading, setting = SECTION.match(line), SETTING.match(line)
        if heading:
            section = heading.group(2)
            found.setdefault(section, {})
        elif setting and not line.lstrip().startswith("#"):
            found[section][setting.group(1)] = _unquoted(setting.group(2))
    return found


def lifetime_before(seconds: float, days: int = 0) -> str:
    """When to renew a certificate of that lifetime, as certbot writes it; '' for certbot's own 30 days.

    A third of it is left then, or half of less than 10 days. certbot before 4.1 would renew at each run what lives less
    than 30 days.
    """
    if days:
        left = float(min(days * DAY, seconds / 2))
    elif seconds >= 60 * DAY:
        return ""
    else:
        left = seconds / (2 if seconds < 10 * DAY else 3)
    return f"{int(left // DAY)} days" if left >= DAY else f"{max(1, int(left // 3600))} hours"


def set_values(text: str, section: str, values: Mapping[str, str | None]) -> str:
    """The same text with these settings of a section; None takes one out."""
    left, lines, here, end = dict(values), [], "", None
    for line in text.splitlines():
        heading, setting = SECTION.match(line), SETTING.match(line)
        if heading:
            here = heading.group(2)
        elif here == section and setting and setting.group(1) in values:
            key = setting.group(1)
            wanted = left.pop(key, None)
            if wanted is None:
                continue
            line = line if _unquoted(setting.group(2)) == wanted else f"{key} = {wanted}"
        lines.append(line)
        if here == section:
            end = len(lines)
    added = [f"{key} = {value}" for key, value in left.items() if value is not None]
    if not added:
        return _joined(lines)
    if section == "":  # in front of everything, so that it belongs to no section
        return _joined([*added, *lines])
    if end is None:
        return _joined([*lines, f"[{section}]", *added])
    while end > 1 and not lines[end - 1].strip():
        end -= 1
    return _joined([*lines[:end], *added, *lines[end:]])


def set_map(text: str, webroots: Mapping[str, str]) -> str:
    """The same text with this webroot for each domain, or without any."""
    lines, here = [], ""
    for line in text.splitlines():
        heading = SECTION.match(line)
        here = heading.group(2) if heading else here
        if here != MAP:
            lines.append(line)
    if webroots:
        lines += [f"[[{MAP}]]", *(f"{domain} = {path}" for domain, path in webroots.items())]
    return _joined(lines)


def _joined(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def wanted(text: str, parameters: Mapping[str, str | None], webroots: Mapping[str, str], before: str | None) -> str:
    """The whole configuration as it should be; the same text, byte by byte, where it says so already."""
    found = parse(text)
    new = text
    known = found.get(PARAMETERS, {})
    if any(known.get(key) != value for key, value in parameters.items()):
        new = set_values(new, PARAMETERS, parameters)
    if found.get(MAP, {}) != dict(webroots):
        new = set_map(new, webroots)
    if before is not None and found[""].get(BEFORE, "") != before:
        new = set_values(new, "", {BEFORE: before or None})
    return new
