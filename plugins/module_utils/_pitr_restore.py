# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recover a cluster to a point in time: beside the one of before, which comes back if anything fails."""

from __future__ import annotations

import json
import os
import pwd
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from . import _pitr_host as host
from . import _pitr_plan as plan
from . import _postgresql_cluster as server
from ._backup_host import execute, need_space, read_json, remove, sync_folder, unhurried, write_atomically
from ._backup_manifest import BackupError, set_id
from ._backup_postgresql import connected, value
from ._backup_restore import Outcome
from ._backup_restore_apps import stopped
from ._backup_sets import Store
from ._config_restore import ConfigError
from ._postgresql_cluster import OWNER, Cluster

# A unit of systemd's: all of its processes end with it, whoever called it and however that ended.
UNIT = "shipshape-pitr-restore.service"
RESTORE_SECONDS = 86400
ARCHIVE_SECONDS = 60
STOP_SECONDS = 600
FATAL = re.compile(r"(?:FATAL|PANIC):\s+(.*)")
TIMELINE = re.compile(r"Latest checkpoint's TimeLineID:\s+(\d+)")
RESET = ("recovery_target_time", "recovery_target_action", "recovery_target_timeline")
Say = Callable[[str], None]


def recover(config: Mapping[str, Any], target: float, say: Say) -> Outcome:
    """With the locks held, and nothing left of an earlier one."""
    pitr, store, start = host.settings(config), Store(config), time.monotonic()
    cluster, repository = host.cluster(pitr), host.info(pitr["stanza"])
    records = host.timelines(store)
    base = plan.base_of(repository, target, time.time(), records)
    _refuse(cluster, base)
    outcome = Outcome(base.label)
    current = _last_wal(pitr["stanza"], cluster, outcome, say)
    timeline = plan.timeline_at(records, target, current)
    name = set_id(time.time())
    left = {
        "data": cluster.data,
        "before": f"{cluster.data}.before-{name}",
        "unfinished": f"{cluster.data}.unfinished-{name}",
        "unit": cluster.unit,
        "port": pitr["port"],
    }
    down = time.monotonic()
    with stopped(store, config["apps"], say):
        write_atomically(store.recovery, json.dumps(left) + "\n")
        try:
            _restore(pitr["stanza"], cluster, left, base, target, timeline, say)
            _prove(config, cluster, timeline, target, outcome)
            host.remember_timelines(
                store, [*records, {"left": current, "target": target, "began": time.time(), "before": left["before"]}]
            )
        except BaseException as exc:
            try:
                with unhurried():
                    put_back(store, say)
            except BackupError as problem:
                raise BackupError(f"{exc}. {problem}") from None
            raise BackupError(f"{exc}. The database is as it was") from None
        # From here on the new one is the database.
        store.recovery.unlink()
    outcome.down_seconds = time.monotonic() - down
    outcome.restored.append(f"the cluster {cluster.version}/{cluster.name} to {plan.short(target)}")
    outcome.notes.append(f"the data of before is kept as {left['before']}; remove it when you do not need it any more")
    outcome.seconds = time.monotonic() - start
    return outcome


def _refuse(cluster: Cluster, base: plan.Backup) -> None:
    data = Path(cluster.data)
    if cluster.standby:
        raise BackupError(f"{cluster.unit} is a standby: recover the primary")
    if data.is_symlink() or os.path.ismount(data):
        raise BackupError(
            f"{data} is a link or a mount of its own, and cannot be renamed: move the data one folder down"
        )
    spaces = data / "pg_tblspc"
    if spaces.is_dir() and any(spaces.iterdir()):
        raise BackupError(f"{spaces} has tablespaces, which lie outside of {data}: recover with pgbackrest by hand")
    need_space(data.parent, base.size)


def _last_wal(stanza: str, cluster: Cluster, outcome: Outcome, say: Say) -> int:
    """The timeline of the server, and all of its WAL in the repository where that can be had."""
    if not server.answers(cluster):
        outcome.notes.append("the server did not answer before: what it had not archived yet was not in the repository")
        argv = [f"{cluster.programs}/pg_controldata", cluster.data]
        _rc, out, _said = execute(argv, "pg_controldata", 60, accepted=(0, 1))
        found = TIMELINE.search(out.decode("utf-8", "replace"))
        if not found:
            raise BackupError(
                f"{cluster.data}: pg_controldata does not say the timeline: recover with pgbackrest by hand"
            )
        return int(found[1])
    with host.session(cluster) as connection:
        # A recovery ends at the first transaction after its target, so there has to be one.
        connection.execute("SELECT pg_current_xact_id()")
    try:
        say("the last WAL goes to the repository")
        host.check(stanza, ARCHIVE_SECONDS)
    except BackupError as exc:
        outcome.notes.append(f"WAL was not archived before the recovery: {exc}")
    return host.archiver(cluster).timeline


def _restore(
    stanza: str,
    cluster: Cluster,
    left: Mapping[str, Any],
    base: plan.Backup,
    target: float,
    timeline: int,
    say: Say,
) -> None:
    data, before, owner = Path(left["data"]), Path(left["before"]), pwd.getpwnam(OWNER)
    say(f"stops {cluster.unit}")
    execute(["systemctl", "stop", cluster.unit], "stop the server", STOP_SECONDS)
    data.rename(before)
    data.mkdir(mode=0o700)
    os.chown(data, owner.pw_uid, owner.pw_gid)
    sync_folder(data.parent)
    say(f"restores {base.label}")
    execute(
        [
            *("systemd-run", f"--unit={UNIT}", "--collect", "--wait", "--pipe", "--quiet"),
            *(f"--property=User={OWNER}", "--property=TimeoutStopSec=10", "--"),
            *("pgbackrest", f"--stanza={stanza}", f"--pg1-path={data}", f"--set={base.label}"),
            *("--type=time", f"--target={plan.written(target)}", "--target-action=promote"),
            *(f"--target-timeline={timeline}", "--log-level-stderr=error", "--log-level-console=off", "restore"),
        ],
        f"restore {base.label}",
        RESTORE_SECONDS,
    )
    say("recovers to the target")
    _start(cluster)
    _wait_promoted(cluster)


def _start(cluster: Cluster) -> None:
    execute(["systemctl", "reset-failed", cluster.unit], "start the server", 60, accepted=(0, 1))
    execute(["systemctl", "start", "--no-block", cluster.unit], "start the server", 60)


def _runs(unit: str) -> bool:
    _rc, state, _said = execute(["systemctl", "show", "--property=ActiveState", "--value", unit], unit, 60)
    _rc, jobs, _said = execute(["systemctl", "list-jobs", "--no-legend", unit], unit, 60, accepted=(0, 1))
    return bool(jobs.strip()) or state.strip() not in (b"failed", b"inactive")


def _wait_promoted(cluster: Cluster) -> None:
    """As long as it replays WAL it gets its time."""
    end = time.monotonic() + RESTORE_SECONDS
    while time.monotonic() < end:
        alive = _runs(cluster.unit)
        try:
            with host.session(cluster) as connection:
                if not value(connection, "SELECT pg_is_in_recovery()"):
                    return
        except BackupError:
            if not alive:
                reasons = FATAL.findall(server.last_words(cluster))
                reason = reasons[-1] if reasons else f"see {cluster.log}"
                raise BackupError(f"the server did not get to the target: {reason}") from None
        time.sleep(0.2)
    raise BackupError(f"the server did not get to the target within {RESTORE_SECONDS} s")


def _prove(config: Mapping[str, Any], cluster: Cluster, timeline: int, target: float, outcome: Outcome) -> None:
    with host.session(cluster) as connection:
        last = value(connection, "SELECT extract(epoch FROM pg_last_xact_replay_timestamp())::float8")
        names = [row[0] for row in connection.execute("SELECT datname FROM pg_database WHERE datallowconn ORDER BY 1")]
        for name in RESET:
            connection.execute(f"ALTER SYSTEM RESET {name}")
    if last is not None and last > target:
        raise BackupError(f"the recovery went on to {plan.written(last)}, beyond the target {plan.written(target)}")
    own = [each for each in config["components"] if each["type"] == "postgresql"]
    component = next(each for each in own if each["port"] == config["pitr"]["port"])
    for name in names:
        with connected(component, name) as connection:
            value(connection, "SELECT count(*) FROM pg_class")
    now = host.archiver(cluster).timeline
    if now == timeline:
        raise BackupError(f"the server is on timeline {now} as before: it was not recovered")
    outcome.notes.append(f"timeline {now}, databases {', '.join(names)}")
    when = f"is of {plan.written(last)}" if last else "is the backup's own"
    outcome.notes.append(f"the last transaction that came back {when}")


def put_back(store: Store, say: Say, keep: bool = False) -> list[str]:
    """What a recovery that failed, or was killed, has left: the data of before gets its name again. Can be repeated.

    C(keep): the server may have run in the new data without us, after a power cut, and people may have written to it.
    """
    path = store.recovery
    left = read_json(path)
    if not left:
        return []
    say("puts back what was there before")
    data, before, unfinished = (Path(left[key]) for key in ("data", "before", "unfinished"))
    notes = []
    try:
        _swap_back(left, data, before, unfinished)
        records = host.timelines(store)
        kept = [each for each in records if each.get("before") != left["before"]]
        if kept != records:
            host.remember_timelines(store, kept)
        if keep and (unfinished / "postmaster.opts").exists():
            notes.append(f"data that a server has run in is kept as {unfinished}; remove it when you do not need it")
        elif unfinished.exists():
            remove(unfinished)
        path.unlink()
    except (BackupError, ConfigError, OSError) as exc:
        raise BackupError(
            f"What was there before could not be put back: {exc}. It is in {before if before.exists() else data};"
            " `shipshape restore mend` tries again"
        ) from None
    return notes


def _swap_back(left: Mapping[str, Any], data: Path, before: Path, unfinished: Path) -> None:
    # Nothing may write to the folder's name any more when the old one gets it.
    execute(["systemctl", "stop", UNIT], "stop the restore", 60, accepted=(0, 5))
    if before.exists():
        execute(["systemctl", "stop", left["unit"]], "stop the server", STOP_SECONDS)
        if data.exists():
            data.rename(unfinished)
        before.rename(data)
        sync_folder(data.parent)
    cluster = host.cluster(left)
    if not server.answers(cluster):
        execute(["systemctl", "reset-failed", left["unit"]], "start the server", 60, accepted=(0, 1))
        server.systemctl("start", cluster, STOP_SECONDS)
