# Copyright: (c) 2026, The shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`shipshape health`: the checks of the configuration, as a table or as JSON."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from ._health_engine import run as run_plan
from ._health_plan import read_plan
from ._health_spec import DEGRADED, HEALTHY, UNHEALTHY, HealthError
from ._health_table import render
from ._probe_registry import REGISTRY

NAME = "health"
HELP = "Probe this host and what runs on it."
EPILOG = "Exit status: 0 healthy, 1 degraded, 2 unhealthy, 3 the arguments or the configuration are wrong."
EXIT = {HEALTHY: 0, DEGRADED: 1, UNHEALTHY: 2}
CONFIG = "/etc/shipshape/health.json"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", default=CONFIG, metavar="FILE", help="what to check (default: %(default)s)")
    parser.add_argument("--format", choices=("table", "json"), default="table", help="default: %(default)s")
    parser.add_argument("--check", nargs="+", action="extend", metavar="NAME", help="only the checks of these names")
    parser.add_argument("--quiet", action="store_true", help="print nothing while everything is healthy, for cron")


def run(arguments: argparse.Namespace) -> int:
    try:
        plan = read_plan(load(Path(arguments.config)), REGISTRY, arguments.check)
    except HealthError as exc:
        raise HealthError(f"{arguments.config}: {exc}") from exc
    report = run_plan(plan)
    if not (arguments.quiet and report["status"] == HEALTHY):
        sys.stdout.write((json.dumps(report, indent=2) if arguments.format == "json" else _table(report)) + "\n")
    return EXIT[report["status"]]


def _table(report: dict[str, Any]) -> str:
    terminal = sys.stdout.isatty()
    width = min(shutil.get_terminal_size().columns, 120) if terminal else 80
    return render(report, width=width, colour=terminal and "NO_COLOR" not in os.environ)


def load(path: Path) -> dict[str, Any]:
    """The configuration; every way in which it cannot be read is one line that says what to do."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_unique)
    except FileNotFoundError:
        raise HealthError("there is no such file; name another with --config") from None
    except PermissionError:
        raise HealthError("not readable for this user; run as root") from None
    except OSError as exc:
        raise HealthError(str(exc.strerror)) from None
    except HealthError:
        raise
    except ValueError as exc:
        raise HealthError(f"not JSON: {exc}") from None
    if not isinstance(document, dict):
        raise HealthError('the file must hold an object like {"checks": [...]}')
    return document


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A key given twice would drop the first without a word."""
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _value in pairs]
        raise HealthError(f"{max(names, key=names.count)!r} is given twice in one object")
    return found
