"""The module as Ansible starts it: its interface, its failures, and what it must not print."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
from typing import Any

import pytest
import yaml
from ansible_collections.shipshape.stack.plugins.module_utils._health_plan import argument_spec
from ansible_collections.shipshape.stack.plugins.module_utils._probe_registry import REGISTRY
from ansible_collections.shipshape.stack.plugins.modules import health_check

ROOT = pathlib.Path(__file__).resolve().parents[4]
COLLECTIONS = ROOT / ".ansible/collections"
DOCUMENTATION = yaml.safe_load(health_check.DOCUMENTATION)
OK = {"name": "fine", "type": "command", "command": ["true"]}
BAD = {"name": "broken", "type": "command", "command": ["sh", "-c", "echo no space left; exit 1"]}
SO_SO = {"name": "so-so", "type": "command", "command": "false", "degraded_rc": [1]}


def run(check_mode: bool = False, **params: Any) -> dict[str, Any]:
    """The module as a process, its parameters on standard input."""
    arguments = {**params, "_ansible_check_mode": check_mode, "_ansible_remote_tmp": "/tmp", "_ansible_verbosity": 3}
    done = subprocess.run(
        [sys.executable, "-m", "ansible_collections.shipshape.stack.plugins.modules.health_check"],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}),
        cwd=COLLECTIONS,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def shape(spec: dict[str, Any], inner: str) -> dict[str, Any]:
    """Types, choices, needs and defaults of options, without the words around them."""
    keys = ("type", "elements", "choices", "required", "default")
    return {
        name: {**{key: option[key] for key in keys if key in option}, "options": shape(option.get(inner, {}), inner)}
        for name, option in spec.items()
    }


def test_the_documentation_is_the_interface() -> None:
    assert shape(DOCUMENTATION["options"], "suboptions") == shape(argument_spec(REGISTRY), "options")


def test_the_same_name_means_the_same_kind_in_every_type_of_check() -> None:
    """The union of options has one type for each name."""
    seen: dict[str, Any] = {}
    for probe in REGISTRY.values():
        for name, option in probe.options.items():
            assert seen.setdefault(name, dict(option.kind.spec)) == dict(option.kind.spec), name


def test_every_option_says_whose_it_is() -> None:
    suboptions = DOCUMENTATION["options"]["checks"]["suboptions"]
    for kind, probe in REGISTRY.items():
        for name in probe.options:
            text = (
                " ".join(suboptions[name]["description"])
                if isinstance(suboptions[name]["description"], list)
                else str(suboptions[name]["description"])
            )
            assert kind in text.partition(")")[0], (kind, name)


@pytest.mark.parametrize("check_mode", [False, True])
def test_healthy(check_mode: bool) -> None:
    result = run(checks=[OK], check_mode=check_mode)
    assert (result["changed"], result["status"], result["checks"][0]["detail"]) == (False, "healthy", "rc 0")
    assert set(yaml.safe_load(health_check.RETURN)) <= set(result)
    assert set(yaml.safe_load(health_check.RETURN)["checks"]["contains"]) == set(result["checks"][0])


def test_unhealthy_fails_and_names_what_is_wrong() -> None:
    result = run(checks=[OK, BAD], attempts=1)
    assert result["failed"] is True
    assert result["msg"].startswith("unhealthy: 1 of 2 checks after ")
    assert result["msg"].endswith(": broken: rc 1, wanted 0: no space left")
    assert [row["status"] for row in result["checks"]] == ["healthy", "unhealthy"]


def test_fail_false_only_tells() -> None:
    result = run(checks=[BAD], attempts=1, fail=False)
    assert (result.get("failed", False), result["status"]) == (False, "unhealthy")


@pytest.mark.parametrize(("fail_on", "failed"), [("unhealthy", False), ("degraded", True)])
def test_fail_on(fail_on: str, failed: bool) -> None:
    result = run(checks=[SO_SO], attempts=1, fail_on=fail_on)
    assert (result.get("failed", False), result["status"]) == (failed, "degraded")


def test_a_wrong_request_is_refused_as_a_whole(tmp_path: pathlib.Path) -> None:
    mark = tmp_path / "ran"
    touch = {"name": "touch", "type": "command", "command": ["touch", str(mark)]}
    result = run(checks=[touch, {"name": "ssh", "type": "tcp", "port": 70000}])
    assert (result["failed"], result["msg"]) == (True, "checks[1].port: 70000 is not a port (1-65535)")
    assert not mark.exists()


def test_secrets_stay_inside_and_numbers_stay_readable() -> None:
    """Verbosity 3 prints the arguments of the module too."""
    web = {
        "name": "web",
        "type": "http",
        "url": "http://me:sesame%4099@127.0.0.1:1/",
        "headers": {"Authorization": "Bearer toktoktok", "X-Debug": "1", "Accept": "text/plain"},
    }
    result = run(checks=[web, {**OK, "command": "echo 1 text/plain sesame@99"}], attempts=1, fail=False)
    text = json.dumps(result)
    assert "invocation" in result
    assert not [secret for secret in ("sesame", "toktoktok") if secret in text]
    assert result["checks"][1]["detail"] == "1 text/plain ********"
    assert isinstance(result["checks"][0]["elapsed_ms"], int)


def test_examples_are_valid_requests() -> None:
    from ansible_collections.shipshape.stack.plugins.module_utils._health_plan import read_plan

    for task in yaml.safe_load(health_check.EXAMPLES):
        assert read_plan(task["shipshape.stack.health_check"], REGISTRY).checks
