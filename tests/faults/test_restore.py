"""Drills, restores of files that no run of ours made, and what the five guides do instead: their commands, word for
word but for names, on the same host. Each of those is run first, to show what it hides, and then ours."""

from __future__ import annotations

import json

import pytest

from .conftest import Group
from .test_backup import BASE, COPY, READY, SETUP, configure, is_fine

SETS = "/var/backups/shipshape/sets"
PSQL = "cd /; runuser -u postgres -- psql -XqAt"
# The folder is postgres', so that its programs can write there, as in the guides.
MORE = f"""
mkdir -p /srv/dumps /srv/guide /var/lib/prometheus/node-exporter; chown postgres /srv/dumps /srv/guide; cd /
apt-get install -yqq --no-install-recommends cron >/dev/null 2>&1
{PSQL} -d shop -c "CREATE SEQUENCE numbers OWNED BY orders.id" -c "ALTER TABLE orders ADD PRIMARY KEY (id)"
# A group that no object names, so that no dump of the database does.
{PSQL} -c "CREATE ROLE staff" -c "GRANT staff TO shop"
"""


@pytest.fixture(scope="module")
def group(tmp_path_factory):
    group = Group("faults-restore", tmp_path_factory.mktemp("f"), h="trixie")
    group.bring_command()
    group.shell("h", SETUP + MORE)
    yield group
    group.down()


@pytest.fixture(scope="module")
def host(group):
    return lambda script: group.shell("h", script)


@pytest.fixture(autouse=True)
def configured(host):
    configure(host)


def tried(host, command, after=""):
    """Exit status and output of one command, and what a second one says afterwards."""
    said = host(f"({command}) >/tmp/said 2>&1 && rc=0 || rc=$?; echo $rc; {after or ':'}; echo ---; cat /tmp/said")
    status, _newline, rest = said.partition("\n")
    seen, _line, output = rest.partition("---\n")
    return int(status), " ".join(output.split()), seen.strip()


def rows(host, database="shop"):
    return int(host(f"{PSQL} -d {database} -c 'SELECT count(*) FROM orders'"))


# Drills


def drilled(host, *words):
    rc, said, _seen = tried(host, f"shipshape backup drill --json {' '.join(words)}")
    assert said.startswith("{"), said
    return rc, json.loads(said)


def test_a_drill_without_a_set_is_no_success(host):
    rc, said, _seen = tried(host, "shipshape backup drill")
    assert rc == 1
    assert "there is no set" in said


def test_a_drill_brings_the_copy_restores_it_and_times_it(host):
    configure(host, copies=[COPY], copies_min=2)
    name = is_fine(host)[-1]
    host(f"mv {SETS}/{name}/postgresql-shop.dump /root/shop.dump")  # what is here is not what is drilled
    rc, report = drilled(host)
    host(f"mv /root/shop.dump {SETS}/{name}/postgresql-shop.dump")
    assert (rc, report["verdict"], report["findings"]) == (0, "passed", []), report
    assert [(each["id"], each["source"]) for each in report["sets"]] == [(name, "away")]
    assert 0 < report["rto_seconds"] < 3600
    assert 0 < report["rpo_seconds"] < 3600
    assert host("ls /var/lib/shipshape/backup/drill 2>/dev/null || true") == ""
    # Here the same set is as good.
    rc, report = drilled(host, "--from", "here", "--level", "rows")
    assert (rc, report["sets"][0]["source"]) == (0, "here"), report
    table = host("shipshape backup drill --list").splitlines()
    assert [line.split()[2:4] for line in table[1:]] == [["passed", "here"], ["passed", "away"]]
    metrics = host("cat /var/lib/prometheus/node-exporter/shipshape_drill.prom || true")
    assert metrics == ""  # no metrics_file is configured


def test_metrics_of_a_drill(host):
    configure(host, metrics_file="/var/lib/prometheus/node-exporter/shipshape_backup.prom")
    is_fine(host)
    assert drilled(host, "--level", "checksum")[0] == 0
    metrics = host("cat /var/lib/prometheus/node-exporter/shipshape_drill.prom")
    assert 'shipshape_verify_verdict{series="drill",level="checksum",verdict="passed"} 1\n' in metrics
    assert 'shipshape_verify_rto_target_seconds{series="drill"} 3600\n' in metrics


@pytest.mark.parametrize(
    ("changes", "found"), [({"rto_seconds": 1}, "RTO_EXCEEDED"), ({"rpo_seconds": 1}, "RPO_EXCEEDED"), ({}, None)]
)
def test_a_drill_is_held_against_its_targets(host, changes, found):
    configure(host)
    is_fine(host)
    configure(host, **changes)
    rc, report = drilled(host, "--level", "restore")
    assert (rc, [each["id"] for each in report["findings"]]) == ((1, [found]) if found else (0, []))


def test_a_drill_finds_a_broken_copy_and_a_missing_one(host):
    configure(host, copies=[COPY], copies_min=2)
    is_fine(host)
    host("cp -a /srv/away /srv/kept; find /srv/away/data -type f | while read -r p; do chmod u+w $p;"
         " printf x | dd of=$p bs=1 seek=42 conv=notrunc status=none; done")  # fmt: skip
    rc, report = drilled(host)
    host("rm -rf /srv/away; mv /srv/kept /srv/away")
    assert (rc, report["verdict"], bool(report["findings"])) == (1, "failed", True)
    # The history has it, too.
    assert host("shipshape backup drill --list").splitlines()[1].split()[2] == "failed"
    rc, report = drilled(host, "--from", "here", "--level", "checksum")
    assert (rc, report["findings"]) == (0, [])
    name = is_fine(host)[-1]
    restic = "restic -r /srv/away --password-file /etc/shipshape/copy.password"
    newest = f"{restic} snapshots --json --path {SETS}/{name}"
    read = "python3 -c 'import json, sys; print(json.load(sys.stdin)[0][\"id\"])'"
    host(f"{restic} -q forget $({newest} | {read})")
    rc, report = drilled(host)
    assert (rc, [each["id"] for each in report["findings"]]) == (1, ["OFFSITE_MISSING"])
    is_fine(host)
    assert drilled(host, "--level", "decode")[0] == 0


# Restores


def dump(host, name, *words, then=""):
    host(f"cd /; runuser -u postgres -- pg_dump {' '.join(words)} shop {then} > /srv/dumps/{name}")
    return f"/srv/dumps/{name}"


@pytest.mark.parametrize(
    ("name", "words", "then"),
    [
        ("custom", ["-Fc"], ""),
        ("tar", ["-Ft"], ""),
        ("plain", [], ""),
        ("plain.gz", [], "| gzip"),
        ("custom.zst", ["-Fc", "-Z0"], "| zstd -q"),
    ],
)
def test_a_dump_of_anybodys_comes_back(host, name, words, then):
    host("command -v zstd >/dev/null || apt-get install -yqq zstd >/dev/null 2>&1")
    path = dump(host, name, *words, then=then)
    before = rows(host)
    host(f"{PSQL} -d shop -c 'DELETE FROM orders WHERE id <= 10'")
    beside = tried(host, f"shipshape restore db {path} --into shop_look --yes", f"{PSQL} -d shop_look -c 'SELECT 1'")
    assert (beside[0], beside[2]) == (0, "1"), beside
    assert (rows(host, "shop_look"), rows(host)) == (before, before - 10)
    rc, said, _seen = tried(host, f"shipshape restore db {path} --into shop --yes")
    assert rc == 0, said
    assert "the database of before is kept as shop__before_" in said
    assert rows(host) == before
    owner = "SELECT pg_get_userbyid(datdba) || ' ' || (SELECT tableowner FROM pg_tables WHERE tablename = 'orders')"
    assert host(f"{PSQL} -d shop -c \"{owner} FROM pg_database WHERE datname = 'shop'\"").strip() == "shop shop"
    drop = "SELECT format('DROP DATABASE %I;', datname) FROM pg_database WHERE datname ~ '^shop_(look|_before)'"
    host(f'{PSQL} -c "{drop}" | {PSQL} -f -')


PG_DUMP = "runuser -u postgres -- pg_dump"
BAD = {
    "cut": (f"{PG_DUMP} -Fc shop | head -c 300000", "TRUNCATED"),
    "gzip of nothing": (f"{PG_DUMP} -h 127.0.0.1 -p 9 shop 2>/dev/null | gzip", "EMPTY_ARTEFACT"),
    "of a whole cluster": ("runuser -u postgres -- pg_dumpall", "psql"),
    "with --create": (f"{PG_DUMP} -C shop", "leads into another database"),
    "of a role that is missing": (f"{PG_DUMP} shop | sed 's/OWNER TO shop/OWNER TO gone/'", "the roles gone are"),
    "an error in it": (f"{PG_DUMP} shop | sed 's/^COPY public.orders/COPY nothere/'", "nothere"),
    "no dump": ("tar -C /etc -c redis", "no dump of a database, but tar"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_a_dump_that_is_not_whole_changes_nothing(host, kind):
    command, words = BAD[kind]
    host(f"cd /; ({command}) > /srv/dumps/bad || true")
    before = rows(host)
    names = f'{PSQL} -c "SELECT count(*) FROM pg_database"'
    there = host(names)
    rc, said, _seen = tried(host, "shipshape restore db /srv/dumps/bad --into shop --yes")
    assert rc == 1, said
    if kind != "of a whole cluster":
        assert words in said
    assert (rows(host), host(names)) == (before, there)


def test_a_file_of_a_set_is_restored_by_its_manifest(host):
    name = is_fine(host)[-1]
    before = rows(host)
    rc, said, _seen = tried(host, f"shipshape restore db {SETS}/{name}/postgresql-shop.dump --into shop_two --yes")
    assert rc == 0, said
    assert f"from {name}" in said
    assert rows(host, "shop_two") == before
    rc, said, _seen = tried(host, f"shipshape restore db {SETS}/{name}/postgresql-globals.sql --yes")
    assert (rc, "no dump of a database" in said) == (1, True)
    host(f"{PSQL} -c 'DROP DATABASE shop_two'")


def test_what_playbooks_write_is_put_back_on_request(host):
    parts = [{"name": "mine", "type": "files", "paths": ["/srv/mine"]},
             {"name": "theirs", "type": "files", "paths": ["/srv/theirs"], "on_request": True}]  # fmt: skip
    configure(host, components=parts)
    host("echo old | tee /srv/mine /srv/theirs")
    name = is_fine(host)[-1]
    host("echo new | tee /srv/mine /srv/theirs")
    rc, said, seen = tried(host, f"shipshape restore full {name} --yes", "cat /srv/mine /srv/theirs")
    assert (rc, seen.split()) == (0, ["old", "new"]), said
    assert "files-theirs.tar.gz was left out: it is put back by --with theirs only" in said
    rc, said, seen = tried(host, f"shipshape restore full {name} --yes --with theirs", "cat /srv/mine /srv/theirs")
    assert (rc, seen.split()) == (0, ["old", "old"]), said
    rc, said, _seen = tried(host, f"shipshape restore full {name} --yes --with nobody")
    assert (rc, "--with nobody: the components of this host are mine, theirs" in said) == (1, True)


@pytest.mark.parametrize(("port", "status"), [(6379, 0), (9, 4)])
def test_the_host_is_asked_how_it_is_after_a_restore(host, port, status):
    is_fine(host)
    full = {"name": "disk", "type": "disk", "path": "/", "degraded_percent": 0, "unhealthy_percent": 1}
    checks = {"checks": [{"name": "cache", "type": "tcp", "host": "127.0.0.1", "port": port}, full]}
    host(f"cat >/etc/shipshape/health.json <<'END'\n{json.dumps(checks)}\nEND")
    rc, said, _seen = tried(host, "shipshape restore db shop --yes --health 2")
    host("rm /etc/shipshape/health.json")
    assert rc == status, said
    assert ("restored, and not healthy: cache" in said) == bool(status)
    assert "disk" not in said
    assert "restored postgresql-shop.dump" in said


@pytest.mark.parametrize(
    ("words", "file"),
    [
        ("redis-6379.rdb: restored", "/tmp/out"),
        ("database", "/var/lib/shipshape/backup/restore"),
        ("service", "/var/lib/shipshape/backup/restore"),
        ("dump.rdb.before-", "/var/lib/shipshape/backup/restore"),
    ],
)
def test_a_restore_that_is_killed_is_told_and_put_back(host, words, file):
    """Wherever it is hit: each part is the old or the new one, the next run knows, and one command puts it back."""
    configure(host, apps=[{"name": "shop", "databases": ["shop"], "units": ["shop.service"], "containers": False}])
    unit = "[Service]\nExecStart=sleep infinity\n"
    host(f"printf '{unit}' >/etc/systemd/system/shop.service; systemctl daemon-reload; systemctl start shop")
    name = is_fine(host)[-1]
    before = rows(host)
    host(f"{PSQL} -d shop -c 'DELETE FROM orders WHERE id <= 7'; redis-cli set since 1 >/dev/null")
    start = f": >/tmp/out; shipshape restore full {name} --yes --no-safety >/tmp/out 2>&1 & pid=$!"
    wait = f"until grep -rqs '{words}' {file}; do sleep 0.01; done"
    host(f'{start}; timeout 30 sh -c "{wait}"; kill -9 $pid; wait $pid || true')
    begun = file != "/tmp/out"
    only = [each for each in BASE["components"] if each["type"] == "sqlite"]
    configure(host, components=only)
    rc, said, _seen = tried(host, "shipshape backup run --schedule daily")
    assert (rc, "`shipshape restore mend`" in said) == (int(begun), begun), said
    configure(host, apps=[{"name": "shop", "databases": ["shop"], "units": ["shop.service"], "containers": False}])
    rc, said, _seen = tried(host, f"shipshape restore full {name} --yes")
    assert (rc, "nothing was done, as a restore" in said) == ((1, True) if begun else (0, False)), said
    if not begun:
        host(f"{PSQL} -d shop -c 'DELETE FROM orders WHERE id <= 7'; redis-cli set since 1 >/dev/null")
    rc, said, seen = tried(host, "shipshape restore mend --yes", f"{READY}; redis-cli get since")
    assert (rc, seen) == (0, "1"), said
    assert ("what was there before is back" if begun else "nothing was left of a restore") in said
    assert rows(host) == before - 7
    rc, said, seen = tried(host, f"shipshape restore full {name} --yes --no-safety", "systemctl is-active shop")
    assert (rc, seen) == (0, "active"), said
    assert (rows(host), host("redis-cli exists since").strip()) == (before, "0")
    is_fine(host)
    host("systemctl stop shop; rm /etc/systemd/system/shop.service")


def test_a_restore_that_fails_late_undoes_all_of_it(host):
    """The last part fails: files that the others brought, names of databases and Redis are as they were."""
    configure(host, components=[*BASE["components"][:3], {"name": "mine", "type": "files", "paths": ["/srv/mine"]}])
    host("rm -rf /srv/mine; mkdir /srv/mine; echo old | tee /srv/mine/a /srv/mine/b /srv/mine/z")
    name = is_fine(host)[-1]
    # One is gone, one has other content, and a folder is where a file was, which tar does not replace.
    host("cd /srv/mine; rm a z; echo new >b; mkdir z; touch z/kept; redis-cli set since 1; "
         f"sqlite3 /srv/app.db 'DELETE FROM t'; {PSQL} -d shop -c 'DELETE FROM orders WHERE id <= 7'")  # fmt: skip
    look = (
        "cd /srv/mine; find . | sort; cat b; redis-cli get since; sqlite3 /srv/app.db 'SELECT count(*) FROM t';"
        f" {PSQL} -d shop -c 'SELECT count(*) FROM orders'; {PSQL} -l | cut -d'|' -f1; systemctl is-active redis-server"
    )
    before = host(look)
    rc, said, seen = tried(host, f"shipshape restore full {name} --yes --no-safety", look)
    assert rc == 1, said
    assert "srv/mine/z: Cannot open" in said
    assert "could not be put back" not in said
    assert seen == before.strip()
    host("rm -r /srv/mine/z")
    rc, said, seen = tried(host, f"shipshape restore full {name} --yes --no-safety", "cat /srv/mine/*")
    assert (rc, seen.split()) == (0, ["old"] * 3), said


@pytest.fixture
def killed_among_files(host):
    """A restore of a SQLite file, Redis and large files that is killed while files are written."""

    def kill(*components):
        parts = [*components, {"name": "large", "type": "files", "paths": ["/srv/large"]}]
        configure(host, components=parts)
        host(
            "rm -rf /srv/large; mkdir /srv/large;"
            " for n in 1 2 3 4 5 6; do head -c 60M /dev/urandom >/srv/large/$n; done"
        )
        name = is_fine(host)[-1]
        host("for n in 1 2 3 4 5 6; do echo new >/srv/large/$n; done")
        wait = "until find /srv/large -size +1M | grep -q .; do sleep 0.01; done"
        host(f"shipshape restore full {name} --yes --no-safety >/tmp/out 2>&1 & pid=$!; timeout 60 sh -c '{wait}';"
             " kill -9 $pid; wait $pid || true")  # fmt: skip
        return name

    yield kill
    host("rm -rf /srv/large")


def test_no_program_of_a_killed_restore_goes_on(host, killed_among_files):
    """What it would write later would be over what was put back."""
    killed_among_files()
    rc, said, seen = tried(
        host, "shipshape restore mend --yes", "pgrep -x tar || true; cat /srv/large/* | sort | uniq -c"
    )
    assert (rc, " ".join(seen.split())) == (0, "6 new"), said
    assert host("ls /var/backups/shipshape | grep -c before.*large || true").strip() == "0"


def test_a_log_that_an_app_wrote_meanwhile_is_not_left_beside_the_old_sqlite_file(host, killed_among_files):
    host(
        "rm -f /srv/wal.db*;"
        " sqlite3 /srv/wal.db 'PRAGMA journal_mode=WAL; CREATE TABLE t (x); INSERT INTO t VALUES (1)'"
    )
    killed_among_files({"name": "wal", "type": "sqlite", "path": "/srv/wal.db"})
    writer = (
        'import os, sqlite3; c = sqlite3.connect("/srv/wal.db"); c.execute("PRAGMA journal_mode=WAL");'
        ' c.execute("CREATE TABLE u (y)"); c.executemany("INSERT INTO u VALUES (?)", [(n,) for n in range(9999)]);'
        " c.commit(); os._exit(0)"
    )
    host(f"python3 -c '{writer}'; test -s /srv/wal.db-wal")
    look = "sqlite3 /srv/wal.db 'PRAGMA integrity_check' 'SELECT name FROM sqlite_master' 'SELECT x FROM t'"
    rc, said, seen = tried(host, "shipshape restore mend --yes", look)
    assert (rc, seen.split()) == (0, ["ok", "t", "1"]), said


def test_what_cannot_be_put_back_can_be_given_up(host, killed_among_files):
    killed_among_files()
    host("rm -f /var/backups/shipshape/before-*.tar.gz")
    rc, said, _seen = tried(host, "shipshape restore mend --yes")
    assert (rc, "--give-up" in said) == (1, True), said
    rc, said, seen = tried(
        host, "shipshape restore mend --yes --give-up", "ls -d /var/lib/shipshape/backup/restore.until-*"
    )
    assert (rc, "given up: " in said, seen in said) == (0, True, True), said
    configure(host)
    is_fine(host)


@pytest.mark.parametrize("kind", ["files", "sqlite"])
def test_a_link_where_data_were_is_refused_before_anything_stops(host, kind):
    """An app's account could lead root anywhere by it."""
    parts = {"files": {"name": "mine", "type": "files", "paths": ["/srv/mine"]},
             "sqlite": {"name": "mine", "type": "sqlite", "path": "/srv/mine/app.db"}}  # fmt: skip
    configure(host, components=[parts[kind]])
    host("rm -rf /srv/mine /srv/other; mkdir -p /srv/mine/up /srv/other; sqlite3 /srv/mine/app.db 'CREATE TABLE t (x)'")
    name = is_fine(host)[-1]
    moved = "up" if kind == "files" else "app.db"
    host(f"mv /srv/mine/{moved} /srv/other/; ln -s /srv/other/{moved} /srv/mine/{moved}")
    rc, said, seen = tried(host, f"shipshape restore full {name} --yes --no-safety", f"readlink /srv/mine/{moved}")
    assert (rc, seen, "is a link" in said) == (1, f"/srv/other/{moved}", True), said
    is_fine(host)  # a link can be backed up


def test_redis_that_keeps_nothing_on_disk_has_its_data_of_before(host):
    configure(host, components=[BASE["components"][1], {"name": "mine", "type": "files", "paths": ["/srv/mine"]}])
    host("rm -rf /srv/mine; mkdir /srv/mine; echo x >/srv/mine/z; redis-cli config set save '' >/dev/null")
    name = is_fine(host)[-1]
    host("redis-cli set since2 1 >/dev/null; rm /srv/mine/z; mkdir -p /srv/mine/z/kept")
    rc, said, seen = tried(host, f"shipshape restore full {name} --yes --no-safety", "redis-cli get since2")
    host(f"rm -r /srv/mine/z; systemctl restart redis-server; {READY}")
    assert (rc, seen) == (1, "1"), said


def test_redis_that_cannot_start_does_not_keep_a_host_from_restores(host):
    configure(host)
    name = is_fine(host)[-1]
    host("systemctl stop redis-server; echo 'nonsense yes' >>/etc/redis/redis.conf")
    rc, said, _seen = tried(host, f"shipshape restore full {name} --only redis --yes --no-safety")
    assert rc == 1, said
    rc, beside, _seen = tried(host, "shipshape restore db shop --into shop_two --yes")
    host(f"sed -i /nonsense/d /etc/redis/redis.conf; {PSQL} -c 'DROP DATABASE shop_two';"
         f" systemctl reset-failed redis-server; systemctl start redis-server; {READY}")  # fmt: skip
    assert rc == 0, (said, beside)


def test_redis_that_does_not_come_up_is_restored(host):
    name = is_fine(host)[-1]
    keys = host("redis-cli dbsize").strip()
    host("systemctl stop redis-server; echo broken >/var/lib/redis/dump.rdb")
    command = f"shipshape restore full {name} --only redis --yes"
    rc, said, _seen = tried(host, command)
    assert (rc, "With --no-safety none is made" in said) == (1, True), said
    rc, said, seen = tried(host, f"{command} --no-safety", "redis-cli dbsize")
    assert (rc, seen) == (0, keys), said


def test_the_oldest_of_the_sets_from_before_restores_is_not_pruned_by_its_own_restore(host):
    parts = [{"name": "app", "type": "sqlite", "path": "/srv/app.db"}]
    configure(host, components=parts)
    for _each in range(3):
        host("shipshape backup run --schedule safety --quiet")
    safety = [each["id"] for each in json.loads(host("shipshape backup list --json"))["sets"]
              if each["schedule"] == "safety"]  # fmt: skip
    host("sqlite3 /srv/app.db 'INSERT INTO t VALUES (9)'")
    rc, said, seen = tried(host, f"shipshape restore full {safety[-1]} --yes", f"ls {SETS}")
    assert rc == 0, said
    assert set(safety) <= set(seen.split())
    # The next run of a schedule prunes them.
    is_fine(host)
    assert safety[-1] not in host(f"ls {SETS}").split()


# Copies, of which a restore on another host lives


def test_a_fleet_of_one_name(host):
    """A new host that has the name of a lost one, or two that were given the same, do not write behind each other."""
    parts = [{"name": "app", "type": "sqlite", "path": "/srv/app.db"}]
    copy = {**COPY, "name": "fleet", "repository": "/srv/fleet"}
    configure(host, copies=[copy], copies_min=2, components=parts)
    good = is_fine(host)[-1]
    new = {"folder": "/var/backups/new", "state_folder": "/var/lib/shipshape/new"}
    configure(host, copies=[copy], copies_min=2, components=parts, **new)
    rc, said, _seen = tried(host, "shipshape backup run --schedule daily")
    assert (rc, "it holds 1 sets of db1, and this host remembers none of them" in said) == (1, True), said
    assert host("shipshape backup list --target fleet").split()[0] == good
    assert host("shipshape backup fetch --target fleet").strip() == good
    host("shipshape backup run --schedule daily --quiet")
    # Where nothing is to be brought home, somebody says so.
    newer = {"folder": "/var/backups/newer", "state_folder": "/var/lib/shipshape/newer"}
    configure(host, copies=[copy], copies_min=2, components=parts, **newer)
    host("shipshape backup adopt fleet; shipshape backup run --schedule daily --quiet")
    assert len(host("shipshape backup list --target fleet").splitlines()) == 3
    host("rm -rf /var/backups/new* /var/lib/shipshape/new* /srv/fleet")


def test_a_copy_that_failed_is_made_up_for(host):
    copy = {**COPY, "name": "late", "repository": "/srv/late"}
    configure(host, copies=[copy], copies_min=2)
    is_fine(host)
    host("mv /srv/late /srv/gone")
    rc, said, _seen = tried(host, "shipshape backup run --schedule daily --quiet")
    assert rc == 1, said
    host("mv /srv/gone /srv/late")
    newest = json.loads(host("shipshape backup list --json"))["sets"][0]["id"]
    rc, said, seen = tried(host, "shipshape backup run --missed --quiet", "shipshape backup list --target late")
    assert rc == 0, said
    assert newest in seen
    names = host(f"ls {SETS}")
    # Nothing lacks, nothing is done.
    rc, said, seen = tried(host, "shipshape backup run --missed --quiet", f"ls {SETS}")
    assert (rc, said, seen) == (0, "", names.strip())


def test_a_set_is_proven_as_soon_as_it_is_made(host):
    daily = {**BASE["schedules"]["daily"], "verify": "restore"}
    configure(host, schedules={"daily": daily})
    is_fine(host)
    newest = json.loads(host("shipshape backup list --json"))["sets"][0]
    assert (newest["verified"]["verdict"], newest["verified"]["level"]) == ("passed", "restore"), newest
    # What this host cannot look at is told, and is no failure of the run; who asks for it wants to know.
    program = "/usr/lib/postgresql/17/bin/initdb"
    host(f"mv {program} {program}.gone")
    rc, said, _seen = tried(host, "shipshape backup run --schedule daily")
    asked, _said, _seen = tried(host, "shipshape backup run --schedule daily --verify")
    host(f"mv {program}.gone {program}")
    assert (rc, "UNVERIFIED" in said, asked) == (0, True, 1), said


# The guides


def guide(host, script):
    """A script of a guide: what its exit status says, and what it left."""
    return tried(host, f"cd /srv/guide; rm -rf /srv/guide/*; bash -c '{script}'", "ls /srv/guide | tr '\\n' ' '")


DOWN = "systemctl stop postgresql@17-main"
UP = "systemctl start postgresql@17-main"


def test_guide_v_a_server_that_is_down_makes_a_good_backup(host):
    """S1: the exit status is gzip's, and gzip of nothing is whole."""
    old = 'touch -d "40 days ago" vm_backup_1.sql.gz'
    pipe = "pg_dump -U vm_user -h localhost shop | gzip > vm_backup_2.sql.gz"
    verify = "gunzip -t vm_backup_2.sql.gz"
    clean = 'find . -name "vm_backup_*.sql.gz" -mtime +30 -delete'
    host(DOWN)
    rc, said, left = guide(
        host, f"{old}; {pipe}; if [ $? -eq 0 ]; then {verify} && {clean} && echo uploaded; else exit 1; fi"
    )
    assert (rc, left) == (0, "vm_backup_2.sql.gz"), "the guide's way has been mended"
    assert said.endswith("uploaded")
    assert host("stat -c %s /srv/guide/vm_backup_2.sql.gz").strip() == "20"
    sets = host(f"ls {SETS}")
    rc, said, _seen = tried(host, "shipshape backup run")
    host(UP)
    assert (rc, "cannot log in" in said) == (1, True)
    assert host(f"ls {SETS}") == sets
    # And what the guide made is no backup to us.
    rc, said, _seen = tried(host, "shipshape backup verify --set /srv/guide/vm_backup_2.sql.gz --level exists")
    assert (rc, "EMPTY_ARTEFACT" in said) == (1, True)


def test_guides_o_and_f_a_failed_dump_is_packed_and_the_good_ones_go(host):
    """S1: nothing looks at any exit status at all."""
    script = (
        'touch -d "40 days ago" flagwise_1.sql.gz; pg_dump -h localhost -U x -d shop > flagwise_2.sql;'
        " gzip flagwise_2.sql;"
        ' find . -name "*.sql.gz" -mtime +30 -delete'
    )
    host(DOWN)
    rc, _said, left = guide(host, script)
    host(UP)
    assert (rc, left) == (0, "flagwise_2.sql.gz"), "the guide's way has been mended"
    rc, said, _seen = tried(host, "shipshape backup verify --set /srv/guide/flagwise_2.sql.gz --level exists")
    assert rc == 1, said


def test_guide_v_the_second_line_of_cron_takes_the_first_ones_place(host, group):
    """S2: `crontab -` replaces all there is."""
    renew = "echo '0 12 * * * /usr/bin/certbot renew --quiet' | crontab -"
    host(f"echo '0 2 * * * /opt/scripts/backup-db.sh' | crontab -; {renew}")
    assert "backup" not in host("crontab -l; crontab -r"), "the guide's way has been mended"
    role = [{"hosts": "all", "become": True, "gather_facts": False, "roles": ["shipshape.stack.backup"]}]
    options = {"backup_components": [{"name": "etc", "type": "files", "paths": ["/etc/redis"]}]}
    run = group.play(role, variables=options)
    assert run.code == 0, run.output
    host(renew)
    lines = host("cat /etc/cron.d/shipshape-backup; crontab -r").splitlines()
    assert [line for line in lines if "backup run --schedule daily" in line]
    assert [line for line in lines if "backup drill" in line]
    sets = host(f"ls {SETS}")
    absent = {**options, "backup_state": "absent"}
    assert group.play(role, variables=absent).changed("h") == 1
    assert (
        host("ls /etc/cron.d/shipshape-backup /etc/shipshape/backup /etc/shipshape/backup.json 2>/dev/null || true")
        == ""
    )
    assert host(f"ls {SETS}") == sets
    assert group.play(role, variables=absent).changed("h") == 0


def test_guide_v_a_restore_with_errors_is_a_restore(host):
    """S3 and the guide's recovery: psql goes on after errors, and says 0."""
    host(f"cd /; runuser -u postgres -- pg_dump shop | sed 's/^COPY public.orders/COPY public.nothere/' | gzip"
         f" > /srv/guide.sql.gz; chmod 600 /srv/guide.sql.gz; {PSQL} -c 'CREATE DATABASE tried'")  # fmt: skip
    way = "gunzip -t /srv/guide.sql.gz && gunzip -c /srv/guide.sql.gz | runuser -u postgres -- psql -d tried"
    rc, said, _left = guide(host, way)
    assert rc == 0, "the guide's way has been mended"
    assert "ERROR" in said
    assert rows(host, "tried") == 0
    rc, said, _seen = tried(host, "shipshape backup verify --set /srv/guide.sql.gz --level restore")
    assert (rc, "RESTORE_ERRORS" in said) == (1, True)
    rc, said, _seen = tried(host, "shipshape restore db /srv/guide.sql.gz --into tried --yes")
    assert (rc, "nothere" in said) == (1, True)
    host(f"{PSQL} -c 'DROP DATABASE tried'")


def test_guide_v_redis_reads_another_file_than_the_one_that_was_put_back(host):
    """With the append-only file on, which the guide sets, dump.rdb is never read."""
    again = f"systemctl restart redis-server; {READY}"
    # A server that is told to stop while it writes the first one waits for ever.
    written = "until redis-cli info persistence | grep -q aof_rewrite_in_progress:0; do sleep 0.1; done"
    host(f"redis-cli config set appendonly yes >/dev/null; {written}; redis-cli config rewrite >/dev/null; {again}")
    host("redis-cli set precious 1 >/dev/null; redis-cli --rdb /srv/guide.rdb >/dev/null")
    name = is_fine(host)[-1]
    lose = "redis-cli del precious >/dev/null"
    way = (
        "systemctl stop redis-server; cp /srv/guide.rdb /var/lib/redis/dump.rdb;"
        " chown redis:redis /var/lib/redis/dump.rdb;"
        f" systemctl start redis-server; {READY}"
    )
    rc, _said, seen = tried(host, f"{lose}; {way}", "redis-cli exists precious")
    assert (rc, seen) == (0, "0"), "the guide's way has been mended"
    rc, said, seen = tried(
        host, f"shipshape restore full {name} --only redis --yes --no-safety", "redis-cli exists precious"
    )
    assert (rc, seen) == (0, "1"), said
    host(again)
    assert host("redis-cli exists precious").strip() == "1"


def test_guide_d_a_copy_of_a_live_sqlite_file_lacks_what_was_written(host):
    """S11: what is in the write-ahead log is not in the file."""
    host("rm -f /srv/live.db*; sqlite3 /srv/live.db 'PRAGMA journal_mode=WAL; CREATE TABLE t (x)' >/dev/null")
    writer = (
        'import sqlite3, time; c = sqlite3.connect("/srv/live.db"); c.execute("PRAGMA wal_autocheckpoint=0");'
        ' c.executemany("INSERT INTO t VALUES (?)", [(n,) for n in range(1000)]); c.commit(); time.sleep(30)'
    )
    host(f"python3 -c '{writer}' >/dev/null 2>&1 & sleep 1; echo $! >/run/writer")
    rc, _said, _left = guide(host, "cp /srv/live.db app-1.db")
    count = "sqlite3 /srv/guide/app-1.db 'SELECT count(*) FROM t'"
    assert (rc, host(count).strip()) == (0, "0"), "the guide's way has been mended"
    configure(host, components=[{"name": "live", "type": "sqlite", "path": "/srv/live.db"}])
    name = is_fine(host)[-1]
    host("kill $(cat /run/writer) || true")
    assert host(f"sqlite3 {SETS}/{name}/sqlite-live.db 'SELECT count(*) FROM t'").strip() == "1000"


def test_guides_v_and_d_a_dump_of_one_database_has_no_roles(host):
    """S14: on a new server the owner is not there."""
    name = is_fine(host)[-1]
    host(
        "cd /; runuser -u postgres -- pg_dump -Fc shop > /srv/guide.dump; pg_createcluster 17 other --start >/dev/null"
    )
    port = host("pg_lsclusters -h | awk '$2 == \"other\" {print $3}'").strip()
    other = f"runuser -u postgres -- psql -XqAt -p {port}"
    way = f'{other} -c "CREATE DATABASE shop" && runuser -u postgres -- pg_restore -p {port} -d shop < /srv/guide.dump'
    rc, said, _left = guide(host, way)
    assert (rc, 'role "shop" does not exist' in said) == (1, True), "the guide's way has been mended"
    host(f"{other} -c 'DROP DATABASE shop'")
    # A new host has the configuration of the old one, and its server.
    pg = {"name": "postgresql", "type": "postgresql", "port": int(port)}
    configure(host, components=[pg], apps=[])
    rc, said, _seen = tried(host, f"shipshape restore full {name} --only postgresql --yes --no-safety")
    assert rc == 0, said
    owner = "SELECT tableowner FROM pg_tables WHERE tablename = 'orders'"
    assert host(f'{other} -d shop -c "{owner}"').strip() == "shop"
    host("pg_dropcluster --stop 17 other")
