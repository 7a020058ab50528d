# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters over the answers of shipshape.stack.sshd_info."""

from __future__ import annotations

from typing import Any

from ansible_collections.shipshape.stack.plugins.module_utils._sshd_effective import deaf_ports, mismatches, parse
from ansible_collections.shipshape.stack.plugins.module_utils._sshd_lockout import problems
from ansible_collections.shipshape.stack.plugins.module_utils._sshd_settings import (
    build,
    match_keywords,
    match_users,
)


def sshd_settings(
    info: dict[str, Any], options: dict[str, Any], extra_ports: list[int] | None = None
) -> dict[str, list[str]]:
    """Keyword to lines, for the drop-in."""
    return build(options, info, extra_ports or [])


def sshd_lockout(
    info: dict[str, Any],
    options: dict[str, Any],
    ansible_port: int = 22,
    controller: str = "",
) -> list[str]:
    """What would shut the login out; C(controller) is the output of C(ssh -G)."""
    offered = {key: values[0].split(",") for key, values in parse(controller).items()}
    wanted = build(options, info)
    networks = options["sshd_admin_networks"] and options["sshd_admin_networks"] + options["sshd_controller_addresses"]
    return problems(wanted, info, int(ansible_port), offered, networks)


def sshd_mismatches(info: dict[str, Any], options: dict[str, Any], extra_ports: list[int] | None = None) -> list[str]:
    """Every keyword whose effective value is not the one asked for, for each user that was read, and deaf ports."""
    if info["error"]:
        return [info["error"]]
    wanted = build(options, info, extra_ports or [])
    keywords = {key.lower(): key for key in [*wanted, *match_keywords(options)]}.values()
    found: dict[str, None] = {}
    for user, effective in info["effective"].items():
        for message in mismatches(keywords, info["own"].get(user, {}), effective, info["directives"]):
            found[message if user not in match_users(options) else f"user {user}: {message}"] = None
    return [*found, *deaf_ports(wanted, info)]


def sshd_checked_users(options: dict[str, Any]) -> list[str]:
    """The users whose effective configuration is worth reading: root, and those with a Match block."""
    return sorted({"root", *match_users(options)})


class FilterModule:
    """The filters by name."""

    def filters(self):
        return {
            "sshd_checked_users": sshd_checked_users,
            "sshd_lockout": sshd_lockout,
            "sshd_mismatches": sshd_mismatches,
            "sshd_settings": sshd_settings,
        }
