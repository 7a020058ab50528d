# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One transaction for nginx: it serves the whole new tree, or what it served before (docs/nginx.md).

A run may be killed anywhere. What is not over has left BACK beside nginx.conf, and the next run begins with that.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field

from ansible_collections.shipshape.stack.plugins.module_utils import _certificate_store as store
from ansible_collections.shipshape.stack.plugins.module_utils import _nginx_host as host
from ansible_collections.shipshape.stack.plugins.module_utils import _nginx_proof as proof
from ansible_collections.shipshape.stack.plugins.module_utils import _nginx_swap as core
from ansible_collections.shipshape.stack.plugins.module_utils import _nginx_trial as trial
from ansible_collections.shipshape.stack.plugins.module_utils._config_apply import Tools
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_swap import Plan, StrandedError, SwapError, Wanted

SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


@dataclass(frozen=True)
class Options:
    accept_warnings: bool = False
    seconds: float = 30


@contextlib.contextmanager
def shielded() -> Iterator[None]:
    """Whoever puts back is not stopped by a second signal."""
    handlers = [signal.signal(number, signal.SIG_IGN) for number in SIGNALS]
    try:
        yield
    finally:
        for number, handler in zip(SIGNALS, handlers):  # noqa: B905 - Python 3.9
            signal.signal(number, handler)


def tell(exc: BaseException) -> str:
    if isinstance(exc, OSError):
        hint = ": make room on its disk" if exc.errno == errno.ENOSPC else ""
        return f"{exc.filename2 or exc.filename or 'nginx'}: {exc.strerror}{hint}."
    return f"{str(exc).rstrip('.')}."


@dataclass
class Change:
    """The steps of a plan, and how to take each of them back."""

    wanted: Wanted
    todo: Plan
    tools: Tools
    options: Options
    warnings: list[str] = field(default_factory=list)
    logs: list[str] = field(default_factory=list)
    placeholders: list[str] = field(default_factory=list)
    lent: dict[str, str] = field(default_factory=dict)
    moved: str = ""  # "renamed" or "exchanged"
    unproven: bool = False
    signalled: bool = False
    proven: str = ""

    def run(self) -> None:
        if not self.todo.activates:
            return
        old, before = host.live(), proof.Before.now()
        texts = host.read_tree(old) if old else {}
        self.lent = core.successors(texts, self.wanted.files)
        with host.staged(self.wanted) if self.todo.write else contextlib.nullcontext("") as made:
            try:
                self._prepare(made)
                self._switch(before)
            except BaseException as exc:
                with shielded():
                    if self._stands():
                        raise
                    now = self._undo(made, proof.Goal.back(old, texts, before), exc)
                raise SwapError(f"{tell(exc)} {now}".strip()) from exc
        host.forget(host.BACK)
        host.forget(host.UNPROVEN)
        self.tools.hook("kept")

    def _stands(self) -> bool:
        """A signal came when all was done already."""
        return self.signalled and self.proven != self.wanted.identity == host.marked(host.PROVEN)

    def _prepare(self, made: str) -> None:
        """All that nobody serves yet, and its test at the place where it will be live."""
        for name in self.todo.placeholders:
            self.placeholders.append(name)
            if not (name in self.lent and store.borrow(name, self.lent[name])):
                store.ensure_placeholder(name, self.tools.run)
        for path in self.wanted.logs:
            if trial.make_log(path):
                self.logs.append(path)
        if self.todo.write:
            self._move(made)
        self.tools.hook("staged")
        folder = host.folder(self.wanted.identity)
        target = f"{folder}/{core.MAIN}"
        self.warnings = trial.judge(self.wanted, self.tools, target, folder, self.options.accept_warnings)
        self.tools.hook("tested")

    def _move(self, made: str) -> None:
        folder = host.folder(self.wanted.identity)
        if os.path.lexists(folder):
            # Until it was loaded it is not proven, whatever its name says.
            if host.marked(host.PROVEN) == self.wanted.identity:
                os.rename(host.PROVEN, host.UNPROVEN)
                self.unproven = True
            host.exchange(made, folder)
            self.moved = "exchanged"
        else:
            os.rename(made, folder)
            self.moved = "renamed"
        host.sync(core.ROOT)

    def _switch(self, before: proof.Before) -> None:
        if self.todo.swap:
            host.swap(self.wanted.identity)
        self.tools.hook("swapped")
        self.proven, self.signalled = host.marked(host.PROVEN), True
        if self.todo.start:
            self._start(before)
        else:
            proof.reload(before)
        self.tools.hook("reloaded")
        proof.prove(before, proof.Goal.of(self.wanted), self.options.seconds)
        self.tools.hook("proven")
        host.mark(self.wanted.identity)

    def _start(self, before: proof.Before) -> None:
        self.tools.run(["systemctl", "reset-failed", host.UNIT])
        try:
            host.systemctl(self.tools, "start")
        except SwapError as exc:
            lines = before.mark.since()
            reason = proof.tell(lines, proof.Goal.of(self.wanted)) if lines else str(exc)
            raise SwapError(f"nginx does not start: {reason}") from exc

    def _undo(self, made: str, goal: proof.Goal, exc: BaseException) -> str:
        """Everything as it was; how it is now."""
        try:
            if self.todo.swap:
                host.swap_back()
            self._move_back(made)
            if self.signalled and self.todo.start:
                host.systemctl(self.tools, "stop")
                return "It is stopped, as it was."
            if not self.signalled or not (self.todo.swap or self.moved):
                return ""
            now = proof.Before.now()
            proof.reload(now)
            proof.prove(now, goal, self.options.seconds)
        except (SwapError, OSError) as second:
            raise StrandedError(
                f"The old configuration is back, but nginx does not run on it as before: {tell(second)} What led to"
                f" it: {tell(exc)}"
            ) from exc
        finally:
            trial.drop_empty(self.logs)
            self._drop_placeholders()
        if goal.name:
            return f"Generation {goal.name} is back, reloaded and proven."
        return "The configuration that was there before is back and reloaded."

    def _move_back(self, made: str) -> None:
        folder = host.folder(self.wanted.identity)
        if self.moved == "exchanged":
            host.exchange(made, folder)
        elif self.moved == "renamed":
            shutil.rmtree(folder, ignore_errors=True)
        if self.unproven:
            os.rename(host.UNPROVEN, host.PROVEN)

    def _drop_placeholders(self) -> None:
        for name in self.placeholders:
            if store.target(name) in (store.PLACEHOLDER, store.BORROWED):
                shutil.rmtree(store.folder(name), ignore_errors=True)
        with contextlib.suppress(OSError):
            os.rmdir(store.ROOT)


def recover(options: Options) -> bool:
    """Take back what a killed run left; whether there was something."""
    if not os.path.lexists(host.BACK):
        return False
    begun = host.live() != host.marked(host.PROVEN)
    if not begun:  # it was over, or had not begun
        host.forget(host.BACK)
        return False
    host.swap_back()
    before, name = proof.Before.now(), host.live()
    goal = proof.Goal.back(name, host.read_tree(name) if name else {}, before)
    if before.master and not (goal.status and proof.serving(goal.status) == name):
        try:
            proof.reload(before)
            proof.prove(before, proof.Goal(name, goal.status, (), goal.texts), options.seconds)
        except SwapError as exc:
            raise StrandedError(
                f"A run was stopped before its end. The configuration before it is back, but nginx does not run on it:"
                f" {exc}"
            ) from exc
    return True
