"""The probe `time`."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils import _probe_time as probe_time
from ansible_collections.shipshape.stack.plugins.module_utils._health_plan import read_plan
from ansible_collections.shipshape.stack.plugins.module_utils._probe_registry import REGISTRY

GOOD = probe_time.Clock(offset=0.0004, error=0.02)
LOOSE = probe_time.Clock(offset=0.0, error=16.0)
OFF = probe_time.Clock(offset=-2.5, error=0.5)


def options(**given: Any) -> Any:
    return read_plan({"checks": [{"name": "x", "type": "time", **given}]}, REGISTRY).checks[0].options


@pytest.mark.parametrize(
    ("clock", "contained", "given", "status", "said"),
    [
        (GOOD, False, {}, "healthy", "the clock is synchronised, +0.0004 s to correct"),
        (GOOD, True, {}, "healthy", "the machine's clock is synchronised"),
        (LOOSE, False, {}, "degraded", "the clock is not synchronised; is a time service running"),
        (
            LOOSE,
            True,
            {},
            "skipped",
            "the machine's clock is not synchronised; nothing inside a container can mend that",
        ),
        (LOOSE, True, {"container": "degraded"}, "degraded", "the machine's clock is not synchronised"),
        (OFF, False, {}, "unhealthy", "the clock is off by -2.500 s, wanted at most 1 s"),
        (OFF, False, {"max_offset_seconds": 3}, "healthy", "the clock is synchronised"),
    ],
)
def test_judging(clock: Any, contained: bool, given: dict[str, Any], status: str, said: str) -> None:
    outcome = probe_time.evaluate(clock, contained, options(**given))
    assert outcome.status == status
    assert outcome.detail.startswith(said)


def test_the_kernel_answers_here() -> None:
    clock = probe_time._ask()
    assert 0 <= clock.error <= 16.1
