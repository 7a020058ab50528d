# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Upstreams as text, and those whose servers change between two runs of the role: who has which is part of the tree.

`upstreams/NAME.json` is what a dynamic upstream was declared as, its servers by owner, and whether it is under
maintenance; `upstreams/NAME.conf` is rendered from that alone, so a switch needs nothing of the role's options.
Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.shipshape.stack.plugins.module_utils import _nginx_values as kind
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_model import server_problems
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_options import SERVER, UPSTREAM
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_said import address_of
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_schema import Field, Items, Map
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_swap import ROOT, SwapError, Wanted
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_text import block, include, line, text_of

# What has to be known of a tree to put another in its place, and cannot be read from its directives.
SERVED = "served.json"
# nginx starts with no upstream that is empty; nobody is ever sent there.
NOBODY: dict[str, Any] = SERVER.filled({"address": "127.0.0.1:1", "down": True})
SERVERS = Items(SERVER)
LOGS = Field(Items(kind.LOG), required=True)
# Beside the owners, whose names are anybody's.
RECORDED = Map({**UPSTREAM.fields, "logs": LOGS, "maintenance": Field(kind.BOOLEAN, required=True)})
SERVING = Map(
    {
        "certificates": Field(Items(kind.CERTIFICATE), required=True),
        "logs": LOGS,
        "maintenance": Field(kind.LISTENER, required=True),
        "status": Field(kind.LISTENER, required=True),
    }
)
RECORD = re.compile(r"upstreams/(.+)\.json")
RETRY_AFTER = 60
PAGE = "<!doctype html><title>Maintenance</title><h1>Maintenance</h1><p>Please try again soon.</p>\n"


class UnknownError(SwapError):
    """There is no such upstream here."""


@dataclass(frozen=True)
class Switch:
    """What shall be different of an upstream; None leaves it as it is."""

    name: str
    owner: str | None = None
    servers: Sequence[Mapping[str, Any]] | None = None  # None takes the owner's away
    maintenance: bool | None = None

    def problems(self) -> list[str]:
        found = [*kind.NAME.problems("name", self.name)]
        found += kind.OWNER.problems("owner", self.owner) if self.owner is not None else []
        found += SERVERS.problems("servers", self.servers) if self.servers is not None else []
        return found


# --- as text ----------------------------------------------------------------------------------------------------------


def upstream_lines(upstream: Mapping[str, Any]) -> list[str]:
    lines = [line("zone", f"upstream_{upstream['name']}", "128k")]
    if upstream["balance"] == "hash":
        lines.append(line("hash", upstream["hash_key"], "consistent"))
    elif upstream["balance"] != "round_robin":
        lines.append(line(upstream["balance"]))
    for server in upstream["servers"]:
        words = [f"max_fails={server['max_fails']}"]
        words += [f"fail_timeout={server['fail_timeout']}"] * bool(server["max_fails"])
        words += [f"weight={server['weight']}"] * (server["weight"] != 1)
        words += [f"max_conns={server['max_conns']}"] * bool(server["max_conns"])
        words += ["backup"] * server["backup"] + ["down"] * server["down"]
        lines.append(line("server", server["address"], *words))
    if upstream["keepalive"]:
        # Before the server does: gunicorn closes an idle connection after 2 s, Node and uvicorn after 5 s, and a POST
        # that is sent in that moment is answered with 502, as nginx may not send it again.
        lines += [line("keepalive", upstream["keepalive"]), line("keepalive_timeout", "1s")]
    return block(f"upstream {upstream['name']}", lines)


def maintenance_lines(listen: str) -> list[str]:
    """The server that an upstream under maintenance has instead of its own."""
    lines = [
        line("listen", listen),
        "server_name _;",
        "access_log off;",
        "default_type text/html;",
        line("add_header", "Retry-After", RETRY_AFTER, "always"),
        "add_header Cache-Control no-store always;",
        line("return", 503, PAGE),
    ]
    return block("server", lines)


def include_of(upstream: Mapping[str, Any]) -> list[str]:
    return [include(_path(upstream["name"], "conf"))]


def _path(name: str, ending: str) -> str:
    return f"upstreams/{name}.{ending}"


def _dump(value: Any) -> str:
    return json.dumps(value, indent=1, sort_keys=True) + "\n"


# --- in the tree ------------------------------------------------------------------------------------------------------


def served(
    config: Mapping[str, Any],
    listeners: Iterable[tuple[str, int, str]],
    certificates: Iterable[str],
    logs: Iterable[str],
) -> str:
    return _dump(
        {
            "certificates": list(certificates),
            "listeners": list(listeners),
            "logs": list(logs),
            "maintenance": config["status"]["maintenance"],
            "status": config["status"]["listen"],
        }
    )


def wanted_of(files: Mapping[str, str]) -> Wanted:
    """A tree of which only the files are there."""
    known = _serving(files)
    try:
        listeners = tuple((str(address), int(port), str(protocol)) for address, port, protocol in known["listeners"])
    except (KeyError, TypeError, ValueError) as exc:
        raise SwapError(_broken(SERVED, "listeners are not [address, port, protocol] each")) from exc
    status = address_of(known["status"])
    return Wanted(dict(files), listeners, status, tuple(known["certificates"]), tuple(known["logs"]))


def parts(config: Mapping[str, Any], live: Mapping[str, str]) -> dict[str, str]:
    """The files of all dynamic upstreams, with the servers that they have in the live tree."""
    found: dict[str, str] = {}
    for upstream in config["upstreams"]:
        if upstream["dynamic"]:
            record = {**upstream, "logs": _logs(config, upstream["name"]), "owners": None, "maintenance": False}
            if _path(upstream["name"], "json") in live:
                record.update({key: read(live, upstream["name"])[key] for key in ("owners", "maintenance")})
            if record["owners"] is not None:
                record["servers"] = []
            found.update(_files(record, config["status"]["maintenance"]))
    return found


def _logs(config: Mapping[str, Any], name: str) -> list[str]:
    """Where requests to it are logged with its answers: in JSON alone."""
    found = set()
    for site in config["sites"]:
        if any(location["upstream"] == name for location in site["locations"]) and site["log"]["format"] == "json":
            found.add(site["log"]["access"])
    return sorted(found - {"off"})


def _files(record: Mapping[str, Any], maintenance: str) -> dict[str, str]:
    servers = serving(record)
    if record["maintenance"]:
        servers = [SERVER.filled({"address": maintenance})]
    elif all(server["backup"] for server in servers):
        servers = [*servers, NOBODY]
    text = text_of(upstream_lines({**record, "servers": servers}))
    return {_path(record["name"], "json"): _dump(record), _path(record["name"], "conf"): text}


def serving(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The servers of all owners; before the first switch those of the options."""
    if record["owners"] is None:
        return list(record["servers"])
    return [server for owner in sorted(record["owners"]) for server in record["owners"][owner]]


# --- reading and changing it ------------------------------------------------------------------------------------------


def names(files: Mapping[str, str]) -> list[str]:
    return sorted(found[1] for found in map(RECORD.fullmatch, files) if found)


def read(files: Mapping[str, str], name: str) -> dict[str, Any]:
    """A dynamic upstream of a tree; keys that are new since it was written have their default."""
    path = _path(name, "json")
    if path not in files:
        there = ", ".join(names(files))
        raise UnknownError(
            f"name: nginx here has no dynamic upstream {name}; {f'it has {there}' if there else 'it has none at all'}."
            " Give it dynamic: true in nginx_upstreams, and run site.yml"
        )
    found = _load(files, path)
    problem = next(_unfit(found, name), "")
    if problem:
        raise SwapError(_broken(path, problem))
    owners = found["owners"]
    if owners is not None:
        owners = {owner: SERVERS.filled(servers) for owner, servers in owners.items()}
    return {**RECORDED.filled(found), "owners": owners}


def _unfit(found: Mapping[str, Any], name: str) -> Iterator[str]:
    """What somebody's hand left in a record that nginx would refuse, or take for something else."""
    yield from RECORDED.problems("", {key: found[key] for key in RECORDED.fields if key in found})
    if found["name"] != name:
        yield f"name: {found['name']} is not {name}"
    owners = found.get("owners", "missing")
    if owners is None:
        return
    if not isinstance(owners, Mapping):
        yield f"owners: {owners!r} is not a mapping of owners to their servers"
        return
    for owner, servers in owners.items():
        yield from kind.OWNER.problems("owners (a name)", owner)
        yield from SERVERS.problems(f"owners.{owner}", servers)


def _serving(files: Mapping[str, str]) -> dict[str, Any]:
    found = _load(files, SERVED)
    problem = next(SERVING.problems("", {key: found[key] for key in SERVING.fields if key in found}), "")
    if problem:
        raise SwapError(_broken(SERVED, problem))
    return found


def _load(files: Mapping[str, str], path: str) -> dict[str, Any]:
    try:
        found = json.loads(files.get(path, ""))
    except (ValueError, RecursionError) as exc:
        raise SwapError(_broken(path, "it is no JSON")) from exc
    if not isinstance(found, dict):
        raise SwapError(_broken(path, "it is no JSON object"))
    return found


def _broken(path: str, problem: str) -> str:
    """The role writes what nginx serves anew, but nobody else knows the servers of a deploy."""
    if path == SERVED:
        return f"{path} of the live tree is not as it was written: {problem}. Run site.yml, which writes it anew"
    return (
        f"{path} of the live tree is not as it was written: {problem}. Put it right, or take that of the generation"
        f" before, {ROOT}/previous; without it site.yml begins with the servers of the options, and the next deploy"
        " gives others"
    )


def changed(files: Mapping[str, str], switch: Switch) -> tuple[dict[str, Any], dict[str, str]]:
    """What the upstream is after a switch, and the whole tree with it."""
    record = read(files, switch.name)
    known = switch.owner in (record["owners"] or {})
    if switch.owner is not None and (known or switch.servers is not None):
        owners = {owner: servers for owner, servers in (record["owners"] or {}).items() if owner != switch.owner}
        if switch.servers is not None:
            owners[switch.owner] = SERVERS.filled(switch.servers)
            _refuse(owners, switch.owner, record["balance"])
        record = {**record, "owners": owners, "servers": []}
    if switch.maintenance is not None:
        record["maintenance"] = switch.maintenance
    return record, {**files, **_files(record, _serving(files)["maintenance"])}


def _refuse(owners: Mapping[str, Sequence[Mapping[str, Any]]], owner: str, balance: str) -> None:
    found = list(server_problems("servers", owners[owner], balance))
    taken = {server["address"]: other for other in owners if other != owner for server in owners[other]}
    for number, server in enumerate(owners[owner]):
        if server["address"] in taken:
            other = taken[server["address"]]
            found.append(f"servers[{number}].address: {server['address']} is one of {other}'s already")
    if found:
        raise SwapError(". ".join(found))
