# Copyright: (c) 2026, The shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what the user asked for into a plan, or refuses it as a whole before any probe has run. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

from ._health_spec import (
    DEGRADED,
    UNHEALTHY,
    HealthError,
    Option,
    Probe,
    boolean,
    choice,
    did_you_mean,
    excerpt,
    integer,
    listing,
    seconds,
    text,
)

# Options of the whole call, besides `checks`.
CALL: Mapping[str, Option] = {
    "mode": Option(choice("all", "any"), "all"),
    "timeout": Option(seconds(), 30.0),
    "interval": Option(seconds(0.01), 1.0),
    "attempts": Option(integer(1, 100000)),
    "connect_timeout": Option(seconds()),
    "consecutive_successes": Option(integer(1, 1000), 1),
    "degraded_ok": Option(listing(text())),
    "fail": Option(boolean(), True),
    "fail_on": Option(choice(UNHEALTHY, DEGRADED), UNHEALTHY),
}
# Options of a check of any type, besides `type`.
COMMON: Mapping[str, Option] = {
    "name": Option(text(), required=True),
    "timeout": Option(seconds(), 5.0),
    "attempts": Option(integer(1, 100000)),
}


@dataclass(frozen=True)
class Check:
    name: str
    type: str
    probe: Probe
    timeout: float
    attempts: Optional[int]
    successes: int
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Plan:
    checks: tuple[Check, ...]
    mode: str = "all"
    timeout: float = 30.0
    interval: float = 1.0
    degraded_ok: frozenset[str] = field(default_factory=frozenset)
    fail: bool = True
    fail_on: str = UNHEALTHY


def read_plan(raw: Mapping[str, Any], registry: Mapping[str, Probe], only: Optional[Iterable[str]] = None) -> Plan:
    """The plan for what `raw` asks, cut down to the names in `only`; HealthError says everything that is wrong."""
    problems: list[str] = []
    call = _read(CALL, {key: raw[key] for key in raw if key != "checks"}, "", "the call", problems)
    entries = raw.get("checks")
    if not isinstance(entries, list) or not entries:
        raise HealthError(*problems, "checks: at least one check is needed")
    checks = [_check(entry, f"checks[{at}]", call, registry, problems) for at, entry in enumerate(entries)]
    first: dict[Any, int] = {}
    for at, entry in enumerate(entries):
        name = entry.get("name") if isinstance(entry, Mapping) else None
        if isinstance(name, str) and first.setdefault(name, at) != at:
            problems.append(f"checks[{at}].name: {name!r} is also the name of checks[{first[name]}]")
    for at, name in enumerate(call["degraded_ok"] or ()):
        if name not in first:
            problems.append(f"degraded_ok[{at}]: no check is called {name!r}{did_you_mean(name, first)}")
    wanted = list(only) if only is not None else list(first)
    problems += [f"no check is called {name!r}{did_you_mean(name, first)}" for name in wanted if name not in first]
    if problems:
        raise HealthError(*problems)
    return Plan(
        checks=tuple(check for check in checks if check and check.name in wanted),
        mode=call["mode"],
        timeout=call["timeout"],
        interval=call["interval"],
        degraded_ok=frozenset(call["degraded_ok"] or ()),
        fail=call["fail"],
        fail_on=call["fail_on"],
    )


def _check(
    entry: Any, path: str, call: Mapping[str, Any], registry: Mapping[str, Probe], problems: list[str]
) -> Optional[Check]:
    if not isinstance(entry, Mapping):
        problems.append(f"{path}: {excerpt(repr(entry), 60)} is not a mapping")
        return None
    kind = entry.get("type")
    if not isinstance(kind, str) or kind not in registry:
        said = "is missing" if kind is None else f"{kind!r} is not a type of check{did_you_mean(str(kind), registry)}"
        problems.append(f"{path}.type: {said}; known: {', '.join(registry)}")
        return None
    probe = registry[kind]
    before = len(problems)
    given = {key: value for key, value in entry.items() if key != "type"}
    options = _read({**COMMON, **probe.options}, given, f"{path}.", f"type {kind}", problems)
    if len(problems) == before:
        problems.extend(probe.agree(options, path))
    if options.get("connect_timeout") is None:
        options["connect_timeout"] = call["connect_timeout"]
    attempts: Optional[int] = options["attempts"] or (1 if probe.asked_once else call["attempts"])
    successes = 1 if probe.asked_once else call["consecutive_successes"]
    if attempts and successes and attempts < successes:
        problems.append(f"{path}.attempts: {attempts} can never make consecutive_successes ({successes})")
    return Check(options["name"], kind, probe, options["timeout"], attempts, successes, options)


def _read(
    known: Mapping[str, Option], raw: Mapping[str, Any], path: str, owner: str, problems: list[str]
) -> dict[str, Any]:
    """Every known option, read or by default. None is "not given", as Ansible hands it over."""
    read: dict[str, Any] = {}
    for key in raw:
        if raw[key] is not None and key not in known:
            near = did_you_mean(str(key), known)
            problems.append(f"{path}{key}: {owner} has no such option{near}; it has: {', '.join(known)}")
    for key, option in known.items():
        read[key] = option.default
        try:
            if raw.get(key) is not None:
                read[key] = option.kind.read(raw[key], path + key)
            elif option.required:
                problems.append(f"{path}{key}: {owner} needs it")
        except HealthError as exc:
            problems.extend(exc.problems)
    return read


def argument_spec(registry: Mapping[str, Probe]) -> dict[str, Any]:
    """Ansible's argument_spec for the same interface, so that there is one truth about types and choices.

    Needs and defaults of a check depend on its type, so they stay with read_plan.
    """
    options: dict[str, Any] = {"type": {"type": "str", "required": True, "choices": list(registry)}}
    for known in (COMMON, *(probe.options for probe in registry.values())):
        for name, option in known.items():
            options.setdefault(name, dict(option.kind.spec))
    options["name"]["required"] = True
    spec: dict[str, Any] = {
        name: {**option.kind.spec, **({} if option.default is None else {"default": option.default})}
        for name, option in CALL.items()
    }
    return {"checks": {"type": "list", "elements": "dict", "required": True, "options": options}, **spec}
