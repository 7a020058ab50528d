# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ids of releases: the same for the same, another one for anything that makes other containers."""

from __future__ import annotations

import copy
import json
import re

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils._app_model import normal, problems, split_secrets
from ansible_collections.shipshape.stack.plugins.module_utils._app_release import (
    RELEASE,
    clean_version,
    image_tag,
    manifest,
    release_id,
)
from app_examples import DOCUMENTED, app, images, service
from hypothesis import given, settings
from hypothesis import strategies as st

BASE = app(
    service(volumes=[{"name": "data", "path": "/d"}], limits={"memory": "1G"}, env={"X": "1"}),
    service("worker", "worker"),
    service("kafka", "infra"),
    domains=["shop.example.org"],
    migrate={"service": "web", "command": "up"},
    static={"service": "web", "path": "/static"},
    env={"A": "1"},
    secrets={"S": "secret"},
)


def identify(found, pinned=None):
    assert problems(found) == []
    left, secrets = split_secrets(found)
    return release_id(left, pinned or images(left), secrets)


def changed(path, value):
    """BASE with one value changed."""
    found = copy.deepcopy(BASE)
    at = found
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return found


MATTERS = {
    "the name": (["name"], "other"),
    "the version": (["services", 0, "version"], "1.1"),
    "the version of another": (["services", 1, "version"], "1.1"),
    "a setting": (["env", "A"], "2"),
    "a setting of a service": (["services", 0, "env", "X"], "2"),
    "a setting of infrastructure": (["services", 2, "env"], {"K": "1"}),
    "a secret": (["secrets", "S"], "Secret"),
    "a secret of a service": (["services", 1, "secrets"], {"T": "t"}),
    "a command": (["services", 1, "command"], "x"),
    "an entrypoint": (["services", 1, "entrypoint"], "x"),
    "a port": (["services", 0, "port"], 9000),
    "replicas": (["services", 1, "replicas"], 2),
    "a limit": (["services", 0, "limits", "memory"], "2G"),
    "a volume": (["services", 0, "volumes", 0, "path"], "/e"),
    "a user": (["services", 0, "user"], "1000"),
    "rights": (["services", 0, "cap_add"], ["CHOWN"]),
    "a check in the container": (["services", 1, "health"], {"command": "x"}),
    "the time to stop": (["services", 1, "stop_seconds"], 31),
    "the way out": (["services", 1, "internet"], False),
    "the migration": (["migrate", "command"], "up --all"),
    "files": (["static", "path"], "/assets"),
    "hosts": (["extra_hosts"], {"db": "192.0.2.7"}),
    "a label": (["services", 0, "labels"], {"a": "b"}),
}
DOES_NOT = {
    "routes": (["routes"], [{"path": "/", "service": "web", "websocket": True}]),
    "domains": (["domains"], ["www.example.org"]),
    "the rollout": (["deploy"], {"bake_seconds": 1, "drain_seconds": 1}),
    "what is asked": (["services", 0, "health"], {"path": "/ready", "json": {"a": 1}, "consecutive": 9}),
    "the balance": (["services", 0, "balance"], "least_conn"),
    "pulls": (["services", 0, "pull"], "always"),
    "maintenance": (["maintenance"], True),
    "releases kept": (["keep_releases"], 9),
    "the time for a migration": (["migrate", "timeout"], 9),
    "the revision": (["migrate", "revision"], "x"),
    "a default that is written": (["services", 0, "replicas"], "1"),
    "the same size": (["services", 0, "limits", "memory"], "1024M"),
    "an unused password": (["database"], {"password": "x"}),
}


@pytest.mark.parametrize("name", MATTERS)
def test_another_release(name):
    assert identify(changed(*MATTERS[name])) != identify(BASE)


@pytest.mark.parametrize("name", DOES_NOT)
def test_the_same_release(name):
    assert identify(changed(*DOES_NOT[name])) == identify(BASE)


@pytest.mark.parametrize("name", ["web", "worker", "kafka"])
def test_another_image_is_another_release(name):
    pinned = {**images(BASE), name: f"sha256:{'1' * 64}"}
    assert identify(BASE, pinned) != identify(BASE)


def test_a_secret_that_moves_is_another_release():
    one = app(service("a", "worker", secrets={"S": "x"}), service("b", "worker"))
    two = app(service("a", "worker"), service("b", "worker", secrets={"S": "x"}))
    assert identify(one) != identify(two)


def shuffled(value, order):
    if isinstance(value, dict):
        keys = list(value)
        order.shuffle(keys)
        return {key: shuffled(value[key], order) for key in keys}
    return [shuffled(each, order) for each in value] if isinstance(value, list) else value


@settings(max_examples=10)
@given(st.randoms(use_true_random=False), st.sampled_from(sorted(DOCUMENTED)))
def test_the_order_of_keys_is_no_matter(order, name):
    found = shuffled(DOCUMENTED[name], order)
    assert identify(found) == identify(DOCUMENTED[name])
    left, secrets = split_secrets(found)
    assert release_id(json.loads(json.dumps(normal(left))), images(left), secrets) == identify(DOCUMENTED[name])


@pytest.mark.parametrize("name", DOCUMENTED)
def test_an_id_is_a_file_and_a_tag(name):
    found = identify(DOCUMENTED[name])
    assert RELEASE.fullmatch(found)
    assert re.fullmatch(r"shipshape/[a-z0-9-]+/web:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", image_tag(app(), "web", found))


VERSIONS = {
    "1.2.3": "1.2.3",
    "_x": "_x",
    "v" * 128: "v" * 60,
    "a" * 59 + "-b": "a" * 59,
}


@pytest.mark.parametrize("version", VERSIONS)
def test_versions(version):
    found = app(service(version=version))
    assert clean_version(found) == VERSIONS[version]
    assert RELEASE.fullmatch(identify(found))


def test_the_version_of_a_digest():
    assert clean_version(app(service(version=None, digest="sha256:0123456789abcdef" + "0" * 48))) == "0123456789ab"


def test_manifest():
    left, _secrets = split_secrets(BASE)
    run = {"by": "ada", "job": "17", "controller": "c", "pid": 1}
    found = manifest(left, "1.0-x", images(left), "{}", run, "2026-01-01T00:00:00Z", "b-1")
    assert found == {
        "app": "shop",
        "release": "1.0-x",
        "versions": {"web": "1.0", "worker": "1.0", "kafka": "1.0"},
        "images": images(left),
        "compose_sha256": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
        "contract": False,
        "migrated": False,
        "revision": "",
        "backup_id": "b-1",
        "by": "ada",
        "job": "17",
        "controller": "c",
        "prepared": "2026-01-01T00:00:00Z",
    }
    assert "secret" not in json.dumps(found)
