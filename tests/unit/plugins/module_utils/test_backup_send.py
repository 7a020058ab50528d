"""What a target has held is known apart from what is here, and what it lacks is known, too."""

from __future__ import annotations

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils import _backup_manifest as manifest
from ansible_collections.shipshape.stack.plugins.module_utils import _backup_send as sending
from ansible_collections.shipshape.stack.plugins.module_utils._backup_manifest import BackupError, began
from ansible_collections.shipshape.stack.plugins.module_utils._backup_sets import Store

SET, OLDER = "20261126T020000Z", "20261125T020000Z"
AWAY = {"name": "away", "schedules": ["daily"]}


class Target:
    """One that does what it is told, and counts."""

    def __init__(self, sets=()):
        self.sets, self.opened = list(sets), []

    def open(self, known):
        self.opened.append(known)

    def snapshots(self, _host):
        return {name: {} for name in self.sets}

    def upload(self, folder, _schedule):
        self.sets.append(folder.name)
        return {"snapshot": "x"}


@pytest.fixture
def made(tmp_path, monkeypatch):
    config = {
        "host": "db1",
        "folder": str(tmp_path / "b"),
        "state_folder": str(tmp_path / "s"),
        "copies": [AWAY],
        "schedules": {"daily": {}, "hourly": {}},
    }
    store = Store(config)
    store.prepare()
    for name in (OLDER, SET):
        entry = {"name": "a", "kind": "tar", "component": "files", "size": 1, "sha256": "0" * 64, "source": {}}
        (store.sets / name).mkdir()
        text = manifest.dumps(manifest.build(name, "db1", (1.0, 2.0), "daily", [entry]))
        (store.sets / name / manifest.FILE).write_text(text)
    there = Target()
    monkeypatch.setattr(sending, "target", lambda _options, _host: there)
    return config, store, there


def test_a_new_target_is_begun_and_then_known(made):
    config, store, there = made
    for _twice in range(2):
        sending.send(config, store, AWAY, SET)
    assert there.opened == [False, True]
    # Also when no set that is here has a copy any more.
    store.remember({**store.memory(), "copies": {}})
    sending.send(config, store, AWAY, SET)
    assert there.opened[-1] is True


def test_one_that_was_begun_and_never_held_anything_is_begun_again(made, monkeypatch):
    config, store, there = made

    def killed(*_words):
        raise BackupError("killed")

    monkeypatch.setattr(there, "upload", killed)
    with pytest.raises(BackupError):
        sending.send(config, store, AWAY, SET)
    there.sets.append(OLDER)  # it was there by then
    monkeypatch.undo()
    monkeypatch.setattr(sending, "target", lambda _options, _host: there)
    sending.send(config, store, AWAY, SET)
    assert there.opened == [False, False]


def test_a_new_host_does_not_go_behind_the_sets_of_a_lost_one(made):
    config, store, there = made
    there.sets = [OLDER]
    with pytest.raises(BackupError, match="holds 1 sets of db1, and this host remembers none") as problem:
        sending.send(config, store, AWAY, SET)
    assert "shipshape backup adopt away" in str(problem.value)
    assert there.sets == [OLDER]
    sending.adopt(store, "away", held=True)
    sending.send(config, store, AWAY, SET)
    assert (there.sets, there.opened[-1]) == ([OLDER, SET], True)


def test_what_is_lacking_is_the_newest_of_each_schedule(made):
    config, store, _there = made
    memory = store.memory()
    assert sending.lacking(config, store) == []  # nothing was made by a schedule yet
    memory["schedules"] = {"daily": {"last_set": SET}, "hourly": {"last_set": OLDER}}
    store.remember(memory)
    assert sending.lacking(config, store) == [(AWAY, SET)]  # hourly ones do not go there
    sending.send(config, store, AWAY, SET)
    assert sending.lacking(config, store) == []
    # Made before this host was told to go on behind the sets of a lost one.
    store.remember({**store.memory(), "copies": {}, "targets": {"away": {"begun": began(SET) + 1}}})
    assert sending.lacking(config, store) == []
    store.remember({**store.memory(), "schedules": {"daily": {"last_set": "20261127T020000Z"}}})
    assert sending.lacking(config, store) == []  # it is gone
