# Copyright: (c) 2026, The shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ground that every probe stands on: states, outcomes, and the kinds of values that a check may carry.

Private to the collection; pure, standard library only. The same file runs on the host as part of `shipshape`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Optional

HEALTHY, DEGRADED, UNHEALTHY = STATES = ("healthy", "degraded", "unhealthy")
SKIPPED = "skipped"  # A check that does not apply here: it neither passes nor fails.
EXCERPT = 200


class HealthError(ValueError):
    """What was asked for is wrong; carries one line for every wrong value, each with its path."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Outcome:
    """What one attempt of one probe found."""

    status: str
    detail: str
    http_status: Optional[int] = None
    json: Any = None


@dataclass(frozen=True)
class Kind:
    """A kind of value: how Ansible's argument_spec says it, and how a raw value is read or refused."""

    spec: Mapping[str, Any]
    read: Callable[[Any, str], Any]


@dataclass(frozen=True)
class Option:
    kind: Kind
    default: Any = None
    required: bool = False


def _agree(options: Mapping[str, Any], path: str) -> Iterable[str]:
    return ()


@dataclass(frozen=True)
class Probe:
    """One type of check. `run(options, seconds)` does the I/O and hands what it saw to a pure function.

    `asked_once` marks what waiting does not mend (a full disk); `agree` yields what is wrong between options.
    """

    options: Mapping[str, Option]
    run: Callable[[Mapping[str, Any], float], Outcome]
    asked_once: bool = False
    agree: Callable[[Mapping[str, Any], str], Iterable[str]] = _agree


def excerpt(text: str, limit: int = EXCERPT) -> str:
    """One bounded line without control characters: what a service says must not steer a terminal."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= limit else line[: limit - 3] + "..."


def did_you_mean(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def worst(statuses: Iterable[str]) -> str:
    return max(statuses, key=STATES.index, default=HEALTHY)


def judge(problems: Iterable[str], warnings: Iterable[str], fine: str) -> tuple[str, str]:
    """Status and detail out of what is broken and what is only doubtful; everything found is said."""
    bad, doubtful = list(problems), list(warnings)
    status = UNHEALTHY if bad else DEGRADED if doubtful else HEALTHY
    return status, "; ".join(bad + doubtful) or fine


def level(value: float, degraded: Optional[float], unhealthy: Optional[float]) -> str:
    """Where a measured value stands; a limit that is reached counts, one that is absent does not."""
    if unhealthy is not None and value >= unhealthy:
        return UNHEALTHY
    return DEGRADED if degraded is not None and value >= degraded else HEALTHY


def thresholds(low: str, high: str) -> Callable[[Mapping[str, Any], str], Iterable[str]]:
    def agree(options: Mapping[str, Any], path: str) -> Iterable[str]:
        degraded, unhealthy = options[low], options[high]
        if degraded is not None and unhealthy is not None and degraded > unhealthy:
            yield f"{path}.{low}: {degraded:g} is above {high} ({unhealthy:g})"

    return agree


# -- Kinds ---------------------------------------------------------------------------------------------------


def _refuse(value: Any, path: str, wanted: str) -> HealthError:
    return HealthError(f"{path}: {excerpt(repr(value), 60)} is not {wanted}")


def text() -> Kind:
    def read(value: Any, path: str) -> str:
        if not isinstance(value, str) or not value.strip() or "\0" in value:
            raise _refuse(value, path, "text")
        return value

    return Kind({"type": "str"}, read)


def path_name() -> Kind:
    def read(value: Any, path: str) -> str:
        if not isinstance(value, str) or not value.startswith("/") or "\0" in value:
            raise _refuse(value, path, "an absolute path")
        return value

    return Kind({"type": "path"}, read)


def regex() -> Kind:
    def read(value: Any, path: str) -> str:
        try:
            re.compile(value)
        except (re.error, TypeError) as exc:
            raise HealthError(f"{path}: {excerpt(repr(value), 60)} is not a regular expression: {exc}") from exc
        return str(value)

    return Kind({"type": "str"}, read)


def integer(low: int, high: int, noun: str = "a whole number") -> Kind:
    def read(value: Any, path: str) -> int:
        # Templated values arrive as text where Jinja is not native.
        whole = not isinstance(value, (bool, float)) and re.fullmatch(r"-?\d{1,18}", str(value).strip())
        if not whole or not low <= int(value) <= high:
            raise _refuse(value, path, f"{noun} ({low}-{high})")
        return int(value)

    return Kind({"type": "int"}, read)


def port() -> Kind:
    return integer(1, 65535, "a port")


def number(low: float, high: float, noun: str = "a number") -> Kind:
    def read(value: Any, path: str) -> float:
        try:
            read_as = None if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            read_as = None
        if read_as is None or not low <= read_as <= high:
            raise _refuse(value, path, f"{noun} ({low:g}-{high:g})")
        return read_as

    return Kind({"type": "float"}, read)


def seconds(low: float = 0.1) -> Kind:
    return number(low, 86400, "a number of seconds")


def percent() -> Kind:
    return number(0, 100, "a percentage")


def boolean() -> Kind:
    words = {"true": True, "yes": True, "false": False, "no": False}

    def read(value: Any, path: str) -> bool:
        if isinstance(value, bool):
            return value
        if str(value).lower() not in words:
            raise _refuse(value, path, "true or false")
        return words[str(value).lower()]

    return Kind({"type": "bool"}, read)


def choice(*words: str) -> Kind:
    def read(value: Any, path: str) -> str:
        if value not in words:
            raise _refuse(value, path, f"one of {', '.join(words)}{did_you_mean(str(value), words)}")
        return str(value)

    return Kind({"type": "str", "choices": list(words)}, read)


def listing(item: Kind) -> Kind:
    def read(value: Any, path: str) -> list[Any]:
        if isinstance(value, (str, int)):
            value = [value]
        if not isinstance(value, (list, tuple)) or not value:
            raise _refuse(value, path, "a list with something in it")
        return [item.read(entry, f"{path}[{index}]") for index, entry in enumerate(value)]

    return Kind({"type": "list", "elements": item.spec["type"]}, read)


def mapping(read_entry: Callable[[Any, Any, str], Any], **spec: Any) -> Kind:
    """A mapping whose entries are read by `read_entry(key, value, path)`."""

    def read(value: Any, path: str) -> dict[Any, Any]:
        if not isinstance(value, Mapping) or not value:
            raise _refuse(value, path, "a mapping with something in it")
        return {key: read_entry(key, entry, f"{path}[{key!r}]") for key, entry in value.items()}

    return Kind({"type": "dict", **spec}, read)
