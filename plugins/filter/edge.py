# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the wiring of the group lb."""

from __future__ import annotations

from ansible_collections.shipshape.stack.plugins.module_utils._edge import edge_checks, upstream_servers


class FilterModule:
    """The filters by name."""

    def filters(self):
        return {"edge_checks": edge_checks, "upstream_servers": upstream_servers}
