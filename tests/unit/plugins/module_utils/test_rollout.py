# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release on several hosts: whose turn it is, what stops it, and what is said of it."""

from __future__ import annotations

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils import _rollout as core
from ansible_collections.shipshape.stack.plugins.module_utils import _rollout_report as report
from hypothesis import given
from hypothesis import strategies as st

HOSTS = ["app1", "app2", "app3", "app4", "app5"]
NEW, OLD = "1.1-0123456789ab", "1.0-0123456789ab"


def plan(**keys):
    return {"action": "deploy", "release": NEW, "active_release": OLD, "needs_migration": True, **keys}


def record(**keys):
    return {"plan": plan(), **keys}


def fleet(*found, app="shop"):
    return {host: {app: each} for host, each in zip(HOSTS, found, strict=False)}


FAILURE = {"step": "start", "message": "web-1-b exited with 3", "log": ["Traceback", "KeyError: 'X'"]}


@pytest.mark.parametrize(
    ("batches", "sizes"),
    [
        ([1, "25%", "100%"], [1, 1, 3]),
        ([1], [1, 1, 1, 1, 1]),
        (["100%"], [5]),
        ([2], [2, 2, 1]),
        (["2", 3], [2, 3]),
        (["1%"], [1, 1, 1, 1, 1]),
        (["60%"], [3, 2]),
        ([9], [5]),
    ],
)
def test_batches(batches, sizes):
    rounds = core.rounds(fleet(*[record()] * 5), ["shop"], batches)
    assert [len(each["hosts"]) for each in rounds] == sizes
    assert [host for each in rounds for host in each["hosts"]] == HOSTS


BATCH = st.one_of(st.integers(1, 9), st.integers(1, 100).map("{}%".format))


@given(st.lists(st.booleans(), min_size=1, max_size=5), st.lists(BATCH, min_size=1, max_size=4))
def test_each_host_that_has_to_gets_its_turn_once_and_in_order(moving, batches):
    records = [record() if each else record(plan=plan(action="none")) for each in moving]
    rounds = core.rounds(fleet(*records), ["shop"], batches)
    assert [host for each in rounds for host in each["hosts"]] == [
        host for host, each in zip(HOSTS, moving, strict=False) if each
    ]


def test_apps_have_their_turn_one_after_the_other_and_those_that_failed_none():
    known = {
        "app1": {"shop": record(), "mail": record(), "wiki": record()},
        "app2": {"shop": record(), "mail": {"failure": FAILURE}, "wiki": record(plan=plan(action="none"))},
    }
    assert core.rounds(known, ["shop", "mail", "wiki"], ["100%"]) == [
        {"app": "shop", "hosts": ["app1", "app2"]},
        {"app": "wiki", "hosts": ["app1"]},
    ]
    assert [core.failed(known, app) for app in ("shop", "mail", "wiki")] == [False, True, False]


@pytest.mark.parametrize(
    ("records", "host"),
    [
        pytest.param([record(), record()], "app1", id="the-first"),
        pytest.param([record(plan=plan(action="heal")), record()], "app1", id="which-has-something-to-do"),
        pytest.param([record(plan=plan(action="none")), record()], "app2", id="the-first-that-has-something-to-do"),
        pytest.param([record(plan=plan(needs_migration=False)), record()], "", id="it-was-done-on-another"),
        pytest.param([record(), record(failure=FAILURE)], "", id="nobody-after-a-failure"),
        pytest.param([record(plan=plan(action="none"))], "", id="nothing-to-do"),
    ],
)
def test_who_migrates(records, host):
    assert core.migrates(fleet(*records), "shop") == host


def test_hosts_that_would_come_apart_are_named():
    same = fleet(record(), record(plan=plan(action="none")), {"failure": FAILURE})
    assert core.divided(same, "shop") == ""
    told = core.divided(fleet(record(), record(plan=plan(release=OLD)), record()), "shop")
    assert f"{NEW} on app1 and app3, {OLD} on app2" in told
    assert "-e app_stack_release=ID" in told


@given(st.integers(0, 3600))
def test_a_watch_is_as_long_in_parts_as_in_one(seconds):
    parts = core.slices(seconds)
    assert sum(parts) == seconds
    assert 1 <= len(parts) <= core.MOST_SLICES
    assert max(parts) - min(parts) <= 1
    assert len(parts) == 1 or min(parts) >= core.LEAST_SECONDS


@pytest.mark.parametrize(
    ("counts", "ratio", "told"),
    [
        ([], 0.01, ""),
        ([{"skipped": True}], 0.01, ""),
        ([{"requests": 0, "errors": {}}], 0, ""),
        ([{"requests": 100, "errors": {"a:1": 1}}], 0.01, ""),
        ([{"requests": 3, "errors": {"a:1": 1}}], 0.01, ""),
        ([{"requests": 3, "errors": {"a:1": 1}}], 0, "1 of 3 requests to it failed"),
        ([{"requests": 3, "errors": {"a:1": 2}}], 0.01, "2 of 3 requests to it failed"),
        ([{"requests": 100, "errors": {"a:1": 1}}] * 2, 0.009, "2 of 200 requests"),
        (
            [{"requests": 10, "errors": {"a:2": 3}}, {"requests": 10, "errors": {"a:1": 1, "a:2": 1}}],
            0.2,
            "a:1 (1), a:2 (4)",
        ),
        ([{"requests": 1000, "errors": {"a:1": 10}}], 0.01, ""),
        ([{"requests": 1000, "errors": {"a:1": 11}}], 0.01, "allows: a:1 (11)"),
    ],
)
def test_errors_that_are_too_many(counts, ratio, told):
    found = core.failing(counts, ratio)
    assert told in found
    assert bool(told) == bool(found)


@pytest.mark.parametrize(
    ("result", "task", "kept"),
    [
        pytest.param(
            {"msg": "it exited", "log": ["a", "b"], "invocation": {"module_args": {"step": "start"}}},
            "step | Ask",
            {"step": "start", "message": "it exited", "log": ["a", "b"]},
            id="a-step",
        ),
        pytest.param(
            {"msg": "non-zero return code", "stderr_lines": [str(each) for each in range(30)]},
            "migrate | Back up",
            {"step": "back up", "message": "non-zero return code", "log": [str(each) for each in range(10, 30)]},
            id="a-command",
        ),
        pytest.param(
            {"msg": "Task failed: Action failed: no"},
            "watch | Refuse it",
            {"step": "refuse it", "message": "Action failed: no", "log": []},
            id="what-ansible-adds",
        ),
        pytest.param(
            {"msg": "One or more items failed", "results": [{"msg": "fine"}, {"msg": "nginx refuses", "failed": True}]},
            "Switch",
            {"step": "switch", "message": "nginx refuses", "log": []},
            id="an-item",
        ),
        pytest.param(
            {"results": [{"msg": "no route", "unreachable": True}]},
            "Switch",
            {"step": "switch", "message": "no route", "log": []},
            id="an-item-that-was-not-there",
        ),
        pytest.param(
            {"module_stderr": "Traceback"}, "A", {"step": "a", "message": "Traceback", "log": []}, id="a-crash"
        ),
        pytest.param({}, "A", {"step": "a", "message": "no reason was given", "log": []}, id="silence"),
    ],
)
def test_what_is_kept_of_a_failure(result, task, kept):
    assert core.failure(result, task) == kept


@pytest.mark.parametrize(
    ("names", "text"), [([], "nothing"), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")]
)
def test_names_are_listed(names, text):
    assert report.listed(names) == text


def test_a_rollout_that_went_well():
    known = fleet(record(end="finished"), record(end="finished"), record(plan=plan(action="none"), end="finished"))
    assert report.problem(known, ["shop"]) == ""
    assert report.summary(known, ["shop"]) == [
        f"shop: {NEW} is live on app1 and app2",
        f"shop: {NEW} runs already on app3",
    ]
    assert report.summary(fleet(record()), ["shop"], True) == [f"shop: {NEW} would be live (deploy) on app1"]


def test_a_release_that_failed_says_where_why_and_what_was_undone():
    known = fleet(record(end="undone"), record(failure=FAILURE, end="undone"), record(plan=plan(action="none")))
    assert report.summary(known, ["shop"]) == []
    assert report.problem(known, ["shop"]).splitlines() == [
        f"shop: {NEW} was not released.",
        "app2 failed (start): web-1-b exited with 3",
        "The last of its log:",
        "  | Traceback",
        "  | KeyError: 'X'",
        f"Undone on app1 and app2: the traffic is with {OLD} again, and the new containers are gone.",
        "Nothing was begun on app3.",
    ]


def test_the_first_release_has_nothing_to_go_back_to():
    told = report.problem(fleet(record(plan=plan(active_release=None), failure=FAILURE, end="undone")), ["shop"])
    assert "Undone on app1: nothing of the app serves, as before" in told


def test_hosts_that_fail_alike_are_told_of_once():
    told = report.problem(fleet({"failure": FAILURE}, {"failure": FAILURE}), ["shop"])
    assert told.startswith("shop was not released.\napp1 and app2 failed (start)")
    assert told.count("KeyError") == 1


def test_what_could_not_be_undone_is_said():
    lost = {"step": "reach the host", "message": "no route", "log": []}
    told = report.problem(fleet(record(failure=lost, trouble=lost, end="stuck"), record(end="undone")), ["shop"])
    assert told.count("no route") == 1
    assert "Not all was undone on app1: run the same again once the host is well." in told
    told = report.problem(fleet(record(failure=FAILURE, trouble=lost, end="stuck")), ["shop"])
    assert "app1 failed at the end (reach the host): no route" in told


def test_a_release_that_is_live_and_left_something_undone_is_a_failure_too():
    drain = {"step": "finish", "message": "Docker does not answer", "log": []}
    told = report.problem(fleet(record(end="finished"), record(end="finished", trouble=drain)), ["shop"])
    assert told.splitlines() == [
        f"shop: {NEW} is live, but not all is in order.",
        "app2 failed at the end (finish): Docker does not answer",
        "app1 and app2: the new release serves.",
    ]


def test_each_app_is_told_of_by_itself():
    known = {"app1": {"shop": record(end="finished"), "mail": record(failure=FAILURE, end="undone")}}
    assert report.problem(known, ["shop", "mail"]).startswith(f"mail: {NEW} was not released.")
    assert report.summary(known, ["shop", "mail"]) == [f"shop: {NEW} is live on app1"]
