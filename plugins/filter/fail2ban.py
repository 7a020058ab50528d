# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters over the options of the role fail2ban."""

from __future__ import annotations

from ansible_collections.shipshape.stack.plugins.module_utils._fail2ban import (
    filter_section,
    jail_sections,
    never_banned,
    problems,
)


class FilterModule:
    """The filters by name."""

    def filters(self):
        return {
            "fail2ban_filter": filter_section,
            "fail2ban_jails": jail_sections,
            "fail2ban_never_banned": never_banned,
            "fail2ban_problems": problems,
        }
