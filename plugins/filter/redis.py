# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters over the options of the role redis."""

from __future__ import annotations

from ansible_collections.shipshape.stack.plugins.module_utils._redis_options import (
    passwords,
    problems,
    settings,
    users,
)


class FilterModule:
    """The filters by name."""

    def filters(self):
        return {
            "redis_passwords": passwords,
            "redis_problems": problems,
            "redis_settings": settings,
            "redis_users": users,
        }
