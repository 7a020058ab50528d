# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`shipshape restore`: a database, or a whole set, with a copy of what is there kept beside."""

from __future__ import annotations

import argparse
import sys
import syslog
from functools import partial
from pathlib import Path
from typing import Any

from . import _cli_pitr
from ._backup_config import SAFETY
from ._backup_host import BusyError, StoppedError, one_at_a_time, stop_on_signals
from ._backup_manifest import COMPONENTS, BackupError
from ._backup_restore import (
    KINDS,
    Outcome,
    Wanted,
    artefact_of,
    postgresql_of,
    put_back,
    restore_database,
    restore_file,
    restore_full,
    set_with,
)
from ._backup_restore_apps import NotStartedError
from ._backup_restore_file import looked_at
from ._backup_restore_health import unhealthy
from ._backup_run import run as run_schedule
from ._backup_sets import Store
from ._cli_backup import BUSY, CONFIG, FAILED, load, log

NAME = "restore"
UNWELL = 4
HELP = "Put back what was backed up."
EPILOG = (
    "Exit status: 0 restored and proven, 1 failed and everything is as it was, 3 wrong arguments, 4 restored, but what"
    " runs on the host is not well, 75 a run is at it."
)


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", default=CONFIG, metavar="FILE", help="default: %(default)s")
    verbs = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    own = verbs.add_parser("db", help="one database, under its own name or another")
    own.add_argument("database", metavar="DATABASE|FILE", help="its name, or the path of a dump, whoever made it")
    own.add_argument("--set", metavar="ID", help="the set (default: the newest that has the database)")
    own.add_argument("--into", metavar="NAME", help="restore into this database, and leave the other one alone")
    _common(own, _db)
    own = verbs.add_parser("full", help="all of a set")
    own.add_argument("set", metavar="ID")
    own.add_argument("--only", choices=sorted(KINDS.values()), nargs="+", default=[], help="these kinds alone")
    own.add_argument(
        "--with",
        dest="requested",
        nargs="+",
        default=[],
        metavar="COMPONENT",
        help="also what is put back on request only, such as files that playbooks write",
    )
    own.add_argument(
        "--no-safety", action="store_true", help="make no backup before; for a new host with nothing on it"
    )
    _common(own, _full)
    own = verbs.add_parser("mend", help="put back what a restore that was killed had replaced, and no more")
    own.add_argument("--give-up", action="store_true", help="leave what cannot be put back, and say what it is")
    _common(own, _mend)
    own = verbs.add_parser("pitr", help="all databases of the cluster as they were at a time")
    _cli_pitr.configure_restore(own)
    _common(own, _pitr)


def _common(parser: argparse.ArgumentParser, action: Any) -> None:
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--wait", type=float, default=0.0, metavar="SECONDS", help="for another run to end")
    parser.add_argument(
        "--health",
        type=float,
        default=120.0,
        metavar="SECONDS",
        help="for the checks of `shipshape health` to become healthy again; 0 for none (default: %(default)s)",
    )
    parser.set_defaults(action_of=action)


def run(arguments: argparse.Namespace) -> int:
    config = load(arguments.config)
    stop_on_signals()
    try:
        with one_at_a_time(f"restore {arguments.action}", arguments.wait):
            outcome = arguments.action_of(arguments, config)
    except BusyError as exc:
        sys.stderr.write(f"shipshape: {exc}\n")
        return BUSY
    except StoppedError as exc:
        log(syslog.LOG_ERR, f"restore: {exc}")
        sys.stderr.write(f"shipshape: {exc}; {Store(config).unfinished() or 'everything is as it was'}\n")
        return FAILED
    except NotStartedError as exc:
        log(syslog.LOG_ERR, f"restored, and not everything runs: {exc}")
        sys.stderr.write(f"shipshape: restored, and not everything runs: {' '.join(str(exc).split())}\n")
        return UNWELL
    except (BackupError, OSError) as exc:
        log(syslog.LOG_ERR, f"restore: {exc}")
        sys.stderr.write(f"shipshape: {' '.join(str(exc).split())}\n")
        return FAILED
    _tell(outcome, config)
    return _ask(arguments, outcome)


def _ask(arguments: argparse.Namespace, outcome: Outcome) -> int:
    """What came back is what was backed up. Whether the app can work with it, the app says."""
    beside = getattr(arguments, "into", None) and not outcome.replaced
    if not arguments.health or beside:
        return 0
    try:
        found = list(unhealthy(arguments.health))
    except StoppedError as exc:
        found = [f"{exc} before the checks had an answer: see `shipshape health`"]
    for line in found:
        log(syslog.LOG_ERR, f"after the restore: {line}")
        sys.stderr.write(f"shipshape: restored, and not healthy: {line}\n")
    return UNWELL if found else 0


def _tell(outcome: Outcome, config: dict[str, Any]) -> None:
    goal = config["rto_seconds"]
    verdict = "within" if outcome.seconds <= goal else "MORE THAN"
    took = f"it took {outcome.seconds:.1f} s ({verdict} the {goal} s that are wanted)"
    lines = [
        f"restored {', '.join(outcome.restored)} from {outcome.name}",
        f"{took}, {outcome.down_seconds:.1f} s of them with the apps stopped",
    ]
    lines = [*(lines if outcome.restored else []), *outcome.notes]
    for line in lines:
        log(syslog.LOG_INFO, line)
    sys.stdout.write("\n".join(lines) + "\n")


def say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def confirm(arguments: argparse.Namespace, what: str, word: str) -> None:
    if arguments.yes:
        return
    if not sys.stdin.isatty():
        raise BackupError(f"{what}. Nothing was done: add --yes if that is what you want")
    sys.stderr.write(f"{what}. Type {word} to go on: ")
    sys.stderr.flush()
    if sys.stdin.readline().strip() != word:
        raise BackupError("nothing was done")


def _mend(arguments: argparse.Namespace, config: dict[str, Any]) -> Outcome:
    store = Store(config)
    left = store.unfinished()
    if not left:
        return Outcome("", notes=["nothing was left of a restore"])
    confirm(arguments, f"{left}{'. What was written since then is lost' if store.replaced() else ''}", "mend")
    recovered = partial(_cli_pitr.mend, config, arguments.wait, say) if store.recovery.exists() else list
    return Outcome("", notes=put_back(config, recovered, arguments.give_up, say))


def _ready(config: dict[str, Any]) -> Store:
    """A restore over half of another one would keep that half as what was there before."""
    store = Store(config)
    store.prepare()
    if left := store.unfinished():
        raise BackupError(f"nothing was done, as {left}")
    return store


def _db(arguments: argparse.Namespace, config: dict[str, Any]) -> Outcome:
    store = _ready(config)
    database, name = arguments.database, arguments.set
    if "/" in database:
        if name:
            raise BackupError(f"{database} is a file, so leave --set out")
        found = artefact_of(store, Path(database).absolute())
        if not found:
            return _file(arguments, config, Path(database).absolute())
        name, database = found
    name, _document, _entry = set_with(store, database, name)
    target = arguments.into or database
    confirm(arguments, f"the database {target} will be replaced by {database} of {name}", target)
    return restore_database(config, database, name, arguments.into, say)


def _file(arguments: argparse.Namespace, config: dict[str, Any], path: Path) -> Outcome:
    component = postgresql_of(config)
    found = looked_at(path, component["timeout"])
    target = arguments.into or found.get("database")
    if not target:
        raise BackupError(f"{path} does not say which database it is of: name one by --into")
    confirm(arguments, f"the database {target} will be replaced by what is in {path}", target)
    return restore_file(config, component, path, found, target, say)


def _full(arguments: argparse.Namespace, config: dict[str, Any]) -> Outcome:
    store = _ready(config)
    store.read(arguments.set)
    names = [each["name"] for each in config["components"]]
    if unknown := sorted(set(arguments.requested) - set(names)):
        raise BackupError(f"--with {', '.join(unknown)}: the components of this host are {', '.join(names)}")
    confirm(arguments, f"what is on this host will be replaced by {arguments.set}", arguments.set)
    if not arguments.no_safety:
        # Of what is replaced: a server that is down need not be asked for another one's sake.
        own = [each for each in config["components"] if each["type"] in (arguments.only or COMPONENTS)]
        report = run_schedule({**config, "copies": [], "components": own}, SAFETY, say)
        if not report.ok:
            raise BackupError(
                f"no backup could be made before: {'; '.join(report.errors)}. With --no-safety none is made"
            )
    return restore_full(config, arguments.set, Wanted(arguments.only, arguments.requested), say)


def _pitr(arguments: argparse.Namespace, config: dict[str, Any]) -> Outcome:
    _ready(config)
    return _cli_pitr.recover(arguments, config, lambda what, word: confirm(arguments, what, word), say)
