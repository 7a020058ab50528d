# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What follows from apps for other roles: every entry is one that the role itself takes."""

from __future__ import annotations

import pytest
import yaml
from ansible_collections.shipshape.stack.plugins.module_utils import _app_data as data
from ansible_collections.shipshape.stack.plugins.module_utils import _app_edge as edge
from ansible_collections.shipshape.stack.plugins.module_utils import _nginx_role
from ansible_collections.shipshape.stack.plugins.module_utils._app_checks import (
    site_checks,
    slot_checks,
    slot_options,
)
from ansible_collections.shipshape.stack.plugins.module_utils._app_model import normal
from ansible_collections.shipshape.stack.plugins.module_utils._health_plan import read_plan
from ansible_collections.shipshape.stack.plugins.module_utils._memory_budget import memory_budget
from ansible_collections.shipshape.stack.plugins.module_utils._postgresql_role import problems as postgresql_problems
from ansible_collections.shipshape.stack.plugins.module_utils._postgresql_wanted import parse
from ansible_collections.shipshape.stack.plugins.module_utils._probe_registry import REGISTRY
from ansible_collections.shipshape.stack.plugins.module_utils._redis_options import problems as redis_problems
from app_examples import DOCUMENTED, ROOT, app, secret, service
from hypothesis import given
from hypothesis import strategies as st
from psycopg import conninfo

ALL = list(DOCUMENTED.values())
WEB = {"domains": ["shop.example.org"]}
PASSWORD = "p@ss:w/rd?#%$ &="
DATABASE = {"host": "db.internal", "port": 5432}
CACHE = {"host": "192.0.2.9", "port": 6379}
BROKEN = {"name": "Broken", "secrets": "x"}


def defaults(role):
    specs = yaml.safe_load((ROOT / f"roles/{role}/meta/argument_specs.yml").read_text(encoding="utf-8"))
    return {name: each.get("default") for name, each in specs["argument_specs"]["main"]["options"].items()}


def routed(*routes, **keys):
    return app(**WEB, routes=list(routes), **keys)


# --- nginx ------------------------------------------------------------------------------------------------------------


def test_the_role_nginx_takes_them():
    options = {
        **defaults("nginx"),
        "nginx_limit_zones": edge.limit_zones(ALL),
        "nginx_upstreams": edge.upstreams(ALL, ["192.0.2.7", "2001:db8::7"]),
        "nginx_sites": edge.sites(ALL),
    }
    assert _nginx_role.problems(options) == []
    assert len(options["nginx_sites"]) == 4
    assert len(options["nginx_limit_zones"]) == 2


def test_upstreams():
    found = app(
        service(balance="least_conn"), service("api"), service("flower", "infra", port=5555, publish=15555), **WEB,
        routes=[{"path": "/", "service": "web"}, {"path": "/flower/", "service": "flower"}],
    )  # fmt: skip
    assert edge.upstreams([found], ["192.0.2.7", "2001:db8::7"]) == [
        {"name": "shop-web", "dynamic": True, "servers": [], "balance": "least_conn"},
        {"name": "shop-flower", "servers": [{"address": "192.0.2.7:15555"}, {"address": "[2001:db8::7]:15555"}]},
    ]


def test_a_site():
    found = routed(
        {"path": "/", "service": "web", "websocket": "yes", "timeouts": {"read": "1h"}},
        {"path": "/static/", "alias": "/srv/shop/static/", "cache": "immutable"},
        {"path": "/old", "match": "exact", "to": "/new", "code": 308},
        {"path": "/health", "code": 404},
        site={"canonical": "shop.example.org", "hsts": {"max_age": 60}, "tls": {"policy": "modern"}},
    )
    assert edge.sites([found]) == [
        {
            "name": "shop",
            "server_names": ["shop.example.org"],
            "canonical": "shop.example.org",
            "hsts": {"max_age": 60, "include_subdomains": False, "preload": False},
            "tls": {"certificate": "shop", "policy": "modern"},
            "locations": [
                {"path": "/", "type": "proxy", "upstream": "shop-web", "websocket": True, "timeouts": {"read": "1h"}},
                {"path": "/static/", "type": "static", "alias": "/srv/shop/static/", "cache": "immutable"},
                {"path": "/old", "match": "exact", "type": "redirect", "to": "/new", "code": 308},
                {"path": "/health", "type": "return", "code": 404},
            ],
        }
    ]


def test_sites_by_themselves():
    plain = edge.sites([app(**WEB, tls=False)])
    assert plain[0]["locations"] == [{"path": "/", "type": "proxy", "upstream": "shop-web"}]
    assert "tls" not in plain[0]
    assert edge.sites([app(**WEB, certificate="all")])[0]["tls"] == {"certificate": "all"}
    assert edge.sites([app(), {**app(**WEB), "state": "absent"}]) == []


def test_each_limit_has_its_zones():
    found = routed(
        {"path": "/", "service": "web", "limit": {"rate": "10r/s", "burst": 20, "nodelay": True, "connections": 5}},
        {"path": "/api/", "service": "web"},
        {"path": "/login", "service": "web", "limit": {"rate": "5r/m", "key": "$http_authorization", "size": "1m"}},
    )
    common = {"key": "$binary_remote_addr", "size": "10m"}
    assert edge.limit_zones([found]) == [
        {"name": "shop-requests-0", **common, "rate": "10r/s"},
        {"name": "shop-connections-0", **common, "type": "connection"},
        {"name": "shop-requests-2", "key": "$http_authorization", "size": "1m", "rate": "5r/m"},
    ]
    locations = edge.sites([found])[0]["locations"]
    assert locations[0]["limits"] == [
        {"zone": "shop-requests-0", "burst": 20, "nodelay": True},
        {"zone": "shop-connections-0", "connections": 5},
    ]
    assert "limits" not in locations[1]
    assert locations[2]["limits"] == [{"zone": "shop-requests-2"}]


@pytest.mark.parametrize("apps", [None, "x", {}, [BROKEN], [{"name": "a"}], [3]])
def test_a_wrong_app_is_left_out(apps):
    for derive in (edge.upstreams, edge.sites, edge.limit_zones, data.databases, data.roles, data.redis_users,
                   data.memory_claims, site_checks):  # fmt: skip
        assert derive(apps) == []
    assert data.role_passwords(apps) == data.redis_passwords(apps) == {}
    assert data.connected(apps, DATABASE, CACHE) == (apps if isinstance(apps, list) else [])


def test_the_others_are_not():
    assert [each["name"] for each in edge.sites([BROKEN, app(**WEB)])] == ["shop"]


# --- PostgreSQL -------------------------------------------------------------------------------------------------------


def test_the_role_postgresql_takes_them():
    options = {
        **defaults("postgresql"),
        "postgresql_version": 17,
        "postgresql_databases": data.databases(ALL),
        "postgresql_roles": data.roles(ALL),
        "postgresql_role_passwords": data.role_passwords(ALL),
    }
    assert postgresql_problems(options) == []
    wanted = parse(
        {
            "databases": options["postgresql_databases"],
            "roles": options["postgresql_roles"],
            "passwords": options["postgresql_role_passwords"],
        }
    )
    assert [each.name for each in wanted.databases] == ["vendor", "mailer"]
    assert [each.name for each in wanted.databases[0].extensions] == ["pg_stat_statements", "pgcrypto", "uuid-ossp"]
    assert {each.name: each.password for each in wanted.roles} == {
        "vendor": secret("vault_vendor_database_password"),
        "mailer": secret("vault_mailer_database_password"),
    }


def test_databases():
    found = app(
        name="my-shop",
        database={"password": "x", "readers": ["report"], "settings": {"timezone": "UTC"}, "locale": "C"},
    )
    assert data.databases([found]) == [
        {"name": "my_shop", "owner": "my_shop", "readers": ["report"], "settings": {"timezone": "UTC"}, "locale": "C"}
    ]
    assert data.roles([found]) == [{"name": "my_shop"}]


def test_two_apps_with_one_database():
    found = [app(database={"password": "x"}), app(name="b", database={"name": "shop", "password": "x"})]
    assert data.databases(found) == [{"name": "shop", "owner": "shop"}]
    assert data.roles(found) == [{"name": "shop"}]
    assert data.role_passwords(found) == {"shop": "x"}


# --- Redis ------------------------------------------------------------------------------------------------------------


def test_the_role_redis_takes_them():
    apps = [*ALL, app(cache={"password": PASSWORD, "channels": ["news"], "commands": ["+@read"]})]
    options = {
        **defaults("redis"),
        "redis_users": data.redis_users(apps),
        "redis_user_passwords": data.redis_passwords(apps),
    }
    assert redis_problems(options, 4096, "Debian-13") == []
    assert options["redis_users"] == [
        {
            "name": "vendor",
            "rules": [
                *(f"{mark}{each}" for mark in "~&" for each in ("vendor:*", "celery*", "_kombu*", "unacked*")),
                "+@all",
                "-@admin",
                "-@dangerous",
                "+info",
            ],
        },
        {"name": "shop", "rules": ["~shop:*", "&news", "+@read"]},
    ]


# --- addresses --------------------------------------------------------------------------------------------------------


def test_environment():
    found = app(database={"password": PASSWORD, "scheme": "postgresql+psycopg"}, cache={"password": PASSWORD * 2})
    quoted = "p%40ss%3Aw%2Frd%3F%23%25%24%20%26%3D"
    assert data.environment(found, {**DATABASE, "parameters": {"sslmode": "verify-full"}}, CACHE) == {
        "DATABASE_URL": f"postgresql+psycopg://shop:{quoted}@db.internal:5432/shop?sslmode=verify-full",
        "REDIS_URL": f"redis://shop:{quoted}{quoted}@192.0.2.9:6379/0",
    }
    six = data.environment(found, {"host": "2001:db8::1"}, {"host": "2001:db8::2", "port": 6380, "tls": True})
    assert six["DATABASE_URL"].endswith("@[2001:db8::1]:5432/shop")
    assert six["REDIS_URL"].startswith("rediss://")
    assert "@[2001:db8::2]:6380/" in six["REDIS_URL"]


@pytest.mark.parametrize("where", ["env", "secrets"])
def test_an_address_that_is_set_stays(where):
    found = app(database={"password": "x"}, cache={"password": PASSWORD}, **{where: {"DATABASE_URL": "own"}})
    assert list(data.environment(found, DATABASE, CACHE)) == ["REDIS_URL"]
    assert data.connected([found], DATABASE, CACHE)[0][where]["DATABASE_URL"] == "own"


def test_no_address_where_there_is_no_server():
    found = app(database={"password": "x"}, cache={"password": PASSWORD})
    assert data.environment(found) == {}
    assert data.connected([found]) == [found]
    assert data.environment(app(), DATABASE, CACHE) == {}


def test_other_variables():
    found = app(database={"password": "x", "variable": "DSN"}, cache={"password": PASSWORD, "variable": "BROKER"})
    assert data.environment(found, DATABASE, CACHE).keys() == {"DSN", "BROKER"}


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
def test_libpq_reads_the_address(password):
    found = app(name="my-shop", database={"password": password})
    url = data.environment(found, {**DATABASE, "parameters": {"sslmode": "require"}})["DATABASE_URL"]
    assert conninfo.conninfo_to_dict(url) == {
        "user": "my_shop", "password": password, "host": "db.internal", "port": "5432", "dbname": "my_shop",
        "sslmode": "require",
    }  # fmt: skip


# --- memory and checks ------------------------------------------------------------------------------------------------


def test_both_slots_are_in_the_budget():
    found = app(
        service(replicas=3, limits={"memory": "1G"}),
        service("beat", "scheduler", limits={"memory": "100M"}),
        service("free", "worker"),
        service("off", "worker", replicas=0, limits={"memory": "1G"}),
        service("k", "infra", limits={"memory": "2G"}),
    )
    claims = data.memory_claims([found])
    assert claims == [
        {"name": "shop web", "memory": "1024M", "count": 6},
        {"name": "shop beat", "memory": "100M", "count": 1},
        {"name": "shop k", "memory": "2048M", "count": 1},
    ]
    assert memory_budget(claims, 16384, 512)["claimed_mb"] == 6 * 1024 + 100 + 2048


def plan(checks, **options):
    return read_plan({"checks": checks, **options}, REGISTRY).checks


def test_the_checks_of_a_slot():
    health = {
        "path": "/health",
        "json": {"status": "ok"},
        "version": {"json_field": "build.version"},
        "status": [200, 204],
    }
    found = app(service(replicas=2, health=health), service("worker", "worker"), domains=["*.example.org"])
    servers = {"web": [{"address": "127.0.0.1:20000"}, {"address": "[2001:db8::7]:20001"}], "worker": []}
    checks = slot_checks(found, servers)
    assert [each["url"] for each in checks] == ["http://127.0.0.1:20000/health", "http://[2001:db8::7]:20001/health"]
    assert checks[0] == {
        "name": "web at 127.0.0.1:20000/health",
        "type": "http",
        "url": "http://127.0.0.1:20000/health",
        "status_code": [200, 204],
        "timeout": 5.0,
        "json": {"status": "ok", "build.version": "1.0"},
        "host_header": "www.example.org",
        "headers": {"X-Forwarded-Proto": "https"},
    }
    assert len(plan(checks, **slot_options(normal(found)["services"][0]))) == 2


def test_a_version_at_a_path_of_its_own():
    found = app(service(health={"path": "/health", "version": {"path": "/version"}}))
    checks = slot_checks(found, {"web": [{"address": "127.0.0.1:1"}]})
    assert [(each["url"], each.get("json")) for each in checks] == [
        ("http://127.0.0.1:1/health", None),
        ("http://127.0.0.1:1/version", {"version": "1.0"}),
    ]
    assert "host_header" not in checks[0]
    assert len(plan(checks)) == 2


def test_the_checks_of_sites():
    found = site_checks(ALL, validate_certs=False)
    assert {each["name"]: each["url"] for each in found} == {
        "vendor web": "https://vendor.example.com/health",
        "intake api": "https://intake.example.com/health/ready",
        "dictionary web": "https://dictionary.example.com/health",
        "insight streamlit": "https://insight.example.com/_stcore/health",
    }
    assert {each["validate_certs"] for each in found} == {False}
    assert {each["resolve_to"] for each in found} == {"127.0.0.1"}
    assert len(plan(found)) == 4


NOT_ASKED = {
    "maintenance": app(**WEB, maintenance=True),
    "no domain": app(),
    "none of it": app(service(replicas=0), **WEB),
    "the path leads elsewhere": routed({"path": "/", "service": "web"}, {"path": "/health", "code": 404}),
    "the path is changed": routed({"path": "/", "service": "web", "strip_prefix": True}),
    "the path is for some": routed({"path": "/", "service": "web", "allow": ["192.0.2.0/24"]}),
    "another path": routed({"path": "/api/", "service": "web"}),
    "expressions": routed({"path": "/", "service": "web"}, {"path": "^/h", "match": "regex", "service": "web"}),
}


@pytest.mark.parametrize("name", NOT_ASKED)
def test_what_is_not_asked(name):
    assert site_checks([NOT_ASKED[name]]) == []


def test_an_exact_path_is_asked():
    found = routed({"path": "/", "code": 404}, {"path": "/health", "match": "exact", "service": "web"})
    assert [each["url"] for each in site_checks([found])] == ["https://shop.example.org/health"]


def test_other_ports_are_asked():
    plain = app(**WEB, tls=False, site={"ports": {"http": 8080}})
    assert [each["url"] for each in site_checks([plain])] == ["http://shop.example.org:8080/health"]
    assert "validate_certs" not in site_checks([plain])[0]
    secure = app(**WEB, site={"ports": {"https": 8443}, "canonical": "shop.example.org"})
    assert [each["url"] for each in site_checks([secure])] == ["https://shop.example.org:8443/health"]
