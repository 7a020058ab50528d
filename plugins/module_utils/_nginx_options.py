# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The data model of the role nginx as a schema: every key, the kind of its value, and its default.

Pure data: no I/O and no Ansible imports. meta/argument_specs.yml says the same to Ansible; a test compares both.
"""

from __future__ import annotations

from ansible_collections.shipshape.stack.plugins.module_utils import _nginx_values as kind
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_schema import Field, Items, Map, Table

TYPES = (
    "application/javascript",
    "application/json",
    "application/manifest+json",
    "application/xml",
    "application/wasm",
    "font/ttf",
    "image/svg+xml",
    "text/css",
    "text/javascript",
    "text/plain",
    "text/xml",
)
COMPRESSIONS = Items(kind.choice("gzip", "brotli"))
HEADERS = Table(kind.HEADER, kind.HEADER_VALUE)
UNLIMITED = 10**9

LIMIT = Map(
    {
        "zone": Field(kind.NAME, required=True),
        "burst": Field(kind.number(0, UNLIMITED), 0),
        "nodelay": Field(kind.BOOLEAN, False),
        "connections": Field(kind.number(1, UNLIMITED)),
    }
)
BODY = Map(
    {
        "max_size": Field(kind.SIZE),
        "timeout": Field(kind.TIME),
        "request_buffering": Field(kind.BOOLEAN),
    }
)
TIMEOUTS = Map({"connect": Field(kind.TIME), "send": Field(kind.TIME), "read": Field(kind.TIME)})

LIMIT_ZONE = Map(
    {
        "name": Field(kind.NAME, required=True),
        "type": Field(kind.choice("request", "connection"), "request"),
        "key": Field(kind.KEY, "$binary_remote_addr"),
        "size": Field(kind.ZONE_SIZE, "10m"),
        "rate": Field(kind.RATE),
    }
)
SERVER = Map(
    {
        "address": Field(kind.SERVER, required=True),
        "weight": Field(kind.number(1, 1000), 1),
        "max_fails": Field(kind.number(0, 1000), 0),
        "fail_timeout": Field(kind.WHOLE_SECONDS, "10s"),
        "max_conns": Field(kind.number(0, 1000000), 0),
        "backup": Field(kind.BOOLEAN, False),
        "down": Field(kind.BOOLEAN, False),
    }
)
UPSTREAM = Map(
    {
        "name": Field(kind.NAME, required=True),
        "servers": Field(Items(SERVER), []),
        "dynamic": Field(kind.BOOLEAN, False),
        "balance": Field(kind.choice("round_robin", "least_conn", "ip_hash", "hash", "random"), "round_robin"),
        "hash_key": Field(kind.KEY),
        "keepalive": Field(kind.number(0, 10000), 32),
        "tls": Field(Map({"name": Field(kind.HOST_NAME, required=True),
                          "ca": Field(kind.PATH, "/etc/ssl/certs/ca-certificates.crt")})),
    }
)  # fmt: skip
LOCATION = Map(
    {
        "path": Field(kind.REGEX, required=True),
        "match": Field(kind.choice("prefix", "exact", "regex"), "prefix"),
        "type": Field(kind.choice("static", "proxy", "redirect", "return"), required=True),
        # static
        "alias": Field(kind.PATH),
        "root": Field(kind.PATH),
        "index": Field(kind.pattern(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", "the name of a file"), "index.html"),
        "fallback": Field(kind.PATH),
        # proxy
        "upstream": Field(kind.NAME),
        "strip_prefix": Field(kind.BOOLEAN, False),
        "websocket": Field(kind.BOOLEAN, False),
        "request_headers": Field(HEADERS, {}),
        "timeouts": Field(TIMEOUTS, {}),
        "buffering": Field(kind.BOOLEAN, True),
        # redirect and return
        "to": Field(kind.TARGET),
        "code": Field(kind.number(200, 599)),
        "text": Field(kind.TEXT, ""),
        "content_type": Field(kind.MEDIA_TYPE, "text/plain"),
        # all of them
        "cache": Field(kind.CACHE),
        "limit": Field(LIMIT),
        "limits": Field(Items(LIMIT), []),
        "allow": Field(Items(kind.NETWORK), []),
        "body": Field(BODY, {}),
        "compression": Field(COMPRESSIONS),
        "headers": Field(HEADERS, {}),
        "raw": Field(kind.RAW, ""),
    }
)
TLS = Map(
    {
        "certificate": Field(kind.CERTIFICATE, required=True),
        "policy": Field(kind.choice("intermediate", "modern"), "intermediate"),
        "http2": Field(kind.BOOLEAN, True),
        "http3": Field(kind.BOOLEAN, False),
    }
)
SITE = Map(
    {
        "name": Field(kind.SITE, required=True),
        "server_names": Field(Items(kind.SERVER_NAME, least=1), required=True),
        "canonical": Field(kind.HOST_NAME),
        "http": Field(kind.choice("redirect", "serve", "off")),
        "ports": Field(Map({"http": Field(kind.PORT, 80), "https": Field(kind.PORT, 443)}), {}),
        "tls": Field(TLS),
        "hsts": Field(
            Map(
                {
                    "max_age": Field(kind.number(0, UNLIMITED), 31536000),
                    "include_subdomains": Field(kind.BOOLEAN, False),
                    "preload": Field(kind.BOOLEAN, False),
                }
            ),
            {},
        ),
        "headers": Field(
            Map({"preset": Field(kind.choice("basic", "strict", "none"), "basic"), "set": Field(HEADERS, {})}), {}
        ),
        "body": Field(BODY, {}),
        "compression": Field(COMPRESSIONS, ["gzip"]),
        "log": Field(
            Map({"format": Field(kind.choice("json", "combined")), "access": Field(kind.LOG_MAKE)}), {}
        ),
        "limits": Field(Items(LIMIT), []),
        "locations": Field(Items(LOCATION), []),
        "raw": Field(kind.RAW, ""),
    }
)  # fmt: skip
WORKER = Map(
    {
        "processes": Field(kind.pattern(r"auto|[1-9][0-9]{0,3}", "auto or a number"), "auto"),
        "connections": Field(kind.number(16, 1000000), 4096),
        "files": Field(kind.number(64, 10000000), 16384),
        "shutdown_timeout": Field(kind.TIME),
    }
)
CONFIG = Map(
    {
        "addresses": Field(Items(kind.ADDRESS, least=1), ["*", "::"]),
        "compression": Field(
            Map(
                {
                    "level": Field(kind.number(1, 9), 5),
                    "min_length": Field(kind.number(0, 10**6), 1000),
                    "types": Field(Items(kind.MEDIA_TYPE), list(TYPES)),
                }
            ),
            {},
        ),
        "default_server": Field(kind.choice("reject", "off"), "reject"),
        "includes": Field(Items(kind.GLOB), []),
        "limit_zones": Field(Items(LIMIT_ZONE), []),
        "log": Field(
            Map(
                {
                    "format": Field(kind.choice("json", "combined"), "json"),
                    "access": Field(kind.LOG_MAKE, "/var/log/nginx/access.log"),
                    "error_level": Field(kind.choice("error", "warn", "notice", "info"), "warn"),
                }
            ),
            {},
        ),
        "raw": Field(Map({"main": Field(kind.RAW, ""), "http": Field(kind.RAW, "")}), {}),
        "real_ip": Field(
            Map({"proxies": Field(Items(kind.NETWORK), []), "header": Field(kind.HEADER, "X-Forwarded-For")}), {}
        ),
        "sites": Field(Items(SITE), []),
        "status": Field(
            Map(
                {
                    "listen": Field(kind.LISTENER, "127.0.0.1:8081"),
                    "path": Field(kind.PATH, "/stub_status"),
                    "maintenance": Field(kind.LISTENER, "127.0.0.1:8082"),
                }
            ),
            {},
        ),
        "timeouts": Field(
            Map(
                {
                    "header": Field(kind.TIME, "15s"),
                    "body": Field(kind.TIME, "60s"),
                    "send": Field(kind.TIME, "60s"),
                    "keepalive": Field(kind.TIME, "65s"),
                }
            ),
            {},
        ),
        "upstreams": Field(Items(UPSTREAM), []),
        "worker": Field(WORKER, {}),
    }
)  # fmt: skip
