"""Ten thousand keys that are all there after every change, refusal, kill, power cut and full disk."""

from __future__ import annotations

import hashlib
import json
import re

import pytest

# Kills and power cuts at every seam, ten minutes of them; the scenarios of the role stand for it on every commit.
pytestmark = pytest.mark.nightly

FACTS = {"gather_facts": True, "gather_subset": ["!all", "!min", "distribution", "hardware", "network"]}
ASK = {"ansible.builtin.package_facts": {}}
INCLUDE = {"ansible.builtin.include_role": {"name": "shipshape.stack.redis"}}
ROLE = [{"hosts": "all", "become": True, **FACTS, "tasks": [INCLUDE]}]
# The second time nothing may change. With the facts at hand, as in site.yml, a role is one call.
TWICE = [{"hosts": "all", "become": True, **FACTS, "tasks": [ASK, INCLUDE, INCLUDE]}]
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


# All that a refused change has to leave alone.
LOOK = (
    f"{CLI} cat /etc/redis/shipshape.*; stat -c %Y /etc/redis/shipshape.*; $R config get '*' | sort;"
    " $R acl list | sort; $R info server | grep run_id; $R info persistence | grep aof_enabled;"
    " ls -A /etc/redis /var/lib/shipshape/config_files; ls /run | grep shipshape-redis || true"
)


def snapshot(hosts):
    return hosts.shells(dict.fromkeys(hosts.names, LOOK))


def converge(hosts, variables=None, *words, changes=None):
    run = hosts.play(TWICE, *words, variables=variables or {})
    assert run.code == 0, run.output
    assert all(kept(hosts, name) is True for name in hosts.names), run.output
    if changes is not None:
        assert [run.changed(name) for name in hosts.names] == [changes] * 2, run.output
    return run


@pytest.fixture(scope="module")
def stocked(hosts):
    """A server as the package has it, full of keys that were never written to the disk, is taken over."""
    install = (
        "apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -yqq --no-install-recommends redis-server"
        " >/dev/null 2>&1; redis-cli config set save '' >/dev/null; " + FILL % "redis-cli"
    )
    hosts.shells(dict.fromkeys(hosts.names, install))
    converge(hosts, changes=2)
    return hosts


def test_a_server_with_keys_is_taken_over(stocked):
    files = "dpkg --verify redis-server; systemctl show --property=ExecStart redis-server | grep -o shipshape.conf"
    assert set(stocked.shells(dict.fromkeys(stocked.names, files)).values()) == {"shipshape.conf\n"}


NO_DISK = {"redis_appendonly": False, "redis_save": []}
# In this order, so that each change is one from the one before. With the restarts, and the tasks that change something:
# python3-cryptography, a key and a certificate are changes of their own.
CHANGES = [
    pytest.param({"redis_appendonly": False}, 0, 1, id="append-off"),
    pytest.param({}, 0, 1, id="append-on"),
    pytest.param({"redis_maxmemory": "64M"}, 0, 1, id="maxmemory"),
    pytest.param({"redis_password": PASSWORD}, 0, 1, id="default-user"),
    pytest.param({"redis_password": f"{PASSWORD}-2", **SHOP}, 0, 1, id="password-and-user"),
    pytest.param(
        {"redis_port": 6390, "redis_bind_addresses": ["*", "-::*"], "redis_tls": True}, 0, 4, id="port-and-tls"
    ),
    pytest.param({"redis_settings": {"databases": 32, "hz": 20}}, 1, 1, id="databases"),
    pytest.param({**NO_DISK, "redis_settings": {"databases": 20}}, 1, 1, id="restart-and-append-off"),
    pytest.param({**NO_DISK, "redis_settings": {"databases": 16}}, 1, 1, id="restart-without-any-file"),
    pytest.param({"redis_settings": {"databases": 24}}, 1, 1, id="restart-and-append-on"),
    pytest.param({}, 1, 1, id="back"),
]


@pytest.mark.parametrize(("variables", "restarts", "changed"), CHANGES)
def test_a_change_keeps_every_key(stocked, variables, restarts, changed):
    before = run_ids(stocked)
    converge(stocked, variables, changes=changed)
    after = run_ids(stocked)
    assert [before[name] != after[name] for name in stocked.names] == [bool(restarts)] * 2


def test_a_renewed_certificate_is_shown_without_a_restart(stocked):
    variables = {"redis_tls": True, "redis_tls_names": ["renewed.example.org"]}
    converge(stocked, {"redis_tls": True})
    before = run_ids(stocked)
    converge(stocked, variables, changes=2)
    assert run_ids(stocked) == before
    look = "openssl s_client -connect 127.0.0.1:6380 </dev/null 2>/dev/null | openssl x509 -noout -ext subjectAltName"
    for said in stocked.shells(dict.fromkeys(stocked.names, look)).values():
        assert "renewed.example.org" in said
    converge(stocked, changes=1)


def test_no_secret_is_printed(stocked):
    """By a run that shows everything, and by what Ansible says of options that it refuses."""
    secrets = [PASSWORD, SHOP["redis_user_passwords"]["shop"]]
    good = {"redis_password": PASSWORD, **SHOP}
    runs = [
        converge(stocked, good, "-vvv", "--diff", changes=1),
        stocked.play(ROLE, "-vvv", "--diff", variables={**good, "redis_port": "none"}),
        stocked.play(ROLE, "-vvv", "--diff", variables={**good, "redis_user_passwords": [secrets[1]]}),
        stocked.play(ROLE, "-vvv", "--diff", variables={**good, "redis_settings": {"hz": "fast"}}),
    ]
    assert [run.code == 0 for run in runs] == [True, False, False, False]
    assert "+user shop on #********" in runs[0].output
    digests = [hashlib.sha256(each.encode()).hexdigest() for each in secrets]
    look = (
        "journalctl --no-pager; cat /var/log/redis/* /etc/redis/shipshape.conf; cat /proc/[0-9]*/cmdline | tr '\\0' ' '"
    )
    places = [*(run.output for run in runs), *stocked.shells(dict.fromkeys(stocked.names, look)).values()]
    managers = stocked.shells(dict.fromkeys(stocked.names, "cat /etc/redis/shipshape.password")).values()
    for secret in (*secrets, *digests, *(each.strip() for each in managers)):
        assert len(secret) > 12
        assert not [text for text in places if secret in text]
    converge(stocked, changes=1)


def test_a_restart_waits_where_it_must_not_be(stocked):
    before, variables = run_ids(stocked), {"redis_restart": "never", "redis_settings": {"databases": 32, "hz": 30}}
    run = converge(stocked, variables)
    assert run_ids(stocked) == before
    assert "30" in stocked.shell("d13", f"{CLI} $R config get hz").split()
    assert "takes databases at its next start only" in run.text
    assert [run.changed(name) for name in stocked.names] == [1, 1]
    converge(stocked, changes=1)


REFUSED = {
    "unknown-name": ({"redis_settings": {"maxmemoryy": "1gb"}}, "maxmemoryy"),
    "bad-value": ({"redis_settings": {"hz": "fast"}}, "'hz fast'"),
    "only-the-server-knows": ({"redis_settings": {"maxclients": 10_000_000}}, "maxclients 10000000"),
    "bad-rule": ({**SHOP, "redis_users": [{"name": "shop", "rules": ["+nosuchcommand"]}]}, "+nosuchcommand"),
    "unreadable-key": (
        {"redis_tls": True, "redis_tls_certificate": "/etc/redis/no.crt", "redis_tls_key": "/etc/redis/no.key"},
        "no.key",
    ),
    "port-in-use": ({"redis_port": 7777}, "port 7777"),
    "foreign-address": ({"redis_bind_addresses": ["192.0.2.77"]}, "192.0.2.77"),
    "keys-in-a-database": ({"redis_settings": {"databases": 2}}, "databases 2: there are keys in database 3"),
    "another-place": ({"redis_settings": {"dir": "/var/lib"}}, "dir /var/lib: the server has"),
    "memory-in-use": ({"redis_maxmemory": "1M"}, "maxmemory 1048576: the server uses"),
    "evicted-jobs": ({"redis_purpose": "queue", "redis_maxmemory_policy": "allkeys-lru"}, "jobs of a queue"),
    "misspelt-option": ({"redis_maxmemmory": "1G"}, "did you mean redis_maxmemory"),
    "second-server": ({"redis_flavour": "valkey"}, "redis"),
}


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


@pytest.fixture(scope="module")
def refused(obstacles):
    """What is said of each, all in one run; behind it what the server and its files look like."""
    look = {"ansible.builtin.shell": f"({LOOK}) | sha256sum", "register": "look", "changed_when": False}
    tasks: list[dict] = [ASK, look, {"ansible.builtin.debug": {"msg": "<before>{{ look.stdout }}</before>"}}]
    for case, (variables, _words) in REFUSED.items():
        said = f"<{case}>{{{{ ansible_failed_result.msg }}}} {{{{ look.stdout }}}}</{case}>"
        tasks.append(
            {
                "block": [{**INCLUDE, "vars": variables}],
                "rescue": [look, {"ansible.builtin.debug": {"msg": said}}],
            }
        )
    run = obstacles.play([{"hosts": "all", "become": True, **FACTS, "tasks": tasks}])
    assert run.code == 0, run.output
    return {each: re.findall(f"<{each}>(.*?)</{each}>", run.text) for each in ("before", *REFUSED)}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_work_is_refused_and_nothing_is_touched(refused, case):
    said = refused[case]
    assert len(said) == 2, refused
    assert all(REFUSED[case][1] in text for text in said), said
    assert sorted(text.split()[-2] for text in said) == sorted(text.split()[0] for text in refused["before"]), said


def test_a_server_that_does_not_come_back_has_its_old_files_and_keys_again(stocked):
    """Where the scratch server is content, and the real one is not."""
    drop_in = "/etc/systemd/system/redis-server.service.d/zz-broken.conf"
    # Takes hold at the next start, if the new file is there by then.
    broken = '[Service]\\nNoExecPaths=\\nExecStartPre=/bin/sh -c "! grep -q databases.31 /etc/redis/shipshape.conf"\\n'
    script = f"printf '{broken}' >{drop_in}"
    stocked.shells(dict.fromkeys(stocked.names, script))
    before = snapshot(stocked)
    run = stocked.play(ROLE, variables={"redis_settings": {"databases": 31}})
    assert run.code != 0
    stocked.shells(dict.fromkeys(stocked.names, f"rm {drop_in}; systemctl daemon-reload"))
    assert run.text.count("Redis is as it was. systemctl restart redis-server.service failed") >= 2, run.output

    def drop(text):
        # Redis 7.0 says of a user that was set live, and not of one from a file, what both have.
        lines = text.replace(" sanitize-payload", "").splitlines()
        return [line for line in lines if not line.startswith("run_id")]

    after = snapshot(stocked)
    for name in stocked.names:
        assert drop(after[name]) == drop(before[name])
    assert all(kept(stocked, name) is True for name in stocked.names)
    converge(stocked, changes=0)


def test_a_stopped_server_comes_up_with_its_keys(stocked):
    stops = [("systemctl stop redis-server", False), ("systemctl disable --now --quiet redis-server", True)]
    for stop, append in stops:
        stocked.shells(dict.fromkeys(stocked.names, stop))
        converge(stocked, {"redis_appendonly": append}, changes=1)
        assert set(stocked.shells(dict.fromkeys(stocked.names, "systemctl is-enabled redis-server")).values()) == {
            "enabled\n"
        }


def test_drift_of_the_running_server_is_taken_back(stocked):
    script = f"{CLI} $R config set maxmemory-policy allkeys-lru hz 50; $R acl setuser thief on nopass '~*' '+@all'"
    stocked.shells(dict.fromkeys(stocked.names, script))
    run = converge(stocked, {}, "--diff", changes=1)
    assert "+maxmemory-policy noeviction" in run.output
    assert "-user thief on nopass" in run.output


# What a run in check mode does not find, as an earlier task would have brought it.
GONE = {
    "certificate": "apt-get install -yqq python3-cryptography",
    "cryptography": "apt-get remove -yqq python3-cryptography",
    "redis-py": "apt-get remove -yqq python3-redis",
}


@pytest.mark.parametrize("gone", GONE)
def test_check_mode_predicts_what_cannot_be_tried_yet(stocked, gone):
    script = f"rm -f /etc/redis/shipshape.crt /etc/redis/shipshape.key; {GONE[gone]} >/dev/null 2>&1"
    stocked.shells(dict.fromkeys(stocked.names, script))
    before = snapshot(stocked)
    run = stocked.play(ROLE, "--check", "--diff", variables={"redis_tls": True})
    assert run.code == 0, run.output
    assert run.output.count("+tls-port 6380") == len(stocked.names), run.output
    assert snapshot(stocked) == before


def test_a_full_disk(stocked):
    """On a disk of 3 MB: the append-only file cannot be started, so nothing changes, and no key goes."""
    move = (
        "systemctl stop redis-server; mkdir /mnt/data;"
        " mount -t tmpfs -o size=3m,mode=0750,uid=$(id -u redis),gid=$(id -g redis) none /mnt/data;"
        " cp -a /var/lib/redis/dump.rdb /mnt/data; mount --bind /mnt/data /var/lib/redis; systemctl start redis-server;"
        " dd if=/dev/zero of=/var/lib/redis/fill bs=1k 2>/dev/null || true"
    )
    variables = {"redis_appendonly": False}
    converge(stocked, variables)
    stocked.shells(dict.fromkeys(stocked.names, move))
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
            " umount /var/lib/redis; umount /mnt/data; rmdir /mnt/data; cp -a /root/dump.rdb /var/lib/redis;"
            " systemctl start redis-server"
        )
        stocked.shells(dict.fromkeys(stocked.names, back))
    converge(stocked)


def test_absent_keeps_the_data_for_whoever_comes_next(stocked):
    """First the package's server, which looks for a dump only, with a password of its own; then ours again."""
    absent = {"redis_state": "absent"}
    for changed in (1, 0):
        run = stocked.play(ROLE, variables=absent)
        assert run.code == 0, run.output
        assert [run.changed(name) for name in stocked.names] == [changed, changed]
    look = (
        "systemctl is-active redis-server || true; systemctl is-enabled redis-server || true;"
        " find /etc -name 'shipshape*' -path '*redis*'; dpkg --verify redis-server"
    )
    for said in stocked.shells(dict.fromkeys(stocked.names, look)).values():
        assert said.split() == ["inactive", "disabled"]
    plain = (
        "cd /etc/redis; cp -a redis.conf /root; printf 'port 6400\\nrequirepass of-the-old-days\\n' >>redis.conf;"
        " systemctl start redis-server; export REDISCLI_AUTH=of-the-old-days; C='redis-cli -p 6400';"
        " $C dbsize; $C config get appendonly"
    )
    for said in stocked.shells(dict.fromkeys(stocked.names, plain)).values():
        assert said.split() == ["10000", "appendonly", "no"]
    run = converge(stocked, {}, "--diff", "-vvv", changes=1)
    assert "of-the-old-days" not in run.output
    stocked.shells(dict.fromkeys(stocked.names, "mv /root/redis.conf /etc/redis/"))


def test_a_lost_password_of_the_manager_is_made_anew(stocked):
    """Nobody may log in any more: nothing is touched until the server was stopped, as the message says."""
    converge(stocked, SHOP)
    before = run_ids(stocked)
    lost = "cd /etc/redis; mv shipshape.password /root/lost; sed 's/^user shipshape .*//' shipshape.acl | sha256sum"
    others = stocked.shells(dict.fromkeys(stocked.names, lost))
    run = stocked.play(ROLE, variables=SHOP)
    assert run.code != 0
    assert run.text.count("run `systemctl stop redis-server.service`") >= len(stocked.names), run.output
    back = "cd /etc/redis; test ! -e shipshape.password; cp -a /root/lost shipshape.password"
    stocked.shells(dict.fromkeys(stocked.names, back))
    assert run_ids(stocked) == before
    stocked.shells(dict.fromkeys(stocked.names, "rm /etc/redis/shipshape.password; systemctl stop redis-server"))
    converge(stocked, SHOP, changes=1)
    look = "sed 's/^user shipshape .*//' /etc/redis/shipshape.acl | sha256sum"
    assert stocked.shells(dict.fromkeys(stocked.names, look)) == others
    same = "cmp -s /root/lost /etc/redis/shipshape.password || stat -c '%U %a' /etc/redis/shipshape.password"
    assert set(stocked.shells(dict.fromkeys(stocked.names, same)).values()) == {"root 600\n"}
    converge(stocked, changes=1)


def test_absent_needs_no_password_that_was_kept(stocked):
    converge(stocked)
    lose = "systemctl stop redis-server; rm -f /etc/redis/shipshape.password /var/lib/redis/dump.rdb"
    stocked.shells(dict.fromkeys(stocked.names, lose))
    run = stocked.play(ROLE, variables={"redis_state": "absent"})
    assert run.code == 0, run.output
    converge(stocked)


NO_DUMP = {"redis_save": [], "redis_appendonly": True}
DOWN = {
    # It ends without a dump where there are no save points, and so does a crash where there are.
    "stopped": (NO_DUMP, "systemctl stop redis-server"),
    "killed": ({}, "systemctl kill --signal=KILL redis-server; systemctl stop redis-server"),
}


@pytest.mark.parametrize("how", DOWN)
def test_absent_brings_the_keys_of_a_stopped_server_to_its_dump(stocked, how):
    variables, script = DOWN[how]
    converge(stocked, variables)
    # The dump that lies there is older than the keys, or there is none.
    stocked.shells(dict.fromkeys(stocked.names, f"{script}; rm -f /var/lib/redis/dump.rdb"))
    run = stocked.play(ROLE, variables={"redis_state": "absent"})
    assert run.code == 0, run.output
    look = "systemctl is-active redis-server || true; find /etc -name 'shipshape*' -path '*redis*'"
    assert set(stocked.shells(dict.fromkeys(stocked.names, look)).values()) == {"inactive\n"}
    plain = "systemctl start redis-server; redis-cli dbsize; redis-cli config get appendonly"
    for said in stocked.shells(dict.fromkeys(stocked.names, plain)).values():
        assert said.split() == ["10000", "appendonly", "no"]
    converge(stocked)


def test_absent_leaves_a_server_that_cannot_save_its_keys(stocked):
    converge(stocked)
    stocked.shells(dict.fromkeys(stocked.names, "systemctl mask --now --runtime --quiet redis-server"))
    run = stocked.play(ROLE, variables={"redis_state": "absent"})
    assert run.code != 0
    assert run.text.count("Its keys are in /var/lib/redis/appendonlydir") >= len(stocked.names), run.output
    stocked.shells(dict.fromkeys(stocked.names, "systemctl unmask --runtime --quiet redis-server"))
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
count() {
    for _ in 1 2 3 4 5 6 7 8 9; do
        n=$($R dbsize 2>/dev/null) && [ "$n" = 10000 ] && return
        sleep 0.3
    done
    echo "$1: $n keys"
}
run 0 "$1" >/dev/null; seams=$(run 0 "$2")
for seam in $(seq "$seams"); do
    run 0 "$1" >/dev/null
    run "$seam" "$2" >/dev/null && { echo "seam $seam was not reached"; exit; }
    count "seam $seam, killed"
    systemctl reset-failed redis-server # a start for each seam is more often than systemd allows
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
    stocked.bring_code("_config_*", "_redis_*", "_run_command")
    scripts = {"driver.py": DRIVER, "seams.sh": f"{CLI}\n{EVERY_SEAM}"}
    write = "\n".join(f"cat >/root/{each} <<'END'\n{text}\nEND" for each, text in scripts.items())
    stocked.shells(dict.fromkeys(stocked.names, write))
    return stocked


@pytest.mark.parametrize(("old", "new"), KILLED)
def test_killed_at_any_seam_and_then_the_power_is_cut(equipped, old, new):
    script = f"sh /root/seams.sh '{json.dumps(old)}' '{json.dumps(new)}'"
    said = equipped.shells(dict.fromkeys(equipped.names, script))
    for name in equipped.names:
        assert said[name].splitlines()[-1:] == said[name].splitlines(), said[name]
        assert int(said[name].split()[0]) > 5, said[name]
        print(f"\n{name}: {said[name].strip()}")
