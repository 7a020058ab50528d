# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kinds of values that land in directives of nginx, each so narrow that none can leave its directive.

Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from ansible_collections.shipshape.stack.plugins.module_utils._nginx_schema import Leaf

BOOLEANS = {True: True, False: False, "true": True, "false": False, "yes": True, "no": False, "on": True, "off": False}
LABEL = r"[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?"
HOST = re.compile(rf"(?=.{{1,253}}$){LABEL}(?:\.{LABEL})*")
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
UNITS = {"k": 2**10, "m": 2**20, "g": 2**30}
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
VARIABLE = re.compile(r"\$(?:\{[a-z0-9_]+\}|[a-z0-9_]+)")
# In a header none that nginx decodes, or takes from a decoded path: a line break of the client would be one of the
# answer. So these are named, and captures by name are none of them.
SAFE = re.compile(
    r"(?:arg|cookie|http|sent_http|upstream|ssl|proxy|realip|server|request_(?:id|uri|method|time|length))(?:_[a-z0-9_]+)?"
    r"|host|hostname|scheme|https|args|is_args|query_string|remote_(?:addr|port)|binary_remote_addr|status|msec|pid|http[23]"
    r"|time_(?:iso8601|local)|connections?_[a-z]+|connection|content_(?:type|length)|(?:body_)?bytes_sent|nginx_version"
)
UNSAFE = re.compile(r"ssl_client_(?:raw_)?cert")  # of several lines
# As in a key, where a line break does no harm, but what was decoded is not what was asked for.
DECODED = re.compile(r"\$\{?(?:uri|document_uri|[0-9])\b")
REDIRECT = re.compile(
    r"(?:(?:https?|\$scheme)://(?:\$host|[a-z0-9.-]+|\[[0-9a-f:]+\])(?::[0-9]+)?|/(?!/))[^\s\"'\\;{}]*"
)
REDIRECT_VARIABLES = ("$request_uri", "$args", "$is_args", "$scheme", "$host")


def pattern(regex: str, hint: str) -> Leaf:
    """A text that matches as a whole."""
    return Leaf(lambda value: isinstance(value, (str, int)) and _matches(regex, value), hint)


def _matches(regex: str, value: Any) -> bool:
    return not isinstance(value, bool) and re.fullmatch(regex, str(value)) is not None


def choice(*words: str) -> Leaf:
    """One of some words; a bare `off` is a boolean in YAML."""

    def make(value: Any) -> str:
        return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)

    return Leaf(lambda value: make(value) in words, f"one of {', '.join(words)}", make)


def number(least: int, most: int) -> Leaf:
    def good(value: Any) -> bool:
        return _matches(r"-?[0-9]{1,12}", value) and least <= int(value) <= most

    return Leaf(good, f"a number from {least} to {most}", int)


BOOLEAN = Leaf(lambda value: _key(value) in BOOLEANS, "true or false", lambda value: BOOLEANS[_key(value)])


def _key(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value if isinstance(value, bool) else None


NAME = pattern(r"[a-z][a-z0-9_-]{0,62}", "a name of a-z, 0-9, _ and -, such as shop")
SITE = pattern(r"[a-z][a-z0-9-]{0,62}", "a name of a-z, 0-9 and -, such as shop")
OWNER = pattern(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,252}", "the name of a host, such as app1")
CERTIFICATE = pattern(r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._-]{0,99}", "the name of a certificate, such as shop")
PORT = number(1, 65535)
SIZE = pattern(r"[0-9]{1,15}[kKmMgG]?", "a size such as 512k, 20m or 1g")
TIME = pattern(r"[0-9]{1,9}(?:ms|s|m|h|d)?", "a time such as 500ms, 30s, 5m or 1h")
WHOLE_SECONDS = pattern(r"[0-9]{1,9}[smhd]?", "a time in whole seconds, such as 10s or 1m")
RATE = pattern(r"[1-9][0-9]{0,8}r/[sm]", "a rate such as 10r/s or 5r/m")
ZONE_SIZE = Leaf(
    lambda value: _matches(r"[0-9]{1,9}[kKmM]", value) and size(value) >= 32 * 2**10,
    "a size of at least 32k in k or m, such as 10m",
)


def size(value: Any) -> int:
    text = str(value).lower()
    return int(text[:-1]) * UNITS[text[-1]] if text[-1] in UNITS else int(text)


def seconds(value: Any) -> int:
    text = str(value)
    return int(text[:-1]) * SECONDS[text[-1]] if text[-1] in SECONDS else int(text)


def _is_network(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(ipaddress.ip_network(value))
    except ValueError:
        return False


def is_loopback(listen: str) -> bool:
    host = listen.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_address(value: Any) -> bool:
    """As the kernel writes it, so that listeners can be compared; all of IPv4 has one name."""
    try:
        return value == "*" or (value != "0.0.0.0" and str(ipaddress.ip_address(value)) == value)  # noqa: S104
    except ValueError:
        return False


def _is_listener(value: Any) -> bool:
    host, _colon, port = str(value).rpartition(":")
    return host != "*" and _is_address(host.strip("[]")) and ("[" in host) == (":" in host) and PORT.good(port)


def is_host(value: Any) -> bool:
    return isinstance(value, str) and HOST.fullmatch(value) is not None


def _is_server_name(value: Any) -> bool:
    return isinstance(value, str) and is_host(value[2:] if value.startswith("*.") else value)


def _is_server(value: Any) -> bool:
    """What an upstream may be: unix:/path, host:port or [address]:port."""
    text = str(value)
    if text.startswith("unix:"):
        return PATH.good(text[5:])
    host, _colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        return ":" in host and _is_address(host[1:-1]) and PORT.good(port)
    return is_host(host.lower()) and PORT.good(port)


NETWORK = Leaf(_is_network, "a network or address such as 192.0.2.0/24 (no bits below its mask)")
ADDRESS = Leaf(_is_address, "an address of this host in its short form, '*' for all of IPv4 or '::' for IPv6")
LISTENER = Leaf(_is_listener, "an address and a port, such as 127.0.0.1:8081 or '[::1]:8081'")
SERVER_NAME = Leaf(_is_server_name, "a host name in small letters, such as www.example.org or '*.example.org'")
HOST_NAME = Leaf(is_host, "a host name in small letters")
SERVER = Leaf(_is_server, "unix:/path/of.sock, host:port or '[address]:port'")


def _is_path(value: Any, more: str = "") -> bool:
    regex = rf"/[A-Za-z0-9_./@+,=~:{more}-]*"
    return _matches(regex, value) and ".." not in str(value).split("/") and "//" not in str(value)


PATH = Leaf(_is_path, "an absolute path without '..', spaces or quotes")
GLOB = Leaf(lambda value: _is_path(value, "*?"), "an absolute path, which may have * and ?")
LOG = pattern(
    r"off|/var/log/nginx/[A-Za-z0-9_][A-Za-z0-9_.-]*\.log",
    "'off' or /var/log/nginx/NAME.log, which the system rotates",
)
LOG_MAKE = Leaf(lambda value: LOG.good("off" if value is False else value), LOG.hint,
                lambda value: "off" if value is False else str(value))  # fmt: skip


def _is_line(value: Any) -> bool:
    return isinstance(value, (str, int)) and not isinstance(value, bool) and not CONTROL.search(str(value))


def _dollars_fine(text: str) -> bool:
    return "$" not in VARIABLE.sub("", text) and not DECODED.search(text)


HEADER = pattern(r"[A-Za-z][A-Za-z0-9-]{0,98}", "the name of a header")


def _is_header_value(value: Any) -> bool:
    if not _is_line(value) or "$" in VARIABLE.sub("", str(value)):
        return False
    names = [each.strip("${}") for each in VARIABLE.findall(str(value))]
    return all(SAFE.fullmatch(name) and not UNSAFE.fullmatch(name) for name in names)


HEADER_VALUE = Leaf(
    _is_header_value,
    "the value of a header: one line, $ only before the name of a variable that nginx does not decode, so no captures,"
    " $uri or $request_filename",
)


def _is_key(value: Any) -> bool:
    text = str(value)
    return _dollars_fine(text) and "$" in text and _matches(r"[a-z0-9|:.-]*", VARIABLE.sub("", text))


KEY = Leaf(_is_key, "a key made of variables, such as $binary_remote_addr")
REGEX = Leaf(lambda value: isinstance(value, str) and value != "" and not CONTROL.search(value), "a regular expression")
TEXT = Leaf(
    lambda value: isinstance(value, str) and "$" not in value and not CONTROL.search(value.replace("\n", "")),
    "a text without $ and control characters: nginx would look for a variable",
)
MEDIA_TYPE = pattern(r"[a-z0-9][a-z0-9.+-]*/[a-z0-9][a-z0-9.+-]*", "a media type such as text/html")
CACHE = pattern(r"immutable|revalidate|no-store|[0-9]{1,9}[smhd]", "immutable, revalidate, no-store or a time as 1h")


def _is_redirect(value: Any) -> bool:
    if not isinstance(value, str) or not REDIRECT.fullmatch(value) or CONTROL.search(value):
        return False
    for variable in VARIABLE.findall(value):
        if variable not in REDIRECT_VARIABLES:
            return False
    return "$" not in VARIABLE.sub("", value)


TARGET = Leaf(_is_redirect, f"a URL or a path, with no variables but {', '.join(REDIRECT_VARIABLES)}")


def uri_problem(value: Any) -> str:
    """What speaks against the path of a location."""
    text = str(value)
    if not text.startswith("/"):
        return "begins with no /"
    if re.search(r"[\s\"'\\;{}$]", text) or CONTROL.search(text):
        return "has a space, a quote or one of ; { } $ \\"
    if re.search(r"[%?#]", text):
        return "has one of % ? #: nginx compares the decoded path, without the query"
    if "//" in text or {"..", "."} & set(text.split("/")):
        return "has // or a . or .. in it: nginx compares the tidied path"
    return ""


def raw_problem(value: Any) -> str:
    """What speaks against raw directives: they may not end the block in which they stand."""
    if not isinstance(value, str):
        return "is not a text"
    depth, last, at = 0, ";", 0
    while at < len(value):
        token = _TOKEN.match(value, at)
        word = token.group() if token else value[at]
        at += len(word)
        if word.isspace() or word.startswith("#"):
            continue
        if word in "\"'":
            return f"has a {word} that is not closed"
        depth += {"{": 1, "}": -1}.get(word, 0)
        if depth < 0:
            return "has a } that closes nothing of its own"
        last = word
    if depth:
        return "has a { that is not closed"
    return "" if last in ";}" else "does not end in ; or }"


_TOKEN = re.compile(
    r"\s+|#[^\n]*|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|[;{}]"
    r"|(?:\\.|\$\{[^}\s]*\}|[^\s;{}\"'\\]|(?<=[^\s;{}])[\"'])+",
    re.DOTALL,
)
RAW = Leaf(lambda value: not raw_problem(value), "fit to be raw directives: they end in ; or }, and every { has its }")
