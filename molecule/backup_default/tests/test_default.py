"""What the role leaves where nothing is to be backed up."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.usefixtures("as_root")


def test_a_run_of_nothing_is_an_error_and_not_a_backup(host):
    done = host.run("shipshape backup run")
    assert done.rc == 1
    assert "no component has the schedule" in done.stderr
    assert host.check_output("shipshape backup list") == "There is no backup set on this host."
    assert host.run("shipshape backup run --missed --quiet").rc == 0


def test_files(host):
    assert host.file("/etc/shipshape/backup.json").mode == 0o600
    assert host.file("/etc/cron.d/shipshape-backup").mode == 0o644
