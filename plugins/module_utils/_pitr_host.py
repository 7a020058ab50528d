# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Point in time recovery: what is asked of pgBackRest, of the server and of the disk."""

from __future__ import annotations

import json
import re
import shutil
import syslog
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Optional

from . import _pitr_plan as plan
from . import _postgresql_cluster as server
from ._backup_host import as_user, execute, read_json, write_atomically
from ._backup_manifest import BackupError
from ._backup_sets import Store
from ._config_restore import ConfigError
from ._postgresql_cluster import OWNER, Cluster

LOCK = "/run/shipshape-pitr.lock"
# What a recovery that is under way remembers, and which timelines there were.
TIMELINES = "pitr-timelines.json"
BACKUP_SECONDS = 86400
# Its second line says which repository, and why.
ERROR = re.compile(r"P\d\d +ERROR: (.*(?:\n {9,}.*)?)")
STATE = r"""
SELECT current_setting('archive_mode'), current_setting('archive_command'), failed_count,
  coalesce(extract(epoch FROM last_archived_time), 0)::float8,
  coalesce(extract(epoch FROM last_failed_time), 0)::float8,
  coalesce(last_archived_wal, ''),
  (SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name ~ '^[0-9A-F]{24}\.ready$'),
  (SELECT setting::bigint FROM pg_settings WHERE name = 'wal_segment_size'),
  ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int
FROM pg_stat_archiver
"""


@contextmanager
def told() -> Iterator[None]:
    """Errors of the server's helpers as those of a backup."""
    try:
        yield
    except ConfigError as exc:
        raise BackupError(str(exc)) from None


def settings(config: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = config["pitr"]
    if not found:
        raise BackupError("point in time recovery is not set up on this host: set backup_pitr for the role backup")
    return found


def journal(level: int, text: str) -> None:
    syslog.openlog("shipshape-backup", syslog.LOG_PID)
    syslog.syslog(level, " ".join(text.split()))


def cluster_on(port: int) -> Optional[Cluster]:
    """The cluster of this host that has the port; one that runs rather than one that does not."""
    with told():
        found = [each for each in server.clusters() if str(each["port"]) == str(port)]
    for each in sorted(found, key=lambda each: not each["running"]):
        return Cluster(int(each["version"]), each["cluster"], each["pgdata"], each["configdir"], each["logfile"])
    return None


def cluster(pitr: Mapping[str, Any]) -> Cluster:
    found = cluster_on(pitr["port"])
    if found is None:
        raise BackupError(f"no cluster of this host has the port {pitr['port']}: see pg_lsclusters")
    return found


def pgbackrest(stanza: str, words: Sequence[str], what: str, seconds: float = 120) -> str:
    """As the server's own account, to which the repository belongs."""
    argv = ["pgbackrest", f"--stanza={stanza}", "--log-level-stderr=error", "--log-level-console=off", *words]
    _rc, out, _said = execute(as_user(OWNER, argv), what, seconds)
    return out.decode("utf-8", "replace")


def info(stanza: str) -> plan.Repository:
    # It tries several times over: with the 60 s that pgBackRest has by itself, for minutes.
    words = ["--io-timeout=10", "--output=json", "info"]
    return plan.parse_info(pgbackrest(stanza, words, "read the repository", 180), stanza)


def check(stanza: str, seconds: int) -> None:
    """A WAL segment is ended, and has to come to the repository in time."""
    words = [f"--archive-timeout={seconds}", "check"]
    pgbackrest(stanza, words, "archive a WAL segment", seconds + 120)


def back_up(stanza: str, kind: str) -> None:
    pgbackrest(stanza, [f"--type={kind}", "backup"], f"{kind} backup", BACKUP_SECONDS)


def archived(stanza: str) -> set[str]:
    """Names of all WAL segments in the repository."""
    words = ["--recurse", "--output=json", "--filter=[0-9A-F]{24}-[0-9a-f]{40}", "repo-ls", f"archive/{stanza}"]
    return plan.segments(json.loads(pgbackrest(stanza, words, "list the WAL of the repository", 600)))


@contextmanager
def session(found: Cluster) -> Iterator[Any]:
    address = found.address()
    if address is None:
        raise BackupError(f"{found.unit} does not run")
    if server.psycopg is None:
        raise BackupError(server.library_missing())
    with told(), server.session(*address) as connection:
        yield connection


def archiver(found: Cluster) -> plan.Archiver:
    with session(found) as connection:
        return plan.Archiver(*connection.execute(STATE).fetchone())


def free(folder: str) -> Optional[int]:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def timelines(store: Store) -> list[dict[str, Any]]:
    return list(read_json(store.state / TIMELINES).get("timelines", []))


def remember_timelines(store: Store, records: Sequence[Mapping[str, Any]]) -> None:
    write_atomically(store.state / TIMELINES, json.dumps({"timelines": list(records)}, indent=1) + "\n")


def look(config: Mapping[str, Any], seconds: int) -> plan.Seen:
    """Everything that a check looks at. What cannot be asked is a part of the answer."""
    pitr, unknown = settings(config), []
    stanza = pitr["stanza"]
    seen: dict[str, Any] = {"repository": plan.Repository(99, "not read"), "stanza": stanza}
    found = cluster_on(pitr["port"])
    try:
        seen["archiver"] = archiver(cluster(pitr))
    except BackupError as exc:
        unknown.append(str(exc))
    if "archiver" in seen:
        try:
            check(stanza, seconds)
        except BackupError as exc:
            seen["arrived"] = f"{exc}{reason(found)}"
        seen["archiver"] = archiver(cluster(pitr))
    try:
        seen["repository"] = info(stanza)
        seen["missing"], seen["window"] = wal(stanza, seen["repository"], seen.get("archiver"))
        if seen["repository"].code not in (0, 2):
            unknown.append(f"the repository cannot be read: {seen['repository'].message}")
    except (BackupError, ValueError) as exc:
        unknown.append(str(exc))
    left = read_json(Store(config).recovery)
    return plan.Seen(
        now=time.time(),
        repository_free=free(pitr["repository"]) if pitr["repository"] else None,
        wal_free=free(f"{found.data}/pg_wal") if found else None,
        queue_max=pitr["queue_max"],
        left=f"a recovery did not end; the database of before is {left['before']}" if left else "",
        unknown=tuple(unknown),
        **seen,
    )


def reason(found: Optional[Cluster]) -> str:
    """What pgBackRest said when the server called it last."""
    errors = ERROR.findall(server.last_words(found)) if found else []
    return f"; the server's log has: {' '.join(errors[-1].split())}" if errors else ""


def wal(
    stanza: str, repository: plan.Repository, server_says: Optional[plan.Archiver]
) -> tuple[tuple[str, ...], Optional[float]]:
    """What is missing since the newest backup, and from when on nothing is."""
    if not repository.backups:
        return (), None
    newest = max(repository.backups, key=lambda each: each.ended)
    size = server_says.segment_size if server_says else plan.Archiver().segment_size
    there = archived(stanza)
    return tuple(plan.gaps(there, newest.first_wal, size)), plan.window(repository.backups, there, size)
