# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`shipshape backup drill`: is what we have enough, and how long would it take?"""

from __future__ import annotations

import argparse
import json
import random
import sys
import syslog
import time
from collections.abc import Callable
from typing import Any

from ._backup_host import gentle, one_at_a_time
from ._backup_manifest import BackupError
from ._backup_notify import message, tell
from ._backup_report import columns
from ._backup_sets import Store
from ._cli_verify import EXIT
from ._drill_plan import HEAD, HERE, rows, summary
from ._drill_run import How, drill, history, remember
from ._verify_model import LEVELS, PASSED

LOCK = "/run/shipshape-drill.lock"
Log = Callable[[int, str], None]


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--from", dest="source", metavar="NAME", help=f"a copy, or `{HERE}` (default: as configured, or the first copy)"
    )
    parser.add_argument("--level", choices=LEVELS, help="how far to prove it (default: as configured, or integrity)")
    parser.add_argument("--identity", default="", metavar="FILE", help="the key of a copy that is encrypted with age")
    parser.add_argument(
        "--jitter", type=int, default=0, metavar="SECONDS", help="begin at some moment within that time"
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--list", action="store_true", help="make none, and show those that were made")
    parser.add_argument("--quiet", action="store_true", help="say what went wrong only, for cron")


def run(arguments: argparse.Namespace, config: dict[str, Any], target_of: Callable[..., Any], log: Log) -> int:
    if arguments.list:
        known = history(Store(config))
        sys.stdout.write(json.dumps(known, indent=1) + "\n" if arguments.json else columns(HEAD, list(rows(known))))
        return 0
    own = config["drill"]
    # What is encrypted for a key that is not here cannot be brought by cron.
    readable = (each["name"] for each in config["copies"] if not each["age_recipients"] or arguments.identity)
    source = arguments.source or own["source"] or next(readable, HERE)
    copy = None if source == HERE else target_of(config, source)
    # No secret: it only keeps the hosts of a fleet from starting in one moment.
    time.sleep(random.uniform(0, arguments.jitter))  # noqa: S311
    gentle()
    quiet = arguments.quiet or arguments.json
    with one_at_a_time("backup drill", path=LOCK):
        try:
            how = How(arguments.level or own["level"], own["timeout"], arguments.identity, own["ignore"])
            report = drill(config, copy, how, _nothing if quiet else _say)
        except (BackupError, OSError) as exc:
            _tell(config, log, {"ok": False, "name": "", "errors": [str(exc)], "found": []})
            raise
        for problem in remember(config, report):
            log(syslog.LOG_WARNING, problem)
            sys.stderr.write(f"{problem}\n")
    ok = report["verdict"] == PASSED
    for text in summary(report):
        log(syslog.LOG_INFO if ok else syslog.LOG_ERR, text)
        if not (arguments.json or (quiet and ok)):
            (sys.stderr if arguments.quiet else sys.stdout).write(f"{text}\n")
    if arguments.json:
        sys.stdout.write(json.dumps(report, indent=1) + "\n")
    names = ", ".join(each["id"] for each in report["sets"])
    _tell(config, log, {"ok": ok, "name": names, "errors": [], "found": report["findings"]})
    return EXIT[report["verdict"]]


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _nothing(_text: str) -> None:
    pass


def _tell(config: dict[str, Any], log: Log, report: dict[str, Any]) -> None:
    # A drill is no sign of life of the backup, so the dead man's switch is not called.
    for problem in tell({**config["notify"], "ping": ""}, message(config["host"], "drill", report)):
        log(syslog.LOG_WARNING, problem)
        sys.stderr.write(f"{problem}\n")
