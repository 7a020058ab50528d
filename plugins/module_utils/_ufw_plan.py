# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the files that ufw has and the policy that is asked for to the policy that shall be.

Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ._ufw_rules import Rule, RuleError, desired, parse_rules

DIRECTIONS = {"incoming": "INPUT", "outgoing": "OUTPUT", "routed": "FORWARD"}
TARGETS = {"allow": "ACCEPT", "deny": "DROP", "reject": "REJECT"}
DEBIAN = {"incoming": "deny", "outgoing": "allow", "routed": "deny"}

DEFAULTS = "/etc/default/ufw"
CONF = "/etc/ufw/ufw.conf"
USER = {False: "/etc/ufw/user.rules", True: "/etc/ufw/user6.rules"}
AFTER = {False: "/etc/ufw/after.rules", True: "/etc/ufw/after6.rules"}


@dataclass(frozen=True)
class Policy:
    """All that can be asked for."""

    enabled: bool = False
    logging: str = "low"
    defaults: dict[str, str] = field(default_factory=lambda: dict(DEBIAN))
    rules: tuple[Rule, ...] = ()
    published: bool = False

    def family(self, v6: bool) -> list[Rule]:
        return [rule for rule in self.rules if rule.v6 == v6]

    def lines(self) -> list[str]:
        """What a diff shows: one line for each setting and each rule."""
        found = [f"status: {'enabled' if self.enabled else 'disabled'}", f"logging: {self.logging}"]
        found += [f"default {direction}: {self.defaults[direction]}" for direction in DIRECTIONS]
        found.append(f"published container ports obey the rules: {'yes' if self.published else 'no'}")
        for v6 in (False, True):
            found += [f"IPv{6 if v6 else 4} {rule}" for rule in self.family(v6)]
        return found


# --- reading ----------------------------------------------------------------------------------------------------------


def setting(text: str, key: str) -> str:
    """The value of a line KEY=value of a file that a shell reads; the last one wins there."""
    found = re.findall(rf"^{key}=[\"']?([^\"'\s]*)", text, re.MULTILINE)
    return found[-1] if found else ""


def set_setting(text: str, key: str, value: str) -> str:
    """The same file with another value; untouched where it has that value already."""
    if setting(text, key) == value:
        return text
    line = f'{key}="{value}"' if key.startswith("DEFAULT_") else f"{key}={value}"
    changed, count = re.subn(rf"^{key}=.*$", line, text, flags=re.MULTILINE)
    return changed if count else f"{text.rstrip()}\n{line}\n".lstrip()


def read_policy(files: Mapping[str, str], published: bool) -> Policy:
    """What ufw's files say; a host without them has nothing yet."""
    words = {target: word for word, target in TARGETS.items()}
    defaults = {
        direction: words.get(setting(files.get(DEFAULTS, ""), f"DEFAULT_{chain}_POLICY").upper(), DEBIAN[direction])
        for direction, chain in DIRECTIONS.items()
    }
    conf = files.get(CONF, "")
    rules = [rule for v6 in (False, True) for rule in parse_rules(files.get(USER[v6], ""), v6)]
    return Policy(
        enabled=setting(conf, "ENABLED").lower() == "yes",
        logging=setting(conf, "LOGLEVEL").lower() or "off",
        defaults=defaults,
        rules=tuple(rules),
        published=published,
    )


def parse_applications(sections: Mapping[str, Mapping[str, str]]) -> dict[str, list[tuple[str, str]]]:
    """Ports and protocol by profile: the files of /etc/ufw/applications.d say C(ports=80,443/tcp|443/udp)."""
    found: dict[str, list[tuple[str, str]]] = {}
    for name, values in sections.items():
        parts = [part.strip().partition("/") for part in values.get("ports", "").split("|") if part.strip()]
        if parts:
            found[name] = [(port, proto or "any") for port, _slash, proto in parts]
    return found


class AnyProfile(dict[str, list[tuple[str, str]]]):
    """For where the host cannot be asked yet: each profile counts as known."""

    def __contains__(self, _name: object) -> bool:
        return True

    def __missing__(self, _name: str) -> list[tuple[str, str]]:
        return [("any", "any")]


# --- planning ---------------------------------------------------------------------------------------------------------


def _name(number: int, entry: Mapping[str, Any]) -> str:
    """By its content too, as a role puts rules of its own in front of those that the user counts."""
    shown = {key: value for key, value in entry.items() if value not in (None, [], False, "", "both", "in")}
    return f"rules[{number}] {{{', '.join(f'{key}: {value}' for key, value in shown.items())}}}"


def expand(entries: Sequence[Mapping[str, Any]], apps: Mapping[str, list[tuple[str, str]]]) -> list[Rule]:
    """The rules of all entries in their order; every problem at once."""
    found: dict[Rule, tuple[int, Rule]] = {}
    problems = []
    for number, entry in enumerate(entries):
        try:
            rules = desired(entry, apps)
        except RuleError as exc:
            problems.append(f"{_name(number, entry)}: {exc}")
            continue
        for rule in rules:
            first, other = found.setdefault(rule.key, (number, rule))
            if (other.action, other.log) != (rule.action, rule.log):
                problems.append(
                    f"{_name(number, entry)} contradicts {_name(first, entries[first])}: ufw keeps one rule only for"
                    f" the same packets ({other.key}), so leave the other out"
                )
    if problems:
        raise RuleError("; ".join(dict.fromkeys(problems)))
    return [rule for _number, rule in found.values()]


def merge(current: Sequence[Rule], wanted: Sequence[Rule], purge: str) -> list[Rule]:
    """The wanted rules in their order, where the first of them stands now, and around them what stays.

    What stands for the same packets is replaced, whoever put it there.
    """
    keys = {rule.key for rule in wanted}
    stays = {"all": lambda _rule: False, "own": lambda rule: not rule.own, "none": lambda _rule: True}[purge]
    anchor = next((number for number, rule in enumerate(current) if rule.key in keys), len(current))
    before, after = (
        [rule for rule in part if rule.key not in keys and stays(rule)] for part in (current[:anchor], current[anchor:])
    )
    return [*before, *wanted, *after]


def plan(current: Policy, request: Mapping[str, Any], apps: Mapping[str, list[tuple[str, str]]]) -> Policy:
    """What shall be. A parameter that is not given leaves its part as it is."""
    wanted = expand(request["rules"], apps) if request.get("rules") is not None else None
    rules = list(current.rules)
    if wanted is not None:
        rules = []
        for v6 in (False, True):
            rules += merge(
                current.family(v6), [rule for rule in wanted if rule.v6 == v6], request.get("purge") or "own"
            )
    state, published = request.get("state"), request.get("published")
    return replace(
        current,
        enabled={"enabled": True, "disabled": False}.get(state or "", current.enabled),
        logging=request.get("logging") or current.logging,
        defaults={**current.defaults, **{k: v for k, v in (request.get("default") or {}).items() if v}},
        rules=tuple(rules),
        published=current.published if published is None else published,
    )
