# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Try a configuration on a server of its own, with an empty data directory and a private socket.

What only the real start of a server finds (a missing library, memory that cannot be had, a key that cannot be read, a
broken pg_hba.conf) is found here, while the real one serves with what it has.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from . import _postgresql_cluster as server
from ._config_restore import ConfigError
from ._postgresql_cluster import Cluster
from ._postgresql_conf import complaint, culprits
from ._run_command import run_command

PLACE = "/var/lib/shipshape/postgresql"
START_SECONDS = 60.0
STALE_SECONDS = 600
# PostgreSQL keeps its own structures beside the buffers, and the system and every session need memory, too.
MOST_SHARED = 0.8
# Nothing of the trial may be seen outside, reach an archive, or take the time of a disk.
PRIVATE = {
    "listen_addresses": "",
    "port": "5432",
    "external_pid_file": "",
    "logging_collector": "off",
    "log_destination": "stderr",
    "archive_mode": "off",
    "fsync": "off",
    "cluster_name": "scratch",
}


@contextmanager
def _folders() -> Iterator[tuple[str, str]]:
    """One of the server's user, for all that is run as it; one of root, where that user can put nothing in the way."""
    os.makedirs(PLACE, exist_ok=True)
    os.chmod(PLACE, 0o711)  # noqa: S103
    for entry in os.scandir(PLACE):  # what a run left that was killed, but not what another one is using
        if time.time() - entry.stat().st_mtime > STALE_SECONDS:
            shutil.rmtree(entry.path, ignore_errors=True)
    path, safe = tempfile.mkdtemp(dir=PLACE), tempfile.mkdtemp(dir=PLACE)
    try:
        shutil.chown(path, server.OWNER, server.OWNER)
        shutil.chown(safe, group=server.OWNER)
        os.chmod(safe, 0o750)  # noqa: S103
        yield path, safe
    finally:
        for each in (path, safe):
            shutil.rmtree(each, ignore_errors=True)


def _stage(cluster: Cluster, texts: Mapping[str, str], folder: str, safe: str) -> None:
    """A copy of the configuration with the new files in it. Its includes are relative, so they read the copy.

    Made by the server's user, to whom its folder belongs: root would follow a link there to whatever it names.
    """
    server.run(server.as_owner(["cp", "-a", cluster.folder, f"{folder}/conf"]), "copying the configuration")
    for number, (path, text) in enumerate(texts.items()):
        source, target = f"{safe}/{number}", f"{folder}/conf/{os.path.relpath(path, cluster.folder)}"
        with open(source, "w", encoding="utf-8", errors="surrogateescape") as handle:
            os.fchmod(handle.fileno(), 0o644)
            handle.write(text)
        server.run(server.as_owner(["install", "-D", "--mode=0640", source, target]), f"trying {path}")


def _blame(output: str, settings: Mapping[str, str], cluster: Cluster, folder: str) -> str:
    names = culprits(output, settings)
    told = complaint(output).replace(f"{folder}/conf", cluster.folder).replace(f"{folder}/data", cluster.data)
    return f"{', '.join(names)}: {told}" if names else told


def check(cluster: Cluster, texts: Mapping[str, str], settings: Mapping[str, str], memory_mb: int) -> None:
    """Raise ConfigError with the setting at fault; returns where a server starts and lets the superuser in."""
    with _folders() as (folder, safe):
        _stage(cluster, texts, folder, safe)
        options = ["--no-sync", "--username", server.OWNER, "--auth", "reject", "--encoding", "UTF8", "--locale", "C"]
        server.run(
            server.as_owner([f"{cluster.programs}/initdb", "--pgdata", f"{folder}/data", *options]),
            "the scratch server for the test of the configuration: initdb",
        )
        fixed = {
            "config_file": f"{folder}/conf/postgresql.conf",
            "data_directory": f"{folder}/data",
            "hba_file": f"{folder}/conf/pg_hba.conf",
            "ident_file": f"{folder}/conf/pg_ident.conf",
        }
        base = [f"{cluster.programs}/postgres", "-D", f"{folder}/data"]
        base += [word for name, value in fixed.items() for word in ("-c", f"{name}={value}")]
        computed = "shared_memory_size" if cluster.version >= 15 else "shared_buffers"
        rc, out, err = run_command(server.as_owner([*base, "-C", computed]))
        if rc != 0:
            raise ConfigError(_blame(err, settings, cluster, folder))
        if cluster.version >= 15 and int(out) > memory_mb * MOST_SHARED:
            raise ConfigError(
                f"shared_buffers: the settings ask for {int(out)} MiB of shared memory (shared_buffers"
                f" {settings.get('shared_buffers', 'by default')}), and the server may have {memory_mb} MiB: lower it"
            )
        private = {**PRIVATE, "unix_socket_directories": folder}
        base += [word for name, value in private.items() for word in ("-c", f"{name}={value}")]
        _boot(cluster, base, settings, folder, safe)


def _boot(cluster: Cluster, argv: list[str], settings: Mapping[str, str], folder: str, safe: str) -> None:
    with open(f"{safe}/said", "w+", encoding="utf-8", errors="replace") as said:
        process = subprocess.Popen(
            server.as_owner(argv), stdin=subprocess.DEVNULL, stdout=said, stderr=said, env={**os.environ, "LC_ALL": "C"}
        )
        refused = [""]

        def settled() -> bool:
            if process.poll() is not None:
                return True
            try:
                with server.session(folder, 5432) as connection:
                    connection.execute("SELECT 1")
                refused[0] = ""
                return True
            except ConfigError as exc:
                refused[0] = str(exc)
                return "pg_hba.conf" in refused[0] or "Peer authentication failed" in refused[0]

        try:
            settled_in_time = server.wait(settled, START_SECONDS)
        finally:
            died = process.poll() is not None
            if not died:
                process.send_signal(signal.SIGQUIT)
            process.wait(10)
        said.seek(0)
        if died or not settled_in_time:
            raise ConfigError(_blame(said.read(), settings, cluster, folder) or refused[0])
        if refused[0]:
            raise ConfigError(f"pg_hba.conf would lock the superuser out of the server: {refused[0]}")
