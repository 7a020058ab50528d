# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`shipshape backup`: run a schedule, list the sets, bring one home from a copy."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import sys
import syslog
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Optional

from . import _cli_drill, _cli_pitr, _cli_verify
from ._backup_config import MANUAL, SAFETY, latest, read
from ._backup_copies import target as target_for
from ._backup_host import BusyError, StoppedError, gentle, one_at_a_time, stop_on_signals
from ._backup_manifest import BackupError
from ._backup_notify import message, tell
from ._backup_report import describe, due, table
from ._backup_run import Report, make_up
from ._backup_run import run as run_schedule
from ._backup_send import adopt, lacking
from ._backup_sets import Store
from ._backup_target import Target

NAME = "backup"
HELP = "Back this host up, and see what there is."
EPILOG = (
    "Exit status: 0 done, 1 something failed, 2 could not be verified, 3 the arguments or the configuration are wrong,"
    " 75 another run is at it."
)
CONFIG = "/etc/shipshape/backup.json"
FAILED, BUSY = 1, 75
Action = Callable[[argparse.Namespace, dict[str, Any]], int]


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", default=CONFIG, metavar="FILE", help="default: %(default)s")
    verbs = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    own = verbs.add_parser("run", help="make a set; the last line of the output is its id")
    own.add_argument("--schedule", default=MANUAL, help="what to back up (default: everything, kept as `manual`)")
    own.add_argument("--verify", nargs="?", const="restore", metavar="LEVEL", help="verify it too (default: restore)")
    own.add_argument("--missed", action="store_true", help="run the schedules that are overdue, and no others")
    own.add_argument("--jitter", type=int, default=0, metavar="SECONDS", help="begin at some moment within that time")
    own.add_argument("--wait", type=float, default=0.0, metavar="SECONDS", help="for another run to end")
    own.add_argument("--quiet", action="store_true", help="say what went wrong only, for cron")
    own.set_defaults(action_of=_run)
    own = verbs.add_parser("list", help="the sets on this host")
    own.add_argument("--json", action="store_true", help="as JSON")
    own.add_argument("--target", metavar="NAME", help="those of a copy instead")
    own.add_argument("--host", metavar="NAME", help="with --target: of another host, or `any`")
    own.set_defaults(action_of=_list)
    own = verbs.add_parser("fetch", help="bring a set home from a copy")
    own.add_argument("set", nargs="?", default="latest", help="its id (default: the newest)")
    own.add_argument("--target", metavar="NAME", help="the copy (default: the first)")
    own.add_argument("--host", metavar="NAME", help="of another host, or `any`; for a new host in place of a lost one")
    own.add_argument(
        "--identity", default="", metavar="FILE", help="age's secret key, which you bring, for a copy by rclone"
    )
    own.set_defaults(action_of=_fetch)
    own = verbs.add_parser("adopt", help="go on behind the sets of a target that are of this host's name and not known")
    own.add_argument("target", metavar="NAME")
    own.set_defaults(action_of=_adopt)
    own = verbs.add_parser("verify", help="prove a set, or any file: exit status 0 passed, 1 failed, 2 not known")
    _cli_verify.configure(own)
    own.set_defaults(action_of=_cli_verify.run)
    own = verbs.add_parser("drill", help="bring the newest sets from a copy, restore them aside, and time it")
    _cli_drill.configure(own)
    own.set_defaults(action_of=partial(_cli_drill.run, target_of=target_of, log=log))
    _cli_pitr.configure(verbs.add_parser("pitr", help=_cli_pitr.HELP))


def run(arguments: argparse.Namespace) -> int:
    config = load(arguments.config)
    stop_on_signals()
    try:
        action: Action = arguments.action_of
        return action(arguments, config)
    except BusyError as exc:
        sys.stderr.write(f"shipshape: {exc}\n")
        return BUSY
    except StoppedError as exc:
        log(syslog.LOG_ERR, str(exc))
        sys.stderr.write(f"shipshape: {exc}\n")
        return FAILED
    except (BackupError, OSError) as exc:
        log(syslog.LOG_ERR, str(exc))
        sys.stderr.write(f"shipshape: {' '.join(str(exc).split())}\n")
        return FAILED


def load(path: str) -> dict[str, Any]:
    try:
        return {**read(Path(path).read_text(encoding="utf-8")), "file": path}
    except FileNotFoundError:
        raise BackupError(f"{path}: there is no such file; the role shipshape.stack.backup writes it") from None
    except PermissionError:
        raise BackupError(f"{path}: not readable for this user; run as root") from None
    except BackupError as exc:
        raise BackupError(f"{path}: {exc}") from None


def log(level: int, text: str) -> None:
    """To the journal."""
    syslog.openlog("shipshape-backup", syslog.LOG_PID)
    syslog.syslog(level, " ".join(text.split()))


def _run(arguments: argparse.Namespace, config: dict[str, Any]) -> int:
    if arguments.schedule not in (MANUAL, SAFETY, *config["schedules"]):
        known = ", ".join([MANUAL, *config["schedules"]])
        raise BackupError(f"there is no schedule {arguments.schedule!r}: there are {known}")
    # No secret: it only keeps the hosts of a fleet from starting in one moment.
    time.sleep(random.uniform(0, arguments.jitter))  # noqa: S311
    gentle()
    status = 0
    try:
        with one_at_a_time(f"backup run {arguments.schedule}", arguments.wait):
            store = Store(config)
            missed = due(store.memory(), config["schedules"], time.time()) if arguments.missed else None
            for schedule in [arguments.schedule] if missed is None else missed:
                status = max(status, _one(arguments, config, schedule))
            if missed is not None and not missed and lacking(config, store):
                status = max(status, _tell(arguments, config, make_up(config, partial(_say, arguments))))
    except BusyError:
        if arguments.missed:  # what runs now is what was missed, or the next look finds it
            return 0
        raise
    return status


def _one(arguments: argparse.Namespace, config: dict[str, Any], schedule: str) -> int:
    return _tell(arguments, config, run_schedule(config, schedule, partial(_say, arguments), arguments.verify))


def _say(arguments: argparse.Namespace, text: str) -> None:
    if not arguments.quiet:
        sys.stderr.write(f"{text}\n")


def _tell(arguments: argparse.Namespace, config: dict[str, Any], report: Report) -> int:
    schedule = report.schedule
    for each in report.found:
        log(syslog.LOG_WARNING, f"{each['id']}: {each['message']}")
        sys.stderr.write(f"{each['id']}: {each['message']}: {each['hint']}\n")
    for error in report.errors:
        log(syslog.LOG_ERR, f"{schedule}: {error}")
        sys.stderr.write(f"shipshape: {error}\n")
    content = message(config["host"], schedule, {**vars(report), "ok": report.ok})
    notify = config["notify"]
    if report.ok and not _all_well(config):
        # One sign of life stands for all schedules: that of another must not hide the one that failed.
        notify = {**notify, "ping": ""}
    for problem in tell(notify, content):
        log(syslog.LOG_WARNING, problem)
        sys.stderr.write(f"{problem}\n")
    if not report.ok:
        return FAILED
    log(syslog.LOG_INFO, f"{schedule}: {report.name}, {report.size} bytes, {report.seconds:.1f} s")
    if not arguments.quiet:
        sys.stdout.write(f"{report.name}\n")
    return 0


def _all_well(config: dict[str, Any]) -> bool:
    memory = Store(config).memory()
    failed = [name for name in config["schedules"] if not memory["schedules"].get(name, {}).get("ok")]
    return not failed and not due(memory, config["schedules"], time.time())


def sets(config: dict[str, Any], problems: list[str]) -> list[dict[str, Any]]:
    """Newest first; a set that cannot be read is among the problems."""
    store, found, now = Store(config), [], time.time()
    memory, verified = store.memory(), store.verified()
    for name in reversed(store.names()):
        try:
            found.append(describe(name, store.read(name), verified, memory, now))
        except (BackupError, OSError) as exc:
            problems.append(str(exc))
    return found


def _list(arguments: argparse.Namespace, config: dict[str, Any]) -> int:
    if arguments.target:
        found = target_of(config, arguments.target).snapshots(_host(arguments, config))
        rows = [{**each, "snapshot": each["id"], "id": name} for name, each in found.items()]
        text = "".join(f"{each['id']}  {each['schedule']}  {each['hostname']}\n" for each in rows)
        sys.stdout.write(json.dumps(rows, indent=1) + "\n" if arguments.json else text)
        return 0
    problems: list[str] = []
    found_here = sets(config, problems)
    sys.stdout.write(json.dumps({"sets": found_here}, indent=1) + "\n" if arguments.json else table(found_here))
    for problem in problems:
        sys.stderr.write(f"shipshape: {problem}\n")
    return FAILED if problems else 0


def _host(arguments: argparse.Namespace, config: dict[str, Any]) -> Optional[str]:
    """Whose sets are meant; None is anybody's."""
    return None if arguments.host == "any" else arguments.host or config["host"]


def target_of(config: dict[str, Any], name: Any) -> Target:
    for options in config["copies"]:
        if name in (None, options["name"]):
            return target_for(options, config["host"])
    there = ", ".join(each["name"] for each in config["copies"]) or "none"
    raise BackupError(f"there is no copy {name or ''}: there is {there}")


def _adopt(arguments: argparse.Namespace, config: dict[str, Any]) -> int:
    target, store = target_of(config, arguments.target), Store(config)
    with one_at_a_time("backup adopt"):
        store.prepare()
        adopt(store, target.name, held=bool(target.snapshots(config["host"])))
    return 0


def _fetch(arguments: argparse.Namespace, config: dict[str, Any]) -> int:
    target, store = target_of(config, arguments.target), Store(config)
    with one_at_a_time("backup fetch"):
        store.prepare()
        found = target.snapshots(_host(arguments, config))
        name = latest(config, found) if arguments.set == "latest" else arguments.set
        if name not in found:
            raise BackupError(
                f"copy {target.name} has no set {name}: see `shipshape backup list --target {target.name}`"
            )
        target.fetch(name, found[name], store.sets, os.path.abspath(arguments.identity) if arguments.identity else "")
        memory = store.memory()
        # What was remembered of the upload is what a later look compares with.
        memory["copies"].setdefault(name, {}).setdefault(
            target.name, {"at": time.time(), "snapshot": found[name]["id"]}
        )
        still = {each: memory["fetched"][each] for each in store.fetched(time.time())}
        memory["fetched"] = {**still, name: time.time()}
        with contextlib.suppress(OSError):
            store.remember(memory)
            # Who has brought a set home knows what is there.
            adopt(store, target.name, held=True)
    sys.stdout.write(f"{name}\n")
    return 0
