# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values of PostgreSQL's parameters: read and compared as the server does.

Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

import re
from typing import Any, Optional

# PostgreSQL minds the case of a unit: "kB" is one, "KB" and "mb" are not.
BYTES = {"B": 1, "kB": 1024, "MB": 1024**2, "GB": 1024**3, "TB": 1024**4}
MICROSECONDS = {"us": 1, "ms": 1000, "s": 1000**2, "min": 60 * 1000**2, "h": 3600 * 1000**2, "d": 86400 * 1000**2}
BASE = re.compile(r"(\d*)([A-Za-z]+)")
# A number as strtol(…, 0) and strtod read it, and perhaps a unit.
NUMBER = re.compile(
    r"\s*([+-]?(?:0[xX][0-9a-fA-F]+|\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?))\s*([A-Za-z]*)\s*"
)
TRUE, FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
# Old and second names of choices; pg_settings shows the first.
CHOICES = {"archive": "replica", "hot_standby": "replica", "pglz": "on"}


class UnitError(ValueError):
    """A value that PostgreSQL would not read."""


def scale(unit: str) -> tuple[dict[str, int], int]:
    """The family of a unit of pg_settings ("8kB", "ms"), and how much one of it is in the family's smallest."""
    found = BASE.fullmatch(unit)
    for family in (BYTES, MICROSECONDS):
        if found and found.group(2) in family:
            return family, int(found.group(1) or 1) * family[found.group(2)]
    raise UnitError(f"the unit {unit!r} is not known")


def _digits(text: str) -> float:
    """The number itself; like strtol, a leading 0x is hexadecimal and a leading 0 is octal."""
    bare = text.lstrip("+-")
    sign = -1 if text.startswith("-") else 1
    if bare[:2].lower() == "0x":
        return sign * int(bare, 16)
    if re.fullmatch(r"0[0-7]+", bare):
        return sign * int(bare, 8)
    return float(text)


def number(value: Any, unit: Optional[str] = None) -> float:
    """A value in units of its parameter: "1GB" of one in "8kB" is 131072; without a unit it is one already."""
    text = str(value)
    found = NUMBER.fullmatch(text)
    if isinstance(value, bool) or not found:
        raise UnitError(f"{value!r} is not a number{', as in ' + _example(unit) if unit else ''}")
    amount, given = _digits(found.group(1)), found.group(2)
    if not given:
        return amount
    if not unit:
        raise UnitError(f"{value!r} has a unit, but is a plain number")
    family, one = scale(unit)
    if given not in family:
        raise UnitError(f"{value!r} has no unit that is known here: use one of {', '.join(family)}")
    return amount * family[given] / one


def _example(unit: str) -> str:
    return '"512MB"' if scale(unit)[0] is BYTES else '"15min"'


def whole(value: Any, unit: Optional[str] = None) -> int:
    """The same for a parameter of whole numbers, rounded as the server rounds (half to even)."""
    return round(number(value, unit))


def boolean(value: Any) -> bool:
    """PostgreSQL takes every beginning of a word that is clear: "t", "of"; not "o"."""
    text = str(value).strip().lower()
    for words, answer in ((TRUE, True), (FALSE, False)):
        if text and text != "o" and any(word.startswith(text) for word in words):
            return answer
    raise UnitError(f"{value!r} is neither on nor off")


def _choice(text: str) -> str:
    word = text.strip().lower()
    word = "on" if word in TRUE else "off" if word in FALSE else word
    return CHOICES.get(word, word)


def equal(wanted: str, setting: str, unit: Optional[str], vartype: str) -> bool:
    """Whether a wanted value is the one that a row of pg_settings has; one that cannot be read is not."""
    try:
        if vartype == "bool":
            return boolean(wanted) == boolean(setting)
        if vartype == "integer":
            return whole(wanted, unit) == whole(setting)
        if vartype == "real":
            # pg_settings prints six digits.
            return f"{number(wanted, unit):g}" == f"{number(setting):g}"
    except UnitError:
        return False
    if vartype == "enum":
        return _choice(wanted) == _choice(setting)
    return wanted == setting
