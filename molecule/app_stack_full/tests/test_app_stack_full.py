"""What the apps do when every option is set: each test goes on where the one before it left off."""

from __future__ import annotations

import json
import re
import shlex

import pytest
from scenario import ROOT, run_playbook, until

SECRET = "correct-horse-battery"
HOME = "/var/lib/shipshape/apps"
pytestmark = pytest.mark.usefixtures("as_root")

# Asks nginx all the time on new connections, and says how often each answer came.
TRAFFIC = """
import collections, http.client, signal, sys
seen, running = collections.Counter(), True
def stop(*_):
    global running
    running = False
signal.signal(signal.SIGTERM, stop)
while running:
    try:
        connection = http.client.HTTPConnection("127.0.0.1", timeout=5)
        connection.request("GET", "/", headers={"Host": "shop.example.org"})
        answer = connection.getresponse()
        seen[f"{answer.status} {answer.read().decode()[:20]}"] += 1
    except OSError as exc:
        seen[repr(exc)] += 1
    connection.close()
print("\\n".join(f"{count} {what}" for what, count in seen.items()))
"""


def play(name, *arguments, **options):
    return run_playbook(ROOT / f"playbooks/{name}.yml", "-e", json.dumps(options), *arguments)


def deploy(*arguments, **options):
    done = play("deploy", *arguments, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def changed(said):
    return int(re.search(r" changed=([0-9]+) ", said.split("PLAY RECAP")[-1])[1])


def get(host, path="/"):
    return host.check_output(f"curl -sS -i -m 5 -H 'Host: shop.example.org' http://127.0.0.1{path}")


def state(host, app="shop"):
    return json.loads(host.check_output(f"cat {HOME}/{app}/state.json"))


def containers(host, service, app="shop", field="ID"):
    label = "--filter label=stack.shipshape"
    return host.check_output(
        f"docker ps {label}.app={app} {label}.service={service} --format {shlex.quote('{{.' + field + '}}')}"
    ).split()


def served(host, version):
    return get(host).endswith(f"page of {version}")


def test_it_serves_again_after_a_power_cut(host):
    until(lambda: served(host, "1.0"), 60, "the release that ran before")
    assert get(host, "/admin/version").endswith('{"version": "1.0"}')
    counts = {"web": 2, "admin": 1, "worker": 1, "scheduler": 1, "broker": 1, "tool": 0}
    until(lambda: {each: len(containers(host, each)) for each in counts} == counts, 30, f"containers: {counts}")
    assert len(containers(host, "worker", "mailer")) == 2
    assert {port for port in host.check_output("ss -Hltn | awk '{print $4}'").split() if ":210" in port} <= {
        f"127.0.0.2:{port}" for port in range(21000, 21100)
    }


def test_jobs_ran_once_after_a_backup(host):
    release = state(host)["active"]["release"]
    manifest = json.loads(host.check_output(f"cat {HOME}/shop/releases/{release}/manifest.json"))
    assert host.check_output("cat $(docker volume inspect shop_data --format '{{.Mountpoint}}')/jobs").split() == [
        "init",
        release,
    ]
    assert (manifest["backup_id"], manifest["revision"].strip()) == (f"backup-of-{release}", "2")
    # The app of workers has no migration.
    assert host.check_output("cat /root/backups").split() == ["shop"]


def test_a_new_version_costs_no_request_and_shows_no_secret(host):
    host.check_output(
        f"systemd-run --quiet --unit traffic -p StandardOutput=file:/root/seen python3 -c {shlex.quote(TRAFFIC)}"
    )
    said = deploy("-vvv", shop_version="1.1")
    host.check_output("systemctl stop traffic")
    seen = dict(reversed(line.split(" ", 1)) for line in host.check_output("cat /root/seen").splitlines())
    assert seen.keys() == {"200 page of 1.0", "200 page of 1.1"}
    assert served(host, "1.1")
    assert SECRET not in said
    assert SECRET not in host.check_output("journalctl --no-pager -o cat | tail -n 5000")
    assert host.check_output(f"find {HOME}/* -perm /077") == ""
    assert get(host, "/static/1.0.txt").endswith("\r\n\r\n1.0"), "pages that are open still ask for files of before"
    assert get(host, "/static/1.1.txt").endswith("\r\n\r\n1.1")


def test_the_same_version_again_changes_nothing(host):
    before = containers(host, "web")
    said = deploy(shop_version="1.1")
    assert changed(said) == 0
    assert "runs already on debian13" in said
    assert containers(host, "web") == before


def test_without_a_backup_there_is_no_migration_and_no_new_release(host):
    before = containers(host, "web")
    backup = ["/bin/sh", "-c", "echo no room >&2; exit 1"]
    done = play("deploy", shop_version="1.1", app_stack_backup_command=backup, shop_replicas=1)
    assert done.returncode == 2
    said = done.stdout + done.stderr
    assert re.search(r"debian13 failed \(back up\): .*\n.*\n *\| no room\n *Undone on debian13: .* with 1\.1-", said)
    assert containers(host, "web") == before
    assert served(host, "1.1")
    assert not host.file(f"{HOME}/shop/lock.json").exists


def test_back_to_the_release_before_and_to_a_named_one(host):
    newer = state(host)["active"]["release"]
    assert play("rollback", only="shop", shop_version="1.1").returncode == 0
    assert served(host, "1.0")
    assert play("rollback", app_stack_release=newer, only="shop").returncode == 0
    assert served(host, "1.1")
    assert state(host)["active"]["release"] == newer


def test_scaled_while_it_is_closed_for_maintenance(host):
    deploy(shop_version="1.1", shop_replicas=3, shop_maintenance=True, only="shop")
    assert len(containers(host, "web")) == 3
    head = get(host)
    assert head.startswith("HTTP/1.1 503 ")
    assert re.search("^retry-after: [0-9]+", head, re.IGNORECASE | re.MULTILINE)


def test_started_anew_and_opened(host):
    before, release = containers(host, "web"), state(host)["active"]
    mails = containers(host, "worker", "mailer")
    deploy(shop_version="1.1", shop_replicas=3, app_stack_restart=True, only="shop")
    assert len(containers(host, "web")) == 3
    assert not set(before) & set(containers(host, "web"))
    assert state(host)["active"] == {**release, "slot": "b" if release["slot"] == "a" else "a"}
    assert containers(host, "worker", "mailer") == mails
    assert served(host, "1.1")


def test_an_app_that_goes_leaves_its_volumes_and_the_other_app(host):
    mails = containers(host, "worker", "mailer")
    deploy(shop_state="absent")
    assert host.check_output("docker ps --all --quiet --filter label=stack.shipshape.app=shop") == ""
    assert "shop" not in host.check_output("docker network ls --format '{{.Name}}'")
    assert not host.file(f"{HOME}/shop").exists
    assert host.check_output("docker volume ls --quiet").split() == ["mailer_spool", "shop_data"]
    assert containers(host, "worker", "mailer") == mails


def test_all_apps_go_with_the_volumes_that_are_named(host):
    deploy(app_stack_state="absent", app_stack_volumes_removed=["shop_data"])
    assert host.check_output("docker ps --all --quiet") == ""
    assert host.check_output("docker volume ls --quiet") == "mailer_spool"
    assert host.check_output(f"ls {HOME}") == ""
