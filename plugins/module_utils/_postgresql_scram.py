# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SCRAM-SHA-256 verifiers as PostgreSQL stores them (RFC 5802, RFC 7677), so that no server sees a password.

Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import stringprep
import unicodedata

ITERATIONS = 4096
SALT_BYTES = 16
VERIFIER = re.compile(r"SCRAM-SHA-256\$(?P<iterations>[1-9][0-9]*):(?P<salt>[^$:]+)\$(?P<stored>[^$:]+):(?P<server>.+)")
# RFC 4013, section 2.3, and what Unicode 3.2 does not assign (section 2.5).
PROHIBITED = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
    stringprep.in_table_a1,
)


def saslprep(password: str) -> str:
    """The password as both ends hash it (RFC 4013).

    PostgreSQL takes one that the RFC refuses as it is, at the server and in libpq; so does this.
    """
    if password.isascii():
        return password
    mapped = "".join(
        " " if stringprep.in_table_c12(char) else char for char in password if not stringprep.in_table_b1(char)
    )
    if not mapped or any(table(char) for char in mapped for table in PROHIBITED):
        return password
    if any(map(stringprep.in_table_d1, mapped)):
        ends_fit = stringprep.in_table_d1(mapped[0]) and stringprep.in_table_d1(mapped[-1])
        if not ends_fit or any(map(stringprep.in_table_d2, mapped)):
            return password
    return unicodedata.normalize("NFKC", mapped)


def _keys(password: str, salt: bytes, iterations: int) -> tuple[bytes, bytes]:
    """StoredKey and ServerKey."""
    salted = hashlib.pbkdf2_hmac("sha256", saslprep(password).encode(), salt, iterations)
    client = hmac.digest(salted, b"Client Key", "sha256")
    return hashlib.sha256(client).digest(), hmac.digest(salted, b"Server Key", "sha256")


def make(password: str, salt: bytes, iterations: int = ITERATIONS) -> str:
    """The verifier to store."""
    salt64, stored, server = (base64.b64encode(part).decode() for part in (salt, *_keys(password, salt, iterations)))
    return f"SCRAM-SHA-256${iterations}:{salt64}${stored}:{server}"


def is_verifier(text: str) -> bool:
    """Whether PostgreSQL would store the text as it is."""
    found = VERIFIER.fullmatch(text)
    if not found:
        return False
    try:
        _salt, stored, server = (base64.b64decode(found[part], validate=True) for part in ("salt", "stored", "server"))
    except binascii.Error:
        return False
    return len(stored) == len(server) == hashlib.sha256().digest_size


def fits(verifier: str, password: str) -> bool:
    """Whether what is stored was made from this password, or is this very verifier."""
    if is_verifier(password):
        return hmac.compare_digest(verifier, password)
    found = VERIFIER.fullmatch(verifier)
    if not found or not is_verifier(verifier):
        return False
    again = make(password, base64.b64decode(found["salt"]), int(found["iterations"]))
    return hmac.compare_digest(verifier, again)
