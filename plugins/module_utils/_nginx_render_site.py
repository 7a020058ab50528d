# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A site as text: its servers for HTTP, for names that lead to its canonical one, and for itself.

Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.shipshape.stack.plugins.module_utils._nginx_headers import include_headers
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_render_location import (
    acme_location,
    body_lines,
    compression_lines,
    limit_lines,
    location_lines,
)
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_text import block, include, line, raw
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_tls import (
    Nginx,
    certificate_lines,
    hsts_map,
    listen_lines,
)

LOG_FORMATS = {"json": "shipshape_json", "combined": "combined"}


def access_log(log: Mapping[str, Any]) -> str:
    if log["access"] == "off":
        return "access_log off;"
    return line("access_log", log["access"], LOG_FORMATS[log["format"]])


def site_lines(site: Mapping[str, Any], config: Mapping[str, Any], nginx: Nginx) -> list[str]:
    """All of sites/NAME.conf."""
    canonical = site["canonical"]
    main = [canonical] if canonical else site["server_names"]
    others = [name for name in site["server_names"] if name not in main]
    found = hsts_map(site) if site["tls"] else []
    for tls in (False, True) if site["tls"] else (False,):
        serves = tls or site["http"] == "serve"
        if serves and others:
            url = _url(site, tls, canonical)
            found += _server(site, tls, others, config, nginx, _everything(site, tls, f"return 301 {url}$request_uri;"))
        if serves:
            found += _server(site, tls, main, config, nginx, _own(site, tls, config, nginx))
        else:
            # To the same name first, as lists of sites that are HTTPS only ask for.
            url = _url(site, True, "$host")
            answer = f"return 301 {url}$request_uri;" if site["http"] == "redirect" else "return 444;"
            found += _server(site, tls, site["server_names"], config, nginx, _everything(site, tls, answer))
    return found


def _url(site: Mapping[str, Any], tls: bool, host: str) -> str:
    port = site["ports"]["https" if tls else "http"]
    return f"http{'s' if tls else ''}://{host}{'' if port == (443 if tls else 80) else f':{port}'}"


def _everything(site: Mapping[str, Any], tls: bool, answer: str) -> list[str]:
    return block("location /", [include_headers(site, tls), answer])


def _own(site: Mapping[str, Any], tls: bool, config: Mapping[str, Any], nginx: Nginx) -> list[str]:
    lines = []
    for limit in site["limits"]:
        lines += limit_lines(limit, config)
    lines += [*body_lines(site["body"]), *compression_lines(site["compression"], nginx), *raw(site["raw"])]
    for index in range(len(site["locations"])):
        lines += ["", *location_lines(site, index, tls, config, nginx)]
    return lines


def _server(
    site: Mapping[str, Any],
    tls: bool,
    names: Sequence[str],
    config: Mapping[str, Any],
    nginx: Nginx,
    content: Sequence[str],
) -> list[str]:
    port = site["ports"]["https" if tls else "http"]
    lines = listen_lines(config["addresses"], port, nginx, site["tls"] if tls else None, False)
    lines += [line("server_name", *names), access_log(site["log"]), include_headers(site, tls)]
    if tls:
        lines += [include(f"tls/{site['tls']['policy']}.conf"), *certificate_lines(site["tls"]["certificate"])]
    else:
        lines += ["", *acme_location(site), ""]
    return ["", *block("server", [*lines, *content])]
