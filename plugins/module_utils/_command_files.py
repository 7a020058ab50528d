# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that the host command `shipshape` is made of: its start, and whatever that imports."""

from __future__ import annotations

import ast
from pathlib import Path

FIRST = "_cli"


def imported(source: str) -> set[str]:
    """The modules beside it that a module imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            found |= {node.module} if node.module else {name.name for name in node.names}
    return found


def command_files(folder: Path) -> list[str]:
    """Paths, sorted. A list kept by hand would lack a file in one of the places that need it."""
    found: set[str] = set()
    waiting = {FIRST}
    while waiting:
        name = waiting.pop()
        found.add(name)
        waiting |= imported((folder / f"{name}.py").read_text(encoding="utf-8")) - found
    return sorted(str(folder / f"{name}.py") for name in found)
