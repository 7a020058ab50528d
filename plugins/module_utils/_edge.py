# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From hosts and sites to what the web server calls, and to what is probed of it.

Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

LOOPBACK = "127.0.0.1"
# Where `listen` names no address, or all of them.
EVERYWHERE = {"*", "::", "0.0.0.0"}  # noqa: S104 - compared, not bound
TRUSTED = "production"


def upstream_servers(
    hosts: Iterable[str], addresses: Mapping[str, Sequence[str]], port: int, here: str
) -> list[dict[str, str]]:
    """A server of an upstream for each host, by the first of its addresses; this host is called on loopback."""
    found = [(LOOPBACK if name == here else addresses[name][0]) for name in hosts]
    return [{"address": f"[{host}]:{port}" if ":" in host else f"{host}:{port}"} for host in found]


def site_checks(
    sites: Iterable[Mapping[str, Any]], listen: Sequence[str], directory: str, providers: Mapping[str, str]
) -> list[dict[str, Any]]:
    """A check of the type `tls` for each site that has a certificate, on the first address that is listened on."""
    named = [each for each in listen if each not in EVERYWHERE]
    first = named[0] if named else "::1" if set(listen) == {"::"} else LOOPBACK
    found = []
    for site in sites:
        # What is wrong with a site is the role's to say, and it says it better.
        tls = site.get("tls") if isinstance(site, Mapping) and {"name", "server_names"} <= set(site) else None
        name = tls.get("certificate") if isinstance(tls, Mapping) else None
        if not name:
            continue
        check: dict[str, Any] = {"name": f"certificate of {site['name']}", "type": "tls", "host": first}
        ports = site.get("ports")
        check["port"] = ports.get("https", 443) if isinstance(ports, Mapping) else 443
        check["names"] = [each for each in site["server_names"] if not each.startswith("~")]
        reason = _reason(directory, providers.get(name, "acme"))
        found.append({**check, **({"unverified": reason} if reason else {})})
    return found


def _reason(directory: str, provider: str) -> str:
    """Why the host itself may not trust the chain; empty where it has to."""
    if provider == "self_signed":
        return "self-signed"
    if provider == "acme" and directory != TRUSTED:
        return f"issued by {directory}"
    return ""
