# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter health_problems."""

from __future__ import annotations

from ansible_collections.shipshape.stack.plugins.module_utils._health_plan import read_plan
from ansible_collections.shipshape.stack.plugins.module_utils._health_spec import HealthError
from ansible_collections.shipshape.stack.plugins.module_utils._probe_registry import REGISTRY


def health_problems(checks):
    """What `shipshape health` would refuse in these checks; nothing where there are none."""
    if not checks:
        return []
    try:
        read_plan({"checks": list(checks)}, REGISTRY)
    except HealthError as exc:
        return list(exc.problems)
    return []


class FilterModule:
    """The filters by name."""

    def filters(self):
        return {"health_problems": health_problems}
