"""Every option of the role shows in what the server really does, for a client on another host."""

from __future__ import annotations

import itertools
import json
import os
import pathlib
import shlex
import subprocess
import time

import pytest
import yaml

pytestmark = pytest.mark.usefixtures("as_root")

ROOT = pathlib.Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
SCENARIO = pathlib.Path(__file__).resolve().parents[1]
SPECS = ROOT / "roles/redis/meta/argument_specs.yml"
VARIABLES = yaml.safe_load((SCENARIO / "molecule.yml").read_text(encoding="utf-8"))["provisioner"]["inventory"]
SECRETS = {"default": "hunter-two-for-all", "shop": "hunter-two-for-shop", "report": "hunter-two-for-report"}
# By the library that applications use. What is wrong is printed, not raised.
CLIENT = """
import redis, sys
host, port, user, password, tls, *words = sys.argv[1:]
options = {"ssl": True, "ssl_ca_certs": "/tmp/server.crt"} if tls == "tls" else {}
login = {"username": user, "password": password} if user else {}
client = redis.Redis(host, int(port), socket_timeout=5, decode_responses=True, **login, **options)
try:
    print(client.execute_command(*words))
except redis.RedisError as exc:
    print(type(exc).__name__, exc)
"""


@pytest.fixture
def places():
    known = json.loads((ROOT / ".cache/hosts/redis_full/hosts.json").read_text(encoding="utf-8"))
    return {entry["name"]: entry for entry in known["hosts"]}


@pytest.fixture
def flavour(host):
    return "valkey" if host.backend.get_pytest_id().endswith("debian13") else "redis"


@pytest.fixture
def ask(host, places):
    """Ask the server from the other host."""
    here = host.backend.get_pytest_id().rsplit("/", 1)[-1]
    there = next(name for name in places if name != here)
    tool = [str(ROOT / "tests/hosts/hosts"), "run", "--group", "redis_full", there, "sh", "-c"]
    certificate = host.file("/etc/ssl/shop/redis.crt").content_string
    subprocess.run([*tool, f"cat >/tmp/server.crt <<'END'\n{certificate}\nEND"], check=True, capture_output=True)

    def call(*words, user="shop", password=None, tls="tls", field="address", port=7380):
        argv = [places[here][field], str(port), user, password or SECRETS.get(user, ""), tls, *words]
        script = f"python3 -c {shlex.quote(CLIENT)} {shlex.join(argv)}"
        return subprocess.run([*tool, script], capture_output=True, text=True, check=False).stdout.strip()

    end = time.monotonic() + 20
    while call("PING") != "True":
        assert time.monotonic() < end, call("PING")
    return call


@pytest.fixture
def local(host, flavour):
    def call(*words):
        secret = f"REDISCLI_AUTH=$(cat /etc/{flavour}/shipshape.password)"
        return host.check_output(
            f"{secret} {flavour}-cli -s /run/{flavour}/shipshape.sock --user shipshape {shlex.join(words)}"
        )

    return call


def test_every_option_of_the_role_is_set_in_this_scenario():
    options = yaml.safe_load(SPECS.read_text(encoding="utf-8"))["argument_specs"]["main"]["options"]
    assert set(VARIABLES["group_vars"]["all"]) == set(options)


def test_settings(local):
    lines = local("config", "get", "*").splitlines()
    # In no order: where the last value is an empty one, its line is gone.
    found = dict(itertools.zip_longest(lines[::2], lines[1::2], fillvalue=""))
    wanted = {
        "port": "0",
        "tls-port": "7380",
        "tls-protocols": "TLSv1.3",
        "tls-auth-clients": "optional",
        "tls-cert-file": "/etc/ssl/shop/redis.crt",
        "tls-key-file": "/etc/ssl/shop/redis.key",
        "tls-ca-cert-file": "/etc/ssl/shop/redis.crt",
        "protected-mode": "no",
        "maxmemory": "268435456",
        "maxmemory-policy": "allkeys-lru",
        "save": "600 5",
        "appendonly": "no",
        "appendfsync": "always",
        "databases": "4",
        "timeout": "300",
    }
    assert {key: found[key] for key in wanted} == wanted


def test_the_right_user_does_its_work_over_tls(ask):
    assert ask("SET", "shop:1", "paid") in ("True", "OK")
    assert ask("GET", "shop:1") == "paid"
    assert ask("GET", "shop:1", user="report") == "paid"
    # The user of clients that know no names.
    assert ask("SET", "cache:1", "x", user="default") in ("True", "OK")
    assert ask("GET", "cache:1") == "x"


@pytest.mark.parametrize("command", ["FLUSHALL", "CONFIG GET maxmemory", "KEYS *", "SHUTDOWN", "REPLICAOF NO ONE"])
def test_a_dangerous_command_is_refused(ask, command):
    said = ask(*command.split())
    assert said.startswith("NoPermissionError"), said


@pytest.mark.parametrize(
    ("words", "user"),
    [("SET cache:1 y", "shop"), ("GET other", "shop"), ("SET shop:1 y", "report"), ("GET x", "default")],
)
def test_a_key_or_command_of_somebody_else_is_refused(ask, words, user):
    said = ask(*words.split(), user=user)
    assert said.startswith("NoPermissionError"), said


def test_a_wrong_password_is_refused(ask):
    for user in ("shop", "default", "shipshape", "nobody"):
        said = ask("PING", user=user, password="hunter-two-for-none")
        # The library of Debian 12 does not know Valkey's answer.
        assert said.startswith(("AuthenticationError", "ResponseError WRONGPASS")), said


def test_nobody_is_refused(ask):
    said = ask("PING", user="")
    assert said.startswith("AuthenticationError"), said


def test_without_tls_or_from_a_wrong_network_nobody_is_answered(ask):
    said = ask("PING", tls="plain")
    assert said.startswith("ConnectionError"), said
    said = ask("PING", tls="plain", port=6379)
    assert said.startswith("ConnectionError"), said
    said = ask("PING", field="address6")
    assert said.startswith("ConnectionError"), said


def test_an_old_version_of_tls_is_refused(host):
    script = "timeout 5 openssl s_client -connect 127.0.0.1:7380 -{} </dev/null 2>&1"
    assert host.run(script.format("tls1_2")).rc == 1
    assert host.run(script.format("tls1_3")).rc == 0


def test_no_password_can_be_read_on_the_host(host, flavour):
    files = "find /etc /var/lib/shipshape /tmp /run /home /root -xdev -type f -exec cat {} +"
    others = f"journalctl --no-pager; cat /var/log/{flavour}/*; cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ"
    # First all of it, as whoever looks for a word has it on the command line; and sudo logs that.
    host.run(f"({files}; {others}) >/dev/shm/everything 2>/dev/null")
    assert host.run("grep -aqF allkeys-lru /dev/shm/everything && grep -aqF sshd: /dev/shm/everything").succeeded
    assert host.run("grep -aoE 'hunter-two-for-[a-z]+' /dev/shm/everything; rm /dev/shm/everything").stdout == ""
