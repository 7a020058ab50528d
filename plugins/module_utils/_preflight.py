# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that makes a host unfit for site.yml, found before anything is changed on any host.

Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

import re
from typing import Any, Iterable

from ._role_interface import missing_variables, unknown_variables


def system_problems(facts: dict[str, Any], supported: dict[str, list[str]]) -> list[str]:
    """The distribution and its version."""
    name, version = facts.get("distribution", "unknown"), str(facts.get("distribution_version", ""))
    # Debian says 12.11 for a point release, Ubuntu 24.04 for a release: either is compared up to its own length.
    if any(version == known or version.startswith(known + ".") for known in supported.get(name, [])):
        return []
    known = ", ".join(f"{system} {' '.join(versions)}" for system, versions in supported.items())
    return [f"{name} {version} is not supported (stack_supported_systems): use one of {known}"]


def size_problems(facts: dict[str, Any], needs: dict[str, dict[str, int]], groups: Iterable[str]) -> list[str]:
    """Memory, and free room on the root file system, against what the host's groups need together."""
    on_host = [needs[group] for group in ["all", *groups] if group in needs]
    memory = sum(need.get("memory_mb", 0) for need in on_host)
    disk = sum(need.get("disk_mb", 0) for need in on_host)
    found = []
    has_memory = int(facts.get("memtotal_mb", 0))
    if has_memory < memory:
        found.append(
            f"{has_memory} MiB of memory, and its groups need {memory} (stack_requirements): give the host more or move"
            " a group to another host"
        )
    root = next((mount for mount in facts.get("mounts", []) if mount.get("mount") == "/"), None)
    # A container's root is no device, and the facts leave it out.
    free = int(root["size_available"]) // 1024**2 if root and "size_available" in root else None
    if free is not None and free < disk:
        found.append(f"{free} MiB free on /, and its groups need {disk} (stack_requirements): make room")
    return found


def clock_problems(facts: dict[str, Any], now: float, tolerance: int) -> list[str]:
    """The host's clock against the controller's."""
    epoch = facts.get("date_time", {}).get("epoch")
    if epoch is None:
        return []
    offset = round(float(epoch) - float(now))
    if abs(offset) <= tolerance:
        return []
    return [
        f"its clock is {abs(offset)} s {'ahead of' if offset > 0 else 'behind'} the controller's (stack_clock_tolerance"
        f" {tolerance} s): certificates and package signatures would be refused; set the clock first"
    ]


def administrator_problems(facts: dict[str, Any], values: dict[str, Any]) -> list[str]:
    """A host that would be left without a way in for a person."""
    admins = values.get("baseline_admins") or []
    with_key = [
        admin
        for admin in admins
        if isinstance(admin, dict) and admin.get("state", "present") == "present" and admin.get("authorized_keys")
    ]
    if with_key:
        return []
    user = values.get("ansible_user") or values.get("ansible_ssh_user") or facts.get("user_id")
    root_shut = (values.get("sshd_permit_root_login") or "no") == "no"
    by_password = any(values.get(name) for name in ("ansible_password", "ansible_ssh_pass"))
    if user == "root" and root_shut:
        return [
            "no administrator with a key: Ansible logs in as root, which will be shut; name one with authorized_keys in"
            " baseline_admins"
        ]
    if by_password and not values.get("sshd_password_authentication"):
        return [
            "no administrator with a key: Ansible logs in with a password, which will be switched off; name one with"
            " authorized_keys in baseline_admins"
        ]
    return []


def jump_problems(values: dict[str, Any], names: Iterable[str], proxy_arguments: Iterable[str]) -> list[str]:
    """A host that others are reached through, and that is about to stop forwarding."""
    if (values.get("sshd_allow_tcp_forwarding") or "no") not in ("no", "remote"):
        return []
    for arguments in proxy_arguments:
        words = re.split(r"[\s=,@'\"\[\]]+", arguments)
        hosts = {word if word.count(":") > 1 else word.partition(":")[0] for word in words}
        by_proxy = re.search(r"ProxyJump|ProxyCommand|(^|\s)-[JW]", arguments)
        if by_proxy and hosts & set(names):
            return [
                f"other hosts are reached through it ({arguments.strip()}), and sshd_allow_tcp_forwarding would cut"
                " them off: set it to local for this host"
            ]
    return []


def problems(
    facts: dict[str, Any],
    names: Iterable[str],
    values: dict[str, Any],
    specs: dict[str, dict[str, Any]],
    settings: dict[str, Any],
    groups: Iterable[str],
    now: float,
) -> list[str]:
    """One line for each thing that is wrong, in the order in which one would mend them.

    C(names) are those of the host's variables, C(values) the values of the few that are judged here (the others may
    hold secrets, or need what is not known yet), C(specs) the argument specifications by role, C(settings) the
    C(stack_*) variables with their defaults.
    """
    found = system_problems(facts, settings["stack_supported_systems"])
    found += size_problems(facts, settings["stack_requirements"], groups)
    found += clock_problems(facts, now, int(settings["stack_clock_tolerance"]))
    found += administrator_problems(facts, values)
    found += jump_problems(values, values.get("names", []), values.get("proxy_arguments", []))
    names = list(names)
    for role, spec in specs.items():
        own = [name for name in names if name.startswith(role + "_")]
        found += missing_variables(own, spec)
        found += unknown_variables(own, spec)
    stack: dict[str, Any] = {"argument_specs": {"main": {"options": {key: {} for key in settings}}}}
    found += unknown_variables([name for name in names if name.startswith("stack_")], stack)
    return found
