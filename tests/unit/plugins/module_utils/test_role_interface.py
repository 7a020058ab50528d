from __future__ import annotations

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils._role_interface import (
    missing_variables,
    unknown_variables,
)

SPECS = {
    "argument_specs": {
        "main": {"options": {"chrony_servers": {"type": "list", "required": True, "description": "Time sources."}}},
        "reload": {"options": {"chrony_timeout": {"type": "int", "default": 3}}},
    }
}


@pytest.mark.parametrize(
    ("names", "messages"),
    [
        pytest.param([], [], id="nothing-set"),
        pytest.param(["chrony_servers", "chrony_timeout"], [], id="options-of-every-entry-point-are-known"),
        pytest.param(
            ["chrony_server"], ["chrony_server is not an option: did you mean chrony_servers?"], id="near-miss"
        ),
        pytest.param(
            ["chrony_zzzzzzzzzz", "chrony_zzzzzzzzzz"],
            ["chrony_zzzzzzzzzz is not an option: the role's README names where its options are described"],
            id="no-near-option-and-named-once",
        ),
    ],
)
def test_unknown_variables(names, messages):
    assert unknown_variables(names, SPECS) == messages


def test_missing_variables():
    assert missing_variables(["chrony_timeout"], SPECS) == ["chrony_servers is required and not set: Time sources."]
    assert missing_variables(["chrony_servers"], SPECS) == []
