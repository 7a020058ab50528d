"""Whether a restore was killed, whatever it was doing."""

from __future__ import annotations

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils._backup_sets import Store

CONFIG = {"folder": "", "state_folder": ""}


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("restore/000000.json", '{"what": "20261126T020000Z", "kind": "made"}', "a restore of 20261126T020000Z was"),
        ("restore/000000.json", "torn", "a restore was"),
        ("pitr-restore.json", '{"unit": "postgresql@17-main"}', "a restore was killed while it replaced"),
        ("stopped.json", '{"units": ["shop.service"]}', "a restore was killed that had stopped things"),
        ("state.json", "{}", ""),
    ],
)
def test_what_a_killed_restore_left_is_told(tmp_path, file, text, said):
    store = Store({**CONFIG, "state_folder": str(tmp_path)})
    (tmp_path / "restore").mkdir()
    (tmp_path / file).write_text(text)
    found = store.unfinished()
    assert (found.startswith(said), "`shipshape restore mend`" in found) == (True, bool(said))
    assert bool(found) == bool(said)
