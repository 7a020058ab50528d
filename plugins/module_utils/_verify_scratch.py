# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A PostgreSQL of its own to restore into: empty, on a private socket, without a network, and always removed.

Its folder carries a mark with the process that made it. What a killed run left is removed by the next one; a folder
without the mark is nobody's business here.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ._verify_decode import BINARIES
from ._verify_formats import major
from ._verify_model import stop
from ._verify_stream import PATH, Clock, ask
from ._verify_work import SCRATCH, workspace

OWNER = "postgres"
# Nothing of it has to outlive it, so nothing waits for a disk.
SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "archive_mode": "off",
    "max_connections": "20",
    "shared_buffers": "64MB",
    "maintenance_work_mem": "128MB",
    "max_wal_size": "4GB",
    "logging_collector": "off",
}


@dataclass(frozen=True)
class Scratch:
    """Where it is, and the programs of its version."""

    socket: str
    binaries: str

    def program(self, name: str) -> str:
        return f"{self.binaries}/{name}"

    def client(self, name: str, *words: str, owner: bool = True) -> list[str]:
        return [*(as_owner() if owner else ()), self.program(name), "-h", self.socket, "-U", OWNER, "-w", *words]


def as_owner(*more: str) -> list[str]:
    """A dump may hold programs (COPY ... FROM PROGRAM): never as root."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", f"--reuid={OWNER}", f"--regid={OWNER}", "--init-groups", *more, "--"]


def environment() -> dict[str, str]:
    return {"PATH": PATH, "LC_ALL": "C.UTF-8", "PGCONNECT_TIMEOUT": "10"}


@contextmanager
def scratch(version: str, work: str, clock: Clock) -> Iterator[Scratch]:
    """A server of the same major version. Ends with the block, and with the process if that is killed."""
    binaries = os.path.dirname(BINARIES.format(major(version), "postgres"))
    if not all(os.access(f"{binaries}/{name}", os.X_OK) for name in ("initdb", "postgres")):
        raise stop(
            "TOOL_MISSING",
            f"PostgreSQL {major(version)} is not installed here: install postgresql-{major(version)}",
            "restore",
        )
    with workspace(work, SCRATCH, "restore", OWNER) as folder:
        data = f"{folder}/data"
        _initdb(binaries, data, clock)
        server = _start(binaries, folder, data)
        try:
            found = Scratch(folder, binaries)
            _await(found, server, folder, clock)
            yield found
        finally:
            server.send_signal(signal.SIGQUIT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(20)
            server.kill()
            server.wait()


def _initdb(binaries: str, data: str, clock: Clock) -> None:
    words = ["-D", data, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N", "-U", OWNER]
    code, _out, said = ask([*as_owner("--pdeathsig", "KILL"), f"{binaries}/initdb", *words], clock, "restore")
    if code:
        raise stop("NO_SPACE" if "No space left" in said else "SCRATCH_FAILED", f"initdb: {said[-400:]}", "restore")


def _isolated() -> list[str]:
    """No network at all, where the kernel lets us have that."""
    probe = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False)
    return ["unshare", "--net"] if probe.returncode == 0 else []


def _start(binaries: str, folder: str, data: str) -> subprocess.Popen[bytes]:
    given = [word for key, value in SETTINGS.items() for word in ("-c", f"{key}={value}")]
    argv = [*_isolated(), *as_owner("--pdeathsig", "QUIT"), f"{binaries}/postgres", "-D", data, "-k", folder, *given]
    with open(f"{folder}/log", "wb") as log:
        return subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment(), cwd="/", start_new_session=True
        )


def _await(found: Scratch, server: subprocess.Popen[bytes], folder: str, clock: Clock) -> None:
    while subprocess.run(
        [found.program("pg_isready"), "-q", "-h", found.socket], check=False, env=environment()
    ).returncode:
        clock.left("restore")
        if server.poll() is not None:
            with open(f"{folder}/log", encoding="utf-8", errors="replace") as log:
                said = " ".join(log.read().split())[-400:]
            raise stop(
                "NO_SPACE" if "No space left" in said else "SCRATCH_FAILED", f"the server ended: {said}", "restore"
            )
        time.sleep(0.05)
