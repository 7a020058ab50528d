# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters over the options of the role docker."""

from __future__ import annotations

from ansible_collections.shipshape.stack.plugins.module_utils._docker_options import (
    daemon,
    packages,
    problems,
    source,
)


class FilterModule:
    """The filters by name."""

    def filters(self):
        return {
            "docker_daemon": daemon,
            "docker_packages": packages,
            "docker_problems": problems,
            "docker_source": source,
        }
