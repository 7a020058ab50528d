# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A line for each verification, and metrics of the newest of each series."""

from __future__ import annotations

import json
import stat
import threading

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils import _verify_history as history

REPORT = {
    "level_requested": "restore",
    "verdict": "passed",
    "artefacts": [{"findings": []}],
    "seconds": 2.00049,
    "rto_seconds": 1.5,
    "rpo_seconds": 60.0,
}
BAD = {
    **REPORT,
    "verdict": "failed",
    "artefacts": [{"findings": [{"id": "TRUNCATED"}, {"id": "STALE"}]}, {"findings": [{"id": "STALE"}]}],
    "rto_seconds": None,
}


def test_a_line_says_what_came_of_it():
    assert history.line("20261126T020000Z", REPORT, 1000.0, "set", 60, 90000) == {
        "time": 1000.0,
        "artefact": "20261126T020000Z",
        "series": "set",
        "level": "restore",
        "verdict": "passed",
        "findings": [],
        "seconds": 2.0,
        "rto_seconds": 1.5,
        "rpo_seconds": 60.0,
        "rto_target": 60,
        "rpo_target": 90000,
    }


def test_a_line_has_each_finding_once_and_nothing_that_is_not_known():
    found = history.line("/a", BAD, 1.0)
    assert found["findings"] == ["STALE", "TRUNCATED"]
    assert found["series"] == "/a"
    assert not {"rto_seconds", "rto_target", "rpo_target"} & found.keys()


def samples(text: str) -> dict[str, float]:
    rows = [each.rpartition(" ") for each in text.splitlines() if not each.startswith("#")]
    return {name: float(value) for name, _space, value in rows}


def test_metrics_are_the_newest_of_each_series():
    lines = [
        history.line("a", REPORT, 10.0, "set", rto_target=60),
        history.line("b", BAD, 20.0, "set", rto_target=60),
        history.line("/x", REPORT, 30.0),
    ]
    found = samples(history.metrics(lines))
    assert found['shipshape_verify_verdict{series="set",level="restore",verdict="failed"}'] == 1
    assert found['shipshape_verify_verdict{series="set",level="restore",verdict="passed"}'] == 0
    assert found['shipshape_verify_last_passed_timestamp_seconds{series="set"}'] == 10
    assert found['shipshape_verify_timestamp_seconds{series="set"}'] == 20
    assert 'shipshape_verify_rto_seconds{series="set"}' not in found
    assert found['shipshape_verify_rto_target_seconds{series="set"}'] == 60
    assert found['shipshape_verify_rto_seconds{series="/x"}'] == 1.5
    assert found['shipshape_verify_last_passed_timestamp_seconds{series="/x"}'] == 30


def test_what_never_passed_has_a_time_of_0():
    found = samples(history.metrics([history.line("a", BAD, 10.0)]))
    assert found['shipshape_verify_last_passed_timestamp_seconds{series="a"}'] == 0


def test_each_metric_is_described_once_and_a_name_breaks_no_line():
    text = history.metrics([history.line('a"\\\nb', REPORT, 1.0), history.line("c", REPORT, 2.0)])
    heads = [each for each in text.splitlines() if each.startswith("# TYPE")]
    assert len(heads) == len(set(heads)) > 4
    assert 'series="a\\"\\\\\\nb"' in text
    assert all(" " in each for each in text.splitlines())


def test_the_oldest_lines_give_way_and_a_broken_one_takes_no_other_along(tmp_path):
    path = tmp_path / "history.jsonl"
    path.write_text('{"time": 1\n[]\n{"time": 1}\n')
    for number in range(5):
        lines = history.append(path, history.line("a", REPORT, float(number)), keep=3)
    assert [each["time"] for each in lines] == [2, 3, 4]
    assert [json.loads(each)["time"] for each in path.read_text().splitlines()] == [2, 3, 4]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["history.jsonl"]


def test_two_at_once_lose_no_line(tmp_path):
    path = tmp_path / "h"
    work = [
        threading.Thread(target=history.append, args=(path, history.line(str(each), REPORT, 1.0))) for each in range(20)
    ]
    for each in work:
        each.start()
    for each in work:
        each.join()
    assert sorted(int(each["artefact"]) for each in history.parsed(path.read_text())) == list(range(20))


def test_both_files_are_written(tmp_path):
    new = history.line("a", REPORT, 1.0)
    assert not history.record(new, tmp_path / "h", tmp_path / "m.prom")
    assert history.parsed((tmp_path / "h").read_text()) == [new]
    assert (tmp_path / "m.prom").read_text() == history.metrics([new])
    assert stat.S_IMODE((tmp_path / "m.prom").stat().st_mode) == 0o644


@pytest.mark.parametrize("name", ["nowhere/x", ""])
def test_what_cannot_be_written_is_told_and_the_other_file_is(tmp_path, name):
    bad = tmp_path / name
    new = history.line("a", REPORT, 1.0)
    found = history.record(new, bad, tmp_path / "m")
    assert [(each.id, each.severity) for each in found] == [("HISTORY_NOT_WRITTEN", "warning")]
    assert str(bad) in found[0].message
    assert (tmp_path / "m").exists()
    found = history.record(new, tmp_path / "h", bad)
    assert [each.id for each in found] == ["METRICS_NOT_WRITTEN"]
    assert (tmp_path / "h").exists()


def test_nothing_is_written_that_was_not_asked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert not history.record(history.line("a", REPORT, 1.0))
    assert not list(tmp_path.iterdir())
