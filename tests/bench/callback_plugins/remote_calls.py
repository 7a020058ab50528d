"""Counts what a run asks of each host, by role: module calls over the connection, and seconds."""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: remote_calls
type: aggregate
short_description: Counts remote module calls and seconds by role
description: Writes a JSON object of role to calls (of the busiest host) and seconds into REMOTE_CALLS_FILE.
"""

# What runs on the controller only. Whatever else came back from a host was a call.
LOCAL = {
    "add_host",
    "assert",
    "debug",
    "fail",
    "group_by",
    "import_role",
    "include_role",
    "include_tasks",
    "include_vars",
    "meta",
    "set_fact",
    "validate_argument_spec",
}


class CallbackModule(CallbackBase):
    """One row for each role, one for the tasks of the playbook itself."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "remote_calls"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self):
        super().__init__()
        self.calls = defaultdict(lambda: defaultdict(int))
        self.seconds = defaultdict(float)
        self.running = None

    def _row(self, task):
        role = task._role
        return role.get_name(include_role_fqcn=False).rpartition(".")[2] if role else "playbook"

    def _end(self):
        if self.running:
            row, started = self.running
            self.seconds[row] += time.monotonic() - started
        self.running = None

    def _start(self, task):
        self._end()
        self.running = (self._row(task), time.monotonic())

    def v2_playbook_on_task_start(self, task, is_conditional):
        self._start(task)

    def v2_playbook_on_handler_task_start(self, task):
        self._start(task)

    def _count(self, result):
        if result._task.action.rpartition(".")[2] in LOCAL or result._result.get("skipped"):
            return
        items = [item for item in result._result.get("results", [None]) if not (item or {}).get("skipped")]
        calls = len(items) if result._task.loop else 1
        self.calls[self._row(result._task)][result._host.get_name()] += calls

    v2_runner_on_ok = v2_runner_on_failed = _count

    def v2_playbook_on_stats(self, stats):
        self._end()
        table = {
            row: {"calls": max(self.calls[row].values(), default=0), "seconds": round(self.seconds[row], 2)}
            for row in self.seconds
        }
        hosts = {host: stats.summarize(host) for host in stats.processed}
        with open(os.environ["REMOTE_CALLS_FILE"], "w", encoding="utf-8") as handle:
            json.dump({"roles": table, "hosts": hosts}, handle, indent=1)
