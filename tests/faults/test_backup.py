"""No silent success, no partial set under a final name, and a next run that is fine, whatever befell the last one."""

from __future__ import annotations

import json

import pytest

from .conftest import Group

READY = "until redis-cli ping >/dev/null 2>&1; do sleep 0.1; done"
PACKAGES = "postgresql redis-server python3-psycopg restic sqlite3"
BASE = {
    "host": "db1",
    "components": [
        {"name": "postgresql", "type": "postgresql"},
        {"name": "redis", "type": "redis", "host": "127.0.0.1", "user": "", "password_file": ""},
        {"name": "app", "type": "sqlite", "path": "/srv/app.db"},
        {"name": "etc", "type": "files", "paths": ["/etc/redis"]},
    ],
    "schedules": {"daily": {"cron": "0 2 * * *", "keep_last": 2}},
}
SETUP = f"""
export DEBIAN_FRONTEND=noninteractive; apt-get update -qq
apt-get install -yqq --no-install-recommends {PACKAGES} >/dev/null 2>&1
mkdir -p /etc/shipshape; cd /
runuser -u postgres -- psql -q -c "CREATE ROLE shop LOGIN PASSWORD 'sesame-of-shop'" \\
  -c "CREATE DATABASE shop OWNER shop"
runuser -u postgres -- psql -q -d shop -c "CREATE TABLE orders AS SELECT g AS id, repeat(md5(g::text), 8) AS what
  FROM generate_series(1, 100000) g" -c "ALTER TABLE orders OWNER TO shop"
sed -i 's/^repl-diskless-sync-delay .*/repl-diskless-sync-delay 0/' /etc/redis/redis.conf
systemctl restart redis-server; {READY}
seq 1000 | awk '{{print "SET key:" $1 " v" $1}}' | redis-cli --pipe >/dev/null
sqlite3 /srv/app.db "CREATE TABLE t (x); INSERT INTO t VALUES (1), (2)"
echo hunter-two > /etc/shipshape/copy.password; chmod 600 /etc/shipshape/copy.password
"""
COPY = {
    "name": "away",
    "repository": "/srv/away",
    "password_file": "/etc/shipshape/copy.password",
    "escrow": "the safe",
    "keep_last": 5,
}


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    group = Group("faults-backup", tmp_path_factory.mktemp("f"), h="trixie")
    group.bring_command()
    group.shell("h", SETUP)
    yield lambda script: group.shell("h", script)
    group.down()


def configure(host, **changes):
    text = json.dumps({**BASE, **changes})
    host(f"cat > /etc/shipshape/backup.json <<'END'\n{text}\nEND\nchmod 600 /etc/shipshape/backup.json")


def backup(host, *words, before="", after=""):
    """Exit status, output, and the complete and partial sets that are there afterwards."""
    run = f"shipshape backup run --schedule daily {' '.join(words)} > /tmp/out 2>&1 && rc=0 || rc=$?"
    look = "echo $rc; ls -A /var/backups/shipshape/sets 2>/dev/null | tr '\\n' ' '; echo; cat /tmp/out"
    rc, names, *said = host(f"{before}\n{run}\n{after}\n{look}").split("\n")
    return int(rc), names.split(), " ".join(said)


def is_fine(host):
    rc, names, said = backup(host)
    assert rc == 0, said
    assert not [name for name in names if not name.endswith("Z")]
    return names


def test_a_run_is_fine_and_keeps_as_many_as_it_should(host):
    configure(host, copies=[COPY], copies_min=2)
    for _each in range(3):
        names = is_fine(host)
    assert len(names) == 2


def test_a_password_is_never_in_the_output_nor_among_the_processes(host):
    assert "hunter-two" not in host("journalctl -t shipshape-backup --no-pager; cat /var/lib/shipshape/backup/*")


FAULTS = {
    "wrong password": (
        "echo '127.0.0.1:5432:*:shop:wrong' > /etc/shipshape/pgpass; chmod 600 /etc/shipshape/pgpass",
        {"components": [{"name": "pg", "type": "postgresql", "host": "127.0.0.1", "user": "shop",
                         "passfile": "/etc/shipshape/pgpass"}]},
        "password authentication failed",
        "",
    ),
    "server down": ("systemctl stop postgresql@17-main", {}, "cannot log in", "systemctl start postgresql@17-main"),
    "redis down": ("systemctl stop redis-server", {}, "Connection refused", f"systemctl start redis-server; {READY}"),
    "a program that fails late": (
        "",
        {"components": [{"name": "x", "type": "command", "argv": ["sh", "-c", "echo half; exit 7"]}]},
        "ended with 7",
        "",
    ),
    "a program that says nothing": (
        "", {"components": [{"name": "x", "type": "command", "argv": ["true"]}]}, "it printed 0 bytes", "",
    ),
    "a program without an end": (
        "", {"components": [{"name": "x", "type": "command", "argv": ["sleep", "9"], "timeout": 1}]}, "no end", "",
    ),
    "a torn sqlite file": (
        "cp /srv/app.db /srv/torn.db; dd if=/dev/urandom of=/srv/torn.db bs=1 seek=4096 count=999 conv=notrunc status=none",  # noqa: E501
        {"components": [{"name": "torn", "type": "sqlite", "path": "/srv/torn.db"}]},
        "malformed",
        "",
    ),
    "files that are gone": (
        "", {"components": [{"name": "x", "type": "files", "paths": ["/nowhere"]}]}, "no /nowhere", "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_what_cannot_be_backed_up_is_told_and_leaves_nothing(host, fault):
    make, changes, said, mend = FAULTS[fault]
    configure(host)
    before = is_fine(host)
    configure(host, **changes)
    rc, names, output = backup(host, before=make, after=mend)
    assert rc == 1, output
    assert said in output
    assert names == before
    configure(host)
    is_fine(host)


@pytest.mark.parametrize("size", ["64k", "512k", "1m"])
def test_a_full_disk_is_a_failure_and_no_set(host, size):
    configure(host, folder="/mnt/small")
    fill = f"mkdir -p /mnt/small; mount -t tmpfs -o size={size} none /mnt/small"
    run = "shipshape backup run --schedule daily > /tmp/out 2>&1 && rc=0 || rc=$?"
    said = host(f"{fill}; {run}; echo rc=$rc; ls -A /mnt/small/sets; umount /mnt/small; cat /tmp/out")
    assert said.split()[0] == "rc=1"
    assert not [line for line in said.splitlines() if line.startswith("2") and line.endswith("Z")], said
    assert "No space" in said or "make room" in said or "are free" in said, said
    configure(host)
    is_fine(host)


@pytest.mark.parametrize("delay", [0.2, 0.5, 0.8, 1.2, 2.0])
def test_a_killed_run_leaves_no_set_that_is_half(host, delay):
    configure(host, copies=[COPY], copies_min=2)
    before = is_fine(host)
    # The program is the shell's own child: sh becomes python by exec.
    start = "shipshape backup run --schedule daily >/dev/null 2>&1 & pid=$!"
    kill = f"sleep {delay}; kill -9 $pid 2>/dev/null || true; wait $pid || true"
    names = host(f"{start}; {kill}; ls -A /var/backups/shipshape/sets").split()
    complete = [name for name in names if name.endswith("Z")]
    assert set(before) <= set(complete)
    for name in complete:
        host(f"cd /var/backups/shipshape/sets/{name}; python3 -c \"import json, hashlib; "
             "[exit(1) for e in json.load(open('manifest.json'))['artefacts'] "
             "if hashlib.sha256(open(e['name'], 'rb').read()).hexdigest() != e['sha256']]\"")  # fmt: skip
    is_fine(host)


def test_the_server_stops_in_the_middle_of_a_dump(host):
    configure(host)
    before = is_fine(host)
    # The dump waits for the lock, and the server goes under it.
    lock = (
        "runuser -u postgres -- psql -q -d shop -c 'BEGIN; LOCK TABLE orders; SELECT pg_sleep(30)' >/dev/null 2>&1 &"
        " sleep 0.5; (sleep 1.5; systemctl kill --signal=SIGQUIT postgresql@17-main) &"
    )
    rc, names, said = backup(host, before=f"cd /; {lock}", after="systemctl restart postgresql@17-main")
    assert rc == 1, said
    assert names == before
    is_fine(host)


def test_two_runs_at_once(host):
    configure(host, components=[{"name": "x", "type": "command", "argv": ["sh", "-c", "sleep 3; echo x"]}])
    first = "shipshape backup run --schedule daily >/dev/null 2>&1 & sleep 1"
    rc, _names, said = backup(host, before=first, after="wait")
    assert rc == 75
    assert "another run is at it: backup run daily, process" in said
    configure(host)
    is_fine(host)


def test_a_clock_that_jumped_prunes_nothing_and_is_told(host):
    configure(host)
    before = is_fine(host)
    newest = before[-1]
    sets = "/var/backups/shipshape/sets"
    ahead = "20991126T020000Z"
    copy = f"cp -a {sets}/{newest} {sets}/{ahead}; sed -i s/{newest}/{ahead}/ {sets}/{ahead}/manifest.json"
    rc, names, said = backup(host, before=copy, after=f"rm -r {sets}/{ahead}")
    assert rc == 0
    assert "CLOCK" in said
    assert "RETENTION" in said
    assert set(before) < set(names)
    is_fine(host)


def test_copies_that_fail_fail_the_run_and_prune_nothing(host):
    configure(host, copies=[COPY], copies_min=2)
    before = is_fine(host)
    rc, names, said = backup(host, before="mv /srv/away /srv/gone", after="rm -rf /srv/away; mv /srv/gone /srv/away")
    assert rc == 1
    assert "OFFSITE_MISSING" in said
    assert set(before) < set(names)
    rc, _names, said = backup(
        host, before="echo other > /etc/shipshape/copy.password", after="echo hunter-two > /etc/shipshape/copy.password"
    )
    assert rc == 1
    assert "the password is not the repository's" in said
    is_fine(host)


ODD = """
createdb -T template0 --locale-provider=icu --icu-locale=de-u-co-phonebk odd
psql -Xq -d odd -c "CREATE TABLE revisions (x text)" -c "CREATE TABLE t AS SELECT 1 AS a FROM generate_series(1, 9)"
psql -Xq -d odd -c "CREATE UNIQUE INDEX CONCURRENTLY left_over ON t (a)" 2>/dev/null || true
psql -Xq -c "ALTER DATABASE odd SET statement_timeout = '1ms'" \\
  -c "ALTER DATABASE odd SET idle_in_transaction_session_timeout = '1ms'"
"""


def test_a_database_that_is_odd_is_backed_up_and_comes_back_alike(host):
    """An index that was not finished, timeouts that are meant for apps, a table called as a tool's, a locale of ICU."""
    host(f"cd /; cat >/tmp/odd.sh <<'END'\n{ODD}\nEND\nrunuser -u postgres -- sh /tmp/odd.sh")
    configure(host, components=BASE["components"][:1])
    is_fine(host)
    host("shipshape restore db odd --into again --yes")
    look = "SELECT datlocprovider, datlocale FROM pg_database WHERE datname = 'again'"
    assert host(f'cd /; runuser -u postgres -- psql -XqAt -c "{look}"').strip() == "i|de-u-co-phonebk"
    host("cd /; runuser -u postgres -- psql -Xq -c 'DROP DATABASE again' -c 'DROP DATABASE odd'")


def test_a_path_that_is_excluded_is_no_name_elsewhere(host):
    host("mkdir -p /srv/tree/data /srv/tree/srv/tree/data; cd /srv/tree; touch data/a srv/tree/data/b x.log srv/y.log")
    tree = {"name": "tree", "type": "files", "paths": ["/srv/tree"], "exclude": ["/srv/tree/data", "*.log"]}
    configure(host, components=[tree])
    name = is_fine(host)[-1]
    members = host(f"tar -tzf /var/backups/shipshape/sets/{name}/files-tree.tar.gz").split()
    assert "srv/tree/srv/tree/data/b" in members
    assert not [each for each in members if each.endswith((".log", "/a")) or each == "srv/tree/data/"]


LISTEN = r"""
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        print(self.command, self.path, body, flush=True)
        self.send_response(200)
        self.end_headers()
    do_GET = do_POST
    def log_message(self, *_words):
        pass
http.server.HTTPServer(("127.0.0.1", 8099), Handler).serve_forever()
"""


@pytest.mark.parametrize(("change", "rc", "words"), [("rm -f", 0, ""), ("truncate -s 0", 1, "padding with zeros")])
def test_files_that_change_while_they_are_read(host, change, rc, words):
    """One that is gone is not in the set, which says so; of one that was cut the set would hold made-up bytes."""
    configure(host, components=[{"name": "many", "type": "files", "paths": ["/srv/many"]}])
    make = "rm -rf /srv/many; mkdir /srv/many; for n in 1 2 3 4; do head -c 40M /dev/urandom >/srv/many/$n; done"
    begun = "find /var/backups/shipshape/sets/*.partial -name 'files-many*' -size +1M 2>/dev/null | grep -q ."
    during = f"{make}; (until {begun}; do sleep 0.05; done; {change} /srv/many/*) &"
    found, names, said = backup(host, before=during, after="wait; rm -rf /srv/many")
    assert (found, words in said) == (rc, True), said
    if not rc:
        manifest = json.loads(host(f"cat /var/backups/shipshape/sets/{names[-1]}/manifest.json"))
        assert "File removed before we read it" in manifest["artefacts"][0]["warnings"][0]


def test_who_is_to_be_told_is_told(host):
    host("DEBIAN_FRONTEND=noninteractive apt-get install -yqq --no-install-recommends curl dma >/dev/null 2>&1")
    unit = "systemd-run --quiet --unit=told -p StandardOutput=append:/root/told python3 /root/listen.py"
    ready = "until curl -so /dev/null http://127.0.0.1:8099/; do sleep 0.2; done; : >/root/told"
    host(f"cat >/root/listen.py <<'END'\n{LISTEN}\nEND\n{unit}; {ready}")
    url = "http://127.0.0.1:8099"
    configure(host, notify={"webhook": f"{url}/hook", "ping": f"{url}/ping/7", "mail": "root"})
    is_fine(host)
    assert host("cat /root/told").split() == ["GET", "/ping/7"]
    rc, _names, _said = backup(host, before="systemctl stop redis-server; : >/root/told",
                               after=f"systemctl start redis-server; {READY}")  # fmt: skip
    assert rc == 1
    first, second = host("cat /root/told").splitlines()
    assert first.split() == ["GET", "/ping/7/fail"]
    content = json.loads(second.removeprefix("POST /hook "))
    assert (content["host"], content["ok"]) == ("db1", False)
    assert "Connection refused" in content["text"]
    mail = "until grep -q 'Subject: backup daily on db1: FAILED' /var/mail/root 2>/dev/null; do sleep 0.2; done"
    assert "Connection refused" in host(f'timeout 20 sh -c "{mail}"; cat /var/mail/root; systemctl stop told')


def test_a_restore_that_fails_leaves_the_database(host):
    configure(host)
    name = is_fine(host)[-1]
    sets = "/var/backups/shipshape/sets"
    lie = f'sed -i \'s/"public.orders": 100000/"public.orders": 100001/\' {sets}/{name}/manifest.json'
    psql = "cd /; runuser -u postgres -- psql -qAt"
    lose, count = "-d shop -c 'DELETE FROM orders WHERE id = 1'", "-d shop -c 'SELECT count(*) FROM orders'"
    said = host(f"{lie}; {psql} {lose}; shipshape restore db shop --yes 2>&1 && echo DONE; {psql} {count}")
    assert host(f"{psql} -c \"SELECT datname FROM pg_database WHERE datname LIKE '%\\_\\_%'\"") == ""
    assert "has 100000 rows, and had 100001" in said
    assert "DONE" not in said
    assert said.split()[-1] == "99999"
    said = host(
        f"rm -r {sets}/{name}; shipshape restore db shop --yes; {psql} -d shop -c 'SELECT count(*) FROM orders'"
    )
    assert said.split()[-1] == "100000"
