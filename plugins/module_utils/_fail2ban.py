# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What fail2ban is told, and what it is not worth asking it.

Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator
from typing import Any, Union

Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]

# The role's self test bans these two, which nobody can ever send from.
SELF_TEST = ("240.0.0.1", "100::1")
LOOPBACK = ("127.0.0.0/8", "::1")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "mo": 2592000, "y": 31536000}
_DURATION = re.compile(r"(\d+)(mo|[smhdwy])")
# Names end up as sections, files, sets of nft and chains of iptables, whose limit is 28 with their prefix.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,24}")
_FILTER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*(\[[^\[\]\n\r]*\])?")
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_PORT_NAME = re.compile(r"[a-z][a-z0-9-]*")
_RESERVED = ("DEFAULT", "INCLUDES", "Definition", "Init", "sshd", "recidive")
_JAIL_TIMES = ("bantime", "findtime")
_JAIL_KEYS = ("port", "backend", "journalmatch", "logpath", "maxretry", "findtime", "bantime", "banaction")
_FILTER_KEYS = ("failregex", "ignoreregex", "journalmatch", "datepattern")
_IN_FILTERS = ("failregex", "ignoreregex")


def seconds(text: str) -> int | None:
    """A duration as fail2ban writes it; -1 is for ever, None is no duration."""
    words = str(text).strip().replace(" ", "")
    if words == "-1" or words.isdigit():
        return int(words)
    parts = _DURATION.findall(words)
    if not parts or "".join(number + unit for number, unit in parts) != words:
        return None
    return sum(int(number) * _SECONDS[unit] for number, unit in parts)


def network(text: str) -> Network | None:
    """An address or a network, host bits or not."""
    try:
        return ipaddress.ip_network(str(text).strip(), strict=False)
    except ValueError:
        return None


def covered(wanted: Network, by: Iterable[Network]) -> bool:
    """Whether one of the networks has all of another."""
    # The versions are compared, as subnet_of refuses to.
    return any(
        wanted.version == each.version and wanted.subnet_of(each)  # type: ignore[arg-type]
        for each in by
    )


def never_banned(networks: Iterable[str], controllers: Iterable[str]) -> list[str]:
    """Who is never banned: this host, the networks, and controllers that lie in none of these."""
    listed = [*LOOPBACK, *(str(each).strip() for each in networks)]
    known = [found for found in map(network, listed) if found]
    # A link-local address comes with the name of an interface.
    plain = [str(each).partition("%")[0] for each in controllers]
    extra = [each for each in plain if each and not covered(network(each) or ipaddress.ip_network(each), known)]
    return list(dict.fromkeys([*listed, *extra]))


def _text(value: Any) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)


def _lines(value: Any) -> list[str]:
    return [_text(each) for each in value] if isinstance(value, (list, tuple)) else [_text(value)]


def _ports(value: Any) -> str:
    return ",".join(_lines(value)).replace(" ", "")


def jail_filter(jail: dict[str, Any], own: Iterable[str]) -> str:
    """The filter of a jail; the role's own files carry a prefix, so that none hides a file of the package."""
    name, bracket, rest = str(jail["filter"]).partition("[")
    return f"{'shipshape-' if name in own else ''}{name}{bracket}{rest}"


def unit(service: str) -> str:
    """The full name of a unit."""
    return service if "." in service else f"{service}.service"


def jail_sections(
    jails: Iterable[dict[str, Any]], filters: Iterable[dict[str, Any]], services: Iterable[str]
) -> dict[str, dict[str, list[str]]]:
    """The user's jails whose service exists, by name: keyword to lines."""
    own, known = {each["name"] for each in filters}, set(services)
    sections = {}
    for jail in jails:
        if jail.get("service") and unit(jail["service"]) not in known:
            continue
        section = {"enabled": ["true"], "filter": [jail_filter(jail, own)]}
        section["backend"] = ["polling" if jail.get("logpath") else "systemd"]
        for key in _JAIL_KEYS:
            if jail.get(key) not in (None, "", []):
                section[key] = [_ports(jail[key])] if key == "port" else _lines(jail[key])
        section.update({key: _lines(value) for key, value in (jail.get("settings") or {}).items()})
        sections[jail["name"]] = section
    return sections


def filter_section(definition: dict[str, Any]) -> dict[str, list[str]]:
    """The lines of one of the user's filters."""
    section = {key: _lines(definition[key]) for key in _FILTER_KEYS if definition.get(key)}
    return {**section, **{key: _lines(value) for key, value in (definition.get("settings") or {}).items()}}


def _bad_duration(name: str, value: Any, forever: bool = False) -> Iterator[str]:
    found = seconds(value)
    if found is None or found == 0 or (found < 0 and not forever):
        choice = ", or -1 for ever" if forever else ""
        yield f"{name}: {value!r} is not a duration: write a number with s, m, h, d, w, mo or y, such as 90m{choice}"


def _bad_lines(name: str, value: Any) -> Iterator[str]:
    for line in _lines(value):
        if any(sign in line for sign in "\n\r\0"):
            yield f"{name}: {line!r} has more than one line: write a list with one line in each entry"


def _bad_settings(name: str, settings: dict[str, Any] | None, taken: Iterable[str]) -> Iterator[str]:
    for key, value in (settings or {}).items():
        if not _KEY.fullmatch(str(key)):
            yield f"{name}: {key!r} is not the name of a setting"
        elif key in taken:
            yield f"{name}: {key} has an option of its own: write it there"
        yield from _bad_lines(f"{name}: {key}", value)


def _bad_ports(name: str, value: Any) -> Iterator[str]:
    for each in _ports(value).split(","):
        numbers = each.split(":") if each[:1].isdigit() or not each[:1].isalpha() else []
        if numbers and not all(number.isdigit() and 1 <= int(number) <= 65535 for number in numbers):
            yield f"{name}: {each!r} is not a port: write 1 to 65535, a range such as 8000:8010, or a name of a service"
        elif not numbers and not _PORT_NAME.fullmatch(each):
            yield f"{name}: {each!r} is not the name of a service in /etc/services"


def _bad_names(option: str, entries: Iterable[dict[str, Any]], reserved: Iterable[str] = ()) -> Iterator[str]:
    seen: set[str] = set()
    for entry in entries:
        name = str(entry.get("name", ""))
        if not _NAME.fullmatch(name):
            yield f"{option}: {name!r} is not a name: write up to 25 letters, digits, dots, dashes and underscores"
        if name in reserved:
            yield f"{option}: the name {name} is taken: it has options of its own, or a meaning for fail2ban"
        if name in seen:
            yield f"{option}: {name} is there twice: give each entry a name of its own"
        seen.add(name)


def _bad_jail(jail: dict[str, Any], filters: dict[str, dict[str, Any]]) -> Iterator[str]:
    name = f"fail2ban_jails: {jail.get('name')}"
    wanted = str(jail.get("filter") or "")
    if not wanted:
        yield f"{name} has no filter: name one of fail2ban_filters, or a file of /etc/fail2ban/filter.d"
    elif not _FILTER.fullmatch(wanted):
        yield f"{name}: filter {wanted!r} is not a name, such as nginx-http-auth or sshd[mode=ddos]"
    for key in _JAIL_TIMES:
        if jail.get(key) not in (None, ""):
            yield from _bad_duration(f"{name}: {key}", jail[key], forever=key == "bantime")
    if jail.get("maxretry") is not None and int(jail["maxretry"]) < 1:
        yield f"{name}: maxretry {jail['maxretry']} would ban at once: give 1 or more"
    if jail.get("port") not in (None, "", []):
        yield from _bad_ports(f"{name}: port", jail["port"])
    for key in ("backend", "journalmatch", "logpath", "banaction", "service", "filter"):
        yield from _bad_lines(f"{name}: {key}", jail.get(key) or "")
    for path in _lines(jail.get("logpath") or []):
        if not path.startswith(("/", "%(")):
            yield f"{name}: logpath {path!r} is not absolute"
    backend = jail.get("backend") or ("polling" if jail.get("logpath") else "systemd")
    if backend != "systemd" and not jail.get("logpath"):
        yield f"{name}: backend {backend} reads files: give logpath, or leave backend out"
    own = filters.get(wanted.partition("[")[0])
    if backend == "systemd" and own is not None and not (jail.get("journalmatch") or own.get("journalmatch")):
        yield f"{name} would read the whole journal: give journalmatch, such as SYSLOG_IDENTIFIER=name"
    taken = (*_JAIL_KEYS, *_IN_FILTERS, "filter", "enabled")
    yield from _bad_settings(f"{name}: settings", jail.get("settings"), taken)


def _bad_filter(definition: dict[str, Any]) -> Iterator[str]:
    name = f"fail2ban_filters: {definition.get('name')}"
    if not definition.get("failregex"):
        yield f"{name} has no failregex: give at least one"
    for line in definition.get("failregex") or []:
        if not re.search(r"<(HOST|ADDR|IP4|IP6|SUBNET|CIDR|F-ID)>", str(line)):
            yield f"{name}: failregex {line!r} says nowhere whom to ban: write <HOST> where the address stands"
    for key in _FILTER_KEYS:
        yield from _bad_lines(f"{name}: {key}", definition.get(key) or "")
    yield from _bad_settings(f"{name}: settings", definition.get("settings"), _FILTER_KEYS)


def _bad_networks(option: str, values: Iterable[str]) -> Iterator[str]:
    for value in values:
        found = network(value)
        if found is None:
            yield f"{option}: {value!r} is not an address or a network, such as 192.0.2.7 or 2001:db8::/32"
        elif any(covered(ipaddress.ip_network(each), [found]) for each in SELF_TEST):
            yield f"{option}: {value} leaves nobody to ban (not even the self test's): name a smaller network"


def problems(options: dict[str, Any]) -> list[str]:
    """What the role refuses of its options, each with its value and what to do."""

    def given(name: str) -> Any:
        return options[f"fail2ban_{name}"]

    def found() -> Iterator[str]:
        for name in ("bantime", "recidive_bantime"):
            yield from _bad_duration(f"fail2ban_{name}", given(name), forever=True)
        for name in ("findtime", "recidive_findtime", "bantime_maxtime", "dbpurgeage"):
            yield from _bad_duration(f"fail2ban_{name}", given(name))
        least, most = seconds(given("bantime")), seconds(given("bantime_maxtime"))
        if given("bantime_increment") and least and most and 0 < most < least:
            yield f"fail2ban_bantime_maxtime: {given('bantime_maxtime')} is less than fail2ban_bantime: give more"
        for name in ("maxretry", "recidive_maxretry"):
            if int(given(name)) < 1:
                yield f"fail2ban_{name}: {given(name)} would ban at once: give 1 or more"
        if float(given("bantime_factor")) <= 0:
            yield f"fail2ban_bantime_factor: {given('bantime_factor')} would not let a ban last: give more than 0"
        if not given("sshd_ports"):
            yield "fail2ban_sshd_ports is empty: name the ports of sshd, or set fail2ban_sshd to false"
        for port in given("sshd_ports"):
            if not 1 <= int(port) <= 65535:
                yield f"fail2ban_sshd_ports: not a port (1-65535): {port}"
        for name in ("ignore_ips", "controller_addresses"):
            yield from _bad_networks(f"fail2ban_{name}", given(name))
        for name in ("banaction", "banaction_allports"):
            if not _FILTER.fullmatch(str(given(name))):
                yield f"fail2ban_{name}: {given(name)!r} is not an action, such as nftables[type=allports]"
        taken = ("ignoreip", "maxretry", *_IN_FILTERS, *_JAIL_TIMES)
        yield from _bad_settings("fail2ban_defaults", given("defaults"), taken)
        if not 30 <= int(given("rollback_seconds")) <= 3600:
            yield f"fail2ban_rollback_seconds is {given('rollback_seconds')}: give 30 to 3600"
        filters = {str(each.get("name")): each for each in given("filters")}
        yield from _bad_names("fail2ban_jails", given("jails"), _RESERVED)
        yield from _bad_names("fail2ban_filters", given("filters"), ("sshd", "recidive"))
        for jail in given("jails"):
            yield from _bad_jail(jail, filters)
        for definition in given("filters"):
            yield from _bad_filter(definition)

    return list(dict.fromkeys(found()))
