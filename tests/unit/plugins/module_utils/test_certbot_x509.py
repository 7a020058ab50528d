# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What certificates say, and which of the user's are refused. All of them are real ones."""

from __future__ import annotations

import datetime
import time

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils._certbot_x509 import covers, given_problems, leaf
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

NOW = time.time()
DAY = datetime.timedelta(days=1)


class Authority:
    """Somebody who signs, and the certificate of it."""

    def __init__(self, name, issuer=None, kind="ec", days=(-1, 90), domains=(), key=None):
        kinds = {
            "ec": lambda: ec.generate_private_key(ec.SECP256R1()),
            "rsa": lambda: rsa.generate_private_key(65537, 2048),
            "ed": ed25519.Ed25519PrivateKey.generate,
        }
        self.key = key or kinds[kind]()
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        signer, now = issuer or self, datetime.datetime.fromtimestamp(NOW, datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(signer.name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + days[0] * DAY)
            .not_valid_after(now + days[1] * DAY)
        )
        if domains:
            names = x509.SubjectAlternativeName([x509.DNSName(each) for each in domains])
            builder = builder.add_extension(names, critical=False)
        algorithm = None if isinstance(signer.key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
        self.certificate = builder.sign(signer.key, algorithm)

    @property
    def pem(self):
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def private(self, secret=None):
        lock = serialization.BestAvailableEncryption(secret) if secret else serialization.NoEncryption()
        return self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock)


@pytest.fixture(scope="module", params=["ec", "rsa", "ed"])
def world(request):
    root = Authority("Root", kind=request.param)
    middle = Authority("Middle", root, kind=request.param)
    return root, middle, Authority("a.org", middle, kind=request.param, domains=["a.org", "*.b.org"])


def refused(world, chain=None, key=None, domains=("a.org",), roots=None):
    root, middle, server = world
    chain = server.pem + middle.pem if chain is None else chain
    return given_problems(chain, key or server.private(), domains, root.pem if roots is None else roots, NOW)


def test_a_good_one(world):
    assert refused(world) == []
    assert refused(world, domains=["a.org", "www.b.org"]) == []


def test_a_private_authority_may_be_in_the_chain(world):
    root, middle, server = world
    assert refused(world, server.pem + middle.pem + root.pem, roots=b"") == []


def test_one_that_is_signed_by_itself(world):
    own = Authority("own", domains=["a.org"])
    assert refused(world, own.pem, own.private()) == []


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda root, middle, server: {"chain": server.pem}, "the chain is incomplete: it ends with CN=a.org"),
        (lambda root, middle, server: {"roots": b""}, "it ends with CN=Middle, and CN=Root, who signed that"),
        (lambda root, middle, server: {"chain": middle.pem + server.pem}, "certificate 1 of the chain (CN=Middle) is"),
        (lambda root, middle, server: {"chain": server.pem + root.pem}, "certificate 1 of the chain (CN=a.org) is not"),
        (lambda root, middle, server: {"key": middle.private()}, "the key belongs to another certificate"),
        (lambda root, middle, server: {"key": server.private(b"hunter2")}, "the key has a passphrase"),
        (lambda root, middle, server: {"key": b"hunter2"}, "the key is not a private key"),
        (lambda root, middle, server: {"key": server.pem}, "the key is not a private key"),
        (lambda root, middle, server: {"domains": ["c.org"]}, "it does not cover c.org (its names: *.b.org, a.org)"),
        (lambda root, middle, server: {"domains": ["x.y.b.org"]}, "it does not cover x.y.b.org"),
        (lambda root, middle, server: {"chain": b""}, "no block of PEM"),
        (
            lambda root, middle, server: {"chain": server.private() + server.pem + middle.pem},
            "holds a private key, too",
        ),
        (lambda root, middle, server: {"chain": server.pem + middle.pem + server.private(b"x")}, "holds a private key"),
        (
            lambda root, middle, server: {"chain": b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"},
            "cannot be read",
        ),
    ],
)
def test_what_is_refused(world, make, words):
    found = refused(world, **make(*world))
    assert any(words in each for each in found), found
    assert "hunter2" not in str(found)
    assert "BEGIN" not in str(found)


@pytest.mark.parametrize(
    ("who", "days", "words"),
    [
        ("server", (-9, -2), "CN=a.org expired on "),
        ("server", (2, 9), "CN=a.org is not valid yet"),
        ("middle", (-9, -2), "CN=Middle expired on "),
    ],
)
def test_times(who, days, words):
    root = Authority("Root")
    middle = Authority("Middle", root, days=days if who == "middle" else (-1, 9))
    server = Authority("a.org", middle, days=days if who == "server" else (-1, 9), domains=["a.org"])
    found = refused((root, middle, server))
    assert len(found) == 1
    assert words in found[0]


def test_an_authority_of_the_same_name_is_another_one(world):
    root, _middle, server = world
    impostor = Authority("Middle", root)
    assert "is not signed by the one behind it" in refused(world, server.pem + impostor.pem)[0]


def test_what_the_first_certificate_says(world):
    _root, middle, server = world
    found = leaf(server.pem + middle.pem)
    assert found.domains == {"a.org", "*.b.org"}
    assert abs(found.not_after - NOW - 90 * 86400) < 2
    assert abs(found.lifetime - 91 * 86400) < 2
    assert (found.issuer, found.self_signed) == ("CN=Middle", False)
    assert leaf(Authority("own").pem).self_signed
    assert leaf(Authority("own").pem).domains == frozenset()


@pytest.mark.parametrize("text", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"])
def test_what_is_no_certificate(text):
    assert leaf(text) is None


@pytest.mark.parametrize(
    ("names", "domain", "fine"),
    [
        (["a.org"], "a.org", True),
        (["*.a.org"], "x.a.org", True),
        (["*.a.org"], "a.org", False),
        (["*.a.org"], "x.y.a.org", False),
        (["*.a.org"], "*.a.org", True),
        (["x.a.org"], "*.a.org", False),
        ([], "a.org", False),
    ],
)
def test_covers(names, domain, fine):
    assert covers(names, domain) is fine
