"""Ten thousand keys that are all there after every change, refusal, kill, power cut and full disk."""

from __future__ import annotations

import json
import subprocess

import pytest

from .conftest import ROOT

ROLE = [
    {
        "hosts": "all",
        "become": True,
        "gather_facts": True,
        "gather_subset": ["!all", "!min", "distribution", "hardware", "network"],
        "roles": ["shipshape.stack.redis"],
    }
]
CLI = (
    "export REDISCLI_AUTH=$(cat /etc/redis/shipshape.password);"
    " R='redis-cli -s /run/redis/shipshape.sock --user shipshape'; "
)
# With a comment in the values of a known form, so that not only the number of keys is right.
FILL = """seq 10000 | awk '{print "SET key:" $1 " value:" $1}' | %s --pipe >/dev/null; """
SAMPLES = " ".join(f"key:{number}" for number in (1, 77, 5000, 9999, 10000))
VALUES = SAMPLES.replace("key", "value").split()
PASSWORD = "a-password-of-the-default-user"
SHOP = {
    "redis_users": [{"name": "shop", "rules": ["~shop:*", "&shop:*", "+@all", "-@dangerous"]}],
    "redis_user_passwords": {"shop": "the-first-password"},
}


def kept(hosts, name):
    lines = hosts.shell(name, f"{CLI} $R dbsize; $R mget {SAMPLES}").split()
    return lines == ["10000", *VALUES] or lines


def run_ids(hosts):
    """What changes when a server is restarted."""
    return hosts.shells(dict.fromkeys(hosts.names, f"{CLI} $R info server | grep run_id"))


def snapshot(hosts):
    """All that a refused change has to leave alone."""
    look = (
        f"{CLI} cat /etc/redis/shipshape.*; stat -c %Y /etc/redis/shipshape.*; $R config get '*' | sort; $R acl list | sort;"
        " $R info server | grep run_id; $R info persistence | grep aof_enabled; ls -A /etc/redis /var/lib/shipshape/config_files;"
        " ls /run | grep shipshape-redis || true"
    )
    return hosts.shells(dict.fromkeys(hosts.names, look))


def converge(hosts, variables=None, *words):
    run = hosts.play(ROLE, *words, variables=variables or {})
    assert run.code == 0, run.output
    assert all(kept(hosts, name) is True for name in hosts.names), run.output
    return run


@pytest.fixture(scope="module")
def stocked(hosts):
    """A server as the package has it, full of keys that were never written to the disk, is taken over."""
    install = (
        "apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -yqq --no-install-recommends redis-server"
        " >/dev/null 2>&1; redis-cli config set save '' >/dev/null; " + FILL % "redis-cli"
    )
    hosts.shells(dict.fromkeys(hosts.names, install))
    run = converge(hosts)
    assert [run.changed(name) for name in hosts.names] == [2, 2]
    return hosts


def test_a_server_with_keys_is_taken_over(stocked):
    again = converge(stocked)
    assert [again.changed(name) for name in stocked.names] == [0, 0]


NO_DISK = {"redis_appendonly": False, "redis_save": []}
# In this order, so that each change is one from the one before.
CHANGES = [
    pytest.param({"redis_appendonly": False}, 0, id="append-off"),
    pytest.param({}, 0, id="append-on"),
    pytest.param({"redis_maxmemory": "64M"}, 0, id="maxmemory"),
    pytest.param({"redis_password": PASSWORD}, 0, id="default-user"),
    pytest.param({"redis_password": f"{PASSWORD}-2", **SHOP}, 0, id="password-and-user"),
    pytest.param({"redis_port": 6390, "redis_bind_addresses": ["*", "-::*"], "redis_tls": True}, 0, id="port-and-tls"),
    pytest.param({"redis_settings": {"databases": 32, "hz": 20}}, 1, id="databases"),
    pytest.param({**NO_DISK, "redis_settings": {"databases": 20}}, 1, id="restart-and-append-off"),
    pytest.param({**NO_DISK, "redis_settings": {"databases": 16}}, 1, id="restart-without-any-file"),
    pytest.param({"redis_settings": {"databases": 24}}, 1, id="restart-and-append-on"),
    pytest.param({}, 1, id="back"),
]


@pytest.mark.parametrize(("variables", "restarts"), CHANGES)
def test_a_change_keeps_every_key(stocked, variables, restarts):
    before = run_ids(stocked)
    run = converge(stocked, variables)
    after = run_ids(stocked)
    assert all(run.changed(name) > 0 for name in stocked.names)
    assert [before[name] != after[name] for name in stocked.names] == [bool(restarts)] * 2
    again = converge(stocked, variables)
    assert [again.changed(name) for name in stocked.names] == [0, 0], again.output


def test_a_restart_waits_where_it_must_not_be(stocked):
    before, variables = run_ids(stocked), {"redis_restart": "never", "redis_settings": {"databases": 32, "hz": 30}}
    run = converge(stocked, variables)
    assert "takes databases at its next start only" in run.text
    assert run_ids(stocked) == before
    assert "30" in stocked.shell("d13", f"{CLI} $R config get hz").split()
    again = converge(stocked, variables)
    assert "takes databases at its next start only" in again.text
    assert [again.changed(name) for name in stocked.names] == [0, 0]
    assert converge(stocked).code == 0


REFUSED = [
    pytest.param({"redis_settings": {"maxmemoryy": "1gb"}}, "maxmemoryy", id="unknown-name"),
    pytest.param({"redis_settings": {"hz": "fast"}}, "'hz fast'", id="bad-value"),
    pytest.param({"redis_settings": {"maxclients": 10_000_000}}, "maxclients 10000000", id="only-the-server-knows"),
    pytest.param(
        {**SHOP, "redis_users": [{"name": "shop", "rules": ["+nosuchcommand"]}]}, "+nosuchcommand", id="bad-rule"
    ),
    pytest.param(
        {"redis_tls": True, "redis_tls_certificate": "/etc/redis/no.crt", "redis_tls_key": "/etc/redis/no.key"},
        "no.key",
        id="unreadable-key",
    ),
    pytest.param({"redis_port": 7777}, "port 7777", id="port-in-use"),
    pytest.param({"redis_bind_addresses": ["192.0.2.77"]}, "192.0.2.77", id="foreign-address"),
    pytest.param({"redis_settings": {"databases": 2}}, "databases 2: there are keys in database 3", id="databases"),
    pytest.param({"redis_settings": {"dir": "/var/lib/redis/sub"}}, "dir /var/lib/redis/sub: the server has", id="dir"),
    pytest.param({"redis_maxmemory": "1M"}, "maxmemory 1048576: the server uses", id="memory-in-use"),
    pytest.param(
        {"redis_purpose": "queue", "redis_maxmemory_policy": "allkeys-lru"}, "jobs of a queue", id="evicted-jobs"
    ),
    pytest.param({"redis_maxmemmory": "1G"}, "did you mean redis_maxmemory", id="misspelt-option"),
    pytest.param({"redis_flavour": "valkey"}, "", id="second-server"),
]


@pytest.fixture(scope="module")
def obstacles(stocked):
    """A port that is taken, a key that the server may not read, and keys in another database."""
    script = (
        "systemd-run --quiet --unit=squatter python3 -m http.server --bind 127.0.0.1 7777; cd /etc/redis;"
        " openssl req -x509 -newkey rsa:2048 -nodes -keyout no.key -out no.crt -days 9 -subj /CN=x 2>/dev/null;"
        f" chmod 644 no.crt; chmod 600 no.key; {CLI} $R -n 3 set other 1"
    )
    stocked.shells(dict.fromkeys(stocked.names, script))
    yield stocked
    stocked.shells(
        dict.fromkeys(stocked.names, f"systemctl stop squatter; rm /etc/redis/no.*; {CLI} $R -n 3 del other")
    )


@pytest.mark.parametrize(("variables", "words"), REFUSED)
def test_what_does_not_work_is_refused_and_nothing_is_touched(obstacles, variables, words):
    before = snapshot(obstacles)
    run = obstacles.play(ROLE, variables=variables)
    assert run.code != 0
    assert run.text.count(words) >= 2, run.output
    assert snapshot(obstacles) == before


def test_a_server_that_does_not_come_back_has_its_old_files_and_keys_again(stocked):
    """Where the scratch server is content, and the real one is not: it may not execute."""
    drop_in = "/etc/systemd/system/redis-server.service.d/zz-broken.conf"
    # Takes hold at the next start, if the new file is there by then.
    script = f"printf '[Service]\\nExecStartPre=/bin/sh -c \"! grep -q databases.31 /etc/redis/shipshape.conf\"\\nExecPaths=/\\n' >{drop_in}"
    stocked.shells(dict.fromkeys(stocked.names, script))
    before = snapshot(stocked)
    run = stocked.play(ROLE, variables={"redis_settings": {"databases": 31}})
    assert run.code != 0
    stocked.shells(dict.fromkeys(stocked.names, f"rm {drop_in}; systemctl daemon-reload"))
    assert "is as it was" in run.text, run.output

    def drop(text):
        return [line for line in text.splitlines() if not line.startswith("run_id")]

    after = snapshot(stocked)
    assert {name: drop(text) for name, text in after.items()} == {name: drop(text) for name, text in before.items()}
    assert all(kept(stocked, name) is True for name in stocked.names)
    assert [converge(stocked).changed(name) for name in stocked.names] == [0, 0]


def test_a_stopped_server_comes_up_with_its_keys(stocked):
    for stop in ("systemctl stop redis-server", "systemctl disable --now --quiet redis-server"):
        converge(stocked, {"redis_appendonly": False})
        stocked.shells(dict.fromkeys(stocked.names, stop))
        assert all(converge(stocked).changed(name) for name in stocked.names)


def test_drift_of_the_running_server_is_taken_back(stocked):
    script = f"{CLI} $R config set maxmemory-policy allkeys-lru hz 50; $R acl setuser thief on nopass '~*' '+@all'"
    stocked.shells(dict.fromkeys(stocked.names, script))
    run = converge(stocked, {}, "--diff")
    assert "+maxmemory-policy noeviction" in run.output
    assert "-user thief on nopass" in run.output
    assert [converge(stocked).changed(name) for name in stocked.names] == [0, 0]


def test_a_full_disk(stocked):
    """On a disk of 3 MB: the append-only file cannot be started, so nothing changes, and no key goes."""
    move = (
        "systemctl stop redis-server; mkdir /mnt/data; mount -t tmpfs -o size=3m,mode=0750,uid=redis,gid=redis none /mnt/data;"
        " cp -a /var/lib/redis/dump.rdb /mnt/data; mount --move /mnt/data /var/lib/redis; systemctl start redis-server;"
    )
    variables = {"redis_appendonly": False}
    converge(stocked, variables)
    stocked.shells(
        dict.fromkeys(stocked.names, move + " dd if=/dev/zero of=/var/lib/redis/fill bs=1k 2>/dev/null || true")
    )
    try:
        before = snapshot(stocked)
        for change, key in (({}, "appendonly yes"), ({**variables, "redis_settings": {"databases": 9}}, "save")):
            run = stocked.play(ROLE, variables=change)
            assert run.code != 0
            assert run.text.count(f"{key}: ") >= 2, run.output
            assert snapshot(stocked) == before
        assert all(kept(stocked, name) is True for name in stocked.names)
    finally:
        back = (
            f"rm /var/lib/redis/fill; {CLI} $R save; systemctl stop redis-server; cp -a /var/lib/redis/dump.rdb /root;"
            " umount /var/lib/redis; cp -a /root/dump.rdb /var/lib/redis; systemctl start redis-server; rmdir /mnt/data"
        )
        stocked.shells(dict.fromkeys(stocked.names, back))
    converge(stocked)


# --- killed at every seam ---------------------------------------------------------------------------------------------

DRIVER = """
import json, os, sys
sys.path.insert(0, "/root/lib")
from ansible_collections.shipshape.stack.plugins.module_utils._config_apply import Tools, recover
from ansible_collections.shipshape.stack.plugins.module_utils import _redis_converge as work, _redis_host as host
from ansible_collections.shipshape.stack.plugins.module_utils._redis_plan import Flavour
from ansible_collections.shipshape.stack.plugins.module_utils._redis_wish import Wish
def hook(point):
    seen.append(point)
    if len(seen) == int(sys.argv[1]):
        os._exit(9)
seen, tools = [], Tools(hook=hook)
recover(tools)
flavour = Flavour("redis")
wish = Wish(flavour, json.loads(sys.argv[2]), [], {}, secret=host.read_secret(flavour.password_file))
work.ensure(wish, tools, False)
print(len(seen))
"""
BASE = {"bind": "127.0.0.1 -::1", "maxmemory": "512mb", "save": "900 1", "appendonly": False}
KILLED = [
    pytest.param(BASE, {**BASE, "appendonly": True}, id="append-on"),
    pytest.param({**BASE, "appendonly": True}, BASE, id="append-off"),
    pytest.param({**BASE, "appendonly": True}, {**BASE, "databases": 9, "save": ""}, id="restart-and-append-off"),
    pytest.param(BASE, {**BASE, "appendonly": True, "databases": 9}, id="restart-and-append-on"),
]
# Prints what is wrong, and at last the number of seams.
EVERY_SEAM = """
set -eu
run() { python3 /root/driver.py "$1" "$2" 2>&1; }
count() { for _ in 1 2 3 4 5 6 7 8 9; do n=$($R dbsize 2>/dev/null) && [ "$n" = 10000 ] && return; sleep 0.3; done; echo "$1: $n keys"; }
run 0 "$1" >/dev/null; seams=$(run 0 "$2")
for seam in $(seq "$seams"); do
    run 0 "$1" >/dev/null
    run "$seam" "$2" >/dev/null && { echo "seam $seam was not reached"; exit; }
    count "seam $seam, killed"
    systemctl kill --signal=KILL redis-server
    sleep 0.3
    count "seam $seam, power cut"
    run 0 "$2" >/dev/null || echo "seam $seam: the next run fails"
    count "seam $seam, converged"
    again=$(run 0 "$2"); [ "$again" = 0 ] || echo "seam $seam: the run after that changes something: $again"
done
echo "$seams seams"
"""


@pytest.fixture(scope="module")
def equipped(stocked):
    """The module's own code on the hosts, with a stop at each of its seams."""
    converge(stocked)
    names = [
        path.name for pattern in ("_config_*", "_redis_*") for path in (ROOT / "plugins/module_utils").glob(pattern)
    ]
    folder = "/root/lib/ansible_collections/shipshape/stack/plugins/module_utils"
    for name in stocked.names:
        packed = subprocess.run(
            ["tar", "-C", str(ROOT / "plugins/module_utils"), "-c", *names], capture_output=True, check=True
        ).stdout
        subprocess.run(
            ["ssh", "-F", str(stocked.state / "ssh_config"), name, f"sudo mkdir -p {folder} && sudo tar -C {folder} -x"],
            input=packed, check=True,
        )  # fmt: skip
        stocked.shell(
            name, f"cat >/root/driver.py <<'END'\n{DRIVER}\nEND\ncat >/root/seams.sh <<'END'\n{CLI}\n{EVERY_SEAM}\nEND"
        )
    return stocked


@pytest.mark.parametrize(("old", "new"), KILLED)
def test_killed_at_any_seam_and_then_the_power_is_cut(equipped, old, new):
    script = f"sh /root/seams.sh '{json.dumps(old)}' '{json.dumps(new)}'"
    said = equipped.shells(dict.fromkeys(equipped.names, script))
    for name in equipped.names:
        assert said[name].splitlines()[-1:] == said[name].splitlines(), said[name]
        assert int(said[name].split()[0]) > 5, said[name]
        print(f"\n{name}: {said[name].strip()}")
