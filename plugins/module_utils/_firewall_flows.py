# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From who may reach what, said in groups, to the rules of one host.

Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

import difflib
import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ._ufw_lockout import controller_problems
from ._ufw_plan import AnyProfile, expand
from ._ufw_published import interface_problems
from ._ufw_rules import RuleError

ANYWHERE = "any"
KEYS = {"to", "from", "ports", "proto", "comment"}
# Groups that the wiring gives a meaning: one that an inventory does not have is an empty one.
STANDARD = {"all", "lb", "app", "db", "cache", "monitoring"}


class FlowError(ValueError):
    """What the user is told."""


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def _check(number: int, flow: Any, groups: Mapping[str, Sequence[str]]) -> None:
    """A standard group that the inventory does not have is an empty one; a mistaken key, name or type is refused."""
    if not isinstance(flow, Mapping):
        raise FlowError(f"stack_flows[{number}] {flow!r} is no flow: write {{to: GROUP, ports: [PORT], from: [GROUP]}}")
    # By its content too, as those of stack_extra_flows are counted on.
    where = f"stack_flows[{number}] {{{', '.join(f'{key}: {value}' for key, value in flow.items())}}}"
    unknown, missing = sorted(set(flow) - KEYS), sorted({"to", "ports"} - set(flow))
    if unknown or missing:
        raise FlowError(
            f"{where}: {', '.join(unknown) or ', '.join(missing)} is {'not known' if unknown else 'missing'}"
        )
    for key in ("ports", "from"):
        given = flow.get(key, [])
        if isinstance(given, (str, Mapping)) or not isinstance(given, Sequence):
            raise FlowError(f"{where}: {key} is {given!r}, not a list: write [{given}]")
    known = STANDARD.union(groups)
    if flow["to"] not in sorted(known):
        raise FlowError(f"{where}: to {flow['to']!r} is not a group of the inventory{_near(flow['to'], known)}")
    for name in map(str, flow.get("from", [ANYWHERE])):
        if name != ANYWHERE and not _is_network(name) and name not in known:
            raise FlowError(
                f"{where}: from {name!r} is neither a group of the inventory, nor a network (CIDR), nor {ANYWHERE}"
                f"{_near(name, known)}"
            )


def _near(name: Any, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(str(name), sorted(known), 1)
    return f"; did you mean {near[0]}?" if near else "; a group may be there without hosts"


def _sources(
    flow: Mapping[str, Any], groups: Mapping[str, Sequence[str]], addresses: Mapping[str, Sequence[str]], host: str
) -> list[str]:
    """Addresses that may call; this host itself calls over the loopback interface, which is always open."""
    found: dict[str, None] = {}
    for name in map(str, flow.get("from", [ANYWHERE])):
        if name == ANYWHERE or _is_network(name):
            found[name] = None
            continue
        for other in groups.get(name, []):
            given = [str(address) for address in addresses.get(other, [])]
            bad = [address for address in given if not _is_network(address)]
            if other != host and (bad or not given):
                raise FlowError(
                    f"the address that {other} calls {host} from is not known ({', '.join(bad) or 'none given'} is"
                    f" not an address): set stack_addresses for {other}"
                )
            if other != host:
                found.update(dict.fromkeys(given))
    return [ANYWHERE] if ANYWHERE in found else list(found)


def rules(
    flows: Iterable[Mapping[str, Any]],
    group_names: Iterable[str],
    groups: Mapping[str, Sequence[str]],
    addresses: Mapping[str, Sequence[str]],
    host: str,
) -> list[dict[str, Any]]:
    """The entries of C(ufw_rules) for one host; nothing for a flow that nobody uses."""
    mine, found = {*group_names, "all"}, []
    for number, flow in enumerate(flows):
        _check(number, flow, groups)
        ports = ",".join(str(port) for port in flow["ports"])
        if flow["to"] not in mine or not ports:
            continue
        sources = _sources(flow, groups, addresses, host)
        if sources:
            found.append(
                {
                    "rule": "allow",
                    "proto": flow.get("proto", "tcp"),
                    "to_port": ports,
                    "from_ip": [] if sources == [ANYWHERE] else sources,
                    "comment": flow.get("comment", flow["to"]),
                }
            )
    return found


def problems(
    entries: Sequence[Mapping[str, Any]],
    interfaces: Sequence[str] | None = None,
    controllers: Sequence[str] = (),
) -> list[str]:
    """What is wrong with options of the role ufw, as far as it can be said without the host."""
    found = [f"ufw_{problem}" for problem in (interface_problems(interfaces) if interfaces is not None else [])]
    # They stand in rules of the role, too: once is enough.
    bad = [f"ufw_controller_addresses: {problem}" for problem in controller_problems(controllers)]
    if bad:
        return found + bad
    try:
        expand(entries, AnyProfile())
    except RuleError as exc:
        found.append(f"ufw_rules: {exc}")
    return found
