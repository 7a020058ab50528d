# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role docker refuses, and what it makes of its options."""

from __future__ import annotations

import json
import pathlib

import pytest
import yaml
from ansible_collections.shipshape.stack.plugins.module_utils._docker_options import (
    COMMON,
    DISTRIBUTIONS,
    daemon,
    packages,
    problems,
)

SPECS = pathlib.Path(__file__).resolve().parents[4] / "roles/docker/meta/argument_specs.yml"
OPTIONS = yaml.safe_load(SPECS.read_text(encoding="utf-8"))["argument_specs"]["main"]["options"]
DEFAULTS = {name: option["default"] for name, option in OPTIONS.items()}
KEY = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQGN\n-----END PGP PUBLIC KEY BLOCK-----\n"
REPOSITORY = {"docker_repository_url": "https://apt.example.org/docker", "docker_repository_key": KEY}
SECRET = "correct-horse-battery"
LOGIN = {
    "docker_registry_logins": [{"registry": "r.example.org:5000", "username": "deploy", "state": "present"}],
    "docker_registry_passwords": {"r.example.org:5000": SECRET},
}


def found(release="Debian-13", addresses=(), **changed):
    return problems({**DEFAULTS, **changed}, release, addresses)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        LOGIN,
        REPOSITORY,
        {**REPOSITORY, "docker_repository_suite": "shop", "docker_repository_components": ["main", "test"]},
        {"docker_compose": True},
        {"docker_compose": False},
        {"docker_compose": "false"},
        {"docker_version": "5:26.1.*"},
        {"docker_data_root": "/srv/docker"},
        {"docker_remove_data": ["/var/lib/docker", "/var/lib/containerd"]},
        {"docker_data_root": "/srv/docker", "docker_remove_data": ["/srv/docker"]},
        {"docker_log_driver": "journald"},
        {"docker_log_max_size": "500k"},
        {"docker_address_pools": [{"base": "10.99.0.0/16", "size": 26}, {"base": "fd00:99::/48", "size": 64}]},
        {"docker_ipv6": True, "docker_ipv6_subnet": "fd00:17::/64"},
        {"docker_dns": ["192.0.2.53", "2001:db8::53"]},
        {"docker_registry_mirrors": ["https://mirror.example.org"]},
        {"docker_insecure_registries": ["r.example.org:5000", "10.0.0.0/8"]},
        {"docker_daemon_options": {"debug": True, "iptables": True, "labels": ["a=b"]}},
        {"docker_users": ["admin", "ci-runner"]},
        {"docker_prune": [], "docker_prune_calendar": "weekly"},
        {"docker_registry_logins": [{"registry": "docker.io", "username": "deploy", "state": "absent"}]},
    ],
)
def test_good_options(changed):
    assert found(**changed) == []


BAD = [
    ({"docker_compose": "maybe"}, "docker_compose: 'maybe'"),
    ({"docker_version": "26 or so"}, "docker_version: '26 or so'"),
    ({"docker_repository_key": KEY}, "without docker_repository_url"),
    ({**REPOSITORY, "docker_repository_url": "apt.example.org"}, "docker_repository_url: 'apt.example.org'"),
    ({**REPOSITORY, "docker_repository_url": f"https://a:{SECRET}@apt.example.org"}, "give the URL without"),
    ({**REPOSITORY, "docker_repository_key": "mQGN"}, "docker_repository_key"),
    ({**REPOSITORY, "docker_repository_suite": "a\nb"}, "docker_repository_suite"),
    ({**REPOSITORY, "docker_repository_components": ["a b"]}, "docker_repository_components: 'a b'"),
    (
        {**REPOSITORY, "docker_repository_packages": {"engine": [], "compose": [], "buildx": []}},
        "docker_repository_packages.engine is empty",
    ),
    (
        {**REPOSITORY, "docker_repository_packages": {"engine": ["a b"], "compose": [], "buildx": []}},
        "docker_repository_packages.engine: 'a b'",
    ),
    (
        {
            **REPOSITORY,
            "docker_repository_packages": {"engine": ["docker-ce"], "compose": [], "buildx": []},
            "docker_compose": True,
        },
        "docker_repository_packages has no entry for it",
    ),
    ({"docker_data_root": "/srv"}, "docker_data_root: '/srv'"),
    ({"docker_data_root": "/srv/../etc"}, "docker_data_root"),
    ({"docker_remove_data": ["/home/admin"]}, "docker_remove_data: /home/admin is none of"),
    ({"docker_remove_data": ["/"]}, "docker_remove_data: / is none of"),
    ({"docker_log_max_size": "10 MB"}, "docker_log_max_size: '10 MB'"),
    ({"docker_log_max_files": 0}, "docker_log_max_files is 0"),
    ({"docker_address_pools": []}, "docker_address_pools is empty"),
    ({"docker_address_pools": [{"base": "172.17.0.1/16", "size": 24}]}, "'172.17.0.1/16' is not a network"),
    ({"docker_address_pools": [{"base": "172.17.0.0/24", "size": 16}]}, "size 16 does not fit"),
    ({"docker_address_pools": [{"base": "172.17.0.0/24", "size": 31}]}, "size 31 does not fit"),
    (
        {"docker_address_pools": [{"base": "10.0.0.0/8", "size": 24}, {"base": "10.1.0.0/16", "size": 24}]},
        "10.1.0.0/16 and 10.0.0.0/8 overlap",
    ),
    ({"docker_ipv6": True}, "docker_ipv6_subnet: ''"),
    ({"docker_ipv6": True, "docker_ipv6_subnet": "10.0.0.0/8"}, "docker_ipv6_subnet: '10.0.0.0/8'"),
    ({"docker_ipv6_subnet": "fd00::/64"}, "without docker_ipv6"),
    ({"docker_dns": ["ns.example.org"]}, "docker_dns: 'ns.example.org'"),
    ({"docker_registry_mirrors": ["mirror.example.org"]}, "docker_registry_mirrors: 'mirror.example.org'"),
    ({"docker_registry_mirrors": [f"https://a:{SECRET}@mirror.example.org"]}, "give the URL without"),
    ({"docker_insecure_registries": ["https://r"]}, "docker_insecure_registries: 'https://r'"),
    ({"docker_daemon_options": {"hosts": ["tcp://0.0.0.0:2375"]}}, "hosts has no place there"),
    ({"docker_daemon_options": {"data-root": "/x"}}, "use docker_data_root"),
    ({"docker_daemon_options": {"iptables": False}}, "iptables has to stay on"),
    ({"docker_daemon_options": {"icc": "no"}}, "icc is true or false, not 'no'"),
    ({"docker_rollback_seconds": 5}, "docker_rollback_seconds is 5"),
    ({"docker_users": ["Admin!"]}, "docker_users: 'Admin!'"),
    ({"docker_prune_hours": 0}, "docker_prune_hours is 0"),
    ({"docker_prune_calendar": "a\nb"}, "docker_prune_calendar"),
    ({**LOGIN, "docker_registry_passwords": {}}, "r.example.org:5000 has no password"),
    ({**LOGIN, "docker_registry_passwords": "hunter2"}, "docker_registry_passwords: write the name"),
    ({"docker_registry_passwords": {"x.example.org": SECRET}}, "there is no x.example.org"),
    ({**LOGIN, "docker_registry_logins": LOGIN["docker_registry_logins"] * 2}, "is there twice"),
    (
        {"docker_registry_logins": [{"registry": "https://r/x", "username": "d", "state": "absent"}]},
        "'https://r/x' is not a registry",
    ),
    (
        {"docker_registry_logins": [{"registry": "r", "username": "a:b", "state": "absent"}]},
        "r has no user name",
    ),
]


@pytest.mark.parametrize(("changed", "reason"), BAD)
def test_bad_options_are_refused_with_the_reason(changed, reason):
    said = found(**changed)
    assert len(said) == 1, said
    assert reason in said[0]
    assert SECRET not in said[0]


def test_every_option_is_tried_with_a_bad_value_or_is_judged_by_its_type():
    judged_by_type = {
        *("docker_state", "docker_buildx", "docker_log_driver", "docker_live_restore", "docker_no_new_privileges"),
        *("docker_userland_proxy", "docker_icc", "docker_prune"),
    }
    assert {name for changed, _reason in BAD for name in changed} | judged_by_type == set(OPTIONS)


@pytest.mark.parametrize(("compose", "refused"), [("auto", False), (True, True), (False, False)])
def test_debian_12_has_no_compose_and_says_what_to_set(compose, refused):
    said = found("Debian-12", docker_compose=compose)
    assert len(said) == refused
    for words in ("Debian 12", "docker_repository_url", "docker_compose: false") if refused else ():
        assert words in said[0]
    assert found("Debian-12", docker_compose=compose, **REPOSITORY) == []


def test_a_release_that_nobody_knows_needs_a_repository():
    assert "Debian 99 is not supported" in found("Debian-99")[0]
    assert found("Debian-99", **REPOSITORY) == []


def test_a_pool_may_not_hold_an_address_of_the_host():
    assert "172.17.0.0/16 holds 172.17.4.4" in found(addresses=["172.17.4.4", "2001:db8::1"])[0]
    assert found(addresses=["192.0.2.10", "2001:db8::1"]) == []


@pytest.mark.parametrize("release", sorted(DISTRIBUTIONS))
def test_packages(release):
    everything = packages(DEFAULTS, release)
    assert len(everything) == len(set(everything))
    assert set(COMMON) < set(everything)
    bare = packages({**DEFAULTS, "docker_compose": False, "docker_buildx": False}, release)
    assert bare == [*DISTRIBUTIONS[release]["engine"], *COMMON]
    theirs = packages({**DEFAULTS, **REPOSITORY}, release)
    assert {"docker-ce", "docker-compose-plugin", "docker-buildx-plugin"} < set(theirs)
    assert "docker.io" not in theirs


def test_the_daemon_by_default():
    assert daemon(DEFAULTS) == {
        "data-root": "/var/lib/docker",
        "log-driver": "json-file",
        "log-opts": {"max-size": "10m", "max-file": "5"},
        "live-restore": True,
        "no-new-privileges": True,
        "userland-proxy": False,
        "icc": False,
        "default-address-pools": [{"base": "172.17.0.0/16", "size": 24}, {"base": "172.18.0.0/16", "size": 24}],
    }


@pytest.mark.parametrize(
    ("changed", "wanted"),
    [
        ({"docker_log_driver": "journald"}, {"log-driver": "journald", "log-opts": None}),
        ({"docker_live_restore": False}, {"live-restore": False}),
        ({"docker_dns": ["192.0.2.53"]}, {"dns": ["192.0.2.53"]}),
        ({"docker_daemon_options": {"icc": True, "mtu": 1400}}, {"icc": True, "mtu": 1400}),
        (
            {"docker_ipv6": True, "docker_ipv6_subnet": "fd00::/64"},
            {"ipv6": True, "fixed-cidr-v6": "fd00::/64", "ip6tables": True, "experimental": True},
        ),
    ],
)
def test_the_daemon_by_options(changed, wanted):
    content = daemon({**DEFAULTS, **changed})
    assert {key: content.get(key) for key in wanted} == wanted
    assert json.loads(json.dumps(content)) == content
