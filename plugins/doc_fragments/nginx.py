# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules of nginx have in common."""

from __future__ import annotations


class ModuleDocFragment:
    """Fragments by their names."""

    DOCUMENTATION = r"""
attributes:
  platform:
    support: full
    platforms: debian
    description: nginx 1.22 and 1.26, with systemd.
"""

    CHANGE = r"""
options:
  warnings:
    description: Whether a tree is refused that nginx warns of, if it does not warn of the same in the live one.
    type: str
    choices: [refuse, accept]
    default: refuse
  reload_seconds:
    description: How long nginx may take to prove that it serves the new tree.
    type: int
    default: 30
"""

    UPSTREAM = r"""
options:
  name:
    description: Name of the upstream.
    type: str
    required: true
"""
