# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the role postgresql: what is wrong with them, and what its tasks make of them. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ._memory_budget import MemoryBudgetError, mebibytes
from ._postgresql_hba import is_network, line
from ._postgresql_hba import problems as hba_problems

VERSIONS = range(13, 19)  # those that the tuner knows
CLUSTER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")
PATH = re.compile(r"/[^\0\n]+")
# Which users of the system are which roles: root is let in as the superuser, for health checks and at 3 a.m.
MAP = "shipshape"
LOOPBACK = ("127.0.0.1/32", "::1/128")


def problems(options: Mapping[str, Any]) -> list[str]:
    """Everything that the role refuses, before any change."""
    found = [*_server_problems(options), *_path_problems(options), *_client_problems(options)]
    found += hba_problems(options["postgresql_hba_rules"], "postgresql_hba_rules")
    names = {role.get("name") for role in options["postgresql_roles"]}
    found += [
        f"postgresql_role_passwords: {name} is not in postgresql_roles"
        for name in options["postgresql_role_passwords"]
        if name not in names
    ]
    return found


def _server_problems(options: Mapping[str, Any]) -> list[str]:
    found = []
    if options["postgresql_version"] not in VERSIONS:
        found.append(f"postgresql_version is {options['postgresql_version']}: give {VERSIONS[0]} to {VERSIONS[-1]}")
    if not CLUSTER.fullmatch(options["postgresql_cluster"]):
        found.append(f"postgresql_cluster is {options['postgresql_cluster']!r}: give letters, digits, _ and -")
    if not 1024 <= options["postgresql_port"] <= 65535:
        found.append(f"postgresql_port is {options['postgresql_port']}: give 1024 to 65535")
    if options["postgresql_connections"] < 0:
        found.append(f"postgresql_connections is {options['postgresql_connections']}: give 0 (by profile) or more")
    if options["postgresql_memory"]:
        try:
            mebibytes(options["postgresql_memory"])
        except MemoryBudgetError as exc:
            found.append(f"postgresql_memory: {exc}")
    if not options["postgresql_listen_addresses"]:
        found.append("postgresql_listen_addresses is empty: name localhost at least")
    for name in ("port", "listen_addresses", "shared_preload_libraries"):
        if name in options["postgresql_settings"]:
            option = {"shared_preload_libraries": "preload_libraries"}.get(name, name)
            found.append(f"postgresql_settings: {name} is set by postgresql_{option}: set that one")
    if "\n" in options["postgresql_maintenance"]:
        found.append("postgresql_maintenance is more than one line: give a time as in systemd.time(7)")
    return found


def _path_problems(options: Mapping[str, Any]) -> list[str]:
    found = []
    for name in ("postgresql_data_directory", "postgresql_tls_certificate", "postgresql_tls_key"):
        if options[name] and not PATH.fullmatch(options[name]):
            found.append(f"{name} is {options[name]!r}: give an absolute path")
    if bool(options["postgresql_tls_certificate"]) != bool(options["postgresql_tls_key"]):
        found.append("postgresql_tls_certificate and postgresql_tls_key belong together: give both, or none")
    if options["postgresql_repository_url"] and not options["postgresql_repository_key"]:
        found.append("postgresql_repository_url needs postgresql_repository_key, which its packages are verified with")
    return found


def _client_problems(options: Mapping[str, Any]) -> list[str]:
    found = []
    for number, client in enumerate(options["postgresql_clients"]):
        where = f"postgresql_clients[{number}]"
        if not client.get("networks"):
            found.append(f"{where} has no networks: name who may connect")
        if client.get("tls", True) and not options["postgresql_tls"]:
            found.append(f"{where} demands TLS, but postgresql_tls is false")
        found += hba_problems(_client_rules(client), where)
        if options["postgresql_pgbouncer"]:
            names = [network for network in client.get("networks") or [] if not is_network(network)]
            found += [
                f"{where}: {name} is no network, and pgbouncer knows no names: give its address" for name in names
            ]
    return found


def _client_rules(client: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "type": "hostssl" if client.get("tls", True) else "host",
            "databases": client.get("databases") or ["all"],
            "users": client.get("users") or ["all"],
            "address": network,
            "method": "scram-sha-256",
        }
        for network in client.get("networks") or []
    ]


def _superusers(roles: Iterable[Mapping[str, Any]]) -> list[str]:
    return ["postgres", *(role["name"] for role in roles if role.get("superuser"))]


def hba(
    own: Sequence[Mapping[str, Any]],
    clients: Iterable[Mapping[str, Any]],
    roles: Iterable[Mapping[str, Any]],
    pool: bool,
) -> list[dict[str, Any]]:
    """The rules of pg_hba.conf, in the order in which they are tried."""
    found: list[dict[str, Any]] = [{"type": "local", "users": ["postgres"], "method": "peer", "options": {"map": MAP}}]
    found += [dict(rule) for rule in own]
    # Through pgbouncer everybody comes as the user of the system that it runs as, so the socket asks for passwords.
    found.append({"type": "local", "method": "scram-sha-256" if pool else "peer"})
    found += [{"type": "host", "address": address, "method": "scram-sha-256"} for address in LOOPBACK]
    found.append({"type": "host", "users": _superusers(roles), "address": "all", "method": "reject"})
    for client in clients:
        found += _client_rules(client)
    return found


def pool_hba(clients: Iterable[Mapping[str, Any]], roles: Iterable[Mapping[str, Any]]) -> list[str]:
    """The same clients as pgbouncer's own rules have them: to the server they all come from the socket.

    The user that pgbouncer asks the server as is one that it knows without a password, so nobody may come as it.
    """
    names = _superusers(roles)
    rules: list[dict[str, Any]] = [{"type": "local", "users": names, "method": "reject"}]
    rules += [{"type": "host", "users": names, "address": each, "method": "reject"} for each in ("0.0.0.0/0", "::/0")]
    rules.append({"type": "local"})
    rules += [{"type": "host", "address": address} for address in LOOPBACK]
    for client in clients:
        rules += _client_rules(client)
    return [line(rule) for rule in rules]


def databases(
    entries: Sequence[Mapping[str, Any]], schemas: Mapping[str, str], preload: Sequence[str]
) -> list[dict[str, Any]]:
    """The databases with the text of their schema files, and the one that the statistics are read in."""
    found = []
    for entry in entries:
        kept = {key: value for key, value in entry.items() if key != "schema_file"}
        if entry.get("schema_file"):
            kept["schema_content"] = schemas[entry["schema_file"]]
        found.append(kept)
    if "pg_stat_statements" in preload and "postgres" not in [entry.get("name") for entry in entries]:
        found.append({"name": "postgres", "extensions": ["pg_stat_statements"], "revoke_public": False})
    return found
