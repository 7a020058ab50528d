# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a firewall policy would shut out the login that Ansible came in with, or one of another controller.

Decided before anything is changed, by reading the rules as the kernel would.
Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ._ufw_plan import Policy
from ._ufw_rules import ANYWHERE, Rule


@dataclass(frozen=True)
class Connection:
    """A login: where from, and where it comes in. C(server) and C(interface) are empty where they are not known."""

    client: str
    server: str
    port: int
    interface: str = ""

    @property
    def v6(self) -> bool:
        return ipaddress.ip_address(self.client).version == 6


def logins(
    here: Mapping[str, Any] | None, params: Mapping[str, Any], route: Callable[[str], tuple[str, str]]
) -> list[Connection]:
    """Whom the firewall must let in: this connection, and what the task names beside it.

    C(route) tells the interface and the address that the host answers a client from. Where the client is of another
    family than this connection, that address is where it comes in.
    """
    client, server = (here["client"], here["server"]) if here else ("", "")
    ports = [here["server_port"]] if here and params["keep_connection"] else []
    found = []
    for each in dict.fromkeys([*([client] if client else []), *params["controllers"]]):
        interface, answers_from = route(each)
        target = server if server and (":" in server) == (":" in each) else answers_from
        found += [Connection(each, target, port, interface) for port in dict.fromkeys([*ports, *params["ssh_ports"]])]
    return found


def controller_problems(controllers: Sequence[str]) -> list[str]:
    """What cannot be judged: a name may mean another address tomorrow, and a network is not a controller."""
    problems = []
    for each in controllers:
        try:
            ipaddress.ip_address(each)
        except ValueError:
            problems.append(
                f"{each!r} is not an address of a controller: give an IPv4 or IPv6 address, no name or network"
            )
    return problems


def _in(address: str, network: str) -> bool:
    return ipaddress.ip_address(address) in ipaddress.ip_network(network, strict=False)


def _port_in(port: int, ports: str) -> bool:
    if ports == "any":
        return True
    ranges = [[int(number) for number in part.split(":")] for part in ports.split(",")]
    return any(part[0] <= port <= part[-1] for part in ranges)


def _destination_fits(rule: Rule, connection: Connection) -> bool:
    """An unknown destination is judged to our disadvantage, too."""
    if connection.server:
        return _in(connection.server, rule.dst)
    return rule.dst == ANYWHERE[rule.v6] or rule.action in ("deny", "reject")


def _interface_fits(rule: Rule, connection: Connection) -> bool:
    """An unknown interface is judged to our disadvantage."""
    if not rule.interface_in:
        return True
    if not connection.interface:
        return rule.action in ("deny", "reject")
    if rule.interface_in.endswith("+"):
        return connection.interface.startswith(rule.interface_in[:-1])
    return rule.interface_in == connection.interface


def deciding_rule(rules: Sequence[Rule], connection: Connection) -> Rule | None:
    """The first rule that a new connection like this one meets; None stands for the default policy.

    A rule for one source port says nothing: the next login comes from another one.
    """
    for rule in rules:
        if rule.v6 != connection.v6 or rule.forward or rule.direction != "in" or rule.proto not in ("any", "tcp"):
            continue
        if rule.sport != "any" and rule.action in ("allow", "limit"):
            continue
        if (
            _port_in(connection.port, rule.dport)
            and _in(connection.client, rule.src)
            and _destination_fits(rule, connection)
            and _interface_fits(rule, connection)
        ):
            return rule
    return None


def lockout(policy: Policy, connections: Sequence[Connection]) -> list[str]:
    """One line for each login that would be shut out, with the rule that would keep it."""
    problems: list[str] = []
    if not policy.enabled:
        return problems
    for connection in connections:
        if ipaddress.ip_address(connection.client).is_loopback:
            continue
        rule = deciding_rule(policy.rules, connection)
        if rule is None and policy.defaults["incoming"] == "allow":
            continue
        if rule is not None and rule.action in ("allow", "limit"):
            continue
        entry = f'{{rule: allow, proto: tcp, to_port: {connection.port}, from_ip: ["{connection.client}"]}}'
        if rule is None:
            problem = f"no rule allows it and the default is {policy.defaults['incoming']}: add {entry}"
        elif rule.own:
            problem = f"the rule '{rule}' comes first: add {entry} before it"
        else:
            problem = (
                f"the rule '{rule}', which somebody else made, comes first: remove it with `ufw delete`, or give"
                f" purge: all, and add {entry}"
            )
        where = f"port {connection.port}" + (f" of {connection.server}" if connection.server else "")
        problems.append(
            f"logins from {connection.client} to {where} would be shut out, as {problem}, or the network that"
            f" {connection.client} lies in"
        )
    return problems
