"""The probe `postgres`: tables for the judging; tests/faults/test_health_databases.py asks real servers."""

from __future__ import annotations

import pathlib
import socket
import time
from typing import Any

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils import _health_engine as engine
from ansible_collections.shipshape.stack.plugins.module_utils import _probe_postgres as probe_postgres
from ansible_collections.shipshape.stack.plugins.module_utils._health_plan import read_plan
from ansible_collections.shipshape.stack.plugins.module_utils._health_spec import STATES, HealthError
from ansible_collections.shipshape.stack.plugins.module_utils._probe_registry import REGISTRY
from hypothesis import given as given_any
from hypothesis import strategies as st

WELL = {
    "version": "17.6",
    "replica": False,
    "sees_all": True,
    "connections": 12,
    "connections_limit": 97,
    "transaction": {"seconds": 3.2, "who": "active in app, pid 7"},
    "ids_used": 200_000_000,
    "streaming": False,
    "replicas": 0,
    "lag_seconds": None,
    "slots": [],
}
REPLICA = {"replica": True, "streaming": True, "lag_seconds": 0}
DAY = 86400


def options(**given: Any) -> Any:
    return read_plan({"checks": [{"name": "x", "type": "postgres", **given}]}, REGISTRY).checks[0].options


def judge(seen: dict[str, Any], answer: str | None = None, **given: Any) -> tuple[str, str]:
    outcome = probe_postgres.evaluate({**WELL, **seen}, answer, options(**given))
    return outcome.status, outcome.detail


def slot(mib: float | None, lost: bool = False) -> dict[str, Any]:
    return {"slots": [{"name": "a", "mib": 1.0, "lost": False}, {"name": "b", "mib": mib, "lost": lost}]}


def open_for(seconds: float) -> dict[str, Any]:
    return {"transaction": {"seconds": seconds, "who": "idle in transaction in app, pid 7"}}


CASES: list[tuple[dict[str, Any], str, str]] = [
    ({}, "healthy", "primary: 12 of 97 connections used"),
    ({"transaction": None}, "healthy", "primary: 12 of 97 connections used"),
    ({"sees_all": False}, "healthy", "12 of 97 connections used, transactions of others not seen (grant pg_read_all_"),
    ({"connections": 77}, "healthy", "77 of 97"),
    ({"connections": 78}, "degraded", "primary: 78 of 97 connections used (80%), wanted less than 80%"),
    ({"connections": 97}, "unhealthy", "primary: 97 of 97 connections used (100%), wanted less than 95%"),
    ({"connections": 1, "connections_limit": 0}, "unhealthy", "1 of 1 connections used"),
    (open_for(3599), "healthy", "12 of 97"),
    (
        open_for(3600),
        "degraded",
        "a transaction is open for 60 min (idle in transaction in app, pid 7), wanted less th",
    ),
    (open_for(2.5 * DAY), "unhealthy", "a transaction is open for 2.5 days (idle in transaction in app, pid 7), want"),
    ({"ids_used": 2**30}, "degraded", "50% of the transaction IDs used up, wanted less than 40%"),
    ({"ids_used": 2**31 - 3_000_000}, "unhealthy", "100% of the transaction IDs used up, wanted less than 75%"),
    (REPLICA, "healthy", "replica: 12 of 97 connections used, lag 0 s"),
    ({**REPLICA, "lag_seconds": None}, "healthy", "replica: 12 of 97 connections used, lag unknown"),
    ({**REPLICA, "lag_seconds": 90}, "degraded", "replica: 90 s behind, wanted less than 60 s"),
    (
        {**REPLICA, "streaming": False, "lag_seconds": 7200},
        "unhealthy",
        "replica: 2.0 h behind, wanted less than 3600 ",
    ),
    ({**REPLICA, "streaming": False}, "degraded", "replica: nothing streams from a primary"),
    ({"replicas": 2, "lag_seconds": 1.5}, "healthy", "primary: 12 of 97 connections used, replicas: 2, lag 2 s"),
    ({"replicas": 2, "lag_seconds": 61}, "degraded", "primary: a replica is 61 s behind, wanted less than 60 s"),
    (slot(1023), "healthy", "12 of 97"),
    (slot(None), "healthy", "12 of 97"),
    (slot(2048), "degraded", "slot b keeps 2048 MiB, wanted less than 1024 MiB"),
    (slot(None, lost=True), "degraded", "slot b has lost its WAL: its replica must be made anew"),
    (
        {"connections": 80, **open_for(DAY)},
        "unhealthy",
        "primary: a transaction is open for 24.0 h (idle in transaction in app, pid 7), wanted less than 86400 s; 80 ",
    ),
]


@pytest.mark.parametrize(("seen", "status", "said"), CASES)
def test_what_the_server_says_of_itself(seen: dict[str, Any], status: str, said: str) -> None:
    found, detail = judge(seen)
    assert (found, said in detail, detail[:16]) == (status, True, "PostgreSQL 17.6 "), detail


ASKED = [
    ({"query": "SELECT 1"}, "1", "healthy", "12 of 97"),
    ({"query": "SELECT 1"}, None, "healthy", "12 of 97"),
    ({"query": "SELECT 1", "expect": "^1$"}, "1", "healthy", "12 of 97"),
    ({"query": "SELECT 1", "expect": "^1$"}, "10", "unhealthy", "the query brought '10', wanted text like '^1$'"),
    ({"query": "SELECT 1", "expect": "^1$"}, None, "unhealthy", "the query brought nothing, wanted text like '^1$'"),
    ({"role": "primary"}, None, "healthy", "12 of 97"),
    ({"role": "replica"}, None, "unhealthy", "primary: it is a primary, wanted a replica"),
    ({"degraded_percent": 10}, None, "degraded", "12 of 97 connections used (12%), wanted less than 10%"),
    ({"degraded_transaction_seconds": 3}, None, "degraded", "open for 3 s (active in app, pid 7), wanted less than 3"),
    ({"degraded_percent": 1, "unhealthy_percent": 2}, None, "unhealthy", "wanted less than 2%"),
]


@pytest.mark.parametrize(("given", "answer", "status", "said"), ASKED)
def test_what_is_asked_for(given: dict[str, Any], answer: str | None, status: str, said: str) -> None:
    found, detail = judge({}, answer, **given)
    assert (found, said in detail) == (status, True), detail


FIGURES = st.fixed_dictionaries(
    {
        "connections": st.integers(0, 10_000),
        "connections_limit": st.integers(-5, 10_000),
        "transaction": st.none() | st.fixed_dictionaries({"seconds": st.floats(0, 1e9), "who": st.text(max_size=5)}),
        "ids_used": st.integers(0, 2**31),
        "replica": st.booleans(),
        "streaming": st.booleans(),
        "lag_seconds": st.none() | st.floats(0, 1e9),
    }
)


@given_any(FIGURES, st.sampled_from(["connections", "ids_used"]), st.integers(0, 2**31))
def test_more_is_never_better(seen: dict[str, Any], name: str, more: int) -> None:
    before, after = judge(seen)[0], judge({**seen, name: seen[name] + more})[0]
    assert STATES.index(after) >= STATES.index(before)


REFUSED = [
    ({"port": 0}, "checks[0].port: 0 is not a port (1-65535)"),
    ({"user": ""}, "checks[0].user: '' is not text"),
    ({"database": 5}, "checks[0].database: 5 is not text"),
    ({"password_file": "secret"}, "checks[0].password_file: 'secret' is not an absolute path"),
    ({"password": "x"}, "checks[0].password: type postgres has no such option (did you mean password_file?)"),
    ({"sslmode": "verify"}, "checks[0].sslmode: 'verify' is not one of disable, prefer, require, verify-ca, verify-"),
    ({"ca_path": "/ca.pem"}, "checks[0].ca_path: sslmode prefer trusts any certificate; use verify-ca or verify-full"),
    ({"client_key": "/key.pem"}, "checks[0].client_cert: client_cert and client_key need each other"),
    ({"expect": "1"}, "checks[0].expect: there is no query whose result could be compared"),
    ({"query": "SELECT 1", "expect": "("}, "checks[0].expect: '(' is not a regular expression"),
    ({"role": "master"}, "checks[0].role: 'master' is not one of primary, replica"),
    ({"degraded_percent": 96}, "checks[0].degraded_percent: 96 is above unhealthy_percent (95)"),
    ({"unhealthy_lag_seconds": 9}, "checks[0].degraded_lag_seconds: 60 is above unhealthy_lag_seconds (9)"),
    ({"unhealthy_slot_mib": -1}, "checks[0].unhealthy_slot_mib: -1 is not a number of MiB"),
]


@pytest.mark.parametrize(("given", "said"), REFUSED)
def test_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(HealthError) as refusal:
        options(**given)
    assert str(refusal.value).startswith(said)


def test_accepted() -> None:
    given = {
        "host": "db.example.com", "port": 6432, "user": "monitor", "password_file": "/etc/pw", "database": "app",
        "sslmode": "verify-full", "ca_path": "/ca.pem", "client_cert": "/c.pem", "client_key": "/k.pem",
        "connect_timeout": 1, "role": "replica", "query": "SELECT 1", "expect": "1",
        **{f"degraded_{name}": 1 for name in probe_postgres.LIMITS},
        **{f"unhealthy_{name}": 2 for name in probe_postgres.LIMITS},
    }  # fmt: skip
    read = options(**given)
    assert {key: read[key] for key in given} == given
    assert set(given) == set(probe_postgres.OPTIONS)


# -- The conversation ----------------------------------------------------------------------------------------


def run(**given: Any) -> dict[str, Any]:
    check = {"name": "x", "type": "postgres", "attempts": 1, "timeout": 0.5, **given}
    row: dict[str, Any] = engine.run(read_plan({"checks": [check]}, REGISTRY))["checks"][0]
    return row


def test_a_server_that_accepts_and_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        began = time.monotonic()
        row = run(host="127.0.0.1", port=listener.getsockname()[1])
        took = time.monotonic() - began
    assert (row["status"], row["detail"]) == ("unhealthy", "no answer within 0.5 s")
    assert took < 1


def test_the_time_to_connect_has_a_bound_of_its_own() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        row = run(host="127.0.0.1", port=listener.getsockname()[1], timeout=20, connect_timeout=0.2)
    assert row["status"] == "unhealthy"
    assert row["elapsed_ms"] < 2000


def test_nothing_listens(tmp_path: pathlib.Path) -> None:
    row = run(host=str(tmp_path))
    assert (row["status"], f'socket "{tmp_path}/.s.PGSQL.5432" failed: No such' in row["detail"]) == ("unhealthy", True)


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "No such file or directory"), (b"", "not one line"), (b"a\nb\n", "not one line"), (b"\xff", "not text")],
)
def test_a_password_that_cannot_be_read(tmp_path: pathlib.Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "password"
    if content is not None:
        path.write_bytes(content)
    row = run(host=str(tmp_path), password_file=str(path))
    assert (row["status"], row["detail"].startswith(f"password_file {path}: {said}")) == ("unhealthy", True), row
