# Copyright: (c) 2026, The shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dotted paths into a JSON document, and conditions on what is found there. Pure.

A path is names joined by dots; a list index is a number in brackets or after a dot (`checks[0].name`, `checks.0.name`);
a backslash takes the dot, bracket or backslash after it literally.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Union

from ._health_spec import HealthError, did_you_mean, excerpt

MISSING = object()
Step = Union[str, int]
_STEP = re.compile(r"\[(?P<index>-?\d+)\]|(?P<dot>\.)?(?P<name>(?:[^.\[\]\\]|\\[.\[\]\\])+)", re.DOTALL)


def parse_path(path: str) -> tuple[Step, ...]:
    """`a.b[0]` -> ("a", "b", 0). Raises ValueError for a path that says nothing definite."""
    steps: list[Step] = []
    at = 0
    while at < len(path):
        match = _STEP.match(path, at)
        # A name follows a dot unless it is the first; an index never does.
        if match is None or (match["name"] is not None and bool(match["dot"]) == (at == 0)):
            raise ValueError(f"{path!r} is not a path like checks.database or queues[0].length")
        steps.append(int(match["index"]) if match["name"] is None else re.sub(r"\\(.)", r"\1", match["name"]))
        at = match.end()
    if not steps:
        raise ValueError("a path cannot be empty")
    return tuple(steps)


def format_path(steps: tuple[Step, ...]) -> str:
    """The inverse of parse_path."""
    parts = [f"[{s}]" if isinstance(s, int) else "." + re.sub(r"([.\[\]\\])", r"\\\1", s) for s in steps]
    return "".join(parts).removeprefix(".")


def lookup(document: Any, steps: tuple[Step, ...]) -> Any:
    """The value at the path, or MISSING."""
    for step in steps:
        if isinstance(document, Mapping):
            document = document.get(str(step), MISSING)
        elif isinstance(document, list) and re.fullmatch(r"-?\d+", str(step)):
            index = int(step)
            document = document[index] if -len(document) <= index < len(document) else MISSING
        else:
            return MISSING
    return document


def same(left: Any, right: Any) -> bool:
    """Equality as JSON means it: true is not 1."""
    return left == right and isinstance(left, bool) == isinstance(right, bool)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


OPERATORS: dict[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "eq": ("", same),
    "ne": ("anything but ", lambda found, wanted: not same(found, wanted)),
    "lt": ("below ", lambda found, wanted: _number(found) and found < wanted),
    "le": ("at most ", lambda found, wanted: _number(found) and found <= wanted),
    "gt": ("above ", lambda found, wanted: _number(found) and found > wanted),
    "ge": ("at least ", lambda found, wanted: _number(found) and found >= wanted),
    "in": ("one of ", lambda found, wanted: any(same(found, one) for one in wanted)),
    "regex": ("text like ", lambda found, wanted: isinstance(found, str) and bool(re.search(wanted, found))),
    "exists": ("", lambda found, wanted: (found is not MISSING) == wanted),
}


@dataclass(frozen=True)
class Condition:
    path: str
    steps: tuple[Step, ...]
    operators: tuple[tuple[str, Any], ...]

    def holds(self, document: Any) -> bool:
        found = lookup(document, self.steps)
        return all(
            OPERATORS[name][1](found, wanted) if found is not MISSING or name == "exists" else False
            for name, wanted in self.operators
        )

    def explain(self, document: Any) -> str:
        """Value and wish, for a condition that does not hold."""
        found = lookup(document, self.steps)
        what = "is missing" if found is MISSING else f"is {excerpt(repr(found), 60)}"
        return f"{self.path} {what}, wanted {self.wish()}"

    def wish(self) -> str:
        return " and ".join(
            ("to be there" if wanted else "absence") if name == "exists" else OPERATORS[name][0] + repr(wanted)
            for name, wanted in self.operators
        )


def read_condition(key: Any, value: Any, path: str) -> Condition:
    """One entry of `json:`; a mapping holds operators, anything else is the value that is expected."""
    try:
        steps = parse_path(key if isinstance(key, str) else f"[{key:d}]" if isinstance(key, int) else "")
    except ValueError as exc:
        raise HealthError(f"{path}: {exc}") from exc
    if not isinstance(value, Mapping):
        return Condition(str(key), steps, (("eq", value),))
    if not value:
        raise HealthError(f"{path}: an empty condition; give a value or one of {', '.join(OPERATORS)}")
    return Condition(str(key), steps, tuple((name, _operand(name, value[name], f"{path}.{name}")) for name in value))


def _operand(name: str, value: Any, path: str) -> Any:
    if name not in OPERATORS:
        near = did_you_mean(str(name), OPERATORS)
        raise HealthError(f"{path}: unknown operator{near}; known: {', '.join(OPERATORS)}")
    if name in ("lt", "le", "gt", "ge"):
        try:
            # Jinja that is not native hands numbers over as text.
            return float(value) if isinstance(value, str) else value + 0
        except (TypeError, ValueError):
            raise HealthError(f"{path}: {value!r} is not a number") from None
    if name == "in" and not isinstance(value, list):
        raise HealthError(f"{path}: {value!r} is not a list")
    if name == "exists" and not isinstance(value, bool):
        raise HealthError(f"{path}: {value!r} is not true or false")
    if name == "regex":
        try:
            re.compile(value)
        except (re.error, TypeError) as exc:
            raise HealthError(f"{path}: {value!r} is not a regular expression: {exc}") from exc
    return value
