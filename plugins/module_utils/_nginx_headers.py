# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The headers of a site: one part that each of its servers and locations includes.

nginx gives a location the headers of its server only while it has none of its own, so each includes all of them.
Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.shipshape.stack.plugins.module_utils import _nginx_values as kind
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_text import include, line, text_of
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_tls import hsts_variable

BASIC = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
STRICT = {
    **BASIC,
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Content-Security-Policy": (
        "default-src 'self'; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
PRESETS: dict[str, dict[str, str]] = {"none": {}, "basic": BASIC, "strict": STRICT}
HSTS = "Strict-Transport-Security"


def merged(*sets: Mapping[str, str]) -> dict[str, str]:
    """Later ones win, whatever their capitals; an empty value takes a header away."""
    found: dict[str, tuple[str, str]] = {}
    for each in sets:
        for name, value in each.items():
            found[name.lower()] = (name, value)
    return {name: value for name, value in found.values() if value != ""}


def headers_of(site: Mapping[str, Any], location: Mapping[str, Any] | None = None) -> dict[str, str]:
    own = location["headers"] if location else {}
    return merged(PRESETS[site["headers"]["preset"]], site["headers"]["set"], own)


def part(site: Mapping[str, Any], tls: bool, index: int | None = None) -> str:
    """The name of the part: a location with headers of its own has its own one."""
    own = index is not None and site["locations"][index]["headers"]
    return f"headers/{site['name']}{f'.{index}' if own else ''}{'.tls' if tls else ''}.conf"


def include_headers(site: Mapping[str, Any], tls: bool, index: int | None = None) -> str:
    return include(part(site, tls, index))


def header_parts(site: Mapping[str, Any]) -> dict[str, str]:
    """Path to text of all parts of a site."""
    parts = {}
    for tls in (False, True) if site["tls"] else (False,):
        for index in [None, *range(len(site["locations"]))]:
            location = None if index is None else site["locations"][index]
            lines = [line("add_header", name, value, "always") for name, value in headers_of(site, location).items()]
            if tls:
                lines.append(line("add_header", HSTS, hsts_variable(site), "always"))
            if tls and site["tls"]["http3"]:
                lines.append(line("add_header", "Alt-Svc", f'h3=":{site["ports"]["https"]}"; ma=86400', "always"))
            parts[part(site, tls, index)] = text_of(lines)
    return parts


def hidden_lines(site: Mapping[str, Any], location: Mapping[str, Any]) -> list[str]:
    """What an application says about the same things would be a second header."""
    names = [*headers_of(site, location), HSTS]
    if location["cache"]:
        names += ["Cache-Control", "Expires"]
    return [line("proxy_hide_header", name) for name in names]


def cache_lines(cache: str | None) -> list[str]:
    """Not `always`: an error would be kept as long as the file."""
    if cache is None:
        return []
    values = {
        "immutable": "public, max-age=31536000, immutable",
        "revalidate": "no-cache",
        "no-store": "no-store",
    }
    value = values.get(cache) or f"public, max-age={kind.seconds(cache)}"
    return [line("add_header", "Cache-Control", value)]
