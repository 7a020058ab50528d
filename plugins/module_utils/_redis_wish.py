# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wanted of a Redis server, and what that changes on the running one."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.shipshape.stack.plugins.module_utils import _redis_host as host
from ansible_collections.shipshape.stack.plugins.module_utils._redis_plan import (
    IMMUTABLE,
    MANAGER,
    OWN,
    Flavour,
    RedisError,
    dangers,
    keyspace,
    merged,
    own_values,
    render,
    setting_changes,
    shown,
    shown_setting,
    user_changes,
    users_text,
)


@dataclass(frozen=True)
class Wish:
    """What the task asks for."""

    flavour: Flavour
    settings: Mapping[str, Any]
    users: Sequence[Mapping[str, Any]]
    passwords: Mapping[str, str]
    may_restart: bool = True
    accept_eviction: bool = False
    persist_seconds: int = 600
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)

    @property
    def directives(self) -> dict[str, list[str]]:
        return merged(self.flavour, self.settings)

    @property
    def users_text(self) -> str:
        manager = {"name": MANAGER, "rules": ["~*", "&*", "+@all"]}
        default = [] if any(user["name"] == "default" for user in self.users) else [{"name": "default", "rules": []}]
        return users_text([manager, *default, *self.users], {**self.passwords, MANAGER: self.secret})

    def files(self) -> dict[str, tuple[str, str, str, bool]]:
        """Path to text, mode, group, and whether nobody may see it."""
        flavour, directives = self.flavour, self.directives
        return {
            flavour.password_file: (f"{self.secret}\n", "0600", "root", True),
            flavour.users_file: (self.users_text, "0640", flavour.name, True),
            flavour.file: (render(directives), "0640", flavour.name, False),
            flavour.drop_in: (flavour.drop_in_text(directives["dir"][-1]), "0644", "root", False),
        }


def with_manager(text: str, wanted: str) -> str:
    """A file of users with the manager that another has, and all others as they are."""
    login = ["user", MANAGER]
    own = [line for line in wanted.splitlines() if line.split()[:2] == login]
    return "".join(f"{line}\n" for line in [*own, *(line for line in text.splitlines() if line.split()[:2] != login)])


@dataclass(frozen=True)
class Image:
    """What a server on the new files would say."""

    settings: dict[str, str]
    users: list[str]
    immutable: frozenset[str]


@dataclass(frozen=True)
class Changes:
    settings: dict[str, tuple[str, str]] = field(default_factory=dict)
    users: dict[str, tuple[str, str]] = field(default_factory=dict)
    restart: tuple[str, ...] = ()
    image: Image | None = None

    def __bool__(self) -> bool:
        return bool(self.settings or self.users)

    @property
    def live(self) -> list[str]:
        """Settings that the running server takes."""
        return [key for key in self.settings if key not in self.restart]

    def told(self, unit: str) -> list[dict[str, str]]:
        """The diff of the running server."""
        sides = []
        for side in (0, 1):
            lines = [shown_setting(key, pair[side]) for key, pair in self.settings.items()]
            lines += [shown(pair[side]) for pair in self.users.values() if pair[side]]
            sides.append("".join(f"{line}\n" for line in lines))
        header = {"before_header": f"{unit} (running)", "after_header": f"{unit} (running)"}
        return [{**header, "before": sides[0], "after": sides[1]}] if self else []


def imagine(wish: Wish, live_settings: Mapping[str, str]) -> Image:
    """Boot the new files beside the running server, and ask what cannot be changed while one runs."""
    directives = wish.directives
    with host.scratch(wish.flavour, render(directives), wish.users_text, wish.secret, _tls(wish)) as server:
        settings = {**server.settings(), **own_values(directives)}
        unknown = sorted(key for key in wish.settings if str(key).lower() not in settings)
        if unknown:
            raise RedisError(f"{', '.join(unknown)}: not a setting that this server knows by CONFIG GET. Leave it out")
        immutable = {
            key
            for key in setting_changes(live_settings, settings, wish.settings)
            if key in IMMUTABLE or (key not in (*OWN, "bind") and not _settable(server, key, settings[key]))
        }
        return Image(settings, server.users(), frozenset(immutable))


def _tls(wish: Wish) -> bool:
    return wish.directives["tls-port"][-1] != "0"


def certificate_missing(wish: Wish) -> bool:
    """An earlier task would have made it, had this not been check mode."""
    names = ("tls-cert-file", "tls-key-file", "tls-ca-cert-file") if _tls(wish) else ()
    paths = [wish.directives[name][-1].strip("\"'") for name in names if name in wish.directives]
    return not all(map(os.path.exists, filter(None, paths)))


def _settable(server: host.Server, key: str, value: str) -> bool:
    try:
        server.ask("CONFIG", "SET", key, value)
    except host.redis.ResponseError as exc:
        return not any(word in str(exc) for word in ("immutable", "protected"))
    return True


def find_changes(wish: Wish, server: host.Server, known: Image | None = None) -> Changes:
    settings = server.settings()
    image = known or imagine(wish, settings)
    found = setting_changes(settings, image.settings, wish.settings)
    if _tls(wish) and not any(key.startswith("tls-") for key in found) and host.serves_old_certificate(settings):
        # Renewed in its place: told the same path again, the server reads it anew.
        found.update({key: (settings[key], settings[key]) for key in ("tls-cert-file", "tls-key-file")})
    users = user_changes(server.users(), image.users)
    return Changes(found, users, tuple(sorted(image.immutable & found.keys())), image)


def refuse(wish: Wish, server: host.Server, changes: Changes) -> None:
    """Everything that speaks against it, before anything is changed."""
    databases = keyspace(server.info("keyspace"))
    used = int(server.info("memory")["used_memory"])
    limit = changes.settings.get("maxmemory", ("", server.ask("CONFIG", "GET", "maxmemory")[1]))[1]
    problems = dangers(changes.settings, databases, used, int(limit) if not wish.accept_eviction else 0)
    role = server.info("replication")
    if role.get("role") != "master":
        problems.append(f"the server is a replica of {role.get('master_host')}: the role does not manage replicas")
    if "aclfile" in changes.restart and not wish.may_restart and databases:
        problems.append(
            "restart never: the server has keys and runs without the role's files, and taking it over takes one"
            " restart, which keeps the keys. Allow it once (redis_restart: auto)"
        )
    if problems:
        raise RedisError("; ".join(problems))
