# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the options of the role docker to packages and daemon.json, and what is refused of them.

Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

# Debian 12's docker-compose is version 1, another program that knows nothing of today's files.
DISTRIBUTIONS: dict[str, dict[str, list[str]]] = {
    "Debian-12": {"engine": ["docker.io"], "compose": [], "buildx": []},
    "Debian-13": {"engine": ["docker.io", "docker-cli"], "compose": ["docker-compose"], "buildx": ["docker-buildx"]},
    "Ubuntu-22": {"engine": ["docker.io"], "compose": ["docker-compose-v2"], "buildx": ["docker-buildx"]},
    "Ubuntu-24": {"engine": ["docker.io"], "compose": ["docker-compose-v2"], "buildx": ["docker-buildx"]},
}
# Only recommended by the engine's, though it cannot do without: AppArmor's parser where the kernel has AppArmor.
COMMON = ["apparmor", "ca-certificates", "iptables"]
WORDS = {"auto": "auto", "true": "true", "yes": "true", "false": "false", "no": "false"}
SIZE = re.compile(r"[1-9][0-9]*[kmg]")
HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?")
URL = re.compile(r"https?://[^\s\"'<>\\]+")
USER = re.compile(r"[a-z_][a-z0-9_-]*\$?")
WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~/-]*")
VERSION = re.compile(r"[A-Za-z0-9.+~:*-]+")
PACKAGE = re.compile(r"[a-z0-9][a-z0-9.+-]+")
KEY_BEGIN = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
# Each with the reason; the daemon does not start with the first three, as its unit sets them too.
FOREIGN = {
    "hosts": "the unit passes it, and the daemon refuses to have it twice: write a drop-in of docker.service",
    "containerd": "the unit passes it, and the daemon refuses to have it twice",
    "pidfile": "the unit and the check of new configurations rely on it",
    "config-file": "it is the file itself",
    "graph": "use docker_data_root",
    "data-root": "use docker_data_root",
}
# Without these rules of Docker's own neither published ports nor the firewall's hold on them work.
FIREWALL = ("iptables", "ip-forward", "ip-masq")
# The daemon checks it only when it starts, and the old file would have to come back.
BOOLEANS = (
    *("debug", "experimental", "icc", "ip-forward", "ip-masq", "ip6tables", "iptables", "ipv6"),
    *("live-restore", "no-new-privileges", "selinux-enabled", "userland-proxy"),
)


def compose_word(options: Mapping[str, Any]) -> str:
    """auto, true or false; empty for anything else."""
    return WORDS.get(str(options["docker_compose"]).lower(), "")


def source(options: Mapping[str, Any], release: str) -> dict[str, list[str]]:
    """What the packages are called where they come from."""
    empty: dict[str, list[str]] = {"engine": [], "compose": [], "buildx": []}
    if options["docker_repository_url"]:
        return {**empty, **options["docker_repository_packages"]}
    return DISTRIBUTIONS.get(release, empty)


def packages(options: Mapping[str, Any], release: str) -> list[str]:
    """All that has to be installed, in one transaction."""
    names = source(options, release)
    wanted = list(names["engine"])
    if compose_word(options) != "false":
        wanted += names["compose"]
    if options["docker_buildx"]:
        wanted += names["buildx"]
    return [*wanted, *COMMON]


def _logs(options: Mapping[str, Any]) -> dict[str, Any]:
    driver = options["docker_log_driver"]
    if driver not in ("json-file", "local"):
        return {"log-driver": driver}
    limits = {"max-size": options["docker_log_max_size"], "max-file": str(options["docker_log_max_files"])}
    return {"log-driver": driver, "log-opts": limits}


def _ipv6(options: Mapping[str, Any]) -> dict[str, Any]:
    if not options["docker_ipv6"]:
        return {}
    # Up to Docker 26 the packet filter for IPv6 is among its experiments.
    return {"ipv6": True, "fixed-cidr-v6": options["docker_ipv6_subnet"], "ip6tables": True, "experimental": True}


def daemon(options: Mapping[str, Any]) -> dict[str, Any]:
    """The whole daemon.json."""
    lists = {
        "dns": options["docker_dns"],
        "registry-mirrors": options["docker_registry_mirrors"],
        "insecure-registries": options["docker_insecure_registries"],
    }
    return {
        "data-root": options["docker_data_root"],
        **_logs(options),
        "live-restore": bool(options["docker_live_restore"]),
        "no-new-privileges": bool(options["docker_no_new_privileges"]),
        "userland-proxy": bool(options["docker_userland_proxy"]),
        "icc": bool(options["docker_icc"]),
        "default-address-pools": [
            {"base": pool["base"], "size": int(pool["size"])} for pool in options["docker_address_pools"]
        ],
        **_ipv6(options),
        **{key: list(value) for key, value in lists.items() if value},
        **options["docker_daemon_options"],
    }


# --- what is refused --------------------------------------------------------------------------------------------------


def _bad_source(options: Mapping[str, Any], release: str) -> Iterator[str]:
    url = str(options["docker_repository_url"])
    word = compose_word(options)
    if not word:
        yield f"docker_compose: {options['docker_compose']!r} is neither auto nor true nor false"
    if not url and release not in DISTRIBUTIONS:
        yield (
            f"{release.replace('-', ' ')} is not supported by itself, or its facts are missing (gather the subset"
            " distribution): set docker_repository_url to a repository that has Docker for it"
        )
    elif word == "true" and not source(options, release)["compose"]:
        where = "docker_repository_packages has no entry for it" if url else f"{release.replace('-', ' ')} has none"
        yield (
            f"docker_compose: `docker compose` (version 2) is asked for, but {where}: set docker_repository_url and"
            " docker_repository_key to a repository that has it, or docker_compose: false"
        )
    if options["docker_version"] and not VERSION.fullmatch(str(options["docker_version"])):
        yield f"docker_version: {options['docker_version']!r} is not a version as in apt_preferences(5), such as 26.1.*"
    if url:
        yield from _bad_repository(options)
    elif options["docker_repository_key"]:
        yield "docker_repository_key is set without docker_repository_url: set both or none"


def _bad_repository(options: Mapping[str, Any]) -> Iterator[str]:
    url = str(options["docker_repository_url"])
    if "@" in url:
        # It may be a password, so it is not repeated.
        yield "docker_repository_url has a user in it: apt's file is for all to read, so give the URL without"
    elif not URL.fullmatch(url):
        yield f"docker_repository_url: {url!r} is not a URL such as https://apt.example.org/docker"
    key = str(options["docker_repository_key"]).strip()
    if not key.startswith(KEY_BEGIN) or not key.endswith(KEY_BEGIN.replace("BEGIN", "END")):
        yield (
            "docker_repository_key: the public key that the repository is signed with is missing or not in ASCII"
            f" armour: it begins with {KEY_BEGIN}"
        )
    for name in ("docker_repository_suite", "docker_repository_components"):
        given = options[name]
        for each in [given] if isinstance(given, str) else given:
            if each and not WORD.fullmatch(str(each)):
                yield f"{name}: {each!r} is not a word"
    for kind, names in options["docker_repository_packages"].items():
        for each in names:
            if not PACKAGE.fullmatch(str(each)):
                yield f"docker_repository_packages.{kind}: {each!r} is not the name of a package"
    if not options["docker_repository_packages"].get("engine"):
        yield "docker_repository_packages.engine is empty: name the packages of the engine"


def _networks(options: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Each pool with its network, or with the text of what is wrong."""
    for pool in options["docker_address_pools"]:
        try:
            network = ipaddress.ip_network(pool["base"])
        except ValueError:
            yield pool["base"], f"{pool['base']!r} is not a network such as 172.17.0.0/16"
            continue
        size = int(pool["size"])
        if not network.prefixlen <= size <= network.max_prefixlen - 2:
            yield (
                pool["base"],
                f"size {size} does not fit {network}: {network.prefixlen} to {network.max_prefixlen - 2}",
            )
        else:
            yield pool["base"], network


def _bad_network(options: Mapping[str, Any], addresses: Iterable[str]) -> Iterator[str]:
    if not options["docker_address_pools"]:
        yield "docker_address_pools is empty: name at least one network"
    seen: list[Any] = []
    for base, network in _networks(options):
        if isinstance(network, str):
            yield f"docker_address_pools: {network}"
            continue
        for other in seen:
            if other.version == network.version and other.overlaps(network):
                yield f"docker_address_pools: {base} and {other} overlap"
        seen.append(network)
        for address in addresses:
            if ipaddress.ip_address(address) in network:
                yield f"docker_address_pools: {base} holds {address}, an address of this host: take another network"
    if options["docker_ipv6"]:
        try:
            ipaddress.IPv6Network(options["docker_ipv6_subnet"])
        except ValueError:
            given = options["docker_ipv6_subnet"]
            yield f"docker_ipv6_subnet: {given!r} is not a network such as fd00:17::/64, which docker_ipv6 needs"
    elif options["docker_ipv6_subnet"]:
        yield "docker_ipv6_subnet is set without docker_ipv6: set both or none"
    for each in options["docker_dns"]:
        try:
            ipaddress.ip_address(each)
        except ValueError:
            yield f"docker_dns: {each!r} is not an address"


def _bad_registries(options: Mapping[str, Any]) -> Iterator[str]:
    for each in options["docker_registry_mirrors"]:
        if "@" in str(each):
            yield "docker_registry_mirrors: one has a user in it, which Docker does not use: give the URL without"
        elif not URL.fullmatch(str(each)):
            yield f"docker_registry_mirrors: {each!r} is not a URL such as https://mirror.example.org"
    for each in options["docker_insecure_registries"]:
        try:
            _known = HOST.fullmatch(str(each)) or ipaddress.ip_network(each)
        except ValueError:
            yield f"docker_insecure_registries: {each!r} is neither HOST:PORT nor a network"
    given = options["docker_registry_passwords"]
    if not isinstance(given, Mapping) or not all(isinstance(each, str) for each in given.values()):
        yield "docker_registry_passwords: write the name of each registry and its password, a text"
        return
    names = [str(login["registry"]) for login in options["docker_registry_logins"]]
    for login in options["docker_registry_logins"]:
        name = str(login["registry"])
        if not HOST.fullmatch(name):
            yield f"docker_registry_logins: {name!r} is not a registry: write HOST or HOST:PORT, without https://"
        if not login["username"] or re.search(r"[:\s]", str(login["username"])):
            yield f"docker_registry_logins: {name} has no user name, or one with a colon or space"
        if names.count(name) > 1:
            yield f"docker_registry_logins: {name} is there twice: root can be one user there"
        if login.get("state", "present") == "present" and not given.get(name):
            yield f"docker_registry_logins: {name} has no password: put it into docker_registry_passwords"
    for name in sorted(set(map(str, given)) - set(names)):
        yield f"docker_registry_passwords: there is no {name} in docker_registry_logins"


def _bad_daemon(options: Mapping[str, Any]) -> Iterator[str]:
    for key, value in options["docker_daemon_options"].items():
        if key in FOREIGN:
            yield f"docker_daemon_options: {key} has no place there: {FOREIGN[key]}"
        elif key in FIREWALL and value is not True:
            yield f"docker_daemon_options: {key} has to stay on: without it neither networks nor published ports work"
        elif key in BOOLEANS and not isinstance(value, bool):
            yield f"docker_daemon_options: {key} is true or false, not {value!r}"
    if not SIZE.fullmatch(str(options["docker_log_max_size"])):
        yield f"docker_log_max_size: {options['docker_log_max_size']!r} is not a size such as 10m"
    for name in ("docker_log_max_files", "docker_prune_hours"):
        if int(options[name]) < 1:
            yield f"{name} is {options[name]}: give 1 or more"
    if int(options["docker_rollback_seconds"]) < 60:
        yield f"docker_rollback_seconds is {options['docker_rollback_seconds']}: the daemon may need 60 to start"
    path = str(options["docker_data_root"])
    if not re.fullmatch(r"(/[A-Za-z0-9._+-]+){2,}", path) or "/.." in path:
        yield f"docker_data_root: {path!r} is not a directory's absolute path, such as /srv/docker"


def _bad_rest(options: Mapping[str, Any]) -> Iterator[str]:
    for each in options["docker_users"]:
        if not USER.fullmatch(str(each)):
            yield f"docker_users: {each!r} is not the name of a user"
    calendar = str(options["docker_prune_calendar"])
    if not calendar.strip() or re.search(r"[\n\r\"'%]", calendar):
        yield f"docker_prune_calendar: {calendar!r} is not a time as in systemd.time(7), such as *-*-* 03:30:00"
    allowed = {"/var/lib/docker", "/var/lib/containerd", str(options["docker_data_root"])}
    for path in options["docker_remove_data"]:
        if str(path) not in allowed:
            yield f"docker_remove_data: {path} is none of {', '.join(sorted(allowed))}"


def problems(options: Mapping[str, Any], release: str, addresses: Iterable[str] = ()) -> list[str]:
    """What the role refuses of its options, each with its value and what to do."""

    def found() -> Iterator[str]:
        yield from _bad_source(options, release)
        yield from _bad_network(options, list(addresses))
        yield from _bad_registries(options)
        yield from _bad_daemon(options)
        yield from _bad_rest(options)

    return list(dict.fromkeys(found()))
