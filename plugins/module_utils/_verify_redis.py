# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Load an RDB file into a Redis or Valkey of its own, and count its keys."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from ._backup_host import put_file
from ._backup_redis import total_keys
from ._verify_artefact import Artefact
from ._verify_decode import file_of
from ._verify_model import Finding, finding, stop
from ._verify_stream import PATH, opened
from ._verify_work import REDIS, workspace

ENVIRONMENT = {"PATH": PATH, "LC_ALL": "C.UTF-8"}


def load(artefact: Artefact) -> Iterator[Finding]:
    flavour, work = artefact.facts["flavour"], artefact.options["work_dir"]
    server = shutil.which(f"{flavour}-server", path=PATH)
    if not server:
        raise stop("TOOL_MISSING", f"{flavour}-server is not installed here", "restore")
    begun = time.monotonic()
    with workspace(work, REDIS, "restore", flavour) as folder:
        keys = _loaded(artefact, server, flavour, folder)
    artefact.facts["restore_seconds"] = artefact.durations["restore"] = time.monotonic() - begun
    # Keys that expired since are not loaded: they are no loss.
    wanted = artefact.entry.get("keys")
    least = None if wanted is None else wanted - artefact.entry.get("expires", 0)
    if artefact.wanted("rows"):
        if least is None:
            yield finding("NO_REFERENCE", "no manifest says how many keys it has to have", "rows")
        elif keys < least * (1 - artefact.options["row_tolerance"] / 100):
            yield finding("ROW_DROP", f"it has {keys} keys, and had {wanted}")


def _loaded(artefact: Artefact, server: str, flavour: str, folder: str) -> int:
    """Only a socket, no port; nothing is ever saved. The file is linked or copied under the name that is loaded."""
    with (
        opened(artefact.path, artefact.options["decrypt"], artefact.clock) as stack,
        file_of(stack, artefact.options["work_dir"], artefact.clock) as path,
    ):
        try:
            put_file(Path(path), Path(folder, "dump.rdb"), os.stat(folder), 0o600)
        except OSError as exc:
            raise stop("NO_SPACE", f"{folder}: {exc.strerror}") from None
    given = {"port": "0", "unixsocket": f"{folder}/s", "dir": folder, "save": "", "appendonly": "no", "daemonize": "no"}
    # Of a stranger's file, so not as root.
    owner = [f"--reuid={flavour}", f"--regid={flavour}", "--init-groups"] if os.geteuid() == 0 else []
    argv = [
        "setpriv",
        *owner,
        "--pdeathsig",
        "KILL",
        "--",
        server,
        *(w for key, value in given.items() for w in (f"--{key}", value)),
    ]
    with (
        open(f"{folder}/log", "wb") as log,
        subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=ENVIRONMENT, cwd=folder
        ) as process,
    ):
        try:
            return _count(artefact, process, f"{flavour}-cli", folder)
        finally:
            process.kill()


def _count(artefact: Artefact, process: subprocess.Popen[bytes], client: str, folder: str) -> int:
    while True:
        artefact.clock.left("restore")
        if process.poll() is not None:
            with open(f"{folder}/log", encoding="utf-8", errors="replace") as file:
                raise stop("RESTORE_ERRORS", f"the server did not load it: {' '.join(file.read().split())[-300:]}")
        with contextlib.suppress(FileNotFoundError, subprocess.TimeoutExpired):
            done = subprocess.run(
                [client, "-s", f"{folder}/s", "INFO", "keyspace"],
                capture_output=True,
                check=False,
                timeout=10,
                env=ENVIRONMENT,
            )
            lines = done.stdout.decode("utf-8", "replace").split()
            if done.returncode == 0 and lines[:2] == ["#", "Keyspace"]:
                return total_keys(dict(line.partition(":")[::2] for line in lines[2:]))
        time.sleep(0.05)
