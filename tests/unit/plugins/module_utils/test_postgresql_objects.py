"""Plans: each case also proves that what they lead to needs no second plan."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils._postgresql_model import (
    DATABASE_OWNER,
    FLAGS,
    MARK,
    PUBLIC,
    Available,
    Catalog,
    Database,
    Extension,
    ObjectsError,
    Ownership,
    Relation,
    Role,
    Schema,
)
from ansible_collections.shipshape.stack.plugins.module_utils._postgresql_objects import digest, plan, remarks
from ansible_collections.shipshape.stack.plugins.module_utils._postgresql_refusals import lacking, refuse
from ansible_collections.shipshape.stack.plugins.module_utils._postgresql_scram import fits, make
from ansible_collections.shipshape.stack.plugins.module_utils._postgresql_wanted import parse
from hypothesis import given, settings
from hypothesis import strategies as st
from postgresql_cluster import Cluster, effective_owner

POSTGRES = Role("postgres", frozenset(FLAGS))
CITEXT = {"citext": Available("1.6", frozenset({"1.5", "1.6"}))}


def salt(length):
    return bytes(length)


def cluster(*databases, roles=(), **more):
    everybody = [POSTGRES, *(role if isinstance(role, Role) else Role(role) for role in roles)]
    templates = [Database("template0", "postgres"), Database("postgres", "postgres")]
    return Catalog(
        roles={role.name: role for role in everybody},
        databases={one.name: one for one in [*templates, *databases]},
        **{"available": CITEXT, **more},
    )


def done(current, params):
    """Plan, let a model of the server run it, and prove that nothing is left to do."""
    wanted = parse(params)
    refuse(current, wanted)
    steps = plan(current, wanted, salt)
    after = Cluster(current).run(steps)
    rest = plan(after, wanted, salt)
    if any(step.script for step in steps):
        after = Cluster(after).run(rest)
        rest = plan(after, wanted, salt)
    assert list(map(str, rest)) == []
    return steps, after


def lines(current, params):
    return [str(step) for step in done(current, params)[0]]


def statements(current, params):
    return [step.sql for step in done(current, params)[0]]


def fresh(name="shop", owner="shop", **more):
    """A database that nothing is to be said about."""
    return replace(Catalog().fresh(name, owner), **{"acl": frozenset(), **more})


# --- roles ------------------------------------------------------------------------------------------------------------

X = make("x", bytes(16))


@pytest.mark.parametrize(
    ("have", "wish", "expected"),
    [
        pytest.param(None, {}, ["+ role shop: login"], id="new"),
        pytest.param(None, {"login": False}, ["+ role shop: no login"], id="new-group"),
        pytest.param({}, {}, [], id="there"),
        pytest.param({}, {"createdb": True}, ["+ role shop: createdb"], id="more"),
        pytest.param(
            {"flags": frozenset(FLAGS)},
            {"createdb": True, "createrole": True, "replication": True},
            ["- role shop: superuser"],
            id="less",
        ),
        pytest.param({}, {"password": "x"}, ["+ role shop: the given password, as SCRAM-SHA-256"], id="password"),
        pytest.param({"verifier": X}, {"password": "x"}, [], id="same-password"),
        pytest.param({"verifier": X}, {}, [], id="password-left-alone"),
        pytest.param({"verifier": X}, {"password": X}, [], id="same-verifier"),
        pytest.param(
            {"verifier": "md5" + "0" * 32},
            {"password": "x"},
            ["- role shop: another password, + role shop: the given password, as SCRAM-SHA-256"],
            id="md5",
        ),
        pytest.param(
            {},
            {"connection_limit": 3},
            ["- role shop: connection limit -1, + role shop: connection limit 3"],
            id="limit",
        ),
        pytest.param({"connection_limit": 3}, {}, [], id="limit-left-alone"),
        pytest.param(
            {"valid_until": "2030-01-01 00:00:00"},
            {"valid_until": "infinity"},
            ["- role shop: valid until 2030-01-01 00:00:00, + role shop: valid until infinity"],
            id="until",
        ),
        pytest.param({"valid_until": "2030-01-01 00:00:00"}, {"valid_until": "2030-01-01"}, [], id="same-day"),
        pytest.param({}, {"settings": {"work_mem": "8MB"}}, ["+ role shop: work_mem = 8MB"], id="setting"),
        pytest.param(
            {"settings": {"work_mem": "8MB", "jit": "off"}},
            {"settings": {"WORK_MEM": "9MB"}},
            ["- role shop: jit = off", "- role shop: work_mem = 8MB, + role shop: WORK_MEM = 9MB"],
            id="settings-exact",
        ),
        pytest.param({"settings": {"jit": "off"}}, {}, [], id="settings-left-alone"),
        pytest.param({"settings": {"jit": "off"}}, {"settings": {"jit": False}}, [], id="same-setting"),
        pytest.param({}, {"member_of": ["postgres"]}, ["+ role shop: member of postgres"], id="member"),
        pytest.param(
            {"member_of": frozenset({("postgres", "boss"), ("postgres", "postgres")})},
            {"member_of": []},
            ["- role shop: member of postgres"] * 2,
            id="member-no-more",
        ),
        pytest.param({"member_of": frozenset({("postgres", "boss")})}, {}, [], id="member-left-alone"),
        pytest.param({}, {"state": "absent"}, ["- role shop"], id="absent"),
        pytest.param(None, {"state": "absent"}, [], id="absent-already"),
    ],
)
def test_roles(have, wish, expected):
    current = cluster(roles=[] if have is None else [Role("shop", **have)])
    assert lines(current, {"roles": [{"name": "shop", **wish}]}) == expected


def test_a_password_is_nowhere_in_clear():
    params = {"roles": [{"name": "shop", "password": "s3cret"}]}
    (_create, step), after = done(cluster(), params)
    assert fits(after.roles["shop"].verifier, "s3cret")
    assert "s3cret" not in step.sql
    assert step.secret
    assert "SCRAM-SHA-256$" not in f"{step} {step!r} {after!r}"


def test_a_group_that_is_new_is_there_before_its_members():
    found = statements(cluster(), {"roles": [{"name": "a", "member_of": ["b"]}, {"name": "b"}]})
    assert found[-1] == 'GRANT "b" TO "a"'


def test_the_one_who_granted_is_named_where_postgresql_asks_for_it():
    role = Role("a", member_of=frozenset({("b", "boss")}))
    wish = {"roles": [{"name": "a", "member_of": []}]}
    assert statements(cluster(roles=[role, "b"]), wish) == ['REVOKE "b" FROM "a" GRANTED BY "boss"']
    assert statements(cluster(roles=[role, "b"], version=150000), wish) == ['REVOKE "b" FROM "a"']


def test_the_privileges_of_a_role_go_before_it():
    current = cluster(fresh(), roles=["shop", "old"], mentioned=frozenset({("old", "shop"), ("old", "postgres")}))
    assert lines(current, {"roles": [{"name": "old", "state": "absent"}]}) == [
        "- database postgres: privileges of role old",
        "- database shop: privileges of role old",
        "- role old",
    ]


# --- databases --------------------------------------------------------------------------------------------------------


def test_a_new_database_is_created_and_closed():
    steps, after = done(cluster(roles=["shop"]), {"databases": [{"name": "shop", "owner": "shop"}]})
    assert steps[0].sql == """CREATE DATABASE "shop" OWNER "shop" ENCODING 'UTF8' TEMPLATE "template0\""""
    assert steps[0].alone
    assert after.databases["shop"].acl == frozenset()
    assert after.databases["shop"].schemas["public"].owner == DATABASE_OWNER


def test_a_locale_and_a_template():
    wish = {"name": "shop", "lc_collate": "C", "lc_ctype": "C.UTF-8", "encoding": "LATIN1", "template": "postgres"}
    current = cluster(locales=frozenset({"C", "C.UTF-8"}), encodings=frozenset({"LATIN1"}))
    found = statements(current, {"databases": [wish]})[0]
    assert found.endswith("""ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C.UTF-8' TEMPLATE "postgres\"""")


OPEN = frozenset({(PUBLIC, "CONNECT"), (PUBLIC, "TEMPORARY")})
OLD_PUBLIC = {"public": Schema("postgres", frozenset({(PUBLIC, "USAGE"), (PUBLIC, "CREATE")}))}


@pytest.mark.parametrize(
    ("have", "wish", "expected"),
    [
        pytest.param({}, {}, [], id="there"),
        pytest.param({"acl": OPEN}, {}, ["- database shop: everybody may CONNECT, TEMPORARY"], id="open"),
        pytest.param({"acl": OPEN}, {"revoke_public": False}, [], id="open-as-wanted"),
        pytest.param(
            {"schemas": OLD_PUBLIC},
            {},
            [
                "- database shop: schema public, owner postgres"
                ", + database shop: schema public, owner pg_database_owner",
                "- database shop: everybody may CREATE on schema public",
            ],
            id="from-an-older-version",
        ),
        pytest.param({"schemas": {}}, {}, [], id="public-was-dropped"),
        pytest.param({}, {"owner": "b"}, ["- database shop: owner shop, + database shop: owner b"], id="owner"),
        pytest.param(
            {},
            {"connection_limit": 9},
            ["- database shop: connection limit -1, + database shop: connection limit 9"],
            id="limit",
        ),
        pytest.param({}, {"settings": {"app.x": "y"}}, ["+ database shop: app.x = y"], id="setting"),
        pytest.param(
            {"settings": {"a": "1", MARK: "x"}}, {"settings": {}}, ["- database shop: a = 1"], id="not-the-mark"
        ),
        pytest.param({}, {"schemas": [{"name": "app"}]}, ["+ database shop: schema app, owner shop"], id="schema"),
        pytest.param(
            {"schemas": {"app": Schema("b")}},
            {"schemas": [{"name": "app"}]},
            ["- database shop: schema app, owner b, + database shop: schema app, owner shop"],
            id="schema-owner",
        ),
        pytest.param({"schemas": {"app": Schema("shop")}}, {"schemas": [{"name": "app"}]}, [], id="schema-there"),
        pytest.param(
            {}, {"state": "absent", "confirm_drop": "shop"}, ["- database shop and all that is in it"], id="drop"
        ),
        pytest.param({}, {"extensions": ["citext"]}, ["+ database shop: extension citext"], id="extension"),
        pytest.param(
            {"extensions": {"citext": Extension("1.5", "public")}}, {"extensions": ["citext"]}, [], id="extension-old"
        ),
        pytest.param(
            {"extensions": {"citext": Extension("1.5", "public")}},
            {"extensions": [{"name": "citext", "version": "latest"}]},
            ["- database shop: extension citext 1.5, + database shop: extension citext 1.6"],
            id="extension-latest",
        ),
        pytest.param(
            {"extensions": {"citext": Extension("1.6", "public")}},
            {"extensions": [{"name": "citext", "version": "1.5", "schema": "public"}]},
            ["- database shop: extension citext 1.6, + database shop: extension citext 1.5"],
            id="extension-version",
        ),
        pytest.param(
            {"extensions": {"citext": Extension("1.6", "public")}},
            {"extensions": [{"name": "citext", "schema": "app"}], "schemas": [{"name": "app"}]},
            [
                "+ database shop: schema app, owner shop",
                "- database shop: extension citext in public, + database shop: extension citext in app",
            ],
            id="extension-schema",
        ),
    ],
)
def test_databases(have, wish, expected):
    current = cluster(fresh(**have), roles=["shop", "b"])
    assert lines(current, {"databases": [{"name": "shop", "owner": "shop", **wish}]}) == expected


def test_before_version_14_the_owner_owns_schema_public_itself():
    current = cluster(fresh(schemas=OLD_PUBLIC), roles=["shop"], version=130000)
    assert 'ALTER SCHEMA "public" OWNER TO "shop"' in statements(current, {"databases": [{"name": "shop"}]})


# --- grants -----------------------------------------------------------------------------------------------------------

READER = {"roles": [{"name": "r"}], "databases": [{"name": "shop", "readers": ["r"]}]}
NOBODY = {"roles": [{"name": "r"}], "databases": [{"name": "shop"}]}


def table(name="t", owner="shop", schema="public", kind="table", acl=()):
    return Relation(schema, name, kind, owner, frozenset(acl))


def test_a_reader_gets_the_least_and_loses_it():
    relations = tuple(table(f"t{number}") for number in range(5))
    current = cluster(fresh(relations=relations), roles=["shop", "r"])
    given, after = done(current, READER)
    assert [step.sql for step in given] == [
        'GRANT CONNECT ON DATABASE "shop" TO "r"',
        'GRANT USAGE ON SCHEMA "public" TO "r"',
        'ALTER DEFAULT PRIVILEGES FOR ROLE "shop" GRANT USAGE ON SCHEMAS TO "r"',
        'ALTER DEFAULT PRIVILEGES FOR ROLE "shop" GRANT SELECT ON TABLES TO "r"',
        'ALTER DEFAULT PRIVILEGES FOR ROLE "shop" GRANT SELECT ON SEQUENCES TO "r"',
        'GRANT SELECT ON TABLE "public"."t0", "public"."t1", "public"."t2", "public"."t3", "public"."t4" TO "r"',
    ]
    assert str(given[-1]) == "+ database shop: r may SELECT on tables of schema public: t0, t1, t2 and 2 more"
    taken, last = done(after, NOBODY)
    assert [step.sql.replace("REVOKE", "GRANT").replace(" FROM ", " TO ") for step in taken] == [
        step.sql for step in given
    ]
    assert last == current


def test_a_writer_that_becomes_a_reader_loses_only_what_is_more():
    writer = {**READER, "databases": [{"name": "shop", "writers": ["r"]}]}
    current = cluster(fresh(relations=(table(), table("s", kind="sequence"))), roles=["shop", "r"])
    _steps, after = done(current, writer)
    assert [step.sql for step in done(after, READER)[0]] == [
        'ALTER DEFAULT PRIVILEGES FOR ROLE "shop" REVOKE INSERT, UPDATE, DELETE ON TABLES FROM "r"',
        'ALTER DEFAULT PRIVILEGES FOR ROLE "shop" REVOKE USAGE ON SEQUENCES FROM "r"',
        'REVOKE INSERT, UPDATE, DELETE ON TABLE "public"."t" FROM "r"',
        'REVOKE USAGE ON SEQUENCE "public"."s" FROM "r"',
    ]


def test_privileges_of_others_and_other_privileges_stay():
    acl = {("other", "SELECT"), ("r", "TRUNCATE"), (PUBLIC, "SELECT")}
    current = cluster(fresh(relations=(table(acl=acl),)), roles=["shop", "r", "other"])
    assert lines(current, NOBODY) == []


def test_tables_in_schemas_of_others_are_left_alone():
    schemas = {"theirs": Schema("other"), "ours": Schema("shop")}
    relations = (table(schema="theirs"), table("u", schema="ours"))
    current = cluster(fresh(schemas=schemas, relations=relations), roles=["shop", "r", "other"])
    found = " ".join(statements(current, READER))
    assert '"ours"."u"' in found
    assert "theirs" not in found


def test_a_new_schema_has_what_its_owner_gives_away_by_default():
    """Without that, the reader would be given what it has, and the other known role keep what it may not have."""
    wish = {"name": "shop", "schemas": [{"name": "log", "owner": "w"}], "readers": ["r"]}
    defaults = frozenset({("w", "schema", "r", "USAGE"), ("w", "schema", "x", "USAGE")})
    current = cluster(fresh(defaults=defaults), roles=["shop", "w", "r", "x"])
    found = statements(current, {"roles": [{"name": "x"}], "databases": [wish]})
    assert [sql for sql in found if "ON SCHEMA " in sql and '"log"' in sql] == ['REVOKE USAGE ON SCHEMA "log" FROM "x"']


def test_an_owner_needs_no_grant_and_the_owner_of_a_schema_has_to_get_in():
    wish = {"name": "shop", "schemas": [{"name": "log", "owner": "w"}], "readers": ["shop"]}
    current = cluster(fresh(), roles=["shop", "w"])
    assert lines(current, {"databases": [wish]}) == [
        "+ database shop: schema log, owner w",
        "+ database shop: w may CONNECT",
    ]


def test_tables_of_the_next_migration_are_readable():
    wish = {**READER, "databases": [{**READER["databases"][0], "schemas": [{"name": "log", "owner": "w"}]}]}
    _steps, after = done(cluster(fresh(), roles=["shop", "r", "w"]), wish)
    model = Cluster(after)
    model.create_tables("shop", "shop", [("public", "a")])
    model.create_tables("shop", "w", [("log", "b")])
    assert lines(model.run([]), wish) == []


def test_a_new_owner_takes_the_old_ones_default_privileges_over():
    _steps, after = done(cluster(fresh(), roles=["shop", "r", "next"]), READER)
    moved = {**READER, "databases": [{"name": "shop", "owner": "next", "readers": ["r"]}]}
    _steps, last = done(after, moved)
    assert {creator for creator, _kind, _role, _right in last.databases["shop"].defaults} == {"next"}


# --- schema files -----------------------------------------------------------------------------------------------------

FILE = {"databases": [{"name": "shop", "owner": "shop", "schema_content": "CREATE TABLE t ();"}]}


def test_a_file_is_imported_as_the_owner_with_its_mark():
    (step,), _after = done(cluster(fresh(), roles=["shop"]), FILE)
    assert (step.database, step.owner, step.script) == ("shop", "shop", "CREATE TABLE t ();")
    assert step.sql == f"""ALTER DATABASE "shop" SET "shipshape"."schema" TO '{digest("CREATE TABLE t ();")}'"""
    assert "CREATE TABLE" not in f"{step} {step!r}"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        pytest.param({"settings": {MARK: digest("CREATE TABLE t ();")}}, "", id="imported"),
        pytest.param({"settings": {MARK: "x"}}, "is another one than the one that was imported", id="changed"),
        pytest.param({"relations": (table(),)}, "has tables already", id="tables"),
        pytest.param({"relations": (table(schema="else"),)}, "has tables already", id="tables-elsewhere"),
    ],
)
def test_a_file_is_not_imported_again(more, words):
    current = cluster(fresh(**more), roles=["shop"])
    assert lines(current, FILE) == []
    assert words in " ".join(remarks(current, parse(FILE)))
    assert bool(words) == bool(remarks(current, parse(FILE)))


# --- refused ----------------------------------------------------------------------------------------------------------

OWNED = (Ownership("old", "shop", "3 objects in database shop"),)
OWNS_SHOP = (Ownership("old", "shop", "database shop"),)


@pytest.mark.parametrize(
    ("more", "params", "words"),
    [
        pytest.param(
            {}, {"databases": [{"name": "x", "owner": "y"}]}, "names role y, which does not exist", id="owner"
        ),
        pytest.param({}, {"databases": [{"name": "x", "writers": ["y"]}]}, "names role y", id="writer"),
        pytest.param(
            {}, {"databases": [{"name": "x", "schemas": [{"name": "a", "owner": "y"}]}]}, "role y", id="schema"
        ),
        pytest.param({}, {"roles": [{"name": "x", "member_of": ["y"]}]}, "role x names role y", id="group"),
        pytest.param(
            {"roles": [Role("a", member_of=frozenset({("b", "")})), "b"]},
            {"roles": [{"name": "b", "member_of": ["a"]}]},
            "role b would be a member of itself: look at the members of a",
            id="cycle",
        ),
        pytest.param(
            {}, {"databases": [{"name": "shop", "encoding": "LATIN1"}]}, "has encoding UTF8, not", id="encoding"
        ),
        pytest.param(
            {}, {"databases": [{"name": "shop", "lc_ctype": "C"}]}, "has lc_ctype C.UTF-8, not C,", id="ctype"
        ),
        pytest.param(
            {}, {"databases": [{"name": "x", "encoding": "UTF9"}]}, "UTF9 is not an encoding", id="no-encoding"
        ),
        pytest.param({}, {"databases": [{"name": "x", "locale": "xx"}]}, "has no locale xx", id="no-locale"),
        pytest.param({}, {"databases": [{"name": "x", "template": "y"}]}, "there is no template y", id="no-template"),
        pytest.param(
            {"sessions": {"shop": 2}},
            {"databases": [{"name": "shop", "state": "absent", "confirm_drop": "shop"}]},
            "shop has 2 sessions: end them",
            id="in-use",
        ),
        pytest.param(
            {"owned": OWNED, "roles": ["old"]},
            {"roles": [{"name": "old", "state": "absent"}], "databases": [{"name": "shop", "owner": "postgres"}]},
            "old cannot be dropped: it owns 3 objects in database shop",
            id="owns-tables",
        ),
        pytest.param(
            {"owned": OWNS_SHOP, "roles": ["old"]},
            {"roles": [{"name": "old", "state": "absent"}], "databases": [{"name": "shop"}]},
            "it owns database shop",
            id="owns-database",
        ),
    ],
)
def test_what_cannot_be(more, params, words):
    with pytest.raises(ObjectsError) as refused:
        refuse(cluster(fresh(), **more), parse(params))
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("owned", "database"),
    [
        pytest.param(OWNED, {"state": "absent", "confirm_drop": "shop"}, id="the-database-goes"),
        pytest.param(OWNS_SHOP, {"owner": "postgres"}, id="another-owner-comes"),
    ],
)
def test_an_owner_may_go_with_or_after_what_it_owns(owned, database):
    params = {"roles": [{"name": "old", "state": "absent"}], "databases": [{"name": "shop", **database}]}
    assert lines(cluster(fresh(owner="old"), roles=["old"], owned=owned), params)[-1] == "- role old"


@pytest.mark.parametrize(
    ("encoding", "locale"),
    [pytest.param("utf-8", "C.utf8", id="spelt-otherwise"), pytest.param("UTF8", "C.UTF-8", id="same")],
)
def test_another_spelling_is_no_other_locale(encoding, locale):
    refuse(cluster(fresh()), parse({"databases": [{"name": "shop", "encoding": encoding, "locale": locale}]}))


@pytest.mark.parametrize(
    ("extension", "more", "words"),
    [
        pytest.param(
            "vector", {}, "is not on this host: install its package, perhaps postgresql-17-pgvector", id="known"
        ),
        pytest.param("pg_repack", {}, "perhaps postgresql-17-repack", id="guessed"),
        pytest.param(
            {"name": "citext", "version": "2"}, {}, "no version 2: give one of 1.5, 1.6, or latest", id="version"
        ),
        pytest.param({"name": "citext", "schema": "x"}, {}, "needs schema x: add it to schemas", id="schema"),
        pytest.param(
            "pg_cron", {"available": {"pg_cron": Available("1")}}, "shared_preload_libraries has pg_cron", id="preload"
        ),
        pytest.param(
            "pg_cron", {"available": {"pg_cron": Available("1")}, "preloaded": {"pg_cron"}}, "", id="preloaded"
        ),
        pytest.param({"name": "citext", "version": "latest", "schema": "public"}, {}, "", id="fits"),
    ],
)
def test_extensions_that_cannot_work(extension, more, words):
    found = lacking(cluster(fresh(), **more), parse({"databases": [{"name": "shop", "extensions": [extension]}]}))
    assert words in " ".join(found)
    assert bool(words) == bool(found)


def test_what_is_installed_cannot_always_be_moved():
    have = fresh(extensions={"x": Extension("1", "a", relocatable=False)}, schemas={"a": Schema("b"), "c": Schema("b")})
    params = {"databases": [{"name": "shop", "extensions": [{"name": "x", "schema": "c"}]}]}
    assert "cannot be moved to c" in lacking(cluster(have), parse(params))[0]


def test_a_server_that_is_not_there_refuses_nothing():
    params = {"databases": [{"name": "x", "owner": "y", "locale": "z", "extensions": ["vector"]}]}
    current = Catalog(reachable=False)
    refuse(current, parse(params))
    assert lacking(current, parse(params)) == []
    assert "+ database x: owner y, UTF8" in map(str, plan(current, parse(params)))


# --- laws -------------------------------------------------------------------------------------------------------------

NAMES = ("a", 'b"', "C c", "d", "other")
RIGHTS = {
    "database": ("CONNECT", "TEMPORARY", "CREATE"),
    "schema": ("USAGE", "CREATE"),
    "table": ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE"),
    "sequence": ("SELECT", "USAGE", "UPDATE"),
}


def acls(kind):
    return st.frozensets(st.tuples(st.sampled_from([*NAMES, PUBLIC]), st.sampled_from(RIGHTS[kind])), max_size=6)


@st.composite
def catalogs(draw):
    owner = st.sampled_from(NAMES)
    schemas = draw(
        st.dictionaries(
            st.sampled_from(["public", "app", "x"]),
            st.builds(Schema, st.one_of(owner, st.just(DATABASE_OWNER)), acls("schema")),
        )
    )
    relations = [
        table(f"{kind}{number}", draw(owner), draw(st.sampled_from([*schemas, "else"])), kind, draw(acls(kind)))
        for number, kind in enumerate(draw(st.lists(st.sampled_from(["table", "sequence"]), max_size=4)))
    ]
    rows = st.tuples(
        owner, st.sampled_from(["table", "sequence", "schema"]), owner, st.sampled_from(["SELECT", "USAGE", "INSERT"])
    )
    shop = Database(
        "shop",
        draw(owner),
        connection_limit=draw(st.sampled_from([-1, 5])),
        settings=draw(st.dictionaries(st.sampled_from(["work_mem", "jit", MARK]), st.sampled_from(["1", "2"]))),
        acl=draw(acls("database")),
        schemas=schemas,
        relations=tuple(relations),
        defaults=frozenset(row for row in draw(st.lists(rows, max_size=5)) if row[0] != row[2]),
        extensions=draw(st.sampled_from([{}, {"citext": Extension("1.5", "public")}])),
    )
    there = draw(st.booleans())
    return cluster(
        *([shop] if there else []), roles=NAMES, iterations=1, version=draw(st.sampled_from([130000, 150000, 170000]))
    )


@st.composite
def wishes(draw):
    some = st.lists(st.sampled_from(NAMES[:4]), unique=True, max_size=3)
    roles = []
    for name in draw(some):
        role = {"name": name, "login": draw(st.booleans()), "createdb": draw(st.booleans())}
        more = {
            "password": "s3cret",
            "connection_limit": 4,
            "settings": {"jit": True, "search_path": "A, b"},
            "member_of": ["other"],
        }
        roles.append({**role, **{key: more[key] for key in draw(st.lists(st.sampled_from(list(more)), unique=True))}})
    database = {"name": "shop", "readers": draw(some), "writers": draw(some), "revoke_public": draw(st.booleans())}
    more = {
        "owner": draw(st.sampled_from(NAMES)),
        "schemas": [{"name": "app", "owner": draw(st.sampled_from([None, *NAMES]))}],
        "settings": {"work_mem": "2"},
        "extensions": [{"name": "citext", "version": "latest"}],
        "schema_content": "CREATE TABLE imported ();",
        "connection_limit": 7,
    }
    return {
        "roles": roles,
        "databases": [
            {**database, **{key: more[key] for key in draw(st.lists(st.sampled_from(list(more)), unique=True))}}
        ],
    }


def rights(database, known):
    """Privileges of roles that are not ours, by object."""
    objects = {"database": database.acl} | {("schema", name): one.acl for name, one in database.schemas.items()}
    objects |= {(one.kind, one.schema, one.name): one.acl for one in database.relations}
    return {
        key: {(role, right) for role, right in acl if role not in known and role != PUBLIC}
        for key, acl in objects.items()
    }


@settings(deadline=None, max_examples=100)
@given(catalogs(), wishes())
def test_a_second_plan_is_empty_and_everybody_has_what_is_declared(current, params):
    steps, after = done(current, params)
    assert "s3cret" not in repr(steps) + " ".join(step.sql for step in steps)
    wish, known = params["databases"][0], {role["name"] for role in params["roles"]}
    database = after.databases["shop"]
    for relation in database.relations:
        if relation.schema not in database.schemas or relation.schema not in (
            "public",
            *[one["name"] for one in wish.get("schemas", [])],
        ):
            continue
        for role in {*wish["readers"], *wish["writers"], *known} - {relation.owner, database.owner}:
            level = "writer" if role in wish["writers"] else "reader" if role in wish["readers"] else ""
            has = {right for one, right in relation.acl if one == role}
            assert ("SELECT" in has) >= bool(level)
            assert ("INSERT" in has) >= (level == "writer" and relation.kind == "table")
            if role in known:
                assert ("INSERT" in has) == (level == "writer" and relation.kind == "table")
                assert ("SELECT" in has) == bool(level)
    if (
        "shop" in current.databases
        and wish.get("owner") in (None, current.databases["shop"].owner)
        and "schemas" not in wish
    ):
        ours = known | {
            *wish["readers"],
            *wish["writers"],
            effective_owner(database, "public") if "public" in database.schemas else "",
        }
        before, later = rights(current.databases["shop"], ours), rights(database, ours)
        owners = {one.owner for one in current.databases["shop"].schemas.values()}
        for key, acl in before.items():
            assert {one for one in acl if one[0] not in owners} <= later[key]
