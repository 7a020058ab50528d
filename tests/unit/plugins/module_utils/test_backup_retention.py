"""Laws of what is removed: never below the floor, never twice, never after a failure, by name and not by touch."""

from __future__ import annotations

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils._backup_manifest import began, set_id
from ansible_collections.shipshape.stack.plugins.module_utils._backup_retention import Known, plan
from hypothesis import given
from hypothesis import strategies as st

NOW = 1795658400.0  # 2026-11-26 02:00 UTC, a Thursday
DAY = 86400
KEYS = ["keep_last", "keep_hourly", "keep_daily", "keep_weekly", "keep_monthly", "keep_yearly"]
POLICIES = st.dictionaries(
    st.sampled_from(["daily", "hourly"]), st.dictionaries(st.sampled_from(KEYS), st.integers(0, 5), max_size=6)
)
SETS = st.lists(
    st.builds(
        Known,
        st.integers(0, 900 * 24).map(lambda hours: set_id(NOW - hours * 3600)),
        st.sampled_from(["daily", "hourly", "manual"]),
        st.booleans(),
    ),
    unique_by=lambda each: each.name,
    max_size=40,
)


def days(*numbers, verified=(), schedule="daily"):
    return [Known(set_id(NOW - each * DAY), schedule, each in verified) for each in numbers]


def kept(sets, policy, floor=0, **options):
    decided = plan(sets, {"daily": policy}, floor, NOW, **options)
    return [round((NOW - each) / DAY) for each in sorted(map(began, decided.keep), reverse=True)]


CASES = [
    ({"keep_last": 2}, [0, 1]),
    ({"keep_daily": 3}, [0, 1, 2]),
    # Thursday; the weeks before end on Sundays, 4, 11 and 18 days ago.
    ({"keep_weekly": 3}, [0, 4, 11]),
    ({"keep_monthly": 2}, [0, 26]),
    ({"keep_yearly": 2}, [0]),
    ({"keep_daily": 2, "keep_weekly": 2}, [0, 1, 4]),
    ({}, list(range(30))),
]


@pytest.mark.parametrize(("policy", "wanted"), CASES)
def test_grandfather_father_son(policy, wanted):
    assert kept(days(*range(30)), policy) == wanted


def test_what_was_verified_outlives_any_number_of_sets_that_were_not():
    sets = days(*range(60), verified=(40, 50, 55))
    assert kept(sets, {"keep_daily": 30}, floor=2) == [*range(30), 40, 50]


def test_a_set_that_failed_takes_no_good_ones_place():
    sets = [
        Known(each.name, "daily", number in (4, 5), number in (0, 1, 2)) for number, each in enumerate(days(*range(9)))
    ]
    # The three newest are broken, and stay as they would have anyway; three good ones stay beside.
    assert kept(sets, {"keep_daily": 3}, floor=1) == [0, 1, 2, 3, 4, 5]
    assert kept(days(*range(9)), {"keep_daily": 3}) == [0, 1, 2]


def test_a_failed_run_removes_nothing():
    decided = plan(days(*range(30)), {"daily": {"keep_last": 1}}, 0, NOW, run_ok=False)
    assert decided.remove == ()
    assert "failed" in decided.refused


def test_a_clock_that_was_wrong_removes_nothing():
    decided = plan(days(-400, *range(30)), {"daily": {"keep_last": 1}}, 0, NOW)
    assert decided.remove == ()
    assert "clock" in decided.refused


def test_the_set_that_was_just_made_stays_whatever_the_policy_says():
    sets = days(0, 1, 2)
    assert set_id(NOW - 2 * DAY) in plan(sets, {"daily": {"keep_last": 1}}, 0, NOW, True, [sets[2].name]).keep


@given(SETS, POLICIES, st.integers(0, 4))
def test_laws(sets, policies, floor):
    decided = plan(sets, policies, floor, NOW)
    names = {each.name for each in sets}
    assert set(decided.keep) | set(decided.remove) == names
    assert not set(decided.keep) & set(decided.remove)
    left = [each for each in sets if each.name in decided.keep]
    # A second plan is empty.
    assert plan(left, policies, floor, NOW).remove == ()
    # The order that the sets are found in says nothing.
    assert plan(sets[::-1], policies, floor, NOW) == decided
    for schedule in {each.schedule for each in sets}:
        own = [each for each in sets if each.schedule == schedule]
        verified = [each for each in own if each.verified]
        still = [each for each in verified if each.name in decided.keep]
        assert len(still) >= min(floor, len(verified))
        # Never all of them.
        newest = max(own, key=lambda each: each.name)
        assert newest.name in decided.keep
