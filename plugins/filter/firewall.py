# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the firewall's wiring."""

from __future__ import annotations

from ansible.errors import AnsibleFilterError
from ansible_collections.shipshape.stack.plugins.module_utils._firewall_flows import FlowError, problems, rules


def firewall_rules(flows, group_names, groups, addresses, host, first=()):
    """The rules of one host."""
    try:
        return [*first, *rules(flows, group_names, groups, addresses, host)]
    except FlowError as exc:
        raise AnsibleFilterError(str(exc)) from exc


class FilterModule:
    """The filters by name."""

    def filters(self):
        return {"firewall_problems": problems, "firewall_rules": firewall_rules}
