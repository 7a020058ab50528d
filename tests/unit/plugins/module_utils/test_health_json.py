"""Paths into JSON and the conditions on what is there."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils import _health_json as health_json
from ansible_collections.shipshape.stack.plugins.module_utils._health_spec import HealthError
from hypothesis import given
from hypothesis import strategies as st

DOCUMENT = {
    "status": "healthy",
    "checks": {"database": "healthy", "ai": "degraded"},
    "queue": {"length": 7, "open": True},
    "nodes": [{"name": "a"}, {"name": "b"}],
    "a.b": {"c[0]": 1},
    "version": "v1.10.2",
    "none": None,
}

HOLDS = [
    ("status", "healthy", True),
    ("status", "degraded", False),
    ("checks.database", "healthy", True),
    ("nodes[0].name", "a", True),
    ("nodes.1.name", "b", True),
    ("nodes[-1].name", "b", True),
    ("nodes[2].name", "c", False),
    (r"a\.b.c\[0\]", 1, True),
    ("queue.length", {"lt": 100}, True),
    ("queue.length", {"lt": 7}, False),
    ("queue.length", {"le": 7}, True),
    ("queue.length", {"gt": 7}, False),
    ("queue.length", {"ge": 7, "lt": "8"}, True),
    ("queue.length", {"ge": 7, "lt": 7}, False),
    ("queue.length", "7", False),
    ("queue.open", True, True),
    ("queue.open", 1, False),
    ("queue.open", {"ge": 1}, False),
    ("status", {"lt": 3}, False),
    ("status", {"in": ["healthy", "ok"]}, True),
    ("queue.open", {"in": [1]}, False),
    ("status", {"ne": "unhealthy"}, True),
    ("version", {"regex": r"^v1\.10\."}, True),
    ("queue.length", {"regex": "7"}, False),
    ("missing", {"ne": "x"}, False),
    ("missing", {"exists": False}, True),
    ("missing", {"exists": True}, False),
    ("status.deeper", {"exists": True}, False),
    ("none", {"exists": True}, True),
    ("none", None, True),
    ("checks", {"eq": {"database": "healthy", "ai": "degraded"}}, True),
]


@pytest.mark.parametrize(("path", "wanted", "holds"), HOLDS)
def test_conditions(path: str, wanted: Any, holds: bool) -> None:
    assert health_json.read_condition(path, wanted, "json").holds(DOCUMENT) is holds


@pytest.mark.parametrize(
    ("path", "wanted", "said"),
    [
        ("checks.ai", "healthy", "checks.ai is 'degraded', wanted 'healthy'"),
        ("queue.length", {"lt": 5}, "queue.length is 7, wanted below 5"),
        ("queue.length", {"gt": 10, "le": 20}, "queue.length is 7, wanted above 10 and at most 20"),
        ("missing", "x", "missing is missing, wanted 'x'"),
        ("status", {"exists": False}, "status is 'healthy', wanted absence"),
    ],
)
def test_what_was_found_and_wanted_is_said(path: str, wanted: Any, said: str) -> None:
    assert health_json.read_condition(path, wanted, "json").explain(DOCUMENT) == said


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("", 1, "json: a path cannot be empty"),
        ("a..b", 1, "json: 'a..b' is not a path"),
        (".a", 1, "json: '.a' is not a path"),
        ("a.", 1, "json: 'a.' is not a path"),
        ("a[x]", 1, "json: 'a[x]' is not a path"),
        ("a[0]b", 1, "json: 'a[0]b' is not a path"),
        ("a", {}, "json: an empty condition"),
        ("a", {"lte": 1}, "json.lte: unknown operator (did you mean lt?)"),
        ("a", {"lt": "many"}, "json.lt: 'many' is not a number"),
        ("a", {"in": "abc"}, "json.in: 'abc' is not a list"),
        ("a", {"regex": "("}, "json.regex: '(' is not a regular expression"),
        ("a", {"exists": 1}, "json.exists: 1 is not true or false"),
    ],
)
def test_what_makes_no_sense_is_refused(key: str, value: Any, said: str) -> None:
    with pytest.raises(HealthError) as refused:
        health_json.read_condition(key, value, "json")
    assert str(refused.value).startswith(said)


@given(st.lists(st.one_of(st.text(min_size=1), st.integers()), min_size=1).map(tuple))
def test_a_formatted_path_is_parsed_back(steps: tuple[Any, ...]) -> None:
    assert health_json.parse_path(health_json.format_path(steps)) == steps


@given(st.text())
def test_any_text_is_a_path_or_a_value_error(text: str) -> None:
    try:
        steps = health_json.parse_path(text)
    except ValueError:
        return
    assert health_json.parse_path(health_json.format_path(steps)) == steps
