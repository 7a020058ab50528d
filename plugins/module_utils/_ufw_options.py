# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parameters of ufw_ruleset, and what is wrong with them as such.

Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ._ufw_lockout import controller_problems
from ._ufw_published import interface_problems
from ._ufw_rules import RuleError

POLICIES = {"type": "str", "choices": ["allow", "deny", "reject"]}
RULE_SPEC: dict[str, Any] = {
    "rule": {"type": "str", "choices": ["allow", "deny", "reject", "limit"], "default": "allow"},
    "direction": {"type": "str", "choices": ["in", "out"], "default": "in"},
    "route": {"type": "bool", "default": False},
    "proto": {
        "type": "str",
        "choices": ["any", "tcp", "udp", "ipv6", "esp", "ah", "igmp", "gre", "vrrp"],
        "default": "any",
    },
    "from_ip": {"type": "list", "elements": "str"},
    "from_port": {"type": "str"},
    "to_ip": {"type": "list", "elements": "str"},
    "to_port": {"type": "str"},
    "name": {"type": "str"},
    "interface": {"type": "str"},
    "interface_in": {"type": "str"},
    "interface_out": {"type": "str"},
    "family": {"type": "str", "choices": ["both", "ipv4", "ipv6"], "default": "both"},
    "log": {"type": "str", "choices": ["new", "all"]},
    "comment": {"type": "str"},
}
ARGUMENT_SPEC: dict[str, Any] = {
    "state": {"type": "str", "choices": ["enabled", "disabled", "confirmed"]},
    "default": {"type": "dict", "options": dict.fromkeys(("incoming", "outgoing", "routed"), POLICIES)},
    "logging": {"type": "str", "choices": ["off", "low", "medium", "high", "full"]},
    "rules": {"type": "list", "elements": "dict", "options": RULE_SPEC},
    "purge": {"type": "str", "choices": ["own", "all", "none"], "default": "own"},
    "published": {"type": "bool"},
    "docker_interfaces": {"type": "list", "elements": "str"},
    "ssh_ports": {"type": "list", "elements": "int", "default": []},
    "keep_connection": {"type": "bool", "default": True},
    "controllers": {"type": "list", "elements": "str", "default": []},
    "rollback": {"type": "int"},
}


def check(params: Mapping[str, Any]) -> None:
    """Refuse what can be refused without the host; every problem at once."""
    problems = []
    if params["state"] == "confirmed":
        others = [name for name in ("default", "logging", "rules", "published", "rollback") if params[name] is not None]
        if others:
            problems.append(f"state: confirmed takes no other parameter: leave {', '.join(others)} out")
    elif params["rollback"] is not None and not 10 <= params["rollback"] <= 3600:
        problems.append(f"rollback is {params['rollback']}: give 10 to 3600 seconds")
    if params["docker_interfaces"] is not None:
        problems += interface_problems(params["docker_interfaces"])
    problems += [f"controllers: {problem}" for problem in controller_problems(params["controllers"])]
    if problems:
        raise RuleError("; ".join(problems))
