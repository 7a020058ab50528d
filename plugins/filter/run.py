# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters over runs of Ansible on this controller."""

from __future__ import annotations

from ansible_collections.shipshape.stack.plugins.module_utils._controller_run import identity, lives


class FilterModule:
    """The filters by name."""

    def filters(self):
        return {"run_identity": identity, "run_lives": lives}
