"""A set is made, copied, lost, brought home and restored."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.usefixtures("as_root")


def test_round(host):
    # cron runs it, too.
    made = host.run("shipshape backup run --schedule often --wait 60")
    assert made.rc == 0, made.stderr
    # Who was not told is said, and is no reason to fail.
    assert "ping: it was not told" in made.stderr
    name = made.stdout.strip()
    found = json.loads(host.check_output("shipshape backup list --json"))["sets"][0]
    assert (found["id"], found["host"], found["copies"], found["targets"]) == (name, "shop-1", 3, ["beside", "disk"])
    assert (found["verified"]["verdict"], found["verified"]["level"]) == ("passed", "checksum")
    assert found["artefacts"] == ["files-settings.tar.gz", "command-packages"]
    assert host.check_output(f"head -c 21 /srv/disk/shop-1/often/{name}/manifest.json.age") == "age-encryption.org/v1"
    host.check_output(f"rm -r /srv/backups/sets/{name}; rm -r /etc/apt/apt.conf.d")
    assert host.check_output("shipshape backup fetch").strip() == name
    verified = host.run("shipshape backup verify")
    assert (verified.rc, "passed up to restore" in verified.stdout) == (0, True), verified.stderr
    assert json.loads(host.check_output("shipshape backup list --json"))["sets"][0]["verified"]["verdict"] == "passed"
    drill = host.run("shipshape backup drill")
    assert (drill.rc, f"drill passed up to decode: {name} from beside" in drill.stdout) == (0, True), drill.stderr
    restored = host.run(f"shipshape restore full {name} --only files --yes --no-safety")
    assert restored.rc == 0, restored.stderr
    assert "within the 60 s" in restored.stdout
    assert host.file("/etc/apt/apt.conf.d").is_directory
    # It was stopped meanwhile.
    assert host.service("cron").is_running


def test_no_secret_is_for_everybody(host):
    for path in ("/etc/shipshape/backup.json", "/etc/shipshape/backup/beside.password"):
        assert host.file(path).mode == 0o600
    assert "hunter-two" not in host.file("/etc/shipshape/backup.json").content_string
    assert host.file("/srv/backups").mode == 0o700


def test_cron_runs_it(host):
    lines = host.file("/etc/cron.d/shipshape-backup").content_string.splitlines()
    run = "*/30 * * * * root shipshape backup run --schedule often --jitter 5 --wait 3600 --quiet"
    assert run in lines
    assert "0 6 * * 0 root shipshape backup drill --jitter 60 --quiet" in lines
