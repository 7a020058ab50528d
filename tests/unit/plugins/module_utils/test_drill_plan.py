"""Which sets a drill takes, what it makes of them, and what is kept."""

from __future__ import annotations

import json

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils import _drill_plan as plan
from ansible_collections.shipshape.stack.plugins.module_utils import _drill_run as runner
from ansible_collections.shipshape.stack.plugins.module_utils._backup_sets import Store
from ansible_collections.shipshape.stack.plugins.module_utils._verify_history import metrics
from hypothesis import given
from hypothesis import strategies as st

D1, D2, H1, H2, M1 = (
    "20261125T020000Z", "20261126T020000Z", "20261126T030000Z", "20261126T040000Z", "20261126T050000Z",
)  # fmt: skip
NOW = 1795665600.0  # 2026-11-26T04:00:00Z


@pytest.mark.parametrize(
    ("sets", "schedules", "wanted"),
    [
        ([], ["daily"], []),
        ([(D1, "daily", "ab"), (D2, "daily", "ab")], ["daily"], [D2]),
        # What is in the hourly one need not come from the daily one.
        ([(D1, "daily", "abr"), (D2, "daily", "abr"), (H1, "hourly", "r")], ["daily", "hourly"], [H1, D2]),
        # One by hand that is newer has it all.
        ([(D2, "daily", "ab"), (H1, "hourly", "r"), (M1, "manual", "abr")], ["daily", "hourly"], [M1]),
        # What is not backed up any more is in old sets only.
        ([(D1, "manual", "abz"), (D2, "daily", "ab")], ["daily"], [D2]),
        # Only by hand so far.
        ([(D1, "manual", "ab")], ["daily"], [D1]),
        # The newest cannot be read: it is looked at, and so is what can be.
        ([(D1, "daily", "ab"), (D2, "", "")], ["daily"], [D2, D1]),
        ([(D1, "", ""), (D2, "daily", "ab")], ["daily"], [D2]),
    ],
)
def test_which_sets(sets, schedules, wanted):
    assert plan.selection(sets, schedules) == wanted


SOME = st.tuples(st.sampled_from([D1, D2, H1, H2, M1]), st.sampled_from("dh"), st.sets(st.sampled_from("abc")))


@given(st.lists(SOME, unique_by=lambda each: each[0]))
def test_what_the_newest_of_each_schedule_has_is_in_them(sets):
    chosen = set(plan.selection(sets, ["d", "h"]))
    have = set().union(*(names for name, _schedule, names in sets if name in chosen))
    for schedule in "dh":
        newest = max((each for each in sets if each[1] == schedule), default=("", "", set()))
        assert newest[2] <= have


def report(verdict="passed", seconds=10.0, durations=None, findings=()):
    artefact = {"path": "/s/a.dump", "verdict": verdict, "durations": durations or {}, "findings": list(findings)}
    return {"verdict": verdict, "seconds": seconds, "artefacts": [artefact]}


def made(*reports, lacking=(), targets=(60, 86400), ignore=()):
    brought = [plan.Brought(D2, "away", 2.0, each) for each in reports]
    return plan.result(brought, lacking, "integrity", targets, NOW, ignore)


ROWS = {"id": "ROW_DROP", "message": "few", "hint": "look"}


@pytest.mark.parametrize(
    ("reports", "options", "verdict", "ids"),
    [
        ([report()], {}, "passed", []),
        ([report()], {"targets": (0, 0)}, "passed", []),
        ([report(seconds=59.0)], {}, "failed", ["RTO_EXCEEDED"]),
        # Indexes are not waited for.
        ([report(seconds=59.0, durations={"integrity": 50.0})], {}, "passed", []),
        ([report()], {"targets": (60, 7199)}, "failed", ["RPO_EXCEEDED"]),
        ([report("failed", findings=[ROWS])], {}, "failed", ["ROW_DROP"]),
        ([report("unverified")], {}, "unverified", []),
        ([report(), report("failed", findings=[ROWS])], {}, "failed", ["ROW_DROP"]),
        ([report()], {"lacking": [("OFFSITE_MISSING", "away has no x")]}, "failed", ["OFFSITE_MISSING"]),
        ([report()], {"targets": (60, 7199), "ignore": ["RPO_EXCEEDED"]}, "passed", []),
        ([report(seconds=59.0)], {"ignore": ["RPO_EXCEEDED"]}, "failed", ["RTO_EXCEEDED"]),
        ([], {}, "unverified", []),
    ],
)
def test_verdicts(reports, options, verdict, ids):
    found = made(*reports, **options)
    assert (found["verdict"], [each["id"] for each in found["findings"]]) == (verdict, ids)
    json.dumps(found)


def test_figures_and_what_is_kept():
    found = made(report(durations={"queries": 1.0, "integrity": 2.0}))
    assert (found["rto_seconds"], found["rpo_seconds"]) == (9.0, 7200.0)
    kept = plan.line(found)
    assert (kept["artefact"], kept["source"], kept["findings"]) == (D2, "away", [])
    assert plan.summary(found)[0] == f"drill passed up to integrity: {D2} from away"
    assert next(iter(plan.rows([kept])))[1:5] == ("passed", "away", "9 s of 60 s", "2 h of 24 h")
    # What verifications are written by writes drills, too.
    text = metrics([kept, {**kept, "time": NOW + 60, "verdict": "failed"}])
    assert 'shipshape_verify_verdict{series="drill",level="integrity",verdict="failed"} 1\n' in text
    assert f'shipshape_verify_last_passed_timestamp_seconds{{series="drill"}} {NOW}\n' in text
    assert 'shipshape_verify_rto_target_seconds{series="drill"} 60\n' in text


class Away:
    """A copy of the daily sets."""

    name, options = "away", {"schedules": ["daily"]}


@pytest.mark.parametrize(
    ("here", "away", "chosen"),
    [
        # A copy that is behind is what there would be after a fire.
        ([(D1, "daily", ("a",)), (D2, "daily", ("a",))], {D1: "daily"}, [D1]),
        # What does not go there is taken from here.
        ([(D2, "daily", ("a",)), (H1, "hourly", ("r",))], {D2: "daily"}, [H1, D2]),
        # A host that has lost all of its own.
        ([], {D1: "daily", D2: "daily"}, [D2]),
        # The copy of one that is torn here.
        ([(D1, "daily", ("a",)), (D2, "", ())], {D1: "daily", D2: "daily"}, [D2]),
        ([(D1, "daily", ("a",))], {}, []),
    ],
)
def test_what_a_drill_from_a_copy_takes(here, away, chosen):
    there = {name: {"schedule": schedule} for name, schedule in away.items()}
    assert plan.selection(runner._candidates(Away, here, there), ["daily", "hourly"]) == chosen


def test_a_history_survives_a_torn_line(tmp_path):
    config = {"folder": str(tmp_path / "b"), "state_folder": str(tmp_path / "s"), "metrics_file": ""}
    for _each in range(3):
        assert runner.remember(config, made(report())) == []
    with (tmp_path / "s" / runner.HISTORY).open("a") as file:
        file.write('{"verdict": "pas')
    assert [each["verdict"] for each in runner.history(Store(config))] == ["passed"] * 3
