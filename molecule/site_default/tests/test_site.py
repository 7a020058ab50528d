"""The whole of site.yml together, after a power cut: people get in, the host is healthy, others do not get in."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])


def login(address, user, port, *words):
    state = ROOT / ".cache/hosts/site_default"
    options = ["-o", "BatchMode=yes", "-o", f"UserKnownHostsFile={state}/known_hosts", "-o", "StrictHostKeyChecking=no"]
    return subprocess.run(
        [
            "ssh",
            "-F",
            "/dev/null",
            *options,
            "-i",
            str(state / "id_ed25519"),
            "-p",
            str(port),
            f"{user}@{address}",
            *words,
        ],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("port", [22, 2222])
@pytest.mark.parametrize("user", ["admin", "alice"])
def test_administrators_get_in_and_may_sudo(address, user, port):
    assert login(address, user, port, "sudo", "-n", "id", "-u").stdout == "0\n"


def test_an_account_outside_the_group_does_not_get_in(host, address):
    with host.sudo():
        host.check_output("id mallory || useradd --create-home mallory")
        host.check_output(
            "install -d -o mallory /home/mallory/.ssh &&"
            " install -o mallory -m 600 /home/admin/.ssh/authorized_keys /home/mallory/.ssh/"
        )
    assert "Permission denied" in login(address, "mallory", 22, "true").stderr


def test_the_host_s_own_command_says_that_it_is_healthy(host):
    with host.sudo():
        done = host.run("shipshape health --format json")
    found = {check["name"]: check["status"] for check in json.loads(done.stdout)["checks"]}
    assert found["ssh"] == "healthy"
    assert found["failed units"] == "healthy"
    assert "unhealthy" not in found.values()


def play(name):
    done = subprocess.run(
        ["ansible-playbook", "-i", os.environ["MOLECULE_INVENTORY_FILE"], str(ROOT / "playbooks" / name)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    return done.returncode, done.stdout + done.stderr


def test_verify_passes_once_there_is_a_backup_that_it_can_prove():
    code, said = play("verify.yml")
    assert code != 0
    assert "its backups were not proven" in " ".join(said.split())
    code, said = play("backup.yml")
    assert code == 0, said
    code, said = play("verify.yml")
    assert code == 0, said
    assert "failed units" in said
    assert said.count("rto_target_seconds") == 2


def test_the_site_is_served_with_its_certificate_over_both_protocols(host, address):
    with host.sudo():
        certificate = host.check_output("cat /etc/nginx/tls/shop/current/fullchain.pem")
    given = ROOT / ".cache/hosts/site_default/shop.pem"
    given.write_text(certificate, encoding="utf-8")
    for where in (address, host.check_output("hostname -I | tr ' ' '\\n' | grep : | head -n 1")):
        literal = f"[{where}]" if ":" in where else where
        done = subprocess.run(
            ["curl", "-sSi", "--cacert", str(given), "--resolve", f"shop.example.org:443:{literal}",
             "https://shop.example.org/"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.stdout.endswith("\n\nshop\n"), done.stdout + done.stderr
        assert "strict-transport-security: max-age=" in done.stdout.lower()
