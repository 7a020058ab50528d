# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The switch of one upstream on this host: the live tree with other servers, by the steps of any other change."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ansible_collections.shipshape.stack.plugins.module_utils import _nginx_access as access
from ansible_collections.shipshape.stack.plugins.module_utils import _nginx_converge as work
from ansible_collections.shipshape.stack.plugins.module_utils import _nginx_host as host
from ansible_collections.shipshape.stack.plugins.module_utils import _nginx_upstream as core
from ansible_collections.shipshape.stack.plugins.module_utils._config_apply import Tools
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_change import Options
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_swap import Wanted


@dataclass
class Making:
    """Called under the lock: what nginx shall serve then, and what is told of it."""

    switch: core.Switch
    record: dict[str, Any] = field(default_factory=dict)
    mark: str = ""

    def __call__(self) -> Wanted:
        self.record, files = core.changed(work.standing(host.live()), self.switch)
        # Before the reload, so that the first requests of new servers are after it.
        self.mark = access.mark(self.record["logs"])
        return core.wanted_of(files)


def run(switch: core.Switch, tools: Tools, options: Options, check_mode: bool) -> dict[str, Any]:
    making = Making(switch)
    result = (work.foresee if check_mode else work.ensure)(making, tools, options)
    return {
        **{key: result[key] for key in ("changed", "generation", "warned", "diff")},
        "servers": core.serving(making.record),
        "maintenance": making.record["maintenance"],
        "mark": making.mark,
    }


def look(name: str, mark: str | None, addresses: list[str]) -> dict[str, Any]:
    """An upstream as it is, and what its servers did since a mark."""
    record = core.read(work.standing(host.live()), name)
    found = {"owners": record["owners"] or {}, "maintenance": record["maintenance"], "logs": record["logs"]}
    if mark is None:
        return found
    own = addresses or [server["address"] for server in core.serving(record)]
    asked = access.logged(own)
    requests, errors = access.count(access.since(record["logs"], mark), asked)
    by_name: dict[str, int] = {}
    for address, number in errors.items():
        by_name[asked[address]] = by_name.get(asked[address], 0) + number
    return {**found, "requests": requests, "errors": by_name}
