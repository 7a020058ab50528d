"""The probe `http` against real servers, with TLS where that matters; the judging of answers as a table."""

from __future__ import annotations

import http.server
import json
import pathlib
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils import _health_engine as engine
from ansible_collections.shipshape.stack.plugins.module_utils import _probe_http as probe_http
from ansible_collections.shipshape.stack.plugins.module_utils._health_plan import read_plan
from ansible_collections.shipshape.stack.plugins.module_utils._health_spec import HealthError
from ansible_collections.shipshape.stack.plugins.module_utils._probe_registry import REGISTRY


def options(**given: Any) -> Any:
    check = {"name": "web", "type": "http", "url": "https://x/", **given}
    return read_plan({"checks": [check]}, REGISTRY).checks[0].options


def run(**given: Any) -> dict[str, Any]:
    check = {"name": "web", "type": "http", "attempts": 1, **given}
    row: dict[str, Any] = engine.run(read_plan({"checks": [check]}, REGISTRY))["checks"][0]
    return row


HEALTHY_BODY = {"status": "healthy", "checks": {"database": "healthy", "ai": "healthy"}, "queue": {"length": 3}}
JUDGED = [
    pytest.param({}, {}, "healthy", "HTTP 200", id="status"),
    pytest.param({"status": 503}, {}, "unhealthy", "HTTP 503, wanted 200; body: {", id="503"),
    pytest.param({"status": 204, "body": b""}, {"status_code": [200, 204]}, "healthy", "HTTP 204", id="a-list"),
    pytest.param(
        {"status": 301, "body": b"", "headers": {"location": "https://y/?token=1"}},
        {},
        "unhealthy",
        "HTTP 301 (to https://y/), wanted 200",
        id="redirect",
    ),
    pytest.param({}, {"json": {"status": "healthy", "queue.length": {"lt": 9}}}, "healthy", "HTTP 200", id="json"),
    pytest.param(
        {"body": b'{"status": "unhealthy"}'},
        {"json": {"status": "healthy"}},
        "unhealthy",
        "status is 'unhealthy', wanted 'healthy'; body: {\"status\": \"unhealthy\"}",
        id="200-while-unhealthy",
    ),
    pytest.param(
        {"body": b'{"status": "degraded"}'},
        {"json": {"status": "healthy"}, "degraded": {"status": "degraded"}},
        "degraded",
        "status is 'degraded'",
        id="degraded-is-not-wrong-too",
    ),
    pytest.param(
        {"body": b'{"status": "degraded", "db": "down"}'},
        {"json": {"status": "healthy", "db": "up"}, "degraded": {"status": "degraded"}},
        "unhealthy",
        "db is 'down', wanted 'up'",
        id="degraded-does-not-hide-what-is-broken",
    ),
    pytest.param({"body": b"<html>"}, {"json": {"a": 1}}, "unhealthy", "the body is not JSON", id="not-json"),
    pytest.param({"body": b"[" * 100000}, {"json": {"a": 1}}, "unhealthy", "the body is not JSON", id="deep-json"),
    pytest.param({}, {"body_regex": "^.*data"}, "healthy", "HTTP 200", id="body"),
    pytest.param({}, {"body_regex": "nowhere"}, "unhealthy", "the body has nothing like 'nowhere'", id="no-body"),
    pytest.param(
        {"headers": {"x-frame-options": "DENY", "strict-transport-security": "max-age=300"}},
        {
            "expect_headers": {
                "X-Frame-Options": "DENY",
                "Strict-Transport-Security": {"regex": "^max-age=[1-9]"},
                "Server": {"exists": False},
            }
        },
        "healthy",
        "HTTP 200",
        id="headers",
    ),
    pytest.param(
        {"headers": {"x-frame-options": "SAMEORIGIN"}},
        {"expect_headers": {"X-Frame-Options": "DENY", "Referrer-Policy": {"in": ["no-referrer", "same-origin"]}}},
        "unhealthy",
        "header X-Frame-Options is 'SAMEORIGIN', wanted 'DENY'; "
        "header Referrer-Policy is missing, wanted one of ['no-referrer', 'same-origin']",
        id="headers-wrong-and-missing",
    ),
    pytest.param(
        {"headers": {"server": "nginx/1.22.1"}},
        {"expect_headers": {"Server": {"regex": "^nginx$"}, "server": {"exists": False}}},
        "unhealthy",
        "header Server is 'nginx/1.22.1', wanted text like '^nginx$'; header server is 'nginx/1.22.1', wanted absence",
        id="header-that-says-too-much",
    ),
    pytest.param(
        {"headers": {"x-content-type-options": "nosniff, nosniff"}},
        {"expect_headers": {"x-content-type-options": "nosniff"}},
        "unhealthy",
        "header x-content-type-options is 'nosniff, nosniff', wanted 'nosniff'",
        id="header-that-comes-twice",
    ),
    pytest.param({"headers": {"x-shard": "7"}}, {"expect_headers": {"X-Shard": 7}}, "healthy", "HTTP 200", id="7"),
    pytest.param({"took_ms": 900}, {"degraded_ms": 500}, "degraded", "answered in 900 ms, wanted less", id="slow"),
    pytest.param(
        {"certificate_days": 40.0}, {"cert_min_days": 3}, "healthy", "HTTP 200, certificate for 40", id="cert"
    ),
    pytest.param(
        {"certificate_days": 10.0},
        {"cert_min_days": 3, "cert_warn_days": 14},
        "degraded",
        "the certificate has 10.0 days left, wanted 14",
        id="cert-warn",
    ),
    pytest.param(
        {"certificate_days": -1.0},
        {"cert_min_days": 3, "cert_warn_days": 14},
        "unhealthy",
        "the certificate has -1.0 days left, wanted 3",
        id="cert-min",
    ),
]


@pytest.mark.parametrize(("answer", "given", "status", "said"), JUDGED)
def test_judging(answer: dict[str, Any], given: dict[str, Any], status: str, said: str) -> None:
    whole = {"status": 200, "body": json.dumps(HEALTHY_BODY).encode(), "took_ms": 12, **answer}
    outcome = probe_http.evaluate(probe_http.Answer(**whole), options(**given))
    assert (outcome.status, outcome.http_status) == (status, whole["status"])
    assert outcome.detail.startswith(said)
    assert len(outcome.detail) < 400


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"X-A": ["a"]}, "['a'] is neither text nor a condition such as {exists: false}"),
        ({"X-A": True}, "True is neither text nor a condition such as {exists: false}"),
        ({"X A": "a"}, "not the name of a header"),
        ({"X-A": {}}, "an empty condition"),
        ({"X-A": {"regx": "a"}}, "unknown operator (did you mean regex?)"),
        ({"X-A": {"regex": "("}}, "'(' is not a regular expression"),
        ({"X-A": {"lt": 5}}, "not for headers; use one of eq, ne, in, regex, exists"),
        ([], "is not a mapping with something in it"),
    ],
)
def test_conditions_on_headers_that_are_refused(wanted: Any, said: str) -> None:
    with pytest.raises(HealthError) as caught:
        options(expect_headers=wanted)
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith("checks[0].expect_headers")
    assert said in caught.value.problems[0]


SENT = [
    ("X-Content-Type-Options", "nosniff"),
    ("X-Twice", "one"),
    ("X-Twice", "two"),
    ("Set-Cookie", "session=sesame99; HttpOnly"),
]


class _Handler(http.server.BaseHTTPRequestHandler):
    """Answers what the path says: /503, /echo (the request's headers as JSON), anything else the healthy body."""

    def do_GET(self) -> None:
        body: Any = HEALTHY_BODY
        if self.path.startswith("/echo"):
            body = {**{k.lower(): v for k, v in self.headers.items()}, "path": self.path, "method": self.command}
            body["all"] = [dict(self.headers.items())]
        text = json.dumps(body).encode()
        self.send_response(503 if self.path == "/503" else 200)
        self.send_header("Content-Length", str(len(text)))
        for name, value in SENT:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    do_POST = do_GET

    def log_message(self, *args: Any) -> None:
        pass


Serve = Callable[..., int]


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[http.server.ThreadingHTTPServer] = []

    def start(certificate: pathlib.Path | None = None) -> int:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return int(server.server_address[1])

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def certify(tmp_path: pathlib.Path) -> Callable[..., pathlib.Path]:
    """A folder with a certificate of vendor.example.com that signs itself and holds for so many days."""

    def make(days: int = 90) -> pathlib.Path:
        folder = tmp_path / str(days)
        folder.mkdir()
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        command += ["-keyout", "key.pem", "-out", "cert.pem", "-days", str(days), "-subj", "/CN=vendor.example.com"]
        command += ["-addext", "subjectAltName=DNS:vendor.example.com"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        return folder

    return make


def test_a_healthy_server(serve: Serve) -> None:
    row = run(url=f"http://127.0.0.1:{serve()}/health", json={"status": "healthy", "queue.length": {"lt": 5}})
    assert (row["status"], row["detail"], row["http_status"]) == ("healthy", "HTTP 200", 200)
    assert row["json"] == {"status": "healthy", "queue.length": 3}


def test_a_broken_server(serve: Serve) -> None:
    row = run(url=f"http://127.0.0.1:{serve()}/503")
    assert (row["status"], row["http_status"]) == ("unhealthy", 503)
    assert row["detail"].startswith("HTTP 503, wanted 200; body: {")


def test_what_is_sent(serve: Serve) -> None:
    row = run(
        url=f"http://me:s%40lt@127.0.0.1:{serve()}/echo?a=b",
        method="POST",
        host_header="vendor.example.com",
        headers={"X-One": 1, "user-agent": "mine"},
        json={
            "host": "vendor.example.com",
            "x-one": "1",
            "user-agent": "mine",
            "authorization": "Basic bWU6c0BsdA==",
            "path": "/echo?a=b",
            "method": "POST",
            "connection": "close",
        },
    )
    assert row["status"] == "healthy", row


def test_a_name_is_resolved_where_it_is_told(serve: Serve) -> None:
    port = serve()
    row = run(
        url=f"http://no.such.name.invalid:{port}/echo", resolve_to="127.0.0.1", json={"host": {"regex": "^no.such"}}
    )
    assert row["status"] == "healthy", row


def test_secrets_that_a_server_echoes_are_not_shown(serve: Serve) -> None:
    row = run(
        url=f"http://me:sesame99@127.0.0.1:{serve()}/echo/sesame99",
        headers={"X-Token": "toktoktok", "Accept": "text/plain"},
        json={"x-token": {"exists": True}, "all": {"exists": True}, "accept": "nothing", "path": "/"},
    )
    assert row["status"] == "unhealthy"
    assert "toktoktok" not in json.dumps(row)
    assert "sesame99" not in json.dumps(row)
    assert "text/plain" in row["detail"]


def test_headers_of_the_answer(serve: Serve) -> None:
    url = f"http://127.0.0.1:{serve()}/"
    wanted = {"x-content-type-options": "nosniff", "X-Twice": "one, two", "Set-Cookie": {"regex": "; HttpOnly$"}}
    assert run(url=url, expect_headers={**wanted, "X-None": {"exists": False}})["status"] == "healthy"
    row = run(url=url, expect_headers={"X-None": {"exists": True}, "Set-Cookie": {"regex": "Secure"}})
    assert row["status"] == "unhealthy"
    said = "header X-None is missing, wanted to be there; header Set-Cookie is 'session=***; HttpOnly', wanted text"
    assert said in row["detail"]
    assert "sesame99" not in json.dumps(row)


def test_nothing_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        row = run(url=f"http://me:sesame99@127.0.0.1:{unused.getsockname()[1]}/")
    assert (row["status"], row["http_status"]) == ("unhealthy", None)
    assert row["detail"].endswith(": Connection refused")
    assert "sesame99" not in row["detail"]


def test_a_server_that_does_not_speak_http() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            with listener.accept()[0] as connection:
                connection.recv(4096)
                connection.sendall(b"SSH-2.0-OpenSSH\r\n")

        threading.Thread(target=answer, daemon=True).start()
        row = run(url=f"http://127.0.0.1:{listener.getsockname()[1]}/")
    assert row["status"] == "unhealthy"
    assert row["detail"].startswith("the answer is not HTTP: BadStatusLine")


def test_a_server_that_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        row = run(url=f"http://127.0.0.1:{listener.getsockname()[1]}/", timeout=0.2)
    assert (row["status"], row["detail"]) == ("unhealthy", "no answer within 0.2 s")


def test_a_name_that_does_not_resolve() -> None:
    assert run(url="http://no.such.name.invalid/")["status"] == "unhealthy"


def test_tls_that_is_trusted(serve: Serve, certify: Callable[..., pathlib.Path]) -> None:
    folder = certify()
    port = serve(folder)
    given = {"resolve_to": "127.0.0.1", "ca_path": str(folder / "cert.pem"), "cert_min_days": 3, "cert_warn_days": 14}
    row = run(url=f"https://vendor.example.com:{port}/", **given)
    assert (row["status"], row["detail"]) == ("healthy", "HTTP 200, certificate for 90 days")
    by_header = {"url": f"https://127.0.0.1:{port}/", "host_header": "vendor.example.com"}
    assert run(**by_header, ca_path=given["ca_path"])["status"] == "healthy"
    assert (
        run(**{**by_header, "host_header": f"vendor.example.com:{port}"}, ca_path=given["ca_path"])["status"]
        == "healthy"
    )


@pytest.mark.parametrize(
    ("days", "given", "status", "said"),
    [
        (90, {}, "unhealthy", "certificate refused: self"),
        (90, {"validate_certs": False}, "healthy", "HTTP 200, certificate for 90 days"),
        (
            10,
            {"validate_certs": False, "cert_warn_days": 14},
            "degraded",
            "the certificate has 10.0 days left, wanted 14",
        ),
        (
            10,
            {"validate_certs": False, "cert_min_days": 14},
            "unhealthy",
            "the certificate has 10.0 days left, wanted 14",
        ),
    ],
)
def test_tls_that_is_doubtful(
    serve: Serve, certify: Callable[..., pathlib.Path], days: int, given: dict[str, Any], status: str, said: str
) -> None:
    row = run(url=f"https://127.0.0.1:{serve(certify(days))}/", **given)
    assert row["status"] == status
    assert row["detail"].startswith(said)


def test_a_certificate_of_someone_else(serve: Serve, certify: Callable[..., pathlib.Path]) -> None:
    folder = certify()
    row = run(url=f"https://localhost:{serve(folder)}/", resolve_to="127.0.0.1", ca_path=str(folder / "cert.pem"))
    assert row["status"] == "unhealthy"
    assert "Hostname mismatch" in row["detail"]


def test_tls_where_there_is_none(serve: Serve) -> None:
    assert run(url=f"https://127.0.0.1:{serve()}/")["detail"].startswith("TLS failed: ")


def test_authorities_that_cannot_be_read(serve: Serve) -> None:
    row = run(url=f"https://127.0.0.1:{serve()}/", ca_path="/nowhere/ca.pem")
    assert row["status"] == "unhealthy"
    assert "No such file" in row["detail"]
