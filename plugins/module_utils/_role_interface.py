# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a role's argument specification knows, and which variables it does not.

Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

import difflib
from typing import Any, Iterable


def options_of(specs: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The options of all entry points of a role, from the parsed meta/argument_specs.yml."""
    return {
        name: option
        for entry_point in specs["argument_specs"].values()
        for name, option in entry_point.get("options", {}).items()
    }


def unknown_variables(names: Iterable[str], specs: dict[str, Any]) -> list[str]:
    """One message for each name that the role does not have.

    Ansible passes a misspelt variable in silence: the role would run with the default instead.
    """
    known = sorted(options_of(specs))
    messages = []
    for name in sorted(set(names) - set(known)):
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else "the role's README names where its options are described"
        messages.append(f"{name} is not an option: {hint}")
    return messages


def missing_variables(names: Iterable[str], specs: dict[str, Any]) -> list[str]:
    """One message for each required option that is not among the names."""
    given = set(names)
    return [
        f"{name} is required and not set: {' '.join(str(option.get('description', '')).split())}"
        for name, option in sorted(options_of(specs).items())
        if option.get("required") and name not in given
    ]
