# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pg_hba.conf and pg_ident.conf as text. No I/O and no Ansible imports.

Syntax: https://www.postgresql.org/docs/current/auth-pg-hba-conf.html. What is written is judged once more by a server
on a scratch data directory; here is refused what that server would take and nobody should have.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

TYPES = ("local", "host", "hostssl", "hostnossl", "hostgssenc", "hostnogssenc")
METHODS = ("scram-sha-256", "md5", "peer", "cert", "reject", "ident", "ldap", "radius", "pam", "gss", "trust")
DATABASE_WORDS = ("all", "sameuser", "samerole", "replication")
ADDRESS_WORDS = ("all", "samehost", "samenet")
PLAIN = re.compile(r"[a-z_][a-z0-9_]*")
HOST_NAME = re.compile(r"\.?[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9-]+)*\.?")
OPTION = re.compile(r"[a-z_]+")


class HbaError(ValueError):
    """A rule that is not to be written."""


def _words(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [str(each) for each in value or ()]


def _name(word: str, keywords: Sequence[str], what: str) -> str:
    """A database or a role: keywords, +groups and /expressions as they are, all else quoted where it needs it."""
    if not word or any(char in word for char in '\n\r\0"'):
        raise HbaError(f"{what} {word!r} is empty, or has a quote or a line break in it")
    if word in keywords or PLAIN.fullmatch(word):
        return word
    if word.startswith("+"):
        return f'"{word}"' if not PLAIN.fullmatch(word[1:]) else word
    return f'"{word}"'


def is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True


def _address(value: Any) -> str:
    """A network, a host name or one of the keywords. Without its mask an address would be a syntax error."""
    text = str(value)
    if text in ADDRESS_WORDS:
        return text
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as exc:
        if re.search(r"[:/]", text) or re.fullmatch(r"[0-9.]+", text):
            raise HbaError(f"address {text!r}: {exc}. Write a network such as 10.0.0.0/24 or 2001:db8::/64") from None
    if not HOST_NAME.fullmatch(text):
        raise HbaError(f"address {text!r} is no network and no host name")
    return text


def _options(options: Mapping[str, Any]) -> list[str]:
    found = []
    for name, value in options.items():
        text = str(value)
        if not OPTION.fullmatch(name) or any(char in text for char in '\n\r\0"'):
            raise HbaError(f"option {name}={text!r} has characters that the file cannot hold")
        found.append(f"{name}={text}" if re.fullmatch(r"[A-Za-z0-9_./@:-]+", text) else f'{name}="{text}"')
    return found


def line(rule: Mapping[str, Any]) -> str:
    """One rule as pg_hba.conf has it."""
    kind, method = rule.get("type"), rule.get("method") or "scram-sha-256"
    if kind not in TYPES:
        raise HbaError(f"type {kind!r} is none of {', '.join(TYPES)}")
    if method not in METHODS:
        hint = " It would send the password in the clear; take scram-sha-256." if method == "password" else ""
        raise HbaError(f"method {method!r} is none of {', '.join(METHODS)}.{hint}")
    if method == "trust" and kind != "local":
        raise HbaError("method trust lets everybody in who reaches the port; take scram-sha-256, cert or peer")
    if method == "peer" and kind != "local":
        raise HbaError(f"method peer is for type local, not {kind}")
    if (kind == "local") == bool(rule.get("address")):
        raise HbaError("type local has no address" if kind == "local" else f"type {kind} needs an address")
    databases = [_name(each, DATABASE_WORDS, "database") for each in _words(rule.get("databases", "all"))]
    users = [_name(each, ("all",), "user") for each in _words(rule.get("users", "all"))]
    if not databases or not users:
        raise HbaError("databases and users may not be empty; leave them out for all")
    columns = [f"{kind:<8}", f"{','.join(databases):<16}", f"{','.join(users):<16}"]
    columns += [f"{_address(rule['address']) if kind != 'local' else '':<24}", method]
    columns += _options(rule.get("options") or {})
    return " ".join(columns).rstrip()


def problems(rules: Iterable[Mapping[str, Any]], where: str) -> list[str]:
    """What is wrong with each, by its place in the list."""
    found = []
    for number, rule in enumerate(rules):
        try:
            line(rule)
        except HbaError as exc:
            found.append(f"{where}[{number}]: {exc}")
    return found


def hba_text(rules: Sequence[Mapping[str, Any]], header: str) -> str:
    """The whole file: the first rule that fits a connection decides."""
    if not any(rule.get("type") == "local" for rule in rules):
        raise HbaError("no rule of type local: nobody on the host could manage the server")
    heads = "# TYPE   DATABASE         USER             ADDRESS                  METHOD"
    return "\n".join([header, heads, *map(line, rules), ""])


def ident_text(maps: Sequence[Mapping[str, str]], header: str) -> str:
    """pg_ident.conf: which users of the system may be which role."""
    rows = [" ".join(_name(str(entry[key]), ("all",), key) for key in ("map", "system_user", "role")) for entry in maps]
    return "\n".join([header, "# MAPNAME SYSTEM-USERNAME DATABASE-USERNAME", *rows, ""])
