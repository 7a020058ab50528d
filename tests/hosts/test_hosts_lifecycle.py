"""Hosts come up whatever was left behind, keep their addresses, and leave nothing."""

from __future__ import annotations

import json
import pathlib
import subprocess

import pytest

HERE = pathlib.Path(__file__).resolve().parent
GROUP = "lifecycle"
FOLDER = HERE.parent.parent / ".cache/hosts" / GROUP


def hosts(*arguments: str) -> str:
    done = subprocess.run([HERE / "hosts", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def up(*names: str) -> dict[str, dict]:
    told = hosts("up", "--group", GROUP, "--json", *(f"{name}=trixie" for name in names))
    return {host["name"]: host for host in json.loads(told)["hosts"]}


def listed() -> dict[str, str]:
    return {line.split()[1]: line.split()[3] for line in hosts("list", "--group", GROUP).splitlines()}


def over_ssh(name: str, command: str) -> str:
    done = subprocess.run(
        ["ssh", "-F", FOLDER / "ssh_config", "-o", "BatchMode=yes", name, command],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module", autouse=True)
def group():
    hosts("down", "--group", GROUP)
    yield up("one", "two")
    hosts("down", "--group", GROUP)
    assert listed() == {}
    assert not FOLDER.exists()


def test_up_again_changes_nothing(group):
    started = "cut -d ' ' -f 22 /proc/1/stat"
    before = over_ssh("one", started)
    assert up("one", "two") == group
    assert over_ssh("one", started) == before


def test_hosts_find_each_other_and_the_world(group):
    assert group["two"]["address"] in over_ssh("one", "getent ahostsv4 two")
    assert group["two"]["address6"] in over_ssh("one", "getent ahostsv6 two")
    assert over_ssh("one", "getent hosts deb.debian.org")


def test_a_cloud_image_is_what_a_role_meets(group):
    assert over_ssh("one", "sudo -n id -u").strip() == "0"
    assert "NP" not in over_ssh("one", "sudo passwd --status admin").split()
    assert "passwordauthentication yes" in over_ssh("one", "sudo sshd -T")
    assert over_ssh("one", "cat /etc/ssh/ssh_host_ed25519_key.pub") != over_ssh(
        "two", "cat /etc/ssh/ssh_host_ed25519_key.pub"
    )


def test_a_restart_is_a_new_boot_at_the_same_address(group):
    over_ssh("one", "sudo touch /run/marker /var/tmp/marker && sudo hostname other")
    hosts("restart", "--group", GROUP, "one")
    assert over_ssh("one", "ls /run/marker /var/tmp/marker 2>/dev/null || true") == "/var/tmp/marker\n"
    assert over_ssh("one", "hostname").strip() == "one"
    assert group["one"]["address"] in over_ssh("one", "hostname -I")


def test_a_killed_host_comes_back(group):
    hosts("kill", "--group", GROUP, "two")
    assert listed()["two"] == "exited"
    assert up("one", "two") == group
    assert over_ssh("two", "true") == ""


def test_lost_files_are_made_anew(group):
    for name in ("hosts.json", "known_hosts", "ssh_config"):
        (FOLDER / name).unlink()
    assert up("one", "two") == group
    assert over_ssh("two", "true") == ""


def test_a_lost_key_is_replaced(group):
    for path in FOLDER.glob("id_ed25519*"):
        path.unlink()
    up("one", "two")
    assert over_ssh("one", "true") == ""


def test_another_host_joins_and_the_first_stay(group):
    assert list(up("three")) == ["one", "two", "three"]
    assert over_ssh("three", "true") == ""
