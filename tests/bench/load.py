"""Open-loop clients: a request is sent when its time has come, however long others take, so that a server that stands
still for a moment is not spared the requests of that moment.

New connections are for one request each. A kept one is opened again when the server closed it; a close between two
requests is no failure, a request that was sent and got no whole answer is one.
"""

from __future__ import annotations

import asyncio
import collections
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

ANSWER_SECONDS = 10.0
KEEPALIVE_PAUSE = 0.1
BIN_SECONDS = 0.1


@dataclass(frozen=True)
class Request:
    """One request. `name` is kept where it was answered well; `waits` seconds of the answer were asked for."""

    path: str = "/"
    body: str = ""
    name: str = ""
    waits: float = 0.0

    def payload(self, host: str, kind: str) -> bytes:
        method = "POST" if self.body else "GET"
        length = f"Content-Type: application/json\r\nContent-Length: {len(self.body)}\r\n" if self.body else ""
        head = (
            f"{method} {self.path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: load\r\nConnection: {kind}\r\n{length}\r\n"
        )
        return (head + self.body).encode()


@dataclass(frozen=True)
class Traffic:
    """Whom to ask what, and what is wrong with an answer (nothing: an empty text)."""

    address: str
    host: str
    make: Callable[[int], Request]
    judge: Callable[[Request, int, str], str]


class Counter:
    """What became of the requests of one kind."""

    def __init__(self) -> None:
        self.sent = 0
        self.failures: collections.Counter[str] = collections.Counter()
        self.texts: collections.Counter[str] = collections.Counter()
        self.names: list[str] = []
        self.seconds: list[float] = []
        self.failed_at: list[float] = []

    def good(self, request: Request, text: str, took: float) -> None:
        self.texts[text] += 1
        self.seconds.append(took - request.waits)
        if request.name:
            self.names.append(request.name)

    def bad(self, why: str) -> None:
        self.failures[why] += 1
        self.failed_at.append(time.monotonic())

    @property
    def failed(self) -> int:
        return sum(self.failures.values())

    def within(self, share: float) -> float:
        """Seconds within which a share of the requests was answered."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0

    def told(self, name: str) -> str:
        share = 100 * self.failed / max(self.sent, 1)
        middle = statistics.median(self.seconds) if self.seconds else 0.0
        text = (
            f"{name:<24} {self.sent:>7} requests {self.failed:>5} failed ({share:.3f} %)"
            f"   median {1000 * middle:.1f} ms, 99 % within {1000 * self.within(0.99):.0f} ms,"
            f" 99.9 % within {1000 * self.within(0.999):.0f} ms, longest dark window {dark(self.failed_at):.1f} s"
        )
        return "\n".join([text, *(f"    {count} x {what}" for what, count in self.failures.most_common(5))])


def dark(times: list[float]) -> float:
    """The longest run of neighbouring tenths of a second in each of which a request failed, in seconds."""
    bins = sorted({int(each / BIN_SECONDS) for each in times})
    longest = length = 0
    for place, each in enumerate(bins):
        length = length + 1 if place and each == bins[place - 1] + 1 else 1
        longest = max(longest, length)
    return longest * BIN_SECONDS


async def answer(reader: asyncio.StreamReader) -> tuple[int, str, bool]:
    """Status, text, and whether the server keeps the connection."""
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    fields = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
    body = await reader.readexactly(int(fields["content-length"]))
    return int(lines[0].split()[1]), body.decode(), fields.get("connection") != "close"


async def ask(pair, traffic: Traffic, request: Request, counter: Counter, kind: str, began: float) -> bool:
    """One request on an open connection, whose time counts from `began`; whether it may be used again."""
    reader, writer = pair
    writer.write(request.payload(traffic.host, kind))
    await writer.drain()
    status, text, kept = await answer(reader)
    wrong = traffic.judge(request, status, text)
    if wrong:
        counter.bad(wrong)
    else:
        counter.good(request, text, time.monotonic() - began)
    return kept


async def guarded(work, counter: Counter) -> bool:
    try:
        return await asyncio.wait_for(work, ANSWER_SECONDS)
    except TimeoutError:
        counter.bad(f"no answer within {ANSWER_SECONDS:g} s")
    except (OSError, asyncio.IncompleteReadError, ValueError, KeyError, IndexError) as exc:
        counter.bad(f"{type(exc).__name__}: {exc}")
    return False


async def one_request(traffic: Traffic, request: Request, counter: Counter) -> None:
    async def whole() -> bool:
        began = time.monotonic()  # who waits for a connection waits for the answer
        pair = await asyncio.open_connection(traffic.address, 80)
        try:
            return await ask(pair, traffic, request, counter, "close", began)
        finally:
            pair[1].close()

    counter.sent += 1
    await guarded(whole(), counter)


async def new_connections(traffic: Traffic, rate: float, end: asyncio.Event, counter: Counter) -> None:
    began, running, number = time.monotonic(), set(), 0
    while not end.is_set():
        while number < (time.monotonic() - began) * rate:
            task = asyncio.create_task(one_request(traffic, traffic.make(number), counter))
            running.add(task)
            task.add_done_callback(running.discard)
            number += 1
        await asyncio.sleep(0.002)
    await asyncio.gather(*running)


async def kept_connection(traffic: Traffic, first: int, end: asyncio.Event, counter: Counter) -> None:
    pair, due, number = None, time.monotonic(), first
    while not end.is_set():
        due += KEEPALIVE_PAUSE
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        if pair is not None and pair[0].at_eof():  # closed between two requests
            pair[1].close()
            pair = None
        counter.sent += 1
        number += 1
        began = time.monotonic()
        try:
            pair = pair or await asyncio.open_connection(traffic.address, 80)
        except OSError as exc:
            counter.bad(f"{type(exc).__name__}: {exc}")
            continue
        if not await guarded(ask(pair, traffic, traffic.make(number), counter, "keep-alive", began), counter):
            pair[1].close()
            pair = None
    if pair is not None:
        pair[1].close()
