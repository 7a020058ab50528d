"""The probe `redis`: tables for the judging; tests/faults/test_health_databases.py asks real servers."""

from __future__ import annotations

import pathlib
import socket
import time
from typing import Any

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils import _health_engine as engine
from ansible_collections.shipshape.stack.plugins.module_utils import _probe_redis as probe_redis
from ansible_collections.shipshape.stack.plugins.module_utils._health_plan import read_plan
from ansible_collections.shipshape.stack.plugins.module_utils._health_spec import STATES, HealthError
from ansible_collections.shipshape.stack.plugins.module_utils._probe_registry import REGISTRY
from hypothesis import given as given_any
from hypothesis import strategies as st

MIB = 2**20
NOW = 1_800_000_000
# What the versions 7.0 and 8.0 say, of much more.
WELL = {
    "redis_version": "7.0.15",
    "role": "master",
    "loading": 0,
    "connected_clients": 3,
    "connected_slaves": 0,
    "used_memory": 30 * MIB,
    "used_memory_rss": 40 * MIB,
    "mem_not_counted_for_evict": 0,
    "maxmemory": 100 * MIB,
    "maxmemory_policy": "noeviction",
    "total_system_memory": 1000 * MIB,
    "rdb_changes_since_last_save": 0,
    "rdb_last_save_time": NOW - 7200,
    "rdb_last_bgsave_status": "ok",
    "aof_enabled": 1,
    "aof_last_write_status": "ok",
    "aof_last_bgrewrite_status": "ok",
    "server_time_usec": NOW * 1_000_000,
}
MISCONF = "MISCONF Redis is configured to save RDB snapshots"
REPLICA = {"role": "slave", "master_link_status": "up", "master_sync_in_progress": 0}


def options(**given: Any) -> Any:
    return read_plan({"checks": [{"name": "x", "type": "redis", **given}]}, REGISTRY).checks[0].options


def judge(info: dict[str, Any], refusal: str = "", **given: Any) -> tuple[str, str]:
    outcome = probe_redis.evaluate({**WELL, **info}, refusal, options(**given))
    return outcome.status, outcome.detail


CASES: list[tuple[dict[str, Any], str, str]] = [
    ({}, "healthy", "Redis 7.0.15 primary: 30.0 MiB of maxmemory 100.0 MiB used"),
    ({"valkey_version": "8.1.1"}, "healthy", "Valkey 8.1.1 primary: 30.0 MiB"),
    ({"used_memory": 80 * MIB}, "degraded", "80.0 MiB of maxmemory 100.0 MiB used (80%, noeviction), wanted less th"),
    ({"used_memory": 95 * MIB}, "unhealthy", "(95%, noeviction), wanted less than 95%"),
    ({"used_memory": 95 * MIB, "mem_not_counted_for_evict": 20 * MIB}, "healthy", "75.0 MiB of maxmemory"),
    ({"used_memory": 99 * MIB, "maxmemory_policy": "allkeys-lru"}, "healthy", "99.0 MiB of maxmemory"),
    ({"used_memory": 99 * MIB, "maxmemory_policy": "volatile-lru"}, "unhealthy", "(99%, volatile-lru), wanted"),
    ({"maxmemory": 0}, "healthy", "40.0 MiB of the host's 1000.0 MiB used, no maxmemory"),
    ({"maxmemory": 0, "used_memory_rss": 900 * MIB}, "degraded", "900.0 MiB of the host's 1000.0 MiB used, no maxm"),
    (
        {"maxmemory": 0, "used_memory_rss": 990 * MIB, "maxmemory_policy": "allkeys-lru"},
        "unhealthy",
        "(99%, allkeys-lru), wanted less than 95%",
    ),
    ({"maxmemory": 0, "total_system_memory": 0}, "healthy", "used, no maxmemory"),
    ({"loading": 1, "loading_loaded_perc": 12.5}, "unhealthy", "still loading the data, 12.5%"),
    ({"rdb_last_bgsave_status": "err"}, "unhealthy", "primary: the last save to disk (RDB) failed"),
    ({"aof_last_write_status": "err"}, "unhealthy", "the last write to the AOF failed"),
    ({"aof_last_bgrewrite_status": "err"}, "degraded", "the last rewrite of the AOF failed: it grows"),
    # What an AOF that is off says is about another time.
    ({"aof_enabled": 0, "aof_last_write_status": "err", "aof_last_bgrewrite_status": "err"}, "healthy", "30.0 MiB"),
    (REPLICA, "healthy", "Redis 7.0.15 replica: 30.0 MiB"),
    (
        {**REPLICA, "master_link_status": "down", "master_link_down_since_seconds": 300},
        "unhealthy",
        "replica: the link to the primary is down for 5 min",
    ),
    (
        {**REPLICA, "master_link_status": "down", "master_link_down_since_seconds": -1, "master_sync_in_progress": 1},
        "unhealthy",
        "the link to the primary is down for 0 s, copying all data",
    ),
    (
        {"rdb_last_bgsave_status": "err", "aof_last_bgrewrite_status": "err", "used_memory": 96 * MIB},
        "unhealthy",
        "the last save to disk (RDB) failed; 96.0 MiB of maxmemory 100.0 MiB used (96%, noeviction), wanted less than "
        "95%; the last rewrite",
    ),
]


@pytest.mark.parametrize(("info", "status", "said"), CASES)
def test_what_the_server_says_of_itself(info: dict[str, Any], status: str, said: str) -> None:
    found, detail = judge(info)
    assert (found, said in detail) == (status, True), detail


ASKED: list[tuple[dict[str, Any], dict[str, Any], str, str]] = [
    ({}, {"role": "primary"}, "healthy", "30.0 MiB"),
    ({}, {"role": "replica"}, "unhealthy", "it is a primary, wanted a replica"),
    (REPLICA, {"role": "primary"}, "unhealthy", "it is a replica, wanted a primary"),
    ({}, {"degraded_percent": 20}, "degraded", "(30%, noeviction), wanted less than 20%"),
    ({"rdb_changes_since_last_save": 9}, {}, "healthy", "30.0 MiB"),
    ({"rdb_changes_since_last_save": 9}, {"degraded_save_seconds": 7201}, "healthy", "30.0 MiB"),
    (
        {"rdb_changes_since_last_save": 9},
        {"degraded_save_seconds": 60, "unhealthy_save_seconds": 9000},
        "degraded",
        "9 changes, the last save was 2.0 h ago, wanted less than 60 s",
    ),
    ({"rdb_changes_since_last_save": 9}, {"unhealthy_save_seconds": 60}, "unhealthy", "wanted less than 60 s"),
    ({"rdb_changes_since_last_save": 0}, {"unhealthy_save_seconds": 60}, "healthy", "30.0 MiB"),
]


@pytest.mark.parametrize(("info", "given", "status", "said"), ASKED)
def test_what_is_asked_for(info: dict[str, Any], given: dict[str, Any], status: str, said: str) -> None:
    found, detail = judge(info, **given)
    assert (found, said in detail) == (status, True), detail


def test_an_answer_that_is_not_pong() -> None:
    assert judge({}, MISCONF) == ("unhealthy", f"Redis 7.0.15 primary: PING is answered by: {MISCONF}")


@given_any(st.integers(0, 200 * MIB), st.integers(0, 200 * MIB), st.sampled_from([0, 1, 100 * MIB]))
def test_more_memory_used_is_never_better(used: int, more: int, limit: int) -> None:
    before, after = (
        judge({"used_memory": size, "used_memory_rss": size, "maxmemory": limit})[0] for size in (used, used + more)
    )
    assert STATES.index(after) >= STATES.index(before)


REFUSED = [
    ({"port": 70000}, "checks[0].port: 70000 is not a port (1-65535)"),
    ({"unix_socket": "redis.sock"}, "checks[0].unix_socket: 'redis.sock' is not an absolute path"),
    ({"user": "monitor"}, "checks[0].user: a user needs the password_file too"),
    ({"tls": "perhaps"}, "checks[0].tls: 'perhaps' is not true or false"),
    ({"ca_path": "/ca.pem"}, "checks[0].ca_path: tls is not true"),
    ({"tls": True, "unix_socket": "/s"}, "checks[0].unix_socket: Redis speaks no TLS on a socket; leave tls away"),
    ({"tls": True, "client_cert": "/c"}, "checks[0].client_cert: client_cert and client_key need each other"),
    ({"password": "x"}, "checks[0].password: type redis has no such option (did you mean password_file?)"),
    ({"degraded_percent": 96}, "checks[0].degraded_percent: 96 is above unhealthy_percent (95)"),
    (
        {"degraded_save_seconds": 9, "unhealthy_save_seconds": 8},
        "checks[0].degraded_save_seconds: 9 is above unhealthy_save_seconds (8)",
    ),
]


@pytest.mark.parametrize(("given", "said"), REFUSED)
def test_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(HealthError) as refusal:
        options(**given)
    assert str(refusal.value).startswith(said)


def test_accepted() -> None:
    given = {
        "host": "cache.example.com", "port": 6380, "user": "monitor", "password_file": "/etc/pw", "tls": True,
        "validate_certs": False, "ca_path": "/ca.pem", "client_cert": "/c.pem", "client_key": "/k.pem",
        "connect_timeout": 1, "role": "replica", "degraded_percent": 1, "unhealthy_percent": 2,
        "degraded_save_seconds": 1, "unhealthy_save_seconds": 2,
    }  # fmt: skip
    read = options(**given)
    assert {key: read[key] for key in given} == given
    assert set(given) | {"unix_socket"} == set(probe_redis.OPTIONS)
    assert options(unix_socket="/run/redis.sock")["unix_socket"] == "/run/redis.sock"


# -- The conversation ----------------------------------------------------------------------------------------


def run(**given: Any) -> dict[str, Any]:
    check = {"name": "x", "type": "redis", "attempts": 1, "timeout": 0.5, **given}
    row: dict[str, Any] = engine.run(read_plan({"checks": [check]}, REGISTRY))["checks"][0]
    return row


@pytest.mark.parametrize("tls", [False, True])
def test_a_server_that_accepts_and_says_nothing(tls: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        began = time.monotonic()
        row = run(port=listener.getsockname()[1], tls=tls)
        took = time.monotonic() - began
    assert (row["status"], row["detail"]) == ("unhealthy", "no answer within 0.5 s")
    assert took < 1


def test_nothing_listens(tmp_path: pathlib.Path) -> None:
    row = run(unix_socket=str(tmp_path / "none"))
    assert (row["status"], f"{tmp_path}/none. No such file" in row["detail"]) == ("unhealthy", True), row


def test_a_password_that_cannot_be_read(tmp_path: pathlib.Path) -> None:
    row = run(password_file=str(tmp_path / "none"))
    assert (row["status"], row["detail"]) == (
        "unhealthy",
        f"password_file {tmp_path}/none: No such file or directory",
    )
