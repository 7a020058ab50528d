"""A recovery gets exactly to its time or leaves all as it was; an archive that fails is told, and fills no disk."""

from __future__ import annotations

import json
import re

import pytest

from .conftest import Group, until

SECRET = "sesame-of-the-wal"
APP = """[Service]
ExecStart=/bin/sleep infinity
[Install]
WantedBy=multi-user.target
"""
PLAY = [
    {
        "hosts": "all",
        "become": True,
        "gather_facts": False,
        "roles": [
            {
                "role": "shipshape.stack.backup",
                "vars": {
                    "backup_host_name": "db1.example.com",
                    "backup_components": [{"name": "postgresql", "type": "postgresql"}],
                    "backup_apps": [{"name": "shop", "units": ["shop.service"], "containers": False}],
                    "backup_notify": {"ping": "http://127.0.0.1:8099/beat"},
                    "backup_pitr_queue_max": "64MiB",
                    "backup_pitr_secrets": {"repo1-cipher-pass": SECRET},
                    "backup_pitr_escrow": "the safe",
                },
            }
        ],
    }
]
SETUP = f"""
export DEBIAN_FRONTEND=noninteractive; apt-get update -qq
apt-get install -yqq --no-install-recommends postgresql python3-psycopg pgbackrest >/dev/null 2>&1
cat > /etc/systemd/system/shop.service <<'END'
{APP}END
systemctl enable --now --quiet shop; mkdir -p /var/lib/prometheus/node-exporter /srv/beats
systemd-run --quiet --unit=beats python3 -m http.server 8099 --bind 127.0.0.1 --directory /srv/beats
"""
PSQL = "cd /; runuser -u postgres -- psql -XqAt"
NOW = "date -u '+%F %T.%6N+00'"
DATA = "/var/lib/postgresql/17"
REPOSITORY = "/var/lib/pgbackrest"
ROWS = f"{PSQL} -c 'SELECT string_agg(x::text, $$,$$ ORDER BY x) FROM t'"


@pytest.fixture(scope="module")
def group(tmp_path_factory):
    group = Group("faults-pitr", tmp_path_factory.mktemp("f"), h="trixie")
    group.shell("h", SETUP)
    done = group.play(PLAY, variables={"backup_pitr": True})
    assert done.code == 0, done.text
    assert "restart postgresql@17-main.service, as archive_mode needs it" in done.text
    assert SECRET not in done.output
    yield group
    group.down()


@pytest.fixture(scope="module")
def host(group):
    return lambda script: group.shell("h", script)


@pytest.fixture(scope="module")
def times(host):
    """Three rows, and a time after each."""
    assert "STALE: there is no backup" in command(host, "backup pitr check")[1]
    rc, said = command(host, "backup pitr run --missed")
    assert rc == 0, said
    host(f"{PSQL} -c 'CREATE TABLE t (x int)'")
    return [host(f"{PSQL} -c 'INSERT INTO t VALUES ({row})'; sleep 0.2; {NOW}; sleep 0.2").strip() for row in (1, 2, 3)]


def command(host, words):
    """Exit status and output of the command."""
    rc, _newline, said = host(f"shipshape {words} > /tmp/out 2>&1 && rc=0 || rc=$?; echo $rc; cat /tmp/out").partition(
        "\n"
    )
    return int(rc), said


def check(host, words="--timeout 5"):
    rc, said = command(host, f"backup pitr check {words}")
    return rc, sorted(re.findall(r"^([A-Z_]+): ", said, re.MULTILINE)), said


def state(host):
    """What must not change: rows, when the server was started, its folder and the app."""
    return host(
        f"{ROWS}; {PSQL} -c 'SELECT pg_is_in_recovery(), system_identifier FROM pg_control_system()'; ls {DATA};"
        " systemctl is-active shop; ls /var/lib/shipshape/backup"
    )


def is_fine(host):
    assert check(host, "--timeout 30")[:2] == (0, [])


def test_recovery_to_a_time_and_forth_again(host, times):
    rc, said = command(host, f"restore pitr --target-time '{times[1]}' --yes")
    assert rc == 0, said
    assert "within the 3600 s" in said
    assert "timeline 2, databases postgres, template1" in said
    assert host(ROWS).strip() == "1,2"
    assert host("systemctl is-active shop").strip() == "active"
    # What was there before is kept, and the server takes writes.
    before = said.partition("is kept as ")[2].partition(";")[0]
    assert "PG_VERSION" in host(f"ls {before}")
    host(f"{PSQL} -c 'INSERT INTO t VALUES (9)'")
    is_fine(host)
    # The time is on the timeline that was left.
    rc, said = command(host, f"restore pitr --target-time '{times[2]}' --yes")
    assert rc == 0, said
    assert host(ROWS).strip() == "1,2,3"
    is_fine(host)
    assert host(f"rm -r {DATA}/main.before-*; ls {DATA}").split() == ["main"]


def test_the_playbook(group, host, times):
    variables = {"restore_confirm": "h", "restore_target_time": times[0]}
    done = group.play("playbooks/restore.yml", variables={**variables, "restore_confirm": "other"})
    assert done.code != 0
    assert host(ROWS).strip() == "1,2,3"
    done = group.play("playbooks/restore.yml", variables=variables)
    assert done.code == 0, done.text
    assert "restored the cluster 17/main" in done.text
    assert host(ROWS).strip() == "1"
    rc, said = command(host, f"restore pitr --target-time '{times[2]}' --yes")
    assert rc == 0, said
    host(f"rm -r {DATA}/main.before-*")


REFUSED = [
    ("2020-01-01 00:00:00+00", "is before the first backup"),
    ("2099-01-01 00:00:00+00", "is in the future"),
    ("2026-11-26 02:00:00", "has no time zone"),
    ("yesterday", "is not a time"),
]


@pytest.mark.parametrize(("target", "reason"), REFUSED)
def test_a_time_that_cannot_be_is_refused_before_anything_stops(host, times, target, reason):
    started = host(f"{PSQL} -c 'SELECT pg_postmaster_start_time()'")
    before = state(host)
    rc, said = command(host, f"restore pitr --target-time '{target}' --yes")
    assert (rc, reason in said) == (1, True), said
    assert host(f"{PSQL} -c 'SELECT pg_postmaster_start_time()'") == started
    assert state(host) == before


def test_nothing_is_done_without_yes(host, times):
    before = state(host)
    rc, said = command(host, f"restore pitr --target-time '{times[1]}' < /dev/null")
    assert (rc, "Nothing was done: add --yes" in said) == (1, True), said
    assert state(host) == before


# A file of the first backup, and WAL that the recovery needs.
BACKUPS = f"{REPOSITORY}/backup/db1-example-com"
WAL = f"{REPOSITORY}/archive/db1-example-com/17-1"
BREAKS = {
    "the repository is gone": (
        f"mv {REPOSITORY} /srv/elsewhere", f"mv /srv/elsewhere {REPOSITORY}", "missing stanza path",
    ),
    "the backup is broken": (
        f"cp -a {BACKUPS} /srv/whole; find {BACKUPS}/*F/ -name 'backup.manifest*' -exec truncate -s 1000 {{}} +",
        f"rm -r {BACKUPS}; mv /srv/whole {BACKUPS}",
        "restore 2",
    ),
    "its WAL is gone": (
        f"mv {WAL}/0000000100000000 /srv/wal",
        f"mv /srv/wal {WAL}/0000000100000000",
        "the server did not get to the target",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", BREAKS)
def test_a_recovery_that_fails_leaves_everything(host, times, fault):
    make, mend, reason = BREAKS[fault]
    before = state(host)
    host(make)
    try:
        rc, said = command(host, f"restore pitr --target-time '{times[1]}' --yes")
    finally:
        host(mend)
    assert (rc, reason in said) == (1, True), said
    assert state(host) == before
    is_fine(host)


@pytest.mark.parametrize("moment", ["stops postgresql", "restores 2", "recovers to the target"])
def test_what_a_killed_recovery_left_is_mended(host, times, moment):
    before = state(host)
    # The program is the shell's own child: sh becomes python by exec.
    said = host(
        f"shipshape restore pitr --target-time '{times[1]}' --yes > /tmp/killed 2>&1 & pid=$!\n"
        f"until grep -q '{moment}' /tmp/killed; do sleep 0.02; done; sleep 0.05\n"
        "kill -9 $pid; wait $pid || true; cat /tmp/killed"
    )
    assert "restored the cluster" not in said
    assert "pitr-restore.json" in host("ls /var/lib/shipshape/backup")
    assert "RESTORE_LEFT" in check(host)[1]
    rc, said = command(host, f"restore pitr --target-time '{times[1]}' --yes")
    assert (rc, "`shipshape restore mend`" in said) == (1, True), said
    rc, said = command(host, "restore mend --yes")
    assert (rc, "what was there before is back" in said) == (0, True), said
    host(f"rm -rf {DATA}/main.unfinished-*")
    assert state(host) == before
    is_fine(host)


def test_an_archive_that_fails_is_told_and_fills_no_disk(host, times):
    is_fine(host)
    # As a repository that is full or lost would; root's own writes do not fail.
    host(f"chown -R root {REPOSITORY}/archive; chmod -R go-w {REPOSITORY}/archive")
    switch = "SELECT pg_switch_wal() FROM (SELECT pg_logical_emit_message(false, 'x', 'x')) AS s"
    try:
        host(f'for n in $(seq 12); do {PSQL} -c "{switch}" >/dev/null; done')
        rc, names, said = check(host)
        assert (rc, names) == (1, ["ARCHIVE_FAILING"]), said
        assert "Permission denied" in said
        assert "wait in pg_wal, and from 64.0 MiB on WAL is dropped" in said

        def bounded():
            count = host(f"ls {DATA}/main/pg_wal/archive_status | grep -c 'ready$' || true")
            return int(count) * 16 <= 64 + 16

        until(bounded, 60, "the queue is at its limit")
        beats = "grep -c 'GET /beat/fail' || true"
        rc, _names, _said = check(host, "--timeout 5 --quiet")
        assert rc == 1
        assert int(host(f"journalctl -u beats --no-pager | {beats}")) >= 1
        assert "ARCHIVE_FAILING" in host("journalctl -t shipshape-backup --no-pager")
        metrics = host("cat /var/lib/prometheus/node-exporter/shipshape_pitr.prom")
        assert 'finding{id="ARCHIVE_FAILING"} 1' in metrics
        assert "shipshape_pitr_ok 0" in metrics
    finally:
        host(f"chown -R postgres {REPOSITORY}/archive; chmod -R u+w {REPOSITORY}/archive")
    # It works again, and what was dropped is missing until there is a new backup.
    rc, names, said = check(host, "--timeout 90")
    assert (rc, names) == (1, ["WAL_GAP"]), said
    rc, said = command(host, "backup pitr run")
    assert rc == 0, said
    is_fine(host)
    assert "shipshape_pitr_ok 1" in host("cat /var/lib/prometheus/node-exporter/shipshape_pitr.prom")


def test_a_full_repository(host, times):
    fill = f"mount -t tmpfs -o size=$(($(du -sk {REPOSITORY} | cut -f1) + 3000))k none /mnt; cp -a {REPOSITORY}/. /mnt/"
    host(f"{fill}; chown postgres: /mnt; mount --move /mnt {REPOSITORY}")
    try:
        rc, names, said = check(host, "--timeout 30")
        assert (rc, names) == (1, ["NO_SPACE"]), said
        host(f"dd if=/dev/zero of={REPOSITORY}/full bs=1k status=none || true")
        rc, names, said = check(host)
        assert (rc, names) == (1, ["ARCHIVE_FAILING", "NO_SPACE"]), said
        assert "No space left" in said
    finally:
        host(f"umount {REPOSITORY}")
    # The segments that went into the tmpfs are gone with it.
    rc, said = command(host, "backup pitr run")
    assert rc == 0, said
    is_fine(host)


def test_a_server_that_is_down_is_not_well(host, times):
    host("systemctl stop postgresql@17-main")
    try:
        rc, names, said = check(host)
        assert (rc, names) == (2, ["NOT_READABLE"]), said
    finally:
        host("systemctl start postgresql@17-main")
    is_fine(host)


def test_no_secret_is_for_everybody(host, times):
    assert host("stat -c '%a %U:%G' /etc/pgbackrest/pgbackrest.conf").strip() == "640 root:postgres"
    told = "/etc/shipshape /var/lib/shipshape /var/log/pgbackrest /var/log/postgresql /etc/postgresql /etc/cron.d"
    assert host(f"grep -rl {SECRET} {told} || true; journalctl --no-pager | grep {SECRET} || true") == ""
    assert host(f"grep -rl {SECRET} {REPOSITORY} || true") == ""


def test_the_role_refuses_an_empty_repository_and_takes_archiving_back(group, host, times):
    host(f"mv {REPOSITORY}/archive {REPOSITORY}/hidden; mv {REPOSITORY}/backup {REPOSITORY}/out")
    done = group.play(PLAY, variables={"backup_pitr": True})
    assert done.code != 0
    assert "has no stanza db1-example-com, and had one" in done.text
    host(f"mv {REPOSITORY}/hidden {REPOSITORY}/archive; mv {REPOSITORY}/out {REPOSITORY}/backup")
    done = group.play(PLAY, variables={"backup_pitr": False, "backup_pitr_restart": "never"})
    assert done.code == 0, done.text
    assert "after a restart" in done.text
    assert host(f"{PSQL} -c 'SHOW archive_command'").strip() == "/bin/true"
    done = group.play(PLAY, variables={"backup_pitr": False})
    assert done.code == 0, done.text
    assert host(f"{PSQL} -c 'SHOW archive_mode' -c 'SHOW archive_command'").split("\n")[0] == "off"
    assert (
        host(
            "ls /etc/pgbackrest /etc/postgresql/17/main/conf.d; grep -c pitr /etc/cron.d/shipshape-backup || true"
        ).split("\n")[-2]
        == "0"
    )
    assert "pitr" not in json.loads(host("cat /etc/shipshape/backup.json"))
    assert command(host, "backup pitr check")[0] == 1
    done = group.play(PLAY, variables={"backup_pitr": False})
    assert (done.code, done.changed("h")) == (0, 0), done.text
