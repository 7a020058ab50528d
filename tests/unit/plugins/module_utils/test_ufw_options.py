"""Parameters of ufw_ruleset that are refused as such."""

from __future__ import annotations

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils._ufw_options import ARGUMENT_SPEC, check
from ansible_collections.shipshape.stack.plugins.module_utils._ufw_rules import RuleError

LEFT_OUT = {name: spec.get("default") for name, spec in ARGUMENT_SPEC.items()}


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"state": "confirmed"}, id="confirmed"),
        pytest.param({"rollback": 10}, id="shortest"),
        pytest.param({"rollback": 3600}, id="longest"),
        pytest.param({"docker_interfaces": ["docker0", "mybr0"]}, id="interfaces"),
        pytest.param({"controllers": ["192.0.2.5", "2001:db8::5"]}, id="controllers"),
    ],
)
def test_taken(given):
    check({**LEFT_OUT, **given})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param({"state": "confirmed", "rules": []}, "leave rules out", id="confirmed-with-rules"),
        pytest.param({"rollback": 9}, "rollback is 9", id="too-short"),
        pytest.param({"rollback": 3601}, "rollback is 3601", id="too-long"),
        pytest.param({"docker_interfaces": []}, "docker_interfaces is empty", id="no-interface"),
        pytest.param({"docker_interfaces": ["a b"]}, "docker_interfaces: 'a b'", id="interface"),
        pytest.param({"controllers": ["ctl.example.com"]}, "controllers: 'ctl.example.com'", id="name"),
        pytest.param({"controllers": ["x"], "rollback": 1}, "rollback is 1.*; controllers: 'x'", id="all-at-once"),
    ],
)
def test_refused(given, message):
    with pytest.raises(RuleError, match=message):
        check({**LEFT_OUT, **given})
