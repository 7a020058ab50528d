"""A whole host is lost: from a bare one and the off-site copy to an app that answers with its data, and the time."""

from __future__ import annotations

import json
import subprocess
import time

import pytest

from .conftest import ROOT, Group

# Two whole runs of site.yml; all parts of it are tried on every commit, in test_restore and test_backup_copies.
pytestmark = pytest.mark.nightly

OLD, NEW, VAULT = "shop1", "shop2", "vault"
ORDERS = 200
PASSWORDS = {"database": "of-the-database-of-the-shop", "cache": "of-the-cache-of-the-shop-1"}


def service(name: str, kind: str, **more):
    return {"name": name, "kind": kind, "image": "shop", "version": "1.0.0", "pull": "never", **more}


SHOP = {
    "name": "shop",
    "domains": ["shop.example.org"],
    "tls": False,
    "services": [
        service("web", "web", port=8000, health={"path": "/health", "json": {"status": "healthy"}}),
        service("worker", "worker", command="python3 shop.py worker"),
    ],
    "migrate": {"service": "web", "command": "python3 shop.py migrate", "revision": "python3 shop.py revision"},
    "env": {"SHOP_NAME": "shop"},
    "database": {"password": PASSWORDS["database"]},
    "cache": {"password": PASSWORDS["cache"]},
    "deploy": {"bake_seconds": 1, "drain_seconds": 2},
}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    volumes = ("--volume=/var/lib/docker", "--volume=/var/lib/containerd")
    group = Group("faults-lost", tmp_path_factory.mktemp("f"), *volumes, **dict.fromkeys((OLD, NEW, VAULT), "trixie"))
    try:
        keys = "mkdir -p -m 700 ~/.ssh; cd ~/.ssh; ssh-keygen -q -t ed25519 -N '' -f id_ed25519; cat id_ed25519.pub"
        given = "\n".join(group.shell(name, keys) for name in (OLD, NEW))
        account = f"useradd -m keeper; mkdir -m 700 ~keeper/.ssh; echo '{given}' >~keeper/.ssh/authorized_keys"
        group.shell(VAULT, f"{account}; chown -R keeper: ~keeper; install -d -o keeper -m 700 /srv/copies")
        host_key = group.shell(VAULT, "cat /etc/ssh/ssh_host_ed25519_key.pub").split()
        known = f"{group.address(VAULT)} {host_key[0]} {host_key[1]}"
        group.shells(dict.fromkeys((OLD, NEW), f"echo '{known}' >/root/.ssh/known_hosts"))
        yield group
    finally:
        group.down()


def play(group: Group, hosts: str, host: str, name: str, **variables):
    """A playbook on one host, which is everything; the seconds that it took."""
    groups = "".join(f"{each}:\n  hosts:\n    {host}:\n" for each in ("db", "cache", "app", "lb"))
    (group.state / "inventory.yml").write_text(hosts + groups, encoding="utf-8")
    copy = {"name": "away", "repository": f"sftp:keeper@{group.address(VAULT)}:/srv/copies", "escrow": "in this test"}
    fixed = {
        "apps": [SHOP],
        "stack_packages": ["curl"],
        "backup_host_name": "shop",
        "backup_copies": [{**copy, "keep_last": 3}],
        "backup_copy_passwords": {"away": "escrowed-in-this-test"},
        "backup_copies_min": 2,
    }
    begun = time.monotonic()
    run = group.play(f"playbooks/{name}.yml", "--limit", host, variables={**fixed, **variables})
    assert run.code == 0, run.output
    return time.monotonic() - begun


def orders(group: Group, host: str) -> int:
    count = "runuser -u postgres -- psql -XqAt -d shop -c 'SELECT count(*) FROM orders'"
    return int(group.shell(host, f"cd /; {count}"))


ASK = "curl -sS --fail -H 'Host: shop.example.org' http://127.0.0.1"


def test_a_new_host_takes_the_place_of_a_lost_one(fleet, record_property):
    hosts = (fleet.state / "inventory.yml").read_text(encoding="utf-8")
    times = {"first site.yml": play(fleet, hosts, OLD, "site")}
    subprocess.run([ROOT / "tests/apps/image", fleet.name, OLD, "1.0.0"], check=True, cwd=ROOT)
    times["first deploy.yml"] = play(fleet, hosts, OLD, "deploy")
    post = f"{ASK}/orders -H 'Content-Type: application/json' -d '{{\"id\": \"order-'$n'\"}}'"
    fleet.shell(OLD, f"for n in $(seq {ORDERS}); do {post} >/dev/null; done")
    assert orders(fleet, OLD) == ORDERS
    times["backup.yml"] = play(fleet, hosts, OLD, "backup")
    fleet.shell(OLD, "(sleep 1; systemctl poweroff) >/dev/null 2>&1 &")
    begun = time.monotonic()
    times["site.yml"] = play(fleet, hosts, NEW, "site")
    subprocess.run([ROOT / "tests/apps/image", fleet.name, NEW, "1.0.0"], check=True, cwd=ROOT)
    restore = {"restore_confirm": NEW, "restore_from": "away", "restore_from_host": "shop"}
    times["restore.yml"] = play(fleet, hosts, NEW, "restore", restore_set="latest", **restore)
    times["deploy.yml"] = play(fleet, hosts, NEW, "deploy")
    assert json.loads(fleet.shell(NEW, f"{ASK}/health"))["status"] == "healthy"
    assert orders(fleet, NEW) == ORDERS
    times["all of it"] = time.monotonic() - begun
    for name, seconds in times.items():
        record_property(name, round(seconds))
        print(f"{name}: {seconds:.0f} s")
    # It goes on as the old one did: its next set follows the old ones in the same repository.
    fleet.shell(NEW, f"n=after; {post} >/dev/null")
    play(fleet, hosts, NEW, "backup")
    assert len(fleet.shell(NEW, "shipshape backup list --target away").splitlines()) >= 2
    play(fleet, hosts, NEW, "verify")
