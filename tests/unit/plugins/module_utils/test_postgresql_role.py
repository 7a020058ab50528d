# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the role postgresql."""

from __future__ import annotations

import pathlib

import pytest
import yaml
from ansible_collections.shipshape.stack.plugins.module_utils._postgresql_hba import hba_text
from ansible_collections.shipshape.stack.plugins.module_utils._postgresql_role import databases, hba, pool_hba, problems

ROOT = pathlib.Path(__file__).resolve().parents[4]
SPEC = yaml.safe_load((ROOT / "roles/postgresql/meta/argument_specs.yml").read_text(encoding="utf-8"))
DEFAULTS = {
    **{name: option["default"] for name, option in SPEC["argument_specs"]["main"]["options"].items()},
    "postgresql_version": 17,
    "postgresql_tls": True,
    "postgresql_listen_addresses": ["localhost"],
}
BAD = [
    ({"postgresql_version": 12}, "postgresql_version is 12: give 13 to 18"),
    ({"postgresql_cluster": "../x"}, "postgresql_cluster is '../x'"),
    ({"postgresql_port": 80}, "postgresql_port is 80: give 1024 to 65535"),
    ({"postgresql_connections": -1}, "postgresql_connections is -1"),
    ({"postgresql_memory": "4"}, "postgresql_memory: '4' is not a size"),
    ({"postgresql_listen_addresses": []}, "postgresql_listen_addresses is empty"),
    ({"postgresql_settings": {"port": 5}}, "port is set by postgresql_port"),
    ({"postgresql_settings": {"shared_preload_libraries": "x"}}, "is set by postgresql_preload_libraries"),
    ({"postgresql_maintenance": "a\nb"}, "postgresql_maintenance is more than one line"),
    ({"postgresql_data_directory": "data"}, "postgresql_data_directory is 'data': give an absolute path"),
    ({"postgresql_tls_certificate": "/a.crt"}, "belong together"),
    ({"postgresql_repository_url": "https://apt.example.com"}, "needs postgresql_repository_key"),
    ({"postgresql_clients": [{"users": ["a"]}]}, "postgresql_clients[0] has no networks"),
    ({"postgresql_clients": [{"networks": ["10.0.0.1/8"]}]}, "postgresql_clients[0][0]: address '10.0.0.1/8'"),
    ({"postgresql_clients": [{"networks": ["10.0.0.0/8"]}], "postgresql_tls": False}, "demands TLS"),
    (
        {"postgresql_clients": [{"networks": ["db.example.com"]}], "postgresql_pgbouncer": True},
        "postgresql_clients[0]: db.example.com is no network",
    ),
    ({"postgresql_hba_rules": [{"type": "x"}]}, "postgresql_hba_rules[0]: type 'x'"),
    ({"postgresql_role_passwords": {"shop": "x"}}, "postgresql_role_passwords: shop is not in postgresql_roles"),
]
GOOD = [
    {},
    {"postgresql_version": 13, "postgresql_port": 1024, "postgresql_memory": "4G", "postgresql_connections": 500},
    {"postgresql_clients": [{"networks": ["10.0.0.0/8"], "tls": False}], "postgresql_tls": False},
    {"postgresql_tls_certificate": "/a.crt", "postgresql_tls_key": "/a.key"},
    {"postgresql_roles": [{"name": "shop"}], "postgresql_role_passwords": {"shop": "x"}},
    {"postgresql_repository_url": "https://apt.example.com", "postgresql_repository_key": "/key.asc"},
]


@pytest.mark.parametrize(("options", "told"), BAD)
def test_refused(options, told):
    found = problems({**DEFAULTS, **options})
    assert len(found) == 1
    assert told in found[0]


@pytest.mark.parametrize("options", GOOD)
def test_taken(options):
    assert problems({**DEFAULTS, **options}) == []


def test_everything_that_is_wrong_is_said_at_once():
    assert len(problems({**DEFAULTS, "postgresql_port": 1, "postgresql_cluster": "", "postgresql_memory": "x"})) == 3


def test_superusers_are_refused_before_any_client_is_let_in():
    rules = hba([], [{"networks": ["10.0.0.0/8"]}], [{"name": "boss", "superuser": True}, {"name": "shop"}], False)
    kinds = [(rule["type"], rule.get("method"), rule.get("users")) for rule in rules]
    reject = kinds.index(("host", "reject", ["postgres", "boss"]))
    assert reject < kinds.index(("hostssl", "scram-sha-256", ["all"]))
    assert "10.0.0.0/8" in hba_text(rules, "")


def test_own_rules_come_after_the_superuser_and_before_the_rest():
    own = {"type": "local", "users": ["app"], "method": "peer", "options": {"map": "apps"}}
    rules = hba([own], [], [], False)
    assert rules[0]["users"] == ["postgres"]
    assert rules[1] == own
    assert rules[2] == {"type": "local", "method": "peer"}


def test_behind_the_pooler_the_socket_asks_for_passwords():
    assert {"type": "local", "method": "scram-sha-256"} in hba([], [], [], True)


def test_databases_get_their_schema_and_the_statistics_their_place():
    found = databases([{"name": "shop", "schema_file": "a.sql"}], {"a.sql": "SELECT 1;"}, ["pg_stat_statements"])
    assert found[0] == {"name": "shop", "schema_content": "SELECT 1;"}
    assert found[1]["name"] == "postgres"
    own = [{"name": "postgres"}]
    assert databases(own, {}, ["pg_stat_statements"]) == own
    assert databases([], {}, []) == []


def test_the_pooler_lets_the_same_clients_in():
    clients = [{"networks": ["10.0.0.0/8"], "users": ["shop"]}, {"networks": ["10.1.0.0/16"], "tls": False}]
    lines = [row.split() for row in pool_hba(clients, [{"name": "boss", "superuser": True}, {"name": "shop"}])]
    assert [row[0] for row in lines[3:]] == ["local", "host", "host", "hostssl", "host"]
    assert lines[6] == ["hostssl", "all", "shop", "10.0.0.0/8", "scram-sha-256"]
    assert lines[:3] == [
        ["local", "all", "postgres,boss", "reject"],
        ["host", "all", "postgres,boss", "0.0.0.0/0", "reject"],
        ["host", "all", "postgres,boss", "::/0", "reject"],
    ]
