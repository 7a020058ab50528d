# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What findings make of a backup, and what of the options is refused."""

from __future__ import annotations

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils import _verify_model as model
from ansible_collections.shipshape.stack.plugins.module_utils._backup_manifest import BackupError
from ansible_collections.shipshape.stack.plugins.module_utils._verify_engine import unasked
from ansible_collections.shipshape.stack.plugins.module_utils._verify_options import DEFAULTS, refuse_wrong
from hypothesis import given
from hypothesis import strategies as st

FINDINGS = st.lists(st.sampled_from(sorted(model.FINDINGS)).map(lambda name: model.finding(name, "x")))


@given(FINDINGS)
def test_only_what_has_nothing_against_it_has_passed(findings):
    assert (model.verdict(findings) == model.PASSED) == (not findings)


@given(FINDINGS, FINDINGS)
def test_more_findings_never_make_it_better(some, more):
    order = (model.PASSED, model.UNVERIFIED, model.FAILED)
    assert order.index(model.verdict([*some, *more])) >= order.index(model.verdict(some))


@given(FINDINGS, st.sampled_from(model.LEVELS))
def test_the_level_that_is_reached_is_below_all_that_was_found(findings, wanted):
    got = model.reached(findings, wanted)
    number = model.LEVELS.index(got) if got else -1
    assert number <= model.LEVELS.index(wanted)
    assert all(number < model.LEVELS.index(each.level) for each in findings)


@given(st.lists(st.sampled_from([model.PASSED, model.FAILED, model.UNVERIFIED])))
def test_many_have_passed_if_each_has_and_there_is_one(verdicts):
    assert (model.worst(verdicts) == model.PASSED) == (set(verdicts) == {model.PASSED})


@pytest.mark.parametrize(
    ("kind", "wanted", "level"),
    [
        ("pg_custom", "integrity", "integrity"),
        ("output", "restore", "checksum"),
        ("tar", "rows", "decode"),
        ("redis_rdb", "integrity", "rows"),
        ("sqlite", "exists", "exists"),
        ("pg_dir", "integrity", "integrity"),
        ("basebackup", "restore", "decode"),
        ("restic", "restore", "decode"),
        ("borg", "checksum", "checksum"),
    ],
)
def test_a_kind_is_proven_to_its_own_last_level(kind, wanted, level):
    assert model.highest(kind, wanted) == level


def test_an_ignored_finding_does_not_count_and_is_still_told():
    stale, cut = model.finding("STALE", "old"), model.finding("TRUNCATED", "cut")
    assert model.unless_ignored([stale, cut], [{"id": "STALE", "reason": "known"}]) == ([cut], [stale])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ignore": [{"id": "NOTHING", "reason": "x"}]}, "'NOTHING' is no finding"),
        ({"ignore": [{"id": "STALE", "reason": " "}]}, "STALE has no reason"),
        ({"row_tolerance": 101}, "row_tolerance is 101"),
        ({"size_tolerance": -1}, "size_tolerance is -1"),
        ({"read_percent": 0}, "read_percent is 0"),
        ({"read_percent": 101}, "read_percent is 101"),
        ({"max_age": -1}, "max_age is -1"),
        ({"min_size": -1}, "min_size is -1"),
        ({"timeout": 0}, "timeout is 0"),
        ({"checks": [{"name": "x", "query": "SELECT 1"}]}, "'x' needs one of expect and max_age"),
        ({"checks": [{"name": "x", "query": "SELECT 1", "expect": "1", "max_age": 1}]}, "needs one of"),
    ],
)
def test_what_is_wrong_with_options(options, words):
    with pytest.raises(BackupError, match=words.replace("(", r"\(")):
        refuse_wrong({**DEFAULTS, **options})


@pytest.mark.parametrize("percent", [1, 50, 100])
def test_a_sample_is_a_percentage(percent):
    refuse_wrong({**DEFAULTS, "read_percent": percent})


def test_the_defaults_are_right():
    refuse_wrong(DEFAULTS)


CHECK = {"name": "all", "query": "SELECT 1", "expect": "1"}


@pytest.mark.parametrize(
    ("artefacts", "left"),
    [
        ([{"verdict": "passed"}], ["all"]),
        ([{"verdict": "passed", "checks": []}], ["all"]),
        ([{"verdict": "passed", "checks": [{"name": "all", "passed": True}]}, {"verdict": "passed"}], []),
        ([{"verdict": "unverified"}], []),
    ],
)
def test_a_check_that_nobody_was_asked_is_told(artefacts, left):
    assert unasked({"checks": [CHECK]}, artefacts) == left
    assert unasked({"checks": []}, artefacts) == []
