# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role nginx refuses of its configuration, with the path of the wrong value."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_model import filled, problems
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_values import raw_problem

ZONES = [{"name": "login", "rate": "5r/m"}, {"name": "few", "type": "connection"}]
UPSTREAMS = [{"name": "app", "servers": [{"address": "192.0.2.10:8000"}, {"address": "unix:/run/app.sock"}]}]


def location(**keys):
    return {"path": "/", "type": "return", "code": 204, **keys}


def static(**keys):
    return {"path": "/static/", "type": "static", "alias": "/srv/static/", **keys}


def proxy(**keys):
    return {"path": "/api/", "type": "proxy", "upstream": "app", **keys}


def site(*locations, **keys):
    return {
        "name": "shop",
        "server_names": ["shop.example.org"],
        "tls": {"certificate": "shop"},
        "locations": list(locations) or [location()],
        **keys,
    }


def config(*sites, **keys):
    return {"limit_zones": ZONES, "upstreams": UPSTREAMS, "sites": list(sites) or [site()], **keys}


def upstream(*servers, **keys):
    found = [{"address": each} if isinstance(each, str) else each for each in servers]
    return config(upstreams=[{"name": "app", "servers": found, **keys}])


GOOD = {
    "nothing": {},
    "a site": config(),
    "HTTP alone": config(site(tls=None)),
    "off is a boolean in YAML": config(site(http=False, log={"access": False}), default_server=False),
    "two sites": config(site(), site(name="blog", server_names=["*.blog.example.org"])),
    "one name on two ports": config(site(), site(name="blog", ports={"http": 8080, "https": 8443})),
    "HTTP beside HTTPS": config(site(tls=None), site(name="b", server_names=["b.org"])),
    "canonical": config(site(server_names=["a.org", "*.a.org"], canonical="a.org")),
    "preload": config(site(hsts={"max_age": 31536000, "include_subdomains": True, "preload": True})),
    "a policy": config(site(headers={"set": {"Content-Security-Policy": "default-src 'self'; img-src *"}})),
    "a header of JSON": config(site(headers={"set": {"Reporting-Endpoints": '{"a": "https://x"}'}})),
    "a header with a variable": config(site(headers={"set": {"X-Request-ID": "$request_id"}})),
    "static": config(site(static(cache="immutable"), static(path="/", alias="/srv/www/", fallback="/index.html"))),
    "one file": config(site(static(path="/robots.txt", match="exact", alias="/srv/robots.txt"))),
    "root": config(site(static(path="/static", alias=None, root="/srv"))),
    "a regular expression": config(site(static(path=r"\.(css|js)$", match="regex", alias=None, root="/srv/www"))),
    "braces in a regular expression": config(site(proxy(path="^/[0-9]{3};x$", match="regex"))),
    "proxy": config(site(proxy(strip_prefix=True, websocket=True, timeouts={"read": "1h"}, buffering=False))),
    "limits": config(
        site(proxy(limit={"zone": "login", "burst": 3, "nodelay": True}, limits=[{"zone": "few", "connections": 9}]))
    ),
    "redirect": config(
        site({"path": "/old", "type": "redirect", "to": "https://x.example.org$request_uri", "code": 308})
    ),
    "redirect to a path": config(site({"path": "/old", "type": "redirect", "to": "/new"})),
    "text": config(site(location(code=200, text='a "text"; {of}\nlines \\ end'))),
    "numbers as texts": config(site(body={"max_size": 0}), worker={"processes": 2, "connections": "512"}),
    "name of a certificate": config(site(tls={"certificate": "Shop.example.org"})),
    "IPv6": config(addresses=["::", "192.0.2.1"], status={"listen": "[::1]:8081"}),
    "balance": upstream("a.example.org:80", "[2001:db8::1]:80", balance="hash", hash_key="$request_uri"),
    "backup": upstream("192.0.2.1:80", {"address": "192.0.2.2:80", "backup": True, "max_fails": 3}),
    "dynamic": config(upstreams=[{"name": "app", "dynamic": True}]),
    "dynamic with servers until the first switch": upstream("192.0.2.1:80", dynamic=True),
    "the maintenance port without a dynamic upstream": config(site(ports={"http": 8082})),
    "maintenance over IPv6": config(
        upstreams=[{"name": "app", "dynamic": "yes"}], status={"maintenance": "[::1]:8090"}
    ),
    "proxies": config(real_ip={"proxies": ["192.0.2.0/24", "2001:db8::7"], "header": "CF-Connecting-IP"}),
    "raw": config(site(raw="location /x { return 200 \"}\"; } # }\nset $a 'b;{';"), raw={"main": "stream { }"}),
    "raw only": config(site(raw="return 404;") | {"locations": []}),
    "includes": config(includes=["/etc/nginx/conf.d/*.conf"]),
}


@pytest.mark.parametrize("wanted", GOOD.values(), ids=GOOD)
def test_good(wanted):
    before = copy.deepcopy(wanted)
    assert problems(wanted) == []
    assert filled(filled(wanted)) == filled(wanted)
    assert wanted == before


BAD = {
    "unknown option": ({"site": []}, "nginx_site: there is no such key: did you mean sites?"),
    "unknown key": (
        config(site(server_name=["x"])),
        "nginx_sites[0].server_name: there is no such key: did you mean server_names?",
    ),
    "unknown key of a location": (
        config(site(static(), static(path="/b/", aliass="/x/"))),
        "nginx_sites[0].locations[1].aliass: there is no such key: did you mean alias?",
    ),
    "unknown key of a server": (
        upstream({"address": "a:1", "max_fail": 1}),
        "nginx_upstreams[0].servers[0].max_fail: there is no such key: did you mean max_fails?",
    ),
    "key missing": (config({"name": "shop"}), "nginx_sites[0].server_names: it is missing"),
    "no mapping": (config("shop"), "nginx_sites[0]: 'shop' is not a mapping"),
    "no list": ({"sites": {"shop": {}}}, "nginx_sites: {'shop': {}} is not a list"),
    "no names": (config(site(server_names=[])), "nginx_sites[0].server_names: the list is empty"),
    "alias without slash": (
        config(site(static(alias="/srv/static"))),
        "nginx_sites[0].locations[0].alias: /srv/static has no / at the end",
    ),
    "path without slash": (
        config(site(static(path="/static"))),
        "nginx_sites[0].locations[0].path: /static has no / at the end",
    ),
    "alias of a regex": (
        config(site(static(path="^/x", match="regex"))),
        "nginx_sites[0].locations[0].alias: a regular expression",
    ),
    "alias of one file": (
        config(site(static(path="/x", match="exact"))),
        "nginx_sites[0].locations[0].alias: /srv/static/",
    ),
    "alias and root": (config(site(static(root="/srv"))), "nginx_sites[0].locations[0].alias: give either"),
    "no folder": (config(site(static(alias=None))), "nginx_sites[0].locations[0].alias: give either"),
    "fallback elsewhere": (config(site(static(fallback="/index.html"))), "nginx_sites[0].locations[0].fallback: only"),
    "strip with regex": (
        config(site(proxy(path="^/api/", match="regex", strip_prefix=True))),
        "nginx_sites[0].locations[0].strip_prefix: match: regex",
    ),
    "strip of one path": (
        config(site(proxy(path="/api/", match="exact", strip_prefix=True))),
        "nginx_sites[0].locations[0].strip_prefix: match: exact",
    ),
    "strip without slash": (
        config(site(proxy(path="/api", strip_prefix=True))),
        "nginx_sites[0].locations[0].path: /api has no / at the end",
    ),
    "strip with variables": (
        config(site(proxy(path="/$x/", strip_prefix=True))),
        "nginx_sites[0].locations[0].path: '/$x/' has",
    ),
    "two sites of a name": (
        config(site(), site(server_names=["b.org"])),
        "nginx_sites[1].name: shop is the name of sites[0]",
    ),
    "one server name twice": (
        config(site(), site(name="b")),
        "nginx_sites[1].server_names[0]: shop.example.org is sites[0].server_names[0]",
    ),
    "twice in one site": (config(site(server_names=["a.org", "a.org"])), "nginx_sites[0].server_names[1]: a.org is"),
    "twice over HTTP": (config(site(tls=None), site(name="b")), "nginx_sites[1].server_names[0]: shop.example.org is"),
    "path twice": (config(site(location(), location())), "nginx_sites[0].locations[1].path: / is that of"),
    "unknown upstream": (
        config(site(proxy(upstream="apps"))),
        "nginx_sites[0].locations[0].upstream: there is no apps in nginx_upstreams: did you mean app?",
    ),
    "no upstream": (config(site(proxy(upstream=None))), "nginx_sites[0].locations[0].upstream: it is missing"),
    "unknown zone": (
        config(site(proxy(limit={"zone": "logn"}))),
        "nginx_sites[0].locations[0].limit.zone: there is no logn in nginx_limit_zones: did you mean login?",
    ),
    "unknown zone of a site": (config(site(limits=[{"zone": "x"}])), "nginx_sites[0].limits.zone: there is no x"),
    "zone twice": (
        config(site(limits=[{"zone": "login"}, {"zone": "login"}])),
        "nginx_sites[0].limits.zone: login is used twice",
    ),
    "no certificate": (config(site(tls={})), "nginx_sites[0].tls.certificate: it is missing"),
    "certificate elsewhere": (
        config(site(tls={"certificate": "../x"})),
        "nginx_sites[0].tls.certificate: '../x' is not",
    ),
    "connections without number": (
        config(site(limits=[{"zone": "few"}])),
        "nginx_sites[0].limits.connections: it is missing",
    ),
    "requests with connections": (
        config(site(limits=[{"zone": "login", "connections": 1}])),
        "nginx_sites[0].limits.connections: login",
    ),
    "connections with burst": (
        config(site(limits=[{"zone": "few", "connections": 1, "burst": 1}])),
        "nginx_sites[0].limits.burst: few",
    ),
    "zone without rate": (config(limit_zones=[{"name": "login"}]), "nginx_limit_zones[0].rate: it is missing"),
    "connections with rate": (
        config(limit_zones=[{"name": "x", "type": "connection", "rate": "1r/s"}]),
        "nginx_limit_zones[0].rate: a zone of connections",
    ),
    "rate": (config(limit_zones=[{"name": "x", "rate": "5/m"}]), "nginx_limit_zones[0].rate: '5/m' is not a rate"),
    "zone size": (
        config(limit_zones=[{"name": "x", "rate": "5r/m", "size": "1g"}]),
        "nginx_limit_zones[0].size: '1g' is not",
    ),
    "zone too small": (
        config(limit_zones=[{"name": "x", "rate": "5r/m", "size": "16k"}]),
        "nginx_limit_zones[0].size: '16k' is not",
    ),
    "key": (
        config(limit_zones=[{"name": "x", "rate": "5r/m", "key": "address"}]),
        "nginx_limit_zones[0].key: 'address' is not",
    ),
    "limit of a return": (
        config(site(location(limit={"zone": "login"}))),
        "nginx_sites[0].locations[0].limit: nginx answers a return before",
    ),
    "size": (config(site(body={"max_size": "500 MB"})), "nginx_sites[0].body.max_size: '500 MB' is not a size"),
    "time": (
        config(site(proxy(timeouts={"read": "5 minutes"}))),
        "nginx_sites[0].locations[0].timeouts.read: '5 minutes' is not a time",
    ),
    "fail timeout": (
        upstream({"address": "a:1", "fail_timeout": "500ms"}),
        "nginx_upstreams[0].servers[0].fail_timeout: '500ms' is not",
    ),
    "port": (config(site(ports={"http": 70000})), "nginx_sites[0].ports.http: 70000 is not a number"),
    "boolean as number": (config(site(ports={"http": True})), "nginx_sites[0].ports.http: True is not a number"),
    "boolean": (
        config(site(proxy(websocket="maybe"))),
        "nginx_sites[0].locations[0].websocket: 'maybe' is not true or false",
    ),
    "choice": (config(site(http="both")), "nginx_sites[0].http: 'both' is not one of redirect, serve, off"),
    "one port, two protocols": (config(site(ports={"http": 443})), "nginx_sites[0].ports.https: 443 is http elsewhere"),
    "the status port": (
        config(site(ports={"http": 8081})),
        "nginx_sites[0].ports.http: 8081 is of status.listen elsewhere",
    ),
    "two policies": (
        config(site(), site(name="b", server_names=["b.org"], tls={"certificate": "b", "policy": "modern"})),
        "nginx_sites[1].tls.policy: 'modern', but sites[0] has 'intermediate'",
    ),
    "http2 of one": (
        config(site(), site(name="b", server_names=["b.org"], tls={"certificate": "b", "http2": False})),
        "nginx_sites[1].tls.http2: False, but",
    ),
    "preload too short": (
        config(site(hsts={"max_age": 300, "include_subdomains": True, "preload": True})),
        "nginx_sites[0].hsts.preload: browsers",
    ),
    "preload of one name": (config(site(hsts={"preload": True})), "nginx_sites[0].hsts.preload: browsers"),
    "hsts without tls": (config(site(tls=None, hsts={"max_age": 300})), "nginx_sites[0].hsts: only answers over TLS"),
    "redirect to nothing": (config(site(tls=None, http="redirect")), "nginx_sites[0].http: there is no HTTPS"),
    "nothing served": (config(site(tls=None, http="off")), "nginx_sites[0].http: the site would serve nothing"),
    "no locations": (config({**site(), "locations": []}), "nginx_sites[0].locations: there are none"),
    "canonical": (config(site(canonical="x.org")), "nginx_sites[0].canonical: x.org is none of its server_names"),
    "redirect without target": (
        config(site({"path": "/", "type": "redirect"})),
        "nginx_sites[0].locations[0].to: it is missing",
    ),
    "code of a redirect": (
        config(site({"path": "/", "type": "redirect", "to": "/x", "code": 200})),
        "nginx_sites[0].locations[0].code: 200 is no redirect",
    ),
    "return without code": (config(site(location(code=None))), "nginx_sites[0].locations[0].code: it is missing"),
    "return of a redirect": (config(site(location(code=301))), "nginx_sites[0].locations[0].code: 301 is a redirect"),
    "text without body": (config(site(location(text="x"))), "nginx_sites[0].locations[0].text: a 204 has no body"),
    "key of another type": (
        config(site(static(upstream="app"))),
        "nginx_sites[0].locations[0].upstream: a location of type static has none",
    ),
    "challenges": (
        config(site(location(path="/.well-known/acme-challenge/x"))),
        "nginx_sites[0].locations[0].path: /.well-known/acme-challenge/x: that is where",
    ),
    "encoded path": (config(site(location(path="/a%20b"))), "nginx_sites[0].locations[0].path: '/a%20b' has"),
    "untidy path": (config(site(location(path="/a/../b"))), "nginx_sites[0].locations[0].path: '/a/../b' has"),
    "no path": (config(site(location(path="api/"))), "nginx_sites[0].locations[0].path: 'api/' begins with no /"),
    "hsts by hand": (
        config(site(headers={"set": {"strict-transport-security": "x"}})),
        "nginx_sites[0].headers.set.strict-transport-security: it has no place there: use hsts",
    ),
    "cache by hand": (
        config(site(static(headers={"Cache-Control": "x"}))),
        "nginx_sites[0].locations[0].headers.Cache-Control: it has no place there: use cache",
    ),
    "connection by hand": (
        config(site(proxy(request_headers={"Connection": "upgrade"}))),
        "nginx_sites[0].locations[0].request_headers.Connection: it has no place there: use websocket",
    ),
    "header twice": (
        config(site(headers={"set": {"X-A": "1", "x-a": "2"}})),
        "nginx_sites[0].headers.set.x-a: the name is there twice",
    ),
    "no backup with ip_hash": (
        upstream("a:1", {"address": "b:1", "backup": True}, balance="ip_hash"),
        "nginx_upstreams[0].servers[1].backup: nginx has none with balance: ip_hash",
    ),
    "no servers": (upstream(), "nginx_upstreams[0].servers: the list is empty: give at least 1, or dynamic: true"),
    "dynamic or not": (upstream("a:1", dynamic="maybe"), "nginx_upstreams[0].dynamic: 'maybe' is not true or false"),
    "dynamic with tls": (
        upstream("a:1", dynamic=True, tls={"name": "a.org"}),
        "nginx_upstreams[0].tls: a dynamic upstream has none",
    ),
    "the maintenance port": (
        config(site(ports={"http": 8082}), upstreams=[{"name": "app", "dynamic": True}]),
        "nginx_sites[0].ports.http: 8082 is of status.maintenance elsewhere",
    ),
    "one port for status and maintenance": (
        config(upstreams=[{"name": "app", "dynamic": True}], status={"maintenance": "127.0.0.1:8081"}),
        "nginx_status.maintenance: 8081 is of status.listen already",
    ),
    "maintenance for all": (
        config(status={"maintenance": "192.0.2.1:8082"}),
        "nginx_status.maintenance: 192.0.2.1:8082 is not of this host alone",
    ),
    "all backup": (upstream({"address": "b:1", "backup": True}), "nginx_upstreams[0].servers: all of them"),
    "server twice": (upstream("a:1", "a:1"), "nginx_upstreams[0].servers[1].address: a:1 is there twice"),
    "server without port": (upstream("192.0.2.1"), "nginx_upstreams[0].servers[0].address: '192.0.2.1' is not"),
    "hash without key": (upstream("a:1", balance="hash"), "nginx_upstreams[0].hash_key: balance: hash needs one"),
    "status for all": (
        config(status={"listen": "192.0.2.1:8081"}),
        "nginx_status.listen: 192.0.2.1:8081 is not of this host alone",
    ),
    "status path": (config(status={"path": "/generation"}), "nginx_status.path: /generation has a meaning"),
    "address inside all": (config(addresses=["*", "192.0.2.1"]), "nginx_addresses: * includes 192.0.2.1"),
    "address": (config(addresses=["eth0"]), "nginx_addresses[0]: 'eth0' is not an address"),
    "proxy network": (config(real_ip={"proxies": ["192.0.2.1/24"]}), "nginx_real_ip.proxies[0]: '192.0.2.1/24' is not"),
    "all of IPv4 by its other name": (config(addresses=["0.0.0.0"]), "nginx_addresses[0]: '0.0.0.0' is not an address"),
    "long address": (config(addresses=["2001:db8:0::1"]), "nginx_addresses[0]: '2001:db8:0::1' is not an address"),
    "too few files": (
        config(worker={"connections": 1024, "files": 2047}),
        "nginx_worker.files: 2047 is too few for 1024 connections",
    ),
    "html is compressed in any case": (
        config(compression={"types": ["text/html"]}),
        "nginx_compression.types[0]: text/html is among them",
    ),
    "type twice": (
        config(compression={"types": ["text/css", "text/css"]}),
        "nginx_compression.types[1]: text/css is among them",
    ),
    "log elsewhere": (
        config(site(log={"access": "/srv/shop.log"})),
        "nginx_sites[0].log.access: '/srv/shop.log' is not",
    ),
    "host name": (
        config(site(server_names=["Shop.example.org"])),
        "nginx_sites[0].server_names[0]: 'Shop.example.org' is not",
    ),
    "redirect with the decoded path": (
        config(site({"path": "/", "type": "redirect", "to": "https://x.org$uri"})),
        "nginx_sites[0].locations[0].to: 'https://x.org$uri' is not",
    ),
    "header with the decoded path": (
        config(site(headers={"set": {"X-A": "$uri"}})),
        "nginx_sites[0].headers.set.X-A: '$uri' is not",
    ),
    "header with a capture by name": (
        config(site(headers={"set": {"X-A": "$who"}})),
        "nginx_sites[0].headers.set.X-A: '$who' is not",
    ),
    "header with the path of a file": (
        config(site(headers={"set": {"X-A": "$request_filename"}})),
        "nginx_sites[0].headers.set.X-A: '$request_filename' is not",
    ),
    "header with the body of a request": (
        config(site(headers={"set": {"X-A": "$request_body"}})),
        "nginx_sites[0].headers.set.X-A: '$request_body' is not",
    ),
    "header with a certificate of lines": (
        config(site(headers={"set": {"X-A": "$ssl_client_raw_cert"}})),
        "nginx_sites[0].headers.set.X-A: '$ssl_client_raw_cert' is not",
    ),
}


@pytest.mark.parametrize(("wanted", "message"), BAD.values(), ids=BAD)
def test_bad(wanted, message):
    found = problems(wanted)
    assert len(found) == 1, found
    assert found[0].startswith(message)


# Where a value lands in a directive, none of these may get through.
PLACES = {
    "name": lambda text: config(site(name=text)),
    "server_names": lambda text: config(site(server_names=[text])),
    "certificate": lambda text: config(site(tls={"certificate": text})),
    "path": lambda text: config(site(location(path=f"/{text}"))),
    "alias": lambda text: config(site(static(alias=f"/{text}/"))),
    "root": lambda text: config(site(static(alias=None, root=f"/{text}"))),
    "index": lambda text: config(site(static(index=text))),
    "to": lambda text: config(site({"path": "/", "type": "redirect", "to": f"https://x.org/{text}"})),
    "max_size": lambda text: config(site(body={"max_size": text})),
    "timeout": lambda text: config(site(body={"timeout": text})),
    "access": lambda text: config(site(log={"access": f"/var/log/nginx/{text}.log"})),
    "burst": lambda text: config(site(limits=[{"zone": "login", "burst": text}])),
    "key": lambda text: config(limit_zones=[{"name": "x", "rate": "1r/s", "key": f"$host{text}"}]),
    "zone name": lambda text: config(limit_zones=[{"name": text, "rate": "1r/s"}]),
    "rate": lambda text: config(limit_zones=[{"name": "x", "rate": f"1r/s{text}"}]),
    "address": lambda text: upstream(f"a:1{text}"),
    "socket": lambda text: upstream(f"unix:/run/{text}"),
    "hash_key": lambda text: upstream("a:1", balance="hash", hash_key=f"$host{text}"),
    "includes": lambda text: config(includes=[f"/etc/{text}"]),
    "processes": lambda text: config(worker={"processes": text}),
    "listen": lambda text: config(status={"listen": f"127.0.0.1:80{text}"}),
    "types": lambda text: config(compression={"types": [f"text/{text}"]}),
    "proxies": lambda text: config(real_ip={"proxies": [f"192.0.2.1{text}"]}),
    "real ip header": lambda text: config(real_ip={"header": text}),
    "a header's name": lambda text: config(site(headers={"set": {text: "x"}})),
    "content_type": lambda text: config(site(location(code=200, text="x", content_type=f"text/{text}"))),
}


@pytest.mark.parametrize("evil", ["x\ny", "x;", "x;}", "{x", "x}", "x y", 'x"', "x'", "x\\", "x\0", "#x\n"])
@pytest.mark.parametrize("place", PLACES)
def test_nothing_leaves_its_directive(place, evil):
    assert problems(PLACES[place](evil)), evil


@pytest.mark.parametrize("evil", ["a\nb", "a\r\nX-Evil: 1", "a\0", "${", "a $ b", "$document_uri"])
def test_a_header_has_one_line(evil):
    assert problems(config(site(headers={"set": {"X-A": evil}})))
    assert problems(config(site(proxy(request_headers={"X-A": evil}))))


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", ""),
        ("a b;", ""),
        ("a { b c; }", ""),
        ("a ${b}c;", ""),
        ("a '}';", ""),
        ('a "\\"}";', ""),
        ("a b; # }", ""),
        ("a b", "does not end"),
        ("a b; }", "has a }"),
        ("} server {", "has a }"),
        ("a {", "has a {"),
        ("a 'b;", "not closed"),
        ('a "b\\";', "not closed"),
        ("a it's; }", "has a }"),
        (7, "is not a text"),
    ],
)
def test_raw_stays_in_its_block(text, wrong):
    found = raw_problem(text)
    assert wrong in found
    assert bool(wrong) == bool(found)


def test_every_wrong_value_is_told_at_once():
    found = problems(config(site(static(alias="x")), site(name="B"), addresses=[]))
    paths = {each.split(":")[0] for each in found}
    assert paths == {"nginx_addresses", "nginx_sites[0].locations[0].alias", "nginx_sites[1].name"}


def test_defaults():
    made = filled({"sites": [{"name": "a", "server_names": ["a.org"], "tls": {"certificate": "a"}}]})
    assert made["sites"][0]["http"] == "redirect"
    assert made["sites"][0]["log"] == {"format": "json", "access": "/var/log/nginx/access.log"}
    assert filled({"sites": [{"name": "a", "server_names": ["a.org"]}]})["sites"][0]["http"] == "serve"
    made = filled({"log": {"access": False}, "sites": [{"name": "a", "server_names": ["a.org"]}]})
    assert made["sites"][0]["log"]["access"] == "off"


@pytest.mark.parametrize(
    "value",
    ["$host", "${scheme}://$server_name", "$http_x_trace", "$arg_id", "$request_id", "$upstream_http_etag", "$https"],
)
def test_a_header_may_name_what_nginx_does_not_decode(value):
    assert problems(config(site(headers={"set": {"X-A": value}}))) == []
