# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The compose documents of apps: those of docs/apps.md as they are written, and what holds for all.

After a change that is meant, `pytest` with SHIPSHAPE_WRITE_APPS=1 writes the files anew. Look at them with
`docker compose -f FILE config` on a host before they are committed.
"""

from __future__ import annotations

import json
import os
import pathlib
import string

import pytest
import yaml
from ansible_collections.shipshape.stack.plugins.module_utils._app_compose import (
    dumps,
    infra_document,
    init_name,
    migration_name,
    network,
    replicas,
    secrets_document,
    service_names,
    slot_document,
    volumes,
)
from ansible_collections.shipshape.stack.plugins.module_utils._app_model import problems, split_secrets
from app_examples import DOCUMENTED, app, images, service
from hypothesis import given
from hypothesis import strategies as st

GOLDEN = pathlib.Path(__file__).parents[1] / "fixtures/apps"
KINDS = ("web", "worker", "scheduler")


def slot(found, name="a", **keys):
    ports = {each: 20000 + index for index, each in enumerate(service_names(found, name, ["web"]))}
    arguments = {"images": images(found), "ports": ports, "publish_address": "127.0.0.1", "release": "1.0-abc", **keys}
    return slot_document(found, name, **arguments)


def one(**keys):
    """The document of the one service of an app."""
    return slot(app(service("worker", "worker", **keys)))["services"]["worker-1-a"]


def documents(name):
    left, secrets = split_secrets(DOCUMENTED[name])
    return {
        "slot": slot(left),
        "infra": infra_document(left, images(left)),
        "secrets": secrets_document(left, secrets, "a"),
    }


@pytest.mark.parametrize("name", DOCUMENTED)
def test_golden(name):
    for kind, found in documents(name).items():
        if os.environ.get("SHIPSHAPE_WRITE_APPS"):
            (GOLDEN / f"{name}-{kind}.json").write_text(dumps(found), encoding="utf-8")
        assert dumps(found) == (GOLDEN / f"{name}-{kind}.json").read_text(encoding="utf-8"), kind


@pytest.mark.parametrize("name", DOCUMENTED)
def test_no_secret_is_in_a_document_but_its_own(name):
    found = documents(name)
    assert "S3cret" not in dumps(found["slot"]) + dumps(found["infra"])
    whole = slot(DOCUMENTED[name])
    assert dumps(whole) == dumps(found["slot"])


def test_slots_share_no_name():
    found = DOCUMENTED["vendor"]
    a, b = slot(found, "a"), slot(found, "b")
    assert a["name"] != b["name"]
    assert not a["services"].keys() & b["services"].keys()
    assert a["networks"]["backend"] == b["networks"]["backend"] == {"name": network(found), "external": True}


def test_subsets():
    found = app(service(replicas=2), service("worker", "worker"), service("beat", "scheduler"), service("k", "infra"))
    assert service_names(found, "b") == ["web-1-b", "web-2-b", "worker-1-b", "beat-1-b"]
    assert service_names(found, "b", ["scheduler"]) == ["beat-1-b"]
    assert service_names(found, "b", ["infra", "job"]) == []
    assert service_names(found, "infra") == ["k"]
    assert replicas(found, "a", ["web"]) == {"web": ["web-1-a", "web-2-a"]}
    assert set(slot(found)["services"]) == set(service_names(found, "a"))


def test_jobs_start_only_when_they_are_named():
    found = app(
        service(health={"path": "/", "command": "x"}, env={"PGOPTIONS": "-c search_path=x"}),
        service("setup", "job", command="setup"),
        init=[{"name": "buckets", "service": "setup"}, {"name": "once", "service": "web", "command": "a b"}],
        migrate={"service": "web", "command": "up"},
    )
    made = slot(found)["services"]
    jobs = {name for name, each in made.items() if each.get("profiles") == ["jobs"]}
    assert jobs == {init_name("buckets", "a"), init_name("once", "a"), migration_name("a")} == made.keys() - {"web-1-a"}
    for name in jobs:
        assert made[name]["restart"] == "no"
        assert not made[name].keys() & {"ports", "healthcheck"}
        assert "aliases" not in made[name]["networks"]["default"]
    assert made["init-buckets-a"]["command"] == ["setup"]
    assert made["init-once-a"]["command"] == ["a", "b"]
    assert made["migrate-a"]["environment"]["PGOPTIONS"] == "-c search_path=x"
    assert made["web-1-a"]["healthcheck"]["test"] == ["CMD-SHELL", "x"]


def test_a_migration_does_not_wait_for_locks():
    found = app(migrate={"service": "web", "command": "up", "lock_timeout": 7})
    assert slot(found)["services"]["migrate-a"]["environment"]["PGOPTIONS"] == "-c lock_timeout=7000"
    assert "PGOPTIONS" not in slot(found)["services"]["web-1-a"]["environment"]


def test_jobs_have_the_secrets_of_their_service():
    found = app(migrate={"service": "web", "command": "up"}, secrets={"A": "x$y"})
    left, secrets = split_secrets(found)
    made = secrets_document(left, secrets, "b")
    assert made == {"services": {key: {"environment": {"A": "x$$y"}} for key in ["web-1-b", "migrate-b"]}}
    assert secrets_document(left, secrets, "infra") == {"services": {}}


def test_secrets_of_infrastructure():
    left, secrets = split_secrets(app(service(), service("k", "infra", secrets={"A": "x"})))
    assert secrets_document(left, secrets, "infra") == {"services": {"k": {"environment": {"A": "x"}}}}
    assert secrets_document(left, secrets, "a") == {"services": {}}


# An option of a service, and what becomes of it.
OPTIONS = {
    "command": ({"command": "sh -c 'a $B'"}, {"command": ["sh", "-c", "a $$B"]}),
    "entrypoint": ({"entrypoint": ["/x"]}, {"entrypoint": ["/x"]}),
    "user": ({"user": 1000}, {"user": "1000"}),
    "read_only": ({"read_only": True}, {"read_only": True}),
    "tmpfs": ({"tmpfs": ["/tmp"]}, {"tmpfs": ["/tmp"]}),
    "init": ({"init": False}, {"init": False}),
    "cap_add": ({"cap_add": ["CHOWN"]}, {"cap_add": ["CHOWN"], "cap_drop": ["ALL"]}),
    "ulimits": ({"ulimits": {"nofile": 9}}, {"ulimits": {"nofile": 9}}),
    "stop_seconds": ({"stop_seconds": 7}, {"stop_grace_period": "7s"}),
    "cpus": ({"limits": {"cpus": "1.5"}}, {"cpus": 1.5}),
    "memory": ({"limits": {"memory": "4G"}}, {"mem_limit": "4096m"}),
    "pids": ({"limits": {"pids": 9}}, {"pids_limit": 9}),
    "a check": (
        {"health": {"command": ["a", "b"], "interval": 0.5, "timeout": 2, "start_seconds": 9, "consecutive": 2}},
        {
            "healthcheck": {
                "test": ["CMD", "a", "b"],
                "interval": "10s",
                "start_interval": "0.5s",
                "start_period": "9s",
                "timeout": "2s",
                "retries": 2,
            }
        },
    ),
    "a volume": (
        {"volumes": [{"name": "data", "path": "/d"}]},
        {"volumes": [{"type": "volume", "source": "data", "target": "/d", "read_only": False}]},
    ),
    "a path": (
        {"volumes": [{"host": "/srv/x", "path": "/d"}]},
        {
            "volumes": [
                {
                    "type": "bind",
                    "source": "/srv/x",
                    "target": "/d",
                    "read_only": True,
                    "bind": {"create_host_path": False},
                }
            ]
        },
    ),
    "nothing": ({}, {"restart": "unless-stopped", "security_opt": ["no-new-privileges:true"], "pull_policy": "never"}),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options(name):
    keys, wanted = OPTIONS[name]
    found = one(**keys)
    assert {key: found[key] for key in wanted} == wanted


def test_what_is_not_said_is_not_there():
    assert one().keys() == {
        "cap_drop", "environment", "image", "init", "labels", "networks", "pull_policy", "restart", "security_opt",
        "stop_grace_period",
    }  # fmt: skip


def test_labels_say_whose_it_is():
    assert one(labels={"team": "x"})["labels"] == {
        "team": "x",
        "stack.shipshape.app": "shop",
        "stack.shipshape.kind": "worker",
        "stack.shipshape.release": "1.0-abc",
        "stack.shipshape.service": "worker",
        "stack.shipshape.slot": "a",
        "stack.shipshape.version": "1.0",
    }


def test_settings_of_a_service_win():
    found = app(service("worker", "worker", env={"A": 2}), env={"A": 1, "B": True})
    assert slot(found)["services"]["worker-1-a"]["environment"] == {
        "A": "2", "B": "true", "APP_NAME": "shop", "APP_RELEASE": "1.0-abc", "APP_SERVICE": "worker", "APP_SLOT": "a",
    }  # fmt: skip


def test_ports():
    found = slot(app(service(replicas=2)), publish_address="2001:db8::7")["services"]
    assert [found[each]["ports"] for each in ("web-1-a", "web-2-a")] == [
        [{"target": 8000, "published": port, "host_ip": "2001:db8::7", "protocol": "tcp"}]
        for port in ("20000", "20001")
    ]


def test_networks():
    found = app(service(), service("worker", "worker", internet=False), service("k", "infra", internet=False))
    made = slot(found)
    assert made["networks"]["inside"] == {"internal": True}
    web, worker = made["services"]["web-1-a"]["networks"], made["services"]["worker-1-a"]["networks"]
    assert web == {"default": {"aliases": ["web"]}, "inside": {"aliases": ["web"]}, "backend": {}}
    assert worker == {"inside": {"aliases": ["worker"]}, "backend": {}}
    assert infra_document(found, images(found))["services"]["k"]["networks"] == {"backend": {}}
    assert "inside" not in slot(app())["networks"]


def test_infrastructure():
    found = app(
        service(),
        service("zookeeper", "infra", health={"command": "ok"}),
        service("config", "infra", env={"A": "$1"}),
        service("off", "infra", replicas=0),
        service("kafka", "infra", after=["zookeeper", "config", "off"], port=1, publish=2),
        env={"SHARED": "x"},
        extra_hosts={"db": "192.0.2.7"},
    )
    made = infra_document(found, images(found), "192.0.2.1")
    assert list(made["services"]) == ["zookeeper", "config", "kafka"]
    assert made["services"]["kafka"]["depends_on"] == {
        "zookeeper": {"condition": "service_healthy"},
        "config": {"condition": "service_started"},
    }
    assert made["services"]["kafka"]["ports"][0]["host_ip"] == "192.0.2.1"
    assert made["services"]["config"]["environment"] == {"A": "$$1"}
    assert made["services"]["config"]["extra_hosts"] == {"db": "192.0.2.7"}
    assert "stack.shipshape.release" not in made["services"]["kafka"]["labels"]


def test_volumes():
    found = app(
        service(volumes=[{"name": "b", "path": "/b"}, {"host": "/srv/x", "path": "/x"}]),
        service("k", "infra", volumes=[{"name": "a", "path": "/a"}]),
    )
    assert volumes(found) == ["shop_a", "shop_b"]
    assert slot(found)["volumes"] == {"b": {"name": "shop_b", "external": True}}
    assert infra_document(found, images(found))["volumes"] == {"a": {"name": "shop_a", "external": True}}


def strings(document):
    if isinstance(document, str):
        yield document
    for each in document.values() if isinstance(document, dict) else document if isinstance(document, list) else ():
        yield from strings(each)


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


@given(TEXTS, TEXTS.filter(bool), st.lists(TEXTS, min_size=1, max_size=3))
def test_every_text_arrives(setting, secret, command):
    """Through JSON, a reader of YAML, and compose, for which $$ is a $ and a single one begins a variable."""
    found = app(service("worker", "worker", command=command, env={"A": setting}), secrets={"B": secret})
    assert problems(found) == []
    left, secrets = split_secrets(found)
    made = slot(left)
    for document in (made, secrets_document(left, secrets, "a")):
        text = dumps(document)
        assert json.loads(text) == document
        assert yaml.safe_load(text) == document
        assert all("$" not in each.replace("$$", "") for each in strings(document))
    read = made["services"]["worker-1-a"]
    assert read["environment"]["A"].replace("$$", "$") == setting
    assert [each.replace("$$", "$") for each in read["command"]] == command
    own = secrets_document(left, secrets, "a")["services"]["worker-1-a"]["environment"]
    assert own == {"B": secret.replace("$", "$$")}


@given(st.text(string.ascii_lowercase + string.digits + "-", min_size=1, max_size=8), st.integers(0, 3))
def test_containers_have_one_name_each(name, count):
    """Whatever services are called that are allowed, no two containers of both slots share a name or an alias."""
    found = app(service("web", replicas=2), service(name, "worker", replicas=count), service("k-1", "infra"))
    if problems(found):
        return
    names = service_names(found, "a") + service_names(found, "b") + service_names(found, "infra")
    aliases = ["web", name]
    assert len(names + aliases) == len(set(names + aliases))
