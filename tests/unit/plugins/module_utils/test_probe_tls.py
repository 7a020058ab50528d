"""The probe `tls`: tables for the judging, and handshakes with servers of this process.

tests/faults/test_health_tls.py asks nginx.
"""

from __future__ import annotations

import contextlib
import datetime
import pathlib
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils import _health_engine as engine
from ansible_collections.shipshape.stack.plugins.module_utils import _probe_tls as probe_tls
from ansible_collections.shipshape.stack.plugins.module_utils._health_plan import read_plan
from ansible_collections.shipshape.stack.plugins.module_utils._health_spec import STATES, HealthError
from ansible_collections.shipshape.stack.plugins.module_utils._probe_certificate import Certificate
from ansible_collections.shipshape.stack.plugins.module_utils._probe_registry import REGISTRY
from hypothesis import given as given_any
from hypothesis import strategies as st

# Old protocols are what is asked for.
pytestmark = pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
NOW = 1_800_000_000  # 2027-01-15 08:00 UTC
SITE = {"server_name": "shop.example.com"}
REASON = {**SITE, "unverified": "until the name is ours"}


def options(**given: Any) -> Any:
    return read_plan({"checks": [{"name": "x", "type": "tls", **given}]}, REGISTRY).checks[0].options


def seen(days: float = 60, of: float = 90, begins: float | None = None, **other: Any) -> probe_tls.Seen:
    """What a handshake showed; a certificate with so many days left of so many."""
    names = other.pop("names", ("shop.example.com", "www.shop.example.com"))
    issuer = other.pop("issuer", "Harbour CA")
    end = datetime.datetime.fromtimestamp(NOW, datetime.UTC) + datetime.timedelta(days)
    begin = end - datetime.timedelta(of)
    certificate = Certificate("shop", issuer, issuer == "shop", begin, end, names)
    return probe_tls.Seen(**{"protocol": "TLSv1.3", "certificate": certificate, **other})


SIGNS_ITSELF = {"issuer": "shop", "names": (), "refusal": 18, "refusal_text": "self-signed certificate"}
FINE = "TLSv1.3, shop.example.com and 1 more, until 2027-03-16 (60.0 days), by Harbour CA"
CASES: list[tuple[dict[str, Any], dict[str, Any], str, str]] = [
    ({}, SITE, "healthy", FINE),
    ({}, {"names": ["shop.example.com", "WWW.shop.example.com."]}, "healthy", FINE),
    (
        {},
        {"names": ["shop.example.com", "api.example.com", "example.com"]},
        "unhealthy",
        "the certificate does not cover api.example.com, example.com: it has shop.example.com, www.shop.example.com; "
        "get one with all names",
    ),
    ({"names": ("*.example.com",)}, {"names": ["a.example.com", "*.example.com"]}, "healthy", "TLSv1.3, *.example.com"),
    ({"names": ("*.example.com",)}, {"names": ["a.b.example.com"]}, "unhealthy", "the certificate does not cover a.b."),
    (
        {"names": ("hxn--hfen-loa",)},
        {"names": ["häfen.example.com"]},
        "unhealthy",
        "the certificate does not cover xn-",
    ),
    ({"names": ("192.0.2.7",)}, {"host": "192.0.2.7"}, "healthy", "TLSv1.3, 192.0.2.7, until"),
    ({}, {}, "unhealthy", "the certificate does not cover 127.0.0.1: it has shop.example.com"),
    # The chain
    (
        SIGNS_ITSELF,
        SITE,
        "unhealthy",
        "the certificate (shop) signs itself, as a placeholder does: get one from an authority, name it in ca_path, or "
        "say in unverified why it is right; the certificate does not cover shop.example.com: it has no name (its",
    ),
    (
        SIGNS_ITSELF,
        REASON,
        "healthy",
        "TLSv1.3, shop, until 2027-03-16 (60.0 days), not verified (signs itself): until the name is ours",
    ),
    (
        SIGNS_ITSELF,
        {**REASON, "names": ["shop.example.com"]},
        "unhealthy",
        "the certificate does not cover shop.example.com: it has no name (its subject, shop, is none)",
    ),
    (
        {},
        REASON,
        "healthy",
        "TLSv1.3, shop.example.com and 1 more, until 2027-03-16 (60.0 days), trusted: unverified ca",
    ),
    ({"refusal": 20}, SITE, "unhealthy", "the issuer of shop, Harbour CA, is not known here: serve the whole chain"),
    ({"refusal": 19}, SITE, "unhealthy", "the root of the chain is not trusted here: name its file in ca_path"),
    (
        {"refusal": 23, "refusal_text": "certificate revoked"},
        SITE,
        "unhealthy",
        "the chain is refused: certificate revoked",
    ),
    # An authority of the chain has run out, not the certificate.
    (
        {"refusal": 10, "refusal_text": "certificate has expired"},
        SITE,
        "unhealthy",
        "the chain is refused: certificate has expired",
    ),
    # Dates
    (
        {"days": -2.5, "refusal": 10, "refusal_text": "certificate has expired"},
        SITE,
        "unhealthy",
        "the certificate ended on 2027-01-12 20:00 UTC, 2.5 days ago: renew it, and find out why nothing has",
    ),
    ({"days": -1}, REASON, "unhealthy", "the certificate ended on 2027-01-14 08:00 UTC, 1.0 days ago"),
    ({"days": 0}, SITE, "unhealthy", "the certificate ended on 2027-01-15 08:00 UTC, 0.0 days ago"),
    (
        {"days": 91, "refusal": 9, "refusal_text": "certificate is not yet valid"},
        SITE,
        "unhealthy",
        "the certificate holds only from 2027-01-16 08:00 UTC on: see the clocks",
    ),
    (
        {"days": 20.9},
        SITE,
        "degraded",
        "the certificate ends on 2027-02-05 05:36 UTC, in 20.9 days, wanted 21: renew it, and find out why nothing has",
    ),
    ({"days": 21}, SITE, "healthy", "TLSv1.3"),
    ({"days": 21, "of": 3650}, SITE, "healthy", "TLSv1.3"),
    ({"days": 1.6, "of": 6}, SITE, "healthy", "TLSv1.3"),  # six days, renewed with three left
    ({"days": 1.4, "of": 6}, SITE, "degraded", "the certificate ends on 2027-01-16 17:36 UTC, in 1.4 days, wanted 1.5"),
    ({"days": 13}, {**SITE, "cert_warn_days": 14}, "degraded", "the certificate ends on 2027-01-28 08:00 UTC, in 13.0"),
    ({"days": 15}, {**SITE, "cert_warn_days": 14}, "healthy", "TLSv1.3"),
    (
        {"days": 6},
        {**SITE, "cert_min_days": 7, "cert_warn_days": 14},
        "unhealthy",
        "the certificate ends on 2027-01-21",
    ),
    ({"days": 7}, {**SITE, "cert_min_days": 7, "cert_warn_days": 14}, "degraded", "the certificate ends on 2027-01-22"),
    ({"days": 25}, {**SITE, "cert_min_days": 30}, "unhealthy", "the certificate ends on 2027-02-09 08:00 UTC, in 25.0"),
    # Protocols
    ({"older": "TLSv1.1"}, SITE, "unhealthy", "TLSv1.1 is accepted, wanted nothing older than TLSv1.2"),
    ({"older_unknown": True}, SITE, "degraded", "OpenSSL of this host cannot ask for protocols older than TLSv1.2"),
]


@pytest.mark.parametrize(("shown", "given", "status", "said"), CASES)
def test_judging(shown: dict[str, Any], given: dict[str, Any], status: str, said: str) -> None:
    outcome = probe_tls.evaluate(seen(**shown), options(**given), NOW)
    assert outcome.detail.startswith(said)
    assert outcome.status == status
    assert len(outcome.detail) < 400


def test_figures() -> None:
    assert probe_tls.evaluate(seen(), options(**SITE), NOW).json == {
        "protocol": "TLSv1.3",
        "trusted": True,
        "self_signed": False,
        "names": ["shop.example.com", "www.shop.example.com"],
        "subject": "shop",
        "issuer": "Harbour CA",
        "not_after": "2027-03-16T08:00:00Z",
        "days_left": 60.0,
    }


DAYS = st.floats(-100, 400)


@given_any(DAYS, DAYS, st.floats(1, 400), st.sampled_from([{}, {"cert_warn_days": 30}, {"cert_min_days": 10}]))
def test_more_time_is_never_worse(one: float, other: float, of: float, given: dict[str, Any]) -> None:
    """Of certificates that hold already."""
    less, more = sorted((min(one, of), min(other, of)))
    states = [probe_tls.evaluate(seen(days, of), options(**SITE, **given), NOW).status for days in (less, more)]
    assert STATES.index(states[0]) >= STATES.index(states[1])
    assert less > 0 or states[0] == "unhealthy"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"port": 0}, "port: 0 is not a port"),
        ({"server_name": "*.example.com"}, "server_name: a client asks for one name, not for *.example.com; see names"),
        ({"server_name": "a b"}, "server_name: 'a b' is not the name or address of a host"),
        ({"server_name": "-a.example.com"}, "server_name: '-a.example.com' is not the name or address of a host"),
        ({"names": []}, "names: [] is not a list with something in it"),
        ({"names": ["a.example.com", "a..b"]}, "names[1]: 'a..b' is not the name or address of a host"),
        ({"names": ["w*.example.com"]}, "names[0]: 'w*.example.com' is not the name or address of a host"),
        ({"names": ["x" * 64 + ".com"]}, "names[0]: "),
        ({"names": [7]}, "names[0]: 7 is not the name or address of a host"),
        ({"ca_path": "ca.pem"}, "ca_path: 'ca.pem' is not an absolute path"),
        ({"unverified": True}, "unverified: True is not text"),
        ({"unverified": "x", "ca_path": "/ca.pem"}, "unverified: with a ca_path the chain is to be trusted"),
        ({"validate_certs": False}, "validate_certs: type tls has no such option"),
        ({"cert_min_days": -1}, "cert_min_days: -1 is not a number of days"),
        ({"cert_warn_days": "soon"}, "cert_warn_days: 'soon' is not a number of days"),
        ({"cert_min_days": 14, "cert_warn_days": 7}, "cert_warn_days: 7 is below cert_min_days (14)"),
        ({"min_protocol": "TLSv1.4"}, "min_protocol: 'TLSv1.4' is not one of TLSv1, TLSv1.1, TLSv1.2, TLSv1.3"),
        ({"refuse_older": "maybe"}, "refuse_older: 'maybe' is not true or false"),
        ({"refuse_older": True, "min_protocol": "TLSv1"}, "refuse_older: nothing is older than min_protocol TLSv1"),
    ],
)
def test_what_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(HealthError) as caught:
        options(**given)
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith(f"checks[0].{said}")


def test_whom_the_server_is_asked_for() -> None:
    """What is said, else the first name that a client could ask for, else the host."""
    cases: list[tuple[dict[str, Any], str]] = [
        ({"host": "Web1.example.com"}, "web1.example.com"),
        ({"host": "192.0.2.7", "names": ["*.a.example.com", "192.0.2.7", "b.example.com"]}, "b.example.com"),
        ({"server_name": "C.example.com", "names": ["b.example.com"]}, "c.example.com"),
        ({"host": "192.0.2.7", "names": ["*.a.example.com"]}, "192.0.2.7"),
    ]
    assert [probe_tls._server_name(options(**given)) for given, _wanted in cases] == [
        wanted for _given, wanted in cases
    ]


# -- Handshakes ----------------------------------------------------------------------------------------------


def openssl(folder: pathlib.Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A root (ca.pem), an authority below it, and a server's certificate with (full.pem) and without (leaf.pem) it."""
    folder = tmp_path_factory.mktemp("ca")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    ca = ["-addext", "basicConstraints=critical,CA:true", "-addext", "keyUsage=critical,keyCertSign"]
    openssl(folder, "req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Harbour root", *ca)
    for name, title, by, extensions in (
        ("sub", "Harbour CA", "ca", "basicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign"),
        ("leaf", "shop", "sub", "subjectAltName=DNS:shop.example.com,IP:127.0.0.1"),
    ):
        (folder / f"{name}.ext").write_text(extensions)
        openssl(folder, "req", "-new", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={title}")
        signer = ["-CA", f"{by}.pem", "-CAkey", f"{by}.key", "-CAcreateserial", "-days", "60"]
        openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", *signer, "-extfile", f"{name}.ext")
    (folder / "full.pem").write_text((folder / "leaf.pem").read_text() + (folder / "sub.pem").read_text())
    openssl(folder, "req", "-x509", *key, "-keyout", "self.key", "-out", "self.pem", "-subj", "/CN=shop", "-days", "3")
    (folder / "none.pem").write_text("no certificate\n")
    return folder


Serve = Callable[..., int]


@pytest.fixture
def serve(authority: pathlib.Path) -> Iterator[Serve]:
    """Servers that greet whoever comes, and hang up."""
    listeners: list[socket.socket] = []

    def start(chain: str = "full", key: str = "leaf", lowest: str = "TLSv1.2", highest: str = "TLSv1.3") -> int:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(authority / f"{chain}.pem", authority / f"{key}.key")
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.maximum_version = probe_tls.VERSIONS[highest]
        context.minimum_version = probe_tls.VERSIONS[lowest]
        context.sni_callback = lambda _socket, name, _context: (
            ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME if name == "unknown.example.com" else None
        )

        def greet(connection: socket.socket) -> None:
            with connection:
                connection.settimeout(5)
                with context.wrap_socket(connection, server_side=True) as tls:
                    tls.recv(1)

        return listen(greet)

    def listen(greet: Callable[[socket.socket], None]) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def loop() -> None:
            while True:
                try:
                    connection = listener.accept()[0]
                except OSError:
                    return
                with contextlib.suppress(OSError):
                    greet(connection)

        threading.Thread(target=loop, daemon=True).start()
        return int(listener.getsockname()[1])

    start.listen = listen  # type: ignore[attr-defined]
    yield start
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def ask(port: int, authority: pathlib.Path | None = None, **given: Any) -> tuple[str, str]:
    trust = {"ca_path": str(authority / "ca.pem")} if authority else {}
    check = {"name": "x", "type": "tls", "port": port, "attempts": 1, "timeout": 3, **SITE, **trust, **given}
    row = engine.run(read_plan({"checks": [check]}, REGISTRY))["checks"][0]
    return row["status"], row["detail"]


def test_a_chain_that_is_trusted(serve: Serve, authority: pathlib.Path) -> None:
    port = serve()
    status, detail = ask(port, authority, names=["shop.example.com", "127.0.0.1"], refuse_older=True)
    assert (status, detail.startswith("TLSv1.3, shop.example.com and 1 more, until")) == ("healthy", True), detail
    assert detail.endswith(", by Harbour CA")
    assert ask(port, authority, server_name="127.0.0.1")[0] == "healthy"
    assert ask(port, authority, server_name="other.example.com")[0] == "unhealthy"


@pytest.mark.parametrize(
    ("chain", "key", "given", "status", "said"),
    [
        ("leaf", "leaf", {}, "unhealthy", "the issuer of shop, Harbour CA, is not known here"),
        ("self", "self", {"ca_path": None}, "unhealthy", "the certificate (shop) signs itself, as a placeholder does"),
        ("self", "self", {"ca_path": None, "unverified": "a test"}, "healthy", "not verified (signs itself): a test"),
        ("full", "leaf", {"ca_path": None}, "unhealthy", "is not known here"),
        ("full", "leaf", {"ca_path": "/nowhere/ca.pem"}, "unhealthy", "ca_path /nowhere/ca.pem: No such file"),
        ("full", "leaf", {"ca_path": "none.pem"}, "unhealthy", "none.pem: no certificates (PEM) in it"),
        ("full", "leaf", {"server_name": "unknown.example.com"}, "unhealthy", "serves no site called unknown.example."),
    ],
)
def test_chains_and_names(
    serve: Serve, authority: pathlib.Path, chain: str, key: str, given: dict[str, Any], status: str, said: str
) -> None:
    if given.get("ca_path") == "none.pem":
        given = {"ca_path": str(authority / "none.pem")}
    found = ask(serve(chain, key), authority, **given)
    assert found[0] == status, found
    assert said in found[1]


@pytest.mark.parametrize(
    ("lowest", "highest", "given", "status", "said"),
    [
        ("TLSv1.2", "TLSv1.2", {}, "healthy", "TLSv1.2, "),
        ("TLSv1.2", "TLSv1.2", {"min_protocol": "TLSv1.3"}, "unhealthy", "speaks TLSv1.2 at best, wanted TLSv1.3 or n"),
        ("TLSv1.2", "TLSv1.3", {"min_protocol": "TLSv1.3"}, "healthy", "TLSv1.3, "),
        (
            "TLSv1.2",
            "TLSv1.3",
            {"min_protocol": "TLSv1.3", "refuse_older": True},
            "unhealthy",
            "TLSv1.2 is accepted, wanted nothing older than TLSv1.3",
        ),
        ("TLSv1", "TLSv1", {}, "unhealthy", "speaks TLSv1 at best, wanted TLSv1.2 or newer"),
        ("TLSv1", "TLSv1", {"min_protocol": "TLSv1"}, "healthy", "TLSv1, "),
        ("TLSv1", "TLSv1.3", {}, "healthy", "TLSv1.3, "),
        (
            "TLSv1",
            "TLSv1.3",
            {"refuse_older": True},
            "unhealthy",
            "TLSv1.1 is accepted, wanted nothing older than TLSv1.2",
        ),
    ],
)
def test_protocols(
    serve: Serve,
    authority: pathlib.Path,
    lowest: str,
    highest: str,
    given: dict[str, Any],
    status: str,
    said: str,
) -> None:
    found = ask(serve(lowest=lowest, highest=highest), authority, **given)
    assert found[0] == status, found
    assert said in found[1]


@pytest.mark.parametrize("words", [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_a_port_that_does_not_speak_tls(serve: Any, words: bytes) -> None:
    def greet(connection: socket.socket) -> None:
        with connection:
            connection.sendall(words)
            connection.recv(4096)

    port = serve.listen(greet)
    status, detail = ask(port)
    assert (status, detail.startswith(f"127.0.0.1:{port} does not speak TLS (")) == ("unhealthy", True), detail


def test_a_port_that_hangs_up(serve: Any) -> None:
    status, detail = ask(serve.listen(lambda connection: connection.close()))
    assert status == "unhealthy"
    assert "TLS failed: " in detail or "Connection reset" in detail


def test_a_port_that_says_nothing(serve: Any) -> None:
    held: list[socket.socket] = []
    began = time.monotonic()
    assert ask(serve.listen(held.append), timeout=0.3) == ("unhealthy", "no answer within 0.3 s")
    assert time.monotonic() - began < 2


def test_nothing_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        assert ask(port) == ("unhealthy", f"127.0.0.1:{port}: Connection refused")
