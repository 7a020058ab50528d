# Copyright: (c) 2026, The shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The probe `http`: status, headers, JSON fields, body, certificate days, answer time.

No proxy of the environment is used: a probe asks the instance that it names.
"""

from __future__ import annotations

import base64
import http.client
import json
import re
import socket
import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Optional
from urllib.parse import SplitResult, unquote, urlsplit

from ._health_json import MISSING, Condition, lookup, read_condition
from ._health_spec import (
    UNHEALTHY,
    HealthError,
    Kind,
    Option,
    Outcome,
    Probe,
    boolean,
    excerpt,
    integer,
    judge,
    listing,
    mapping,
    number,
    path_name,
    regex,
    seconds,
    text,
)
from ._probe_certificate import read

MOST = 1024 * 1024


@dataclass(frozen=True)
class Answer:
    """What came back, before anyone judges it."""

    status: int
    body: bytes
    took_ms: float
    headers: Mapping[str, str] = field(default_factory=dict)  # names in lower case
    certificate_days: Optional[float] = None


def _read_url(value: Any, path: str) -> str:
    try:
        url = urlsplit(value)
        sound = url.scheme in ("http", "https") and bool(url.hostname) and (url.port is None or url.port > 0)
    except (ValueError, AttributeError, TypeError):
        sound = False
    if not sound or re.search(r"[\x00-\x20\x7f-\U0010ffff]", value):
        # Not repeated as it is: a URL may carry a password.
        shown = re.sub(r"//[^/@]*@", "//***@", str(value))
        raise HealthError(f"{path}: {excerpt(repr(shown), 60)} is not an http or https URL")
    return str(value)


def _header_name(name: Any, path: str) -> str:
    if not isinstance(name, str) or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
        raise HealthError(f"{path}: not the name of a header")
    return name.lower()


def _read_header(name: Any, value: Any, path: str) -> str:
    _header_name(name, path)
    if isinstance(value, (dict, list)) or re.search(r"[\r\n\0]|[^\x00-\xff]", str(value)):
        raise HealthError(f"{path}: the value of a header is one line of text")
    return str(value)


def _read_expected(name: Any, value: Any, path: str) -> Condition:
    """A condition as in `json`, on text: what has no text in it, such as `lt`, says nothing of a header."""
    key = _header_name(name, path)
    if not isinstance(value, (str, int, float, Mapping)) or isinstance(value, bool):
        raise HealthError(f"{path}: {value!r} is neither text nor a condition such as {{exists: false}}")
    condition = read_condition("x", value if isinstance(value, Mapping) else str(value), path)
    for operator, _operand in condition.operators:
        if operator not in TEXT_OPERATORS:
            raise HealthError(f"{path}.{operator}: not for headers; use one of {', '.join(TEXT_OPERATORS)}")
    return replace(condition, path=f"header {name}", steps=(key,))


TEXT_OPERATORS = ("eq", "ne", "in", "regex", "exists")
# The values of headers are mostly tokens, so Ansible never prints them.
HEADERS = mapping(_read_header, no_log=True)
OPTIONS = {
    "url": Option(Kind({"type": "str"}, _read_url), required=True),
    "method": Option(text(), "GET"),
    "status_code": Option(listing(integer(100, 599, "an HTTP status")), [200]),
    "json": Option(mapping(read_condition)),
    "degraded": Option(mapping(read_condition)),
    "body_regex": Option(regex()),
    "headers": Option(HEADERS),
    "expect_headers": Option(mapping(_read_expected)),
    "host_header": Option(text()),
    "resolve_to": Option(text()),
    "connect_timeout": Option(seconds()),
    "degraded_ms": Option(integer(1, 86400000, "a number of milliseconds")),
    "validate_certs": Option(boolean(), True),
    "ca_path": Option(path_name()),
    "cert_min_days": Option(number(0, 100000, "a number of days")),
    "cert_warn_days": Option(number(0, 100000, "a number of days")),
}


def _agree(options: Mapping[str, Any], path: str) -> Iterable[str]:
    if not re.fullmatch(r"[A-Z]{3,12}", options["method"]):
        yield f"{path}.method: {options['method']!r} is not an HTTP method"
    if options["method"] == "HEAD" and (options["json"] or options["degraded"] or options["body_regex"]):
        yield f"{path}.method: HEAD brings no body to look into"
    tls = urlsplit(options["url"]).scheme == "https"
    for key in ("ca_path", "cert_min_days", "cert_warn_days"):
        if options[key] is not None and not tls:
            yield f"{path}.{key}: the URL is not https"


def evaluate(answer: Answer, options: Mapping[str, Any]) -> Outcome:
    """Judge one answer."""
    problems, warnings = list(_status(answer, options)), []
    body = answer.body.decode("utf-8", "replace")
    if options["body_regex"] and not re.search(options["body_regex"], body):
        problems.append(f"the body has nothing like {options['body_regex']!r}")
    values = None
    if options["json"] or options["degraded"]:
        bad, doubtful, values = _fields(body, options["json"] or {}, options["degraded"] or {})
        problems += bad
        warnings += doubtful
    if problems and answer.body:
        problems.append(f"body: {excerpt(body)}")
    expected = (options["expect_headers"] or {}).values()
    problems += [condition.explain(answer.headers) for condition in expected if not condition.holds(answer.headers)]
    days = answer.certificate_days
    for key, found in (("cert_min_days", problems), ("cert_warn_days", warnings)):
        if days is not None and options[key] is not None and days < options[key]:
            found.append(f"the certificate has {days:.1f} days left, wanted {options[key]:g}")
            break
    if options["degraded_ms"] and answer.took_ms >= options["degraded_ms"]:
        warnings.append(f"answered in {answer.took_ms:.0f} ms, wanted less than {options['degraded_ms']}")
    fine = f"HTTP {answer.status}" + ("" if days is None else f", certificate for {days:.0f} days")
    return Outcome(*judge(problems, warnings, fine), http_status=answer.status, json=values)


def _status(answer: Answer, options: Mapping[str, Any]) -> Iterable[str]:
    if answer.status not in options["status_code"]:
        location = answer.headers.get("location", "").split("?")[0]
        to = f" (to {excerpt(location, 80)})" if location else ""
        yield f"HTTP {answer.status}{to}, wanted {' or '.join(map(str, options['status_code']))}"


def _fields(
    body: str, wanted: Mapping[str, Any], degraded: Mapping[str, Any]
) -> tuple[list[str], list[str], Optional[dict[str, Any]]]:
    """Problems, warnings and the values that were looked at. A field that is degraded is not also wrong."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as exc:
        return [f"the body is not JSON ({excerpt(str(exc), 80)})"], [], None
    doubtful = {key: condition for key, condition in degraded.items() if condition.holds(document)}
    bad = [c.explain(document) for key, c in wanted.items() if key not in doubtful and not c.holds(document)]
    found = {str(key): lookup(document, c.steps) for key, c in {**degraded, **wanted}.items()}
    warnings = [f"{key} is {excerpt(repr(found[str(key)]), 60)}" for key in doubtful]
    return bad, warnings, {key: None if value is MISSING else value for key, value in found.items()}


class _Connection(http.client.HTTPConnection):
    """Connects where it is told, whatever the URL's name resolves to; TLS speaks of `server_name`."""

    def __init__(self, at: tuple[str, int], timeouts: tuple[float, float], tls: Optional[ssl.SSLContext], name: str):
        super().__init__(*at)
        self._at, self._timeouts, self._tls, self._name = at, timeouts, tls, name

    def connect(self) -> None:
        self.sock = socket.create_connection(self._at, self._timeouts[0])
        self.sock.settimeout(self._timeouts[1])
        if self._tls:
            self.sock = self._tls.wrap_socket(self.sock, server_hostname=self._name)


def _context(options: Mapping[str, Any]) -> ssl.SSLContext:
    ca_path = options["ca_path"] if options["validate_certs"] else None
    context = ssl.create_default_context(cafile=ca_path)
    if not options["validate_certs"]:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _headers(url: SplitResult, options: Mapping[str, Any]) -> dict[str, str]:
    """Host, credentials of the URL, then what the user gives (which wins)."""
    headers = {
        "Host": options["host_header"] or url.netloc.rpartition("@")[2],
        "User-Agent": "shipshape",
        "Accept": "*/*",
    }
    if url.username is not None:
        pair = f"{unquote(url.username)}:{unquote(url.password or '')}".encode()
        headers["Authorization"] = "Basic " + base64.b64encode(pair).decode()
    own = {name.title(): value for name, value in (options["headers"] or {}).items()}
    return {**headers, **own, "Connection": "close"}


def _answered(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Headers of an answer by name, those that come twice in one line. The values of cookies are nobody's to see."""
    found: dict[str, str] = {}
    for name, value in pairs:
        key = name.lower()
        said = re.sub(r"=[^;]*", "=***", value, count=1) if key == "set-cookie" else value
        found[key] = f"{found[key]}, {said}" if key in found else said
    return found


def _fetch(options: Mapping[str, Any], timeout: float) -> Answer:
    url = urlsplit(options["url"])
    began = time.monotonic()
    tls = _context(options) if url.scheme == "https" else None
    at = (options["resolve_to"] or str(url.hostname), url.port or (443 if tls else 80))
    # With host_header the server that is meant is the one it names, for TLS too.
    name = urlsplit(f"//{options['host_header']}").hostname if options["host_header"] else url.hostname
    connection = _Connection(at, (min(options["connect_timeout"] or timeout, timeout), timeout), tls, str(name))
    try:
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        connection.putrequest(options["method"], target, skip_host=True, skip_accept_encoding=True)
        for header, value in _headers(url, options).items():
            connection.putheader(header, value)
        connection.endheaders()
        peer = connection.sock.getpeercert(binary_form=True) if isinstance(connection.sock, ssl.SSLSocket) else None
        response = connection.getresponse()
        body = response.read(MOST)
        took = (time.monotonic() - began) * 1000
        days = read(peer).days_left(time.time()) if peer else None
        return Answer(response.status, body, took, _answered(response.getheaders()), days)
    finally:
        connection.close()


PLAIN = {"accept", "accept-language", "content-type", "host", "user-agent", "x-forwarded-for", "x-forwarded-proto"}
SECRET_LENGTH = 4  # What is shorter is no secret, and to blank it would make any text unreadable.


def harmless(checks: Iterable[Mapping[str, Any]]) -> set[str]:
    """Values of headers that may be printed: Ansible counts them all as secrets."""
    headers = (item for check in checks for item in (check.get("headers") or {}).items())
    return {str(value) for name, value in headers if len(str(value)) < SECRET_LENGTH or name.lower() in PLAIN}


def credentials(checks: Iterable[Mapping[str, Any]]) -> set[str]:
    """Passwords inside URLs, as written and as meant; also of URLs that are wrong otherwise."""
    written = (re.search(r"//[^/@]*:([^/@]+)@", str(check.get("url") or "")) for check in checks)
    found = {form for match in written if match for form in (match[1], unquote(match[1]))}
    return {form for form in found if len(form) >= SECRET_LENGTH}


def hide(found: Any, options: Mapping[str, Any]) -> Any:
    """A server that echoes what it was sent must not bring it into the report."""
    if isinstance(found, dict):
        return {hide(key, options): hide(value, options) for key, value in found.items()}
    if isinstance(found, list):
        return [hide(value, options) for value in found]
    if not isinstance(found, str):
        return found
    secrets = {*(options["headers"] or {}).values(), *credentials([options])} - harmless([options])
    for secret in sorted(secrets, key=len, reverse=True):
        found = found.replace(secret, "***")
    return found


def _run(options: Mapping[str, Any], timeout: float) -> Outcome:
    try:
        found = evaluate(_fetch(options, timeout), options)
    except (socket.timeout, TimeoutError):
        raise
    except ssl.SSLCertVerificationError as exc:
        found = Outcome(UNHEALTHY, f"certificate refused: {exc.verify_message}")
    except ssl.SSLError as exc:
        found = Outcome(UNHEALTHY, f"TLS failed: {exc.reason or exc}")
    except http.client.HTTPException as exc:
        found = Outcome(UNHEALTHY, f"the answer is not HTTP: {type(exc).__name__} {exc}")
    except OSError as exc:
        where = options["resolve_to"] or urlsplit(options["url"]).netloc.rpartition("@")[2]
        found = Outcome(UNHEALTHY, f"{where}: {exc.strerror or exc}")
    return Outcome(found.status, hide(found.detail, options), found.http_status, hide(found.json, options))


PROBE = Probe(OPTIONS, _run, agree=_agree)
