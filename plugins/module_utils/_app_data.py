# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the servers of data, the memory budget and the apps themselves have to know of apps.

Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Optional
from urllib.parse import quote, urlencode

from ._app_edge import sound
from ._app_model import normal, problems
from ._postgresql_model import ObjectsError
from ._postgresql_wanted import parse

# What the role postgresql calls alike.
DATABASE_KEYS = ("extensions", "schemas", "settings", "connection_limit", "locale", "readers", "writers")
LEAST_PASSWORD = 12  # of Redis, which does not slow guesses down


def databases(apps: Any) -> list[dict[str, Any]]:
    """Entries of postgresql_databases. Two apps may have one database; it is what the first of them says."""
    found: dict[str, dict[str, Any]] = {}
    for app in _with("database", apps):
        own = app["database"]
        entry = {key: own[key] for key in DATABASE_KEYS if own[key] not in (None, [])}
        found.setdefault(own["name"], {"name": own["name"], "owner": own["owner"], **entry})
    return list(found.values())


def roles(apps: Any) -> list[dict[str, Any]]:
    """Entries of postgresql_roles: the owners."""
    return [{"name": name} for name in dict.fromkeys(app["database"]["owner"] for app in _with("database", apps))]


def role_passwords(apps: Any) -> dict[str, str]:
    """For postgresql_role_passwords."""
    own = [app["database"] for app in _with("database", apps)]
    return {each["owner"]: each["password"] for each in own if each["password"]}


def redis_users(apps: Any) -> list[dict[str, Any]]:
    """Entries of redis_users: each app has its own keys and channels."""
    found = []
    for app in _with("cache", apps):
        cache = app["cache"]
        rules = [f"~{each}" for each in cache["keys"]] + [f"&{each}" for each in cache["channels"]] + cache["commands"]
        found.append({"name": cache["user"], "rules": rules})
    return found


def redis_passwords(apps: Any) -> dict[str, str]:
    """For redis_user_passwords."""
    return {
        each["cache"]["user"]: each["cache"]["password"] for each in _with("cache", apps) if each["cache"]["password"]
    }


def _with(key: str, apps: Any) -> list[dict[str, Any]]:
    return [app for app in sound(apps) if app[key]]


def environment(
    app: Mapping[str, Any], database: Optional[Mapping[str, Any]] = None, cache: Optional[Mapping[str, Any]] = None
) -> dict[str, str]:
    """DATABASE_URL and REDIS_URL, but for what the app sets itself.

    `database` is {host, port, parameters}, `cache` is {host, port, tls}; without one of them its URL is left out.
    """
    if problems(app):
        return {}
    made, found = normal(app), {}
    if database and made["database"] and made["database"]["password"]:
        found[made["database"]["variable"]] = _database_url(made["database"], database)
    if cache and made["cache"] and made["cache"]["password"]:
        found[made["cache"]["variable"]] = _redis_url(made["cache"], cache)
    return {name: url for name, url in found.items() if name not in made["env"] and name not in made["secrets"]}


def connected(
    apps: Any, database: Optional[Mapping[str, Any]] = None, cache: Optional[Mapping[str, Any]] = None
) -> list[Any]:
    """The apps as they are written, with those URLs among their secrets."""
    entries = apps if isinstance(apps, (list, tuple)) else []
    return [_connected(app, environment(app, database, cache)) for app in entries]


def _connected(app: Any, found: Mapping[str, str]) -> Any:
    return {**app, "secrets": {**found, **(app.get("secrets") or {})}} if found else app


def _database_url(own: Mapping[str, Any], server: Mapping[str, Any]) -> str:
    parameters = urlencode(server.get("parameters") or {}, quote_via=quote)
    return (
        f"{own['scheme']}://{_login(own['owner'], own['password'])}@{_host(server, 5432)}/{_quoted(own['name'])}"
        f"{'?' + parameters if parameters else ''}"
    )


def _redis_url(own: Mapping[str, Any], server: Mapping[str, Any]) -> str:
    scheme = "rediss" if server.get("tls") else "redis"
    return f"{scheme}://{_login(own['user'], own['password'])}@{_host(server, 6379)}/{own['database']}"


def _quoted(text: str) -> str:
    return quote(text, safe="")


def _login(user: str, password: str) -> str:
    return f"{_quoted(user)}:{_quoted(password)}"


def _host(server: Mapping[str, Any], port: int) -> str:
    host = str(server["host"])
    return f"{f'[{host}]' if ':' in host else host}:{server.get('port') or port}"


def backups(apps: Any) -> list[dict[str, Any]]:
    """Entries of backup_apps: whom a restore stops, and for which databases."""
    return [
        {"name": app["name"], "databases": [app["database"]["name"]] if app["database"] else []} for app in sound(apps)
    ]


def memory_claims(apps: Any) -> list[dict[str, Any]]:
    """Entries of stack_memory_claims: of what serves or works, both slots run at a time."""
    found = []
    for app in sound(apps):
        for service in app["services"]:
            memory, twice = service["limits"]["memory"], service["kind"] in ("web", "worker")
            if memory and service["replicas"] and service["kind"] != "job":
                count = service["replicas"] * (2 if twice else 1)
                found.append({"name": f"{app['name']} {service['name']}", "memory": memory, "count": count})
    return found


def data_problems(apps: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What the servers would refuse, or what would be two things at once. The apps have their defaults."""
    owners: dict[str, int] = {}
    users: dict[str, int] = {}
    for index, app in enumerate(apps):
        own, cache = app["database"], app["cache"]
        if own:
            path = f"apps[{index}].database"
            yield from _needs_password(path, app, own)
            yield from _refused(path, own)
            first = owners.setdefault(own["name"], index)
            for key in [key for key in ("owner", "password") if apps[first]["database"][key] != own[key]]:
                yield f"{path}.{key}: it is not that of apps[{first}], which has the database {own['name']} as well"
        if cache:
            path = f"apps[{index}].cache"
            yield from _needs_password(path, app, cache)
            if cache["password"] and len(cache["password"]) < LEAST_PASSWORD:
                yield f"{path}.password: it has less than {LEAST_PASSWORD} characters: Redis does not slow guesses down"
            if users.setdefault(cache["user"], index) != index:
                yield f"{path}.user: {cache['user']} is that of apps[{users[cache['user']]}] already: give each its own"


def _needs_password(path: str, app: Mapping[str, Any], own: Mapping[str, Any]) -> Iterator[str]:
    if not own["password"] and own["variable"] not in {**app["env"], **app["secrets"]}:
        yield f"{path}.password: it is missing: give one from your vault, or {own['variable']} among the secrets"


def _refused(path: str, own: Mapping[str, Any]) -> Iterator[str]:
    entry = {key: own[key] for key in ("name", "owner", *DATABASE_KEYS)}
    if any(not isinstance(each, Mapping) or not isinstance(each.get("name"), str) for each in own["schemas"]):
        yield f"{path}.schemas: write each as name, and owner if need be"
        return
    try:
        parse({"databases": [entry], "roles": [{"name": own["owner"], "password": own["password"]}]})
    except ObjectsError as exc:
        yield f"{path}: {exc}"


def twice(values: Iterable[tuple[int, Any]]) -> Iterator[tuple[int, int, Any]]:
    """Each value that an entry before has already: both places, and the value."""
    seen: dict[Any, int] = {}
    for index, value in values:
        first = seen.setdefault(value, index)
        if first != index:
            yield index, first, value
