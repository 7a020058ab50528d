"""What killed verifications left is removed, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils import _verify_work as work


@pytest.mark.parametrize("prefix", work.PREFIXES)
def test_only_what_is_marked_and_nobodys_goes(tmp_path, prefix):
    marks = {"dead": "999999 12\n", "torn": "", "alive": work.mark(), "unmarked": None}
    for name, text in marks.items():
        (tmp_path / f"{prefix}{name}").mkdir()
        if text is not None:
            (tmp_path / f"{prefix}{name}" / work.MARK).write_text(text)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / work.MARK).write_text("999999 12\n")
    work.clear(str(tmp_path))
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted(["mine", f"{prefix}alive", f"{prefix}unmarked"])


def test_a_workspace_goes_with_its_block(tmp_path):
    with work.workspace(str(tmp_path), work.UNPACKED, "decode") as folder:
        assert work.alive(Path(folder, work.MARK).read_text(encoding="utf-8"))
    assert list(tmp_path.iterdir()) == []
