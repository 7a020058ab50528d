# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Docker and the kernel say, and what is made of it."""

from __future__ import annotations

import json
import os

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils import _release_docker as docker
from ansible_collections.shipshape.stack.plugins.module_utils import _release_host as host
from ansible_collections.shipshape.stack.plugins.module_utils import _release_run as run
from ansible_collections.shipshape.stack.plugins.module_utils._app_model import normal
from ansible_collections.shipshape.stack.plugins.module_utils._release_state import ReleaseError

DIGEST = "sha256:" + "a" * 64


def inspected(**state) -> str:
    restarts = state.pop("restarts", 0)
    return json.dumps(
        [
            {
                "Id": "1f",
                "Name": "/shop-a-web-1-a-1",
                "RestartCount": restarts,
                "Config": {"Labels": {"com.docker.compose.service": "web-1-a"}},
                "State": {"Status": "running", "ExitCode": 0, "OOMKilled": False, "Pid": 7, **state},
            }
        ]
    )


@pytest.mark.parametrize(
    ("text", "trouble"),
    [
        pytest.param(inspected(), "", id="runs"),
        pytest.param(inspected(Status="created"), "", id="may-come-up"),
        pytest.param(inspected(Health={"Status": "starting"}), "", id="starting"),
        pytest.param(inspected(Health={"Status": "unhealthy"}), "unhealthy", id="unhealthy"),
        pytest.param(inspected(Status="exited", ExitCode=3), "exit status 3", id="exited"),
        pytest.param(inspected(Status="exited", ExitCode=137), "killed, or out of memory", id="killed"),
        pytest.param(inspected(Status="restarting", ExitCode=1), "exit status 1", id="crash-loop"),
        pytest.param(inspected(restarts=1), "ended", id="came-back"),
        pytest.param(inspected(OOMKilled=True), "out of memory", id="oom"),
    ],
)
def test_what_is_wrong_with_a_container(text, trouble):
    (found,) = docker.containers(text)
    assert found.name == "web-1-a"
    assert bool(found.trouble) == bool(trouble)
    assert trouble in found.trouble


@pytest.mark.parametrize(("codes", "last"), [((), None), ((3,), 3), ((3, 137), 137)])
def test_the_exit_status_of_a_container_that_was_started_again_is_that_of_its_last_end(codes, last):
    text = "".join(json.dumps({"Actor": {"Attributes": {"exitCode": str(code)}}}) + "\n" for code in codes)
    assert docker.last_exit(text) == last


@pytest.mark.parametrize(
    ("text", "now", "steady"),
    [
        (inspected(StartedAt="2026-11-26T15:00:00.123456789Z"), 1795705201, True),
        (inspected(restarts=1, StartedAt="2026-11-26T15:00:00.123456789Z"), 1795705209, False),
        (inspected(restarts=1, StartedAt="2026-11-26T15:00:00Z"), 1795705210, True),
        (inspected(Status="exited", StartedAt="2026-11-26T15:00:00Z"), 1795709999, False),
        (inspected(Status="created", StartedAt="0001-01-01T00:00:00Z"), 1795709999, False),
    ],
)
def test_a_container_that_was_started_again_is_steady_after_ten_seconds(text, now, steady):
    (found,) = docker.containers(text)
    assert found.steady(now) is steady


def test_no_containers():
    assert docker.containers("") == []


@pytest.mark.parametrize(
    ("image", "digests", "wanted"),
    [
        ("registry.example.com/shop", [f"registry.example.com/shop@{DIGEST}"], f"registry.example.com/shop@{DIGEST}"),
        ("nginx", [f"docker.io/nginx@{DIGEST}"], f"docker.io/nginx@{DIGEST}"),
        ("shop", [], "sha256:id"),
        ("shop", [f"other/shop@{DIGEST}"], "sha256:id"),
    ],
)
def test_an_image_is_pinned_by_its_digest_or_its_id(image, digests, wanted):
    assert docker.pinned(image, json.dumps([{"Id": "sha256:id", "RepoDigests": digests}])) == wanted


TABLE = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1
   1: 020012AC:1F40 010012AC:C350 01 00000000:00000000 00:00000000 00000000     0        0 2 1
   2: 0100007F:1F40 0100007F:C351 01 00000000:00000000 00:00000000 00000000     0        0 3 1
   3: 020012AC:C352 030012AC:1538 01 00000000:00000000 00:00000000 00000000     0        0 4 1
   4: 020012AC:1F40 010012AC:C353 06 00000000:00000000 00:00000000 00000000     0        0 5 1
"""


def test_clients_are_counted_and_nothing_else():
    assert docker.established(TABLE, 8000) == 1
    assert docker.established(TABLE, 8001) == 0


@pytest.mark.parametrize(("memory", "replicas", "wanted"), [(None, 3, 0), ("512M", 2, 1024), ("1G", 1, 1024)])
def test_memory_that_a_slot_may_take(memory, replicas, wanted):
    service = {"name": "web", "kind": "web", "image": "shop", "version": "1", "port": 80, "replicas": replicas}
    app = normal({"name": "shop", "services": [{**service, "health": {"path": "/"}, "limits": {"memory": memory}}]})
    assert host.memory_mb(app) == wanted
    host_has_it = {"DockerRootDir": "/", "CpuCfsQuota": True}
    host.judge(app, host_has_it, "/")


@pytest.mark.parametrize(
    ("limits", "information", "reason"),
    [
        ({"memory": "4000G"}, {}, "lower limits.memory"),
        ({"cpus": 1}, {"CpuCfsQuota": False}, "leave out limits.cpus of web"),
    ],
)
def test_a_host_without_room_is_refused(limits, information, reason):
    service = {"name": "web", "kind": "web", "image": "shop", "version": "1", "port": 80, "health": {"path": "/"}}
    app = normal({"name": "shop", "services": [{**service, "limits": limits}]})
    with pytest.raises(ReleaseError, match=reason):
        host.judge(app, {"DockerRootDir": "/", **information}, "/")


def test_this_run_lives_and_a_dead_one_does_not():
    mine = run.owner("17")
    assert mine["job"] == "17"
    assert run.lives(mine)
    assert run.owner()["id"] == mine["id"]
    assert not run.lives({**mine, "started": 1})
    assert not run.lives({**mine, "pid": 2**22 + 1})
    assert run.lives({**mine, "controller": "elsewhere", "pid": 2**22 + 1})


def test_a_process_has_a_beginning():
    assert run.started(os.getpid())
    assert run.started(2**22 + 1) is None
