# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the options of the role redis to the settings of a server, and what is refused of them.

Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.shipshape.stack.plugins.module_utils._memory_budget import (
    MemoryBudgetError,
    mebibytes,
    memory_budget,
)
from ansible_collections.shipshape.stack.plugins.module_utils._redis_plan import (
    MANAGER,
    NAME,
    policy_problem,
    text_of,
)

LEAST_MB = 16
USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]*")
# Each with what to use instead.
FOREIGN = {
    **dict.fromkeys(["aclfile", "user", "requirepass"], "use redis_users and redis_password"),
    **dict.fromkeys(["masterauth", "masteruser", "replicaof", "slaveof"], "this role sets up single servers"),
    **dict.fromkeys(["cluster-enabled", "sentinel"], "this role sets up single servers"),
    **dict.fromkeys(["daemonize", "pidfile", "supervised", "unixsocket"], "it belongs to the role"),
    **dict.fromkeys(["tls-key-file-pass", "tls-client-key-file-pass"], "use a key without a passphrase, mode 0640"),
    **dict.fromkeys(["appendonly", "maxmemory", "save"], "its option of the role counts for the memory of the host"),
    "include": "the role owns the whole configuration",
    "loadmodule": "the role cannot prove modules",
    "rename-command": "take commands from users by redis_users",
}
# Rules that would bring a password in, or do away with it; the server reads them in any case.
PASSWORD_RULE = re.compile(r"^([<>#!]|nopass$|resetpass$|reset$|on$|off$)", re.IGNORECASE)
# What the unit does not see of the host.
HIDDEN = ("/home/", "/root/", "/run/user/", "/tmp/", "/var/tmp/")  # noqa: S108
PROTOCOLS = {"TLSv1.2": '"TLSv1.2 TLSv1.3"', "TLSv1.3": '"TLSv1.3"'}
CLIENT_CERTIFICATES = {"none": "no", "optional": "optional", "required": "yes"}


def forks(options: Mapping[str, Any]) -> bool:
    """Whether the server writes its memory to the disk from a copy of itself."""
    return bool(options["redis_save"] or options["redis_appendonly"])


def others_mb(options: Mapping[str, Any], total_mb: Any) -> dict[str, Any]:
    return memory_budget(list(options["redis_memory_claims"]), total_mb, options["redis_memory_reserved_mb"])


def maxmemory_mb(options: Mapping[str, Any], total_mb: Any) -> int:
    """As given, or a quarter of what is left: half of that is for its copy while it saves."""
    if options["redis_maxmemory"] not in ("", None):
        return mebibytes(_number(options["redis_maxmemory"]))
    size = others_mb(options, total_mb)["free_mb"] // 4
    # In steps, as kernels of one machine differ in what they leave.
    return max(LEAST_MB, size - size % (64 if size > 512 else LEAST_MB))


def _number(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isdigit() else value


def certificate(options: Mapping[str, Any], folder: str) -> dict[str, str]:
    """Paths of the certificate: the user's, or that which the role makes."""
    own = f"{folder}/shipshape.crt"
    given = options["redis_tls_certificate"]
    return {
        "cert": given or own,
        "key": options["redis_tls_key"] or f"{folder}/shipshape.key",
        # The server wants one even where clients have none.
        "ca": options["redis_tls_ca_certificate"] or given or own,
    }


def _tls(options: Mapping[str, Any], folder: str) -> dict[str, Any]:
    if not options["redis_tls"]:
        return {"tls-port": 0}
    files = certificate(options, folder)
    return {
        "tls-port": options["redis_tls_port"],
        "tls-cert-file": files["cert"],
        "tls-key-file": files["key"],
        "tls-ca-cert-file": files["ca"],
        "tls-auth-clients": CLIENT_CERTIFICATES[options["redis_tls_client_certificates"]],
        "tls-protocols": PROTOCOLS[options["redis_tls_min"]],
    }


def settings(options: Mapping[str, Any], total_mb: Any, folder: str) -> dict[str, Any]:
    """Directives as in redis.conf."""
    return {
        "port": options["redis_port"],
        "bind": " ".join(options["redis_bind_addresses"]),
        "protected-mode": options["redis_protected_mode"],
        "maxmemory": f"{maxmemory_mb(options, total_mb)}mb",
        "maxmemory-policy": options["redis_maxmemory_policy"],
        "save": " ".join(str(number) for point in options["redis_save"] for number in point),
        "appendonly": options["redis_appendonly"],
        "appendfsync": options["redis_appendfsync"],
        **_tls(options, folder),
        **options["redis_settings"],
    }


def users(options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The users as the module takes them; the default one only with a password."""
    default = [{"name": "default", "rules": list(options["redis_default_user_rules"])}]
    named = [{"name": user["name"], "rules": list(user["rules"])} for user in options["redis_users"]]
    return [*(default if options["redis_password"] else []), *named]


def passwords(options: Mapping[str, Any]) -> dict[str, str]:
    default = {"default": options["redis_password"]} if options["redis_password"] else {}
    return {**options["redis_user_passwords"], **default}


# --- what is refused --------------------------------------------------------------------------------------------------


def _bad_network(options: Mapping[str, Any]) -> Iterator[str]:
    if not options["redis_bind_addresses"]:
        yield "redis_bind_addresses is empty: name addresses of this host, or '*' for all"
    for each in options["redis_bind_addresses"]:
        address = str(each)[1:] if str(each).startswith("-") else str(each)
        try:
            _address = address in ("*", "::*") or ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            yield f"redis_bind_addresses: {each!r} is not an address, such as 127.0.0.1, or -::1 if it may be absent"
    ports = {"redis_port": options["redis_port"]}
    if options["redis_tls"]:
        ports["redis_tls_port"] = options["redis_tls_port"]
    for name, port in ports.items():
        if not 0 <= int(port) <= 65535:
            yield f"{name}: {port} is not a port: write 1 to 65535, or 0 for none"
    if options["redis_tls"] and int(options["redis_tls_port"]) == int(options["redis_port"]):
        yield f"redis_tls_port: {options['redis_tls_port']} is redis_port, too: give each a port, or one of them 0"


def _bad_tls(options: Mapping[str, Any]) -> Iterator[str]:
    names = ("redis_tls_certificate", "redis_tls_key", "redis_tls_ca_certificate")
    for name in names:
        path = str(options[name])
        if path and (not path.startswith("/") or re.search(r"[\s\"']", path)):
            yield f"{name}: {path!r} is not an absolute path without spaces and quotes"
        elif path.startswith(HIDDEN):
            yield f"{name}: the service does not see {path}: put it into /etc/redis or /etc/ssl"
    if bool(options["redis_tls_certificate"]) != bool(options["redis_tls_key"]):
        yield "redis_tls_certificate and redis_tls_key belong together: give both, or none for a self-signed one"
    if options["redis_tls_client_certificates"] != "none" and not options["redis_tls_ca_certificate"]:
        yield "redis_tls_client_certificates: say who signs them in redis_tls_ca_certificate"


def _bad_rules(name: str, rules: Iterable[Any]) -> Iterator[str]:
    for rule in rules:
        text = str(rule)
        if PASSWORD_RULE.match(text):
            # Its value may be a password, so it is not repeated.
            yield f"{name}: a rule sets a password or a state: passwords go to redis_user_passwords, leave the rest out"
        elif (
            not text
            or re.search(r"[\n\r\0]", text)
            or (re.search(r"\s", text) and not re.fullmatch(r"\([^()]*\)", text))
        ):
            yield f"{name}: {text!r} is not one rule: write each as an entry of its own"


def _bad_users(options: Mapping[str, Any]) -> Iterator[str]:
    given = options["redis_user_passwords"]
    if not isinstance(given, Mapping) or not all(isinstance(each, str) for each in given.values()):
        yield "redis_user_passwords: write the name of each user and its password, a text"
        return
    yield from _bad_rules("redis_default_user_rules", options["redis_default_user_rules"])
    seen: set[str] = set()
    for user in options["redis_users"]:
        name = str(user["name"])
        if not USER.fullmatch(name) or name in (MANAGER, "default"):
            yield f"redis_users: {name!r} is not a name for a user: {MANAGER} and default have a meaning already"
        if name in seen:
            yield f"redis_users: {name} is there twice: give each user one entry"
        seen.add(name)
        if not given.get(name):
            yield f"redis_users: {name} has no password: put it into redis_user_passwords"
        if not user.get("rules"):
            yield f'redis_users: {name} has no rules: write what it may do, such as "~{name}:*" and "+@all"'
        yield from _bad_rules(f"redis_users: {name}", user.get("rules") or [])
    for name in sorted(set(map(str, given)) - seen):
        yield f"redis_user_passwords: there is no user {name} in redis_users"
    for name, password in {**given, "default": options["redis_password"]}.items():
        if password and len(password) < 12:
            yield f"the password of the user {name} has less than 12 characters: Redis does not slow guesses down"


def _bad_save(options: Mapping[str, Any]) -> Iterator[str]:
    for point in options["redis_save"]:
        fine = isinstance(point, (list, tuple)) and len(point) == 2 and all(str(each).isdigit() for each in point)
        if not fine or int(point[0]) < 1:
            yield f"redis_save: {point!r} is not a pair of seconds and changes, such as [900, 1]"


def _bad_settings(options: Mapping[str, Any]) -> Iterator[str]:
    for key, value in options["redis_settings"].items():
        name = str(key).lower()
        if name in FOREIGN:
            yield f"redis_settings: {name} has no place there: {FOREIGN[name]}"
        elif not NAME.fullmatch(name):
            yield f"redis_settings: {key!r} is not the name of a directive"
        for line in value if isinstance(value, (list, tuple)) else [value]:
            if re.search(r"[\n\r\0]", text_of(line)):
                yield f"redis_settings: {name} has more than one line: write a list with one line in each entry"


def _bad_memory(options: Mapping[str, Any], total_mb: Any) -> Iterator[str]:
    try:
        wanted = options["redis_maxmemory"] not in ("", None)
        if not total_mb and (options["redis_memory_claims"] or not wanted):
            yield "redis_maxmemory: the memory of the host is not known: gather the facts of the subset hardware"
            return
        size = maxmemory_mb(options, total_mb)
        if size < 1:
            yield "redis_maxmemory: 0 is no limit: give a size such as 512M"
        claim = {"name": "redis" + (" (twice: it saves from a copy)" if forks(options) else ""), "memory": size}
        if total_mb:
            budget = memory_budget(
                [*options["redis_memory_claims"], {**claim, "count": 2 if forks(options) else 1}],
                total_mb, options["redis_memory_reserved_mb"],
            )  # fmt: skip
            if not budget["ok"]:
                yield f"redis_maxmemory: {budget['message']}"
    except MemoryBudgetError as exc:
        yield f"redis_maxmemory: {exc}"


def problems(options: Mapping[str, Any], total_mb: Any, release: str) -> list[str]:
    """What the role refuses of its options, each with its value and what to do."""

    def found() -> Iterator[str]:
        if options["redis_flavour"] == "valkey" and release in ("Debian-12", "Ubuntu-22"):
            yield f"redis_flavour: {release.replace('-', ' ')} has no valkey: use redis, or a newer release"
        yield from _bad_network(options)
        yield from _bad_tls(options)
        yield from _bad_users(options)
        yield from _bad_save(options)
        yield from _bad_settings(options)
        yield from _bad_memory(options, total_mb)
        policy = str(options["redis_settings"].get("maxmemory-policy", options["redis_maxmemory_policy"]))
        if options["redis_purpose"] == "queue":
            yield from filter(None, [policy_problem(policy, "queue")])
        if int(options["redis_persist_seconds"]) < 1:
            yield f"redis_persist_seconds is {options['redis_persist_seconds']}: give 1 or more"

    return list(dict.fromkeys(found()))
