# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters over the options of the role postgresql."""

from __future__ import annotations

from ansible_collections.shipshape.stack.plugins.module_utils._postgresql_role import (
    databases,
    hba,
    pool_hba,
    problems,
)


class FilterModule:
    """The filters by name."""

    def filters(self):
        return {
            "postgresql_databases": databases,
            "postgresql_hba": hba,
            "postgresql_pool_hba": pool_hba,
            "postgresql_problems": problems,
        }
