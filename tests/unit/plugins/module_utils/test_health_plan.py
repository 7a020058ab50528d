"""What is wrong with a request is said with its path, all at once, and before anything has run."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils import _health_plan as health_plan
from ansible_collections.shipshape.stack.plugins.module_utils._health_spec import HealthError
from ansible_collections.shipshape.stack.plugins.module_utils._probe_registry import REGISTRY
from hypothesis import given
from hypothesis import strategies as st

TCP = {"name": "ssh", "type": "tcp", "port": 22}
WEB = {"name": "web", "type": "http", "url": "http://127.0.0.1/"}
TLS = {"name": "web", "type": "http", "url": "https://127.0.0.1/"}


def refusal(raw: Any, **kwargs: Any) -> str:
    with pytest.raises(HealthError) as refused:
        health_plan.read_plan(raw, REGISTRY, **kwargs)
    return str(refused.value)


@pytest.mark.parametrize(
    ("check", "said"),
    [
        ({**TCP, "port": 70000}, "checks[0].port: 70000 is not a port (1-65535)"),
        ({**TCP, "port": True}, "checks[0].port: True is not a port (1-65535)"),
        ({**TCP, "port": 2.5}, "checks[0].port: 2.5 is not a port (1-65535)"),
        ({**TCP, "prot": 22}, "checks[0].prot: type tcp has no such option (did you mean port?)"),
        ({**TCP, "url": "x"}, "checks[0].url: type tcp has no such option; it has: name,"),
        ({"name": "ssh", "type": "tcp"}, "checks[0].port: type tcp needs it"),
        ({"type": "tcp", "port": 22}, "checks[0].name: type tcp needs it"),
        ({**TCP, "type": "tpc"}, "checks[0].type: 'tpc' is not a type of check (did you mean tcp?)"),
        ({"name": "x"}, "checks[0].type: is missing; known: http, tls, tcp,"),
        ({**TCP, "type": ["tcp"]}, "checks[0].type: ['tcp'] is not a type of check"),
        ("tcp", "checks[0]: 'tcp' is not a mapping"),
        ({**TCP, "timeout": 0}, "checks[0].timeout: 0 is not a number of seconds (0.1-86400)"),
        ({**TCP, "timeout": float("nan")}, "checks[0].timeout: nan is not a number of seconds"),
        ({**TCP, "expect": "("}, "checks[0].expect: '(' is not a regular expression"),
        ({**WEB, "url": "ftp://x/"}, "checks[0].url: 'ftp://x/' is not an http or https URL"),
        ({**WEB, "url": "http://x:99999/"}, "checks[0].url: 'http://x:99999/' is not an http or https URL"),
        ({**WEB, "url": "http://x/\r\nHost: y"}, "checks[0].url: 'http://x/"),
        ({**WEB, "status_code": [42]}, "checks[0].status_code[0]: 42 is not an HTTP status (100-599)"),
        ({**WEB, "status_code": []}, "checks[0].status_code: [] is not a list with something in it"),
        ({**WEB, "json": {"a..b": 1}}, "checks[0].json['a..b']: 'a..b' is not a path"),
        ({**WEB, "json": "status"}, "checks[0].json: 'status' is not a mapping with something in it"),
        ({**WEB, "headers": {"A": "x\r\nB: y"}}, "checks[0].headers['A']: the value of a header is one line"),
        ({**WEB, "headers": {"A:": "x"}}, "checks[0].headers['A:']: not the name of a header"),
        ({**WEB, "method": "get"}, "checks[0].method: 'get' is not an HTTP method"),
        ({**WEB, "method": "HEAD", "json": {"a": 1}}, "checks[0].method: HEAD brings no body"),
        ({**WEB, "cert_min_days": 3}, "checks[0].cert_min_days: the URL is not https"),
        ({**TLS, "ca_path": "ca.pem"}, "checks[0].ca_path: 'ca.pem' is not an absolute path"),
        ({"name": "d", "type": "disk", "degraded_percent": 95}, "checks[0].degraded_percent: 95 is above unhealthy"),
        ({"name": "d", "type": "disk", "path": "var"}, "checks[0].path: 'var' is not an absolute path"),
        (
            {"name": "m", "type": "memory", "unhealthy_percent": 101},
            "checks[0].unhealthy_percent: 101 is not a percentage",
        ),
        ({"name": "c", "type": "command"}, "checks[0].command: type command needs it"),
        ({"name": "c", "type": "command", "command": []}, "checks[0].command: give the program"),
        ({"name": "c", "type": "command", "command": "echo 'x"}, "checks[0].command: No closing quotation"),
        ({"name": "c", "type": "command", "command": "x", "degraded_rc": 0}, "checks[0].degraded_rc: 0 is also in"),
        ({"name": "s", "type": "systemd"}, "checks[0]: a systemd check needs unit, units or failed: true"),
        ({"name": "s", "type": "systemd", "unit": "ssh*"}, "checks[0].unit: 'ssh*.service' is not the name of a unit"),
        ({"name": "s", "type": "systemd", "unit": "-H"}, "checks[0].unit: '-H.service' is not the name of a unit"),
        ({"name": "s", "type": "systemd", "unit": "a", "ignore": "b"}, "checks[0].ignore: goes with failed: true only"),
        ({"name": "s", "type": "systemd", "failed": "perhaps"}, "checks[0].failed: 'perhaps' is not true or false"),
        (
            {"name": "t", "type": "time", "container": "skip"},
            "checks[0].container: 'skip' is not one of skipped, degraded",
        ),
    ],
)
def test_a_wrong_check(check: Any, said: str) -> None:
    assert refusal({"checks": [check]}).startswith(said)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ({"mode": "some"}, "mode: 'some' is not one of all, any"),
        ({"timeuot": 3}, "timeuot: the call has no such option (did you mean timeout?)"),
        ({"degraded_ok": ["shs"]}, "degraded_ok[0]: no check is called 'shs' (did you mean ssh?)"),
        ({"attempts": 2, "consecutive_successes": 3}, "checks[0].attempts: 2 can never make consecutive_successes (3)"),
        ({"checks": []}, "checks: at least one check is needed"),
        ({"checks": None}, "checks: at least one check is needed"),
        ({"checks": [TCP, TCP]}, "checks[1].name: 'ssh' is also the name of checks[0]"),
    ],
)
def test_a_wrong_call(call: dict[str, Any], said: str) -> None:
    assert refusal({"checks": [TCP], **call}).startswith(said)


def test_everything_wrong_is_said_at_once() -> None:
    said = refusal({"checks": [{**TCP, "port": 0}, {**WEB, "url": "x"}], "interval": -1})
    assert all(path in said for path in ("interval:", "checks[0].port:", "checks[1].url:"))


def test_a_password_in_a_wrong_url_is_not_repeated() -> None:
    assert "sesame" not in refusal({"checks": [{**WEB, "url": "htp://me:sesame@x/"}]})


def test_only_some_checks() -> None:
    plan = health_plan.read_plan({"checks": [TCP, WEB]}, REGISTRY, ["web"])
    assert [check.name for check in plan.checks] == ["web"]
    assert refusal({"checks": [TCP]}, only=["shs"]) == "no check is called 'shs' (did you mean ssh?)"


def test_nothing_given_is_none_given() -> None:
    """Ansible hands over every option that nobody gave as None, those of other types too."""
    plan = health_plan.read_plan({"checks": [{**TCP, "url": None, "timeout": None}], "mode": None}, REGISTRY)
    assert (plan.mode, plan.checks[0].timeout, plan.checks[0].options["host"]) == ("all", 5.0, "127.0.0.1")


def test_what_belongs_to_the_call_is_the_default_of_the_checks() -> None:
    raw = {"checks": [TCP, {**WEB, "attempts": 9, "connect_timeout": 2}], "attempts": 4, "connect_timeout": 1}
    first, second = health_plan.read_plan(raw, REGISTRY).checks
    assert (first.attempts, first.options["connect_timeout"]) == (4, 1.0)
    assert (second.attempts, second.options["connect_timeout"]) == (9, 2.0)


def test_what_waiting_does_not_mend_is_asked_once() -> None:
    raw = {"checks": [{"name": "disk", "type": "disk"}], "consecutive_successes": 3}
    check = health_plan.read_plan(raw, REGISTRY).checks[0]
    assert (check.attempts, check.successes) == (1, 1)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(sorted({key for probe in REGISTRY.values() for key in probe.options} | {"name", "timeout"}))


@given(st.sampled_from(list(REGISTRY)), st.dictionaries(KEYS, JUNK, max_size=6))
def test_junk_is_a_plan_or_a_refusal(kind: str, options: dict[str, Any]) -> None:
    with contextlib.suppress(HealthError):
        health_plan.read_plan({"checks": [{**options, "type": kind}]}, REGISTRY)
