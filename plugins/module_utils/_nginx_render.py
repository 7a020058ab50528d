# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole tree of nginx from the configuration of the role, for the nginx that is installed.

In every text, @GENERATION@ stands for the folder of the tree, and @ID@ for its name (docs/nginx.md).
Pure functions: no I/O and no Ansible imports. The configuration has to be free of problems (_nginx_model).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.shipshape.stack.plugins.module_utils import _nginx_upstream as dynamic
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_headers import header_parts
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_model import GENERATION, filled, has_dynamic
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_render_site import access_log, site_lines
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_text import ID, block, include, line, raw, text_of
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_tls import (
    Nginx,
    NginxError,
    listen_lines,
    policy_lines,
)
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_upstream import upstream_lines

MAIN = "nginx.conf"
ERROR_LOG = "/var/log/nginx/error.log"
# One object a line, with every value in quotes that nginx may leave empty or give twice.
JSON = {
    "time": "$time_iso8601",
    "request_id": "$request_id",
    "remote_addr": "$remote_addr",
    "scheme": "$scheme",
    "host": "$host",
    "method": "$request_method",
    "uri": "$request_uri",
    "protocol": "$server_protocol",
    "status": "$status",
    "bytes_sent": "$bytes_sent",
    "request_length": "$request_length",
    "request_time": "$request_time",
    "upstream_addr": "$upstream_addr",
    "upstream_status": "$upstream_status",
    "upstream_connect_time": "$upstream_connect_time",
    "upstream_response_time": "$upstream_response_time",
    "referer": "$http_referer",
    "user_agent": "$http_user_agent",
    "tls_protocol": "$ssl_protocol",
    "tls_cipher": "$ssl_cipher",
}
NUMBERS = ("status", "bytes_sent", "request_length", "request_time")


def render(config: Mapping[str, Any], nginx: Nginx, live: Mapping[str, str] | None = None) -> dict[str, str]:
    """Relative path to text. Dynamic upstreams keep the servers that they have in the live tree."""
    config = filled(config)
    _possible(config, nginx)
    tree = {MAIN: text_of(_main(config, nginx))}
    for site in config["sites"]:
        tree[f"sites/{site['name']}.conf"] = text_of(site_lines(site, config, nginx))
        tree.update(header_parts(site))
    for policy in sorted({tls["policy"] for _port, tls in _tls_ports(config)}):
        tree[f"tls/{policy}.conf"] = text_of(policy_lines(policy, nginx))
    if config["default_server"] == "reject":
        tree["default.conf"] = text_of(_default_servers(config, nginx))
    if has_dynamic(config):
        tree[dynamic.SERVED] = dynamic.served(config, listeners(config, nginx), certificates(config), logs(config))
        tree.update(dynamic.parts(config, live or {}))
    return tree


def listeners(config: Mapping[str, Any], nginx: Nginx) -> list[tuple[str, int, str]]:
    """Address, port, and tcp or udp of everything that nginx shall listen on."""
    config = filled(config)
    _possible(config, nginx)
    found = {(address, port, "tcp") for address in config["addresses"] for port in _http_ports(config)}
    for port, tls in _tls_ports(config):
        for address in config["addresses"]:
            found |= {(address, port, kind) for kind in (("tcp", "udp") if tls["http3"] else ("tcp",))}
    for key in ("listen", "maintenance") if has_dynamic(config) else ("listen",):
        host, _colon, port = config["status"][key].rpartition(":")
        found.add((host.strip("[]"), int(port), "tcp"))
    return sorted((address.replace("*", "0.0.0.0"), port, kind) for address, port, kind in found)  # noqa: S104


def certificates(config: Mapping[str, Any]) -> list[str]:
    """The names of all certificates that sites use."""
    return sorted({site["tls"]["certificate"] for site in filled(config)["sites"] if site["tls"]})


def logs(config: Mapping[str, Any]) -> list[str]:
    """Every log file; they belong to www-data and adm before nginx makes them its own, as the system rotates them."""
    config = filled(config)
    files = {config["log"]["access"], *(site["log"]["access"] for site in config["sites"])}
    return sorted((files - {"off"}) | {ERROR_LOG})


def _possible(config: Mapping[str, Any], nginx: Nginx) -> None:
    for index, site in enumerate(config["sites"]):
        if site["tls"] and site["tls"]["http3"] and not nginx.quic:
            version = ".".join(map(str, nginx.version))
            raise NginxError(
                f"nginx_sites[{index}].tls.http3: nginx {version} has none; it needs 1.25, as in Debian 13"
            )


def _http_ports(config: Mapping[str, Any]) -> list[int]:
    ports = sorted({site["ports"]["http"] for site in config["sites"]})
    return ports or ([80] if config["default_server"] == "reject" else [])


def _tls_ports(config: Mapping[str, Any]) -> list[tuple[int, dict[str, Any]]]:
    """Each port with what its sites have in common. Without any site the usual one, so that it rejects."""
    found = {site["ports"]["https"]: site["tls"] for site in reversed(config["sites"]) if site["tls"]}
    if not config["sites"] and config["default_server"] == "reject":
        found = {443: {"policy": "intermediate", "http2": True, "http3": False}}
    return sorted(found.items())


def _default_servers(config: Mapping[str, Any], nginx: Nginx) -> list[str]:
    """Who names no site of ours gets no answer, and no certificate to read names from."""
    lines = []
    for port in _http_ports(config):
        listen = listen_lines(config["addresses"], port, nginx, None, True)
        lines += ["", *block("server", [*listen, "server_name _;", "return 444;"])]
    for port, tls in _tls_ports(config):
        listen = listen_lines(config["addresses"], port, nginx, tls, True)
        rest = ["server_name _;", include(f"tls/{tls['policy']}.conf"), "ssl_reject_handshake on;", "return 444;"]
        lines += ["", *block("server", [*listen, *rest])]
    return lines


def _main(config: Mapping[str, Any], nginx: Nginx) -> list[str]:
    worker = config["worker"]
    lines = [
        "user www-data;",
        "pid /run/nginx.pid;",
        line("error_log", ERROR_LOG, config["log"]["error_level"]),
        line("worker_processes", worker["processes"]),
        line("worker_rlimit_nofile", worker["files"]),
    ]
    if worker["shutdown_timeout"] is not None:
        lines.append(line("worker_shutdown_timeout", worker["shutdown_timeout"]))
    lines += ["include /etc/nginx/modules-enabled/*.conf;", *raw(config["raw"]["main"]), ""]
    lines += [*block("events", [line("worker_connections", worker["connections"])]), ""]
    return [*lines, *block("http", _http(config, nginx))]


def _http(config: Mapping[str, Any], nginx: Nginx) -> list[str]:
    lines = [*_basics(config), *_compression(config, nginx), "", *_log_format(), access_log(config["log"]), ""]
    lines += [*_maps(), "", *_real_ip(config), *_zones(config)]
    for upstream in config["upstreams"]:
        lines += ["", *(dynamic.include_of(upstream) if upstream["dynamic"] else upstream_lines(upstream))]
    lines += ["", *_status(config["status"])]
    if has_dynamic(config):
        lines += ["", *dynamic.maintenance_lines(config["status"]["maintenance"])]
    lines += raw(config["raw"]["http"])
    if config["default_server"] == "reject":
        lines.append(include("default.conf"))
    lines += [include(f"sites/{site['name']}.conf") for site in config["sites"]]
    return [*lines, *(line("include", each) for each in config["includes"])]


def _basics(config: Mapping[str, Any]) -> list[str]:
    timeouts = config["timeouts"]
    return [
        "include /etc/nginx/mime.types;",
        "default_type application/octet-stream;",
        "server_tokens off;",
        "sendfile on;",
        "tcp_nopush on;",
        "types_hash_max_size 2048;",
        "server_names_hash_bucket_size 256;",
        "server_names_hash_max_size 4096;",
        "map_hash_bucket_size 256;",
        "variables_hash_bucket_size 128;",
        "proxy_headers_hash_max_size 1024;",
        "proxy_headers_hash_bucket_size 128;",
        line("client_header_timeout", timeouts["header"]),
        line("client_body_timeout", timeouts["body"]),
        line("send_timeout", timeouts["send"]),
        line("keepalive_timeout", timeouts["keepalive"]),
        "reset_timedout_connection on;",
        "limit_req_status 429;",
        "limit_conn_status 429;",
        "proxy_http_version 1.1;",
        "proxy_connect_timeout 3s;",
        # A request that may not be done twice (POST) is only tried again where none was sent.
        "proxy_next_upstream error timeout;",
        "proxy_next_upstream_tries 3;",
        "proxy_redirect off;",
    ]


def _compression(config: Mapping[str, Any], nginx: Nginx) -> list[str]:
    found = []
    for name in ("gzip", "brotli") if nginx.has("brotli_filter") else ("gzip",):
        found += [
            line(f"{name}_comp_level", config["compression"]["level"]),
            line(f"{name}_min_length", config["compression"]["min_length"]),
            line(f"{name}_types", *config["compression"]["types"]),
        ]
    return [*found, "gzip_vary on;", "gzip_proxied any;"]


def _log_format() -> list[str]:
    pairs = [f'"{key}":{value}' if key in NUMBERS else f'"{key}":"{value}"' for key, value in JSON.items()]
    return [f"log_format shipshape_json escape=json '{{{','.join(pairs)}}}';"]


def _maps() -> list[str]:
    """Only a request for a websocket is passed on as an upgrade; all others keep their connection to the upstream."""
    upgrade = ['default "";', '"~*^websocket$" websocket;']
    connection = ['default "";', "websocket upgrade;"]
    return [
        *block("map $http_upgrade $upgrade_websocket", upgrade),
        *block("map $upgrade_websocket $connection_websocket", connection),
    ]


def _real_ip(config: Mapping[str, Any]) -> list[str]:
    proxies = config["real_ip"]["proxies"]
    if not proxies:
        return []
    lines = [line("set_real_ip_from", proxy) for proxy in proxies]
    return [*lines, line("real_ip_header", config["real_ip"]["header"]), "real_ip_recursive on;"]


def _zones(config: Mapping[str, Any]) -> list[str]:
    lines = []
    for zone in config["limit_zones"]:
        where = f"zone={zone['name']}:{zone['size']}"
        if zone["type"] == "request":
            lines.append(line("limit_req_zone", zone["key"], where, f"rate={zone['rate']}"))
        else:
            lines.append(line("limit_conn_zone", zone["key"], where))
    return lines


def _status(status: Mapping[str, Any]) -> list[str]:
    """Of this host alone, with the name of the generation that the workers run."""
    generation = ["default_type text/plain;", line("return", 200, f"{ID}\n")]
    lines = [
        line("listen", status["listen"]),
        "server_name _;",
        "access_log off;",
        *block(f"location = {status['path']}", ["allow 127.0.0.0/8;", "allow ::1;", "deny all;", "stub_status;"]),
        *block(f"location = {GENERATION}", generation),
        *block("location /", ["return 404;"]),
    ]
    return block("server", lines)
