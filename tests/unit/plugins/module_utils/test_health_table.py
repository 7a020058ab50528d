"""The table that people read."""

from __future__ import annotations

from typing import Any

from ansible_collections.shipshape.stack.plugins.module_utils._health_table import render
from hypothesis import given
from hypothesis import strategies as st


def row(**change: Any) -> dict[str, Any]:
    return {"name": "web", "status": "healthy", "elapsed_ms": 12, "detail": "HTTP 200", **change}


def report(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"status": "unhealthy", "elapsed": 0.31, "checks": list(rows)}


def test_a_table() -> None:
    bad = row(name="queue", status="unhealthy", elapsed_ms=5, detail="rc 1, wanted 0: " + "the spool is full " * 4)
    assert render(report(row(), bad)).splitlines() == [
        "CHECK  STATE          MS  DETAIL",
        "web    healthy        12  HTTP 200",
        "queue  unhealthy       5  rc 1, wanted 0: the spool is full the spool is full",
        "                          the spool is full the spool is full",
        "unhealthy: 1 healthy, 1 unhealthy in 0.31 s",
    ]


def test_colour_only_where_it_is_asked_for() -> None:
    assert "\033" not in render(report(row()))
    assert "\033[32mhealthy" in render(report(row()), colour=True)


@given(st.text(min_size=1), st.text(), st.integers(0, 86400000))
def test_it_always_fits(name: str, detail: str, elapsed: int) -> None:
    lines = render(report(row(name=name, detail=detail, elapsed_ms=min(elapsed, 999999)))).split("\n")
    assert all(len(line) <= 80 for line in lines)
    assert all(line.isprintable() for line in lines)
