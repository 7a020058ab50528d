# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The locations of a site as text.

Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.shipshape.stack.plugins.module_utils._nginx_headers import (
    cache_lines,
    hidden_lines,
    include_headers,
)
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_locations import ACME_PATH
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_text import block, line, raw, switch, word
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_tls import Nginx

ACME_ROOT = "/var/www/acme"
# All of them in each location: nginx takes those of the server only where a location has none. A value that is empty
# is not sent, so that a client cannot pass for a proxy.
SENT = {
    "Host": "$host",
    "X-Real-IP": "$remote_addr",
    "X-Forwarded-For": "$remote_addr",
    "X-Forwarded-Host": "$host",
    "X-Forwarded-Port": "$server_port",
    "X-Forwarded-Proto": "$scheme",
    "X-Forwarded-Prefix": "",
    "X-Request-ID": "$request_id",
    "Forwarded": "",
    "Proxy": "",
}
MATCH = {"prefix": "", "exact": "= ", "regex": "~ "}
HIDDEN = r"/\.(?!well-known/)"


def acme_location(site: Mapping[str, Any]) -> list[str]:
    """Where certificates are asked for: before any regular expression, and never behind a redirect."""
    lines = [include_headers(site, False), line("root", ACME_ROOT), "default_type text/plain;"]
    return block(f"location ^~ {ACME_PATH}", lines)


def location_lines(
    site: Mapping[str, Any], index: int, tls: bool, config: Mapping[str, Any], nginx: Nginx
) -> list[str]:
    location = site["locations"][index]
    headers = include_headers(site, tls, index)
    lines = [headers, *cache_lines(location["cache"])]
    for limit in [location["limit"], *location["limits"]]:
        lines += limit_lines(limit, config) if limit else []
    if location["allow"]:
        lines += [*(line("allow", network) for network in location["allow"]), "deny all;"]
    lines += [*body_lines(location["body"]), *compression_lines(location["compression"], nginx)]
    if location["type"] == "static":
        lines += _static(location, headers)
    elif location["type"] == "proxy":
        lines += _proxy(site, location, config)
    else:
        lines += _answer(location)
    return block(f"location {MATCH[location['match']]}{word(location['path'])}", [*lines, *raw(location["raw"])])


def limit_lines(limit: Mapping[str, Any], config: Mapping[str, Any]) -> list[str]:
    zone = next(zone for zone in config["limit_zones"] if zone["name"] == limit["zone"])
    if zone["type"] == "connection":
        return [line("limit_conn", limit["zone"], limit["connections"])]
    words = [f"zone={limit['zone']}"]
    words += [f"burst={limit['burst']}"] * bool(limit["burst"]) + ["nodelay"] * bool(
        limit["burst"] and limit["nodelay"]
    )
    return [line("limit_req", *words)]


def body_lines(body: Mapping[str, Any]) -> list[str]:
    lines = []
    if body["max_size"] is not None:
        lines.append(line("client_max_body_size", body["max_size"]))
    if body["timeout"] is not None:
        lines.append(line("client_body_timeout", body["timeout"]))
    if body["request_buffering"] is not None:
        lines.append(line("proxy_request_buffering", switch(body["request_buffering"])))
    return lines


def compression_lines(wanted: list[str] | None, nginx: Nginx) -> list[str]:
    """None leaves it to the server."""
    if wanted is None:
        return []
    lines = [line("gzip", switch("gzip" in wanted))]
    if nginx.has("brotli_filter"):
        lines.append(line("brotli", switch("brotli" in wanted)))
    return lines


def _static(location: Mapping[str, Any], headers: str) -> list[str]:
    lines = [line("alias", location["alias"])] if location["alias"] and location["path"] != "/" else []
    if not lines:
        # For / both are the same, and try_files is at home in a root.
        lines = [line("root", (location["root"] or location["alias"]).rstrip("/") or "/")]
    lines.append(line("index", location["index"]))
    if location["fallback"]:
        # Each request would look for three files; for a second it is known which are there.
        lines += ["open_file_cache max=1000 inactive=20s;", "open_file_cache_valid 1s;"]
        lines.append(line("try_files", "$uri", "$uri/", location["fallback"]))
    if location["match"] != "exact":
        lines += block(f"location ~ {word(HIDDEN)}", [headers, "deny all;"])
    return lines


def _proxy(site: Mapping[str, Any], location: Mapping[str, Any], config: Mapping[str, Any]) -> list[str]:
    upstream = next(each for each in config["upstreams"] if each["name"] == location["upstream"])
    stripped = {"X-Forwarded-Prefix": location["path"].rstrip("/")} if location["strip_prefix"] else {}
    websocket = {"Upgrade": "$upgrade_websocket", "Connection": "$connection_websocket"}
    own = {**stripped, **(websocket if location["websocket"] else {"Connection": ""})}
    sent = {**SENT, **own}
    given = {name.lower() for name in location["request_headers"]}
    lines = [line("proxy_set_header", name, value) for name, value in sent.items() if name.lower() not in given]
    lines += [line("proxy_set_header", name, value) for name, value in location["request_headers"].items()]
    lines += hidden_lines(site, location)
    for key in ("connect", "send", "read"):
        if location["timeouts"][key] is not None:
            lines.append(line(f"proxy_{key}_timeout", location["timeouts"][key]))
    if not location["buffering"]:
        lines.append("proxy_buffering off;")
    if upstream["tls"]:
        lines += [
            line("proxy_ssl_name", upstream["tls"]["name"]),
            line("proxy_ssl_trusted_certificate", upstream["tls"]["ca"]),
            "proxy_ssl_server_name on;",
            "proxy_ssl_verify on;",
            "proxy_ssl_verify_depth 3;",
            "proxy_ssl_protocols TLSv1.2 TLSv1.3;",
        ]
    scheme = "https" if upstream["tls"] else "http"
    # With a path, nginx puts it in the place of the location's.
    return [*lines, line("proxy_pass", f"{scheme}://{upstream['name']}{'/' if location['strip_prefix'] else ''}")]


def _answer(location: Mapping[str, Any]) -> list[str]:
    if location["type"] == "redirect":
        return [line("return", location["code"] or 301, location["to"])]
    if not location["text"]:
        return [line("return", location["code"])]
    kind = [line("default_type", location["content_type"])]
    return [*block("types", []), *kind, line("return", location["code"], location["text"])]
