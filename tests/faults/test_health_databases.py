"""The probes of databases against real servers, well and broken, as the command and as the module ask them."""

from __future__ import annotations

import shlex

import pytest

from .conftest import until
from .health import probed, reported

# Connections that are held until the unit is stopped, in a transaction or not.
HOLD = """
import sys, time, psycopg
held = [psycopg.connect(user="postgres", autocommit=sys.argv[2] == "idle") for _ in range(int(sys.argv[1]))]
for connection in held:
    connection.execute("SELECT 1")
time.sleep(600)
"""
SERVE = """
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends postgresql redis-server python3-psycopg python3-redis >/dev/null 2>&1
cd /etc/postgresql/*/main
printf 'shipshape root postgres\\nshipshape postgres postgres\\n' >> pg_ident.conf
sed -i '1i local all postgres peer map=shipshape' pg_hba.conf
printf 'max_connections = 20\\nwal_receiver_timeout = 2s\\n' > conf.d/test.conf
systemctl restart postgresql
psql -qU postgres -c "CREATE ROLE app LOGIN PASSWORD 'right-word'"
redis-cli ACL SETUSER monitor on '>right-word' +info +ping >/dev/null
cd /root
umask 077
echo right-word > right
echo wrong-word > wrong
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out cert.pem -days 2 \\
    -subj /CN=test -addext subjectAltName=IP:127.0.0.1 2>/dev/null
"""
POSTGRES = {"name": "x", "type": "postgres", "timeout": 2}
REDIS = {"name": "x", "type": "redis", "timeout": 2}
APP = {**POSTGRES, "host": "127.0.0.1", "user": "app", "password_file": "/root/right"}
MONITOR = {**REDIS, "user": "monitor", "password_file": "/root/right"}
both = pytest.mark.parametrize("name", ["d12", "d13"])


def asked(hosts, name, *checks):
    rows, output = reported(hosts, name, *checks)
    assert "right-word" not in output
    assert "wrong-word" not in output
    return rows


def ask(hosts, name, check):
    row = asked(hosts, name, check)[0]
    return row["status"], row["detail"]


def unit(name, command):
    """A command in the background, that `systemctl stop` ends."""
    return f"systemd-run --quiet --collect --unit={name} {command}"


@pytest.fixture(scope="module")
def served(hosts):
    """Both servers on both hosts, and what the probes said before anything was there."""
    hosts.bring_command()
    hosts.shells(dict.fromkeys(hosts.names, f"echo {shlex.quote(HOLD)} > /var/lib/hold.py"))
    hosts.bare = {name: asked(hosts, name, POSTGRES, REDIS, {"type": "disk"}) for name in hosts.names}
    hosts.shells(dict.fromkeys(hosts.names, SERVE))
    return hosts


@both
def test_a_missing_library_is_named_and_the_other_checks_still_run(served, name):
    rows = served.bare[name]
    assert [row["status"] for row in rows] == ["unhealthy", "unhealthy", "healthy"]
    assert rows[0]["detail"] == "needs python3-psycopg: /usr/bin/python3 cannot import psycopg"
    assert rows[1]["detail"] == "needs python3-redis: /usr/bin/python3 cannot import redis"


@both
def test_healthy(served, name):
    wanted = {**POSTGRES, "role": "primary", "query": "SELECT 40 + 2", "expect": "^42$"}
    rows = asked(served, name, wanted, {**REDIS, "role": "primary"}, APP, MONITOR)
    assert [row["status"] for row in rows] == ["healthy"] * 4, rows
    version = {"d12": ("15.", "7.0."), "d13": ("17.", "8.0.")}[name]
    assert rows[0]["detail"].startswith(f"PostgreSQL {version[0]}")
    assert rows[0]["detail"].endswith(" of 17 connections used")
    assert rows[1]["detail"].startswith(f"Redis {version[1]}")
    assert "transactions of others not seen (grant pg_read_all_stats to app)" in rows[2]["detail"]


def test_the_module_says_the_same(served):
    checks = [{**POSTGRES, "name": "database"}, {**REDIS, "name": "cache"}]
    run = probed(served, *checks)
    assert run.output.count("of 17 connections used") == run.output.count("used, no maxmemory") == 2


@both
def test_stopped(served, name):
    stop = "systemctl stop postgresql redis-server"
    with served.broken(name, stop, "systemctl start postgresql redis-server"):
        rows = asked(served, name, POSTGRES, REDIS, APP)
    assert [row["status"] for row in rows] == ["unhealthy"] * 3
    assert '"/var/run/postgresql/.s.PGSQL.5432" failed: No such file or directory' in rows[0]["detail"]
    assert "Connection refused" in rows[1]["detail"]
    assert "Connection refused" in rows[2]["detail"]
    assert asked(served, name, POSTGRES)[0]["status"] == "healthy"


@both
def test_frozen(served, name):
    """The kernel still accepts connections, and nobody answers."""
    units = "postgresql@*-main.service redis-server.service"
    with served.broken(name, f"systemctl kill -s STOP {units}", f"systemctl kill -s CONT {units}"):
        rows = asked(served, name, POSTGRES, REDIS)
    assert [row["detail"] for row in rows] == ["no answer within 2 s"] * 2
    assert all(row["elapsed_ms"] < 2500 for row in rows)


@both
def test_a_query_that_takes_too_long(served, name):
    assert ask(served, name, {**POSTGRES, "query": "SELECT pg_sleep(60)"}) == ("unhealthy", "no answer within 2 s")
    count = "psql -qAtU postgres -c \"SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60%'\""
    until(lambda: served.shell(name, count).strip() == "1", 10, "the query is cancelled")


@both
def test_a_wrong_password(served, name):
    rows = asked(served, name, {**APP, "password_file": "/root/wrong"}, {**MONITOR, "password_file": "/root/wrong"})
    assert [row["status"] for row in rows] == ["unhealthy"] * 2
    assert 'password authentication failed for user "app"' in rows[0]["detail"]
    assert "invalid username-password pair" in rows[1]["detail"]


@both
def test_a_query_cannot_write(served, name):
    status, detail = ask(served, name, {**POSTGRES, "query": "CREATE TABLE probe (id int)"})
    assert (status, "cannot execute CREATE TABLE in a read-only transaction" in detail) == ("unhealthy", True)


@both
@pytest.mark.parametrize(("count", "status"), [(14, "degraded"), (17, "unhealthy")])
def test_connections_nearly_used_up(served, name, count, status):
    hold = unit("hold", f"--uid=postgres python3 /var/lib/hold.py {count} idle")
    with served.broken(name, hold, "systemctl stop hold"):
        until(lambda: f"{count} of 17 connections used (" in ask(served, name, POSTGRES)[1], 10, "the connections")
        rows = asked(served, name, POSTGRES, {**APP, "unhealthy_percent": 100})
    assert rows[0]["status"] == status
    # An ordinary user is refused as soon as only the places of superusers are left.
    assert ("remaining connection slots are reserved" in rows[1]["detail"]) == (count == 17), rows


@both
def test_a_transaction_that_is_left_open(served, name):
    hold = unit("hold", "--uid=postgres python3 /var/lib/hold.py 1 open")
    check = {**POSTGRES, "degraded_transaction_seconds": 1}
    with served.broken(name, hold, "systemctl stop hold"):
        until(lambda: ask(served, name, check)[0] == "degraded", 10, "the transaction is old")
        rows = asked(served, name, check, {**check, "unhealthy_transaction_seconds": 1}, POSTGRES)
    assert [row["status"] for row in rows] == ["degraded", "unhealthy", "healthy"]
    assert "a transaction is open for" in rows[0]["detail"]
    assert "(idle in transaction in postgres, pid " in rows[0]["detail"]


@both
def test_tls_of_postgres(served, name):
    trusted = {**APP, "sslmode": "verify-ca", "ca_path": "/etc/ssl/certs/ssl-cert-snakeoil.pem"}
    assert ask(served, name, trusted)[0] == "healthy"
    status, detail = ask(served, name, {**trusted, "ca_path": "/root/cert.pem"})
    assert (status, "certificate verify failed" in detail) == ("unhealthy", True)


@both
def test_tls_of_redis(served, name):
    serve = "redis-server --port 0 --tls-port 6390 --tls-cert-file /root/cert.pem --tls-key-file /root/key.pem"
    start = unit("tls", f"{serve} --tls-ca-cert-file /root/cert.pem --save '\"\"' --dir /tmp")
    trusted = {**REDIS, "port": 6390, "tls": True, "ca_path": "/root/cert.pem"}
    known = {**trusted, "client_cert": "/root/cert.pem", "client_key": "/root/key.pem"}
    with served.broken(name, start, "systemctl stop tls"):
        until(lambda: ask(served, name, known)[0] == "healthy", 10, "TLS answers")
        other_name = {**known, "host": "localhost"}
        rows = asked(
            served,
            name,
            {**other_name, "validate_certs": False},
            other_name,
            {**known, "ca_path": None},
            trusted,  # Redis wants a certificate of its clients.
        )
    assert [row["status"] for row in rows] == ["healthy", "unhealthy", "unhealthy", "unhealthy"], rows


@both
def test_a_save_that_fails(served, name):
    fault = "redis-cli set key value >/dev/null; chmod 500 /var/lib/redis; redis-cli bgsave >/dev/null"
    with served.broken(name, fault, "chmod 750 /var/lib/redis; redis-cli bgsave >/dev/null"):
        until(lambda: ask(served, name, REDIS)[0] == "unhealthy", 10, "the save has failed")
        detail = ask(served, name, REDIS)[1]
        assert "the last save to disk (RDB) failed" in detail
        assert "PING is answered by: MISCONF" in detail
    until(lambda: ask(served, name, REDIS)[0] == "healthy", 10, "it is saved again")


@both
def test_a_replica_of_postgres(served, name):
    primary = "systemctl {} postgresql@$(pg_lsclusters -h | awk '/main/ {{print $1}}')-main"
    served.shell(
        name,
        """cd /tmp
        version=$(pg_lsclusters -h | awk '{print $1}')
        pg_createcluster $version replica -p 5433 >/dev/null
        rm -r /var/lib/postgresql/$version/replica
        runuser -u postgres -- pg_basebackup -U postgres -RCS replica -c fast -D /var/lib/postgresql/$version/replica
        printf 'max_connections = 20\\nwal_receiver_timeout = 2s\\n' > /etc/postgresql/$version/replica/conf.d/test.conf
        cp -p /etc/postgresql/$version/main/pg_*.conf /etc/postgresql/$version/replica/
        systemctl start postgresql@$version-replica""",
    )
    replica = {**POSTGRES, "port": 5433, "role": "replica"}
    until(lambda: ask(served, name, replica)[0] == "healthy", 10, "it streams")
    rows = asked(served, name, replica, {**replica, "role": "primary"}, POSTGRES)
    assert [row["status"] for row in rows] == ["healthy", "unhealthy", "healthy"], rows
    assert " of 17 connections used, lag 0 s" in rows[0]["detail"]
    assert " of 17 connections used, replicas: 1, lag " in rows[2]["detail"]
    with served.broken(name, primary.format("stop"), primary.format("start")):
        status, detail = ask(served, name, replica)
        assert (status, "nothing streams from a primary" in detail) == ("degraded", True)
    # What the slot keeps for a replica that is gone.
    served.shell(
        name, "systemctl stop postgresql@*-replica.service; psql -qU postgres -c 'SELECT pg_switch_wal()' >/dev/null"
    )
    served.shell(name, "psql -qU postgres -c 'CREATE TABLE t AS SELECT 1; SELECT pg_switch_wal()' >/dev/null")
    rows = asked(served, name, {**POSTGRES, "degraded_slot_mib": 1}, POSTGRES)
    assert [row["status"] for row in rows] == ["degraded", "healthy"], rows
    assert "slot replica keeps" in rows[0]["detail"]


@both
def test_a_replica_of_redis(served, name):
    start = unit("replica", "redis-server --port 6380 --replicaof 127.0.0.1 6379 --save '\"\"' --dir /tmp")
    replica = {**REDIS, "port": 6380, "role": "replica"}
    with served.broken(name, start, "systemctl stop replica"):
        until(lambda: ask(served, name, replica)[0] == "healthy", 15, "it has copied all data")
        with served.broken(name, "systemctl stop redis-server", "systemctl start redis-server"):
            until(lambda: ask(served, name, replica)[0] == "unhealthy", 10, "the link is down")
            assert "the link to the primary is down" in ask(served, name, replica)[1]
