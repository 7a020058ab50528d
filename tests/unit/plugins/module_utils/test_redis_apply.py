# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of what is asked of a server, where a real one would have to be caught in the same moment."""

from __future__ import annotations

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils import _redis_apply as live
from ansible_collections.shipshape.stack.plugins.module_utils._redis_plan import RedisError

IDLE = {
    "rdb_bgsave_in_progress": "0",
    "aof_rewrite_in_progress": "0",
    "aof_rewrite_scheduled": "0",
    "aof_enabled": "1",
    "aof_last_bgrewrite_status": "ok",
    "aof_last_write_status": "ok",
}
SAVING = {**IDLE, "rdb_bgsave_in_progress": "1", "aof_rewrite_scheduled": "1"}
SCHEDULED = {**IDLE, "aof_rewrite_scheduled": "1"}
REWRITING = {**IDLE, "aof_rewrite_in_progress": "1"}
FAILED = {**SCHEDULED, "aof_last_bgrewrite_status": "err"}


class Scripted:
    """Says of its persistence one thing after the other, and the last one for ever."""

    def __init__(self, *said):
        self.said, self.asked = list(said), []

    def info(self, _section):
        return self.said.pop(0) if len(self.said) > 1 else self.said[0]

    def ask(self, *words):
        self.asked.append(words)
        return ["dir", "/var/lib/redis"]


@pytest.mark.parametrize(
    "said",
    [
        pytest.param([REWRITING], id="at-once"),
        pytest.param([SAVING, SAVING, SCHEDULED, REWRITING], id="held-up-by-a-save"),
        pytest.param([{**SAVING, "aof_last_bgrewrite_status": "err"}, REWRITING], id="held-up-after-an-old-failure"),
    ],
)
def test_the_append_only_file_counts_when_it_is_complete(said):
    server = Scripted(IDLE, *said, IDLE)
    live.append_on(server, 60)
    assert server.said == [IDLE], "it did not wait"
    assert server.asked == [("CONFIG", "SET", "appendonly", "yes")]


@pytest.mark.parametrize("said", [[REWRITING, FAILED], [FAILED]])
def test_an_append_only_file_that_fails_is_off_again(said):
    server = Scripted(IDLE, *said)
    with pytest.raises(RedisError, match="appendonly yes: the append-only file in /var/lib/redis cannot be written"):
        live.append_on(server, 60)
    assert server.asked[-1] == ("CONFIG", "SET", "appendonly", "no")


def test_one_that_never_gets_its_turn_is_off_again():
    server = Scripted(IDLE, SAVING)
    with pytest.raises(RedisError, match="the first append-only file did not end within 0 s"):
        live.append_on(server, 0)
    assert server.asked[-1] == ("CONFIG", "SET", "appendonly", "no")
