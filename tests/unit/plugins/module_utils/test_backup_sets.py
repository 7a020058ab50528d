"""Whether a restore was killed, whatever it was doing."""

from __future__ import annotations

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils._backup_sets import Store

CONFIG = {"folder": "", "state_folder": ""}


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("restore.json", '{"what": "20261126T020000Z", "steps": []}', "a restore of 20261126T020000Z was killed"),
        ("pitr-restore.json", '{"unit": "postgresql@17-main"}', "a restore was killed"),
        ("stopped.json", '{"units": ["shop.service"]}', "a restore was killed"),
        ("state.json", "{}", ""),
    ],
)
def test_what_a_killed_restore_left_is_told(tmp_path, file, text, said):
    store = Store({**CONFIG, "state_folder": str(tmp_path)})
    (tmp_path / file).write_text(text)
    found = store.unfinished()
    assert (found.startswith(said), "`shipshape restore mend`" in found) == (True, bool(said))
    assert bool(found) == bool(said)
