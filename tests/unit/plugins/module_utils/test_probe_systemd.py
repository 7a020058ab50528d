"""The probe `systemd` on recorded output of systemctl (Debian 12 and 13)."""

from __future__ import annotations

import os
import pathlib
from typing import Any

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils import _health_engine as engine
from ansible_collections.shipshape.stack.plugins.module_utils import _probe_systemd as probe_systemd
from ansible_collections.shipshape.stack.plugins.module_utils._health_plan import read_plan
from ansible_collections.shipshape.stack.plugins.module_utils._probe_registry import REGISTRY

SHOW = """\
NRestarts=3
Result=success
Id=ssh.service
Names=ssh.service sshd.service
LoadState=loaded
ActiveState=active
SubState=running
UnitFileState=enabled

Result=success
Id=logrotate.timer
Names=logrotate.timer
LoadState=loaded
ActiveState=active
SubState=waiting
UnitFileState=enabled

NRestarts=0
Result=success
Id=nothing.service
Names=nothing.service
LoadState=not-found
ActiveState=inactive
SubState=dead
"""
SSH, TIMER, ABSENT = probe_systemd.parse_show(SHOW)
LOOPING = {**SSH, "ActiveState": "activating", "SubState": "auto-restart", "Result": "exit-code", "NRestarts": "5"}


def options(**given: Any) -> Any:
    return read_plan({"checks": [{"name": "x", "type": "systemd", **given}]}, REGISTRY).checks[0].options


UNITS = [
    (SSH, {}, "healthy", "ssh is active (running)"),
    ({**SSH, "ActiveState": "reloading"}, {}, "healthy", "ssh is reloading"),
    (ABSENT, {}, "unhealthy", "ssh is not-found"),
    (
        {**SSH, "LoadState": "masked", "ActiveState": "inactive"},
        {},
        "unhealthy",
        "ssh is inactive (running, restarted 3",
    ),
    ({**SSH, "LoadState": "error"}, {}, "unhealthy", "ssh is error"),
    (
        LOOPING,
        {},
        "unhealthy",
        "ssh is activating (auto-restart, result exit-code, restarted 5 times), wanted active or",
    ),
    ({**SSH, "ActiveState": "inactive"}, {"active_state": ["inactive"]}, "healthy", "ssh is inactive"),
    (SSH, {"sub_state": ["running"]}, "healthy", "ssh is active"),
    (SSH, {"sub_state": ["exited"]}, "unhealthy", "ssh is running, wanted exited"),
    (SSH, {"enabled": True}, "healthy", "ssh is active"),
    (SSH, {"enabled": False}, "unhealthy", "ssh is enabled, wanted disabled"),
    ({**SSH, "UnitFileState": "disabled"}, {"enabled": True}, "unhealthy", "ssh is disabled, wanted enabled"),
    ({**SSH, "UnitFileState": "static"}, {"enabled": True}, "healthy", "ssh is active"),
    ({**SSH, "UnitFileState": ""}, {"enabled": True}, "unhealthy", "ssh is without a unit file, wanted enabled"),
    (SSH, {"max_restarts": 2}, "degraded", "ssh was restarted 3 times, wanted at most 2"),
    (SSH, {"max_restarts": 3}, "healthy", "ssh is active"),
    (TIMER, {"max_restarts": 0}, "healthy", "ssh is active (waiting)"),
]


@pytest.mark.parametrize(("unit", "given", "status", "said"), UNITS)
def test_a_unit(unit: dict[str, str], given: dict[str, Any], status: str, said: str) -> None:
    outcome = probe_systemd.evaluate([("ssh", unit)], [], options(unit="ssh", **given))
    assert outcome.status == status, outcome
    assert outcome.detail.startswith(said)


FAILED = """\
apt-daily.service        loaded failed failed Daily apt download activities
run-user-1000.mount      loaded failed failed /run/user/1000
"""


@pytest.mark.parametrize(
    ("text", "given", "status", "said"),
    [
        ("", {}, "healthy", "no unit has failed"),
        (FAILED, {}, "unhealthy", "failed: apt-daily.service, run-user-1000.mount"),
        (FAILED, {"ignore": ["run-user-*.mount"]}, "unhealthy", "failed: apt-daily.service"),
        (FAILED, {"ignore": ["run-user-*.mount", "apt-daily.service"]}, "healthy", "no unit has failed"),
    ],
)
def test_failed_units(text: str, given: dict[str, Any], status: str, said: str) -> None:
    outcome = probe_systemd.evaluate([], probe_systemd.parse_failed(text), options(failed=True, **given))
    assert (outcome.status, outcome.detail) == (status, said)


FAKE = """#!/bin/sh
case "$1" in
  show) cat {folder}/show ;;
  list-units) echo "$*" > {folder}/asked; echo "x.service loaded failed failed X" ;;
esac
"""


@pytest.fixture
def systemctl(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A systemctl that tells what was recorded."""
    program = tmp_path / "systemctl"
    program.write_text(FAKE.format(folder=tmp_path))
    program.chmod(0o755)
    (tmp_path / "show").write_text(SHOW)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def run(**given: Any) -> dict[str, Any]:
    check = {"name": "x", "type": "systemd", "attempts": 1, **given}
    row: dict[str, Any] = engine.run(read_plan({"checks": [check]}, REGISTRY))["checks"][0]
    return row


def test_units_and_failed_units_at_once(systemctl: pathlib.Path) -> None:
    row = run(units=["ssh", "logrotate.timer", "nothing"], failed=True)
    assert (row["status"], row["detail"]) == ("unhealthy", "nothing.service is not-found; failed: x.service")


def test_several_good_units(systemctl: pathlib.Path) -> None:
    (systemctl / "show").write_text("\n\n".join(SHOW.split("\n\n")[:2]) + "\n")
    row = run(unit="ssh", units=["logrotate.timer"])
    assert (row["status"], row["detail"]) == ("healthy", "2 units are as wanted")


def test_an_answer_that_is_not_about_the_units_is_no_pass(systemctl: pathlib.Path) -> None:
    (systemctl / "show").write_text("")
    assert run(unit="ssh")["status"] == "unhealthy"


def test_a_host_without_systemd(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run(unit="ssh")["detail"] == "systemctl is not on this host"
