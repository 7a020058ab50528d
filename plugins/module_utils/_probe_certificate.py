# Copyright: (c) 2026, The shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a certificate says of itself, read from its DER form. Pure.

Python's ssl tells this only of certificates that it has verified, while a placeholder that is self-signed runs out just
the same; so the few fields that matter are read here (RFC 5280, 4.1 and 4.2.1.6).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone

UTC_TIME, BMP_STRING = 0x17, 0x1E
VERSION, EXTENSIONS = 0xA0, 0xA3
DNS_NAME, IP_ADDRESS = 0x82, 0x87
ALT_NAMES = b"\x55\x1d\x11"
COMMON_NAME, ORGANISATION = b"\x55\x04\x03", b"\x55\x04\x0a"
Element = tuple[int, int, int]  # tag, start and end of the content


@dataclass(frozen=True)
class Certificate:
    subject: str
    issuer: str
    self_issued: bool
    not_before: datetime
    not_after: datetime
    names: tuple[str, ...]  # DNS names in lower case, and addresses as text

    def days_left(self, now: float) -> float:
        return (self.not_after.timestamp() - now) / 86400

    def holds(self, now: float) -> bool:
        return self.not_before.timestamp() <= now < self.not_after.timestamp()

    @property
    def days(self) -> float:
        """How long it holds in all."""
        return (self.not_after - self.not_before).total_seconds() / 86400

    def covers(self, name: str) -> bool:
        """Whether it holds for a name in lower case: a wildcard stands for exactly one label, the first (RFC 9525)."""
        return name in self.names or (not is_address(name) and f"*.{name.partition('.')[2]}" in self.names)


def is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _element(data: bytes, at: int) -> Element:
    tag, length, start = data[at], data[at + 1], at + 2
    if length & 0x80:
        size = length & 0x7F
        length, start = int.from_bytes(data[start : start + size], "big"), start + size
    return tag, start, start + length


def _inside(data: bytes, element: Element) -> Iterator[Element]:
    """The elements that an element is made of."""
    _tag, at, end = element
    while at < end:
        part = _element(data, at)
        yield part
        at = part[2]


def _text(data: bytes, element: Element) -> str:
    tag, start, end = element
    return data[start:end].decode("utf-16-be" if tag == BMP_STRING else "utf-8", "replace")


def _time(data: bytes, element: Element) -> datetime:
    form = "%y%m%d%H%M%SZ" if element[0] == UTC_TIME else "%Y%m%d%H%M%SZ"
    return datetime.strptime(_text(data, element), form).replace(tzinfo=timezone.utc)


def _title(data: bytes, name: Element) -> str:
    """A common name, or whose it is where there is none."""
    found: dict[bytes, str] = {}
    for part in _inside(data, name):
        for pair in _inside(data, part):
            kind, value = _inside(data, pair)
            found[data[kind[1] : kind[2]]] = _text(data, value)
    return found.get(COMMON_NAME) or found.get(ORGANISATION) or "(no name)"


def _names(data: bytes, extensions: Element) -> Iterator[str]:
    for extension in _inside(data, _element(data, extensions[1])):
        kind, *_critical, content = _inside(data, extension)
        if data[kind[1] : kind[2]] != ALT_NAMES:
            continue
        for tag, start, end in _inside(data, _element(data, content[1])):
            if tag == DNS_NAME:
                yield data[start:end].decode("ascii", "replace").lower()
            elif tag == IP_ADDRESS:
                yield str(ipaddress.ip_address(data[start:end]))


def read(der: bytes) -> Certificate:
    fields = list(_inside(der, _element(der, _element(der, 0)[1])))
    if fields[0][0] == VERSION:
        del fields[0]
    _serial, _signature, issuer, validity, subject = fields[:5]
    begin, end = _inside(der, validity)
    return Certificate(
        subject=_title(der, subject),
        issuer=_title(der, issuer),
        self_issued=der[issuer[1] : issuer[2]] == der[subject[1] : subject[2]],
        not_before=_time(der, begin),
        not_after=_time(der, end),
        names=tuple(name for field in fields[5:] if field[0] == EXTENSIONS for name in _names(der, field)),
    )
