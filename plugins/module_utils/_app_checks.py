# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of an app: of each server of a release before it gets traffic, and of the whole through the web server.

Entries of the checks of shipshape.stack.health_check. Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Optional

from ._app_edge import sound
from ._app_model import normal

LOOPBACK = "127.0.0.1"


def slot_checks(app: Mapping[str, Any], servers: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """What each server has to answer: `servers` has those of each web service, {address: HOST:PORT}."""
    made = normal(app)
    found = []
    for service in made["services"]:
        for server in servers.get(service["name"], []) if service["kind"] == "web" else []:
            found += _checks(made, service, server["address"])
    return found


def slot_options(service: Mapping[str, Any]) -> dict[str, Any]:
    """How those of a service are asked: the options of the whole call."""
    health = service["health"]
    return {
        "timeout": float(health["start_seconds"]),
        "interval": health["interval"],
        "consecutive_successes": health["consecutive"],
    }


def _checks(app: Mapping[str, Any], service: Mapping[str, Any], address: str) -> list[dict[str, Any]]:
    health = service["health"]
    conditions: dict[str, dict[str, Any]] = {health["path"]: dict(health["json"] or {})}
    if health["version"]:
        wanted = {str(health["version"]["json_field"]): service["version"]}
        conditions.setdefault(health["version"]["path"], {}).update(wanted)
    found = []
    for path, json in conditions.items():
        entry = _http(service, f"{service['name']} at {address}{path}", f"http://{address}{path}", json)
        # It is asked as the web server asks it, as some answer nobody else.
        if app["domains"]:
            entry["host_header"] = _host(app)
        entry["headers"] = {"X-Forwarded-Proto": "https" if app["tls"] and app["domains"] else "http"}
        found.append(entry)
    return found


def _http(service: Mapping[str, Any], name: str, url: str, json: Mapping[str, Any]) -> dict[str, Any]:
    health = service["health"]
    found = {
        "name": name,
        "type": "http",
        "url": url,
        "status_code": health["status"],
        "timeout": health["timeout"],
    }
    return {**found, "json": dict(json)} if json else found


def _host(app: Mapping[str, Any]) -> str:
    canonical: Optional[str] = app["site"]["canonical"]
    return canonical or str(app["domains"][0]).replace("*", "www")


def site_checks(apps: Any, address: str = LOOPBACK, validate_certs: bool = True) -> list[dict[str, Any]]:
    """One for each app whose domain leads to the path of health of a web service, asked of the web server."""
    found = []
    for app in filter(lambda each: each["domains"] and not each["maintenance"], sound(apps)):
        for service in filter(lambda each: each["kind"] == "web" and each["replicas"], app["services"]):
            health = service["health"]
            if _leads(app["routes"], health["path"]) != service["name"]:
                continue
            entry = _http(
                service,
                f"{app['name']} {service['name']}",
                f"{_origin(app)}{health['path']}",
                health["json"] or {},
            )
            if app["tls"]:
                entry["validate_certs"] = validate_certs
            found.append({**entry, "resolve_to": address})
    return found


def _origin(app: Mapping[str, Any]) -> str:
    ports = app["site"]["ports"] or {"http": 80, "https": 443}
    scheme = "https" if app["tls"] else "http"
    usual = ports[scheme] == {"http": 80, "https": 443}[scheme]
    return f"{scheme}://{_host(app)}{'' if usual else f':{ports[scheme]}'}"


def _leads(routes: Iterable[Mapping[str, Any]], path: str) -> Optional[str]:
    """The service that a path leads to without change, as far as prefixes say it."""
    best: tuple[int, Optional[str]] = (-1, None)
    for route in routes:
        if route["match"] == "regex":
            return None
        exact = route["match"] == "exact"
        if path == route["path"] if exact else path.startswith(route["path"]):
            free = not (route["strip_prefix"] or route["allow"])
            best = max(
                best, (len(route["path"]) + exact * 10000, route["service"] if free else None), key=lambda x: x[0]
            )
    return best[1]
