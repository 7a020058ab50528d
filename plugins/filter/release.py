# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters about the run that makes a release."""

from __future__ import annotations

from ansible_collections.shipshape.stack.plugins.module_utils._release_run import lives, owner


class FilterModule:
    """The filters by name."""

    def filters(self):
        return {"release_owner": owner, "run_lives": lives}
