"""What a task may ask for: a good and a bad value of each option, and every problem at once."""

from __future__ import annotations

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils._postgresql_model import ObjectsError, WantedExtension
from ansible_collections.shipshape.stack.plugins.module_utils._postgresql_scram import make
from ansible_collections.shipshape.stack.plugins.module_utils._postgresql_wanted import parse

VERIFIER = make("x", bytes(16))


def role(**more):
    return parse({"roles": [{"name": "shop", **more}]}).roles[0]


def database(**more):
    return parse({"databases": [{"name": "shop", **more}]}).databases[0]


@pytest.mark.parametrize(
    ("option", "value", "attribute", "parsed"),
    [
        pytest.param("login", False, "flags", frozenset(), id="no-login"),
        pytest.param("superuser", True, "flags", {"login", "superuser"}, id="superuser"),
        pytest.param("createdb", True, "flags", {"login", "createdb"}, id="createdb"),
        pytest.param("createrole", True, "flags", {"login", "createrole"}, id="createrole"),
        pytest.param("replication", True, "flags", {"login", "replication"}, id="replication"),
        pytest.param("state", "absent", "absent", True, id="absent"),
        pytest.param("connection_limit", -1, "connection_limit", -1, id="no-limit"),
        pytest.param("valid_until", "2030-12-31", "valid_until", "2030-12-31 00:00:00", id="day"),
        pytest.param("valid_until", "2030-12-31T01:00:00+02:00", "valid_until", "2030-12-30 23:00:00", id="zone"),
        pytest.param("valid_until", "2030-12-31T01:00:00Z", "valid_until", "2030-12-31 01:00:00", id="utc"),
        pytest.param("valid_until", "Infinity", "valid_until", "infinity", id="for-ever"),
        pytest.param("password", "it's", "password", "it's", id="password"),
        pytest.param("password", VERIFIER, "password", VERIFIER, id="verifier"),
        pytest.param("member_of", ["a", "b", "a"], "member_of", ("a", "b"), id="groups"),
        pytest.param("member_of", [], "member_of", (), id="no-groups"),
        pytest.param(
            "settings", {"jit": False, "work_mem": "8MB"}, "settings", {"jit": "off", "work_mem": "8MB"}, id="set"
        ),
    ],
)
def test_options_of_a_role(option, value, attribute, parsed):
    assert getattr(role(**{option: value}), attribute) == parsed


def test_what_is_left_out_of_a_role_stays():
    found = role()
    assert (found.password, found.connection_limit, found.valid_until) == (None, None, None)
    assert (found.settings, found.member_of, found.flags) == (None, None, {"login"})


@pytest.mark.parametrize(
    ("more", "words"),
    [
        pytest.param({"name": ""}, "role '' is empty", id="no-name"),
        pytest.param({"name": "x" * 64}, "longer than 63 bytes", id="long-name"),
        pytest.param({"name": "pg_shop"}, "begin with pg_ belong to PostgreSQL", id="reserved"),
        pytest.param({"name": "public"}, "role public is a reserved word", id="public"),
        pytest.param({"name": "none"}, "role none is a reserved word", id="none"),
        pytest.param({"name": "postgres"}, "this module works as: leave it out", id="own-role"),
        pytest.param({"connection_limit": -2}, "connection_limit is -2", id="limit"),
        pytest.param({"valid_until": "soon"}, "valid_until is 'soon'", id="moment"),
        pytest.param({"password": ""}, "the password is empty", id="empty-password"),
        pytest.param({"password": "s3cret\nx"}, "has a line break or a NUL", id="line-break"),
        pytest.param({"password": "s3cret\rx"}, "has a line break or a NUL", id="carriage-return"),
        pytest.param({"password": "s3cret\0x"}, "has a line break or a NUL", id="nul"),
        pytest.param({"password": "md5" + "0" * 32}, "is an MD5 hash", id="md5"),
        pytest.param({"password": VERIFIER[:-3] + "s3cret"}, "looks like a SCRAM-SHA-256 verifier", id="broken"),
        pytest.param({"settings": {"work mem": 1}}, "'work mem' is not the name of a setting", id="name"),
        pytest.param({"settings": {"shipshape.schema": 1}}, "is not the name of a setting", id="mark"),
        pytest.param({"settings": {"work_mem": None}}, "setting work_mem needs one value", id="no-value"),
        pytest.param({"settings": {"search_path": ["a"]}}, "setting search_path needs one value", id="list"),
        pytest.param({"settings": {"search_path": '"a'}}, "is not a list of names", id="open-quote"),
        pytest.param({"settings": {"jit": 1, "JIT": 0}}, "setting jit is there twice", id="twice"),
        pytest.param({"member_of": ["shop"]}, "role shop is a member of itself", id="cycle"),
    ],
)
def test_what_a_role_cannot_be(more, words):
    with pytest.raises(ObjectsError, match=None) as refused:
        role(**more)
    assert words in str(refused.value)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("option", "value", "attribute", "parsed"),
    [
        pytest.param("owner", "shop", "owner", "shop", id="owner"),
        pytest.param("encoding", "LATIN1", "encoding", "LATIN1", id="encoding"),
        pytest.param("locale", "C.UTF-8", "collate", "C.UTF-8", id="locale-collate"),
        pytest.param("locale", "C.UTF-8", "ctype", "C.UTF-8", id="locale-ctype"),
        pytest.param("lc_collate", "C", "collate", "C", id="collate"),
        pytest.param("lc_ctype", "C", "ctype", "C", id="ctype"),
        pytest.param("template", "template1", "template", "template1", id="template"),
        pytest.param("connection_limit", 0, "connection_limit", 0, id="limit"),
        pytest.param("settings", {"jit": True}, "settings", {"jit": "on"}, id="settings"),
        pytest.param("extensions", ["citext"], "extensions", (WantedExtension("citext"),), id="extension"),
        pytest.param(
            "extensions",
            [{"name": "citext", "schema": "app", "version": 1.5}],
            "extensions",
            (WantedExtension("citext", "app", "1.5"),),
            id="extension-in-full",
        ),
        pytest.param("schemas", [{"name": "app"}], "schemas", {"app": None}, id="schema"),
        pytest.param("schemas", [{"name": "app", "owner": "x"}], "schemas", {"app": "x"}, id="schema-of-another"),
        pytest.param("schema_content", "SELECT 1", "schema_content", "SELECT 1", id="content"),
        pytest.param("schema_content", "", "schema_content", None, id="no-content"),
        pytest.param("readers", ["a"], "access", {"a": "reader"}, id="reader"),
        pytest.param("writers", ["a"], "access", {"a": "writer"}, id="writer"),
        pytest.param("revoke_public", False, "revoke_public", False, id="everybody"),
    ],
)
def test_options_of_a_database(option, value, attribute, parsed):
    assert getattr(database(**{option: value}), attribute) == parsed


def test_who_reads_and_writes_is_a_writer():
    assert database(readers=["a", "b"], writers=["a"]).access == {"a": "writer", "b": "reader"}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        pytest.param({"name": "pg_shop"}, "begin with pg_ belong to PostgreSQL", id="reserved"),
        pytest.param({"name": "template0"}, "is a template of PostgreSQL", id="template"),
        pytest.param({"state": "absent"}, "if so, add confirm_drop: shop", id="not-confirmed"),
        pytest.param({"state": "absent", "confirm_drop": "Shop"}, "if so, add confirm_drop: shop", id="misspelt"),
        pytest.param(
            {"name": "postgres", "state": "absent", "confirm_drop": "postgres"}, "postgres cannot be dropped", id="own"
        ),
        pytest.param({"connection_limit": -2}, "connection_limit is -2", id="limit"),
        pytest.param({"settings": {"a;": 1}}, "database shop: 'a;' is not the name of a setting", id="setting"),
        pytest.param({"extensions": [{"schema": "x"}]}, "give a name, or name, schema and version", id="no-name"),
        pytest.param({"extensions": [{"name": "x", "cascade": 1}]}, "give a name, or name", id="extension-option"),
        pytest.param({"extensions": [["x"]]}, "give a name, or name, schema and version", id="extension-list"),
        pytest.param({"extensions": ["x", {"name": "x"}]}, "extension x is there 2 times", id="extension-twice"),
        pytest.param({"schemas": [{"name": "pg_x"}]}, "schema pg_x: names that begin with pg_", id="reserved-schema"),
        pytest.param({"schemas": [{"name": "information_schema"}]}, "belongs to PostgreSQL", id="information-schema"),
        pytest.param({"schemas": [{"name": "a"}, {"name": "a"}]}, "schema a is there 2 times", id="schema-twice"),
        pytest.param({"schema_content": "a\0"}, "schema_content has a NUL", id="nul"),
    ],
)
def test_what_a_database_cannot_be(more, words):
    with pytest.raises(ObjectsError) as refused:
        database(**more)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        pytest.param({"roles": [{"name": "a"}] * 2}, "roles: a is there 2 times", id="role-twice"),
        pytest.param({"databases": [{"name": "a"}] * 3}, "databases: a is there 3 times", id="database-twice"),
        pytest.param({"passwords": {"a": "s3cret"}}, "passwords: a is not in roles", id="password-of-nobody"),
        pytest.param(
            {"roles": [{"name": "a", "password": "s3cret"}], "passwords": {"a": "s3cret2"}},
            "one password in roles and another one in passwords",
            id="two-passwords",
        ),
        pytest.param(
            {"roles": [{"name": "a", "state": "absent"}], "databases": [{"name": "b", "readers": ["a"]}]},
            "database b needs role a, which is absent in roles",
            id="absent-reader",
        ),
        pytest.param(
            {"roles": [{"name": "a", "state": "absent"}, {"name": "b", "member_of": ["a"]}]},
            "role b needs role a, which is absent in roles",
            id="absent-group",
        ),
        pytest.param(
            {
                "roles": [
                    {"name": "a", "member_of": ["b"]},
                    {"name": "b", "member_of": ["c"]},
                    {"name": "c", "member_of": ["a"]},
                ]
            },
            "role a is a member of itself",
            id="cycle-of-three",
        ),
    ],
)
def test_what_does_not_go_together(params, words):
    with pytest.raises(ObjectsError) as refused:
        parse(params)
    assert words in str(refused.value)
    assert "s3cret" not in str(refused.value)


def test_every_problem_is_named_at_once():
    with pytest.raises(ObjectsError) as refused:
        parse({"roles": [{"name": "pg_a"}, {"name": "public"}], "databases": [{"name": "template1"}]})
    assert str(refused.value).count("; ") == 2


def test_passwords_are_found_in_both_places_and_numbers_are_text():
    wanted = parse({"roles": [{"name": "a", "password": "x"}, {"name": "b"}], "passwords": {"a": "x", "b": 12345}})
    assert [one.password for one in wanted.roles] == ["x", "12345"]
    assert "12345" not in repr(wanted)
