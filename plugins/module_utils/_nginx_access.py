# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the access log says of the servers of an upstream, from a place in it that was marked."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import re
import socket
from collections.abc import Iterable, Iterator, Sequence

# One word for each log: "INODE:OFFSET".
MARK = re.compile(r"(?:[0-9]+:[0-9]+(?: [0-9]+:[0-9]+)*)?")
# Between the servers that were tried, and those before and after a redirect inside of nginx.
BETWEEN = re.compile(r", | : ")


def mark(logs: Iterable[str]) -> str:
    """Where the logs end now."""
    found = []
    for path in logs:
        with contextlib.suppress(FileNotFoundError):
            now = os.stat(path)
            found.append(f"{now.st_ino}:{now.st_size}")
    return " ".join(found)


def since(logs: Iterable[str], place: str) -> Iterator[str]:
    """The lines after a mark; of a log that was rotated meanwhile also those in the file before it."""
    known = {int(inode): int(offset) for inode, offset in (word.split(":") for word in place.split())}
    for path in logs:
        for each in (path, f"{path}.1"):
            with contextlib.suppress(FileNotFoundError), open(each, encoding="utf-8", errors="replace") as file:
                found = os.fstat(file.fileno())
                begin = known.get(found.st_ino)
                if begin is None and each != path:
                    continue
                file.seek(begin if begin is not None and begin <= found.st_size else 0)
                yield from file
                if begin is not None:
                    break


def count(lines: Iterable[str], addresses: Iterable[str]) -> tuple[int, dict[str, int]]:
    """How often the servers were asked, and how often each of them failed: refused, timed out, or answered 5xx."""
    requests, errors = 0, dict.fromkeys(addresses, 0)
    for address, status in (pair for each in lines for pair in _asked(each)):
        if address in errors:
            requests += 1
            errors[address] += status.startswith("5")
    return requests, {address: number for address, number in errors.items() if number}


def _asked(text: str) -> list[tuple[str, str]]:
    try:
        found = json.loads(text)
        sides = [BETWEEN.split(found[key]) for key in ("upstream_addr", "upstream_status")]
    except (ValueError, KeyError, TypeError):
        return []  # cut off by a full disk, or not of the log's format
    return list(zip(*sides))  # noqa: B905 - Python 3.9


def logged(addresses: Sequence[str]) -> dict[str, str]:
    """Each address as nginx logs it, to what it was written as: a name is resolved."""
    found = {}
    for address in addresses:
        host, _colon, port = address.rpartition(":")
        found[address] = address
        if host and host != "unix" and not address.startswith("unix:") and not _is_ip(host.strip("[]")):
            with contextlib.suppress(OSError):
                for each in socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM):
                    ip = str(each[4][0])
                    found[f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"] = address
    return found


def _is_ip(host: str) -> bool:
    try:
        return bool(ipaddress.ip_address(host))
    except ValueError:
        return False
