# Copyright: (c) 2026, The shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The probe `tls`: whom a server's certificate is trusted by, whose names it bears, until when, and the protocol."""

from __future__ import annotations

import ipaddress
import re
import socket
import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Optional

from ._health_spec import (
    UNHEALTHY,
    HealthError,
    Kind,
    Option,
    Outcome,
    Probe,
    boolean,
    choice,
    excerpt,
    judge,
    listing,
    number,
    path_name,
    port,
    seconds,
    text,
)
from ._probe_certificate import Certificate, is_address, read

VERSIONS = {
    "TLSv1": ssl.TLSVersion.TLSv1,
    "TLSv1.1": ssl.TLSVersion.TLSv1_1,
    "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}
ORDER = list(VERSIONS)
# A certificate is renewed with a third of its time left, one of a few days with half of it. Later is late.
LATE_SHARE, LATE_DAYS = 1 / 4, 21.0
# What OpenSSL says of an answer that is not TLS at all.
NOT_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL")
# What it says when this host itself will not speak an old protocol.
NOT_HERE = ("NO_PROTOCOLS_AVAILABLE", "NO_CIPHERS_AVAILABLE")
EXPIRED, NOT_YET, SELF_SIGNED, UNKNOWN_ROOT = 10, 9, 18, 19
UNKNOWN_ISSUERS = (2, 20, 21)


def _read_name(value: Any, path: str) -> str:
    name = value.lower().rstrip(".") if isinstance(value, str) else ""
    if is_address(name):
        return str(ipaddress.ip_address(name))
    try:
        name = name.encode("idna").decode("ascii")
    except UnicodeError:
        name = ""
    label = r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?"
    if not re.fullmatch(rf"(\*\.)?{label}(\.{label})*", name):
        raise HealthError(f"{path}: {excerpt(repr(value), 60)} is not the name or address of a host")
    return name


NAME = Kind({"type": "str"}, _read_name)
OPTIONS = {
    "host": Option(text(), "127.0.0.1"),
    "port": Option(port(), 443),
    "server_name": Option(NAME),
    "names": Option(listing(NAME)),
    "ca_path": Option(path_name()),
    "unverified": Option(text()),
    "connect_timeout": Option(seconds()),
    "cert_min_days": Option(number(0, 100000, "a number of days")),
    "cert_warn_days": Option(number(0, 100000, "a number of days")),
    "min_protocol": Option(choice(*VERSIONS), "TLSv1.2"),
    "refuse_older": Option(boolean(), False),
}


def _agree(options: Mapping[str, Any], path: str) -> Iterable[str]:
    least, warn = options["cert_min_days"], options["cert_warn_days"]
    if least is not None and warn is not None and warn < least:
        yield f"{path}.cert_warn_days: {warn:g} is below cert_min_days ({least:g})"
    if options["refuse_older"] and options["min_protocol"] == ORDER[0]:
        yield f"{path}.refuse_older: nothing is older than min_protocol {ORDER[0]}"
    if options["unverified"] and options["ca_path"]:
        yield f"{path}.unverified: with a ca_path the chain is to be trusted; leave one of them away"
    if "*" in (options["server_name"] or ""):
        yield f"{path}.server_name: a client asks for one name, not for {options['server_name']}; see names"


@dataclass(frozen=True)
class Seen:
    """What the handshakes showed, before anyone judges it."""

    protocol: str
    certificate: Certificate
    refusal: int = 0  # OpenSSL's number of why the chain is not trusted; 0 where it is
    refusal_text: str = ""
    older: Optional[str] = None  # a protocol that should be refused, and is spoken
    older_unknown: bool = False  # this host cannot ask


def evaluate(seen: Seen, options: Mapping[str, Any], now: float) -> Outcome:
    """Judge what was seen."""
    certificate = seen.certificate
    problems = [*_chain(seen, options, now), *_names(certificate, options)]
    warnings: list[str] = []
    for bad, said in _dates(certificate, options, now):
        (problems if bad else warnings).append(said)
    if seen.older:
        problems.append(f"{seen.older} is accepted, wanted nothing older than {options['min_protocol']}")
    if seen.older_unknown:
        warnings.append(f"OpenSSL of this host cannot ask for protocols older than {options['min_protocol']}")
    left = certificate.days_left(now)
    until = f"until {certificate.not_after:%Y-%m-%d} ({left:.1f} days)"
    fine = f"{seen.protocol}, {_title(certificate)}, {until}{_trust(seen, options)}"
    figures = {
        "protocol": seen.protocol,
        "trusted": not seen.refusal,
        "self_signed": certificate.self_issued,
        "names": list(certificate.names),
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "not_after": f"{certificate.not_after:%Y-%m-%dT%H:%M:%SZ}",
        "days_left": round(left, 2),
    }
    return Outcome(*judge(problems, warnings, fine), json=figures)


def _title(certificate: Certificate) -> str:
    first, more = (certificate.names or (certificate.subject,))[0], len(certificate.names) - 1
    return f"{first} and {more} more" if more > 0 else first


def _trust(seen: Seen, options: Mapping[str, Any]) -> str:
    if not options["unverified"]:
        return f", by {seen.certificate.issuer}"
    if not seen.refusal:
        return ", trusted: unverified can be left away"
    what = "signs itself" if seen.certificate.self_issued else seen.refusal_text
    return f", not verified ({what}): {options['unverified']}"


def _chain(seen: Seen, options: Mapping[str, Any], now: float) -> Iterable[str]:
    certificate, code = seen.certificate, seen.refusal
    if not code or options["unverified"]:
        return
    if code == SELF_SIGNED:
        yield (
            f"the certificate ({certificate.subject}) signs itself, as a placeholder does: get one from an authority,"
            " name it in ca_path, or say in unverified why it is right"
        )
    elif code == UNKNOWN_ROOT:
        yield "the root of the chain is not trusted here: name its file in ca_path"
    elif code in UNKNOWN_ISSUERS:
        yield (
            f"the issuer of {certificate.subject}, {certificate.issuer}, is not known here: serve the whole chain"
            " (fullchain.pem), or name the authority's file in ca_path"
        )
    elif code not in (EXPIRED, NOT_YET) or certificate.holds(now):  # else its own dates say it
        yield f"the chain is refused: {seen.refusal_text}"


def _names(certificate: Certificate, options: Mapping[str, Any]) -> Iterable[str]:
    # A placeholder that is accepted need not bear the name yet, unless names are asked for.
    wanted = options["names"] or ([] if options["unverified"] else [_server_name(options)])
    missing = [name for name in wanted if not certificate.covers(name)]
    if missing:
        names = excerpt(", ".join(certificate.names), 120) or f"no name (its subject, {certificate.subject}, is none)"
        yield f"the certificate does not cover {', '.join(missing)}: it has {names}; get one with all names"


def _dates(certificate: Certificate, options: Mapping[str, Any], now: float) -> Iterable[tuple[bool, str]]:
    """What is wrong with the time left, and whether that is a problem or only doubtful."""
    left, least, warn = certificate.days_left(now), options["cert_min_days"], options["cert_warn_days"]
    end = f"{certificate.not_after:%Y-%m-%d %H:%M} UTC"
    if certificate.not_before.timestamp() > now:
        yield True, f"the certificate holds only from {certificate.not_before:%Y-%m-%d %H:%M} UTC on: see the clocks"
    late = "renew it, and find out why nothing has"
    warn = min(LATE_DAYS, certificate.days * LATE_SHARE) if warn is None else warn
    if left <= 0:
        yield True, f"the certificate ended on {end}, {abs(left):.1f} days ago: {late}"
    elif left < max(least or 0, warn):
        bad = least is not None and left < least
        wanted = least if bad else warn
        yield bad, f"the certificate ends on {end}, in {left:.1f} days, wanted {wanted:.3g}: {late}"


# -- Handshakes ----------------------------------------------------------------------------------------------


def _server_name(options: Mapping[str, Any]) -> str:
    """Whom the server is asked for."""
    plain = [name for name in options["names"] or () if "*" not in name and not is_address(name)]
    return str(options["server_name"] or (plain or [options["host"].lower()])[0])


def _context(lowest: str, highest: str, ca_path: Optional[str] = None, verify: bool = True) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_path)
    # Names are judged by themselves, so that all that are missing can be told.
    context.check_hostname = False
    if not verify:
        context.verify_mode = ssl.CERT_NONE
    if ORDER.index(lowest) < ORDER.index("TLSv1.2"):
        context.set_ciphers("DEFAULT:@SECLEVEL=0")  # OpenSSL 3 speaks them on no other level
    # The highest first: a lower bound above the upper one is refused.
    context.maximum_version, context.minimum_version = VERSIONS[highest], VERSIONS[lowest]
    return context


class _Server:
    """One server, asked again and again until a deadline."""

    def __init__(self, options: Mapping[str, Any], timeout: float) -> None:
        self.options, self.deadline = options, time.monotonic() + timeout

    def greet(self, context: ssl.SSLContext) -> tuple[str, Certificate]:
        """The protocol and the certificate that one handshake brings."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        name = _server_name(self.options)
        at = (self.options["host"], self.options["port"])
        with socket.create_connection(at, min(self.options["connect_timeout"] or left, left)) as plain:
            plain.settimeout(left)
            with context.wrap_socket(plain, server_hostname=None if is_address(name) else name) as tls:
                return str(tls.version()), read(tls.getpeercert(binary_form=True) or b"")

    def older(self) -> tuple[Optional[str], bool]:
        """A protocol older than the least that is spoken after all, and whether this host could not ask."""
        least = ORDER.index(self.options["min_protocol"])
        if not least:
            return None, False
        try:
            return self.greet(_context(ORDER[0], ORDER[least - 1], verify=False))[0], False
        except (socket.timeout, TimeoutError):
            raise
        except ssl.SSLError as exc:
            return None, exc.reason in NOT_HERE
        except ValueError:  # OpenSSL was built without them
            return None, True
        except OSError:
            return None, False

    def look(self, trust: ssl.SSLContext) -> Seen:
        """Up to three handshakes: one that verifies, one that does not where that fails, one for older protocols."""
        refusal, why = 0, ""
        try:
            protocol, certificate = self.greet(trust)
        except ssl.SSLCertVerificationError as exc:
            refusal, why = exc.verify_code, exc.verify_message
            protocol, certificate = self.greet(_context(self.options["min_protocol"], ORDER[-1], verify=False))
        older, unknown = self.older() if self.options["refuse_older"] else (None, False)
        return Seen(protocol, certificate, refusal, why, older, unknown)

    def explain(self, exc: ssl.SSLError) -> str:
        """Why there was no handshake."""
        reason = exc.reason or str(exc)
        if reason in NOT_TLS:
            return f"does not speak TLS ({reason.lower().replace('_', ' ')}): is this the right port?"
        if "UNRECOGNIZED_NAME" in reason:
            return f"serves no site called {_server_name(self.options)}: see server_name, here and in the server"
        older, _unknown = self.older()
        if older:
            return f"speaks {older} at best, wanted {self.options['min_protocol']} or newer"
        return f"TLS failed: {reason.lower().replace('_', ' ')}"


def _run(options: Mapping[str, Any], timeout: float) -> Outcome:
    where = f"{options['host']}:{options['port']}"
    try:
        trust = _context(options["min_protocol"], ORDER[-1], options["ca_path"])
    except ssl.SSLError:
        return Outcome(UNHEALTHY, f"ca_path {options['ca_path']}: no certificates (PEM) in it")
    except OSError as exc:
        return Outcome(UNHEALTHY, f"ca_path {options['ca_path']}: {exc.strerror or exc}")
    server = _Server(options, timeout)
    try:
        return evaluate(server.look(trust), options, time.time())
    except (socket.timeout, TimeoutError):
        raise
    except ssl.SSLError as exc:
        return Outcome(UNHEALTHY, f"{where} {server.explain(exc)}")
    except OSError as exc:
        return Outcome(UNHEALTHY, f"{where}: {exc.strerror or exc}")


PROBE = Probe(OPTIONS, _run, agree=_agree)
