# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of Ansible: told apart by real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils import _controller_run as core

# Says who it is, and who a process is that it split off; then it goes on until it is told to end.
PROGRAM = """
import json, os, sys
from _controller_run import identity
read, write = os.pipe()
if not os.fork():
    os.write(write, json.dumps(identity({})).encode())
    os._exit(0)
os.wait()
print(json.dumps([identity({}), json.loads(os.read(read, 9999))]), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other():
    folder = os.path.dirname(core.__file__)
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": folder},
    ) as process:
        yield process
        process.kill()


def test_a_run_is_the_same_in_each_of_its_processes_and_not_another(other):
    itself, child = json.loads(other.stdout.readline())
    assert itself == child
    assert itself["pid"] == other.pid
    assert itself["id"] != core.identity({})["id"]


def test_what_is_given_is_kept():
    assert core.identity({"by": "alice", "job": "7"}).items() >= {"by": "alice", "job": "7"}.items()


def test_a_run_lives_until_its_process_ends(other):
    run = json.loads(other.stdout.readline())[0]
    assert core.lives(run)
    other.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
    assert not core.lives(run), "a process that nobody has waited for is dead"
    other.wait()
    assert not core.lives(run)


def test_another_process_with_its_number_is_another_run():
    assert not core.lives({**core.identity({}), "started": "before"})


def test_a_run_of_another_controller_is_taken_to_live():
    assert core.lives({**core.identity({}), "place": "elsewhere", "pid": 1, "started": ""})
    assert core.lives({})


def test_without_proc_ps_says_the_same(monkeypatch, tmp_path, other):
    run = json.loads(other.stdout.readline())[0]
    monkeypatch.setattr(core, "PROC", tmp_path)
    found = core._from_ps(other.pid)
    assert (found.pid, found.parent) == (other.pid, os.getpid())
    assert core.identity({})["pid"] == core.identity({})["pid"]
    assert core._from_ps(2**22 + 1) is None
    assert core.lives(run), "without /proc it is another place"
