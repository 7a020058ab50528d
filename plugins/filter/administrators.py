# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter administrators."""

from __future__ import annotations

from ansible_collections.shipshape.stack.plugins.module_utils._administrators import administrators


class FilterModule:
    """The filters by name."""

    def filters(self):
        return {"administrators": administrators}
