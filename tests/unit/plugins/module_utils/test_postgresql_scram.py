"""Verifiers: the RFC's own exchange, what real servers stored, and laws."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils._postgresql_scram import (
    fits,
    is_verifier,
    make,
    saslprep,
)
from hypothesis import given, settings
from hypothesis import strategies as st

SALT = bytes(range(16))


def test_the_exchange_of_rfc_7677():
    """User and password of section 3: the proof and the signature that the RFC prints follow from the verifier."""
    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    _name, _salt, keys = make("pencil", salt).split("$")
    stored, server = (base64.b64decode(part) for part in keys.split(":"))
    message = (
        b"n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
        b"s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    )
    assert hmac.digest(server, message, "sha256") == base64.b64decode("6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
    proof = base64.b64decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    signature = hmac.digest(stored, message, "sha256")
    client = bytes(one ^ other for one, other in zip(proof, signature, strict=True))
    assert hashlib.sha256(client).digest() == stored


@pytest.mark.parametrize(
    ("password", "prepared"),
    [
        # RFC 4013, section 3; PostgreSQL takes the two that it refuses as they are.
        pytest.param("I\u00adX", "IX", id="soft-hyphen"),
        pytest.param("user", "user", id="plain"),
        pytest.param("USER", "USER", id="case"),
        pytest.param("\u00aa", "a", id="compatible"),
        pytest.param("\u2168", "IX", id="roman-nine"),
        pytest.param("\u0007", "\u0007", id="prohibited"),
        pytest.param("\u06271", "\u06271", id="both-directions"),
        pytest.param("a\u00a0b", "a b", id="space"),
        pytest.param("\u00ad", "\u00ad", id="nothing-left"),
        pytest.param("e\u0301", "é", id="composed"),
        pytest.param("\u0627\u0628", "\u0627\u0628", id="right-to-left"),
        pytest.param("\u0627x\u0628", "\u0627x\u0628", id="left-within-right"),
        pytest.param("ﬁ\u0221", "ﬁ\u0221", id="unassigned-in-unicode-3.2"),
        pytest.param("ﬁ\ue000", "ﬁ\ue000", id="private-use"),
        pytest.param("ﬁ", "fi", id="ligature"),
    ],
)
def test_saslprep(password, prepared):
    assert saslprep(password) == prepared


@pytest.mark.parametrize(
    "verifier",
    [
        pytest.param("", id="none"),
        pytest.param("md5" + "0" * 32, id="md5"),
        pytest.param("pencil", id="plain"),
        pytest.param(make("x", SALT)[:-2], id="cut"),
        pytest.param(make("x", SALT).replace("SHA-256", "SHA-1"), id="another-hash"),
        pytest.param(make("x", SALT).replace("4096", "0"), id="no-iterations"),
        pytest.param("SCRAM-SHA-256$4096:AAAA$AAAA:AAAA", id="short-keys"),
        pytest.param("SCRAM-SHA-256$4096:AAAA$!:AAAA", id="no-base64"),
    ],
)
def test_what_is_no_verifier_fits_nothing(verifier):
    assert not is_verifier(verifier)
    assert not fits(verifier, "x")


def test_a_verifier_may_be_given_instead_of_the_password():
    mine, other = make("x", SALT), make("x", SALT[::-1])
    assert fits(mine, mine)
    assert not fits(other, mine)


@settings(deadline=None, max_examples=60)
@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20), st.binary(min_size=1, max_size=20))
def test_a_verifier_fits_its_password_only(password, other, salt):
    verifier = make(password, salt, 2)
    assert is_verifier(verifier)
    assert fits(verifier, password)
    assert fits(verifier, other) == (saslprep(password) == saslprep(other))
    assert password not in verifier or len(password) < 8
