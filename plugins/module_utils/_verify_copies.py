# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the targets have of a set: read back whole, and held against what was sent there."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ._backup_config import copied
from ._backup_copies import target
from ._backup_host import OvertimeError
from ._backup_manifest import BackupError
from ._backup_report import below
from ._backup_sets import Store
from ._backup_target import CopyError, Target
from ._verify_model import FAILED, LEVELS, Finding, at_least, finding, reached, verdict


def report_of_copies(config: Mapping[str, Any], store: Store, name: str, level: str) -> list[dict[str, Any]]:
    """One entry for each target that got the set, and one more if there are too few."""
    remembered = store.memory()["copies"].get(name, {})
    found: list[dict[str, Any]] = []
    there = []
    for options in config["copies"]:
        if options["name"] in remembered:
            begun = time.monotonic()
            record = remembered[options["name"]]
            wrong = list(_look(target(options, config["host"]), store.sets / name, record, level))
            found.append(_entry(f"{name} in {options['name']}", wrong, level, time.monotonic() - begun))
            # One that could not be looked at may be there; that it was not looked at is said.
            there += [options["name"]] if verdict(wrong) != FAILED else []
    try:
        schedule = store.read(name)["schedule"]
    except (BackupError, OSError):
        return found  # the set's own findings say so
    lacking = below(there, config["copies"], config["copies_min"]) if copied(config, schedule) else ""
    if lacking:
        found.append(_entry(name, [finding("COPIES_BELOW", f"it is whole {lacking}")], level, 0.0))
    return found


def _look(there: Target, folder: Path, record: Mapping[str, Any], level: str) -> Iterator[Finding]:
    if not at_least("checksum", level):
        return
    try:
        there.look(folder, record)
    except CopyError as exc:
        yield finding(exc.found, str(exc))
    except OvertimeError as exc:
        yield finding("TIMEOUT", str(exc), "checksum")
    except (BackupError, OSError) as exc:
        yield finding("NOT_READABLE", str(exc), "checksum")


def _entry(path: str, found: list[Finding], level: str, seconds: float) -> dict[str, Any]:
    most = level if LEVELS.index(level) < LEVELS.index("checksum") else "checksum"
    return {
        "path": path,
        "verdict": verdict(found),
        "level_reached": reached(found, most),
        "findings": [each.plain() for each in found],
        "ignored": [],
        "durations": {"checksum": round(seconds, 3)},
    }
