# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters over a role's argument specification."""

from __future__ import annotations

from ansible_collections.shipshape.stack.plugins.module_utils._role_interface import (
    missing_variables,
    unknown_variables,
)


class FilterModule:
    """The filters by name."""

    def filters(self):
        return {"missing_variables": missing_variables, "unknown_variables": unknown_variables}
