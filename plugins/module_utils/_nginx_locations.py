# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with the locations of a site: keys that do not belong together, and names that lead nowhere.

Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.shipshape.stack.plugins.module_utils import _nginx_values as kind

ACME_PATH = "/.well-known/acme-challenge/"
OF_TYPE = {
    "static": {"alias", "root", "index", "fallback"},
    "proxy": {"upstream", "strip_prefix", "websocket", "request_headers", "timeouts", "buffering"},
    "redirect": {"to", "code"},
    "return": {"code", "text", "content_type"},
}
# nginx answers these before it counts or looks at the address.
AT_ONCE = ("redirect", "return")
REDIRECTS = (301, 302, 303, 307, 308)
# Each with who writes it.
OTHERS = {
    "strict-transport-security": "use hsts of the site",
    "cache-control": "use cache of the location",
    "expires": "use cache of the location",
    "alt-svc": "use tls.http3",
    **dict.fromkeys(
        ["connection", "content-length", "content-type", "date", "location", "server", "transfer-encoding"],
        "nginx writes it",
    ),
}
# Each would contradict what the role renders.
OTHERS_SENT = {
    **dict.fromkeys(["connection", "upgrade"], "use websocket"),
    **dict.fromkeys(["content-length", "transfer-encoding"], "nginx writes it"),
}


def refused_headers(path: str, headers: Iterable[str], others: Mapping[str, str]) -> Iterator[str]:
    for name in headers:
        if name.lower() in others:
            yield f"{path}.{name}: it has no place there: {others[name.lower()]}"


def location_problems(
    path: str, site: Mapping[str, Any], given: Mapping[str, Any], config: Mapping[str, Any]
) -> Iterator[str]:
    """Of all locations of a site."""
    if not site["locations"] and not site["raw"]:
        yield f"{path}.locations: there are none, so it would serve nothing: give it one for /"
    yield from _limits(f"{path}.limits", site["limits"], config)
    seen: dict[tuple[str, str], int] = {}
    for index, location in enumerate(site["locations"]):
        here = f"{path}.locations[{index}]"
        first = seen.setdefault((location["match"], location["path"]), index)
        if first != index:
            yield f"{here}.path: {location['path']} is that of {path}.locations[{first}] already"
        yield from _path(here, location)
        yield from _keys(here, location, given["locations"][index])
        yield from CHECKS[location["type"]](here, location, config)
        yield from refused_headers(f"{here}.headers", location["headers"], OTHERS)
        limits = location["limits"] + ([location["limit"]] if location["limit"] else [])
        yield from _limits(f"{here}.limit", limits, config)


def _path(here: str, location: Mapping[str, Any]) -> Iterator[str]:
    if location["match"] == "regex":
        return
    problem = kind.uri_problem(location["path"])
    if problem:
        yield f"{here}.path: {location['path']!r} {problem}"
    if location["path"].startswith(ACME_PATH):
        yield f"{here}.path: {location['path']}: that is where certificates are asked for; it is served already"


def _keys(here: str, location: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[str]:
    mine = OF_TYPE[location["type"]]
    for name, keys in OF_TYPE.items():
        for key in sorted(keys - mine):
            if given.get(key) is not None and not (key == "code" and "code" in mine):
                yield f"{here}.{key}: a location of type {location['type']} has none; it belongs to type {name}"
    for key in ("limit", "limits", "allow"):
        if location["type"] in AT_ONCE and location[key]:
            yield f"{here}.{key}: nginx answers a {location['type']} before it looks at {key}: leave it out"


def _known(path: str, name: str, items: Iterable[Mapping[str, Any]], what: str) -> Iterator[str]:
    names = [item["name"] for item in items]
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        yield f"{path}: there is no {name} in {what}" + (f": did you mean {near[0]}?" if near else "")


def _limits(path: str, limits: Iterable[Mapping[str, Any]], config: Mapping[str, Any]) -> Iterator[str]:
    types = {zone["name"]: zone["type"] for zone in config["limit_zones"]}
    seen: set[str] = set()
    for limit in limits:
        yield from _known(f"{path}.zone", limit["zone"], config["limit_zones"], "nginx_limit_zones")
        if limit["zone"] in seen:
            yield f"{path}.zone: {limit['zone']} is used twice in one place"
        seen.add(limit["zone"])
        if types.get(limit["zone"]) == "connection" and limit["connections"] is None:
            yield f"{path}.connections: it is missing: {limit['zone']} is a zone of connections, so say how many"
        if types.get(limit["zone"]) == "request" and limit["connections"] is not None:
            yield f"{path}.connections: {limit['zone']} is a zone of requests: its rate says how many; use burst"
        if types.get(limit["zone"]) == "connection" and (limit["burst"] or limit["nodelay"]):
            yield f"{path}.burst: {limit['zone']} is a zone of connections, which has no burst"


def _static(here: str, location: Mapping[str, Any], _config: Mapping[str, Any]) -> Iterator[str]:
    alias, root, path = location["alias"], location["root"], location["path"]
    if bool(alias) == bool(root):
        yield f"{here}.alias: give either alias, which replaces the path, or root, which the path is added to"
    elif alias and location["match"] == "regex":
        yield f"{here}.alias: a regular expression has nothing that it could replace: use root"
    elif alias and location["match"] == "exact" and (alias.endswith("/") or path.endswith("/")):
        yield f"{here}.alias: {alias}: with match: exact both path and alias are one file, without a / at the end"
    elif alias and location["match"] == "prefix":
        for key, value in (("path", path), ("alias", alias)):
            if not value.endswith("/"):
                yield f"{here}.{key}: {value} has no / at the end: {path}../ would serve what lies beside the folder"
    if location["fallback"] and (path != "/" or location["match"] != "prefix"):
        yield f"{here}.fallback: only the location for / has one"


def _proxy(here: str, location: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[str]:
    if not location["upstream"]:
        yield f"{here}.upstream: it is missing: name one of nginx_upstreams"
    else:
        yield from _known(f"{here}.upstream", location["upstream"], config["upstreams"], "nginx_upstreams")
    if location["strip_prefix"]:
        if location["match"] != "prefix":
            yield f"{here}.strip_prefix: match: {location['match']} has no prefix that could be taken off"
        elif not location["path"].endswith("/"):
            yield f"{here}.path: {location['path']} has no / at the end, which strip_prefix needs"
    yield from refused_headers(f"{here}.request_headers", location["request_headers"], OTHERS_SENT)


def _redirect(here: str, location: Mapping[str, Any], _config: Mapping[str, Any]) -> Iterator[str]:
    if not location["to"]:
        yield f"{here}.to: it is missing: say where to, such as https://www.example.org$request_uri"
    if location["code"] is not None and location["code"] not in REDIRECTS:
        yield f"{here}.code: {location['code']} is no redirect: use one of {', '.join(map(str, REDIRECTS))}"


def _return(here: str, location: Mapping[str, Any], _config: Mapping[str, Any]) -> Iterator[str]:
    if location["code"] is None:
        yield f"{here}.code: it is missing: say which status, such as 404"
    elif location["code"] in REDIRECTS:
        yield f"{here}.code: {location['code']} is a redirect: use type: redirect"
    elif location["text"] and location["code"] in (204, 205, 304, 444):
        yield f"{here}.text: a {location['code']} has no body"


CHECKS = {"static": _static, "proxy": _proxy, "redirect": _redirect, "return": _return}
