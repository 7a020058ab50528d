# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One transaction from the request to the result: all of it or nothing of it."""

from __future__ import annotations

import os
import secrets
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.shipshape.stack.plugins.module_utils import _config_files as files
from ansible_collections.shipshape.stack.plugins.module_utils._config_diff import diff, mask
from ansible_collections.shipshape.stack.plugins.module_utils._config_entries import Request
from ansible_collections.shipshape.stack.plugins.module_utils._config_journal import Journal, make_root, recover_all
from ansible_collections.shipshape.stack.plugins.module_utils._config_plan import Plan, Step, plan
from ansible_collections.shipshape.stack.plugins.module_utils._config_restore import (
    ROOT,
    UNITS,
    ConfigError,
    Record,
    lock,
    restore,
    sync_directory,
)
from ansible_collections.shipshape.stack.plugins.module_utils._config_rollback import Guard, Run
from ansible_collections.shipshape.stack.plugins.module_utils._run_command import run_command

LOCK_SECONDS = 30.0


class CommandError(ConfigError):
    """A command's verdict, with what it said."""

    def __init__(self, message: str, result: dict[str, Any]) -> None:
        super().__init__(message)
        self.result = result


def no_hook(_point: str) -> None:
    """Where a test stands to fail or to kill."""


@dataclass(frozen=True)
class Tools:
    """The world outside; tests bring their own."""

    run: Run = run_command
    root: str = ROOT
    units: str = UNITS
    booted: str = "/run/systemd/system"
    wait: float = LOCK_SECONDS
    hook: Callable[[str], None] = no_hook


@dataclass(frozen=True)
class Transaction:
    request: Request
    plan: Plan
    journal: Journal
    guard: Guard
    tools: Tools

    def run(self) -> list[str]:
        """Returns the backup files made. On any failure, everything is as it was before, and the reason is raised."""
        txid = secrets.token_hex(4)
        pairs = [(step, files.record(step, txid, number)) for number, step in enumerate(self.plan.steps)]
        backups = [(step, files.backup_record(step)) for step in self.plan.steps]
        copies = [(step, entry) for step, entry in backups if entry is not None]
        records = [entry for _step, entry in pairs] + [entry for _step, entry in copies]
        for entry in records:
            files.note_inode(entry)
        was_armed = self.guard.armed
        try:
            self.journal.begin(txid, records, self._guard_data())
            self.tools.hook("begin")
            self._arm()
            self._carry_out(pairs, copies)
            if self.request.named:
                self.journal.commit(txid, self.plan.changed_files, records, self._guard_data())
        except BaseException as exc:
            if (self.journal.pending or {}).get("txid") != txid:  # else it stands already: a signal came late
                self._undo(records, exc, was_armed)
            raise
        self.tools.hook("commit")
        self.journal.finish()
        return [entry["dest"] for _step, entry in copies]

    def _guard_data(self) -> dict[str, Any] | None:
        """What the switch needs to know; an earlier call's stays in force when this one asks for none."""
        wanted = self.request.rollback
        if wanted:
            return {"seconds": wanted.seconds, "command": list(wanted.command)}
        return (self.journal.pending or {}).get("guard")

    def _arm(self) -> None:
        if self.request.rollback:
            self.guard.arm(self.request.rollback.seconds, self.journal.restore_program)
            self.tools.hook("armed")

    def _carry_out(self, pairs: list[tuple[Step, Record]], copies: list[tuple[Step, Record]]) -> None:
        """Whatever needs space or may be refused comes before the first rename."""
        for step, entry in pairs:
            if entry["kind"] in ("file", "link"):
                files.keep_inode(step.dest, entry["aside"])
                self.tools.hook(f"aside:{step.dest}")
        for step, entry in copies:
            files.keep_inode(step.dest, os.path.basename(entry["dest"]))
        for step, _entry in pairs:
            if step.action in ("mkdir", "attributes"):
                files.make_directory(step.wanted, exists=step.action == "attributes")
                self.tools.hook(f"swap:{step.dest}")
        for step, entry in pairs:
            if step.action in ("put", "link"):
                path = files.make_temp(step, entry)
                self.tools.hook(f"temp:{step.dest}")
                if step.action == "put" and step.wanted.validate:
                    self._check([part.replace("%s", path) for part in step.wanted.validate], f"{step.dest}: ")
        folders = sorted({os.path.dirname(step.dest) for step, _entry in pairs})
        for folder in folders:  # the old state's names are on the disk before the first new one is
            sync_directory(folder)
        for step, entry in pairs:
            if step.action in ("put", "link", "remove"):
                files.swap(step, entry)
                self.tools.hook(f"swap:{step.dest}")
        for folder in folders:
            sync_directory(folder)
        for command in self.request.validate:
            self._check(command, "")
            self.tools.hook("validated")

    def _check(self, command: Sequence[str], where: str) -> None:
        rc, out, err = self.tools.run(command)
        if rc == 0:
            return
        hidden = [each.content for each in self.request.wanted if each.no_log and each.kind == "file"]
        hidden += [step.current.content or b"" for step in self.plan.steps if step.wanted.no_log]
        out, err = mask(out, hidden), mask(err, hidden)
        text = " ".join(part for part in (out.strip(), err.strip()) if part)
        raise CommandError(
            f"{where}`{shlex.join(command)}` refuses the new configuration (rc {rc}): {text or 'no output'}",
            {"cmd": list(command), "rc": rc, "stdout": out, "stderr": err},
        )

    def _undo(self, records: list[Record], cause: BaseException, was_armed: bool) -> None:
        try:
            restore(records)
        except ConfigError as exc:  # the journal stays: the next run tries again
            raise ConfigError(f"{cause}; then {exc}") from cause
        if not was_armed:  # an earlier call's clock runs on; ours goes before the journal that it would look for
            self.guard.disarm()
        self.journal.abort()


def _refuse(found: Plan) -> None:
    problems = [*found.problems, *found.missing]
    problems += [text for text in (files.obstacle(step) for step in found.steps) if text and not problems]
    if problems:
        raise ConfigError("nothing was changed: " + "; ".join(problems))


def _result(found: Plan, pending: dict[str, Any] | None, recovered: Sequence[str], armed: bool) -> dict[str, Any]:
    waiting = sorted({*(pending or {"files": []})["files"], *found.changed_files})
    told = {"msg": f"An interrupted run was put back first: {', '.join(recovered)}."} if recovered else {}
    return {
        **told,
        "changed": bool(waiting or recovered),
        "changed_files": found.changed_files,
        "pending_files": waiting,
        "recovered": bool(recovered),
        "rollback_armed": armed,
        "backup_files": [],
        "diff": diff(found),
    }


def _survey(request: Request) -> Plan:
    states, doomed = files.survey(request.wanted, request.purge)
    return plan(states, request.wanted, doomed)


def predict(request: Request, tools: Tools) -> dict[str, Any]:
    """What converge() would do; writes nothing, and a fresh host is no reason to fail."""
    journal, guard = Journal(tools.root, request.name), Guard(request.name, tools.run, tools.units, tools.booted)
    if request.confirm:
        return _result(Plan(), journal.pending, (), guard.armed)
    found = _survey(request)
    if found.problems:
        raise ConfigError("; ".join(found.problems))
    result = _result(found, journal.pending, (), guard.armed)
    if journal.interrupted:
        result["changed"] = True
        result["msg"] = f"An interrupted run of {request.name} is to be recovered first; its files are shown half-way."
    return result


def _confirm(journal: Journal, guard: Guard) -> dict[str, Any]:
    if journal.pending is None:
        guard.disarm()
        if journal.rolled_back:
            raise ConfigError(
                f"too late, the old files are back: {journal.rolled_back}. Find out what took so long; run it again"
            )
        return _result(Plan(), None, (), False)
    guard.disarm()
    journal.confirm()
    return {**_result(Plan(), None, (), False), "changed": True}


def _recover(tools: Tools) -> list[str]:
    return recover_all(tools.root, lambda name: Guard(name, tools.run, tools.units, tools.booted).disarm())


def recover(tools: Tools) -> list[str]:
    """Put back what killed runs left half-way; for a caller that works its request out from what the files say."""
    make_root(tools.root)
    with lock(tools.root, tools.wait):
        return _recover(tools)


def converge(request: Request, tools: Tools) -> dict[str, Any]:
    journal, guard = Journal(tools.root, request.name), Guard(request.name, tools.run, tools.units, tools.booted)
    make_root(tools.root)
    with lock(tools.root, tools.wait):
        recovered = _recover(tools)
        if request.confirm:
            return _confirm(journal, guard)
        found = _survey(request)
        _refuse(found)
        if request.rollback and found.steps:
            guard.require_systemd()
        pending, backups = journal.pending, []
        if found.steps:
            backups = Transaction(request, found, journal, guard, tools).run()
            journal.clear_record()
        elif pending and guard.armed and request.rollback:  # the handlers get the whole time once more
            guard.arm(request.rollback.seconds, journal.restore_program)
        elif not pending:
            journal.clear_record()  # what was rolled back once is not wanted any more, or is there
        return {**_result(found, pending, recovered, guard.armed), "backup_files": backups}
