# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter behind the first play of site.yml."""

from __future__ import annotations

from ansible_collections.shipshape.stack.plugins.module_utils._preflight import problems


class FilterModule:
    """The filters by name."""

    def filters(self):
        return {"preflight": problems}
