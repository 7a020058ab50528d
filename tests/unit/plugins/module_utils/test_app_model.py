# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is refused of an app, with the path of the wrong value, and what it is with its defaults."""

from __future__ import annotations

import copy
import json
import re

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils._app_model import normal, problems, split_secrets
from ansible_collections.shipshape.stack.plugins.module_utils._app_options import APP
from ansible_collections.shipshape.stack.plugins.module_utils._app_problems import app_problems
from app_examples import DOCUMENTED, PAGE, app, secret, service
from hypothesis import given
from hypothesis import strategies as st

LONG = "n" * 31
WEB = {"domains": ["shop.example.org"]}
JOB = service("setup", "job", command="setup")


def route(**keys):
    return app(**WEB, routes=[{"path": "/", "service": "web", **keys}])


def web(**keys):
    return app(service(**keys))


def infra(**keys):
    return app(service(), service("kafka", "infra", **keys))


def worker(**keys):
    return app(service("worker", "worker", **keys))


GOOD = {
    "little": app(),
    "a long name": app(name=LONG),
    "absent": {"name": "shop", "state": "absent"},
    "maintenance": app(maintenance="yes"),
    "texts where numbers are meant": web(port="8000", replicas="2", limits={"cpus": "0.5", "pids": "10"}),
    "numbers where texts are meant": app(env={"A": 1, "B": 1.5, "C": True, "D": ""}),
    "none of it": web(replicas=0),
    "a digest": web(version=None, digest=f"sha256:{'a' * 64}"),
    "latest by digest": web(version="latest", digest=f"sha256:{'a' * 64}"),
    "an image with a port": web(image="localhost:5000/a/b-c__d.e"),
    "pull": web(pull="always"),
    "a command as a list": web(command=["sh", "-c", "a 'b'"], entrypoint=["/x"]),
    "a command with quotes": web(command="sh -c 'a b'"),
    "health": web(health={"path": "/h", "json": {"a.b": {"lt": 3}}, "version": {}, "status": [204], "interval": 0.2}),
    "all limits": web(limits={"cpus": 0.01, "memory": "6M", "pids": 1}),
    "memory in MiB": web(limits={"memory": 512}),
    "volumes": web(volumes=[{"name": "data", "path": "/data"}, {"host": "/srv/shop/etc", "path": "/etc/shop"}]),
    "tmpfs": web(tmpfs=["/tmp", "/run:size=1m"]),
    "rights": web(user="1000:1000", read_only=True, init=False, cap_add=["NET_BIND_SERVICE"]),
    "ulimits": web(ulimits={"nofile": 65536, "memlock": {"soft": -1, "hard": -1}}),
    "labels": web(labels={"org.example.team": "shop"}),
    "no way out": worker(internet=False),
    "a scheduler": app(service("beat", "scheduler")),
    "no scheduler": app(service("beat", "scheduler", replicas=0)),
    "a job": app(service(), JOB, init=[{"name": "once", "service": "setup"}]),
    "infrastructure": infra(port=9000, publish=9000),
    "numbered infrastructure": app(service("kafka-1", "infra"), service("kafka-2", "infra", after=["kafka-1"])),
    "a route to infrastructure": app(
        service(), service("flower", "infra", port=5555, publish=5555), **WEB,
        routes=[{"path": "/", "service": "web"}, {"path": "/flower/", "service": "flower"}],
    ),
    "one service for a domain": app(service(), service("worker", "worker"), **WEB),
    "plain HTTP": app(**WEB, tls=False),
    "keys of a site": app(**WEB, site={"headers": {"preset": "strict"}, "tls": {"policy": "modern"}}),
    "files": route(service=None, alias="/srv/shop/static/", path="/static/"),
    "a redirect": route(service=None, to="https://www.example.org$request_uri"),
    "an answer": route(service=None, code=404),
    "a limit": route(limit={"rate": "5r/m", "burst": 3, "nodelay": True, "connections": 10}),
    "a limit by something else": route(limit={"rate": "5r/m", "key": "$http_authorization", "size": "1m"}),
    "an allow list": route(allow=["192.0.2.0/24"]),
    "a migration": app(migrate={"service": "web", "command": ["m"], "contract": True, "revision": "r"}),
    "a migration by a job": app(service(), JOB, migrate={"service": "setup"}),
    "files of an image": app(static={"service": "web", "path": "/app/static"}),
    "a canary": app(deploy={"canary": [{"percent": 5, "seconds": 1}, {"percent": 50, "seconds": 9}]}),
    "no watch": app(deploy={"max_error_ratio": 0.00001, "bake_seconds": 0, "drain_seconds": 0}),
    "hosts": app(extra_hosts={"db.internal": "192.0.2.7", "me": "host-gateway", "six": "2001:db8::1"}),
    "a database": app(database={"password": secret("db"), "extensions": ["pg_trgm", {"name": "citext"}]}),
    "a URL of one's own": app(database={}, secrets={"DATABASE_URL": "x"}),
    "a cache": app(cache={"password": "p" * 12, "keys": ["shop:*", "celery"], "channels": []}),
}  # fmt: skip

# What is wrong, its path, and a word of what is said.
BAD = {
    "no app": ("x", "apps[0]", "a text is not a mapping"),
    "no name": ({"services": [service()]}, "apps[0].name", "missing"),
    "a name with capitals": (app(name="Shop"), "apps[0].name", "'Shop'"),
    "too long a name": (app(name=LONG + "n"), "apps[0].name", "31"),
    "two dashes": (app(name="a--b"), "apps[0].name", "single dashes"),
    "a dash at the end": (app(name="a-"), "apps[0].name", "single dashes"),
    "a name of a server": (app(name="postgres"), "apps[0].name", "account"),
    "a key that is none": (app(servces=[]), "apps[0].servces", "did you mean services?"),
    "a state that is none": (app(state="gone"), "apps[0].state", "present, absent"),
    "no services": ({"name": "shop"}, "apps[0].services", "one at least"),
    "services as a mapping": ({"name": "shop", "services": {}}, "apps[0].services", "a mapping is not a list"),
    "one name twice": (app(service(), service()), "apps[0].services[1].name", "services[0]"),
    "the name of the migration": (web(name="migrate"), "apps[0].services[0].name", "something else"),
    "the name of a job": (web(name="init-x"), "apps[0].services[0].name", "something else"),
    "the name of a container": (web(name="web-1-a"), "apps[0].services[0].name", "something else"),
    "no kind": (web(kind=None), "apps[0].services[0].kind", "missing"),
    "a kind that is none": (web(kind="cron"), "apps[0].services[0].kind", "scheduler"),
    "no image": (web(image=None), "apps[0].services[0].image", "missing"),
    "an image with its version": (web(image="shop:1.0"), "apps[0].services[0].image", "without its version"),
    "an image with capitals": (web(image="x/Shop"), "apps[0].services[0].image", "'x/Shop'"),
    "no version": (web(version=None), "apps[0].services[0].version", "missing"),
    "a version as a number": (web(version=1.1), "apps[0].services[0].version", "quote it"),
    "latest": (web(version="latest"), "apps[0].services[0].version", "no way back"),
    "half a digest": (web(digest="sha256:abc"), "apps[0].services[0].digest", "64"),
    "a pull that is none": (web(pull="sometimes"), "apps[0].services[0].pull", "never"),
    "an open quote": (web(command="sh -c 'a"), "apps[0].services[0].command", "quotes are closed"),
    "an empty command": (web(command=[]), "apps[0].services[0].command", "a list of words"),
    "an empty entrypoint": (web(entrypoint=""), "apps[0].services[0].entrypoint", "a list of words"),
    "no port": (web(port=None), "apps[0].services[0].port", "missing"),
    "a port that is none": (web(port=65536), "apps[0].services[0].port", "65535"),
    "a port of a worker": (worker(port=1), "apps[0].services[0].port", "serves nothing"),
    "a published web": (web(publish=80), "apps[0].services[0].publish", "only a service of kind infra"),
    "published without a port": (infra(publish=80), "apps[0].services[1].port", "missing"),
    "published inside": (infra(publish=80, port=80, internet=False), "apps[0].services[1].internet", "no port"),
    "published twice": (
        app(service("a", "infra", port=1, publish=9), service("b", "infra", port=1, publish=9)),
        "apps[0].services", "9 is published by two",
    ),
    "web without a way out": (web(internet=False), "apps[0].services[0].internet", "no port"),
    "a balance of a worker": (worker(balance="ip_hash"), "apps[0].services[0].balance", "only requests"),
    "a balance that is none": (web(balance="hash"), "apps[0].services[0].balance", "ip_hash"),
    "too many": (web(replicas=65), "apps[0].services[0].replicas", "64"),
    "two schedulers": (app(service("b", "scheduler", replicas=2)), "apps[0].services[0].replicas", "one, or none"),
    "two of infrastructure": (infra(replicas=2), "apps[0].services[1].replicas", "one, or none"),
    "jobs in a row": (
        app(service(), {**JOB, "replicas": 0}, init=[{"name": "a", "service": "setup"}]),
        "apps[0].services[1].replicas", "leave it out",
    ),
    "a job for nothing": (app(service(), JOB), "apps[0].services[1]", "neither does"),
    "no health": (web(health={}), "apps[0].services[0].health.path", "missing"),
    "health of a worker over HTTP": (worker(health={"path": "/"}), "apps[0].services[0].health.path", "health.command"),
    "health of a job": (
        app(service(), {**JOB, "health": {"command": "x"}}, init=[{"name": "a", "service": "setup"}]),
        "apps[0].services[1].health.command", "exit status",
    ),
    "no version to compare": (
        web(version=None, digest=f"sha256:{'a' * 64}", health={"path": "/", "version": {}}),
        "apps[0].services[0].health.version", "no version",
    ),
    "a status that is none": (web(health={"path": "/", "status": [99]}), "apps[0].services[0].health.status[0]", "100"),
    "no status": (web(health={"path": "/", "status": []}), "apps[0].services[0].health.status", "empty"),
    "JSON as a text": (web(health={"path": "/", "json": "ok"}), "apps[0].services[0].health.json", "mapping"),
    "a condition that is none": (
        web(health={"path": "/", "json": {"a": {"below": 3}}}),
        "apps[0].services[0].health.json['a'].below", "unknown operator",
    ),
    "a field that is none": (
        web(health={"path": "/", "version": {"json_field": "a..b"}}),
        "apps[0].services[0].health.version.json_field", "not a path",
    ),
    "no interval": (web(health={"path": "/", "interval": 0}), "apps[0].services[0].health.interval", "0.1"),
    "an endless timeout": (web(health={"path": "/", "timeout": "inf"}), "apps[0].services[0].health.timeout", "3600"),
    "no start": (web(health={"path": "/", "start_seconds": 0}), "apps[0].services[0].health.start_seconds", "86400"),
    "no success": (web(health={"path": "/", "consecutive": 0}), "apps[0].services[0].health.consecutive", "100"),
    "a check with a quote": (worker(health={"command": "a 'b"}), "apps[0].services[0].health.command", "quotes"),
    "memory without a unit": (web(limits={"memory": "512"}), "apps[0].services[0].limits.memory", "unit"),
    "too little memory": (web(limits={"memory": "5M"}), "apps[0].services[0].limits.memory", "6M"),
    "cpus in percent": (web(limits={"cpus": "50%"}), "apps[0].services[0].limits.cpus", "0.01"),
    "no cpus": (web(limits={"cpus": 0}), "apps[0].services[0].limits.cpus", "0.01"),
    "no process": (web(limits={"pids": 0}), "apps[0].services[0].limits.pids", "number"),
    "a volume of both": (
        web(volumes=[{"name": "a", "host": "/srv/a", "path": "/a"}]), "apps[0].services[0].volumes[0].name", "either",
    ),
    "a volume of none": (web(volumes=[{"path": "/a"}]), "apps[0].services[0].volumes[0].name", "either"),
    "a volume without a path": (web(volumes=[{"name": "a"}]), "apps[0].services[0].volumes[0].path", "missing"),
    "a volume for all": (web(volumes=[{"name": "a", "path": "/"}]), "apps[0].services[0].volumes[0].path", "not /"),
    "a name of a volume": (web(volumes=[{"name": "a_b", "path": "/a"}]), "apps[0].services[0].volumes[0].name", "a_b"),
    "a volume above": (web(volumes=[{"name": "a", "path": "/a/../b"}]), "apps[0].services[0].volumes[0].path", "/../"),
    "two volumes in one place": (
        web(volumes=[{"name": "a", "path": "/a"}, {"name": "b", "path": "/a"}]),
        "apps[0].services[0].volumes[1].path", "already",
    ),
    "Docker's socket": (
        web(volumes=[{"host": "/var/run/docker.sock", "path": "/d"}]),
        "apps[0].services[0].volumes[0].host", "system's",
    ),
    "the host's own files": (
        web(volumes=[{"host": "/etc/", "path": "/d"}]), "apps[0].services[0].volumes[0].host", "system's",
    ),
    "other apps' secrets": (
        web(volumes=[{"host": "/var/lib/shipshape/apps", "path": "/d"}]),
        "apps[0].services[0].volumes[0].host", "system's",
    ),
    "memory over a volume": (
        web(volumes=[{"name": "a", "path": "/a"}], tmpfs=["/a:size=1m"]), "apps[0].services[0].tmpfs", "/a",
    ),
    "memory nowhere": (web(tmpfs=["tmp"]), "apps[0].services[0].tmpfs[0]", "absolute"),
    "no time to stop": (web(stop_seconds=0), "apps[0].services[0].stop_seconds", "86400"),
    "a user that is none": (web(user="a b"), "apps[0].services[0].user", "user:group"),
    "all capabilities": (web(cap_add=["ALL"]), "apps[0].services[0].cap_add[0]", "ALL is none"),
    "read_only as a word": (web(read_only="perhaps"), "apps[0].services[0].read_only", "true or false"),
    "init as a word": (web(init="tini"), "apps[0].services[0].init", "true or false"),
    "a label of ours": (web(labels={"stack.shipshape.app": "x"}), "apps[0].services[0].labels (a name)", "of yours"),
    "a limit that is none": (web(ulimits={"nofile": "many"}), "apps[0].services[0].ulimits.nofile", "soft"),
    "web waits": (app(service("a", "infra"), service(after=["a"])), "apps[0].services[1].after", "only a service"),
    "waiting for the next": (
        app(service("a", "infra", after=["b"]), service("b", "infra")), "apps[0].services[0].after[0]", "before it",
    ),
    "a variable of ours": (app(env={"APP_RELEASE": "x"}), "apps[0].env.APP_RELEASE", "has it already"),
    "a secret of our name": (web(secrets={"APP_NAME": "x"}), "apps[0].services[0].secrets.APP_NAME", "has it already"),
    "a variable that is none": (app(env={"A-B": "x"}), "apps[0].env (a name)", "'A-B'"),
    "no value": (app(env={"A": None}), "apps[0].env.A", "leave it out"),
    "a list as a value": (app(env={"A": []}), "apps[0].env.A", "a list"),
    "a NUL": (app(env={"A": "\0"}), "apps[0].env.A", "not a text"),
    "both": (app(env={"A": "x"}, secrets={"A": "y"}), "apps[0].env.A", "among the secrets"),
    "both of a service": (web(env={"A": "x"}, secrets={"A": "y"}), "apps[0].services[0].env.A", "among the secrets"),
    "an empty secret": (app(secrets={"A": ""}), "apps[0].secrets.A", "not shown"),
    "a domain with a path": (app(domains=["a.org/b"]), "apps[0].domains[0]", "host name"),
    "a domain twice": (app(domains=["a.org", "a.org"]), "apps[0].domains[1]", "already"),
    "a certificate above": (app(**WEB, certificate="../x"), "apps[0].certificate", "name of a certificate"),
    "tls of nothing": (app(**WEB, tls=False, site={"tls": {"policy": "modern"}}), "apps[0].site.tls", "tls: false"),
    "HSTS of nothing": (app(**WEB, tls=False, site={"hsts": {"max_age": 1}}), "apps[0].site.hsts", "TLS"),
    "a canonical name elsewhere": (app(**WEB, site={"canonical": "a.org"}), "apps[0].site.canonical", "server_names"),
    "a key of no site": (app(**WEB, site={"locations": []}), "apps[0].site.locations", "no such key"),
    "nobody serves": (app(service("w", "worker"), **WEB), "apps[0].routes", "there are none"),
    "which one serves": (app(service(), service("api"), **WEB), "apps[0].routes", "there are none"),
    "routes to nowhere": (app(routes=[{"path": "/", "service": "web"}]), "apps[0].domains", "there are none"),
    "a route to nobody": (route(service=None), "apps[0].routes[0].service", "missing"),
    "a route to another": (route(service="wbe"), "apps[0].routes[0].service", "did you mean web?"),
    "a route to a worker": (
        app(service(), service("w", "worker"), **WEB, routes=[{"path": "/", "service": "w"}]),
        "apps[0].routes[0].service", "no w among",
    ),
    "a route without a path": (app(**WEB, routes=[{"service": "web"}]), "apps[0].routes[0].path", "missing"),
    "a path that is none": (route(path="x"), "apps[0].routes[0].path", "begins with no /"),
    "one path twice": (
        app(**WEB, routes=[{"path": "/", "service": "web"}, {"path": "/", "service": "web"}]),
        "apps[0].routes[1].path", "apps[0].routes[0]",
    ),
    "a file of a service": (route(alias="/srv/x/"), "apps[0].routes[0].alias", "type proxy has none"),
    "a folder beside": (
        route(service=None, path="/s/", alias="/srv/x"), "apps[0].routes[0].alias", "beside the folder",
    ),
    "an empty limit": (route(limit={}), "apps[0].routes[0].limit.rate", "missing"),
    "a burst of nothing": (route(limit={"connections": 1, "burst": 3}), "apps[0].routes[0].limit.burst", "rate"),
    "a rate that is none": (route(limit={"rate": 10}), "apps[0].routes[0].limit.rate", "10r/s"),
    "a time that is none": (route(timeouts={"read": "soon"}), "apps[0].routes[0].timeouts.read", "30s"),
    "a body that is none": (route(body={"max_size": "much"}), "apps[0].routes[0].body.max_size", "20m"),
    "a migration of nobody": (
        app(migrate={"service": "wbe", "command": "x"}), "apps[0].migrate.service", "did you mean web?",
    ),
    "a migration without a command": (app(migrate={"service": "web"}), "apps[0].migrate.command", "missing"),
    "no time for a migration": (
        app(migrate={"service": "web", "command": "x", "timeout": 0}), "apps[0].migrate.timeout", "86400",
    ),
    "no time for a lock": (
        app(migrate={"service": "web", "command": "x", "lock_timeout": 0}), "apps[0].migrate.lock_timeout", "86400",
    ),
    "an init of nobody": (
        app(init=[{"name": "a", "service": "b", "command": "x"}]), "apps[0].init[0].service", "no b among",
    ),
    "an init twice": (
        app(init=[{"name": "a", "service": "web", "command": "x"}] * 2), "apps[0].init[1].name", "already",
    ),
    "an init by infrastructure": (
        app(service(), service("k", "infra"), init=[{"name": "a", "service": "k", "command": "x"}]),
        "apps[0].init[0].service", "no k among",
    ),
    "files of nobody": (app(static={"service": "x", "path": "/a"}), "apps[0].static.service", "no x among"),
    "files of everything": (app(static={"service": "web", "path": "/"}), "apps[0].static.path", "not /"),
    "a canary that shrinks": (
        app(deploy={"canary": [{"percent": 50, "seconds": 1}, {"percent": 5, "seconds": 1}]}),
        "apps[0].deploy.canary", "50, 5 percent",
    ),
    "a canary of all": (app(deploy={"canary": [{"percent": 100, "seconds": 1}]}),
                        "apps[0].deploy.canary[0].percent", "99"),
    "errors in percent": (app(deploy={"max_error_ratio": 5}), "apps[0].deploy.max_error_ratio", "from 0 to 1"),
    "no release kept": (app(keep_releases=0), "apps[0].keep_releases", "50"),
    "a host that is none": (app(extra_hosts={"a": "b"}), "apps[0].extra_hosts.a", "host-gateway"),
    "a database without a password": (app(database={}), "apps[0].database.password", "missing"),
    "a database of a server": (
        app(database={"name": "template0", "password": "x"}), "apps[0].database", "template",
    ),
    "an extension that is none": (
        app(database={"password": "x", "extensions": [{"nme": "x"}]}), "apps[0].database", "extension",
    ),
    "a schema that is none": (
        app(database={"password": "x", "schemas": ["a"]}), "apps[0].database.schemas", "write each as name",
    ),
    "a cache without a password": (app(cache={}), "apps[0].cache.password", "missing"),
    "a short password": (app(cache={"password": "short"}), "apps[0].cache.password", "12 characters"),
    "a database of Redis": (app(cache={"password": "p" * 12, "database": -1}), "apps[0].cache.database", "1023"),
    "no keys": (app(cache={"password": "p" * 12, "keys": []}), "apps[0].cache.keys", "empty"),
    "a key that is two": (app(cache={"password": "p" * 12, "keys": ["a ~*"]}), "apps[0].cache.keys[0]", "spaces"),
    "a rule that is none": (
        app(cache={"password": "p" * 12, "commands": ["allkeys"]}), "apps[0].cache.commands[0]", "+@all",
    ),
}  # fmt: skip

# Of two apps.
TOGETHER = {
    "one name": (app(), app(), "apps[1].name", "apps[0]"),
    "one domain": (app(**WEB), app(**WEB, name="b"), "apps[1].domains[0]", "apps[0].domains[0]"),
    "one upstream": (app(service("api-web")), app(name="shop-api"), "apps[1].name", "shop-api-web"),
    "one port": (
        infra(publish=9, port=9), {**infra(publish=9, port=9), "name": "b"}, "apps[1]", "publish 9",
    ),
    "one user of Redis": (
        app(cache={"password": "p" * 12}), app(name="b", cache={"user": "shop", "password": "p" * 12}),
        "apps[1].cache.user", "apps[0]",
    ),
    "two passwords for one database": (
        app(database={"password": "x"}), app(name="b", database={"name": "shop", "password": "y"}),
        "apps[1].database.password", "apps[0]",
    ),
    "two owners of one database": (
        app(database={"password": "x"}), app(name="b", database={"name": "shop", "owner": "b", "password": "x"}),
        "apps[1].database.owner", "apps[0]",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_good(name):
    before = copy.deepcopy(GOOD[name])
    assert app_problems([GOOD[name]]) == []
    assert GOOD[name] == before


@pytest.mark.parametrize("name", BAD)
def test_bad(name):
    wrong, path, said = BAD[name]
    found = app_problems([wrong])
    assert len(found) == 1, found
    assert found[0].startswith(f"{path}: "), found
    assert said in found[0]


@pytest.mark.parametrize("name", TOGETHER)
def test_together(name):
    one, two, path, said = TOGETHER[name]
    assert app_problems([one]) == app_problems([two]) == []
    found = app_problems([one, two])
    assert len(found) == 1, found
    assert found[0].startswith(f"{path}: ")
    assert said in found[0]
    assert app_problems([one, {**two, "state": "absent"}]) == ([] if name != "one name" else found)


def test_no_list():
    assert app_problems(app()) == ["apps: it is not a list: write each app as an entry of its own"]


def test_ports_of_web_services():
    found = app_problems([infra(port=9000, publish=20500)], "20000-20999")
    assert found == ["apps[0].services[1].publish: 20500 is one of 20000-20999, which web services get"]
    assert app_problems([infra(port=9000, publish=21000)], "20000-20999") == []


@pytest.mark.parametrize("name", DOCUMENTED)
def test_documented(name):
    assert app_problems([DOCUMENTED[name]]) == []


def test_documented_side_by_side():
    assert len(DOCUMENTED) == 5
    assert app_problems(list(DOCUMENTED.values())) == []


@pytest.mark.parametrize("name", [*GOOD, *DOCUMENTED])
def test_normal_is_normal(name):
    found = normal(GOOD.get(name) or DOCUMENTED[name])
    assert normal(found) == found
    assert normal(json.loads(json.dumps(found))) == found
    assert problems(found) == []


@pytest.mark.parametrize("name", DOCUMENTED)
def test_no_secret_is_left(name):
    left, secrets = split_secrets(DOCUMENTED[name])
    assert "S3cret" not in json.dumps(left)
    assert problems(left) == []
    assert normal(left) | {"secrets": {}} == {**normal(left), "secrets": {}}
    assert bool(secrets) == (name in ("vendor", "intake", "mailer"))


def test_secrets_reach_whom_they_are_for():
    found = app(
        service(secrets={"B": "web"}), service("worker", "worker", env={"A": "plain"}), service("k", "infra"),
        service("m", "infra", secrets={"C": 3}), secrets={"A": "a", "B": "b"},
    )  # fmt: skip
    assert split_secrets(found)[1] == {"web": {"A": "a", "B": "web"}, "worker": {"B": "b"}, "m": {"C": "3"}}


class Vaulted:
    """As Ansible before 2.19 hands over what was encrypted in place."""

    def __str__(self):
        return secret("vault")


def test_a_secret_that_was_encrypted_in_place():
    found = app(secrets={"A": Vaulted()}, cache={"password": Vaulted()})
    assert app_problems([found]) == []
    assert split_secrets(found)[1] == {"web": {"A": secret("vault")}}
    assert normal(found)["cache"]["password"] == secret("vault")


SHAPES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(secret("x")),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["name", "A"]), inner, max_size=2),
    max_leaves=5,
)
HOLDERS = ("services", "secrets", "database", "cache", "env", "routes", "site", "migrate", "init", "static", "deploy")


@given(st.sampled_from(HOLDERS), SHAPES.filter(lambda each: not isinstance(each, (bool, int))))
def test_a_holder_of_another_shape_is_not_shown(key, value):
    """Whatever was written there instead, a message may say a plain value, but nothing that holds others."""
    for message in app_problems([app(**{key: value if isinstance(value, (list, dict)) else secret("x")})]):
        assert "S3cret" not in message or key not in ("secrets", "database", "cache", "services")


@given(SHAPES)
def test_secrets_of_any_shape_are_not_shown(value):
    wrong = [{"secrets": value}, {"secrets": {"A": value}}, {"database": {"password": value}}, {"cache": value}]
    for each in wrong:
        assert not any("S3cret" in message for message in app_problems([app(**each), app(service(secrets=value))]))


def test_every_key_is_documented():
    tables = PAGE[PAGE.index("## Every key") :]

    def keys(node, skipped=("site", "routes")):
        for name, field in node.fields.items():
            yield name
            inner = getattr(field.node, "item", field.node)
            if hasattr(inner, "fields") and name not in skipped:
                yield from keys(inner)

    missing = [name for name in keys(APP) if f"`{name}`" not in tables and f".{name}`" not in tables]
    in_braces = [name for name in missing if not any(name in braces for braces in _braces(tables))]
    assert in_braces == []


def _braces(text):
    return [set(re.split(r"[^a-z_]+", found)) for found in re.findall(r"`\[?\{([^}`]*)\}", text)]
