# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a swap of nginx' tree takes, and that there is nothing left to do after it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_swap import (
    ROOT,
    Facts,
    Plan,
    Wanted,
    changed_files,
    diff,
    plan,
    successors,
    unplaced,
)
from hypothesis import given
from hypothesis import strategies as st

WANTED, OTHER = "aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb"
DONE = Facts(WANTED, WANTED, True, True, True, True, WANTED, True)
FRESH = Facts(placeholders=("shop",))
STATUS = ("127.0.0.1", 8081)
FILES = {"nginx.conf": "include @GENERATION@/sites/a.conf; # @ID@\n", "sites/a.conf": "server {}\n"}
NAMES = st.sampled_from(["", WANTED, OTHER])
FACTS = st.builds(
    Facts, NAMES, NAMES, st.booleans(), st.booleans(), st.booleans(), st.booleans(), NAMES, st.booleans(),
    st.sampled_from([(), ("shop",), ("shop", "blog")]),
).map(lambda facts: replace(facts, same=facts.same and facts.exists))  # fmt: skip


def carried_out(todo: Plan, facts: Facts) -> Facts:
    """What the host is like when a plan has been followed, as _nginx_change does it."""
    now = replace(facts, enabled=facts.enabled or todo.enable)
    if todo.write:
        now = replace(now, exists=True, same=True)
    if todo.swap:
        now = replace(now, live=WANTED)
    if todo.placeholders:
        now = replace(now, placeholders=())
    if todo.activates:
        now = replace(now, running=True, serving=now.live, proven=now.live, listening=True)
    return now


@given(FACTS)
def test_a_second_plan_is_empty(facts):
    now = carried_out(plan(WANTED, facts), facts)
    assert plan(WANTED, now) == Plan()
    assert now == DONE


@given(FACTS)
def test_no_step_is_taken_without_a_reload_or_a_start_but_to_enable_it(facts):
    todo = plan(WANTED, facts)
    assert not (todo.start and todo.reload)
    if not todo.activates:
        assert replace(todo, enable=False) == Plan()


@given(FACTS)
def test_a_folder_that_is_live_is_never_away(facts):
    todo = plan(WANTED, facts)
    assert todo.exchange == (todo.write and facts.exists and facts.live == WANTED)


CASES = {
    "nothing": (DONE, Plan()),
    "fresh": (FRESH, Plan(("shop",), write=True, swap=True, start=True, enable=True)),
    "package": (Facts(running=True, enabled=True), Plan(write=True, swap=True, reload=True)),
    "changed": (
        Facts(OTHER, OTHER, False, False, True, True, OTHER, True),
        Plan(write=True, swap=True, reload=True),
    ),
    "back to the one before": (replace(DONE, live=OTHER, proven=OTHER, serving=OTHER), Plan(swap=True, reload=True)),
    "changed by hand": (replace(DONE, same=False), Plan(write=True, exchange=True, reload=True)),
    "killed after the swap": (replace(DONE, proven=OTHER, serving=OTHER), Plan(reload=True)),
    "killed before it was kept": (replace(DONE, proven=OTHER), Plan(reload=True)),
    "runs something else": (replace(DONE, serving=""), Plan(reload=True)),
    "does not listen": (replace(DONE, listening=False), Plan(reload=True)),
    "stopped": (replace(DONE, running=False, serving="", listening=False), Plan(start=True)),
    "disabled": (replace(DONE, enabled=False), Plan(enable=True)),
    "certificate gone": (replace(DONE, placeholders=("shop",)), Plan(("shop",), reload=True)),
}


@pytest.mark.parametrize("case", CASES)
def test_plan(case):
    facts, todo = CASES[case]
    assert plan(WANTED, facts) == todo
    assert todo.changes == (case != "nothing")


def wanted(files):
    return Wanted(files, (), STATUS)


def test_the_identity_is_that_of_the_content():
    name = wanted(FILES).identity
    assert len(name) == 16
    assert int(name, 16) >= 0
    assert wanted(dict(reversed(FILES.items()))).identity == name
    assert wanted({**FILES, "sites/a.conf": "server { }\n"}).identity != name
    assert wanted({"a": "bc"}).identity != wanted({"ab": "c"}).identity
    assert replace(wanted(FILES), listeners=(("::", 80, "tcp"),)).identity == name


PARTS = st.sampled_from(["@GENERATION@/", "@ID@", "server {}", "\n", "\udcff", "é"])
TREES = st.dictionaries(st.sampled_from(["nginx.conf", "sites/a.conf", "b"]), st.lists(PARTS).map("".join), min_size=1)


@given(TREES)
def test_what_is_placed_can_be_read_as_it_was_written(files):
    one = wanted(files)
    placed = one.placed()
    assert not [text for text in placed.values() if "@GENERATION@" in text or "@ID@" in text]
    assert unplaced(placed, one.identity) == files


def test_where_it_is_placed():
    one = wanted(FILES)
    assert one.placed()["nginx.conf"] == f"include {ROOT}/{one.identity}/sites/a.conf; # {one.identity}\n"
    assert one.placed("/run/x")["nginx.conf"].startswith("include /run/x/sites/a.conf;")
    assert unplaced({"nginx.conf": "user www-data;\n"}, "") == {"nginx.conf": "user www-data;\n"}


def test_a_difference_is_told_by_file():
    after = {**FILES, "sites/b.conf": "server { listen 81; }\n"}
    before = {**FILES, "sites/old.conf": "x\n"}
    assert changed_files(before, after) == ["sites/b.conf", "sites/old.conf"]
    told = diff(before, after, Plan(("shop",), start=True, enable=True))
    assert [each["after_header"] for each in told] == ["sites/b.conf", "sites/old.conf", "nginx.service"]
    assert told[1] == {
        "before": "x\n",
        "after": "",
        "before_header": "sites/old.conf",
        "after_header": "sites/old.conf",
    }
    assert told[2]["before"] == "stopped\ndisabled\n"
    assert told[2]["after"] == "started\nenabled\na placeholder for the certificate shop\n"
    assert diff(FILES, FILES, Plan(reload=True)) == []
    assert diff({}, {"nginx.conf": "x"}, Plan())[0]["after_header"] == "/etc/nginx/nginx.conf"


def site(*names):
    return "".join(f'ssl_certificate "/etc/nginx/tls/{name}/current/fullchain.pem";\n' for name in names)


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ({"sites/a.conf": site("old")}, {"sites/a.conf": site("new")}, {"new": "old"}),
        ({"sites/a.conf": site("old")}, {"sites/a.conf": site("old")}, {}),
        ({"sites/a.conf": site("old")}, {"sites/b.conf": site("new")}, {}),
        ({"sites/a.conf": site("old", "two")}, {"sites/a.conf": site("new")}, {}),
        ({"sites/a.conf": ""}, {"sites/a.conf": site("new")}, {}),
        ({}, {"sites/a.conf": site("new")}, {}),
    ],
)
def test_a_site_whose_certificate_has_another_name_says_which_it_had(before, after, found):
    assert successors(before, after) == found
