# Copyright: (c) 2026, The shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A report as text, for a terminal, a mail from cron or a playbook's output. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from ._health_spec import DEGRADED, HEALTHY, SKIPPED, UNHEALTHY, excerpt

COLOURS = {HEALTHY: "32", DEGRADED: "33", UNHEALTHY: "31", SKIPPED: "36"}
LINES = 4


def render(report: Mapping[str, Any], width: int = 80, colour: bool = False) -> str:
    """One row per check and a closing line; long details go on below, in their own column."""
    rows = report["checks"]
    name_width = min(max([5, *(len(row["name"]) for row in rows)]), 24)
    detail_at = name_width + 2 + 9 + 2 + 6 + 2
    lines = [f"{'CHECK':{name_width}}  {'STATE':9}  {'MS':>6}  DETAIL"]
    for row in rows:
        name = excerpt(str(row["name"]), name_width)
        state = _paint(f"{row['status']:9}", row["status"], colour)
        detail = excerpt(str(row["detail"]), 1000)
        wrapped = textwrap.wrap(
            detail, max(20, width - detail_at), max_lines=LINES, placeholder=" ...", break_on_hyphens=False
        )
        lines.append(f"{name:{name_width}}  {state}  {row['elapsed_ms']:>6}  {wrapped[0] if wrapped else ''}".rstrip())
        lines += [" " * detail_at + more for more in wrapped[1:]]
    counts = [(state, sum(row["status"] == state for row in rows)) for state in COLOURS]
    said = ", ".join(f"{count} {state}" for state, count in counts if count)
    lines.append(f"{_paint(report['status'], report['status'], colour)}: {said} in {report['elapsed']} s")
    return "\n".join(lines)


def _paint(text: str, state: str, colour: bool) -> str:
    return f"\033[{COLOURS[state]}m{text}\033[0m" if colour else text
