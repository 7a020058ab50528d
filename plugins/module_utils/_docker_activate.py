# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have dockerd run with /etc/docker/daemon.json, and see that it does: activate.py auto|restart.

What it runs with was kept by its unit when it started. Where only keys differ that it can read again, it is told so;
else it is restarted, and every container has to be there after it.
"""

from __future__ import annotations

import datetime
import json
import os
import pathlib
import re
import subprocess
import sys
import time
from typing import Any, NoReturn

WANTED = pathlib.Path("/etc/docker/daemon.json")
DATA = "/var/lib/docker"
LOADED = pathlib.Path("/run/shipshape/docker-daemon.json")
# What Docker 20 and later alike read again; of the many others a restart is the safe answer.
RELOADABLE = {
    "debug",
    "insecure-registries",
    "labels",
    "live-restore",
    "max-concurrent-downloads",
    "max-concurrent-uploads",
    "max-download-attempts",
    "registry-mirrors",
    "shutdown-timeout",
}
# What the default network takes its addresses from. It keeps those it has, as long as its interface is there.
ADDRESSES = {"bip", "default-address-pools", "fixed-cidr"}
START_SECONDS = 60.0
RELOAD_SECONDS = 15.0
BEGAN = int(time.time())


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def run(*argv: str, seconds: float = 30) -> tuple[int, str]:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=seconds)
    except subprocess.TimeoutExpired:
        return 124, f"{argv[0]} gave no answer within {seconds:g} s"
    return done.returncode, (done.stdout if done.returncode == 0 else done.stderr + done.stdout).strip()


def fail(message: str) -> NoReturn:
    """With what the daemon said last; on standard output, as a terminal would mix the two."""
    _code, said = run(
        "journalctl", "--unit=docker.service", f"--since=@{BEGAN}", "--lines=60", "--no-pager", "--output=cat"
    )
    lines = [line for line in said.splitlines() if re.search(r"level=(error|fatal)|^(failed|unable) to", line)]
    say("\n".join([message, *lines[-5:]]))
    raise SystemExit(1)


def loaded() -> dict[str, Any] | None:
    """What the daemon runs with, or None where nobody knows."""
    try:
        return json.loads(LOADED.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def keep_loaded() -> None:
    LOADED.parent.mkdir(mode=0o755, exist_ok=True)
    LOADED.touch(mode=0o600)
    LOADED.write_bytes(WANTED.read_bytes())


def info() -> dict[str, Any] | None:
    code, said = run("docker", "info", "--format", "{{json .}}")
    try:
        found = json.loads(said) if code == 0 else {}
    except ValueError:
        found = {}
    return found if found.get("ServerVersion") else None


def wait(condition, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.2)
    return True


def running() -> dict[str, str]:
    """Containers that run, by id, each with its process."""
    code, ids = run("docker", "ps", "--quiet", "--no-trunc")
    if code or not ids:
        return {}
    _code, said = run("docker", "inspect", "--format", "{{.Id}} {{.State.Pid}} {{.Name}}", *ids.split())
    return {line.split()[0]: line.partition(" ")[2] for line in said.splitlines()}


def reload() -> bool:
    """The daemon itself says when it has taken the file."""
    since = datetime.datetime.now(datetime.timezone.utc)
    if run("systemctl", "reload", "docker.service")[0]:
        return False

    def taken() -> bool:
        until = datetime.datetime.now(datetime.timezone.utc)
        span = [f"--since={since.isoformat()}", f"--until={until.isoformat()}"]
        return bool(run("docker", "system", "events", "--filter=type=daemon", "--filter=event=reload", *span)[1])

    return wait(taken, RELOAD_SECONDS)


def refuse_to_lose(wanted: dict[str, Any], daemon: dict[str, Any]) -> None:
    """With another data-root the daemon would start with nothing, and look as if all were lost."""
    before, after = daemon["DockerRootDir"], wanted.get("data-root", DATA)
    volumes = run("docker", "volume", "ls", "--quiet")[1].split()
    count = {"containers": daemon["Containers"], "images": daemon["Images"], "volumes": len(volumes)}
    held = ", ".join(f"{number} {kind}" for kind, number in count.items() if number)
    if os.path.realpath(before) != os.path.realpath(after) and held:
        fail(
            f"the data would be left behind in {before} ({held}), as data-root is to be {after}: set docker_data_root:"
            f" {before}, or stop docker, move the directory, and write the new path into {WANTED} yourself"
        )


def restart(wanted: dict[str, Any], keys: set[str]) -> None:
    before = running()
    daemon = info()
    kept = bool(wanted.get("live-restore"))
    if daemon:
        refuse_to_lose(wanted, daemon)
    # So that even the restart that brings this setting spares what runs.
    if before and kept and daemon and not daemon.get("LiveRestoreEnabled"):
        reload()
    run("systemctl", "daemon-reload")
    if not before and keys & ADDRESSES:
        run("systemctl", "stop", "docker.service", seconds=START_SECONDS)
        run("ip", "link", "delete", "docker0")
    run("systemctl", "reset-failed", "docker.service", "docker.socket")
    code, said = run("systemctl", "restart", "docker.service", seconds=START_SECONDS + 30)
    if code:
        fail(f"the daemon does not start: {said.splitlines()[0] if said else code}")
    if not wait(info, START_SECONDS):
        fail(f"the daemon does not answer within {START_SECONDS:g} s")
    after = running()
    gone = [name for key, name in before.items() if after.get(key) != name]
    if kept and gone:
        fail(f"containers did not survive the restart (process and name): {', '.join(sorted(gone))}")


def main() -> None:
    wanted = json.loads(WANTED.read_text(encoding="utf-8"))
    known = loaded()
    keys = {key for key in {*wanted, *(known or {})} if wanted.get(key) != (known or {}).get(key)}
    enough = sys.argv[1] == "auto" and known is not None and keys <= RELOADABLE and info() is not None
    if enough and (not keys or reload()):
        keep_loaded()
        say(f"reloaded: {', '.join(sorted(keys))}" if keys else "nothing to do")
        return
    restart(wanted, keys)
    keep_loaded()
    say(f"restarted: {', '.join(sorted(keys))}")


if __name__ == "__main__":
    main()
