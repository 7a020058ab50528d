# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read from pgBackRest, where a recovery begins, and what a check finds."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils import _pitr_plan as plan
from ansible_collections.shipshape.stack.plugins.module_utils import _pitr_report as report
from ansible_collections.shipshape.stack.plugins.module_utils._backup_manifest import BackupError

# As pgBackRest 2.55 said it.
INFO = [
    {
        "archive": [
            {
                "database": {"id": 1, "repo-key": 1},
                "id": "17-1",
                "max": "000000010000000000000005",
                "min": "000000010000000000000001",
            }
        ],
        "backup": [
            {
                "archive": {"start": "000000010000000000000002", "stop": "000000010000000000000003"},
                "backrest": {"format": 5, "version": "2.55.1"},
                "database": {"id": 1, "repo-key": 1},
                "error": False,
                "info": {
                    "delta": 23464350,
                    "repository": {"delta": 2765150, "size": 2765150},
                    "size": 23464350,
                },
                "label": "20261126-173722F",
                "lsn": {"start": "0/2000028", "stop": "0/3000050"},
                "prior": None,
                "reference": None,
                "timestamp": {"start": 1795714642, "stop": 1795714643},
                "type": "full",
            },
            {
                "archive": {"start": "000000010000000000000004", "stop": "000000010000000000000005"},
                "backrest": {"format": 5, "version": "2.55.1"},
                "database": {"id": 1, "repo-key": 1},
                "error": False,
                "info": {"delta": 8450, "repository": {"delta": 370, "size": 2765154}, "size": 23464350},
                "label": "20261126-173722F_20261126-173723D",
                "lsn": {"start": "0/4000028", "stop": "0/5000050"},
                "prior": "20261126-173722F",
                "reference": ["20261126-173722F"],
                "timestamp": {"start": 1795714643, "stop": 1795714644},
                "type": "diff",
            },
        ],
        "cipher": "none",
        "db": [{"id": 1, "repo-key": 1, "system-id": 7712534695752804533, "version": "17"}],
        "name": "db1",
        "repo": [{"cipher": "none", "key": 1, "status": {"code": 0, "message": "ok"}}],
        "status": {"code": 0, "lock": {"backup": {"held": False}}, "message": "ok"},
    }
]
MISSING = [
    {
        "archive": [],
        "backup": [],
        "cipher": "none",
        "db": [],
        "name": "db1",
        "repo": [{"cipher": "none", "key": 1, "status": {"code": 1, "message": "missing stanza path"}}],
        "status": {"code": 1, "lock": {"backup": {"held": False}}, "message": "missing stanza path"},
    }
]
ENDED = 1795714644.0
HOUR = 3600.0


def read(document):
    return plan.parse_info(json.dumps(document), "db1")


def test_info_is_read():
    found = read(INFO)
    assert [(each.label, each.kind) for each in found.backups] == [
        ("20261126-173722F", "full"),
        ("20261126-173722F_20261126-173723D", "diff"),
    ]
    assert found.backups[0].first_wal == "000000010000000000000002"
    assert (found.code, found.system_id, found.version) == (0, "7712534695752804533", "17")
    assert found.newest_wal == "000000010000000000000005"
    assert not found.is_missing


def test_a_repository_without_the_stanza_and_what_is_not_json():
    assert read(MISSING).is_missing
    assert read(MISSING).message == "missing stanza path"
    assert read([]).is_missing
    for text in ("", "ERROR: [055]", '{"a": 1}', '[{"name": "db1"}]'):
        with pytest.raises(BackupError, match="not understood"):
            plan.parse_info(text, "db1")


def test_a_backup_with_errors_is_none():
    document = json.loads(json.dumps(INFO))
    document[0]["backup"][1]["error"] = True
    assert len(read(document).backups) == 1


MOMENTS = [
    ("2026-11-26 02:00:00+00", 1795658400.0),
    ("2026-11-26T02:00:00Z", 1795658400.0),
    ("2026-11-26 03:00:00+01:00", 1795658400.0),
    (" 2026-11-26 02:00:00.5+00 ", 1795658400.5),
]


@pytest.mark.parametrize(("text", "epoch"), MOMENTS)
def test_times(text, epoch):
    assert plan.moment(text) == epoch
    assert plan.moment(plan.written(epoch)) == epoch


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("yesterday", "is not a time"),
        ("2026-11-26 02:00:00", "has no time zone"),
        ("2026-13-01 00:00:00+00", "not a time"),
    ],
)
def test_what_is_no_time(text, said):
    with pytest.raises(BackupError, match=said):
        plan.moment(text)


def test_where_a_recovery_begins():
    repository = read(INFO)
    assert plan.base_of(repository, ENDED + 5, ENDED + 9).kind == "diff"
    assert plan.base_of(repository, ENDED - 0.5, ENDED + 9).kind == "full"
    with pytest.raises(BackupError, match="before the first backup"):
        plan.base_of(repository, ENDED - 2, ENDED + 9)
    with pytest.raises(BackupError, match="in the future"):
        plan.base_of(repository, ENDED + 10, ENDED + 9)
    with pytest.raises(BackupError, match="there is no backup"):
        plan.base_of(read(MISSING), ENDED, ENDED)


# At 200 the server was recovered to 100, and at 300 to 150: that is on the timeline of before.
RECORDS = [{"left": 1, "target": 100.0, "began": 200.0}, {"left": 2, "target": 150.0, "began": 300.0}]


@pytest.mark.parametrize(("target", "timeline"), [(50, 1), (150, 1), (199, 1), (200, 2), (299, 2), (300, 3), (999, 3)])
def test_the_timeline_that_was_live(target, timeline):
    assert plan.timeline_at(reversed(RECORDS), target, 3) == timeline


def test_without_a_recovery_the_timeline_is_the_server_s():
    assert plan.timeline_at([], 5, 4) == 4


@pytest.mark.parametrize(("target", "label"), [(99, "a"), (190, "b"), (250, "a"), (299, "c"), (320, "a"), (400, "d")])
def test_a_backup_that_was_undone_is_not_begun_with(target, label):
    one = read(INFO).backups[0]
    times = {"a": 90.0, "b": 180.0, "c": 290.0, "d": 350.0}
    repository = replace(read(INFO), backups=tuple(replace(one, label=name, ended=at) for name, at in times.items()))
    assert plan.base_of(repository, target, 1000, RECORDS).label == label


def test_what_is_due():
    assert plan.due(read(MISSING), ENDED) == "full"
    assert plan.due(read(INFO), ENDED + 25 * HOUR) is None
    assert plan.due(read(INFO), ENDED + 27 * HOUR) == "diff"


def listing(*names):
    return {f"17-1/{name[:16]}/{name}-{'a1' * 20}.zst": {"type": "file"} for name in names}


def test_segments_of_a_listing():
    names = listing("000000010000000000000001")
    names["17-1/0000000100000000/000000010000000000000002.00000028.backup"] = {}
    names["17-1/00000002.history"] = {}
    names[f"17-1/0000000100000000/000000010000000000000003.partial-{'a1' * 20}.zst"] = {}
    assert plan.segments(names) == {"000000010000000000000001"}


GAPS = [
    (["01", "02", "03"], "01", []),
    (["01", "03"], "01", ["02"]),
    (["01", "03"], "03", []),
    (["02", "03"], "01", ["01"]),
    (["01", "09"], "01", ["02", "03", "04"]),
    ([], "01", ["01"]),
]


@pytest.mark.parametrize(("there", "first", "missing"), GAPS)
def test_gaps(there, first, missing):
    head = "0000000100000000000000"
    found = plan.gaps({head + name for name in there}, head + first, 16 << 20)
    assert found == [head + name for name in missing]


def test_gaps_over_the_end_of_a_file_number_and_on_another_timeline():
    there = {"0000000100000000000000FF", "000000010000000100000000", "000000020000000100000005"}
    assert plan.gaps(there, "0000000100000000000000FF", 16 << 20) == []
    assert plan.gaps(
        there - {"000000010000000100000000"} | {"000000010000000100000001"}, "0000000100000000000000FF", 16 << 20
    ) == ["000000010000000100000000"]
    # Segments of 1 GiB: four in a file number.
    assert (
        plan.gaps({"000000010000000000000003", "000000010000000100000000"}, "000000010000000000000003", 1 << 30) == []
    )


GIB = 1 << 30
SERVER = plan.Archiver("on", "pgbackrest --stanza=db1 archive-push %p", 0, ENDED + 60, 0.0, "", 0)
WELL = plan.Seen(ENDED + 120, read(INFO), SERVER, repository_free=GIB, wal_free=2 * GIB, queue_max=GIB, stanza="db1")
FINDINGS = [
    ({}, [], 0),
    ({"archiver": replace(SERVER, failed=9, failed_at=ENDED)}, [], 0),
    ({"archiver": replace(SERVER, failed_at=ENDED + 90)}, ["ARCHIVE_FAILING"], 1),
    ({"archiver": replace(SERVER, mode="off")}, ["ARCHIVE_FAILING"], 1),
    ({"archiver": replace(SERVER, command="/bin/true")}, ["ARCHIVE_FAILING"], 1),
    ({"archiver": replace(SERVER, command="pgbackrest --stanza=db10 archive-push %p")}, ["ARCHIVE_FAILING"], 1),
    ({"arrived": "archive a WAL segment: pgbackrest ended with 82"}, ["ARCHIVE_FAILING"], 1),
    ({"missing": ("000000010000000000000006",)}, ["WAL_GAP"], 1),
    ({"now": ENDED + 27 * HOUR}, ["STALE"], 1),
    ({"repository": replace(read(INFO), backups=(), code=2)}, ["STALE"], 1),
    ({"repository_free": 1 << 20}, ["NO_SPACE"], 1),
    ({"repository_free": None, "wal_free": None}, [], 0),
    ({"wal_free": GIB - 1}, ["NO_SPACE"], 1),
    ({"wal_free": GIB - 1, "archiver": replace(SERVER, waiting=1)}, [], 0),
    ({"unknown": ("the server does not answer",), "archiver": None}, ["NOT_READABLE"], 2),
    ({"unknown": ("x",), "missing": ("000000010000000000000006",)}, ["NOT_READABLE", "WAL_GAP"], 1),
    ({"left": "a recovery did not end"}, ["RESTORE_LEFT"], 1),
]


@pytest.mark.parametrize(("change", "names", "status"), FINDINGS)
def test_what_a_check_finds(change, names, status):
    found = plan.findings(replace(WELL, **change))
    assert [each["id"] for each in found] == names
    assert all(each["message"] and each["hint"] for each in found)
    assert plan.status(found) == status


def test_a_failing_archive_says_what_waits():
    seen = replace(WELL, arrived="no room", archiver=replace(SERVER, waiting=3))
    assert "48.0 MiB wait in pg_wal, and from 1.0 GiB on WAL is dropped" in plan.findings(seen)[0]["message"]


def test_metrics():
    text = report.metrics(WELL, [])
    assert "shipshape_pitr_ok 1\n" in text
    assert f'shipshape_pitr_backup_timestamp_seconds{{type="diff"}} {ENDED:.0f}\n' in text
    assert "shipshape_pitr_archive_queue_bytes 0\n" in text
    text = report.metrics(replace(WELL, archiver=None, wal_free=None), [{"id": "WAL_GAP"}])
    assert "shipshape_pitr_ok 0\n" in text
    assert 'shipshape_pitr_finding{id="WAL_GAP"} 1\n' in text
    assert "queue_bytes" not in text
    assert "wal_free" not in text


def backup(ended: float, first: int) -> plan.Backup:
    return plan.Backup(f"{ended}", "full", ended, ended, f"0000000100000000{first:08X}", 1, 1)


@pytest.mark.parametrize(
    ("there", "wanted"),
    [
        # Backups begin with segments 2, 5 and 8.
        (range(2, 11), 10.0),
        ({*range(2, 11)} - {4}, 20.0),
        ({*range(2, 11)} - {6}, 30.0),
        ({*range(2, 11)} - {8}, None),
        ({*range(2, 11)} - {3, 6}, 30.0),
    ],
)
def test_from_when_on_any_time_can_be_recovered(there, wanted):
    backups = [backup(10.0, 2), backup(20.0, 5), backup(30.0, 8)]
    names = {f"0000000100000000{each:08X}" for each in there}
    assert plan.window(backups, names, 16 << 20) == wanted


def test_the_table():
    text = report.table(read(INFO), ENDED - 1, ENDED + HOUR)
    assert "20261126-173722F_20261126-173723D  diff  2026-11-26 17:37:24+00" in text
    assert "Any time from 2026-11-26 17:37:23+00 on" in text
    assert "WAL is missing since the newest backup" in report.table(read(INFO), None, ENDED + HOUR)
    assert "missing stanza path" in report.table(read(MISSING), None, ENDED)
