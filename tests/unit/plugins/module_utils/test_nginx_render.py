# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tree that the role nginx writes, read again as nginx reads it."""

from __future__ import annotations

import json

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_headers import merged
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_model import problems
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_render import (
    JSON,
    NUMBERS,
    Nginx,
    NginxError,
    certificates,
    listeners,
    logs,
    render,
)
from hypothesis import given
from hypothesis import strategies as st
from nginx_reader import read

OLD = Nginx((1, 22, 1), (3, 0, 17))
NEW = Nginx((1, 26, 3), (3, 5, 1))
BROTLI = Nginx((1, 26, 3), (3, 5, 1), frozenset({"ngx_http_brotli_filter_module"}))
HSTS = "Strict-Transport-Security"


def site(*locations, **keys):
    return {
        "name": "shop",
        "server_names": ["shop.example.org"],
        "tls": {"certificate": "shop"},
        "locations": list(locations) or [{"path": "/", "type": "proxy", "upstream": "app"}],
        **keys,
    }


def config(*sites, **keys):
    return {
        "limit_zones": [{"name": "login", "rate": "5r/m"}, {"name": "few", "type": "connection"}],
        "upstreams": [{"name": "app", "servers": [{"address": "192.0.2.10:8000"}]}],
        "sites": list(sites) or [site()],
        **keys,
    }


def whole(wanted, nginx=NEW):
    assert problems(wanted) == []
    tree = render(wanted, nginx)
    return read(tree["nginx.conf"], tree)


def found(wanted, name, nginx=NEW):
    return [each for top in whole(wanted, nginx) for each in top.all(name)]


def words(wanted, name, nginx=NEW):
    return [each.words for each in found(wanted, name, nginx)]


def servers(wanted, name, nginx=NEW):
    """The servers of a name, as pairs of TLS or not, and the server."""
    mine = [each for each in found(wanted, "server", nginx) if each.block and [name] in each.own("server_name")]
    return {any("ssl" in listen for listen in each.own("listen")): each for each in mine}


def only_location(wanted, path="/", tls=True, nginx=NEW):
    server = servers(wanted, "shop.example.org", nginx)[tls]
    return next(each for each in server.all("location") if each.words[-1] == path)


# --- versions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nginx", "listen", "http2", "curves", "tickets"),
    [
        (OLD, ["*:443", "ssl", "http2"], [], "X25519:prime256v1:secp384r1", "off"),
        (NEW, ["*:443", "ssl"], ["on"], "?X25519MLKEM768:X25519:prime256v1:secp384r1", "on"),
        (Nginx((1, 25, 0)), ["*:443", "ssl", "http2"], [], "X25519:prime256v1:secp384r1", "on"),
        (Nginx((1, 25, 1)), ["*:443", "ssl"], ["on"], "X25519:prime256v1:secp384r1", "on"),
    ],
)
def test_syntax_follows_the_version(nginx, listen, http2, curves, tickets):
    tls = servers(config(), "shop.example.org", nginx)[True]
    assert listen in tls.own("listen")
    assert tls.own("http2") == ([http2] if http2 else [])
    assert tls.own("ssl_ecdh_curve") == [[curves]]
    assert tls.own("ssl_session_tickets") == [[tickets]]


@pytest.mark.parametrize("http2", [True, False])
@pytest.mark.parametrize("nginx", [OLD, NEW])
def test_http2_of_a_port_is_the_same_for_its_default_server(nginx, http2):
    wanted = config(site(tls={"certificate": "shop", "http2": http2}))
    of_port = [
        each for each in found(wanted, "server", nginx) if ["*:443", "ssl"] in [w[:2] for w in each.own("listen")]
    ]
    assert len(of_port) == 2
    for server in of_port:
        assert any("http2" in listen for listen in server.own("listen")) == (http2 and nginx is OLD)
        assert server.own("http2") == ([] if nginx is OLD else [["on" if http2 else "off"]])


def test_http3_needs_a_new_nginx():
    wanted = config(site(tls={"certificate": "shop", "http3": True}))
    with pytest.raises(NginxError, match=r"nginx_sites\[0\].tls.http3: nginx 1.22.1 has none"):
        render(wanted, OLD)
    with pytest.raises(NginxError):
        listeners(wanted, OLD)
    quic = [each for each in words(wanted, "listen") if "quic" in each]
    assert quic == [
        ["*:443", "quic", "default_server", "reuseport"],
        ["[::]:443", "quic", "default_server", "reuseport"],
        ["*:443", "quic"],
        ["[::]:443", "quic"],
    ]
    assert ["Alt-Svc", 'h3=":443"; ma=86400', "always"] in only_location(wanted).own("add_header")
    assert ("::", 443, "udp") in listeners(wanted, NEW)


@pytest.mark.parametrize(
    ("policy", "protocols", "ciphers"), [("intermediate", ["TLSv1.2", "TLSv1.3"], 1), ("modern", ["TLSv1.3"], 0)]
)
def test_policies(policy, protocols, ciphers):
    wanted = config(site(tls={"certificate": "shop", "policy": policy}))
    assert words(wanted, "ssl_protocols") == [protocols] * 2
    assert len(words(wanted, "ssl_ciphers")) == 2 * ciphers
    assert words(wanted, "ssl_stapling") == []


def test_every_cipher_has_forward_secrecy_and_an_authenticated_mode():
    for suite in words(config(), "ssl_ciphers")[0][0].split(":"):
        assert suite.startswith("ECDHE-")
        assert "GCM" in suite or "POLY1305" in suite


@pytest.mark.parametrize(("nginx", "lines"), [(NEW, []), (BROTLI, [["on"]])])
def test_brotli_is_written_where_its_module_is(nginx, lines):
    wanted = config(site(compression=["gzip", "brotli"]))
    assert words(wanted, "brotli", nginx) == lines
    assert words(wanted, "gzip", nginx) == [["on"]]


# --- listeners, certificates, logs ------------------------------------------------------------------------------------

EVERYWHERE = [
    ("0.0.0.0", 80, "tcp"),
    ("0.0.0.0", 443, "tcp"),
    ("127.0.0.1", 8081, "tcp"),
    ("::", 80, "tcp"),
    ("::", 443, "tcp"),
]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, EVERYWHERE),
        (config(), EVERYWHERE),
        ({"default_server": "off"}, [("127.0.0.1", 8081, "tcp")]),
        (config(site(tls=None)), [each for each in EVERYWHERE if each[1] != 443]),
        (
            config(site(ports={"http": 8080, "https": 8443}), addresses=["192.0.2.1"], status={"listen": "[::1]:81"}),
            [("192.0.2.1", 8080, "tcp"), ("192.0.2.1", 8443, "tcp"), ("::1", 81, "tcp")],
        ),
    ],
)
def test_listeners(wanted, expected):
    assert listeners(wanted, NEW) == expected
    assert {each[0] for each in words(wanted, "listen")} == {
        f"{f'[{a}]' if ':' in a else a.replace('0.0.0.0', '*')}:{port}" for a, port, _kind in expected
    }


def test_certificates_and_logs():
    wanted = config(
        site(log={"access": "/var/log/nginx/shop.log", "format": "combined"}),
        site(name="b", server_names=["b.org"], tls={"certificate": "all"}, log={"access": False}),
        site(name="c", server_names=["c.org"], tls={"certificate": "all"}),
    )
    assert certificates(wanted) == ["all", "shop"]
    assert certificates({}) == []
    assert logs(wanted) == ["/var/log/nginx/access.log", "/var/log/nginx/error.log", "/var/log/nginx/shop.log"]
    assert servers(wanted, "shop.example.org")[True].own("access_log") == [["/var/log/nginx/shop.log", "combined"]]
    assert servers(wanted, "b.org")[True].own("access_log") == [["off"]]


def test_names_that_are_no_site_are_rejected():
    for wanted in ({}, config()):
        default = [each for each in found(wanted, "server") if each.block and each.own("server_name") == [["_"]]]
        http, https = [each for each in default if any("default_server" in w for w in each.own("listen"))]
        assert http.own("return") == https.own("return") == [["444"]]
        assert https.own("ssl_reject_handshake") == [["on"]]
        assert https.own("ssl_certificate") == []
    assert not any("default_server" in each for each in words(config(default_server="off"), "listen"))


# --- sites ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "answer"),
    [
        ({}, ["301", "https://$host$request_uri"]),
        ({"ports": {"https": 8443}}, ["301", "https://$host:8443$request_uri"]),
        ({"http": "off"}, ["444"]),
    ],
)
def test_http_beside_https(keys, answer):
    http = servers(config(site(**keys)), "shop.example.org")[False]
    assert only_location(config(site(**keys)), tls=False).own("return") == [answer]
    assert http.own("return") == []


@pytest.mark.parametrize(
    "keys", [{}, {"http": "off"}, {"http": "serve"}, {"tls": None}, {"canonical": "shop.example.org"}]
)
def test_challenges_come_first_on_every_server_without_tls(keys):
    wanted = config(site({"path": "^/", "match": "regex", "type": "proxy", "upstream": "app"}, **keys))
    plain = [each for each in found(wanted, "server") if each.block and ["*:80"] in each.own("listen")]
    assert plain
    for server in plain:
        acme = next(each for each in server.block if each.name == "location")
        assert acme.words == ["^~", "/.well-known/acme-challenge/"]
        assert acme.own("root") == [["/var/www/acme"]]
        assert server.own("return") == [], "it would answer before any location"


def test_a_canonical_name_serves_alone():
    wanted = config(site(server_names=["shop.example.org", "www.shop.example.org"], canonical="shop.example.org"))
    https = [each for each in found(wanted, "server") if each.block and ["*:443", "ssl"] in each.own("listen")]
    assert [each.own("server_name") for each in https] == [[["www.shop.example.org"]], [["shop.example.org"]]]
    assert https[0].all("return")[0].words == ["301", "https://shop.example.org$request_uri"]


def test_hsts_waits_for_a_certificate():
    wanted = config(site(hsts={"max_age": 31536000, "include_subdomains": True, "preload": True}))
    (value,) = [each for each in found(wanted, "map") if each.words[1] == "$hsts_shop"]
    assert value.words == ["", "$hsts_shop"]
    assert value.own("default") == [["max-age=31536000; includeSubDomains; preload"]]
    assert value.own("include") == [["/etc/nginx/tls/shop/current/placeholder*.map"]]
    tls, plain = only_location(wanted), only_location(wanted, tls=False)
    assert [HSTS, "$hsts_shop", "always"] in tls.own("add_header")
    assert HSTS not in [each[0] for each in plain.own("add_header")]


def test_maps_of_two_sites_are_two():
    names = [each.words[1] for each in found(config(site(name="a-b"), site(name="b", server_names=["b.org"])), "map")]
    assert names == ["$upgrade_websocket", "$connection_websocket", "$hsts_a_b", "$hsts_b"]


# --- locations --------------------------------------------------------------------------------------------------------

PROXY = {"path": "/api/", "type": "proxy", "upstream": "app"}


def test_a_prefix_is_stripped_by_a_path():
    stripped = only_location(config(site({**PROXY, "strip_prefix": True})), "/api/")
    assert stripped.own("proxy_pass") == [["http://app/"]]
    assert ["X-Forwarded-Prefix", "/api"] in stripped.own("proxy_set_header")
    plain = only_location(config(site(PROXY)), "/api/")
    assert plain.own("proxy_pass") == [["http://app"]]
    assert ["X-Forwarded-Prefix", ""] in plain.own("proxy_set_header")


@pytest.mark.parametrize(
    ("websocket", "expected"),
    [
        (False, [["Connection", ""]]),
        (True, [["Upgrade", "$upgrade_websocket"], ["Connection", "$connection_websocket"]]),
    ],
)
def test_websockets_do_not_cost_the_connection(websocket, expected):
    wanted = config(site({**PROXY, "websocket": websocket}))
    sent = only_location(wanted, "/api/").own("proxy_set_header")
    assert [each for each in sent if each[0] in ("Connection", "Upgrade")] == expected
    assert words(wanted, "proxy_http_version") == [["1.1"]]
    assert all(each.own("default") == [[""]] for each in found(wanted, "map") if "websocket" in each.words[1])


def test_headers_to_the_upstream_are_sent_once():
    wanted = config(site({**PROXY, "request_headers": {"host": "app.internal", "X-Extra": "1", "Forwarded": "for=x"}}))
    sent = only_location(wanted, "/api/").own("proxy_set_header")
    names = [each[0].lower() for each in sent]
    assert len(set(names)) == len(names)
    assert ["host", "app.internal"] in sent
    assert {"x-real-ip", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-request-id"} <= set(names)


def test_an_upstream_with_tls_is_checked():
    wanted = config(upstreams=[{"name": "app", "servers": [{"address": "a:443"}], "tls": {"name": "app.internal"}}])
    location = only_location(wanted)
    assert location.own("proxy_pass") == [["https://app"]]
    assert location.own("proxy_ssl_verify") == [["on"]]
    assert location.own("proxy_ssl_name") == [["app.internal"]]
    assert location.own("proxy_ssl_trusted_certificate") == [["/etc/ssl/certs/ca-certificates.crt"]]


@pytest.mark.parametrize(
    ("cache", "value"),
    [
        ("immutable", "public, max-age=31536000, immutable"),
        ("no-store", "no-store"),
        ("revalidate", "no-cache"),
        ("2h", "public, max-age=7200"),
    ],
)
def test_cache_control_is_sent_once_and_never_with_an_error(cache, value):
    location = only_location(config(site({**PROXY, "cache": cache})), "/api/")
    assert [each for each in location.own("add_header") if each[0] == "Cache-Control"] == [["Cache-Control", value]]
    assert {"Cache-Control", "Expires"} <= {each[0] for each in location.own("proxy_hide_header")}
    assert location.own("expires") == []


def test_what_a_location_says_itself_wins():
    wanted = config(
        site(
            {**PROXY, "headers": {"x-frame-options": "DENY", "Referrer-Policy": ""}},
            {"path": "/", "type": "return", "code": 404},
        )
    )
    of_api = {each[0]: each[1] for each in only_location(wanted, "/api/").own("add_header")}
    assert of_api["x-frame-options"] == "DENY"
    assert {"X-Frame-Options", "Referrer-Policy"}.isdisjoint(of_api)
    assert ["X-Frame-Options", "SAMEORIGIN", "always"] in only_location(wanted, "/").own("add_header")


def test_upstream_headers_do_not_come_twice():
    location = only_location(config(site(headers={"preset": "strict", "set": {"X-Robots-Tag": "none"}})))
    names = {each[0] for each in location.own("add_header")}
    assert {"Content-Security-Policy", "X-Robots-Tag", HSTS} <= names
    assert names <= {each[0] for each in location.own("proxy_hide_header")}


def test_static_files():
    wanted = config(
        site(
            {"path": "/static/", "type": "static", "alias": "/srv/static/"},
            {"path": "/", "type": "static", "alias": "/srv/www/", "fallback": "/index.html"},
            {"path": "/robots.txt", "match": "exact", "type": "static", "alias": "/srv/robots.txt"},
            {"path": r"\.css$", "match": "regex", "type": "static", "root": "/srv/www/"},
        )
    )
    assert only_location(wanted, "/static/").own("alias") == [["/srv/static/"]]
    root = only_location(wanted, "/")
    assert root.own("root") == [["/srv/www"]]
    assert root.own("try_files") == [["$uri", "$uri/", "/index.html"]]
    exact = only_location(wanted, "/robots.txt")
    assert exact.words == ["=", "/robots.txt"]
    assert exact.own("alias") == [["/srv/robots.txt"]]
    assert only_location(wanted, r"\.css$").words == ["~", r"\.css$"]


def test_limits():
    location = {
        **PROXY,
        "limit": {"zone": "login", "burst": 3, "nodelay": True},
        "limits": [{"zone": "few", "connections": 9}],
    }
    wanted = config(site(location, limits=[{"zone": "login"}]))
    assert only_location(wanted, "/api/").own("limit_req") == [["zone=login", "burst=3", "nodelay"]]
    assert only_location(wanted, "/api/").own("limit_conn") == [["few", "9"]]
    assert servers(wanted, "shop.example.org")[True].own("limit_req") == [["zone=login"]]
    assert words(wanted, "limit_req_status") == words(wanted, "limit_conn_status") == [["429"]]
    assert words(wanted, "limit_req_zone") == [["$binary_remote_addr", "zone=login:10m", "rate=5r/m"]]
    assert words(wanted, "limit_conn_zone") == [["$binary_remote_addr", "zone=few:10m"]]


def test_the_other_keys_of_a_location():
    location = {
        **PROXY,
        "allow": ["192.0.2.0/24", "2001:db8::/32"],
        "body": {"max_size": "20m", "timeout": "300s", "request_buffering": False},
        "compression": [],
        "buffering": False,
        "timeouts": {"connect": "1s", "send": "2s", "read": "1h"},
        "raw": "proxy_cookie_path / /api;\nauth_basic off;",
    }
    found_location = only_location(config(site(location)), "/api/")
    for name, expected in {
        "allow": [["192.0.2.0/24"], ["2001:db8::/32"]],
        "deny": [["all"]],
        "client_max_body_size": [["20m"]],
        "client_body_timeout": [["300s"]],
        "proxy_request_buffering": [["off"]],
        "gzip": [["off"]],
        "proxy_buffering": [["off"]],
        "proxy_connect_timeout": [["1s"]],
        "proxy_send_timeout": [["2s"]],
        "proxy_read_timeout": [["1h"]],
        "proxy_cookie_path": [["/", "/api"]],
        "auth_basic": [["off"]],
    }.items():
        assert found_location.own(name) == expected


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ({"type": "redirect", "to": "https://x.org$request_uri"}, [["301", "https://x.org$request_uri"]]),
        ({"type": "redirect", "to": "/new", "code": 308}, [["308", "/new"]]),
        ({"type": "return", "code": 404}, [["404"]]),
        ({"type": "return", "code": 200, "text": 'a "b";\n}'}, [["200", 'a "b";\n}']]),
    ],
)
def test_answers_of_nginx_itself(location, expected):
    assert only_location(config(site({"path": "/x", **location})), "/x").own("return") == expected


# --- upstreams and the rest -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "server", "expected"),
    [
        ({}, {}, {"server": [["a:1", "max_fails=0"]], "keepalive": [["32"]], "keepalive_timeout": [["1s"]]}),
        ({}, {}, {"least_conn": []}),
        ({"balance": "least_conn", "keepalive": 0}, {}, {"least_conn": [[]], "keepalive": [], "keepalive_timeout": []}),
        ({"balance": "hash", "hash_key": "$request_uri"}, {}, {"hash": [["$request_uri", "consistent"]]}),
        (
            {},
            {"max_fails": 3, "weight": 2, "max_conns": 9, "fail_timeout": "1m"},
            {"server": [["a:1", "max_fails=3", "fail_timeout=1m", "weight=2", "max_conns=9"]]},
        ),
    ],
)
def test_upstreams(keys, server, expected):
    wanted = config(upstreams=[{"name": "app", "servers": [{"address": "a:1", **server}], **keys}])
    (upstream,) = found(wanted, "upstream")
    assert {name: upstream.own(name) for name in expected} == expected
    assert upstream.own("zone") == [["upstream_app", "128k"]]


def test_backup_and_down():
    servers_of = [{"address": "a:1"}, {"address": "b:1", "backup": True}, {"address": "c:1", "down": True}]
    (upstream,) = found(config(upstreams=[{"name": "app", "servers": servers_of}]), "upstream")
    assert [each[2:] for each in upstream.own("server")] == [[], ["backup"], ["down"]]


def test_a_request_is_tried_again_only_where_that_is_safe():
    assert words({}, "proxy_next_upstream") == [["error", "timeout"]]


def test_the_status_server():
    (status,) = [each for each in found({}, "server") if each.own("listen") == [["127.0.0.1:8081"]]]
    by_path = {each.words[-1]: each for each in status.all("location")}
    assert by_path["/generation"].own("return") == [["200", "@ID@\n"]]
    assert by_path["/stub_status"].own("stub_status") == [[]]
    assert by_path["/"].own("return") == [["404"]]


def test_addresses_of_clients_are_believed_from_declared_proxies_alone():
    assert words({}, "set_real_ip_from") == words({}, "real_ip_header") == []
    wanted = {"real_ip": {"proxies": ["192.0.2.0/24", "2001:db8::7"]}}
    assert words(wanted, "set_real_ip_from") == [["192.0.2.0/24"], ["2001:db8::7"]]
    assert words(wanted, "real_ip_header") == [["X-Forwarded-For"]]
    assert words(wanted, "real_ip_recursive") == [["on"]]


def test_a_line_of_the_log_is_an_object():
    ((name, escape, line),) = words({}, "log_format")
    assert (name, escape) == ("shipshape_json", "escape=json")
    for key in NUMBERS:
        line = line.replace(JSON[key], "1")
    assert json.loads(line) == {key: 1 if key in NUMBERS else value for key, value in JSON.items()}
    assert {"request_id", "request_time", "upstream_response_time"} <= JSON.keys()


def test_raw_includes_and_workers():
    wanted = {
        "raw": {"main": "stream {\n}", "http": "client_body_buffer_size 32k;"},
        "includes": ["/etc/nginx/conf.d/*.conf"],
        "worker": {"processes": 2, "connections": 512, "files": 2048, "shutdown_timeout": "1h"},
        "timeouts": {"header": "1s", "body": "2s", "send": "3s", "keepalive": "4s"},
        "compression": {"level": 1, "min_length": 256, "types": ["text/css"]},
        "log": {"error_level": "info", "access": "off"},
    }
    for name, expected in {
        "stream": [[]],
        "client_body_buffer_size": [["32k"]],
        "worker_processes": [["2"]],
        "worker_connections": [["512"]],
        "worker_rlimit_nofile": [["2048"]],
        "worker_shutdown_timeout": [["1h"]],
        "client_header_timeout": [["1s"]],
        "client_body_timeout": [["2s"]],
        "send_timeout": [["3s"]],
        "keepalive_timeout": [["4s"]],
        "gzip_comp_level": [["1"]],
        "gzip_min_length": [["256"]],
        "gzip_types": [["text/css"]],
        "error_log": [["/var/log/nginx/error.log", "info"]],
        "access_log": [["off"], ["off"]],
        "server_tokens": [["off"]],
    }.items():
        assert words(wanted, name) == expected
    assert ["/etc/nginx/conf.d/*.conf"] in words(wanted, "include")


def test_later_headers_win_and_empty_ones_go():
    assert merged({"A": "1", "B": "2"}, {"a": "3"}, {"B": ""}) == {"a": "3"}


# --- laws -------------------------------------------------------------------------------------------------------------

NASTY = st.text(st.sampled_from(list("ab ;{}\"'\\#=~^|()[]:,/%é$?*+.-")), max_size=12)
VALUE = NASTY.map(lambda text: text.replace("$", "").strip() or "x")
NAMES = st.sampled_from(["X-A", "X-Frame-Options", "content-security-policy", "Referrer-Policy"])
HEADERS = st.dictionaries(NAMES, VALUE, max_size=2)
PATHS = st.from_regex(r"/([a-zé0-9_-]{1,6}/?)?", fullmatch=True)
COMMON = {
    "cache": st.sampled_from([None, "immutable", "5m"]),
    "headers": HEADERS,
    "compression": st.sampled_from([None, [], ["gzip"], ["brotli"]]),
}
REGEX = NASTY.filter(bool)
LOCATIONS = st.one_of(
    st.fixed_dictionaries(
        {"path": st.just("/files/"), "type": st.just("static"), "alias": st.just("/srv/f/"), **COMMON}
    ),
    st.fixed_dictionaries(
        {"path": REGEX, "match": st.just("regex"), "type": st.just("static"), "root": st.just("/srv"), **COMMON}
    ),
    st.fixed_dictionaries(
        {
            "path": PATHS,
            "type": st.just("proxy"),
            "upstream": st.just("app"),
            "websocket": st.booleans(),
            "request_headers": st.dictionaries(st.sampled_from(["X-A", "Host", "proxy"]), VALUE, max_size=2),
            "limit": st.sampled_from([None, {"zone": "login"}, {"zone": "few", "connections": 2}]),
            **COMMON,
        }
    ),
    st.fixed_dictionaries(
        {
            "path": PATHS,
            "match": st.just("exact"),
            "type": st.just("return"),
            "code": st.just(200),
            "text": VALUE,
            **COMMON,
        }
    ),
    st.fixed_dictionaries(
        {"path": REGEX, "match": st.just("regex"), "type": st.just("redirect"), "to": st.just("/x"), **COMMON}
    ),
)
SITES = st.fixed_dictionaries(
    {
        "locations": st.lists(
            LOCATIONS, min_size=1, max_size=4, unique_by=lambda each: (each.get("match"), each["path"])
        ),
        "tls": st.sampled_from([None, {"certificate": "shop"}]),
        "http": st.sampled_from(["serve", None]),
        "canonical": st.sampled_from([None, "shop.example.org"]),
        "headers": st.fixed_dictionaries({"preset": st.sampled_from(["basic", "strict", "none"]), "set": HEADERS}),
    }
)


@given(st.lists(SITES, max_size=3), st.sampled_from([OLD, NEW, BROTLI]))
def test_laws_of_every_tree(drawn, nginx):
    sites = [
        {**each, "name": f"s{index}", "server_names": [f"s{index}.org", "shop.example.org"][: 1 + (index == 0)]}
        for index, each in enumerate(drawn)
    ]
    for each in sites[1:]:
        each["canonical"] = None
    wanted = config(*sites) if sites else {}
    assert problems(wanted) == []
    tree = render(wanted, nginx)
    assert tree == render(wanted, nginx)
    for text in tree.values():
        assert text.endswith("\n")
        read(text)
    top = read(tree["nginx.conf"], tree)
    for server in (each for part in top for each in part.all("server") if each.block):
        expected = server.own("add_header")
        for location in server.all("location"):
            _same_headers(location, expected, sites)
    _values_arrive(top, sites)


def _same_headers(location, of_server, sites):
    """A location has every header of its server, each once, unless it has its own word about it."""
    mine = [each for each in location.own("add_header") if each[0] != "Cache-Control"]
    names = [each[0].lower() for each in mine]
    assert len(set(names)) == len(names)
    assert all(each[-1] == "always" for each in mine)
    own = {name.lower() for site in sites for each in site["locations"] for name in each["headers"]}
    assert {each[0].lower() for each in of_server} - own <= set(names)
    if not own:
        assert mine == of_server


def _values_arrive(top, sites):
    """Every free text is one word of one directive, as it was given."""
    found = {(each.name, *each.words) for part in top for each in _walk(part)}
    for site in sites:
        for location in site["locations"]:
            if location.get("match") == "regex":
                assert any(each[:2] == ("location", "~") and each[2] == location["path"] for each in found)
            if location["type"] == "return":
                assert ("return", "200", location["text"]) in found
            for name, value in location["headers"].items():
                assert ("add_header", name, value, "always") in found
            for name, value in location.get("request_headers", {}).items():
                assert ("proxy_set_header", name, value) in found


def _walk(directive):
    yield directive
    for child in directive.block or []:
        yield from _walk(child)


def test_raw_text_is_written_as_it_is():
    raw = "set $a 'one\n\n\n  two  \n';\nset $b 1;"
    wanted = config(site(raw=raw))
    assert raw in render(wanted, NEW)["sites/shop.conf"]
    assert servers(wanted, "shop.example.org")[True].own("set") == [["$a", "one\n\n\n  two  \n"], ["$b", "1"]]
