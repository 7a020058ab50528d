# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether nginx really serves what it was told to: `nginx -s reload` is content also where nothing has changed."""

from __future__ import annotations

import contextlib
import errno
import http.client
import os
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.shipshape.stack.plugins.module_utils import _certificate_nginx as process
from ansible_collections.shipshape.stack.plugins.module_utils import _nginx_said as said
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_render import ERROR_LOG
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_swap import MAIN, ROOT, SwapError, Wanted

PID_FILE = "/run/nginx.pid"
ANSWER_SECONDS = 1.0
PAUSE_SECONDS = 0.02
# How long it may take to serve after its last word: a client can have written that.
DOUBT_SECONDS = 3.0


def master() -> int:
    return process.master(PID_FILE)


def serving(status: tuple[str, int]) -> str:
    """The generation that nginx answers with; empty for any other answer."""
    connection = http.client.HTTPConnection(*status, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", "/generation", headers={"Connection": "close"})
        answer = connection.getresponse()
        body = answer.read(64).decode("ascii", "replace").strip()
        return body if answer.status == 200 else ""
    except (OSError, http.client.HTTPException):
        return ""
    finally:
        connection.close()


# --- sockets ----------------------------------------------------------------------------------------------------------


def sockets(pid: int) -> list[said.Socket]:
    """All that listens in the network of a process."""
    found = []
    for kind in ("tcp", "udp"):
        for name in (kind, f"{kind}6"):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/net/{name}", encoding="ascii") as file:
                found += said.read_sockets(file.read(), kind)
    return found


def inodes(pid: int) -> set[int]:
    found, where = set(), f"/proc/{pid}/fd"
    with contextlib.suppress(OSError):  # it may end meanwhile
        for name in os.listdir(where):
            with contextlib.suppress(OSError):
                target = os.readlink(f"{where}/{name}")
                if target.startswith("socket:["):
                    found.add(int(target[8:-1]))
    return found


def held(pid: int) -> list[said.Socket]:
    own = inodes(pid)
    return [each for each in sockets(pid) if each.inode in own]


def _holder(found: said.Socket) -> str:
    for name in os.listdir("/proc"):
        if name.isdigit() and found.inode in inodes(int(name)):
            with contextlib.suppress(OSError), open(f"/proc/{name}/comm", encoding="utf-8", errors="replace") as file:
                return f"{file.read().strip()} (pid {name})"
    return "a process that cannot be seen from here"


def tell_taken(address: str, port: int, kind: str = "tcp") -> str:
    """Who has what nginx could not have."""
    names = sorted({_holder(each) for each in said.in_the_way(address, port, kind, sockets(os.getpid()))})
    place = said.place_of(address, port)
    if not names:
        return f"{place} ({kind}) is taken by a process that cannot be seen from here"
    if all(name.startswith("nginx ") for name in names) and master():
        return (
            f"{place} ({kind}) overlaps with another address that nginx itself has now, and it does not let go of one"
            " while it reloads: run `systemctl stop nginx`, and this again"
        )
    return f"{place} ({kind}) is taken by {', '.join(names)}: stop it, or choose another port"


def _is_taken(address: str, port: int, kind: str) -> bool:
    """Asked of the kernel by a socket that never listens, so that nobody's connection ends up in it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM) as asked:
            asked.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(kind == "tcp"))
            if family == socket.AF_INET6:
                asked.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            asked.bind((address, port))
    except OSError as exc:
        return exc.errno == errno.EADDRINUSE  # of anything else `nginx -t` speaks better
    return False


def obstacles(wanted: Wanted, pid: int) -> list[str]:
    """Ports that somebody else has: `nginx -t` does not look at them."""
    lacking = said.missing(wanted.listeners, held(pid) if pid else [])
    return [tell_taken(*each) for each in lacking if _is_taken(*each)]


# --- the error log ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mark:
    """Where the error log ended."""

    inode: int
    size: int

    @classmethod
    def now(cls) -> Mark:
        try:
            found = os.stat(ERROR_LOG)
        except FileNotFoundError:
            return cls(0, 0)
        return cls(found.st_ino, found.st_size)

    def since(self, pid: int = 0) -> list[said.Line]:
        """What nginx could not do; all of it where the log was rotated meanwhile.

        Of one process: an `nginx -t` of somebody else writes there, too, and so do clients, into the middle of lines.
        """
        try:
            with open(ERROR_LOG, encoding="utf-8", errors="replace") as file:
                found = os.fstat(file.fileno())
                file.seek(self.size if found.st_ino == self.inode and found.st_size >= self.size else 0)
                lines = [line for line in said.read_said(file.read()) if line.level == "emerg"]
                return [line for line in lines if not pid or line.pid == pid]
        except FileNotFoundError:
            return []


def tell(lines: list[said.Line], goal: Goal) -> str:
    """Emergencies of a start or reload, ports first: they are the ones that `nginx -t` does not see."""
    places = said.taken(lines)
    if not places:
        return " ".join(said.explain(line, f"{ROOT}/{goal.name}", goal.texts) for line in lines[:3])
    told = []
    for place in places:
        address, port = said.address_of(place)
        kind = "tcp" if said.in_the_way(address, port, "tcp", sockets(os.getpid())) else "udp"
        told.append(tell_taken(address, port, kind) if port else f"{place} is taken")
    first = next(line for line in lines if said.TAKEN.search(line.text))
    return f"{'; '.join(told)}. nginx says: {first.text}"


# --- the reload -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Goal:
    """What nginx shall serve; without a name it is of somebody else, and only new workers can be asked for."""

    name: str
    status: tuple[str, int] | None
    listeners: Sequence[tuple[str, int, str]]
    texts: Mapping[str, str]

    @classmethod
    def of(cls, wanted: Wanted) -> Goal:
        return cls(wanted.identity, wanted.status, wanted.listeners, wanted.placed())

    @classmethod
    def back(cls, name: str, texts: Mapping[str, str], before: Before) -> Goal:
        """What there was, with all that it listened on."""
        listeners = [(each.address, each.port, each.kind) for each in before.held]
        return cls(name, said.status_of(texts.get(MAIN, "")), listeners, texts)


@dataclass(frozen=True)
class Before:
    """The processes that a reload has to replace, what they listen on, and where the log ended."""

    master: int
    workers: frozenset[int]
    held: Sequence[said.Socket]
    mark: Mark

    @classmethod
    def now(cls) -> Before:
        pid = master()
        return cls(pid, frozenset(process.workers(pid) if pid else ()), held(pid) if pid else (), Mark.now())


def reload(before: Before) -> None:
    try:
        os.kill(before.master, signal.SIGHUP)
    except ProcessLookupError:
        raise SwapError(f"nginx ended while it was to be reloaded: see {ERROR_LOG}") from None


def _lacking(before: Before, goal: Goal) -> str:
    """What is still missing of the proof."""
    pid = master()
    if not pid:
        return "nginx does not run"
    if before.master and pid != before.master:
        return f"its master is {pid} and was {before.master}: something else restarted it"
    now = process.workers(pid)
    if not now or now & before.workers:
        return "its workers are still the old ones" if now else "it has no workers"
    if goal.name and goal.status:
        answer = serving(goal.status)
        if answer != goal.name:
            place = said.place_of(*goal.status)
            return f"http://{place}/generation answers {answer or 'nothing'} instead of {goal.name}"
    lacking = said.missing(goal.listeners, held(pid))
    return "; ".join(f"nobody listens on {said.place_of(*each[:2])} ({each[2]})" for each in lacking)


def prove(before: Before, goal: Goal, seconds: float) -> None:
    """Wait until nginx serves it, or has said that it does not. What it does counts more than what it says."""
    end, doubted = time.monotonic() + seconds, 0.0
    while True:
        lacking = _lacking(before, goal)
        if not lacking:
            return
        emergencies, now = before.mark.since(before.master or master()), time.monotonic()
        if said.final(emergencies):
            doubted = doubted or now
            if now >= doubted + DOUBT_SECONDS:
                raise SwapError(f"nginx did not take it: {tell(emergencies, goal)}")
        if now >= end:
            reason = f": {tell(emergencies, goal)}" if emergencies else f": see {ERROR_LOG}"
            raise SwapError(f"{seconds:g} s after the reload {lacking}{reason}")
        time.sleep(PAUSE_SECONDS)
