# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values of PostgreSQL's parameters: read and compared as the server does.

Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

import math
import re
from typing import Any, Optional

# PostgreSQL minds the case of a unit: "kB" is one, "KB" and "mb" are not. Biggest first.
BYTES = {"TB": 1024**4, "GB": 1024**3, "MB": 1024**2, "kB": 1024, "B": 1}
MICROSECONDS = {"d": 86400 * 10**6, "h": 3600 * 10**6, "min": 60 * 10**6, "s": 10**6, "ms": 1000, "us": 1}
BASE = re.compile(r"(\d*)([A-Za-z]+)")
NUMBER = re.compile(
    r"\s*([+-]?(?:0[xX][0-9a-fA-F]+|\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?))\s*([A-Za-z]*)\s*"
)
TRUE, FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
# Second names of choices; pg_settings shows the other one.
CHOICES = {"archive": "replica", "hot_standby": "replica", "pglz": "on", "debug": "debug2"}


class UnitError(ValueError):
    """A value that PostgreSQL would not read."""


def _family(unit: str) -> tuple[dict[str, int], int]:
    """The family of a unit of pg_settings ("8kB", "ms"), and how much one of it is in the family's smallest."""
    found = BASE.fullmatch(unit)
    for family in (BYTES, MICROSECONDS):
        if found and found.group(2) in family:
            return family, int(found.group(1) or 1) * family[found.group(2)]
    raise UnitError(f"the unit {unit!r} is not known")


def _digits(text: str, octal: bool) -> float:
    bare = text.lstrip("+-")
    sign = -1 if text.startswith("-") else 1
    if bare[:2].lower() == "0x":
        return float(sign * int(bare, 16))
    if octal and re.fullmatch(r"0[0-7]+", bare):
        return float(sign * int(bare, 8))
    return float(text)


def number(value: Any, unit: Optional[str] = None, octal: bool = False) -> float:
    """A value in units of its parameter: "1GB" of one in "8kB" is 131072; without a unit it is one already."""
    found = NUMBER.fullmatch(str(value))
    amount = _digits(found.group(1), octal) if found and not isinstance(value, bool) else math.inf
    if not found or math.isinf(amount):
        example = f', as in "{"512MB" if _family(unit)[0] is BYTES else "15min"}"' if unit else ""
        raise UnitError(f"{value!r} is not a number{example}")
    given = found.group(2)
    if not given:
        return amount
    if not unit:
        raise UnitError(f"{value!r} has a unit, but is a plain number")
    family, one = _family(unit)
    if given not in family:
        raise UnitError(f"{value!r} has a unit that is not one of {', '.join(family)}")
    # A fraction is rounded to the next smaller unit: "30.1GB" is whole MB.
    smaller = [size for size in family.values() if size < family[given]]
    step = smaller[0] if smaller else 0
    size = amount * family[given]
    return (round(size / step) * step if step else size) / one


def whole(value: Any, unit: Optional[str] = None) -> int:
    """The same for a parameter of whole numbers: rounded half to even, and a leading 0 is octal."""
    return round(number(value, unit, octal=True))


def boolean(value: Any) -> bool:
    """PostgreSQL takes every beginning of a word that is clear: "t", "of"; not "o"."""
    text = str(value).lower()
    for words, answer in ((TRUE, True), (FALSE, False)):
        if text and text != "o" and any(word.startswith(text) for word in words):
            return answer
    raise UnitError(f"{value!r} is neither on nor off")


def _choice(text: str) -> str:
    word = text.lower()
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
