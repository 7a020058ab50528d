# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`shipshape backup pitr` and `shipshape restore pitr`: base backups, a check of the archiving, recovery."""

from __future__ import annotations

import argparse
import json
import sys
import syslog
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import _pitr_host as host
from . import _pitr_plan as plan
from . import _pitr_report as report
from . import _pitr_restore as restore
from ._backup_host import BusyError, gentle, one_at_a_time, write_atomically
from ._backup_manifest import BackupError
from ._backup_notify import message, tell
from ._backup_restore import Outcome
from ._backup_sets import Store

HELP = "base backups and WAL by pgBackRest, for any point in time"
METRICS = "shipshape_pitr.prom"
FAILED = 1


def configure(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="pitr", metavar="ACTION", required=True)
    own = verbs.add_parser("run", help="make a base backup, and remove what is too old")
    own.add_argument(
        "--type", choices=report.KINDS, default="diff", help="default: %(default)s; a full one where none is"
    )
    own.add_argument("--missed", action="store_true", help="only if one is overdue")
    own.add_argument("--quiet", action="store_true", help="say what went wrong only, for cron")
    own.set_defaults(action_of=run)
    own = verbs.add_parser("check", help="does WAL arrive, is it whole, is there room: exit status 0, 1 or 2")
    own.add_argument("--timeout", type=int, default=60, metavar="SECONDS", help="for a segment to arrive (default: 60)")
    own.add_argument("--json", action="store_true", help="as JSON")
    own.add_argument("--quiet", action="store_true", help="say what is wrong only, and tell backup_notify, for cron")
    own.set_defaults(action_of=check)
    own = verbs.add_parser("info", help="the base backups, and from when on any time can be recovered")
    own.add_argument("--json", action="store_true", help="as pgBackRest says it")
    own.set_defaults(action_of=info)


def run(arguments: argparse.Namespace, config: dict[str, Any]) -> int:
    stanza, start = host.settings(config)["stanza"], time.monotonic()
    gentle()
    try:
        with one_at_a_time("backup pitr run", path=host.LOCK):
            kind = plan.due(host.info(stanza), time.time()) if arguments.missed else arguments.type
            if kind is None:
                return 0
            host.back_up(stanza, kind)
    except BusyError:
        if arguments.missed:  # what runs now is what was missed, or the next look finds it
            return 0
        raise
    except (BackupError, OSError) as exc:
        _tell(config, "pitr run", [str(exc)], [])
        raise
    newest = host.info(stanza).backups[-1]
    host.journal(syslog.LOG_INFO, f"pitr: {newest.label}, {newest.stored} bytes, {time.monotonic() - start:.1f} s")
    if not arguments.quiet:
        sys.stdout.write(f"{newest.label}\n")
    return 0


def check(arguments: argparse.Namespace, config: dict[str, Any]) -> int:
    if arguments.quiet and _is_busy():
        return 0  # a recovery is under way, and says itself how it went
    seen = host.look(config, arguments.timeout)
    found = plan.findings(seen)
    status = plan.status(found)
    _metrics(config, report.metrics(seen, found))
    for each in found:
        sys.stderr.write(f"{each['id']}: {each['message']}: {each['hint']}\n")
        host.journal(syslog.LOG_ERR, f"{each['id']}: {each['message']}")
    if arguments.quiet and found:
        _tell(config, "pitr check", [], found)
    if arguments.json:
        sys.stdout.write(json.dumps({"status": status, "findings": found}, indent=1) + "\n")
    elif not arguments.quiet and not found:
        sys.stdout.write("WAL arrives in the repository, none is missing, and the backups are fresh\n")
    return status


def _is_busy() -> bool:
    try:
        with one_at_a_time("backup pitr check"):
            return False
    except BusyError as exc:
        return "restore pitr" in str(exc)


def info(arguments: argparse.Namespace, config: dict[str, Any]) -> int:
    stanza = host.settings(config)["stanza"]
    found = host.info(stanza)
    _missing, window = host.wal(stanza, found, None)
    text = json.dumps(found.document, indent=1) + "\n" if arguments.json else report.table(found, window, time.time())
    sys.stdout.write(text)
    return 0 if found.backups else FAILED


def _metrics(config: Mapping[str, Any], text: str) -> None:
    folder = Path(config["metrics_file"]).parent
    if config["metrics_file"] and folder.is_dir():
        write_atomically(folder / METRICS, text, 0o644)


def _tell(config: Mapping[str, Any], what: str, errors: Sequence[str], found: Sequence[Mapping[str, str]]) -> None:
    """Only what is wrong. The sign of life that `ping` stands for is that of the sets, which this must not give."""
    content = message(config["host"], what, {"ok": False, "errors": errors, "found": found, "name": ""})
    for problem in tell(config["notify"], content):
        host.journal(syslog.LOG_WARNING, problem)
        sys.stderr.write(f"{problem}\n")


def configure_restore(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--target-time", metavar="TIME", required=True, help="such as '2026-11-26 02:00:00+00'")


def mend(config: Mapping[str, Any], wait: float, say: Callable[[str], None]) -> list[str]:
    """What a recovery that was killed has left. Its apps are started by whoever has stopped them anew."""
    with one_at_a_time("restore pitr", wait, host.LOCK):
        return restore.put_back(Store(config), say, keep=True)


def recover(
    arguments: argparse.Namespace,
    config: dict[str, Any],
    confirm: Callable[[str, str], None],
    say: Callable[[str], None],
) -> Outcome:
    """With the lock of restores held."""
    pitr, store = host.settings(config), Store(config)
    with one_at_a_time("restore pitr", arguments.wait, host.LOCK):
        target = plan.moment(arguments.target_time)
        plan.base_of(host.info(pitr["stanza"]), target, time.time(), host.timelines(store))
        confirm(f"all databases of port {pitr['port']} will be as they were at {plan.short(target)}", "recover")
        outcome = restore.recover(config, target, say)
        say("makes a new full backup")
        try:
            host.back_up(pitr["stanza"], "full")
        except BackupError as exc:
            outcome.notes.append(f"BUT no new full backup could be made: {exc}")
            _tell(config, "pitr run after a recovery", [str(exc)], [])
    return outcome
