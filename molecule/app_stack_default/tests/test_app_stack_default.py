"""One web service behind nginx, with nothing but what an app has to say, after a power cut."""

from __future__ import annotations

import json

import pytest
from scenario import mistake, run_tasks, until

pytestmark = pytest.mark.usefixtures("as_root")


def get(host, path="/"):
    return host.run(f"curl -fsS -m 5 -H 'Host: shop.example.org' http://127.0.0.1{path}").stdout


def test_it_serves_again(host):
    until(lambda: get(host) == "page of 1.0", 60, "the page")


def test_containers_have_no_rights_that_they_do_not_need(host):
    name = host.check_output("docker ps --filter label=stack.shipshape.app=shop --format '{{.Names}}'")
    found = json.loads(host.check_output(f"docker inspect {name}"))[0]
    assert found["HostConfig"]["CapDrop"] == ["ALL"]
    assert found["HostConfig"]["SecurityOpt"] == ["no-new-privileges:true"]
    assert found["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"
    (port,) = found["HostConfig"]["PortBindings"]["8000/tcp"]
    assert port["HostIp"] == "127.0.0.1"
    assert 20000 <= int(port["HostPort"]) <= 20999


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"app_stack_aps": []}, "did you mean app_stack_apps"),
        ({"app_stack_apps": [{"name": "shop", "services": []}]}, "there are none: an app has one at least"),
        ({"app_stack_app": "shpo"}, "did you mean shop"),
        ({"app_stack_port_range": "80-90"}, "is not a range of 16 ports"),
        ({"app_stack_batches": ["0%"]}, "is not a number of hosts, or a share"),
        ({"app_stack_release": "1.0"}, "is neither previous nor the id of a release"),
    ],
)
def test_what_is_wrong_is_refused_before_any_change(host, options, reason):
    before = host.check_output("docker ps --format '{{.ID}}'")
    done = run_tasks(mistake("app_stack", options, reason))
    assert done.returncode == 0, done.stdout
    assert host.check_output("docker ps --format '{{.ID}}'") == before
