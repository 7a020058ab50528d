# Copyright: (c) 2026, The shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a plan: every check at the same time, retried until it is settled or the time is up.

One thread per attempt, and one loop that decides. Threads are daemons: a probe that hangs where no timeout reaches
(a dead NFS mount) is given up, reported, and does not keep the process alive.
"""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Optional

from ._health_plan import Check, Plan
from ._health_spec import DEGRADED, HEALTHY, SKIPPED, STATES, UNHEALTHY, Outcome, excerpt, worst

# A probe's own timeout has the better message, so the loop gives up only a little later.
GRACE = 0.2


@dataclass
class _State:
    check: Check
    due: float
    number: int
    running: bool = False
    started: float = 0.0
    limit: float = 0.0
    attempts: int = 0
    streak: int = 0
    streak_began: float = 0.0
    took: float = 0.0
    outcome: Optional[Outcome] = None
    settled: bool = False


@dataclass(frozen=True)
class _Answer:
    number: int
    attempt: int
    outcome: Outcome
    timed_out: bool = False
    at: float = field(default_factory=time.monotonic)


def combine(statuses: Iterable[str], mode: str = "all") -> str:
    """The one status of many: the worst for `all`, the best for `any`. Nothing but skipped checks proves nothing."""
    counted = [status for status in statuses if status != SKIPPED]
    if not counted:
        return DEGRADED
    return worst(counted) if mode == "all" else min(counted, key=STATES.index)


def run(plan: Plan) -> dict[str, Any]:
    """Probe, wait, decide; returns the report that module, command and filter share."""
    began = time.monotonic()
    deadline = began + plan.timeout
    answers: queue.SimpleQueue[_Answer] = queue.SimpleQueue()
    states = [_State(check, began, number) for number, check in enumerate(plan.checks)]
    while not _finished(plan, states):
        now = time.monotonic()
        for state in states:
            if not state.settled and not state.running and state.due <= now:
                _start(state, deadline, answers)
        try:
            _take(plan, states, answers.get(timeout=max(0.0, _next_event(states) - time.monotonic())), deadline)
        except queue.Empty:
            now = time.monotonic()
            for state in states:
                if state.running and now >= state.started + state.limit + GRACE:
                    _take(plan, states, _silence(state), deadline)
    return _report(plan, states, began)


def _finished(plan: Plan, states: list[_State]) -> bool:
    if plan.mode == "any" and any(s.settled and s.outcome and _counted(plan, s, s.outcome) == HEALTHY for s in states):
        return True
    return all(state.settled for state in states)


def _counted(plan: Plan, state: _State, outcome: Outcome) -> str:
    """The status that the check adds to the whole."""
    return HEALTHY if outcome.status == DEGRADED and state.check.name in plan.degraded_ok else outcome.status


def _next_event(states: list[_State]) -> float:
    return min(s.started + s.limit + GRACE if s.running else s.due for s in states if not s.settled)


def _start(state: _State, deadline: float, answers: queue.SimpleQueue[_Answer]) -> None:
    state.started = time.monotonic()
    state.limit = max(0.05, min(state.check.timeout, deadline - state.started))
    state.attempts += 1
    state.running = True
    arguments = (state.check, state.limit, state.number, state.attempts, answers)
    threading.Thread(target=_attempt, args=arguments, name=f"probe {state.check.name}", daemon=True).start()


def _attempt(check: Check, limit: float, number: int, attempt: int, answers: queue.SimpleQueue[_Answer]) -> None:
    try:
        found = check.probe.run(check.options, limit)
        answers.put(_Answer(number, attempt, replace(found, detail=excerpt(found.detail, 1000))))
    except (socket.timeout, TimeoutError):
        answers.put(_Answer(number, attempt, _no_answer(limit), timed_out=True))
    except Exception as exc:  # A probe that breaks is a finding about its check, not the end of the others.
        answers.put(_Answer(number, attempt, Outcome(UNHEALTHY, excerpt(f"{type(exc).__name__}: {exc}"))))


def _no_answer(limit: float) -> Outcome:
    return Outcome(UNHEALTHY, f"no answer within {limit:.3g} s")


def _silence(state: _State) -> _Answer:
    return _Answer(state.number, state.attempts, _no_answer(state.limit), timed_out=True)


def _passes(plan: Plan, state: _State, outcome: Outcome) -> bool:
    """Whether an outcome needs no retry: what would not fail the call is an answer, not a reason to wait."""
    status = _counted(plan, state, outcome)
    return status in (HEALTHY, SKIPPED) or (status == DEGRADED and plan.fail_on == UNHEALTHY)


def _take(plan: Plan, states: list[_State], answer: _Answer, deadline: float) -> None:
    state = states[answer.number]
    if state.settled or not state.running or answer.attempt != state.attempts:
        return  # The late answer of an attempt that was given up.
    check, state.running, state.took = state.check, False, answer.at - state.started
    # An attempt that the end of the call cut short says less than the one before it.
    cut_short = answer.timed_out and state.limit < check.timeout and state.outcome is not None
    if not cut_short:
        state.outcome = answer.outcome
        if _passes(plan, state, answer.outcome):
            state.streak_began = state.streak_began if state.streak else answer.at
            state.streak += 1
        else:
            state.streak = 0
    skipped = answer.outcome.status == SKIPPED
    enough = state.streak >= check.successes or skipped
    state.due = answer.at + plan.interval
    exhausted = (check.attempts is not None and state.attempts >= check.attempts) or state.due >= deadline
    state.settled = enough or exhausted or cut_short
    if state.settled and not enough and state.streak and state.outcome:
        said = f"only {state.streak} of {check.successes} good answers in a row; last: {state.outcome.detail}"
        state.outcome = replace(state.outcome, status=UNHEALTHY, detail=said)


def _report(plan: Plan, states: list[_State], began: float) -> dict[str, Any]:
    pairs = [(s, s.outcome or Outcome(SKIPPED, "not waited for: another check was healthy first")) for s in states]
    counted = [_counted(plan, state, outcome) for state, outcome in pairs]
    status = combine(counted, plan.mode)
    good = [
        s.streak_began - began for s, seen in pairs if s.streak and s.settled and _counted(plan, s, seen) == HEALTHY
    ]
    first = None
    if status == HEALTHY and good:
        first = round(max(good) if plan.mode == "all" else min(good), 3)
    return {
        "status": status,
        "checks": [_row(state, outcome) for state, outcome in pairs],
        "elapsed": round(time.monotonic() - began, 3),
        "attempts": max(state.attempts for state in states),
        "first_healthy_after": first,
    }


def _row(state: _State, outcome: Outcome) -> dict[str, Any]:
    return {
        "name": state.check.name,
        "type": state.check.type,
        "status": outcome.status,
        "elapsed_ms": round(state.took * 1000),
        "attempts": state.attempts,
        "detail": outcome.detail,
        "http_status": outcome.http_status,
        "json": outcome.json,
    }


def failure(plan: Plan, report: Mapping[str, Any]) -> Optional[str]:
    """Why the call has failed: every check to blame with what was found and wanted; None where it has not."""
    if STATES.index(report["status"]) < STATES.index(plan.fail_on):
        return None
    blamed = [
        row
        for row in report["checks"]
        if row["status"] == UNHEALTHY
        or (row["status"] == DEGRADED and plan.fail_on == DEGRADED and row["name"] not in plan.degraded_ok)
    ]
    blamed = blamed or report["checks"]  # All were skipped, and that proves nothing.
    said = "; ".join(f"{row['name']}: {row['detail']}" for row in blamed)
    return f"{report['status']}: {len(blamed)} of {len(report['checks'])} checks after {report['elapsed']} s: {said}"
