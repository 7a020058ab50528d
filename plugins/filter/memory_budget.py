# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter memory_budget."""

from __future__ import annotations

from ansible_collections.shipshape.stack.plugins.module_utils._memory_budget import memory_budget


class FilterModule:
    """The filters by name."""

    def filters(self):
        return {"memory_budget": memory_budget}
