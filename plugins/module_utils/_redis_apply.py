# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Change a running Redis server without losing a key, and back.

The order is what keeps the keys. A server that starts with C(appendonly yes) reads the append-only file alone: so the
file is there and complete before the configuration says so. A server that starts with C(appendonly no) reads the dump
alone: so the dump is fresh before the configuration says that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from ansible_collections.shipshape.stack.plugins.module_utils import _redis_host as host
from ansible_collections.shipshape.stack.plugins.module_utils._redis_plan import (
    MANAGER,
    Flavour,
    RedisError,
    keyspace,
    rules_of,
    shown_setting,
)

PAUSE_SECONDS = 60
# What we call ourselves, and what clients call to log in: it takes no key away.
HARMLESS = frozenset(["acl", "auth", "client", "command", "config", "get", "hello", "info", "ping", "role", "select"])


# --- persistence ------------------------------------------------------------------------------------------------------


def wait_until(condition: Callable[[dict[str, str]], bool], server: host.Server, seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not condition(server.info("persistence")):
        if time.monotonic() > end:
            raise RedisError(f"{what} did not end within {seconds:g} s: give it more time with persist_seconds")
        time.sleep(0.1)


def _idle(info: Mapping[str, str]) -> bool:
    keys = ("rdb_bgsave_in_progress", "aof_rewrite_in_progress", "aof_rewrite_scheduled")
    return all(info.get(key, "0") == "0" for key in keys)


def dump(server: host.Server, seconds: float) -> None:
    """Write the dump, and see it written."""
    wait_until(_idle, server, seconds, "a save that was running")
    before = int(server.info("persistence").get("rdb_saves", 0))
    try:
        server.ask("BGSAVE")
    except host.redis.ResponseError as exc:
        raise RedisError(f"save: the server does not write its dump: {exc}. Is vm.overcommit_memory 1?") from exc
    wait_until(_idle, server, seconds, "BGSAVE")
    after = server.info("persistence")
    if after["rdb_last_bgsave_status"] != "ok" or int(after.get("rdb_saves", before + 1)) <= before:
        raise RedisError(f"save: the server cannot write its dump in {_folder(server)}. Its log says why (disk full?)")


def _folder(server: host.Server) -> str:
    return server.ask("CONFIG", "GET", "dir")[1]


def _appended(info: Mapping[str, str]) -> bool:
    """The first append-only file is complete, or failed; a save that began just before it holds it up."""
    if info["aof_rewrite_in_progress"] != "0":
        return False
    if info.get("aof_rewrite_scheduled", "0") == "0":
        return True
    # Where the disk is full the server tries for ever: then it is scheduled again, and nothing else holds it up.
    return info["rdb_bgsave_in_progress"] == "0" and info.get("aof_last_bgrewrite_status") != "ok"


def append_on(server: host.Server, seconds: float) -> None:
    """Start the append-only file and wait until it has everything; off again where that fails."""
    wait_until(_idle, server, seconds, "a save that was running")
    try:
        server.ask("CONFIG", "SET", "appendonly", "yes")
        wait_until(_appended, server, seconds, "the first append-only file")
        prove_appended(server)
    except (host.redis.RedisError, RedisError) as exc:
        server.ask("CONFIG", "SET", "appendonly", "no")
        raise RedisError(f"appendonly yes: {exc}") from exc


def prove_appended(server: host.Server) -> None:
    found = server.info("persistence")
    for key in ("aof_last_bgrewrite_status", "aof_last_write_status"):
        if found.get(key) != "ok":
            raise RedisError(
                f"the append-only file in {_folder(server)} cannot be written. The log says why (disk full?)"
            )
    if found.get("aof_enabled") != "1":
        raise RedisError("the append-only file did not start")


# --- live changes -----------------------------------------------------------------------------------------------------


def set_live(server: host.Server, values: Mapping[str, str]) -> None:
    """All of them or none: the server takes them in one command."""
    words = [word for key in sorted(values) for word in (key, values[key])]
    if not words:
        return
    try:
        server.ask("CONFIG", "SET", *words)
    except host.redis.ResponseError as exc:
        pairs = ", ".join(shown_setting(key, values[key]) for key in sorted(values))
        raise RedisError(f"the running server refuses {pairs}: {exc}") from exc


def set_users(server: host.Server, changes: Mapping[str, tuple[str, str]], forward: bool = True) -> None:
    """Only users that differ, so that nobody else's connections are dropped, as C(ACL LOAD) of Redis 7.0 would."""
    for name, (old, new) in changes.items():
        line = new if forward else old
        if line:
            server.ask("ACL", "SETUSER", name, "reset", *rules_of(line))
        elif name != MANAGER:  # it stays until the restart that takes a new file back has ended
            server.ask("ACL", "DELUSER", name)


# --- restart ----------------------------------------------------------------------------------------------------------


def lasting_keys(server: host.Server) -> int:
    """Keys that do not expire by themselves."""
    return sum(keys - expires for keys, expires in keyspace(server.info("keyspace")).values())


def secure(server: host.Server, keeps_log: bool, seconds: float) -> int:
    """Make sure that a restart finds every key; returns how many there are, and nobody writes from here on.

    `keeps_log`: the server has an append-only file and goes on with it.
    """
    if keeps_log:
        wait_until(_idle, server, seconds, "a save that was running")
        prove_appended(server)
    else:
        dump(server, seconds)
        if not server.ask("CONFIG", "GET", "save")[1]:
            # Without a save point it would end without writing what came since.
            server.ask("CONFIG", "SET", "save", "3600 1")
    server.ask("CLIENT", "PAUSE", str(PAUSE_SECONDS * 1000), "WRITE")
    return lasting_keys(server)


def prove_kept(server: host.Server, before: int) -> None:
    """No key is missing, unless somebody took it away since."""
    missing = before - lasting_keys(server)
    if missing <= 0:
        return
    calls = server.info("commandstats")
    others = [name.partition("_")[2].partition("|")[0] for name in calls if name.startswith("cmdstat_")]
    if not set(others) - HARMLESS:
        raise RedisError(f"after the restart {missing} of {before} keys are missing")


def restart(flavour: Flavour, passwords: Mapping[str, str]) -> host.Server:
    host.systemctl("daemon-reload")
    host.systemctl("reset-failed", flavour.unit, check=False)  # starts that failed before would count
    host.systemctl("restart", flavour.unit)
    server = host.connect(flavour, passwords)
    host.wait_loaded(server)
    return server
