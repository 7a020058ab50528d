"""A table is dropped, and comes back as it was before."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.usefixtures("as_root")
PSQL = "cd /; runuser -u postgres -- psql -XqAt -c"


def test_round(host):
    made = host.run("shipshape backup pitr run --missed")
    assert (made.rc, made.stdout.strip().endswith("F")) == (0, True), made.stderr
    host.check_output(f"{PSQL} 'CREATE TABLE orders AS SELECT generate_series(1, 1000) AS id'")
    time = host.check_output("sleep 0.2; date -u '+%F %T.%6N+00'; sleep 0.2")
    host.check_output(f"{PSQL} 'DROP TABLE orders'")
    restored = host.run(f"shipshape restore pitr --target-time '{time}' --yes")
    assert restored.rc == 0, restored.stderr
    assert "within the 3600 s" in restored.stdout
    assert host.check_output(f"{PSQL} 'SELECT count(*) FROM orders'") == "1000"
    # The power went off and came back before: archiving works after that, too.
    checked = host.run("shipshape backup pitr check")
    assert (checked.rc, checked.stderr) == (0, "")
    assert host.check_output("shipshape backup pitr info").count(" full ") == 2
    host.check_output("rm -r /var/lib/postgresql/*/main.before-*")


def test_archiving(host):
    assert host.check_output(f"{PSQL} 'SHOW archive_mode'") == "on"
    assert host.check_output(f"{PSQL} 'SHOW archive_timeout'") == "1h"
    config = host.file("/etc/pgbackrest/pgbackrest.conf")
    assert (config.mode, config.user, config.group) == (0o640, "root", "postgres")
    for line in ("compress-type=lz4", "archive-push-queue-max=134217728", "repo1-retention-full=3"):
        assert line in config.content_string.splitlines()
    assert host.file("/srv/pgbackrest").mode == 0o750


def test_nothing_is_readable_without_the_secret(host):
    assert "hunter-two" not in host.file("/etc/shipshape/backup.json").content_string
    assert host.run("grep -r -e orders -e hunter-two /srv/pgbackrest /var/log/pgbackrest").rc == 1


def test_cron_runs_it(host):
    lines = host.file("/etc/cron.d/shipshape-backup").content_string.splitlines()
    assert "30 3 * * 6 root shipshape backup pitr run --type full --quiet" in lines
    assert "30 3 * * 0-5 root shipshape backup pitr run --type diff --quiet" in lines
    assert any(line.endswith("shipshape backup pitr check --quiet") for line in lines)
