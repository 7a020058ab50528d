"""Which roles a dump needs, what a restore is held against, and what belongs to a database besides what is in it."""

from __future__ import annotations

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils import _backup_report as report
from ansible_collections.shipshape.stack.plugins.module_utils import _backup_restore_plan as plan
from ansible_collections.shipshape.stack.plugins.module_utils._backup_postgresql import ASIDE, chosen, roles_of
from ansible_collections.shipshape.stack.plugins.module_utils._backup_redis import total_keys
from hypothesis import given
from hypothesis import strategies as st

GLOBALS = """
CREATE ROLE postgres;
ALTER ROLE postgres WITH SUPERUSER INHERIT CREATEROLE CREATEDB LOGIN REPLICATION BYPASSRLS;
CREATE ROLE shop;
ALTER ROLE shop WITH NOSUPERUSER LOGIN PASSWORD 'SCRAM-SHA-256$4096:x';
CREATE ROLE "odd ""one";
GRANT reader TO shop WITH INHERIT TRUE GRANTED BY postgres;
ALTER ROLE shop SET work_mem TO '8MB';
-- PostgreSQL database cluster dump complete
"""
SCHEMA = """
ALTER TABLE public.orders OWNER TO shop;
ALTER TABLE public.x OWNER TO "odd ""one";
GRANT SELECT ON TABLE public.orders TO reader;
GRANT SELECT ON TABLE public.orders TO PUBLIC;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE maker IN SCHEMA public GRANT SELECT ON TABLES TO watcher;
"""


def test_roles():
    assert roles_of(GLOBALS) == ['odd "one', "postgres", "shop"]
    assert plan.roles_needed(SCHEMA) == {"shop", 'odd "one', "reader", "maker", "watcher"}
    kept = plan.globals_for(GLOBALS, {"shop"})
    assert "SUPERUSER INHERIT" not in kept
    assert kept.count("\n") == 4
    assert plan.globals_for(GLOBALS, set()) == ""


WAS = {"tables": {"public.orders": 3}, "schema": {"indexes": 2}, "revision": "3"}
IS = {"tables": {"public.orders": 3}, "schema": {"indexes": 2}, "revision": "3"}


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (IS, []),
        ({**IS, "tables": {}}, ["the table public.orders is missing"]),
        ({**IS, "tables": {"public.orders": 2}}, ["public.orders has 2 rows, and had 3"]),
        ({**IS, "tables": {**IS["tables"], "public.x": 0}}, ["there is a table public.x that was not backed up"]),
        ({**IS, "schema": {"indexes": 1}}, ["indexes: 1, and was 2"]),
        ({**IS, "revision": "2"}, ["the schema is at revision 2, and was at 3"]),
    ],
)
def test_differences(found, said):
    assert list(plan.differences(WAS, found)) == said


MEMBERS = """
CREATE ROLE shop;
CREATE ROLE readers;
CREATE ROLE "all of them";
GRANT readers TO shop WITH INHERIT TRUE GRANTED BY postgres;
GRANT "all of them" TO readers GRANTED BY chief;
GRANT others TO stranger;
"""


@pytest.mark.parametrize(
    ("roles", "there", "wanted"),
    [
        ({"shop"}, set(), {"shop", "readers", "all of them", "postgres", "chief"}),
        ({"shop"}, {"readers", "postgres"}, {"shop"}),
        ({"readers"}, {"postgres", "chief"}, {"readers", "all of them"}),
        ({"stranger"}, set(), {"stranger", "others"}),
    ],
)
def test_roles_bring_their_groups(roles, there, wanted):
    assert plan.with_groups(MEMBERS, roles, there) == wanted


def test_roles_of_policies():
    text = (
        'CREATE POLICY own ON public.t FOR SELECT TO shop, "a role" USING ((x = 1));\n'
        "CREATE POLICY all_ ON public.t USING (true);\n"
        "CREATE POLICY w ON public.t FOR INSERT TO writer WITH CHECK (true);\n"
    )
    assert plan.roles_needed(text) == {"shop", "a role", "writer"}


def test_locales():
    source = {"owner": "o", "provider": "i", "locale": "de-u-co-phonebk"}
    assert plan.create_statement("x", source).endswith("LOCALE_PROVIDER icu ICU_LOCALE 'de-u-co-phonebk'")
    assert "LOCALE_PROVIDER" not in plan.create_statement("x", {"owner": "o", "provider": "c", "locale": None})


def test_statements():
    source = {
        "owner": "shop",
        "encoding": "UTF8",
        "collate": "C.UTF-8",
        "ctype": "C.UTF-8",
        "connection_limit": 5,
        "settings": [["", ["work_mem=8MB"]], ["reader", ["search_path=public, other"]]],
        "grants": [["", "CONNECT", False], ["reader", "CONNECT", True]],
    }
    assert plan.create_statement("sh'op", source) == (
        "CREATE DATABASE \"sh'op\" TEMPLATE template0 OWNER \"shop\" ENCODING 'UTF8' LC_COLLATE 'C.UTF-8'"
        " LC_CTYPE 'C.UTF-8'"
    )
    assert list(plan.property_statements("shop", source)) == [
        'ALTER DATABASE "shop" CONNECTION LIMIT 5',
        'ALTER DATABASE "shop" SET "work_mem" TO \'8MB\'',
        'ALTER ROLE "reader" IN DATABASE "shop" SET "search_path" TO public, other',
        'REVOKE ALL ON DATABASE "shop" FROM PUBLIC',
        'GRANT CONNECT ON DATABASE "shop" TO PUBLIC',
        'GRANT CONNECT ON DATABASE "shop" TO "reader" WITH GRANT OPTION',
    ]
    assert plan.roles_of_source(source) == {"shop", "reader"}


@given(st.text(min_size=1), st.sampled_from(["before", "restore"]))
def test_names_beside_fit_and_are_known(name, word):
    name = name.encode("utf-8", "replace").decode()
    made = plan.aside(name, word, "20261126T020000Z")
    assert len(made.encode()) <= 63
    assert ASIDE.search(made)


def test_two_that_begin_alike_have_names_of_their_own():
    stamp, long = "20261126T020000Z", "a" * 60
    assert plan.aside(long, "before", stamp) != plan.aside(long + "b", "before", stamp)
    assert plan.aside("shop", "before", stamp) == f"shop__before_{stamp}"


def test_what_a_restore_left_is_not_backed_up():
    names = ["postgres", "shop", "shop__before_20261126T020000Z", "test"]
    everything = {"name": "postgresql", "databases": [], "exclude": ["test"]}
    assert chosen(names, everything) == ["postgres", "shop"]
    with pytest.raises(ValueError, match="there is no database gone"):
        chosen(names, {**everything, "databases": ["gone"]})


def test_keys_of_all_databases_count():
    assert total_keys({"db0": "keys=3,expires=1,avg_ttl=0", "db1": "keys=4,expires=0"}) == 7


def test_missed_runs_and_metrics():
    memory = {
        "schedules": {"daily": {"last_success": 1000.0, "last_attempt": 1000.0, "ok": True, "seconds": 2, "size": 9}},
        "copies": {"20261126T020000Z": {"away": {}}},
    }
    schedules = {"daily": {"max_age": 500}, "hourly": {"max_age": 500}}
    assert report.due(memory, schedules, 1400.0) == ["hourly"]
    assert report.due(memory, schedules, 1501.0) == ["daily", "hourly"]
    text = report.metrics(memory, ["20261126T020000Z", "20261126T030000Z"], ["20261126T020000Z"], 0, 3)
    assert 'shipshape_backup_last_run_ok{schedule="daily"} 1' in text
    assert "shipshape_backup_copies 2" in text
    found = list(report.findings("20261126T020000Z", "in 2 place(s)", "20261126T020000Z", 1795658400.0, ""))
    assert [each["id"] for each in found] == ["COPIES_BELOW"]
    found = list(report.findings("20261126T020000Z", "", "20271126T020000Z", 1795658400.0, "x"))
    assert [each["id"] for each in found] == ["CLOCK", "RETENTION"]


PLACES = [{"name": "disk", "offsite": False}, {"name": "nas", "offsite": False}, {"name": "bucket", "offsite": True}]


@pytest.mark.parametrize(
    ("names", "copies_min", "said"),
    [
        ([], 1, ""),
        ([], 2, "in 1 place(s), and 2 are wanted"),
        (["disk"], 2, ""),
        (["disk", "nas"], 3, "in 3 places, and none of them is off site"),
        (["disk", "bucket"], 3, ""),
        (["bucket"], 3, "in 2 place(s), and 3 are wanted"),
    ],
)
def test_three_copies_of_which_one_is_elsewhere(names, copies_min, said):
    assert report.below(names, PLACES, copies_min) == said
