# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What certbot_certificates says of a run."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.shipshape.stack.plugins.module_utils import _certbot_host as host
from ansible_collections.shipshape.stack.plugins.module_utils import _certbot_plan as planning
from ansible_collections.shipshape.stack.plugins.module_utils import _certbot_x509 as x509
from ansible_collections.shipshape.stack.plugins.module_utils import _certificate_deploy as deployment
from ansible_collections.shipshape.stack.plugins.module_utils import _certificate_store as store


@dataclass
class Report:
    """What the task says in the end."""

    issued: list[str] = field(default_factory=list)
    deployed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    undeclared: list[str] = field(default_factory=list)
    waiting: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    certificates: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    diff: list[dict[str, str]] = field(default_factory=list)
    changed: bool = False

    def show(self, title: str, before: str, after: str) -> None:
        self.changed = True
        self.diff.append({"before_header": title, "after_header": title, "before": before, "after": after})


def line(domains: Any, server: str) -> str:
    return f"{', '.join(sorted(domains))} from {planning.environment_of(server)}\n"


def describe(report: Report, certs: Iterable[Mapping[str, Any]], world: deployment.World) -> None:
    """What is served in the end, for whoever reads the result."""
    for cert in certs:
        name = cert["name"]
        own = os.path.join(world.state, "self_signed", name)
        places = [store.current(name, world.nginx_root), os.path.join(host.ETC, "live", name), own]
        chain = next(filter(None, (host.read(os.path.join(place, store.CHAIN)) for place in places)), b"")
        leaf = x509.leaf(chain) if x509.available() else None
        if leaf:
            end = datetime.datetime.fromtimestamp(leaf.not_after, datetime.timezone.utc)
            report.certificates[name] = {
                "domains": sorted(leaf.domains),
                "issuer": leaf.issuer,
                "not_after": end.isoformat(),
                "placeholder": store.target(name, world.nginx_root) in (store.PLACEHOLDER, store.BORROWED),
            }
