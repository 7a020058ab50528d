"""What Redis does when the role ran without a single variable, after a power cut."""

from __future__ import annotations

import time

import pytest
from scenario import until

CLI = "REDISCLI_AUTH=$(cat /etc/redis/shipshape.password) redis-cli -s /run/redis/shipshape.sock --user shipshape"


@pytest.fixture(autouse=True)
def _as_root(host):
    with host.sudo():
        until(lambda: host.run(f"{CLI} ping").stdout.strip() == "PONG", 20, "an answer")
        yield


def setting(host, key):
    return host.check_output(f"{CLI} config get {key}").splitlines()[-1]


def test_it_came_back_with_the_host(host):
    assert host.service("redis-server").is_enabled
    assert host.service("redis-server").is_running


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_nobody_gets_in_without_a_password(host, address):
    said = host.run(f"redis-cli -h {address} set stolen 1").stdout
    assert "NOAUTH" in said, said
    said = host.run(f"REDISCLI_AUTH=guess-guess-guess redis-cli -h {address} --user shipshape set stolen 1")
    assert "WRONGPASS" in said.stdout + said.stderr
    assert host.check_output(f"{CLI} exists stolen") == "0"


def test_only_this_host_is_listened_to(host, address):
    listening = host.check_output("ss -Hltn sport = :6379 | awk '{print $4}' | sort").splitlines()
    assert listening == ["127.0.0.1:6379", "[::1]:6379"]
    assert not host.run(f"timeout 3 bash -c 'exec 3<>/dev/tcp/{address}/6379'").succeeded


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("appendonly", "yes"),
        ("appendfsync", "everysec"),
        ("save", "900 1 300 10 60 10000"),
        ("maxmemory-policy", "noeviction"),
        ("protected-mode", "yes"),
        ("tls-port", "0"),
    ],
)
def test_settings(host, key, value):
    assert setting(host, key) == value


def test_memory_is_a_quarter_of_what_is_left(host):
    total = int(host.check_output("awk '/MemTotal/ {print int($2 / 1024)}' /proc/meminfo"))
    size = int(setting(host, "maxmemory")) / 1024 / 1024
    assert total / 4 - 512 < size <= total / 4


@pytest.mark.parametrize(
    ("path", "mode", "group"),
    [("conf", 0o640, "redis"), ("acl", 0o640, "redis"), ("password", 0o600, "root")],
)
def test_files(host, path, mode, group):
    found = host.file(f"/etc/redis/shipshape.{path}")
    assert (found.mode, found.user, found.group) == (mode, "root", group)


def test_the_package_s_file_is_left_alone_and_the_server_cannot_write_its_own(host):
    assert host.check_output("dpkg --verify redis-server") == ""
    assert "Read-only" in host.run(f"{CLI} config rewrite").stdout


def test_data_outlive_a_kill(host):
    host.check_output(f"{CLI} set kept safely")
    time.sleep(1.5)  # appendfsync everysec
    host.check_output("systemctl kill --signal=KILL redis-server")
    until(lambda: host.run(f"{CLI} get kept").stdout.strip() == "safely", 20, "the key")


def test_no_password_is_in_the_journal_or_a_command_line(host):
    secret = host.file("/etc/redis/shipshape.password").content_string.strip()
    assert len(secret) >= 40
    journal = host.check_output("journalctl --no-pager; cat /var/log/redis/*; cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    assert secret not in journal
