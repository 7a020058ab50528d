# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One command: what it says, and that it ends."""

from __future__ import annotations

import signal
import time

from ansible_collections.shipshape.stack.plugins.module_utils._run_command import run_command


def test_what_it_says_and_how_it_ended():
    assert run_command(["sh", "-c", "echo out; echo err >&2; exit 3"]) == (3, "out\n", "err\n")
    assert run_command(["sh", "-c", "printf $GIVEN-$LC_ALL"], {"GIVEN": "x"})[1] == "x-C.UTF-8"


def test_a_program_that_is_not_there():
    assert run_command(["/no/such/program"]) == (127, "", "/no/such/program: No such file or directory")


def test_it_ends_with_its_children():
    start = time.monotonic()
    assert run_command(["sh", "-c", "sleep 60 & sleep 60"], seconds=0.2) == (124, "", "no answer within 0.2 s")
    assert time.monotonic() - start < 5


def test_it_may_put_its_things_in_order_first(tmp_path):
    script = f"trap 'touch {tmp_path}/ordered; exit' TERM; while :; do sleep 0.05; done"
    assert run_command(["sh", "-c", script], seconds=0.5, ending=signal.SIGTERM)[0] == 124
    assert (tmp_path / "ordered").exists()
