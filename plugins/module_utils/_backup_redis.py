# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Back Redis or Valkey up: the whole data as the server hands it to a replica, read back and counted.

Not by BGSAVE and a copy: that needs the room on the server's disk, and a copy of dump.rdb may be of another save.
"""

from __future__ import annotations

import contextlib
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ._backup_host import execute
from ._backup_manifest import BackupError

EXPIRES = re.compile(r"^\[info\] (\d+) expires$", re.MULTILINE)
KEYS = re.compile(r"^\[info\] (\d+) keys read$", re.MULTILINE)
GOOD = "RDB looks OK!"
SETTINGS = ("dir", "dbfilename", "save", "appendonly", "appenddirname", "appendfilename")


def read_secret(path: str) -> str:
    found = Path(path)
    try:
        status = found.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_uid != 0 or status.st_mode & 0o077:
            raise BackupError(f"{path}: must be a file of root's with mode 0600, as it holds a password")
        return found.read_text(encoding="utf-8").strip()
    except OSError as exc:
        raise BackupError(f"{path}: {exc.strerror}: it has to hold the password; correct password_file") from None


def command(component: Mapping[str, Any]) -> tuple[list[str], dict[str, str]]:
    """The client and its environment: a password as an argument would be in the list of processes."""
    argv = [f"{component['flavour']}-cli"]
    if component["host"]:
        argv += ["-h", component["host"], "-p", str(component["port"])]
    else:
        argv += ["-s", component["socket"]]
    if not component["password_file"]:
        return argv, {}
    if component["user"] not in ("", "default"):
        argv += ["--user", component["user"]]
    secret = read_secret(component["password_file"])
    # The variable of Valkey's client has had the old name up to now; both cost nothing.
    return argv, {"REDISCLI_AUTH": secret, "VALKEYCLI_AUTH": secret}


def ask(component: Mapping[str, Any], *words: str, seconds: float = 60) -> str:
    argv, environment = command(component)
    _rc, out, said = execute([*argv, *words], f"{component['name']}: {words[0]}", seconds, environment=environment)
    answer = out.decode("utf-8", "replace").strip()
    # The client ends with 0 whatever the server said.
    if answer.startswith(("NOAUTH", "WRONGPASS", "NOPERM", "LOADING", "ERR ")) or "AUTH failed" in said:
        raise BackupError(f"{component['name']}: the server answered {answer or said}: correct user and password_file")
    return answer


def info(component: Mapping[str, Any], section: str) -> dict[str, str]:
    lines = ask(component, "INFO", section).splitlines()
    return dict(line.strip().partition(":")[::2] for line in lines if ":" in line)


def settings(component: Mapping[str, Any]) -> dict[str, str]:
    """Where and how the server keeps its data."""
    found = {}
    for name in SETTINGS:
        lines = ask(component, "CONFIG", "GET", name).splitlines()
        found[name] = lines[1] if len(lines) > 1 else ""
    if not found["dir"]:
        raise BackupError(
            f"{component['name']}: the server does not say where its data are: may the user ask CONFIG GET?"
        )
    return found


def total_keys(keyspace: Mapping[str, str]) -> int:
    """Of all databases, from INFO keyspace: db0:keys=5,expires=1,..."""
    return sum(int(line.partition("keys=")[2].partition(",")[0]) for line in keyspace.values() if "keys=" in line)


def back_up(component: Mapping[str, Any], folder: Path) -> Iterator[dict[str, Any]]:
    server = info(component, "server")
    flavour = component["flavour"]
    version = server.get("valkey_version") or server["redis_version"]
    before = total_keys(info(component, "keyspace"))
    port = server.get("tcp_port", "0")
    path = folder / f"{component['name']}-{port}.rdb"
    argv, environment = command(component)
    execute([*argv, "--rdb", str(path)], component["name"], component["timeout"], environment=environment)
    if not path.exists():
        raise BackupError(f"{component['name']}: {flavour}-cli --rdb wrote nothing: may the user run PSYNC?")
    keys, expires = check(path, flavour, component["timeout"])
    after = total_keys(info(component, "keyspace"))
    # All of them may have expired meanwhile; none was written while there were some all the time.
    if keys == 0 and before and after:
        raise BackupError(f"{component['name']}: the server has {after} keys, and its dump has none")
    source = {"server_version": version, "flavour": flavour, "port": int(port)}
    with contextlib.suppress(BackupError):  # a user that may not ask can back up all the same
        source["settings"] = settings(component)
    yield {"path": path, "component": "redis", "kind": "redis_rdb", "source": source, "keys": keys, "expires": expires}


def check(path: Path, flavour: str, seconds: float) -> tuple[int, int]:
    """Read to the end with the server's own reader, checksum and all: the number of keys, and of those that expire."""
    _rc, out, _said = execute([f"{flavour}-check-rdb", str(path)], f"{path.name}: the new dump", seconds)
    text = out.decode("utf-8", "replace")
    found = KEYS.search(text)
    if GOOD not in text or not found:
        raise BackupError(f"{path.name}: {flavour}-check-rdb did not find it good: {' '.join(text.split())[-300:]}")
    expires = EXPIRES.search(text)
    return int(found.group(1)), int(expires.group(1)) if expires else 0
