# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the web server has to know of apps: entries of nginx_limit_zones, nginx_upstreams and nginx_sites.

Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from . import _nginx_model
from ._app_compose import INFRA
from ._app_model import normal, problems

OWN_KEYS = ("service", "limit")
# Judged in place of hosts that are not known here.
ANY_ADDRESS = ["127.0.0.1"]


def sound(apps: Any) -> list[dict[str, Any]]:
    """The apps that are to run, with their defaults. Wrong ones are left out: app_problems says what is wrong."""
    entries = apps if isinstance(apps, (list, tuple)) else []
    found = [normal(app) for app in entries if not problems(app)]
    return [app for app in found if app["state"] == "present"]


def upstream_name(app: Mapping[str, Any], service: str) -> str:
    return f"{app['name']}-{service}"


def upstreams(apps: Any, addresses: Sequence[str] = ()) -> list[dict[str, Any]]:
    """One for each service that a route leads to.

    Who serves for a web service changes with each release, so its servers are not said here. Infrastructure is on the
    same port of all `addresses` for good.
    """
    found = []
    for app in sound(apps):
        routed = {route["service"] for route in app["routes"]}
        for service in [each for each in app["services"] if each["name"] in routed]:
            entry: dict[str, Any] = {"name": upstream_name(app, service["name"])}
            if service["kind"] == INFRA:
                entry["servers"] = [{"address": _server(each, service["publish"])} for each in addresses]
            else:
                entry.update({"dynamic": True, "servers": [], "balance": service["balance"]})
            found.append(entry)
    return found


def _server(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def limit_zones(apps: Any) -> list[dict[str, Any]]:
    """One for each limit of a route: routes share none, so that none uses up what is another's."""
    found = []
    for app in sound(apps):
        for index, route in enumerate(app["routes"]):
            limit = route["limit"] or {"rate": None, "connections": None}
            common = {key: limit[key] for key in ("key", "size") if key in limit}
            if limit["rate"] is not None:
                found.append({"name": _zone(app, "requests", index), **common, "rate": limit["rate"]})
            if limit["connections"] is not None:
                found.append({"name": _zone(app, "connections", index), **common, "type": "connection"})
    return found


def _zone(app: Mapping[str, Any], what: str, index: int) -> str:
    return f"{app['name']}-{what}-{index}"


def sites(apps: Any) -> list[dict[str, Any]]:
    """One for each app that has domains."""
    found = []
    for app in filter(lambda each: each["domains"], sound(apps)):
        entry = {"name": app["name"], "server_names": app["domains"]}
        entry.update({key: _given(value) for key, value in app["site"].items() if value is not None})
        if app["tls"]:
            entry["tls"] = {"certificate": app["certificate"], **entry["tls"]}
        else:
            del entry["tls"]
        entry["locations"] = [_location(app, index) for index in range(len(app["routes"]))]
        found.append(entry)
    return found


def _given(value: Any) -> Any:
    return {key: each for key, each in value.items() if each is not None} if isinstance(value, Mapping) else value


def _location(app: Mapping[str, Any], index: int) -> dict[str, Any]:
    route = app["routes"][index]
    found = {key: _given(value) for key, value in route.items() if value is not None and key not in OWN_KEYS}
    if route["service"] is not None:
        found.update({"type": "proxy", "upstream": upstream_name(app, route["service"])})
    elif route["to"] is not None:
        found["type"] = "redirect"
    else:
        found["type"] = "return" if route["code"] is not None else "static"
    limit, limits = route["limit"], []
    if limit and limit["rate"] is not None:
        own = {key: limit[key] for key in ("burst", "nodelay") if limit[key] is not None}
        limits.append({"zone": _zone(app, "requests", index), **own})
    if limit and limit["connections"] is not None:
        limits.append({"zone": _zone(app, "connections", index), "connections": limit["connections"]})
    return {**found, **({"limits": limits} if limits else {})}


def site_problems(apps: Sequence[Any]) -> Iterator[str]:
    """What the model of nginx says of all that, by the user's own paths. The apps have to be sound."""
    config = {
        "limit_zones": limit_zones(apps),
        "upstreams": upstreams(apps, ANY_ADDRESS),
        "sites": sites(apps),
    }
    at = [index for index, app in enumerate(apps) if _has_site(app)]
    for message in _nginx_model.problems(config):
        yield re.sub(r"(?:nginx_)?sites\[(\d+)\](\.[a-z_]+)?", lambda found: _path(at, found), message)


def _has_site(app: Mapping[str, Any]) -> bool:
    return bool(app.get("domains")) and (app.get("state") or "present") == "present"


def _path(at: Sequence[int], found: re.Match[str]) -> str:
    own = {".locations": ".routes", ".server_names": ".domains", "": ""}
    below = found.group(2) or ""
    return f"apps[{at[int(found.group(1))]}]{own.get(below, f'.site{below}')}"


def names(apps: Iterable[Mapping[str, Any]]) -> Iterator[tuple[int, str]]:
    """What upstreams the apps could have, each with the place of its app: two apps may not mean one."""
    for index, app in enumerate(apps):
        for service in app["services"]:
            yield index, upstream_name(app, service["name"])
