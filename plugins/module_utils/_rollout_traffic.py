# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who gets the traffic of an app on one host: the servers that its load balancers are given at each stage.

Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ._app_edge import upstream_name, upstreams
from ._app_model import normal

# Of a container with all the traffic that is its own. A canary gets a part of it, and what the hosts have among each
# other stays as it was.
WEIGHT = 100
ALL = 100
# Ways to balance with which nginx knows no spare servers.
WITHOUT_SPARES = ("ip_hash", "random")


def stages(app: Mapping[str, Any]) -> list[dict[str, int]]:
    """Shares of the traffic that the new release gets, one after the other, and how long each is watched."""
    deploy = normal(app)["deploy"]
    canary = [step for step in deploy["canary"] if step["percent"] < ALL]
    return [*canary, {"percent": ALL, "seconds": deploy["bake_seconds"]}]


def switches(
    app: Mapping[str, Any], plan: Mapping[str, Any], percent: int, balancers: Sequence[str], spare: bool = False
) -> list[dict[str, Any]]:
    """What each upstream of each load balancer gets for this host; with 0 percent all goes to the running release.

    With C(spare) that stays behind the new one: nginx calls it for what the new one does not take, as when it crashes.
    """
    services = _routed(app)
    balances = {each["name"]: each["balance"] for each in normal(app)["services"]}
    return [
        {
            "balancer": balancer,
            "name": upstream_name(app, service),
            "servers": [
                *_servers(plan["active_servers"].get(service, []), plan["servers"].get(service, []), percent),
                *_spares(plan, service, percent if spare else 0, balances[service]),
            ],
            "watched": plan["servers"].get(service, []),
        }
        for balancer in balancers
        for service in services
    ]


def _routed(app: Mapping[str, Any]) -> list[str]:
    """Services whose servers change with the release; nginx knows those alone that a route leads to."""
    dynamic = {each["name"] for each in upstreams([{**app, "state": "present"}]) if each.get("dynamic")}
    return [each["name"] for each in normal(app)["services"] if upstream_name(app, each["name"]) in dynamic]


def _spares(plan: Mapping[str, Any], service: str, percent: int, balance: str) -> list[dict[str, Any]]:
    old, new = plan["active_servers"].get(service, []), plan["servers"].get(service, [])
    if percent < ALL or balance in WITHOUT_SPARES or not new:
        return []
    return [{**server, "backup": True} for server in old if server not in new]


def _servers(old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]], percent: int) -> list[dict[str, Any]]:
    if percent == ALL or (percent and not old):
        return _weighted(new, WEIGHT)
    if not percent or not new:
        return _weighted(old, WEIGHT)
    return _weighted(old, WEIGHT - percent) + _weighted(new, max(1, round(percent * len(old) / len(new))))


def _weighted(servers: Sequence[Mapping[str, Any]], weight: int) -> list[dict[str, Any]]:
    return [{**server, "weight": weight} for server in servers]
