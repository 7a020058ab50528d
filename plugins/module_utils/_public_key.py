# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One line of authorized_keys, or of a public key file. Pure functions: no I/O and no Ansible imports."""

from __future__ import annotations

import base64
import binascii
import re
import struct
from dataclasses import dataclass

_KEY = re.compile(r"(?:^|[ \t])((?:sk-)?(?:ssh|ecdsa)-[a-z0-9@.-]+)[ \t]+([A-Za-z0-9+/]+={0,3})(?:[ \t]|$)")
# Bytes of the second field, where the type fixes them (RFC 8709).
_LENGTHS = {"ssh-ed25519": 32, "sk-ssh-ed25519@openssh.com": 32}
# Fields besides the type: exponent and modulus (RFC 4253), key and application.
_FIELDS = {"ssh-ed25519": 1, "ssh-rsa": 2, "sk-ssh-ed25519@openssh.com": 2}


class KeyProblem(ValueError):
    """Why a line is no public key that sshd would take."""


@dataclass(frozen=True)
class PublicKey:
    """Type, and size in bits where it varies (RSA); 0 where the type says it."""

    type: str
    bits: int


def _fields(blob: bytes) -> list[bytes]:
    """The length-prefixed strings of a key blob (RFC 4251); all of it, or an error."""
    fields = []
    while blob:
        (length,) = struct.unpack(">I", blob[:4])
        if len(blob) < 4 + length:
            raise KeyProblem("is damaged: a part of it is missing")
        fields.append(blob[4 : 4 + length])
        blob = blob[4 + length :]
    return fields


def parse(line: str) -> PublicKey:
    """The key of one line, with or without options before it; KeyProblem where there is none."""
    found = None if line.lstrip().startswith("#") else _KEY.search(line)
    if not found:
        raise KeyProblem("is no public key; it looks like 'ssh-ed25519 AAAA... name'")
    kind, text = found.groups()
    try:
        fields = _fields(base64.b64decode(text, validate=True))
    except (binascii.Error, struct.error):
        raise KeyProblem("is damaged: its middle part is no base64 of a key") from None
    if not fields or fields[0] != kind.encode():
        raise KeyProblem(f"is damaged: it says {kind}, its content does not")
    wrong_count = kind in _FIELDS and len(fields) != 1 + _FIELDS[kind]
    if wrong_count or (kind in _LENGTHS and len(fields[1]) != _LENGTHS[kind]):
        raise KeyProblem("is damaged: a part of it is missing")
    return PublicKey(kind, int.from_bytes(fields[2], "big").bit_length() if kind == "ssh-rsa" else 0)
