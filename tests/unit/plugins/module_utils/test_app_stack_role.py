# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the role app_stack: what is refused, and that their specification says the same as the model."""

from __future__ import annotations

import pytest
import yaml
from ansible_collections.shipshape.stack.plugins.filter.app import FilterModule
from ansible_collections.shipshape.stack.plugins.module_utils import _app_values as kind
from ansible_collections.shipshape.stack.plugins.module_utils._app_options import APP
from ansible_collections.shipshape.stack.plugins.module_utils._app_schema import Raw
from ansible_collections.shipshape.stack.plugins.module_utils._app_stack_role import problems
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_schema import Items, Map, Table
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_values import BOOLEAN
from app_examples import ROOT, app, service

SPECS = ROOT / "roles/app_stack/meta/argument_specs.yml"
OPTIONS = yaml.safe_load(SPECS.read_text(encoding="utf-8"))["argument_specs"]["main"]["options"]
DEFAULTS = {name: each["default"] for name, each in OPTIONS.items()}
HOSTS = ["app1", "lb1"]
DATA = app(service(volumes=[{"name": "data", "path": "/data"}]))
# Keys of nginx_sites, whose own specification says what is below.
OPEN = ("ports", "hsts", "headers", "body", "log", "timeouts")


def fields(path, node):
    for name, field in node.fields.items():
        yield f"{path}.{name}", name, field, getattr(field.node, "item", field.node)


def compare(path, options, node):
    assert options.keys() == node.fields.keys(), path
    for below, name, field, inner in fields(path, node):
        option = options[name]
        assert option["description"].endswith("."), below
        assert option.keys() <= {"type", "elements", "required", "default", "choices", "description", "options"}, below
        assert option.get("required", False) == field.required, below
        assert option.get("default") == field.default, below
        assert (option["type"] == "list") == isinstance(field.node, Items), below
        assert (option["type"] == "bool") == (field.node is BOOLEAN), below
        if option["type"] == "dict":
            assert isinstance(inner, (Map, Table, Raw)), below
        if field.node in (kind.COMMAND, kind.CHECK_COMMAND, kind.MEMORY):
            assert option["type"] == "raw", below
        if isinstance(inner, Map) and name not in OPEN:
            compare(below, option["options"], inner)
        for word in option.get("choices", []):
            assert list(inner.problems(below, word)) == [], below


def test_the_specification_is_the_model():
    compare("app", OPTIONS["app_stack_apps"]["options"], APP)


def test_nothing_that_may_hold_a_secret_is_judged_by_ansible():
    """Ansible prints what it refuses."""
    assert (OPTIONS["app_stack_apps"]["type"], OPTIONS["app_stack_apps"]["elements"]) == ("list", "raw")


def test_defaults_are_fine():
    assert problems(DEFAULTS, HOSTS) == []
    assert len(OPTIONS) <= 25


GOOD = {
    "app_stack_state": ["absent"],
    "app_stack_apps": [[app()]],
    "app_stack_app": ["shop"],
    "app_stack_load_balancers": [["lb1"]],
    "app_stack_publish_address": ["192.0.2.7", "2001:db8::7"],
    "app_stack_port_range": ["1024-65535", "20000-20015"],
    "app_stack_release": ["previous", "v1.0-0123456789ab"],
    "app_stack_restart": [True],
    "app_stack_volumes_removed": [["old_data"]],
    "app_stack_batches": [[1], ["25%", "100%"], [1, 3, 9]],
}
BAD = {
    "app_stack_apps": [({}, "apps: it is not a list"), ([{"name": "Shop"}], "apps[0].name: 'Shop'")],
    "app_stack_app": [("shp", "did you mean shop?")],
    "app_stack_load_balancers": [(["lb2"], "app_stack_load_balancers[0]: there is no lb2"), (["x"], "no x among")],
    "app_stack_publish_address": [("*", "one address"), ("0.0.0.0", "one address"), ("host", "'host' is not")],
    "app_stack_port_range": [
        ("20000", "'20000'"),
        ("20000-20014", "16 ports"),
        ("80-9000", "16"),
        ("60000-65536", "16"),
    ],
    "app_stack_release": [("v1.0", "'v1.0' is neither")],
    "app_stack_volumes_removed": [(["data"], "APP_NAME"), (["shop_data"], "in use"), (["../x_y"], "APP_NAME")],
    "app_stack_batches": [([0], "app_stack_batches[0]: 0"), (["101%"], "'101%'"), ([], "is empty")],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in GOOD.items() for value in values])
def test_good(name, value):
    assert problems({**DEFAULTS, "app_stack_apps": [DATA], name: value}, HOSTS) == []


@pytest.mark.parametrize(("name", "value", "said"), [(name, *each) for name, values in BAD.items() for each in values])
def test_bad(name, value, said):
    found = problems({**DEFAULTS, "app_stack_apps": [DATA], name: value}, HOSTS)
    assert len(found) == 1, found
    assert said in found[0]
    assert found[0].startswith("apps" if name == "app_stack_apps" else name)


def test_a_restart_is_of_what_runs():
    found = problems({**DEFAULTS, "app_stack_release": "previous", "app_stack_restart": True}, HOSTS)
    assert found == ["app_stack_restart: a restart is of the release that runs: leave out app_stack_release"]


@pytest.mark.parametrize("keys", [{"app_stack_state": "absent"}, {"app_stack_apps": [{**DATA, "state": "absent"}]}])
def test_a_volume_of_an_app_that_goes_may_go(keys):
    options = {**DEFAULTS, "app_stack_apps": [DATA], "app_stack_volumes_removed": ["shop_data"], **keys}
    assert problems(options, HOSTS) == []


def test_a_port_of_infrastructure_is_none_of_the_range():
    found = app(service(), service("ui", "infra", port=1, publish=20001))
    assert "20000-20999" in problems({**DEFAULTS, "app_stack_apps": [found]}, HOSTS)[0]


def test_every_filter_is_documented():
    for name in FilterModule().filters():
        page = yaml.safe_load((ROOT / f"plugins/filter/{name}.yml").read_text(encoding="utf-8"))
        assert page["DOCUMENTATION"]["name"] == name


def test_filters_of_secrets():
    found = FilterModule().filters()["app_split"](app(secrets={"A": "x"}))
    assert found["secrets"] == {"web": {"A": "x"}}
    assert "secrets" not in found["app"]
