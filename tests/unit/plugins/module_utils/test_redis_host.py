# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the files of a host say of a server that is down."""

from __future__ import annotations

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils._redis_host import log_folder, login_advice
from ansible_collections.shipshape.stack.plugins.module_utils._redis_plan import Flavour


class Elsewhere(Flavour):
    """A server whose files lie where a test may write."""

    @property
    def folder(self):
        return self.name


@pytest.mark.parametrize(
    ("lines", "files", "found"),
    [
        pytest.param("appendonly yes", ["appendonlydir/1.aof"], "appendonlydir", id="there"),
        pytest.param("appendonly yes\nappenddirname log", ["log/1.aof"], "log", id="by-another-name"),
        # Started on it, it would be empty, and so would the dump that it writes.
        pytest.param("appendonly yes", [], "", id="missing"),
        pytest.param("appendonly yes", ["appendonlydir/"], "", id="empty"),
        pytest.param("appendonly no", ["appendonlydir/1.aof"], "", id="off-and-left-behind"),
        pytest.param("", ["appendonlydir/1.aof"], "", id="no-configuration-of-ours"),
    ],
)
def test_an_append_only_file_that_only_our_configuration_reads(tmp_path, lines, files, found):
    flavour = Elsewhere(str(tmp_path))
    (tmp_path / "shipshape.conf").write_text(f"dir {tmp_path}\n{lines}\n" if lines else "", encoding="utf-8")
    for name in files:
        path = tmp_path / name
        (path if name.endswith("/") else path.parent).mkdir()
        if not name.endswith("/"):
            path.touch()
    assert log_folder(flavour) == (f"{tmp_path}/{found}" if found else "")


@pytest.mark.parametrize(
    ("ours", "lines", "words"),
    [
        (False, "", "redis.conf, as requirepass"),
        (True, 'appendonly yes\nsave ""', "which writes all keys to the disk"),
        (True, "appendonly no\nsave 900 1", "which writes all keys to the disk"),
        (True, 'appendonly no\nsave ""', "the keys are lost with the server's next stop"),
    ],
)
def test_what_lets_us_in_again(tmp_path, ours, lines, words):
    (tmp_path / "shipshape.conf").write_text(lines, encoding="utf-8")
    if ours:
        (tmp_path / "shipshape.acl").touch()
    advice = login_advice(Elsewhere(str(tmp_path)))
    assert words.removeprefix("redis") in advice
    assert ("systemctl stop" in advice) is ours
