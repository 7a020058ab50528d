# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What certificates themselves say, by python3-cryptography.

certbot is written with that library, so it is on every host that has certbot. What `certbot certificates` and
`openssl x509` print changes from one version to the next, and a name that is not found reissues at each run.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Sequence
from typing import Any

from ansible_collections.shipshape.stack.plugins.module_utils._certbot_plan import Leaf

try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
except ImportError:  # said by the module
    x509 = None  # type: ignore[assignment]

KEY = re.compile(rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----")
BLOCK = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


def available() -> bool:
    return x509 is not None


def load(chain: bytes) -> list[Any]:
    """All certificates of a PEM text, in their order. ValueError where one of them is none."""
    return [x509.load_pem_x509_certificate(block) for block in BLOCK.findall(chain)]


def _time(certificate: Any, name: str) -> float:
    """Before cryptography 42 times have no zone, and since then they warn of that."""
    found = getattr(certificate, f"{name}_utc", None) or getattr(certificate, name).replace(
        tzinfo=datetime.timezone.utc
    )
    return found.timestamp()


def domains(certificate: Any) -> frozenset[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset()
    return frozenset(name.lower() for name in names.get_values_for_type(x509.DNSName))


def leaf(chain: bytes) -> Leaf | None:
    """The first certificate of a chain; None where there is none to read."""
    try:
        found = load(chain)
    except ValueError:
        return None
    if not found:
        return None
    first = found[0]
    return Leaf(
        domains(first),
        _time(first, "not_valid_before"),
        _time(first, "not_valid_after"),
        first.issuer.rfc4514_string(),
        first.issuer == first.subject,
    )


# --- certificates that the user gives ---------------------------------------------------------------------------------


def covers(names: Iterable[str], domain: str) -> bool:
    """Whether one of the names stands for the domain; an asterisk stands for exactly one label."""
    wildcard = f"*.{domain.partition('.')[2]}"
    return any(name in (domain, wildcard) for name in names)


def _signed_by(certificate: Any, issuer: Any) -> bool:
    key = issuer.public_key()
    try:
        algorithm = certificate.signature_hash_algorithm
        if isinstance(key, (rsa.RSAPublicKey, ec.EllipticCurvePublicKey)) and algorithm is None:
            return False  # signed by another kind of key
        arguments: list[Any] = [certificate.signature, certificate.tbs_certificate_bytes]
        if isinstance(key, rsa.RSAPublicKey):
            arguments += [padding.PKCS1v15(), algorithm]
        elif isinstance(key, ec.EllipticCurvePublicKey):
            arguments.append(ec.ECDSA(algorithm))
        key.verify(*arguments)
        return True
    except InvalidSignature:
        return False
    except (UnsupportedAlgorithm, TypeError, AttributeError):
        return True  # a form of signature that this library does not read: the names have to do


def _public(key: Any) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _subject(certificate: Any) -> str:
    return certificate.subject.rfc4514_string() or "(without a subject)"


def _order_problems(chain: Sequence[Any], roots: bytes) -> list[str]:
    for number in range(len(chain) - 1):
        lower, upper = chain[number], chain[number + 1]
        if lower.issuer != upper.subject or not _signed_by(lower, upper):
            return [
                f"certificate {number + 1} of the chain ({_subject(lower)}) is not signed by the one behind it"
                f" ({_subject(upper)}): put the server's first, and behind each the one that signed it"
            ]
    last = chain[-1]
    if last.issuer == last.subject or any(_issued(last, root) for root in load(roots)):
        return []
    return [
        f"the chain is incomplete: it ends with {_subject(last)}, and {last.issuer.rfc4514_string()}, who signed that,"
        " is no root that this host trusts: append the intermediate certificates, and the root of a private authority"
    ]


def _issued(certificate: Any, root: Any) -> bool:
    return certificate.issuer == root.subject and _signed_by(certificate, root)


def _key_problem(certificate: Any, key: bytes) -> str:
    try:
        private = serialization.load_pem_private_key(key, None)
    except TypeError:
        return "the key has a passphrase, which nobody could enter at a restart: take it off"
    except (ValueError, UnsupportedAlgorithm):
        return "the key is not a private key in PEM form"
    if _public(private.public_key()) != _public(certificate.public_key()):
        return "the key belongs to another certificate: give the key that the certificate was requested with"
    return ""


def given_problems(chain: bytes, key: bytes, wanted: Sequence[str], roots: bytes, now: float) -> list[str]:
    """Why a certificate that the user gives cannot be served. Nothing of the key is in it."""
    if KEY.search(chain):  # it would be copied to a file that everybody may read
        return ["the certificate holds a private key, too: leave only certificates in it, and give the key by itself"]
    try:
        found = load(chain)
    except ValueError as exc:
        return [f"the certificate cannot be read: {exc}"]
    if not found:
        return ["the certificate has no block of PEM in it"]
    first, problems = found[0], []
    for each in found:
        if _time(each, "not_valid_after") <= now:
            day = datetime.datetime.fromtimestamp(_time(each, "not_valid_after"), datetime.timezone.utc)
            problems.append(f"{_subject(each)} expired on {day:%Y-%m-%d}: renew it")
        if _time(each, "not_valid_before") > now:
            problems.append(f"{_subject(each)} is not valid yet: is the clock right?")
    missing = [domain for domain in wanted if not covers(domains(first), domain)]
    if missing:
        has = ", ".join(sorted(domains(first))) or "none"
        problems.append(f"it does not cover {', '.join(missing)} (its names: {has}): correct domains, or renew it")
    mismatch = _key_problem(first, key)
    return problems + ([mismatch] if mismatch else []) + _order_problems(found, roots)
