"""What a restore has replaced comes back, wherever it was cut off, and can be tried again."""

from __future__ import annotations

import contextlib
import json

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils import _backup_undo as undo
from ansible_collections.shipshape.stack.plugins.module_utils._backup_manifest import BackupError


class Killed(BaseException):
    """As by SIGKILL: nothing cleans up."""


def restore(folder, log, cut):
    """The old file goes aside and a new one comes, with a folder beside; cut off before one of five steps."""
    steps = [
        lambda: log.rename(folder / "data", folder / "data.before"),
        lambda: log.made(folder / "data"),
        lambda: (folder / "data").write_text("new"),
        lambda: log.made(folder / "log"),
        (folder / "log").mkdir,
    ]
    for number, step in enumerate(steps):
        if number == cut:
            raise Killed
        step()


@pytest.mark.parametrize("cut", range(6))
def test_wherever_it_is_cut_off_the_old_is_back(tmp_path, cut):
    (tmp_path / "data").write_text("old")
    path = tmp_path / "restore"
    log = undo.UndoLog(path, "20261126T020000Z")
    with contextlib.suppress(Killed):
        restore(tmp_path, log, cut)
    assert [json.loads(each.read_text())["what"] for each in undo.steps_left(path)] == ["20261126T020000Z"] * min(
        sum(number in (0, 1, 3) for number in range(cut)), 3
    )
    for _twice in range(2):
        assert undo.undo(path, {}) == []
        assert sorted(each.name for each in tmp_path.iterdir()) == ["data"]
        assert (tmp_path / "data").read_text() == "old"
    assert not path.exists()


def test_one_that_ended_well_is_not_undone(tmp_path):
    (tmp_path / "data").write_text("old")
    log = undo.UndoLog(tmp_path / "restore", "x")
    restore(tmp_path, log, None)
    log.done()
    assert undo.undo(tmp_path / "restore", {}) == []
    assert (tmp_path / "data").read_text() == "new"


def test_what_cannot_be_undone_is_told_and_tried_again(tmp_path):
    path, fails = tmp_path / "restore", [True]
    (tmp_path / "data").write_text("old")
    log = undo.UndoLog(path, "x")
    log.note("database", name="shop")
    log.rename(tmp_path / "data", tmp_path / "data.before")

    def names_back(step):
        if fails:
            fails.pop()
            raise BackupError(f"{step['name']} is in use")

    assert undo.undo(path, {"database": names_back}) == ["shop is in use"]
    # The rest is back all the same.
    assert (tmp_path / "data").read_text() == "old"
    assert path.exists()
    assert undo.undo(path, {"database": names_back}) == []
    assert not path.exists()


def test_a_second_attempt_leaves_alone_what_the_first_has_put_back(tmp_path):
    """The old file has its name again, and the step that made the new one of that name must not be undone twice."""
    path, fails = tmp_path / "restore", [True]
    (tmp_path / "data").write_text("old")
    log = undo.UndoLog(path, "x")
    log.note("database", name="shop")
    restore(tmp_path, log, None)

    def names_back(_step):
        if fails:
            fails.pop()
            raise BackupError("in use")

    assert undo.undo(path, {"database": names_back}) == ["in use"]
    assert [json.loads(each.read_text())["kind"] for each in undo.steps_left(path)] == ["database"]
    assert undo.undo(path, {"database": names_back}) == []
    assert (tmp_path / "data").read_text() == "old"


def test_a_service_is_stopped_again_while_its_data_are_not_back(tmp_path, monkeypatch):
    said, fails = [], [True, True]
    monkeypatch.setattr(undo, "systemctl", lambda verb, unit: said.append(verb))
    monkeypatch.setattr(undo, "is_active", lambda unit: True)
    monkeypatch.setattr(undo, "execute", lambda *_words, **_more: None)

    def fail(_step):
        if fails:
            fails.pop()
            raise BackupError("no room")

    path = tmp_path / "restore"
    log = undo.UndoLog(path, "x")
    log.stop("redis-server.service")
    log.note("files")
    for problems in (["no room"], ["no room"], []):
        said.clear()
        assert undo.undo(path, {"files": fail}) == problems
        assert said == ["stop", "start"]
    assert not path.exists()


def test_a_service_that_did_not_run_is_not_started(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(undo, "systemctl", lambda verb, unit: said.append(verb))
    monkeypatch.setattr(undo, "is_active", lambda unit: False)
    undo.UndoLog(tmp_path / "restore", "x").stop("redis-server.service")
    assert undo.undo(tmp_path / "restore", {}) == []
    assert said == ["stop", "stop"]


def test_a_step_that_cannot_be_read_is_left_to_people(tmp_path):
    path = tmp_path / "restore"
    undo.UndoLog(path, "x").made(tmp_path / "data")
    (tmp_path / "data").write_text("new")
    (path / "000001.json").write_text("torn")
    assert "cannot be read" in undo.undo(path, {})[0]
    assert [each.name for each in undo.steps_left(path)] == ["000001.json"]
    assert not (tmp_path / "data").exists()
    # And who gives up keeps it.
    kept = []
    undo.put_aside(path, kept.append)
    assert (kept[0].exists(), path.exists()) == (True, False)
