"""The filter health_table."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.shipshape.stack.plugins.filter.health_table import FilterModule

FILTER = FilterModule().filters()["health_table"]
ROW = {"name": "web", "status": "degraded", "elapsed_ms": 12, "detail": "HTTP 200"}


def test_it_is_the_table_of_the_command() -> None:
    lines = FILTER({"status": "degraded", "elapsed": 0.3, "checks": [ROW], "changed": False}).splitlines()
    assert lines[1] == "web    degraded       12  HTTP 200"
    assert lines[2] == "degraded: 1 degraded in 0.3 s"


@pytest.mark.parametrize("wrong", [{}, {"msg": "no checks"}, None, "text"])
def test_anything_else_is_refused(wrong: object) -> None:
    with pytest.raises(AnsibleFilterError, match="health_table wants what health_check returns"):
        FILTER(wrong)
