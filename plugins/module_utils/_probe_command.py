# Copyright: (c) 2026, The shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The probe `command`: a program of the user's, its exit status and output. Other probes start programs here too."""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import shlex
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ._health_spec import (
    UNHEALTHY,
    HealthError,
    Kind,
    Option,
    Outcome,
    Probe,
    excerpt,
    integer,
    judge,
    listing,
    regex,
)

MOST = 64 * 1024


@dataclass(frozen=True)
class Result:
    rc: int
    stdout: str
    stderr: str


def _read_command(value: Any, path: str) -> list[str]:
    """Text is split as a shell would, and no shell runs: no pipes, no variables, no surprises."""
    try:
        words = shlex.split(value) if isinstance(value, str) else value
    except ValueError as exc:
        raise HealthError(f"{path}: {exc}") from exc
    if not isinstance(words, list) or not words or any(isinstance(word, (dict, list)) for word in words):
        raise HealthError(f"{path}: give the program and its arguments, as text or as a list")
    words = [str(word) for word in words]
    if not words[0] or any("\0" in word for word in words):
        raise HealthError(f"{path}: the program has no name")
    return words


STATUS = listing(integer(0, 255, "an exit status"))
OPTIONS = {
    "command": Option(Kind({"type": "raw"}, _read_command), required=True),
    "expect_rc": Option(STATUS, [0]),
    "degraded_rc": Option(STATUS),
    "stdout_regex": Option(regex()),
}


def _agree(options: Mapping[str, Any], path: str) -> Iterable[str]:
    for rc in sorted(set(options["expect_rc"]) & set(options["degraded_rc"] or ())):
        yield f"{path}.degraded_rc: {rc} is also in expect_rc"


def evaluate(result: Result, options: Mapping[str, Any]) -> Outcome:
    problems, warnings = [], []
    said = excerpt(result.stderr) or excerpt(result.stdout)
    tail = f": {said}" if said else ""
    if result.rc in (options["degraded_rc"] or ()):
        warnings.append(f"rc {result.rc}{tail}")
    elif result.rc not in options["expect_rc"]:
        how = f"killed by signal {-result.rc}" if result.rc < 0 else f"rc {result.rc}"
        problems.append(f"{how}, wanted {' or '.join(map(str, options['expect_rc']))}{tail}")
    if options["stdout_regex"] and not re.search(options["stdout_regex"], result.stdout):
        problems.append(f"stdout {excerpt(result.stdout)!r}, wanted text like {options['stdout_regex']!r}")
    return Outcome(*judge(problems, warnings, excerpt(result.stdout, 60) or f"rc {result.rc}"))


def start(argv: Sequence[str], timeout: float, keep: int = MOST) -> Result:
    """Run a program to its end. Output beyond `keep` is dropped; at the timeout its whole session is ended."""
    deadline = time.monotonic() + timeout
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": ""}
    process = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        cwd="/",
        start_new_session=True,
    )
    with process:
        try:
            said = _read_pipes(process, deadline, keep)
            rc = process.wait(max(0.01, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise TimeoutError from None
        finally:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
    return Result(rc, *said)


def _read_pipes(process: subprocess.Popen[bytes], deadline: float, keep: int) -> tuple[str, str]:
    said: dict[Any, bytearray] = {process.stdout: bytearray(), process.stderr: bytearray()}
    with selectors.DefaultSelector() as selector:
        for pipe in said:
            selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            if not ready or time.monotonic() >= deadline:
                raise TimeoutError
            for key, _events in ready:
                more = os.read(key.fd, MOST)
                if not more:
                    selector.unregister(key.fileobj)
                said[key.fileobj] += more[: keep - len(said[key.fileobj])]
    out, err = (bytes(part).decode("utf-8", "replace") for part in said.values())
    return out, err


def _run(options: Mapping[str, Any], timeout: float) -> Outcome:
    try:
        return evaluate(start(options["command"], timeout), options)
    except (FileNotFoundError, PermissionError) as exc:
        return Outcome(UNHEALTHY, f"{options['command'][0]}: {exc.strerror}")


PROBE = Probe(OPTIONS, _run, agree=_agree)
