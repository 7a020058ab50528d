# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter postgresql_tuning."""

from __future__ import annotations

from ansible.errors import AnsibleFilterError
from ansible_collections.shipshape.stack.plugins.module_utils._postgresql_tuning import TuningError, tune


def postgresql_tuning(wishes):
    """The settings of one server."""
    try:
        return tune(wishes)
    except TuningError as exc:
        raise AnsibleFilterError(str(exc)) from exc


class FilterModule:
    """The filters by name."""

    def filters(self):
        return {"postgresql_tuning": postgresql_tuning}
