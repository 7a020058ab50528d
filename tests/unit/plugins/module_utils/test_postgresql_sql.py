"""Quoting: whatever a name or a value holds, it stays one name or one value."""

from __future__ import annotations

import re

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils._postgresql_sql import (
    SETTING,
    grantee,
    ident,
    items,
    literal,
    name_problem,
    same_setting,
    set_to,
    text,
)
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("name", "quoted"),
    [
        pytest.param("shop", '"shop"', id="plain"),
        pytest.param("Shop", '"Shop"', id="case"),
        pytest.param("user", '"user"', id="keyword"),
        pytest.param('a"b', '"a""b"', id="quote"),
        pytest.param('"; DROP DATABASE shop; --', '"""; DROP DATABASE shop; --"', id="injection"),
        pytest.param("größe", '"größe"', id="letters"),
        pytest.param("x" * 63, f'"{"x" * 63}"', id="longest"),
    ],
)
def test_ident(name, quoted):
    assert ident(name) == quoted == grantee(name)


def test_everybody_has_no_name():
    assert grantee("") == "PUBLIC"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        pytest.param("", "is empty", id="empty"),
        pytest.param("a\0", "NUL", id="nul"),
        pytest.param("a\nb", "line break", id="line-break"),
        pytest.param("x" * 64, "63 bytes", id="long"),
        pytest.param("ß" * 32, "63 bytes", id="long-in-bytes"),
    ],
)
def test_what_is_no_name(name, words):
    assert words in name_problem(name)
    with pytest.raises(ValueError, match=words):
        ident(name)


@pytest.mark.parametrize(
    ("value", "quoted"),
    [
        pytest.param("", "''", id="empty"),
        pytest.param("it's", "'it''s'", id="quote"),
        pytest.param("a\\b", "E'a\\\\b'", id="backslash"),
        pytest.param("\\'", "E'\\\\'''", id="both"),
        pytest.param("a\nb", "'a\nb'", id="line-break"),
    ],
)
def test_literal(value, quoted):
    assert literal(value) == quoted


def test_a_nul_cannot_be_sent():
    with pytest.raises(ValueError, match="NUL"):
        literal("a\0")


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_a_literal_ends_at_its_end_and_is_read_back(value):
    quoted = literal(value)
    escapes = quoted.startswith("E")
    body = quoted.removeprefix("E")[1:-1]
    # As PostgreSQL's scanner reads: '' is a quote, and within E'' a \\ is a backslash.
    assert re.fullmatch(r"(?:[^'\\]|''|\\\\)*" if escapes else r"(?:[^']|'')*", body)
    assert escapes == ("\\" in value)
    assert body.replace("\\\\", "\\").replace("''", "'") == value


@pytest.mark.parametrize(
    ("value", "names"),
    [
        pytest.param("public", ["public"], id="one"),
        pytest.param('"$user", public', ["$user", "public"], id="two"),
        pytest.param("App,public", ["app", "public"], id="folded"),
        pytest.param('"App", "a""b,c"', ["App", 'a"b,c'], id="quoted"),
        pytest.param("", [""], id="empty"),
        pytest.param('""', [""], id="nothing"),
    ],
)
def test_items(value, names):
    assert items(value) == names


@pytest.mark.parametrize("value", ['"open', '"a"b', 'a"b"'])
def test_what_is_no_list(value):
    with pytest.raises(ValueError, match="is not a list of names"):
        items(value)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=1))
def test_quoted_items_are_read_back(names):
    escaped = [name.replace('"', '""') for name in names]
    assert items(", ".join(f'"{name}"' for name in escaped)) == names


@pytest.mark.parametrize(
    ("name", "current", "wanted", "same"),
    [
        pytest.param("search_path", '"$user", public', '"$user",public', True, id="list"),
        pytest.param("Search_Path", '"App"', "App", False, id="list-folded"),
        pytest.param("work_mem", "8MB", "8MB", True, id="value"),
        pytest.param("work_mem", "8MB", "8192kB", False, id="another-value"),
    ],
)
def test_same_setting(name, current, wanted, same):
    assert same_setting(name, current, wanted) == same


@pytest.mark.parametrize(
    ("name", "value", "sql"),
    [
        pytest.param("work_mem", "8MB", """SET "work_mem" TO '8MB'""", id="value"),
        pytest.param("app.tenant", "o'x", """SET "app"."tenant" TO 'o''x'""", id="of-an-extension"),
        pytest.param("search_path", 'App, "$user"', """SET "search_path" TO 'app', '$user'""", id="list"),
        pytest.param("search_path", "", """SET "search_path" TO ''""", id="empty-list"),
    ],
)
def test_set_to(name, value, sql):
    assert set_to(name, value) == sql


@pytest.mark.parametrize(("value", "written"), [(True, "on"), (False, "off"), (8, "8"), (0.5, "0.5"), ("8MB", "8MB")])
def test_text(value, written):
    assert text(value) == written


@pytest.mark.parametrize(
    ("name", "good"), [("work_mem", True), ("a.b", True), ("a b", False), ("a;", False), ("", False)]
)
def test_names_of_settings(name, good):
    assert bool(SETTING.fullmatch(name)) == good
