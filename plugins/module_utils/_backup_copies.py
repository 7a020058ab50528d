# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The target of a copy, by the tool that it is written with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ._backup_rclone import Rclone
from ._backup_restic import Restic
from ._backup_target import Target

TOOLS: dict[str, type[Target]] = {"restic": Restic, "rclone": Rclone}


def target(options: Mapping[str, Any], host: str) -> Target:
    return TOOLS[options["tool"]](options, host)
