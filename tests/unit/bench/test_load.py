"""The clients of the benchmarks: what they count, and what they call a failure, against servers that misbehave."""

from __future__ import annotations

import asyncio
import importlib.machinery
import importlib.util
import pathlib
import sys
from collections.abc import Iterator
from typing import Any

import pytest

BENCH = pathlib.Path(__file__).resolve().parents[3] / "tests/bench"
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(BENCH))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield importlib.import_module("load")
    sys.modules.pop("load", None)


@pytest.fixture
def deploys(load: Any) -> Any:
    """The benchmark itself, which has no suffix to be imported by."""
    loader = importlib.machinery.SourceFileLoader("bench_deploys", str(BENCH / "deploys"))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("times", "seconds"),
    [
        ([], 0.0),
        ([1.05], 0.1),
        ([1.01, 1.02, 1.09], 0.1),
        ([1.05, 1.15, 1.25], 0.3),
        ([1.25, 1.05, 1.15], 0.3),
        ([1.05, 1.25], 0.1),
        ([1.05, 1.15, 3.05, 3.15, 3.25, 9.05], 0.3),
    ],
)
def test_the_longest_dark_window(load, times, seconds):
    assert load.dark(times) == pytest.approx(seconds)


@pytest.mark.parametrize(("share", "seconds"), [(0.0, 1), (0.5, 51), (0.99, 100), (1.0, 100)])
def test_seconds_within_which_a_share_was_answered(load, share, seconds):
    counter = load.Counter()
    counter.seconds = [float(number) for number in range(100, 0, -1)]
    assert counter.within(share) == seconds


def test_nothing_answered_took_no_time(load):
    assert load.Counter().within(0.99) == 0.0
    assert "0 requests" in load.Counter().told("none")


def test_what_was_asked_to_wait_is_not_the_servers_time(load):
    counter = load.Counter()
    counter.good(load.Request("/slow", waits=0.3), "ok", 0.31)
    counter.good(load.Request(name="a"), "ok", 0.02)
    assert counter.seconds == pytest.approx([0.01, 0.02])
    assert counter.names == ["a"]


def test_a_request_on_the_wire(load):
    assert load.Request("/a").payload("h", "close").startswith(b"GET /a HTTP/1.1\r\nHost: h\r\n")
    head, _empty, body = load.Request("/a", '{"id": 1}').payload("h", "keep-alive").partition(b"\r\n\r\n")
    assert head.startswith(b"POST /a ")
    assert b"Connection: keep-alive\r\n" in head + b"\r\n"
    assert b"Content-Length: 9" in head
    assert body == b'{"id": 1}'


def served(load, monkeypatch, scripts: list[list[bytes]], client: str) -> Any:
    """Connection N answers its requests with scripts[N], then closes, later ones with GOOD; what the client counted."""
    pending = list(scripts)

    async def serve(reader, writer):
        for answer in pending.pop(0) if pending else [GOOD]:
            await reader.readuntil(b"\r\n\r\n")
            if answer == b"never":
                await asyncio.sleep(0.4)
            writer.write(answer)
        writer.close()

    async def run():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        place = server.sockets[0].getsockname()
        opened = asyncio.open_connection
        monkeypatch.setattr(load.asyncio, "open_connection", lambda _host, _port: opened(*place))
        traffic = load.Traffic("", "h", lambda _number: load.Request(), judge)
        counter, end = load.Counter(), asyncio.Event()
        if client == "new":
            await load.one_request(traffic, load.Request(), counter)
        else:
            monkeypatch.setattr(load, "KEEPALIVE_PAUSE", 0.02)
            task = asyncio.create_task(load.kept_connection(traffic, 0, end, counter))
            while pending and not task.done():
                await asyncio.sleep(0.005)
            await asyncio.sleep(0.005)
            end.set()
            await task
        server.close()
        return counter

    def judge(_request, status, text):
        return "" if (status, text) == (200, "ok") else f"status {status}"

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (GOOD, ""),
        (GOOD.replace(b"200 OK", b"502 Bad Gateway"), "status 502"),
        (GOOD.replace(b"ok", b"no"), "status 200"),
        (GOOD[:-1], "IncompleteReadError"),
        (b"", "IncompleteReadError"),
        (b"nonsense\r\n\r\n", "KeyError"),
        (b"never", "no answer within"),
    ],
)
def test_what_is_a_failure_on_a_new_connection(load, monkeypatch, answer, failure):
    monkeypatch.setattr(load, "ANSWER_SECONDS", 0.2)
    counter = served(load, monkeypatch, [[answer]], "new")
    assert counter.sent == 1
    assert counter.failed == (1 if failure else 0)
    assert failure in "".join(counter.failures)
    assert len(counter.seconds) == (0 if failure else 1)
    assert len(counter.failed_at) == counter.failed


def test_a_close_between_two_requests_is_no_failure(load, monkeypatch):
    counter = served(load, monkeypatch, [[GOOD], [GOOD, GOOD], [GOOD]], "kept")
    assert counter.failed == 0
    assert len(counter.seconds) >= 3


def test_a_kept_request_without_a_whole_answer_is_one(load, monkeypatch):
    counter = served(load, monkeypatch, [[GOOD, GOOD[:-1]], [GOOD]], "kept")
    assert counter.failed == 1
    assert "IncompleteReadError" in next(iter(counter.failures))


def counted(load, names=(), seconds=(0.01,) * 100, failed=0):
    counter = load.Counter()
    counter.sent = len(seconds) + failed
    counter.names, counter.seconds = list(names), list(seconds)
    for _each in range(failed):
        counter.bad("status 502")
    return counter


ONCE = {"received": 1, "done": 1}


@pytest.mark.parametrize(
    ("changes", "orders", "problem"),
    [
        ({}, [{"id": "a", **ONCE}], ""),
        ({}, [{"id": "a", **ONCE}, {"id": "unanswered", **ONCE}], ""),
        ({}, [], "1 lost"),
        ({}, [{"id": "a", "received": 2, "done": 1}], "1 received or worked on twice"),
        ({}, [{"id": "a", "received": 1, "done": 2}], "1 received or worked on twice"),
        ({"failed": 1}, [{"id": "a", **ONCE}], "new connections: 1 "),
        ({"seconds": [0.01] * 98 + [0.019] * 2}, [{"id": "a", **ONCE}], ""),
        ({"seconds": [0.01] * 98 + [0.021] * 2}, [{"id": "a", **ONCE}], "99 % took more"),
    ],
)
def test_limits_of_the_deploys(load, deploys, changes, orders, problem):
    fresh = counted(load, names=["a"], **changes)
    found = deploys.judge([counted(load), counted(load)], [fresh, counted(load)], orders)
    assert len(found) == bool(problem)
    assert problem in "".join(found)


@pytest.mark.parametrize(("failed", "problems"), [(2, 0), (3, 1)])
def test_limits_of_kept_connections(load, deploys, failed, problems):
    kept = counted(load, seconds=[0.01] * (1000 - failed), failed=failed)
    assert len(deploys.judge([counted(load), counted(load)], [counted(load), kept], [])) == problems


def test_failures_while_nobody_deploys_are_told(load, deploys):
    assert len(deploys.judge([counted(load, failed=1), counted(load)], [counted(load), counted(load)], [])) == 1
