"""The probe `command` with real programs."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils import _health_engine as engine
from ansible_collections.shipshape.stack.plugins.module_utils import _probe_command as probe_command
from ansible_collections.shipshape.stack.plugins.module_utils._health_plan import read_plan
from ansible_collections.shipshape.stack.plugins.module_utils._probe_registry import REGISTRY


def run(command: Any, **given: Any) -> dict[str, Any]:
    check = {"name": "x", "type": "command", "command": command, "attempts": 1, **given}
    row: dict[str, Any] = engine.run(read_plan({"checks": [check]}, REGISTRY))["checks"][0]
    return row


def sh(script: str) -> list[str]:
    return ["sh", "-c", script]


CASES = [
    pytest.param("echo 'Mail queue is empty'", {}, "healthy", "Mail queue is empty", id="text"),
    pytest.param(["true"], {}, "healthy", "rc 0", id="list"),
    pytest.param("echo $HOME;", {"stdout_regex": r"^\$HOME;$"}, "healthy", "$HOME;", id="no-shell"),
    pytest.param(sh("echo lost >&2; exit 3"), {}, "unhealthy", "rc 3, wanted 0: lost", id="rc"),
    pytest.param(sh("exit 3"), {"expect_rc": [0, 3]}, "healthy", "rc 3", id="expected-rc"),
    pytest.param(sh("echo hm; exit 1"), {"degraded_rc": [1]}, "degraded", "rc 1: hm", id="degraded-rc"),
    pytest.param("echo a b", {"stdout_regex": "c"}, "unhealthy", "stdout 'a b', wanted text like 'c'", id="stdout"),
    pytest.param(sh("kill -9 $$"), {}, "unhealthy", "killed by signal 9, wanted 0", id="signal"),
    pytest.param(["/nowhere/program"], {}, "unhealthy", "/nowhere/program: No such file or directory", id="absent"),
    pytest.param(["/etc/passwd"], {}, "unhealthy", "/etc/passwd: Permission denied", id="no-program"),
    pytest.param(sh("cat"), {}, "healthy", "rc 0", id="no-input"),
]


@pytest.mark.parametrize(("command", "given", "status", "said"), CASES)
def test_a_command(command: Any, given: dict[str, Any], status: str, said: str) -> None:
    row = run(command, **given)
    assert (row["status"], row["detail"]) == (status, said)


def test_a_command_that_hangs_is_ended_with_its_children(tmp_path: Any) -> None:
    mark = tmp_path / "pid"
    began = time.monotonic()
    row = run(sh(f"sleep 60 & echo $! > {mark}; wait"), timeout=0.4)
    assert (row["status"], row["detail"]) == ("unhealthy", "no answer within 0.4 s")
    assert time.monotonic() - began < 2
    time.sleep(0.3)
    state = subprocess.run(
        ["ps", "-o", "stat=", "-p", mark.read_text().strip()], capture_output=True, text=True, check=False
    ).stdout
    assert state.strip()[:1] in ("", "Z")


def test_endless_output_is_bounded() -> None:
    result = probe_command.start([sys.executable, "-c", "print('x' * 10_000_000)"], 10, keep=1000)
    assert (result.rc, len(result.stdout)) == (0, 1000)
    assert run(["yes"], timeout=0.3)["detail"] == "no answer within 0.3 s"


def test_a_service_that_stays_behind_does_not_hold_the_probe_for_ever() -> None:
    """Its copy of the pipe stays open; the probe says so at its timeout and ends it."""
    began = time.monotonic()
    row = run(sh("sleep 30 &"), timeout=0.4)
    assert row["status"] == "unhealthy"
    assert time.monotonic() - began < 2


def test_the_language_of_programs_is_the_same_everywhere() -> None:
    assert run(sh("echo $LC_ALL"))["detail"] == "C.UTF-8"
