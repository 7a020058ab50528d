# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster of Debian's postgresql-common on this host: what it is, what it runs with, how it is told."""

from __future__ import annotations

import errno
import json
import os
import pwd
import re
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Optional

from ._acting_as import acting_as
from ._config_restore import ConfigError
from ._postgresql_conf import Live
from ._postgresql_server import psycopg
from ._run_command import run_command

OWNER = "postgres"
ANY = {"*": ["127.0.0.1", "::1"], "0.0.0.0": ["127.0.0.1"], "::": ["::1"]}  # noqa: S104
# Values that this very session brought along say nothing about the file.
SETTINGS = """
SELECT name, CASE WHEN source IN ('client', 'session', 'database', 'user', 'database user') THEN NULL ELSE setting END,
       unit, vartype, context, pending_restart
FROM pg_settings"""
WINNERS = """
SELECT DISTINCT ON (name) name, sourcefile
FROM pg_file_settings WHERE name IS NOT NULL ORDER BY name, seqno DESC"""
CONTROL = re.compile(r"^(max_\w+) setting:\s+(\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class Cluster:
    version: int
    name: str
    data: str
    folder: str
    log: str

    @property
    def unit(self) -> str:
        """Not postgresql.service: that one is /bin/true, and always well."""
        return f"postgresql@{self.version}-{self.name}.service"

    @property
    def programs(self) -> str:
        return f"/usr/lib/postgresql/{self.version}/bin"

    @property
    def standby(self) -> bool:
        return os.path.exists(f"{self.data}/standby.signal")

    def address(self) -> Optional[tuple[str, int]]:
        """Socket directory and port that it runs with now, whatever the files say; None where it does not run."""
        try:
            with open(f"{self.data}/postmaster.pid", encoding="utf-8") as handle:
                lines = handle.read().splitlines()
            os.kill(int(lines[0]), 0)
            return lines[4], int(lines[3])
        except (OSError, ValueError, IndexError):
            return None


def as_owner(argv: Sequence[str]) -> list[str]:
    """The command as the user postgres; it dies with this process."""
    user = ["--reuid", OWNER, "--regid", OWNER, "--init-groups"]
    return ["setpriv", *user, "--pdeathsig", "KILL", "env", "HOME=/var/lib/postgresql", *argv]


def run(argv: Sequence[str], what: str) -> str:
    rc, out, err = run_command(argv)
    if rc != 0:
        raise ConfigError(f"{what} failed (rc {rc}): {err.strip() or out.strip()}")
    return out


def clusters() -> list[dict[str, Any]]:
    if not os.path.exists("/usr/bin/pg_lsclusters"):
        return []
    # As their owner: it reads their files, and would show root's where one of them is a link.
    found: list[dict[str, Any]] = json.loads(run(as_owner(["pg_lsclusters", "--json"]), "pg_lsclusters"))
    return found


def find(version: int, name: str) -> Optional[Cluster]:
    for each in clusters():
        if (str(each["version"]), each["cluster"]) == (str(version), name):
            return Cluster(version, name, each["pgdata"], each["configdir"], each["logfile"])
    return None


def create(version: int, name: str, data: Optional[str], initdb: Sequence[str]) -> Cluster:
    options = ["--datadir", data] if data else []
    run(["pg_createcluster", str(version), name, *options, "--", *initdb], f"pg_createcluster {version} {name}")
    found = find(version, name)
    if found is None:
        raise ConfigError(f"pg_createcluster made no cluster {version}/{name}")
    return found


def primary_values(cluster: Cluster) -> dict[str, int]:
    """What the primary of a standby ran with: below that a standby refuses to start."""
    out = run(as_owner([f"{cluster.programs}/pg_controldata", cluster.data]), "pg_controldata")
    return {name: int(value) for name, value in CONTROL.findall(out)}


def library_missing() -> str:
    return "" if psycopg else "this Python has no psycopg 3: install the package python3-psycopg"


@contextmanager
def session(folder: str, port: int, seconds: int = 5) -> Iterator[Any]:
    """A connection as the superuser, let in because of the user of this process: no password anywhere."""
    try:
        with acting_as(pwd.getpwnam(OWNER)):
            connection = psycopg.connect(
                host=folder,
                port=port,
                user=OWNER,
                dbname=OWNER,
                connect_timeout=seconds,
                autocommit=True,
                application_name="shipshape.stack",
            )
    except psycopg.OperationalError as exc:
        raise ConfigError(f"the server does not answer: {' '.join(str(exc).split())}") from None
    try:
        yield connection
    except psycopg.Error as exc:
        raise ConfigError(f"the server says: {' '.join(str(exc).split())}") from exc
    finally:
        connection.close()


def read_live(connection: Any) -> tuple[dict[str, Live], dict[str, str], float]:
    """The running settings, whose line each of them comes from, and when the files were read."""
    live = {row[0]: Live(*row[1:]) for row in connection.execute(SETTINGS)}
    winners = dict(connection.execute(WINNERS).fetchall())
    loaded = connection.execute("SELECT extract(epoch FROM pg_conf_load_time())::float8").fetchone()[0]
    return live, winners, loaded


def answers(cluster: Cluster) -> bool:
    address = cluster.address()
    if address is None:
        return False
    try:
        with session(*address) as connection:
            return bool(connection.execute("SELECT 1").fetchone())
    except ConfigError:
        return False


def wait(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def _speaks(address: str, port: int) -> bool:
    """Whether PostgreSQL answers a request for TLS there: with one letter, yes or no."""
    with socket.create_connection((address, port), 5) as connection:
        connection.sendall(struct.pack("!ii", 8, 80877103))
        return connection.recv(1) in (b"S", b"N")


def deaf(addresses: str, port: int) -> list[str]:
    """Addresses that it should listen on and does not: with one of two taken, PostgreSQL starts all the same."""
    found = []
    for name in (part.strip() for part in addresses.split(",") if part.strip()):
        for address in ANY.get(name) or sorted({str(entry[4][0]) for entry in socket.getaddrinfo(name, port)}):
            try:
                speaks = _speaks(address, port)
            except OSError as exc:
                if exc.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    continue  # a host without IPv6
                speaks = False
            if not speaks:
                found.append(f"{address} port {port}")
    return found


def last_words(cluster: Cluster, size: int = 4000) -> str:
    """The end of the log, for the reason why a server did not start."""
    try:
        with open(cluster.log, "rb") as handle:
            handle.seek(max(0, os.path.getsize(cluster.log) - size))
            return handle.read().decode("utf-8", "replace")
    except OSError:
        return ""


def systemctl(verb: str, cluster: Cluster, seconds: int) -> None:
    """Done means that the server answers a query; systemd's own opinion is not asked."""
    rc, out, err = run_command(["systemctl", verb, "--no-block", cluster.unit])
    if rc != 0:
        raise ConfigError(f"systemctl {verb} {cluster.unit} failed (rc {rc}): {(err or out).strip()}")
    wait(lambda: not _busy(cluster), seconds)
    if not wait(lambda: answers(cluster), 10):
        raise ConfigError(f"{cluster.unit} does not answer after systemctl {verb}")


def _busy(cluster: Cluster) -> bool:
    """A job of systemd is still under way: a shutdown that writes a checkpoint, or a start that replays WAL."""
    return run_command(["systemctl", "list-jobs", "--no-legend", cluster.unit])[1].strip().encode() != b""
