# Copyright: (c) 2026, The shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter health_table; documented in health_table.yml."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.shipshape.stack.plugins.module_utils._health_table import render


def health_table(report: Any, width: int = 80) -> str:
    try:
        return render(report, width=width)
    except (KeyError, TypeError) as exc:
        raise AnsibleFilterError(f"health_table wants what health_check returns; {exc} is wrong or missing") from exc


class FilterModule:
    def filters(self) -> Mapping[str, Callable[..., str]]:
        return {"health_table": health_table}
