# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Set archiving up on a cluster, or take it back: files, stanza, one restart, and proof that WAL arrives."""

from __future__ import annotations

import glob
import grp
import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from . import _pitr_config as wishes
from . import _pitr_host as host
from . import _postgresql_cluster as server
from ._backup_host import write_atomically
from ._backup_manifest import BackupError
from ._postgresql_cluster import OWNER, Cluster

PROGRAM = "/usr/bin/pgbackrest"
RESTART_SECONDS = 600
RELOAD_SECONDS = 15
ARCHIVE_SECONDS = 60
LIVE = "SELECT name, setting FROM pg_settings WHERE name IN ('archive_mode', 'archive_command', 'wal_level')"
IDENTITY = "SELECT system_identifier::text, current_setting('server_version_num')::int / 10000 FROM pg_control_system()"


@dataclass
class Outcome:
    """What was done, or would be."""

    done: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    diff: list[dict[str, str]] = field(default_factory=list)


def present(wish: Mapping[str, Any], restart: bool, dry: bool) -> Outcome:
    outcome = Outcome()
    cluster = host.cluster_on(wish["port"])
    if dry and (cluster is None or not os.path.exists(PROGRAM)):
        # Earlier tasks would have made them, had this not been check mode.
        outcome.done.append("set archiving up")
        return outcome
    if cluster is None:
        raise BackupError(f"no cluster of this host has port {wish['port']}: run the role postgresql before")
    address, conf = cluster.address(), Path(cluster.folder) / wishes.CONF
    if address is None:
        raise BackupError(f"{cluster.unit} does not run: start it, or see {cluster.log}")
    was_there = wishes.location(wish) in _text(conf).splitlines()
    _own_or_refuse()
    _repository(wish, was_there, outcome, dry)
    text = wishes.pgbackrest_conf(wish, cluster.data, address[0])
    shown = wishes.pgbackrest_conf(wish, cluster.data, address[0], hidden=True)
    _write(Path(wishes.CONFIG), text, shown, (0, _group()), outcome, dry)
    if dry and outcome.done:
        outcome.done.append("set archiving up")
        return outcome
    repository = host.info(wish["stanza"])
    _stanza(wish["stanza"], cluster, repository, was_there, outcome, dry)
    text = wishes.postgresql_conf(wish)
    _write(conf, text, text, _account(), outcome, dry)
    _serve(cluster, bool(outcome.done), "on", restart, outcome, dry)
    live = dict(_ask(cluster)) if not dry else {}
    if live.get("archive_mode") == "on" and (outcome.done or not repository.newest_wal):
        host.check(wish["stanza"], ARCHIVE_SECONDS)
    return outcome


def absent(restart: bool, dry: bool) -> Outcome:
    """What the other wrote, and nothing else. The repository stays."""
    outcome = Outcome()
    for path in sorted(glob.glob(f"/etc/postgresql/*/*/{wishes.CONF}")):
        _take_back(Path(path), restart, outcome, dry)
    config = Path(wishes.CONFIG)
    if _text(config).startswith(wishes.HEADER) and not outcome.warnings:
        _remove(config, outcome, dry)
    return outcome


def _take_back(conf: Path, restart: bool, outcome: Outcome, dry: bool) -> None:
    version, name = conf.parts[-4:-2]
    with host.told():
        cluster = server.find(int(version), name)
    if cluster is None or cluster.address() is None:
        _remove(conf, outcome, dry)
        return
    if restart or dict(_ask(cluster))["archive_mode"] == "off":
        _remove(conf, outcome, dry)
        _serve(cluster, bool(outcome.done), "off", True, outcome, dry)
        return
    _write(conf, wishes.LEAVING, wishes.LEAVING, _account(), outcome, dry)
    _serve(cluster, bool(outcome.done), "off", False, outcome, dry)


def _own_or_refuse() -> None:
    text = _text(Path(wishes.CONFIG))
    if text and not text.startswith(wishes.HEADER):
        raise BackupError(
            f"{wishes.CONFIG} was written by somebody else: put what is in it into backup_pitr_settings and remove it"
        )


def _repository(wish: Mapping[str, Any], was_there: bool, outcome: Outcome, dry: bool) -> None:
    folder = Path(wish["repository"])
    if not wishes.is_local(wish["settings"]) or folder.is_dir():
        return
    if was_there:
        raise BackupError(
            f"{folder} is gone, and held backups: mount it, or set archiving up anew with backup_pitr: false"
        )
    outcome.done.append(f"make {folder}")
    if not dry:
        folder.mkdir(mode=0o750, parents=True)
        os.chown(folder, *_account())


def _stanza(stanza: str, cluster: Cluster, repository: Any, was_there: bool, outcome: Outcome, dry: bool) -> None:
    """An empty repository is not taken for a new one where there were backups."""
    if repository.is_missing:
        if was_there:
            raise BackupError(
                f"the repository has no stanza {stanza}, and had one: mount the repository that had it, or begin anew:"
                " run the role with backup_pitr: false, then with true"
            )
        outcome.done.append(f"create the stanza {stanza}")
        if not dry:
            host.pgbackrest(stanza, ["stanza-create"], f"create the stanza {stanza}")
        return
    if repository.code not in (0, 2):
        raise BackupError(f"the repository cannot be read: {repository.message}")
    with host.session(cluster) as connection:
        identity, version = connection.execute(IDENTITY).fetchone()
    if repository.system_id == identity:
        return
    if repository.version == str(version):
        raise BackupError(
            f"the repository's stanza {stanza} is of another cluster (system {repository.system_id}, here {identity}):"
            " set another backup_host_name; or, if this one takes its place, run"
            f" `pgbackrest --stanza={stanza} stanza-upgrade`"
        )
    outcome.done.append(f"upgrade the stanza {stanza} to PostgreSQL {version}")
    if not dry:
        host.pgbackrest(stanza, ["stanza-upgrade"], f"upgrade the stanza {stanza}")


def _serve(cluster: Cluster, fresh: bool, mode: str, restart: bool, outcome: Outcome, dry: bool) -> None:
    """Reload, and restart where archive_mode is another one: that alone needs it."""
    live = dict(_ask(cluster))
    if mode == "on" and live["wal_level"] == "minimal":
        raise BackupError("wal_level is minimal, and archiving needs replica: correct postgresql_settings")
    if fresh and not dry:
        with host.session(cluster) as connection:
            loaded = connection.execute("SELECT pg_conf_load_time()").fetchone()[0]
            connection.execute("SELECT pg_reload_conf()")
            server.wait(lambda: connection.execute("SELECT pg_conf_load_time()").fetchone()[0] > loaded, RELOAD_SECONDS)
    if live["archive_mode"] == mode:
        return
    if not restart:
        outcome.warnings.append(f"archive_mode is {mode} after a restart of {cluster.unit} only")
        return
    outcome.done.append(f"restart {cluster.unit}, as archive_mode needs it")
    if not dry:
        with host.session(cluster) as connection:
            # While clients are served: what is left for the stop is short.
            connection.execute("CHECKPOINT")
        with host.told():
            server.systemctl("restart", cluster, RESTART_SECONDS)
        if dict(_ask(cluster))["archive_mode"] != mode:
            raise BackupError(f"archive_mode is not {mode}: ALTER SYSTEM or another file decides; see pg_file_settings")


def _ask(cluster: Cluster) -> list[tuple[str, str]]:
    with host.session(cluster) as connection:
        found: list[tuple[str, str]] = connection.execute(LIVE).fetchall()
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def _account() -> tuple[int, int]:
    entry = pwd.getpwnam(OWNER)
    return entry.pw_uid, entry.pw_gid


def _group() -> int:
    return grp.getgrnam(OWNER).gr_gid


def _write(path: Path, text: str, shown: str, owner: tuple[int, int], outcome: Outcome, dry: bool) -> None:
    """0640, as secrets are in one of them. C(shown) goes into the diff."""
    before = _text(path)
    found: Optional[os.stat_result] = path.stat() if before else None
    if found and before == text and (found.st_uid, found.st_gid, found.st_mode & 0o777) == (*owner, 0o640):
        return
    outcome.done.append(f"write {path}")
    masked = _masked(before) if shown != text else before
    outcome.diff.append({"before_header": str(path), "after_header": str(path), "before": masked, "after": shown})
    if dry:
        return
    path.parent.mkdir(mode=0o755, exist_ok=True)
    write_atomically(path, text, 0o640, owner)


def _masked(text: str) -> str:
    lines = [line.partition("=") for line in text.splitlines()]
    return "".join(
        f"{name}{equals}{'(hidden)' if wishes.SECRET.fullmatch(name) else value}\n" for name, equals, value in lines
    )


def _remove(path: Path, outcome: Outcome, dry: bool) -> None:
    outcome.done.append(f"remove {path}")
    if not dry:
        path.unlink()
