# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with the configuration of the role nginx: each value by its own kind, then all of them together.

Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.shipshape.stack.plugins.module_utils import _nginx_values as kind
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_locations import (
    OTHERS,
    location_problems,
    refused_headers,
)
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_options import CONFIG

PRELOAD = 31536000
# These cannot tell which server is next when one is out, so nginx lets them have no backup.
WITHOUT_BACKUP = ("ip_hash", "hash", "random")
GENERATION = "/generation"


def filled(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with every default; it has to be free of problems."""
    made: dict[str, Any] = CONFIG.filled(config)
    for site in made["sites"]:
        site["http"] = site["http"] or ("redirect" if site["tls"] else "serve")
        site["log"] = {key: value or made["log"][key] for key, value in site["log"].items()}
    return made


def has_dynamic(config: Mapping[str, Any]) -> bool:
    return any(upstream["dynamic"] for upstream in config["upstreams"])


def problems(config: Mapping[str, Any], prefix: str = "nginx_") -> list[str]:
    """One message for each wrong value: its path, what is wrong with it, and what to write."""
    found = list(CONFIG.problems("", config, prefix))
    if not found:
        found = [f"{prefix}{message}" for message in _together(filled(config), config)]
    return list(dict.fromkeys(found))


def _together(config: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[str]:
    yield from _twice("limit_zones", config["limit_zones"])
    yield from _twice("upstreams", config["upstreams"])
    yield from _twice("sites", config["sites"])
    yield from _zones(config["limit_zones"])
    yield from _upstreams(config["upstreams"])
    yield from _addresses(config)
    yield from _numbers(config)
    yield from _listeners(config)
    yield from _names(config["sites"])
    for index, site in enumerate(config["sites"]):
        yield from _site(f"sites[{index}]", site, given["sites"][index])
        yield from location_problems(f"sites[{index}]", site, given["sites"][index], config)


def _twice(path: str, items: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    seen: dict[str, int] = {}
    for index, item in enumerate(items):
        if item["name"] in seen:
            yield f"{path}[{index}].name: {item['name']} is the name of {path}[{seen[item['name']]}] already"
        seen.setdefault(item["name"], index)


def _zones(zones: list[dict[str, Any]]) -> Iterator[str]:
    for index, zone in enumerate(zones):
        if zone["type"] == "request" and zone["rate"] is None:
            yield f"limit_zones[{index}].rate: it is missing: say how many requests, such as 10r/s or 5r/m"
        if zone["type"] == "connection" and zone["rate"] is not None:
            yield f"limit_zones[{index}].rate: a zone of connections has none: each use of it has connections: N"


def _upstreams(upstreams: list[dict[str, Any]]) -> Iterator[str]:
    for index, upstream in enumerate(upstreams):
        path = f"upstreams[{index}]"
        if (upstream["balance"] == "hash") != (upstream["hash_key"] is not None):
            yield f"{path}.hash_key: balance: hash needs one, and nothing else has one"
        if upstream["dynamic"] and upstream["tls"]:
            yield f"{path}.tls: a dynamic upstream has none: its maintenance server speaks HTTP alone"
        servers = upstream["servers"]
        if not servers and not upstream["dynamic"]:
            yield f"{path}.servers: the list is empty: give at least 1, or dynamic: true"
        elif servers and all(server["backup"] or server["down"] for server in servers):
            yield f"{path}.servers: all of them are backup or down: leave at least one to serve"
        yield from server_problems(f"{path}.servers", servers, upstream["balance"])


def server_problems(path: str, servers: Iterable[Mapping[str, Any]], balance: str) -> Iterator[str]:
    """What does not go together among the servers of an upstream."""
    seen: set[str] = set()
    for number, server in enumerate(servers):
        if server["backup"] and balance in WITHOUT_BACKUP:
            yield f"{path}[{number}].backup: nginx has none with balance: {balance}"
        if server["address"] in seen:
            yield f"{path}[{number}].address: {server['address']} is there twice: use weight"
        seen.add(server["address"])


def _addresses(config: Mapping[str, Any]) -> Iterator[str]:
    addresses = config["addresses"]
    if len(set(addresses)) < len(addresses):
        yield f"addresses: {', '.join(addresses)}: one is there twice"
    for every, mark in (("*", "."), ("::", ":")):
        inside = [each for each in addresses if mark in each and each not in ("::", "*")]
        if every in addresses and inside:
            yield f"addresses: {every} includes {', '.join(inside)}: name all, or each"
    status = config["status"]
    for key in ("listen", "maintenance"):
        if not kind.is_loopback(status[key]):
            yield f"status.{key}: {status[key]} is not of this host alone: use 127.0.0.1:PORT or '[::1]:PORT'"
    if status["path"] in (GENERATION, "/"):
        yield f"status.path: {status['path']} has a meaning already: use another, such as /stub_status"


def _numbers(config: Mapping[str, Any]) -> Iterator[str]:
    """What nginx would start with, and warn of."""
    worker = config["worker"]
    if worker["files"] < 2 * worker["connections"]:
        yield (
            f"worker.files: {worker['files']} is too few for {worker['connections']} connections: one to a client and"
            f" one to an upstream are two files, so give at least {2 * worker['connections']}"
        )
    seen = {"text/html"}
    for index, each in enumerate(config["compression"]["types"]):
        if each in seen:
            yield f"compression.types[{index}]: {each} is among them already; text/html always is"
        seen.add(each)


def _listeners(config: Mapping[str, Any]) -> Iterator[str]:
    """One port speaks one protocol, and its first bytes are read before a site is known."""
    kinds: dict[int, str] = {}
    for key in ("listen", "maintenance") if has_dynamic(config) else ("listen",):
        port = int(config["status"][key].rpartition(":")[2])
        if kinds.setdefault(port, f"status.{key}") != f"status.{key}":
            yield f"status.{key}: {port} is of {kinds[port]} already: choose another port"
    settings: dict[int, tuple[str, dict[str, Any]]] = {}
    for index, site in enumerate(config["sites"]):
        for which in ("http", "https") if site["tls"] else ("http",):
            path, port = f"sites[{index}].ports.{which}", site["ports"][which]
            taken = kinds.setdefault(port, which)
            if taken != which:
                yield f"{path}: {port} is {'of ' if '.' in taken else ''}{taken} elsewhere: choose another port"
        if site["tls"]:
            first = settings.setdefault(site["ports"]["https"], (f"sites[{index}]", site["tls"]))
            for key in ("policy", "http2", "http3"):
                if first[1][key] != site["tls"][key]:
                    yield (
                        f"sites[{index}].tls.{key}: {site['tls'][key]!r}, but {first[0]} has {first[1][key]!r} on the"
                        " same port: it is decided before the name is known, so use one for both, or another port"
                    )


def _names(sites: list[dict[str, Any]]) -> Iterator[str]:
    seen: dict[tuple[int, str], str] = {}
    for index, site in enumerate(sites):
        for number, name in enumerate(site["server_names"]):
            path = f"sites[{index}].server_names[{number}]"
            for port in {site["ports"]["http"], site["ports"]["https"]} if site["tls"] else {site["ports"]["http"]}:
                other = seen.setdefault((port, name), path)
                if other != path:
                    yield f"{path}: {name} is {other} already, on the same port {port}: nginx would take the first"
                    break


def _site(path: str, site: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[str]:
    tls, hsts = site["tls"], site["hsts"]
    if site["http"] == "redirect" and not tls:
        yield f"{path}.http: there is no HTTPS to redirect to: give the site tls, or use serve"
    if site["http"] == "off" and not tls:
        yield f"{path}.http: the site would serve nothing: give it tls, or use serve"
    if given.get("hsts") and not tls:
        yield f"{path}.hsts: only answers over TLS carry it: give the site tls, or leave it out"
    if hsts["preload"] and not (hsts["max_age"] >= PRELOAD and hsts["include_subdomains"]):
        yield f"{path}.hsts.preload: browsers take a name only with max_age: {PRELOAD} and include_subdomains: true"
    canonical = site["canonical"]
    if canonical is not None and canonical not in site["server_names"]:
        yield f"{path}.canonical: {canonical} is none of its server_names"
    yield from refused_headers(f"{path}.headers.set", site["headers"]["set"], OTHERS)
