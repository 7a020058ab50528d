# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Administrators of a host: their accounts, keys and sudo rules, and what must never be done to them.

Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

import re
from typing import Any, Iterable

from ._public_key import KeyProblem, parse

NAME = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
SUDO_RULES = {"nopasswd": "ALL=(ALL:ALL) NOPASSWD: ALL", "password": "ALL=(ALL:ALL) ALL"}


def key_problem(key: Any) -> str:
    """Why a line is no public key that sshd would take; empty when it is one."""
    if not isinstance(key, str) or not key.strip():
        return "is empty"
    if "PRIVATE KEY" in key:
        return "is a private key; only public keys belong on a host"
    if "\n" in key.strip():
        return "has several lines; write one key per entry"
    try:
        kind = parse(key).type
    except KeyProblem as problem:
        return str(problem)
    return "is a DSA key, which sshd refuses" if kind == "ssh-dss" else ""


def _account_problems(admin: dict[str, Any], with_password: set[str]) -> list[str]:
    """What is wrong with one entry, whatever the others say."""
    name = admin.get("name")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        return [f"{name!r} is no name for an account; use a-z, 0-9, _ and -"]
    if name == "root":
        return ["root is no administrator of its own; name the people who may become root"]
    if admin.get("state", "present") == "absent":
        return []
    problems = [
        f"key {number} of {name} {problem}"
        for number, key in enumerate(admin.get("authorized_keys") or [], 1)
        for problem in [key_problem(key)]
        if problem
    ]
    if admin.get("sudo", "nopasswd") == "password" and name not in with_password:
        problems.append(
            f"{name} has 'sudo: password' but no password: give its hash in baseline_admin_password_hashes, or write "
            "'sudo: nopasswd'"
        )
    return problems


def _lockout_problems(
    present: dict[str, dict[str, Any]], absent: set[str], login_user: str, exclusive: bool, become_password: bool
) -> list[str]:
    """What would leave the host, or this very run, without a way in."""
    problems = []
    keyed = [name for name, admin in present.items() if admin["key"]]
    if login_user and login_user in absent:
        problems.append(
            f"{login_user} is the login of this run and cannot be removed by it; log in as another administrator"
        )
    if absent and not keyed and login_user in absent | {""}:
        problems.append(
            f"removing {', '.join(sorted(absent))} would leave no administrator with a key; "
            "add one with authorized_keys to baseline_admins first"
        )
    if exclusive:
        problems += [
            f"{name} has no authorized_keys, and baseline_admin_keys_exclusive would remove the ones on the host"
            for name in sorted(set(present) - set(keyed))
        ]
    login = present.get(login_user)
    if login and login["sudo"] == "password" and not become_password:
        problems.append(
            f"{login_user} is the login of this run: with 'sudo: password' the next task could not become root; "
            "run with --ask-become-pass, or write 'sudo: nopasswd'"
        )
    return problems


def administrators(
    admins: list[dict[str, Any]],
    login_user: str = "",
    exclusive: bool = False,
    with_password: Iterable[str] = (),
    become_password: bool = False,
) -> dict[str, Any]:
    """The accounts to keep and to remove, their sudo rules, and the problems that forbid any change.

    :param login_user: the account that this run came in with; empty when it is not known
    :param exclusive: keys that are not listed are removed
    :param with_password: names whose password hash is given
    :param become_password: this run can answer sudo's question for a password
    """
    passwords = set(with_password)
    problems = []
    present: dict[str, dict[str, Any]] = {}
    absent = set()
    for index, admin in enumerate(admins):
        found = _account_problems(admin, passwords)
        problems += [f"baseline_admins[{index}]: {problem}" for problem in found]
        name = admin.get("name")
        if not isinstance(name, str):
            continue
        if name in present or name in absent:
            problems.append(f"baseline_admins[{index}]: {name} is listed twice")
        if admin.get("state", "present") == "absent":
            absent.add(name)
            continue
        present[name] = {
            "name": name,
            "shell": admin.get("shell") or "/bin/bash",
            "groups": list(admin.get("groups", ["sudo"]) or []),
            "sudo": admin.get("sudo") or "nopasswd",
            "rule": f"{name} {SUDO_RULES.get(admin.get('sudo') or 'nopasswd', '')}",
            "key": "\n".join(key.strip() for key in admin.get("authorized_keys") or [] if isinstance(key, str)),
        }
    problems += _lockout_problems(present, absent, login_user or "", exclusive, become_password)
    unused = passwords - set(present)
    problems += [f"baseline_admin_password_hashes: {name} is not among baseline_admins" for name in sorted(unused)]
    return {
        "present": list(present.values()),
        "absent": sorted(absent),
        "problems": problems,
    }
