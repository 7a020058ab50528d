# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters over the options of the role backup."""

from __future__ import annotations

from ansible_collections.shipshape.stack.plugins.module_utils._backup_options import config, problems, secret_files


class FilterModule:
    """The filters by name."""

    def filters(self):
        return {
            "backup_config": config,
            "backup_problems": problems,
            "backup_secret": secret_files,
        }
