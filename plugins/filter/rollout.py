# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that the role app_stack takes a release through its hosts with."""

from __future__ import annotations

from ansible_collections.shipshape.stack.plugins.module_utils import _rollout as core
from ansible_collections.shipshape.stack.plugins.module_utils import _rollout_report as report
from ansible_collections.shipshape.stack.plugins.module_utils import _rollout_traffic as traffic


class FilterModule:
    """The filters by name."""

    def filters(self):
        return {
            "rollout_divided": core.divided,
            "rollout_failed": core.failed,
            "rollout_failing": core.failing,
            "rollout_failure": core.failure,
            "rollout_listed": report.listed,
            "rollout_migrates": core.migrates,
            "rollout_moves": core.moves,
            "rollout_problem": report.problem,
            "rollout_rounds": core.rounds,
            "rollout_slices": core.slices,
            "rollout_stages": traffic.stages,
            "rollout_summary": report.summary,
            "rollout_switches": traffic.switches,
        }
