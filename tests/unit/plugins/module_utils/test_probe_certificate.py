"""What is read of certificates, compared with what OpenSSL reads."""

from __future__ import annotations

import datetime
import functools
import pathlib
import ssl
import subprocess
import tempfile

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils._probe_certificate import Certificate, read
from hypothesis import example, given, settings
from hypothesis import strategies as st

NAMES = "DNS:vendor.example.com,DNS:*.Shop.example.com,DNS:*.a,DNS:host,IP:192.0.2.7,IP:2001:db8::7,email:a@example.com"


@functools.cache
def pem(days: int = 90, subject: str = "/O=Harbour/CN=vendor.example.com", names: str = NAMES) -> str:
    with tempfile.TemporaryDirectory() as folder:
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-utf8"]
        command += ["-keyout", "key.pem", "-out", "cert.pem", "-days", str(days), "-subj", subject]
        command += ["-addext", f"subjectAltName={names}"] if names else []
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        return (pathlib.Path(folder) / "cert.pem").read_text()


def seen(text: str) -> Certificate:
    return read(ssl.PEM_cert_to_DER_cert(text))


def openssl(text: str, *words: str) -> str:
    return subprocess.run(
        ["openssl", "x509", "-noout", *words], input=text, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.mark.parametrize("days", [1, 90, 36500], ids=["a-day", "utc-time", "generalized-time"])
def test_dates(days: int) -> None:
    certificate = seen(pem(days))
    for field, found in (("-startdate", certificate.not_before), ("-enddate", certificate.not_after)):
        said = openssl(pem(days), field).partition("=")[2]
        assert found == datetime.datetime.strptime(said, "%b %d %H:%M:%S %Y GMT").replace(tzinfo=datetime.UTC)
    assert certificate.days == days
    end = certificate.not_after.timestamp()
    assert certificate.days_left(end - 86400) == 1.0
    moments = (certificate.not_before.timestamp() - 1, certificate.not_before.timestamp(), end - 1, end)
    assert [certificate.holds(moment) for moment in moments] == [False, True, True, False]


@pytest.mark.parametrize(
    ("subject", "title"),
    [
        ("/O=Harbour/CN=vendor.example.com", "vendor.example.com"),
        ("/CN=Häfen", "Häfen"),
        ("/C=DE/O=Harbour", "Harbour"),
        ("/C=DE", "(no name)"),
    ],
)
def test_whose_it_is(subject: str, title: str) -> None:
    certificate = seen(pem(subject=subject, names=""))
    assert (certificate.subject, certificate.issuer, certificate.self_issued) == (title, title, True)
    assert certificate.names == ()


def test_names() -> None:
    assert seen(pem()).names == (
        "vendor.example.com",
        "*.shop.example.com",
        "*.a",
        "host",
        "192.0.2.7",
        "2001:db8::7",
    )


LABELS = st.sampled_from(["vendor", "shop", "example", "com", "www", "a", "host", "xn--hfen-loa"])


@settings(max_examples=60, deadline=None)
@given(st.lists(LABELS, min_size=1, max_size=5).map(".".join))
@example("vendor.example.com")
@example("www.shop.example.com")
@example("shop.example.com")
@example("a.b.shop.example.com")
@example("www.vendor.example.com")
@example("host")
def test_a_name_is_covered_where_openssl_says_so(name: str) -> None:
    wanted = "does match" in openssl(pem(), "-checkhost", name)
    # OpenSSL wants two labels behind a wildcard; who may have "*.com" is for authorities to say.
    assert seen(pem()).covers(name) == (wanted or (name.count(".") == 1 and name.endswith(".a")))


@pytest.mark.parametrize(
    ("name", "covered"),
    [
        ("192.0.2.7", True),
        ("2001:db8::7", True),
        ("192.0.2.8", False),
        ("*.shop.example.com", True),  # all names of that kind
        ("*.example.com", False),
        ("*.vendor.example.com", False),
    ],
)
def test_addresses_and_wildcards(name: str, covered: bool) -> None:
    assert seen(pem()).covers(name) == covered


def test_the_subject_is_no_name() -> None:
    """As browsers have it: the common name says whose it is and covers nothing."""
    assert not seen(pem(subject="/CN=vendor.example.com", names="")).covers("vendor.example.com")
