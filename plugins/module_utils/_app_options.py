# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The app model as a schema: every key, the kind of its value, and its default.

Pure data: no I/O and no Ansible imports. meta/argument_specs.yml of app_stack says the same to Ansible; a test compares
both.
"""

from __future__ import annotations

from . import _app_values as kind
from ._app_schema import Exact, Raw, quiet, without_defaults
from ._nginx_options import LOCATION, SITE
from ._nginx_schema import Field, Items, Leaf, Map
from ._nginx_values import (
    ADDRESS,
    BOOLEAN,
    CERTIFICATE,
    HOST_NAME,
    KEY,
    PATH,
    PORT,
    RATE,
    SERVER_NAME,
    ZONE_SIZE,
    choice,
    number,
    pattern,
)

KINDS = ("web", "worker", "scheduler", "job", "infra")
DAY = 86400
ENV = Exact(kind.VARIABLE, kind.SETTING)
SECRETS = Exact(kind.VARIABLE, kind.SECRET)
HOSTS = Exact(
    HOST_NAME,
    Leaf(lambda value: value == "host-gateway" or (value != "*" and ADDRESS.good(value)), "an address or host-gateway"),
)
SECONDS = number(1, DAY)

HEALTH = Map(
    {
        "path": Field(PATH),
        "status": Field(Items(number(100, 599), least=1), [200]),
        "json": Field(Raw()),
        "version": Field(Map({"path": Field(PATH), "json_field": Field(kind.SETTING, "version")})),
        "command": Field(kind.CHECK_COMMAND),
        "consecutive": Field(number(1, 100), 3),
        "interval": Field(kind.number(0.1, 3600), 1.0),
        "timeout": Field(kind.number(0.1, 3600), 5.0),
        "start_seconds": Field(SECONDS, 60),
    }
)
VOLUME = Map(
    {
        "path": Field(kind.TARGET, required=True),
        "name": Field(kind.NAME),
        "host": Field(kind.HOST_PATH),
        "read_only": Field(BOOLEAN),
    }
)
SERVICE = Map(
    {
        "name": Field(kind.NAME, required=True),
        "kind": Field(choice(*KINDS), required=True),
        "image": Field(kind.IMAGE, required=True),
        "version": Field(kind.VERSION),
        "digest": Field(kind.DIGEST),
        "pull": Field(choice("missing", "always", "never"), "missing"),
        "command": Field(kind.COMMAND),
        "entrypoint": Field(kind.COMMAND),
        "port": Field(PORT),
        "publish": Field(PORT),
        "balance": Field(choice("round_robin", "least_conn", "ip_hash", "random"), "round_robin"),
        "replicas": Field(number(0, 64), 1),
        "health": Field(HEALTH, {}),
        "limits": Field(
            Map(
                {
                    "cpus": Field(kind.number(0.01, 1024)),
                    "memory": Field(kind.MEMORY),
                    "pids": Field(number(1, 4194304)),
                }
            ),
            {},
        ),
        "env": Field(ENV, {}),
        "secrets": Field(SECRETS, {}),
        "volumes": Field(Items(VOLUME), []),
        "tmpfs": Field(Items(kind.TMPFS), []),
        "stop_seconds": Field(SECONDS, 30),
        "user": Field(kind.USER),
        "read_only": Field(BOOLEAN, False),
        "init": Field(BOOLEAN, True),
        "cap_add": Field(Items(kind.CAPABILITY), []),
        "internet": Field(BOOLEAN, True),
        "after": Field(Items(kind.NAME), []),
        "labels": Field(Exact(kind.LABEL, kind.SETTING), {}),
        "ulimits": Field(Exact(kind.ULIMIT_NAME, kind.ULIMIT), {}),
    }
)
LIMIT = Map(
    {
        "rate": Field(RATE),
        "burst": Field(number(0, 10**9)),
        "nodelay": Field(BOOLEAN),
        "connections": Field(number(1, 10**9)),
        "key": Field(KEY, "$binary_remote_addr"),
        "size": Field(ZONE_SIZE, "10m"),
    }
)
ROUTE = Map(
    {
        "path": Field(LOCATION.fields["path"].node, required=True),
        "service": Field(kind.NAME),
        "limit": Field(LIMIT),
        **without_defaults(
            LOCATION, "match", "alias", "root", "index", "fallback", "strip_prefix", "websocket", "request_headers",
            "timeouts", "buffering", "to", "code", "text", "content_type", "cache", "allow", "body", "compression",
            "headers", "raw",
        ),
    }
)  # fmt: skip
TLS = Map(without_defaults(SITE.fields["tls"].node, "policy", "http2", "http3"))  # type: ignore[arg-type]
SITE_KEYS = Map(
    {
        "tls": Field(TLS, {}),
        **without_defaults(SITE, "canonical", "http", "ports", "hsts", "headers", "body", "compression", "log", "raw"),
    }
)
DATABASE = Map(
    {
        "name": Field(kind.SETTING),
        "owner": Field(kind.SETTING),
        "password": Field(kind.SECRET),
        "extensions": Field(Items(Raw()), []),
        "schemas": Field(Items(Raw()), []),
        "settings": Field(Exact(kind.SETTING, kind.SETTING)),
        "connection_limit": Field(number(-1, 10**6)),
        "locale": Field(kind.SETTING),
        "readers": Field(Items(kind.SETTING), []),
        "writers": Field(Items(kind.SETTING), []),
        "scheme": Field(pattern(r"[a-z][a-z0-9+.-]*", "the scheme of a URL, such as postgresql+psycopg"), "postgresql"),
        "variable": Field(kind.VARIABLE, "DATABASE_URL"),
    }
)
PATTERN = pattern(r"[^\s~&\0]+", "a pattern without spaces, such as shop:*")
CACHE = Map(
    {
        "user": Field(kind.NAME),
        "password": Field(kind.SECRET),
        "database": Field(number(0, 1023), 0),
        "keys": Field(Items(PATTERN, least=1)),
        "channels": Field(Items(PATTERN)),
        "commands": Field(
            Items(pattern(r"[+-]@?[a-z|_-]+", "a rule such as +@all or -flushall")),
            ["+@all", "-@admin", "-@dangerous", "+info"],
        ),
        "variable": Field(kind.VARIABLE, "REDIS_URL"),
    }
)
MIGRATE = Map(
    {
        "service": Field(kind.NAME, required=True),
        "command": Field(kind.COMMAND),
        "timeout": Field(SECONDS, 600),
        "lock_timeout": Field(number(1, DAY), 5),
        "contract": Field(BOOLEAN, False),
        "revision": Field(kind.COMMAND),
    }
)
INIT = Map(
    {
        "name": Field(kind.NAME, required=True),
        "service": Field(kind.NAME, required=True),
        "command": Field(kind.COMMAND),
        "timeout": Field(SECONDS, 600),
    }
)
DEPLOY = Map(
    {
        "canary": Field(
            Items(
                Map(
                    {
                        "percent": Field(number(1, 99), required=True),
                        "seconds": Field(SECONDS, required=True),
                    }
                )
            ),
            [],
        ),
        "bake_seconds": Field(number(0, DAY), 15),
        "max_error_ratio": Field(kind.number(0, 1), 0.01),
        "drain_seconds": Field(number(0, DAY), 30),
    }
)
APP = Map(
    {
        "name": Field(kind.NAME, required=True),
        "state": Field(choice("present", "absent"), "present"),
        "services": Field(Items(SERVICE), []),
        "domains": Field(Items(SERVER_NAME), []),
        "tls": Field(BOOLEAN, True),
        "certificate": Field(CERTIFICATE),
        "site": Field(SITE_KEYS, {}),
        "routes": Field(Items(ROUTE), []),
        "static": Field(Map({"service": Field(kind.NAME, required=True), "path": Field(kind.TARGET, required=True)})),
        "database": Field(DATABASE),
        "cache": Field(CACHE),
        "env": Field(ENV, {}),
        "secrets": Field(SECRETS, {}),
        "extra_hosts": Field(HOSTS, {}),
        "migrate": Field(MIGRATE),
        "init": Field(Items(INIT), []),
        "deploy": Field(DEPLOY, {}),
        "maintenance": Field(BOOLEAN, False),
        "keep_releases": Field(number(1, 50), 3),
    }
)
JUDGED = quiet(APP)
