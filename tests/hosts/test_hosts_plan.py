"""The pure half of the hosts tool."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import sys

import pytest
import yaml

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from hostlib import image, plan
from hostlib.machine import HostsError

HOST = plan.Host(
    name="web1",
    image="localhost/shipshape-host:trixie",
    container="shipshape-abc-site-web1",
    index=0,
    address="10.89.0.10",
    address6="fd00::a",
    user="admin",
    key_file="/a folder/id_ed25519",
    known_hosts="/a folder/known_hosts",
)


def test_hosts_are_read_from_arguments():
    assert plan.parse_hosts(["a=trixie", "b=docker.io/library/ubuntu:24.04"]) == {
        "a": "trixie",
        "b": "docker.io/library/ubuntu:24.04",
    }


@pytest.mark.parametrize("argument", ["a", "a=", "=trixie", "A=trixie", "-a=trixie", "a.b=trixie", "a" * 50 + "=x"])
def test_a_bad_argument_is_refused_by_name(argument):
    with pytest.raises(HostsError, match=r"write NAME=SUITE|up to"):
        plan.parse_hosts([argument])


def test_hosts_keep_their_numbers_and_new_ones_get_free_ones():
    assert plan.assign_indexes(["c", "a", "b"], {"b": 0, "gone": 1}) == {"c": 2, "a": 3, "b": 0}


def test_addresses_come_from_the_subnets_in_any_order():
    assert plan.addresses(["fd66::/64", "10.89.3.0/24"], 2) == ("10.89.3.12", "fd66::c")
    assert plan.addresses(["10.89.3.0/24"], 0) == ("10.89.3.10", "")


def test_json_brings_back_the_same_hosts():
    told = json.loads(plan.as_json("site", [HOST]))
    assert told["group"] == "site"
    assert [plan.Host(**item) for item in told["hosts"]] == [HOST]


def test_inventory_is_yaml_with_every_host():
    other = dataclasses.replace(HOST, name="web2", address="10.89.0.11")
    hosts = yaml.safe_load(plan.inventory([HOST, other]))["all"]["hosts"]
    assert list(hosts) == ["web1", "web2"]
    assert hosts["web1"]["ansible_host"] == "10.89.0.10"
    assert hosts["web1"]["ansible_ssh_private_key_file"] == "/a folder/id_ed25519"


def test_a_path_with_a_space_is_one_word_in_ssh_options():
    assert '"/a folder/known_hosts"' in plan.ssh_options(HOST)


def test_known_hosts_name_both_ports_and_leave_comments_out():
    text = plan.known_hosts({"10.89.0.10": "ssh-ed25519 AAAA root@web1\nssh-rsa BBBB root@web1\n"})
    assert text.splitlines() == [
        "10.89.0.10,[10.89.0.10]:2222 ssh-ed25519 AAAA",
        "10.89.0.10,[10.89.0.10]:2222 ssh-rsa BBBB",
    ]


def test_sources_are_the_mirrors_of_this_machine():
    targets = "http://mirror.test/debian-security/\nhttp://mirror.test/debian/\nhttps://other.test/packages/\n"
    assert image.sources("trixie", targets) == [
        "deb http://mirror.test/debian trixie main",
        "deb http://mirror.test/debian trixie-updates main",
        "deb http://mirror.test/debian-security trixie-security main",
    ]


def test_sources_without_a_debian_archive_are_debians_own():
    lines = image.sources("bookworm", "http://archive.example.com/ubuntu/\n")
    assert lines[0] == "deb http://deb.debian.org/debian bookworm main"
    assert image.sources("bookworm", "", "http://m.test/debian")[2].startswith("deb http://m.test/debian-security ")
