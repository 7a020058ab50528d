# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is refused in health checks before it reaches a host."""

from __future__ import annotations

from ansible_collections.shipshape.stack.plugins.filter.health_problems import health_problems


def test_good_checks():
    assert health_problems([{"name": "disk", "type": "disk", "path": "/"}, {"name": "load", "type": "load"}]) == []


def test_no_checks():
    assert health_problems([]) == []


def test_every_mistake_is_named():
    found = health_problems([{"name": "disk", "type": "disc"}, {"type": "load"}])
    assert len(found) == 2
    assert "did you mean disk?" in found[0]
