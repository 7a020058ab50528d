# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which registries the client is logged in to, and what has to be done about it.

Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

# What Docker's client calls Docker Hub in its file.
HUB = "https://index.docker.io/v1/"
HUB_NAMES = ("docker.io", "index.docker.io", "registry-1.docker.io")


class LoginError(Exception):
    """Why nothing can be said about the logins."""


@dataclass(frozen=True)
class Step:
    """One call of the client."""

    registry: str
    username: str
    login: bool

    def argv(self, folder: str) -> list[str]:
        verb = ["login", "--username", self.username, "--password-stdin"] if self.login else ["logout"]
        return ["docker", "--config", folder, *verb, *([] if self.registry in HUB_NAMES else [self.registry])]


def stored(text: str) -> dict[str, Any]:
    """The entries of a config.json, by registry."""
    try:
        content = json.loads(text or "{}")
    except ValueError as exc:
        raise LoginError(f"it is not JSON ({exc}): put it right, or remove it") from exc
    if not isinstance(content, dict) or not isinstance(content.get("auths", {}), dict):
        raise LoginError("it is not a configuration of Docker's client: put it right, or remove it")
    for key in ("credsStore", "credHelpers"):
        if content.get(key):
            raise LoginError(f"{key} keeps the passwords elsewhere, where they cannot be compared: remove that key")
    return dict(content.get("auths", {}))


def plan(text: str, logins: Iterable[Mapping[str, Any]], passwords: Mapping[str, str]) -> list[Step]:
    """What is missing, and what is too much; other registries are left alone."""
    entries = stored(text)
    steps = []
    for login in logins:
        name, user = str(login["registry"]), str(login.get("username") or "")
        entry = entries.get(HUB if name in HUB_NAMES else name)
        if login.get("state", "present") == "absent":
            wrong = entry is not None
            steps += [Step(name, user, login=False)] if wrong else []
            continue
        if not user or not passwords.get(name):
            raise LoginError(f"{name} needs a user name and a password")
        wanted = base64.b64encode(f"{user}:{passwords[name]}".encode()).decode("ascii")
        if not isinstance(entry, dict) or entry.get("auth") != wanted:
            steps.append(Step(name, user, login=True))
    return steps
