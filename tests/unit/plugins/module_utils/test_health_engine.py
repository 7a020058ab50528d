"""Concurrency, retries, the three states and how they combine; with probes made for the test and with real sockets."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils import _health_engine as engine
from ansible_collections.shipshape.stack.plugins.module_utils._health_plan import Plan, read_plan
from ansible_collections.shipshape.stack.plugins.module_utils._health_spec import (
    DEGRADED,
    HEALTHY,
    SKIPPED,
    STATES,
    UNHEALTHY,
    Outcome,
    Probe,
)
from ansible_collections.shipshape.stack.plugins.module_utils._probe_registry import REGISTRY
from hypothesis import given
from hypothesis import strategies as st


def saying(*statuses: str, seconds: float = 0.0) -> Probe:
    """A probe that says these one after the other, and the last for ever."""
    told = itertools.chain(statuses, itertools.repeat(statuses[-1]))

    def run(options: Any, timeout: float) -> Outcome:
        time.sleep(seconds)
        status = next(told)
        return Outcome(status, f"it is {status}")

    return Probe({}, run)


def plan(probes: dict[str, Probe], checks: dict[str, Any] | None = None, **call: Any) -> Plan:
    entries = [{"name": name, "type": name, **(checks or {}).get(name, {})} for name in probes]
    return read_plan({"checks": entries, "interval": 0.01, "timeout": 2, **call}, probes)


def probe(*args: Any, **kwargs: Any) -> dict[str, Any]:
    return engine.run(plan(*args, **kwargs))


def test_one_healthy_check() -> None:
    report = probe({"a": saying(HEALTHY)})
    assert report["status"] == HEALTHY
    assert report["first_healthy_after"] <= report["elapsed"] < 1
    row = report["checks"][0]
    assert (row["name"], row["type"], row["status"], row["attempts"], row["detail"]) == (
        "a",
        "a",
        HEALTHY,
        1,
        "it is healthy",
    )
    assert (row["http_status"], row["json"]) == (None, None)


def test_a_failure_is_retried_until_it_is_mended() -> None:
    report = probe({"a": saying(UNHEALTHY, UNHEALTHY, HEALTHY)})
    assert (report["status"], report["attempts"]) == (HEALTHY, 3)


def test_attempts_bound_the_retries() -> None:
    report = probe({"a": saying(UNHEALTHY)}, attempts=3)
    assert (report["status"], report["attempts"], report["first_healthy_after"]) == (UNHEALTHY, 3, None)


def test_a_check_may_have_attempts_of_its_own() -> None:
    report = probe({"a": saying(UNHEALTHY), "b": saying(UNHEALTHY)}, {"b": {"attempts": 1}}, attempts=2)
    assert [row["attempts"] for row in report["checks"]] == [2, 1]


def test_the_time_bounds_the_retries() -> None:
    report = probe({"a": saying(UNHEALTHY)}, timeout=0.2)
    assert report["status"] == UNHEALTHY
    assert report["elapsed"] < 0.5
    assert report["attempts"] > 3


def test_good_answers_must_come_in_a_row() -> None:
    report = probe({"a": saying(HEALTHY, HEALTHY, UNHEALTHY, HEALTHY)}, consecutive_successes=3)
    assert (report["status"], report["attempts"]) == (HEALTHY, 6)


def test_too_few_in_a_row_are_not_healthy() -> None:
    report = probe({"a": saying(UNHEALTHY, HEALTHY)}, consecutive_successes=3, attempts=3)
    assert report["status"] == UNHEALTHY
    assert report["checks"][0]["detail"] == "only 2 of 3 good answers in a row; last: it is healthy"


@pytest.mark.parametrize(
    ("call", "status", "attempts", "failed"),
    [
        ({}, DEGRADED, 1, False),
        ({"fail_on": "degraded", "attempts": 3}, DEGRADED, 3, True),
        ({"fail_on": "degraded", "degraded_ok": ["a"]}, HEALTHY, 1, False),
        ({"degraded_ok": ["a"]}, HEALTHY, 1, False),
    ],
)
def test_degraded_is_an_answer_unless_it_would_fail_the_call(
    call: dict[str, Any], status: str, attempts: int, failed: bool
) -> None:
    asked = plan({"a": saying(DEGRADED)}, **call)
    report = engine.run(asked)
    assert (report["status"], report["attempts"]) == (status, attempts)
    assert report["checks"][0]["status"] == DEGRADED
    assert bool(engine.failure(asked, report)) is failed


def test_any_ends_with_the_first_healthy_one() -> None:
    report = probe({"a": saying(UNHEALTHY), "b": saying(HEALTHY), "c": saying(HEALTHY, seconds=1)}, mode="any")
    assert report["status"] == HEALTHY
    assert report["elapsed"] < 0.5
    assert report["checks"][2]["status"] == SKIPPED


def test_any_is_not_content_with_degraded_or_skipped() -> None:
    report = probe({"a": saying(DEGRADED), "b": saying(SKIPPED), "c": saying(HEALTHY, seconds=0.1)}, mode="any")
    assert (report["status"], report["checks"][2]["status"]) == (HEALTHY, HEALTHY)


@pytest.mark.parametrize(("mode", "least", "most"), [("all", 0.3, 0.6), ("any", 0.0, 0.2)])
def test_when_the_whole_was_healthy_first(mode: str, least: float, most: float) -> None:
    """Answers that are wanted in a row, after the first, do not count."""
    probes = {"a": saying(HEALTHY), "b": saying(HEALTHY, seconds=0.3)}
    report = probe(probes, mode=mode, consecutive_successes=2, interval=0.3)
    assert least <= report["first_healthy_after"] <= most


def test_nothing_but_skipped_proves_nothing() -> None:
    assert probe({"a": saying(SKIPPED)})["status"] == DEGRADED
    assert probe({"a": saying(SKIPPED), "b": saying(HEALTHY)})["status"] == HEALTHY


def test_a_failure_of_skipped_checks_says_so() -> None:
    asked = plan({"a": saying(SKIPPED)}, fail_on="degraded")
    assert str(engine.failure(asked, engine.run(asked))).endswith(": a: it is skipped")


def test_a_probe_that_breaks_is_a_finding_and_the_others_go_on() -> None:
    def broken(options: Any, timeout: float) -> Outcome:
        raise KeyError("oops")

    report = probe({"a": Probe({}, broken), "b": saying(HEALTHY)}, attempts=1)
    assert [row["status"] for row in report["checks"]] == [UNHEALTHY, HEALTHY]
    assert report["checks"][0]["detail"] == "KeyError: 'oops'"


def test_a_probe_that_hangs_is_given_up() -> None:
    """Where no timeout of its own reaches, as in statvfs on a dead mount."""
    report = probe({"a": saying(HEALTHY, seconds=3), "b": saying(HEALTHY)}, {"a": {"timeout": 0.2}}, attempts=1)
    assert report["elapsed"] < 0.6
    assert report["checks"][0]["detail"] == "no answer within 0.2 s"


def test_a_late_answer_does_not_count() -> None:
    """The first attempt answers healthy after it was given up; the second is the one that counts."""
    calls = iter([0.5, 0.3])

    def run(options: Any, timeout: float) -> Outcome:
        wait = next(calls)
        time.sleep(wait)
        return Outcome(HEALTHY if wait == 0.5 else DEGRADED, str(wait))

    report = probe({"a": Probe({}, run)}, {"a": {"timeout": 0.15, "attempts": 2}})
    assert (report["checks"][0]["status"], report["checks"][0]["detail"]) == (DEGRADED, "0.3")


def test_an_attempt_cut_short_does_not_hide_what_was_seen_before() -> None:
    seconds = itertools.chain([0.0], itertools.repeat(5.0))

    def run(options: Any, timeout: float) -> Outcome:
        time.sleep(next(seconds))
        return Outcome(UNHEALTHY, "HTTP 503")

    report = probe({"a": Probe({}, run)}, timeout=0.4)
    assert report["checks"][0]["detail"] == "HTTP 503"


def test_control_characters_never_reach_the_report() -> None:
    def run(options: Any, timeout: float) -> Outcome:
        return Outcome(HEALTHY, "a\x1b[2Jb\r\nc\u202ed")

    assert probe({"a": Probe({}, run)})["checks"][0]["detail"] == "a [2Jb c d"


def test_the_failure_names_every_check_to_blame() -> None:
    asked = plan({"a": saying(UNHEALTHY), "b": saying(HEALTHY), "c": saying(DEGRADED)}, attempts=1)
    said = engine.failure(asked, engine.run(asked))
    assert said is not None
    assert said.startswith("unhealthy: 1 of 3 checks after ")
    assert said.endswith("s: a: it is unhealthy")


@given(st.lists(st.sampled_from([*STATES, SKIPPED]), min_size=1), st.data())
def test_combining_is_monotone(statuses: list[str], data: st.DataObject) -> None:
    """A check that gets worse never makes the whole better, in either mode."""
    at = data.draw(st.integers(0, len(statuses) - 1))
    if statuses[at] == SKIPPED:
        return
    worse = data.draw(st.sampled_from(STATES[STATES.index(statuses[at]) :]))
    for mode in ("all", "any"):
        before = engine.combine(statuses, mode)
        after = engine.combine([*statuses[:at], worse, *statuses[at + 1 :]], mode)
        assert STATES.index(after) >= STATES.index(before)


@given(st.lists(st.sampled_from([*STATES, SKIPPED]), min_size=1), st.randoms())
def test_the_order_of_checks_does_not_matter(statuses: list[str], random: Any) -> None:
    mixed = list(statuses)
    random.shuffle(mixed)
    for mode in ("all", "any"):
        assert engine.combine(mixed, mode) == engine.combine(statuses, mode)


@pytest.fixture
def slow_server() -> Iterator[Callable[[float], int]]:
    """Ports of servers that answer HTTP after so many seconds."""
    listeners: list[socket.socket] = []

    def answer(connection: socket.socket, seconds: float) -> None:
        with connection:
            connection.recv(4096)
            time.sleep(seconds)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    def serve(listener: socket.socket, seconds: float) -> None:
        while True:
            try:
                connection = listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=answer, args=(connection, seconds), daemon=True).start()

    def start(seconds: float) -> int:
        listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        listeners.append(listener)
        threading.Thread(target=serve, args=(listener, seconds), daemon=True).start()
        return int(listener.getsockname()[1])

    yield start
    for listener in listeners:
        listener.close()


def test_twenty_probes_take_as_long_as_the_slowest(slow_server: Callable[[float], int]) -> None:
    slow, quick = slow_server(1.0), slow_server(0.2)
    urls = [f"http://127.0.0.1:{slow if number == 7 else quick}/" for number in range(18)]
    checks: list[dict[str, Any]] = [{"name": url_ + str(n), "type": "http", "url": url_} for n, url_ in enumerate(urls)]
    checks += [{"name": "sleep", "type": "command", "command": "sleep 0.9"}, {"name": "disk", "type": "disk"}]
    report = engine.run(read_plan({"checks": checks}, REGISTRY))
    assert [row["status"] for row in report["checks"]] == [HEALTHY] * 20
    slowest = max(row["elapsed_ms"] for row in report["checks"]) / 1000
    assert 1.0 <= report["elapsed"] <= slowest + 0.3
