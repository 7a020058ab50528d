# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What nginx and the kernel say, and what it means for who wrote the options.

Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ansible_collections.shipshape.stack.plugins.module_utils._nginx_tls import Nginx

VERSION = re.compile(r"^nginx version: \S*?/([0-9]+(?:\.[0-9]+)*)", re.MULTILINE)
BUILT = re.compile(r"^built with OpenSSL ([0-9]+(?:\.[0-9]+)*)", re.MULTILINE)
RUNNING = re.compile(r"\(running with OpenSSL ([0-9]+(?:\.[0-9]+)*)")
MODULE = re.compile(r"^\s*load_module\s+\"?(?:[^;\"]*/)?([A-Za-z0-9_]+)\.so\"?\s*;", re.MULTILINE)
# `nginx: [emerg] ...` on the terminal, `2026/11/25 17:00:00 [emerg] 12#12: ...` in the log.
LOGGED = r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d"
SAID = re.compile(rf"^(?:nginx:|{LOGGED}) \[(warn|error|crit|alert|emerg)\](?: (\d+)#\d+:(?: \*\d+)?)? (.*)$")
PLACE = re.compile(r" in (/\S+):(\d+)$")
NO_HOST = re.compile(r"host not found in upstream \"([^\"]+)\"")
CERTIFICATE = re.compile(r"/etc/nginx/tls/([^/\"]+)/")
SITE = re.compile(r"^(?:sites/(.+)|headers/(.+?)(?:\.\d+)?(?:\.tls)?)\.conf$")
ZONE_KEY = re.compile(r" while previously it used the ")
# Where the status server is, in a tree of which nothing else is known.
STATUS = re.compile(r"listen ([^\s;]+);(?:(?!listen )[\s\S])*?location = /generation ")
TAKEN = re.compile(r"bind\(\) to (\S+) failed \(98:")
NO_FAMILY = re.compile(r"socket\(\) \[\S+ failed \(97:")
LISTEN, OPEN_UDP = "0A", "07"


@dataclass(frozen=True)
class Line:
    """One message of nginx."""

    level: str
    text: str
    pid: int = 0  # of the process that logged it

    @property
    def place(self) -> tuple[str, int]:
        found = PLACE.search(self.text)
        return (found[1], int(found[2])) if found else ("", 0)


def read_said(text: str) -> list[Line]:
    """The messages in the output of `nginx -t`, or in an error log; anything else is left out."""
    found = filter(None, map(SAID.match, text.splitlines()))
    return [Line(each[1], each[3].strip(), int(each[2] or 0)) for each in found]


def fatal(lines: Iterable[Line]) -> list[Line]:
    return [line for line in lines if line.level in ("emerg", "alert", "crit")]


def final(lines: Iterable[Line]) -> bool:
    """Whether that is its last word: it tries to bind for some seconds, and may yet succeed."""
    return any(not TAKEN.search(line.text) for line in lines)


def status_of(text: str) -> tuple[str, int] | None:
    """The address of the server in a generation that says which one it is."""
    found = STATUS.search(text)
    return address_of(found[1].strip('"')) if found else None


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def read_version(said: str, enabled: str) -> Nginx | None:
    """From `nginx -V`, and the lines that load modules."""
    version = VERSION.search(said)
    openssl = RUNNING.search(said) or BUILT.search(said)
    if not version or not openssl:
        return None
    return Nginx(_numbers(version[1]), _numbers(openssl[1]), frozenset(MODULE.findall(enabled)))


# --- warnings ---------------------------------------------------------------------------------------------------------


def new_warnings(said: str, before: str, folders: Iterable[str]) -> list[Line]:
    """What nginx warns of and did not before, wherever the same stood then."""

    def key(line: Line) -> str:
        text = PLACE.sub("", line.text)
        for folder in folders:
            text = text.replace(folder, "")
        return text

    known = {key(line) for line in read_said(before) if line.level == "warn"}
    return [line for line in read_said(said) if line.level == "warn" and key(line) not in known]


# --- errors -----------------------------------------------------------------------------------------------------------


def _where(path: str, number: int, texts: Mapping[str, str]) -> str:
    """The site, and the line as it was written."""
    lines = texts.get(path, "").splitlines()
    line = f": `{lines[number - 1].strip()}`" if 0 < number <= len(lines) else ""
    site = SITE.match(path)
    return f"{f'site {site[1] or site[2]}, ' if site else ''}line {number} of {path}{line}"


def _users(needle: str, texts: Mapping[str, str]) -> str:
    """Who names a certificate: its own errors have no line."""
    names = [path.rpartition("/")[2].removesuffix(".conf") for path in sorted(texts) if needle in texts[path]]
    return f"site {', '.join(names)}: " if names else ""


def _advice(line: Line) -> str:
    host = NO_HOST.search(line.text)
    if host:
        return (
            f" The name {host[1].rpartition(':')[0] or host[1]} does not resolve on this host, and nginx would not"
            " start: give an address, or see that it resolves"
        )
    if NO_FAMILY.search(line.text):
        return " This host has no IPv6: leave :: out of nginx_addresses"
    if ZONE_KEY.search(line.text):
        return " nginx cannot change that of what it has in memory: give it another name as well"
    name = CERTIFICATE.search(line.text)
    if name:
        return f" Put a readable certificate and its key where /etc/nginx/tls/{name[1]}/current leads to"
    return ""


def explain(line: Line, folder: str, texts: Mapping[str, str]) -> str:
    """A message with the place in the terms of the options; texts are the tree by relative path."""
    path, number = line.place
    if path.startswith(f"{folder}/"):
        relative = path[len(folder) + 1 :]
        said = PLACE.sub("", line.text)
        return f"{_where(relative, number, texts)}. nginx says: {said}.{_advice(line)}"
    quoted = re.search(r"\"(/[^\"]+)\"", line.text)
    users = _users(quoted[1], texts) if quoted and not path else ""
    return f"{users}nginx says: {line.text}.{_advice(line)}"


def explain_all(said: str, folder: str, texts: Mapping[str, str]) -> str:
    lines = fatal(read_said(said))
    if not lines:
        return f"nginx says: {' '.join(said.split()) or 'nothing'}"
    return " ".join(explain(line, folder, texts) for line in lines)


def taken(lines: Iterable[Line]) -> list[str]:
    """The addresses that nginx could not have, each once."""
    return list(dict.fromkeys(found[1] for line in lines for found in [TAKEN.search(line.text)] if found))


def address_of(text: str) -> tuple[str, int]:
    """`0.0.0.0:80` and `[::]:80` of a message; port 0 for a socket in the file system."""
    host, _colon, port = text.rpartition(":")
    return (host.strip("[]"), int(port)) if port.isdigit() else (text, 0)


def place_of(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


# --- sockets ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Socket:
    """Something that listens, as /proc/net has it."""

    address: str
    port: int
    kind: str
    inode: int


def _address(hexadecimal: str) -> str:
    """Words of 32 bits in the order of the machine, which is little endian wherever Debian's nginx runs but s390x."""
    raw = bytes.fromhex(hexadecimal)
    words = b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4))
    return str(ipaddress.ip_address(words))


def read_sockets(text: str, kind: str) -> list[Socket]:
    """The listening ones of /proc/net/tcp, tcp6, udp or udp6."""
    found, state = [], LISTEN if kind == "tcp" else OPEN_UDP
    for fields in (line.split() for line in text.splitlines()[1:]):
        if len(fields) > 9 and fields[3] == state:
            host, _colon, port = fields[1].partition(":")
            found.append(Socket(_address(host), int(port, 16), kind, int(fields[9])))
    return found


def _covers(wide: str, address: str) -> bool:
    pair = [ipaddress.ip_address(each) for each in (wide, address)]
    return pair[0] == pair[1] or (pair[0].version == pair[1].version and pair[0].is_unspecified)


def missing(wanted: Iterable[tuple[str, int, str]], held: Iterable[Socket]) -> list[tuple[str, int, str]]:
    """What shall be listened on and is not. A wildcard serves every address of its family."""
    held = list(held)
    return [
        (address, port, kind)
        for address, port, kind in wanted
        if not any(each.port == port and each.kind == kind and _covers(each.address, address) for each in held)
    ]


def in_the_way(address: str, port: int, kind: str, sockets: Iterable[Socket]) -> list[Socket]:
    """Who has the port: at that address, at all of them, or at one where all are wanted."""

    def same(each: Socket) -> bool:
        both = each.address == "::" or address == "::"
        return both or _covers(each.address, address) or _covers(address, each.address)

    return [each for each in sockets if each.port == port and each.kind == kind and same(each)]
