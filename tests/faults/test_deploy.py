"""Releases that must not be: each goes back by itself, says why, and the release before serves on. And runs that are
killed at each step: the next one converges. All through playbooks/deploy.yml, with the reference app of tests/apps."""

from __future__ import annotations

import json
import re
import subprocess
from contextlib import contextmanager
from typing import Any

import pytest

from .conftest import ROOT, Group, until

HOST, SECOND = "app1", "app2"
VERSIONS = ("1.0.0", "1.1.0")
STATE = "cat /var/lib/shipshape/apps/shop/state.json"
# A request each 50 ms on a connection of its own, each tenth an order with an id of its own. What is not answered as it
# should is a line of /root/failures; ids that were answered stand in /root/orders.
CLIENT = r"""
import http.client, json, sys, threading, time
failures, orders = open("/root/failures", "w", buffering=1), open("/root/orders", "w", buffering=1)
def ask(number):
    try:
        connection = http.client.HTTPConnection("127.0.0.1", 80, timeout=15)
        headers = {"Host": "shop.example.org", "Content-Type": "application/json"}
        if number % 10:
            connection.request("GET", "/slow?ms=300" if number % 50 == 1 else "/", headers=headers)
        else:
            connection.request("POST", "/orders", json.dumps({"id": f"{sys.argv[1]}-{number}"}), headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        if answer.status not in (200, 201):
            raise ValueError(f"{answer.status} {text[:80]!r}")
        if not number % 10:
            orders.write(f"{sys.argv[1]}-{number}\n")
    except Exception as exc:
        failures.write(f"{time.time():.2f} {number} {type(exc).__name__} {exc}\n")
begun = time.monotonic()
for number in range(10**6):
    time.sleep(max(0, begun + number * 0.05 - time.monotonic()))
    threading.Thread(target=ask, args=(number,)).start()
"""


def app(version: str = "1.0.0", fail: str = "", **changes: Any) -> dict[str, Any]:
    """The shop on a SQLite file in a volume, with times that suit a test."""
    common = {
        "image": "shop",
        "version": version,
        "pull": "never",
        "stop_seconds": 5,
        "volumes": [{"name": "data", "path": "/data"}],
    }
    health = {
        "path": "/health",
        "json": {"status": "healthy"},
        "version": {"path": "/version"},
        "consecutive": 2,
        "interval": 0.2,
        "start_seconds": changes.pop("start_seconds", 20),
    }
    web = {"name": "web", "kind": "web", "port": 8000, "health": health, **common, **changes.pop("web", {})}
    return {
        "name": "shop",
        "domains": ["shop.example.org"],
        "tls": False,
        "services": [
            web,
            {"name": "worker", "kind": "worker", "command": "python3 shop.py worker", **common},
            {"name": "scheduler", "kind": "scheduler", "command": "python3 shop.py scheduler", **common},
        ],
        "migrate": {
            "service": "web",
            "command": "python3 shop.py migrate",
            "timeout": 6,
            "revision": "python3 shop.py revision",
        },
        "env": {"SHOP_NAME": "shop", **({"SHOP_FAIL": fail} if fail else {})},
        "deploy": {"bake_seconds": 1, "drain_seconds": 3},
        **changes,
    }


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    volumes = ("--volume=/var/lib/docker", "--volume=/var/lib/containerd")
    group = Group("faults-deploy", tmp_path_factory.mktemp("f"), *volumes, **{HOST: "trixie", SECOND: "trixie"})
    try:
        # Small, so that it can be filled.
        group.shell(
            HOST, "mkdir -p /var/lib/shipshape && mount -t tmpfs -o size=700m,mode=0755 tmpfs /var/lib/shipshape"
        )
        hosts = (group.state / "inventory.yml").read_text(encoding="utf-8")
        share(group, hosts, HOST, SECOND)
        run = group.play("playbooks/site.yml", "--tags", "docker,nginx", variables={"apps": [app()]})
        assert run.code == 0, run.output
        group.shell(HOST, "command -v curl >/dev/null || apt-get -qq install --no-install-recommends curl >/dev/null")
        subprocess.run([ROOT / "tests/apps/image", group.name, f"{HOST},{SECOND}", *VERSIONS], check=True, cwd=ROOT)
        share(group, hosts, HOST)
        run = deploy(group, app())
        assert run.code == 0, run.output
        yield group
    finally:
        group.down()


def share(group: Group, hosts: str, *names: str) -> None:
    """The hosts that run the app; the first of them balances the load."""
    members = "".join(f"    {name}:\n" for name in names)
    groups = f"app:\n  hosts:\n{members}lb:\n  hosts:\n    {HOST}:\n"
    (group.state / "inventory.yml").write_text(hosts + groups, encoding="utf-8")


def deploy(group: Group, wanted: dict[str, Any], *words: str, **variables: Any):
    return group.play("playbooks/deploy.yml", *words, variables={"apps": [wanted], **variables})


def state(group: Group, name: str = HOST) -> dict[str, Any]:
    return json.loads(group.shell(name, STATE))


def version(group: Group) -> str:
    ask = "curl -sS -m 5 -H 'Host: shop.example.org' http://127.0.0.1/version"
    return json.loads(group.shell(HOST, ask))["version"]


def asked(group: Group, host: str, query: str) -> str:
    """What the app's database on a host answers, a row a line."""
    volume = group.shell(host, "docker volume inspect shop_data --format '{{.Mountpoint}}'").strip()
    code = f'import sqlite3; [print(*row) for row in sqlite3.connect("{volume}/shop.db").execute("{query}")]'
    return group.shell(host, f"python3 -c '{code}'")


def ports(group: Group) -> set[str]:
    """Where the containers that run now are asked."""
    return set(re.findall(r"127\.0\.0\.1:(\d+)->", group.shell(HOST, "docker ps --format '{{.Ports}}'")))


@contextmanager
def clients(group: Group, name: str, *hosts: str, crashes: bool = False):
    """Requests all the while; none may fail, and each order that was answered is there once, on one of the hosts.

    A release that C(crashes) while it serves takes the orders along that it was about to answer, and nginx may not send
    them again. Then the release before must not have failed at any.
    """
    serving = ports(group)
    log = "/var/log/nginx/error.log"
    seen = group.shell(HOST, f"wc -c <{log}").strip()
    start = f"systemd-run --quiet --unit=clients python3 -c '{CLIENT}' {name}"
    group.shell(HOST, f"rm -f /root/failures /root/orders; {start}")
    try:
        until(lambda: group.shell(HOST, "cat /root/orders 2>/dev/null || true") != "", 60, "the first order")
        yield
    finally:
        group.shell(HOST, "sleep 1; systemctl stop clients")
    failures = group.shell(HOST, "cat /root/failures").splitlines()
    failed_at = re.findall(
        r'upstream: "http://127\.0\.0\.1:(\d+)/', group.shell(HOST, f"tail -c +{int(seen) + 1} {log}")
    )
    the_crash = crashes and not serving & set(failed_at) and len(failures) <= len(failed_at)
    assert not failures or the_crash, (failures, failed_at)
    known = [name for host in hosts or (HOST,) for name in asked(group, host, "SELECT id FROM orders").split()]
    answered = group.shell(HOST, "cat /root/orders").split()
    assert len(answered) > 5
    assert set(answered) <= set(known)
    assert len(known) == len(set(known))


BAD = [
    pytest.param(app("9.9.9"), "shop:9.9.9 of web is not on this host", id="image-missing"),
    pytest.param(app("1.1.0", "crash-at-start"), "ended with exit status 3", id="crash-at-start"),
    pytest.param(
        app("1.1.0", "crash-after-5s", deploy={"bake_seconds": 8, "drain_seconds": 3}),
        "told to crash after 5 s",
        id="crash-after-5-s",
    ),
    pytest.param(app("1.1.0", env={}), "SHOP_NAME is not set", id="env-missing"),
    pytest.param(app("1.1.0", web={"ulimits": {"bogus": 1}}), "RLIMIT_BOGUS", id="compose-invalid"),
    pytest.param(app("1.1.0", "never-healthy", start_seconds=4), "HTTP 503", id="never-healthy"),
    pytest.param(app("1.1.0", "wrong-version", start_seconds=4), "wrong", id="wrong-version"),
    pytest.param(app("1.1.0", "unhealthy-json", start_seconds=4), "unhealthy", id="unhealthy-json"),
    pytest.param(app("1.1.0", "migration-fails"), "the migration failed with exit status 1", id="migration-fails"),
    pytest.param(app("1.1.0", "migration-hangs"), "did not end within 6 s", id="migration-hangs"),
    pytest.param(app("1.1.0", "out-of-memory"), "killed, or out of memory", id="out-of-memory"),
    pytest.param(app("1.1.0", "worker-crashes"), "worker-1-", id="worker-crash-loops"),
]


@pytest.mark.parametrize(("wanted", "reason"), BAD)
def test_a_bad_release_goes_back_and_says_why(host, request, wanted, reason):
    refused(host, wanted, reason, request.node.callspec.id)


@pytest.mark.parametrize(
    ("fault", "mend", "reason"),
    [
        pytest.param(
            "for port in 20000 20001; do systemd-run -q --unit=taker-$port python3 -c 'import socket, time;"
            ' kept = socket.create_server(("127.0.0.1", int("\'$port\'"))); time.sleep(900)\' || true; done; sleep 1',
            "systemctl stop taker-20000 taker-20001 || true",
            "is taken by python3",
            id="port-taken",
        ),
        pytest.param(
            "echo 'nonsense;' >/etc/nginx/modules-enabled/99-broken.conf",
            "rm /etc/nginx/modules-enabled/99-broken.conf",
            "nonsense",
            id="nginx-refuses",
        ),
        pytest.param(
            "fallocate -l 300M /var/lib/shipshape/filler", "rm /var/lib/shipshape/filler", "MiB left", id="disk-full"
        ),
    ],
)
def test_a_bad_host_is_no_way_to_lose_a_release(host, request, fault, mend, reason):
    with host.broken(HOST, fault, mend):
        refused(host, app("1.1.0"), reason, request.node.callspec.id)


def refused(host: Group, wanted: dict[str, Any], reason: str, name: str) -> None:
    before = state(host)
    with clients(host, name, crashes=name == "crash-after-5-s"):
        run = deploy(host, wanted)
    assert run.code != 0, run.output
    assert reason in run.text, run.output
    after = state(host)
    assert after["active"] == before["active"]
    assert after["candidate"] is None
    assert version(host) == "1.0.0"
    assert host.shell(HOST, "ls /var/lib/shipshape/apps/shop/lock.json 2>/dev/null || true") == ""
    slots = set(host.shell(HOST, "docker ps -a --format '{{.Label \"stack.shipshape.slot\"}}'").split())
    assert slots == {before["active"]["slot"]}


def test_a_second_run_changes_nothing(host):
    run = deploy(host, app())
    assert run.code == 0, run.output
    assert run.changed(HOST) == 0


def test_the_next_version_and_the_way_back_lose_no_request(host):
    first = state(host)["active"]["release"]
    with clients(host, "good"):
        run = deploy(host, app("1.1.0"))
        assert run.code == 0, run.output
        assert version(host) == "1.1.0"
        run = host.play("playbooks/rollback.yml", variables={"apps": [app("1.1.0")]})
        assert run.code == 0, run.output
    assert version(host) == "1.0.0"
    assert state(host)["active"]["release"] == first


# A run, a killed run and the one that makes it good take a minute each; on every commit two steps stand for all.
EACH_NIGHT = [pytest.param(step, marks=pytest.mark.nightly) for step in ("prepare", "start", "watch", "finish")]


@pytest.mark.parametrize("step", ["migrate", "handover", *EACH_NIGHT])
def test_a_killed_run_is_made_good_by_the_next(host, step):
    """The version is another one each time, as the runs before have left the one that was asked for last."""
    wanted = app("1.1.0" if version(host) == "1.0.0" else "1.0.0", env={"SHOP_NAME": "shop", "KILLED_AT": step})
    with clients(host, step):
        host.play_killed_at("playbooks/deploy.yml", f"shop, {step}]", variables={"apps": [wanted]})
        run = deploy(host, wanted)
        assert run.code == 0, run.output
    found = state(host)
    assert version(host) == wanted["services"][0]["version"]
    assert (found["candidate"], found["draining"]) == (None, None)
    assert host.shell(HOST, "docker ps -q --filter label=stack.shipshape.app=shop").split().__len__() == 3


@pytest.mark.nightly  # as above
def test_a_way_back_that_is_killed_is_gone_by_the_next_run(host):
    serving = version(host)
    bad = app(serving, "worker-crashes")
    with clients(host, "undo"):
        host.play_killed_at("playbooks/deploy.yml", "shop, undo]", variables={"apps": [bad]})
        run = deploy(host, app(serving))
        assert run.code == 0, run.output
    assert version(host) == serving
    assert state(host)["candidate"] is None


def test_two_schedulers_were_never_there_at_once(host):
    assert asked(host, HOST, "SELECT count(*) FROM meetings").strip() == "0"
    assert int(asked(host, HOST, "SELECT count(*) FROM ticks")) > 100


def test_two_hosts_end_on_one_release_when_the_second_fails(host):
    """On the second host each container is killed as soon as it starts."""
    hosts = (host.state / "inventory.yml").read_text(encoding="utf-8").partition("app:\n")[0]
    old, new = sorted(VERSIONS, key=lambda each: each != version(host))
    both = (HOST, SECOND)
    # Each host has a database of its own here, and a deploy migrates once: the second is made ready alone.
    for names in ((SECOND,), both):
        share(host, hosts, *names)
        run = deploy(host, app(old))
        assert run.code == 0, run.output
    records = [state(host, name)["active"] for name in both]
    events = "docker events --filter event=start --format {{.ID}} | xargs -n1 docker kill"
    kill = f"systemd-run --quiet --unit=killer sh -c '{events}'"
    with clients(host, "fleet", *both), host.broken(SECOND, kill, "systemctl stop killer"):
        run = deploy(host, app(new))
    assert run.code != 0, run.output
    assert f"{SECOND} failed" in run.text, run.output
    assert [state(host, name)["active"] for name in both] == records
    assert {version(host) for _each in range(8)} == {old}
    with clients(host, "both", *both):
        run = deploy(host, app(new))
        assert run.code == 0, run.output
    assert {version(host) for _each in range(8)} == {new}
