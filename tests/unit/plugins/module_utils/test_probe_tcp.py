"""The probe `tcp` against real sockets."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils import _health_engine as engine
from ansible_collections.shipshape.stack.plugins.module_utils._health_plan import read_plan
from ansible_collections.shipshape.stack.plugins.module_utils._probe_registry import REGISTRY


def run(**given: Any) -> dict[str, Any]:
    check = {"name": "x", "type": "tcp", "attempts": 1, "timeout": 0.5, **given}
    row: dict[str, Any] = engine.run(read_plan({"checks": [check]}, REGISTRY))["checks"][0]
    return row


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[socket.socket], None]], int]]:
    listener = socket.create_server(("127.0.0.1", 0))

    def start(talk: Callable[[socket.socket], None]) -> int:
        def once() -> None:
            # The probe hangs up as soon as it has heard enough.
            with contextlib.suppress(ConnectionError), listener.accept()[0] as connection:
                talk(connection)

        threading.Thread(target=once, daemon=True).start()
        return int(listener.getsockname()[1])

    yield start
    listener.close()


def slowly(connection: socket.socket) -> None:
    for part in (b"SSH-", b"2.0-Open", b"SSH_9.2\r\n"):
        connection.sendall(part)
        time.sleep(0.05)
    time.sleep(2)


def echo(connection: socket.socket) -> None:
    connection.sendall(b"+PONG\r\n" if connection.recv(100) == b"PING\r\n" else b"-ERR\r\n")


def silent(connection: socket.socket) -> None:
    time.sleep(2)


CASES = [
    pytest.param(slowly, {}, "healthy", "accepts connections", id="port"),
    pytest.param(slowly, {"expect": r"^SSH-2\.0-OpenSSH"}, "healthy", "says SSH-2.0-Open", id="banner-in-pieces"),
    pytest.param(
        slowly, {"expect": "^220 "}, "unhealthy", "said 'SSH-2.0-OpenSSH_9.2', wanted text like '^220 '", id="wrong"
    ),
    pytest.param(echo, {"send": "PING\r\n", "expect": "PONG"}, "healthy", "says +PONG", id="question-and-answer"),
    pytest.param(
        echo, {"send": "PUNG\r\n", "expect": "PONG"}, "unhealthy", "said '-ERR', wanted text", id="wrong-answer"
    ),
    pytest.param(silent, {"expect": "x"}, "unhealthy", "no answer within 0.5 s", id="silence"),
    pytest.param(
        lambda connection: None, {"expect": "x"}, "unhealthy", "said nothing, wanted text like 'x'", id="closed"
    ),
]


@pytest.mark.parametrize(("talk", "given", "status", "said"), CASES)
def test_a_server(serve: Any, talk: Any, given: dict[str, Any], status: str, said: str) -> None:
    row = run(port=serve(talk), **given)
    assert row["status"] == status, row
    assert said in row["detail"]


def test_nothing_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        row = run(port=unused.getsockname()[1])
    assert (row["status"], row["detail"].rpartition(": ")[2]) == ("unhealthy", "Connection refused")
