# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the role nginx: its specification says the same as the schema that judges them."""

from __future__ import annotations

import pathlib

import pytest
import yaml
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_options import CONFIG
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_role import config, packages, problems
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_schema import Items, Leaf, Map, Table
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_values import BOOLEAN

SPECS = pathlib.Path(__file__).resolve().parents[4] / "roles/nginx/meta/argument_specs.yml"
OPTIONS = yaml.safe_load(SPECS.read_text(encoding="utf-8"))["argument_specs"]["main"]["options"]
DEFAULTS = {name: option["default"] for name, option in OPTIONS.items()}
SITE = {"name": "a", "server_names": ["a.org"], "locations": [{"path": "/", "type": "return", "code": 404}]}


def compare(path, option, field):
    node = field.node
    assert option.get("required", False) == field.required, path
    assert option.get("default") == field.default, path
    assert option.get("description"), path
    kind = {Items: "list", Table: "dict", Map: "dict"}.get(type(node))
    if isinstance(node, Leaf):
        assert option["type"] in (("bool",) if node is BOOLEAN else ("int", "str")), path
    else:
        assert option["type"] == kind, path
    inner = node.item if isinstance(node, Items) else node
    if isinstance(inner, Map):
        assert option["options"].keys() == inner.fields.keys(), path
        for name, below in inner.fields.items():
            compare(f"{path}.{name}", option["options"][name], below)
    for word in option.get("choices", []):
        leaf = inner
        assert list(leaf.problems(path, word)) == [], path


@pytest.mark.parametrize("name", CONFIG.fields)
def test_the_specification_is_the_schema(name):
    compare(f"nginx_{name}", OPTIONS[f"nginx_{name}"], CONFIG.fields[name])


def test_the_rest_is_for_the_module():
    assert OPTIONS.keys() - {f"nginx_{name}" for name in CONFIG.fields} == {
        "nginx_reload_seconds",
        "nginx_state",
        "nginx_warnings",
    }
    assert len(OPTIONS) <= 25


def test_defaults_are_fine():
    assert problems(DEFAULTS) == []
    assert config(DEFAULTS).keys() == CONFIG.fields.keys()


def test_problems_are_those_of_the_model():
    assert problems({**DEFAULTS, "nginx_sites": [{**SITE, "nam": "b"}]})[0].startswith(
        "nginx_sites[0].nam: there is no"
    )


@pytest.mark.parametrize("seconds", [0, -1, 3601])
def test_seconds(seconds):
    assert problems({**DEFAULTS, "nginx_reload_seconds": seconds}) == [
        f"nginx_reload_seconds: {seconds} is not a number from 1 to 3600"
    ]


@pytest.mark.parametrize(
    ("site", "more"),
    [
        (SITE, []),
        ({**SITE, "compression": ["brotli"]}, ["libnginx-mod-http-brotli-filter"]),
        (
            {**SITE, "locations": [{**SITE["locations"][0], "compression": ["brotli", "gzip"]}]},
            ["libnginx-mod-http-brotli-filter"],
        ),
    ],
)
def test_packages(site, more):
    assert packages({**DEFAULTS, "nginx_sites": [site]}) == ["nginx", "openssl", *more]
