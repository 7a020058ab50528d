# Copyright: (c) 2026, The shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The probe `redis`: a login and an answer, memory, what is kept on disk, replication. Valkey is the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ._health_spec import (
    DEGRADED,
    UNHEALTHY,
    Option,
    Outcome,
    Probe,
    boolean,
    choice,
    number,
    path_name,
    percent,
    port,
    seconds,
    text,
)
from ._probe_database import (
    PRIMARY,
    REPLICA,
    ROLES,
    Broken,
    Finding,
    age,
    limits_agree,
    measure,
    missing,
    read_password,
    verdict,
    wrong_role,
)
from ._probe_host import size

ELAPSED = number(0, 10**9, "a number of seconds")
OPTIONS = {
    "host": Option(text(), "127.0.0.1"),
    "port": Option(port(), 6379),
    "unix_socket": Option(path_name()),
    "user": Option(text()),
    "password_file": Option(path_name()),
    "tls": Option(boolean(), False),
    "validate_certs": Option(boolean(), True),
    "ca_path": Option(path_name()),
    "client_cert": Option(path_name()),
    "client_key": Option(path_name()),
    "connect_timeout": Option(seconds()),
    "role": Option(choice(*ROLES)),
    "degraded_percent": Option(percent(), 80.0),
    "unhealthy_percent": Option(percent(), 95.0),
    "degraded_save_seconds": Option(ELAPSED),
    "unhealthy_save_seconds": Option(ELAPSED),
}


def _agree(options: Mapping[str, Any], path: str) -> Iterable[str]:
    yield from limits_agree(("percent", "save_seconds"), options, path)
    for key in ("ca_path", "client_cert", "client_key"):
        if options[key] and not options["tls"]:
            yield f"{path}.{key}: tls is not true"
    if options["tls"] and options["unix_socket"]:
        yield f"{path}.unix_socket: Redis speaks no TLS on a socket; leave tls away"
    if bool(options["client_cert"]) != bool(options["client_key"]):
        yield f"{path}.client_cert: client_cert and client_key need each other"
    if options["user"] and not options["password_file"]:
        yield f"{path}.user: a user needs the password_file too"


def evaluate(info: Mapping[str, Any], refusal: str, options: Mapping[str, Any]) -> Outcome:
    """Judge the answer to INFO, and what the server said to a PING if that was not PONG."""
    role = PRIMARY if info["role"] == "master" else REPLICA
    used, limit, memory = _memory(info)
    findings = [
        *wrong_role(role, options["role"]),
        *_serving(info, refusal),
        *_persistence(info),
        *_link(info),
    ]
    # A cache that throws out its oldest keys lives at its limit.
    if limit and not (info["maxmemory"] and info["maxmemory_policy"].startswith("allkeys-")):
        share = 100 * used / limit
        findings += measure(share, "percent", f"{memory} ({share:.0f}%, {info['maxmemory_policy']})", options)
    pending = info["rdb_changes_since_last_save"]
    unsaved = info["server_time_usec"] / 1e6 - info["rdb_last_save_time"] if pending else 0.0
    findings += measure(unsaved, "save_seconds", f"{pending} changes, the last save was {age(unsaved)} ago", options)
    figures = {
        "version": str(info.get("valkey_version", info["redis_version"])),
        "role": role,
        "memory_used": used,
        "memory_limit": limit,
        "clients": info["connected_clients"],
        "replicas": info.get("connected_slaves", 0),
        "unsaved_changes": pending,
        "aof": bool(info["aof_enabled"]),
    }
    name = "Valkey" if "valkey_version" in info else "Redis"
    return verdict(f"{name} {figures['version']} {role}", findings, memory, figures)


def _memory(info: Mapping[str, Any]) -> tuple[int, int, str]:
    """What counts against which limit: maxmemory as Redis counts it, else all that the process takes of the host."""
    if info["maxmemory"]:
        used, limit = info["used_memory"] - info.get("mem_not_counted_for_evict", 0), info["maxmemory"]
        return used, limit, f"{size(used)} of maxmemory {size(limit)} used"
    used, limit = info["used_memory_rss"], info.get("total_system_memory", 0)
    return used, limit, f"{size(used)} of the host's {size(limit)} used, no maxmemory"


def _serving(info: Mapping[str, Any], refusal: str) -> Iterable[Finding]:
    if info["loading"]:
        yield UNHEALTHY, f"still loading the data, {info.get('loading_loaded_perc', 0)}%"
    if refusal:
        yield UNHEALTHY, f"PING is answered by: {refusal}"


def _persistence(info: Mapping[str, Any]) -> Iterable[Finding]:
    if info["rdb_last_bgsave_status"] != "ok":
        yield UNHEALTHY, "the last save to disk (RDB) failed"
    if info["aof_enabled"] and info["aof_last_write_status"] != "ok":
        yield UNHEALTHY, "the last write to the AOF failed"
    if info["aof_enabled"] and info["aof_last_bgrewrite_status"] != "ok":
        yield DEGRADED, "the last rewrite of the AOF failed: it grows"


def _link(info: Mapping[str, Any]) -> Iterable[Finding]:
    if info.get("master_link_status", "up") != "up":
        down = age(max(0, info.get("master_link_down_since_seconds", 0)))
        syncing = info.get("master_sync_in_progress")
        yield UNHEALTHY, f"the link to the primary is down for {down}{', copying all data' if syncing else ''}"


def _client(redis: Any, options: Mapping[str, Any], timeout: float) -> Any:
    given: dict[str, Any] = {"host": options["host"], "port": options["port"]}
    if options["unix_socket"]:
        given = {"unix_socket_path": options["unix_socket"]}
    if options["tls"]:
        given.update(
            ssl=True,
            ssl_cert_reqs="required" if options["validate_certs"] else "none",
            ssl_check_hostname=options["validate_certs"],
            ssl_ca_certs=options["ca_path"],
            ssl_certfile=options["client_cert"],
            ssl_keyfile=options["client_key"],
        )
    return redis.Redis(
        **given,
        username=options["user"],
        password=read_password(options),
        socket_connect_timeout=min(options["connect_timeout"] or timeout, timeout),
        socket_timeout=timeout,
        # The engine retries; newer versions would do so too, and hide how long it takes.
        retry=redis.retry.Retry(redis.backoff.NoBackoff(), 0),
        decode_responses=True,
    )


def _run(options: Mapping[str, Any], timeout: float) -> Outcome:
    try:
        import redis
        import redis.backoff
        import redis.retry
    except ImportError:
        return missing("python3-redis", "redis")
    try:
        client = _client(redis, options, timeout)
        try:
            # First what is answered while data are loaded and after a failed save, too.
            info = client.info()
            return evaluate(info, "" if info["loading"] else _refusal(client, redis.RedisError), options)
        finally:
            client.connection_pool.disconnect()
    except redis.TimeoutError:
        raise TimeoutError from None
    except (Broken, redis.RedisError, OSError) as exc:
        return Outcome(UNHEALTHY, str(exc))


def _refusal(client: Any, error: type[Exception]) -> str:
    try:
        client.ping()
    except error as exc:
        return str(exc)
    return ""


PROBE = Probe(OPTIONS, _run, agree=_agree)
