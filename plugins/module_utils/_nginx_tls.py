# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TLS by the versions of nginx and OpenSSL, and the names of the parts that depend on them.

Pure functions: no I/O and no Ansible imports. Sources of the policies: docs/nginx.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.shipshape.stack.plugins.module_utils import _certificate_store as store
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_text import block, line, switch

# Only ciphers with forward secrecy and authenticated encryption; no DHE, so no parameters to make.
SUITES = (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
)
PROTOCOLS = {"intermediate": ("TLSv1.2", "TLSv1.3"), "modern": ("TLSv1.3",)}
CURVES = ("X25519", "prime256v1", "secp384r1")
# OpenSSL 3.5 has it, and passes over what follows a question mark if it does not.
HYBRID = "?X25519MLKEM768"


class NginxError(Exception):
    """What this nginx cannot do, and what to do instead."""


@dataclass(frozen=True)
class Nginx:
    """What is installed: `nginx -v`, the OpenSSL that it runs with, and the names of the enabled dynamic modules.

    Such as Nginx((1, 26, 3), (3, 5, 1), frozenset({"ngx_http_brotli_filter_module"})).
    """

    version: tuple[int, ...]
    openssl: tuple[int, ...] = (3, 0, 0)
    modules: frozenset[str] = frozenset()

    @property
    def http2_directive(self) -> bool:
        """Since then a word of `listen` is deprecated, which is a warning."""
        return self.version >= (1, 25, 1)

    @property
    def quic(self) -> bool:
        return self.version >= (1, 25, 0)

    @property
    def rotates_tickets(self) -> bool:
        """Keys of session tickets live as long as the shared cache says, not as long as the process."""
        return self.version >= (1, 23, 2)

    @property
    def hybrid(self) -> bool:
        return self.openssl >= (3, 5)

    def has(self, word: str) -> bool:
        return any(word in module for module in self.modules)


def policy_lines(policy: str, nginx: Nginx) -> list[str]:
    """What every server of a port with TLS has, its default one before all: that one decides on the protocol."""
    lines = [line("ssl_protocols", *PROTOCOLS[policy])]
    if "TLSv1.2" in PROTOCOLS[policy]:
        lines.append(line("ssl_ciphers", ":".join(SUITES)))
    return [
        *lines,
        "ssl_prefer_server_ciphers off;",
        line("ssl_ecdh_curve", ":".join([HYBRID, *CURVES] if nginx.hybrid else CURVES)),
        "ssl_session_cache shared:TLS:10m;",
        "ssl_session_timeout 1d;",
        line("ssl_session_tickets", switch(nginx.rotates_tickets)),
    ]


def certificate_lines(name: str) -> list[str]:
    return [
        line("ssl_certificate", f"{store.current(name)}/{store.CHAIN}"),
        line("ssl_certificate_key", f"{store.current(name)}/{store.KEY}"),
    ]


def listen_lines(
    addresses: list[str], port: int, nginx: Nginx, tls: Mapping[str, Any] | None, first: bool
) -> list[str]:
    """The listeners of one server. What belongs to the socket is said once, by the default server of the port."""
    lines = []
    for address in addresses:
        where = f"{f'[{address}]' if ':' in address else address}:{port}"
        words = ["ssl"] if tls else []
        if tls and tls["http2"] and not nginx.http2_directive:
            words.append("http2")
        lines.append(line("listen", where, *words, *(["default_server"] if first else [])))
        if tls and tls["http3"]:
            lines.append(line("listen", where, "quic", *(["default_server", "reuseport"] if first else [])))
    if tls and nginx.http2_directive:
        lines.append(line("http2", switch(tls["http2"])))
    return lines


def hsts_variable(site: Mapping[str, Any]) -> str:
    return "$hsts_" + str(site["name"]).replace("-", "_")


def hsts_map(site: Mapping[str, Any]) -> list[str]:
    """The value of the header: empty, and so not sent, while a placeholder is served."""
    hsts = site["hsts"]
    words = [f"max-age={hsts['max_age']}"]
    words += ["includeSubDomains"] * hsts["include_subdomains"] + ["preload"] * hsts["preload"]
    placeholder = f"{store.current(site['tls']['certificate'])}/{store.MAP_FILE.replace('.', '*.')}"
    lines = [line("default", "; ".join(words)), line("include", placeholder)]
    return block(f'map "" {hsts_variable(site)}', lines)
