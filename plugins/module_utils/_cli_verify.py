# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`shipshape backup verify`: prove a set of this host, or any file, and remember what came of it."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ._backup_host import write_atomically
from ._backup_manifest import BackupError, is_id
from ._backup_sets import Store
from ._verify_copies import report_of_copies
from ._verify_engine import problems, verify
from ._verify_history import HISTORY, METRICS, alone, default_metrics
from ._verify_model import FAILED, LEVELS, PASSED, UNVERIFIED, worst

EXIT = {PASSED: 0, FAILED: 1, UNVERIFIED: 2}
NEWEST = "newest"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--set", default=NEWEST, metavar="ID|PATH", help="a set, or any file (default: the newest set)")
    parser.add_argument("--level", choices=LEVELS, default="restore", help="how far to prove it (default: %(default)s)")
    parser.add_argument("--timeout", type=float, default=3600, metavar="SECONDS", help="default: %(default)s")
    parser.add_argument("--identity-file", default="", metavar="FILE", help="the key of what is encrypted with age")
    parser.add_argument("--password-file", default="", metavar="FILE", help="the password of a repository")
    parser.add_argument("--history", default="", metavar="FILE", help="add a line there (sets: in the state folder)")
    parser.add_argument("--metrics", default="", metavar="FILE", help=f"write metrics there (sets: {METRICS})")
    parser.add_argument("--no-copies", action="store_true", help="do not read back what the targets have of the set")
    parser.add_argument("--json", action="store_true", help="print the whole report as JSON")


def run(arguments: argparse.Namespace, config: dict[str, Any]) -> int:
    store = Store(config)
    path = place(store, arguments.set)
    ours = is_id(path.name) and path.parent == store.sets
    options = {
        "level": arguments.level,
        "timeout": arguments.timeout,
        "decrypt": {"identity_file": arguments.identity_file, "password_file": arguments.password_file},
        "history_path": arguments.history or (str(store.state / HISTORY) if ours else ""),
        "metrics_path": arguments.metrics or (default_metrics() if ours else ""),
    }
    report = verify(str(path), options)
    if ours:
        remember(store, path.name, report)
        if not arguments.no_copies:
            add(report, report_of_copies(config, store, path.name, arguments.level))
    if arguments.json:
        sys.stdout.write(json.dumps(report, indent=1) + "\n")
    else:
        for line in problems(report):
            sys.stderr.write(f"{line}\n")
        sys.stdout.write(f"{path}: {report['verdict']} up to {arguments.level}, {report['seconds']:.1f} s\n")
    return EXIT[report["verdict"]]


def add(report: dict[str, Any], copies: list[dict[str, Any]]) -> None:
    """After the verdict on the set itself was remembered: that does not change with what befell a copy."""
    report["artefacts"] += copies
    report["verdict"] = worst(each["verdict"] for each in report["artefacts"])


def place(store: Store, given: str) -> Path:
    if given == NEWEST:
        names = store.names()
        if not names:
            raise BackupError(f"there is no set in {store.sets}: run `shipshape backup run`")
        return store.sets / names[-1]
    return store.sets / given if is_id(given) else Path(given).absolute()


def remember(store: Store, name: str, report: dict[str, Any]) -> None:
    """Retention never goes below a number of sets that passed. What is gone is forgotten."""
    with alone(store.state):
        names = {*store.names(), name}
        known = {each: found for each, found in store.verified().items() if each in names}
        if _takes_nothing_from(known.get(name, {}), report):
            return
        known[name] = {
            "at": time.time(),
            "level": report["level_requested"],
            "verdict": report["verdict"],
            "rto_seconds": report["rto_seconds"],
            "findings": sorted({found["id"] for each in report["artefacts"] for found in each["findings"]}),
        }
        write_atomically(store.state / "verified.json", json.dumps(known, indent=1, sort_keys=True) + "\n")


def _takes_nothing_from(before: Mapping[str, Any], report: Mapping[str, Any]) -> bool:
    """What was proven stays proven, whatever a later look does not get to see: no room, no program, a lower level."""
    if before.get("verdict") != PASSED or report["verdict"] == FAILED:
        return False
    lower = LEVELS.index(report["level_requested"]) < LEVELS.index(before["level"])
    return report["verdict"] == UNVERIFIED or lower
