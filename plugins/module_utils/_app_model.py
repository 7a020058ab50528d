# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An app: what is wrong with it, what it is with all defaults, and its secrets apart from the rest.

Pure functions: no I/O and no Ansible imports. docs/apps.md says what each key means.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ._app_options import APP, JUDGED, ROUTE
from ._app_services import SLOTTED, environment_problems, known, service_problems, twice

# Accounts of the servers that apps get theirs in.
RESERVED = ("default", "pgbouncer", "postgres", "public", "root", "shipshape")
TARGETS = ("service", "alias", "root", "to", "code")


def normal(app: Mapping[str, Any]) -> dict[str, Any]:
    """The app with every default; it has to be free of problems. Twice is the same as once."""
    made: dict[str, Any] = APP.filled(app)
    name = made["name"]
    made["certificate"] = made["certificate"] or name
    web = [service["name"] for service in made["services"] if service["kind"] == "web"]
    if made["domains"] and not made["routes"] and len(web) == 1:
        made["routes"] = [ROUTE.filled({"path": "/", "service": web[0]})]
    if made["database"]:
        made["database"]["name"] = made["database"]["name"] or name.replace("-", "_")
        made["database"]["owner"] = made["database"]["owner"] or made["database"]["name"]
    if made["cache"]:
        cache = made["cache"]
        cache["user"] = cache["user"] or name
        cache["keys"] = cache["keys"] or [f"{name}:*"]
        cache["channels"] = cache["keys"] if cache["channels"] is None else cache["channels"]
    for service in made["services"]:
        if service["health"]["version"]:
            service["health"]["version"]["path"] = service["health"]["version"]["path"] or service["health"]["path"]
        for volume in service["volumes"]:
            # What lies on the host is not the app's own.
            volume["read_only"] = bool(volume["host"]) if volume["read_only"] is None else volume["read_only"]
    return made


def split_secrets(app: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, dict[str, str]]]:
    """The app without any secret, and the secrets of each service by their variables.

    What belongs to the app is for all services but infrastructure, which is not the app's own code.
    """
    made = normal(app)
    common, secrets = made.pop("secrets"), {}
    for service in made["services"]:
        own = service.pop("secrets")
        found = {**(common if service["kind"] in SLOTTED else {}), **own}
        # A plain setting of the service stands nearer to it than a secret of the app.
        found = {key: value for key, value in found.items() if key in own or key not in service["env"]}
        if found:
            secrets[service["name"]] = found
    for owner in ("database", "cache"):
        if made[owner]:
            made[owner].pop("password")
    return made, secrets


def problems(app: Any) -> list[str]:
    """One message for each wrong value: its path in the app, what is wrong with it, and what to write."""
    found = list(JUDGED.problems("", app))
    if not found:
        made = normal(app)
        found = list(_together(made) if made["state"] == "present" else _name(made))
    return list(dict.fromkeys(found))


def _name(app: Mapping[str, Any]) -> Iterator[str]:
    if app["name"] in RESERVED:
        yield f"name: {app['name']} is an account of the servers themselves: choose another"


def _together(app: Mapping[str, Any]) -> Iterator[str]:
    yield from _name(app)
    if not app["services"]:
        yield "services: there are none: an app has one at least"
    yield from service_problems(app)
    yield from environment_problems("", app)
    yield from twice("domains", app["domains"])
    yield from _routes(app)
    yield from _jobs(app)
    yield from _deploy(app["deploy"])


def _routes(app: Mapping[str, Any]) -> Iterator[str]:
    served = {
        service["name"]: service
        for service in app["services"]
        if service["kind"] == "web" or (service["kind"] == "infra" and service["publish"] is not None)
    }
    if app["domains"] and not app["routes"]:
        yield "routes: there are none: say which service the domains lead to"
    if app["routes"] and not app["domains"]:
        yield "domains: there are none, so the routes would lead nowhere: name one at least"
    if not app["tls"] and any(value is not None for value in app["site"]["tls"].values()):
        yield "site.tls: the app has tls: false: leave out one of them"
    for index, route in enumerate(app["routes"]):
        path = f"routes[{index}]"
        if not any(route[key] is not None for key in TARGETS):
            yield f"{path}.service: it is missing: say which service answers, or give one of {', '.join(TARGETS[1:])}"
        if route["service"] is not None:
            yield from known(
                f"{path}.service", route["service"], served, "the services of kind web, or infra with publish"
            )
        limit = route["limit"]
        if limit and limit["rate"] is None and limit["connections"] is None:
            yield f"{path}.limit.rate: it is missing: say how many requests, such as 10r/s, or how many connections"
        if limit and limit["rate"] is None and (limit["burst"] is not None or limit["nodelay"] is not None):
            yield f"{path}.limit.burst: it belongs to a rate: give limit.rate, or leave it out"


def _jobs(app: Mapping[str, Any]) -> Iterator[str]:
    own = {service["name"]: service for service in app["services"] if service["kind"] in SLOTTED}
    what = "the services of kind web, worker, scheduler and job"
    yield from twice("init", [each["name"] for each in app["init"]], ".name")
    jobs = [(f"init[{index}]", each) for index, each in enumerate(app["init"])]
    for path, each in [*jobs, *([("migrate", app["migrate"])] if app["migrate"] else [])]:
        yield from known(f"{path}.service", each["service"], own, what)
        service = own.get(each["service"])
        if service and each["command"] is None and (service["kind"] != "job" or service["command"] is None):
            yield f"{path}.command: it is missing: {each['service']} would do what it does without one"
    if app["static"]:
        yield from known("static.service", app["static"]["service"], own, what)
    for index, service in enumerate(app["services"]):
        used = [each["service"] for _path, each in jobs] + ([app["migrate"]["service"]] if app["migrate"] else [])
        used += [app["static"]["service"]] if app["static"] else []
        if service["kind"] == "job" and service["name"] not in used:
            yield f"services[{index}]: a job runs only where init or migrate name it, and neither does"


def _deploy(deploy: Mapping[str, Any]) -> Iterator[str]:
    percents = [step["percent"] for step in deploy["canary"]]
    if percents != sorted(set(percents)):
        yield f"deploy.canary: {', '.join(map(str, percents))} percent: each step needs more than the one before it"
