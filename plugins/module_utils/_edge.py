# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From hosts and sites to what the web server calls, and to what is probed of it.

Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.shipshape.stack.plugins.module_utils import _nginx_model as model
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_role import config

LOOPBACK = "127.0.0.1"
# Where the web server listens on all addresses of a family, that of loopback answers.
ANSWERS = {"*": LOOPBACK, "::": "::1"}
TRUSTED = "production"


def upstream_servers(
    hosts: Iterable[str], addresses: Mapping[str, Sequence[str]], port: int, here: str
) -> list[dict[str, str]]:
    """A server of an upstream for each host, by the first of its addresses; this host is called on loopback."""
    found = [(LOOPBACK if name == here else addresses[name][0]) for name in hosts]
    return [{"address": f"[{host}]:{port}" if ":" in host else f"{host}:{port}"} for host in found]


def edge_checks(
    options: Mapping[str, Any], certificates: Iterable[Mapping[str, Any]], directory: str
) -> list[dict[str, Any]]:
    """One of the web server, and one of the type C(tls) for each site that has a certificate."""
    if model.problems(config(options)):
        return []  # the role says them, and says them better
    nginx = model.filled(config(options))
    providers = {each.get("name"): each.get("provider") for each in certificates if isinstance(each, Mapping)}
    address = nginx["addresses"][0]
    found: list[dict[str, Any]] = [
        {"name": "nginx", "type": "http", "url": f"http://{nginx['status']['listen']}{nginx['status']['path']}"}
    ]
    for site in filter(lambda each: each["tls"], nginx["sites"]):
        reason = _reason(directory, providers.get(site["tls"]["certificate"]) or "acme")
        check = {
            "name": f"certificate of {site['name']}",
            "type": "tls",
            "host": ANSWERS.get(address, address),
            "port": site["ports"]["https"],
            "names": [each for each in site["server_names"] if not each.startswith("~")],
        }
        found.append({**check, **({"unverified": reason} if reason else {})})
    return found


def _reason(directory: str, provider: str) -> str:
    """Why the host itself may not trust the chain; empty where it has to."""
    if provider == "self_signed":
        return "self-signed"
    if provider == "acme" and directory != TRUSTED:
        return f"issued by {directory}"
    return ""
