# Copyright: (c) 2026, The shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Days left on a certificate, read from its DER form. Pure.

Python's ssl tells the dates only of certificates that it has verified, while a placeholder that is self-signed runs out
just the same; so the one field is read here.
"""

from __future__ import annotations

from datetime import datetime, timezone

UTC_TIME = 0x17
VERSION = 0xA0


def _element(data: bytes, at: int) -> tuple[int, int, int]:
    """Tag, start and end of the content of the DER element at `at`."""
    tag, length, start = data[at], data[at + 1], at + 2
    if length & 0x80:
        size = length & 0x7F
        length, start = int.from_bytes(data[start : start + size], "big"), start + size
    return tag, start, start + length


def not_after(der: bytes) -> datetime:
    """The end of validity: Certificate / TBSCertificate / validity / notAfter (RFC 5280, 4.1)."""
    at = _element(der, _element(der, 0)[1])[1]
    tag, _start, end = _element(der, at)
    at = end if tag == VERSION else at
    for _field in ("serial", "signature", "issuer"):
        at = _element(der, at)[2]
    validity = _element(der, at)[1]
    tag, start, end = _element(der, _element(der, validity)[2])
    form = "%y%m%d%H%M%SZ" if tag == UTC_TIME else "%Y%m%d%H%M%SZ"
    return datetime.strptime(der[start:end].decode("ascii"), form).replace(tzinfo=timezone.utc)


def days_left(der: bytes, now: float) -> float:
    return (not_after(der).timestamp() - now) / 86400
