# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nginx as it is wanted: what it takes, the change, and what is told of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from ansible_collections.shipshape.stack.plugins.module_utils import _certificate_store as store
from ansible_collections.shipshape.stack.plugins.module_utils import _nginx_host as host
from ansible_collections.shipshape.stack.plugins.module_utils import _nginx_model as model
from ansible_collections.shipshape.stack.plugins.module_utils import _nginx_proof as proof
from ansible_collections.shipshape.stack.plugins.module_utils import _nginx_render as rendering
from ansible_collections.shipshape.stack.plugins.module_utils import _nginx_said as said
from ansible_collections.shipshape.stack.plugins.module_utils import _nginx_swap as core
from ansible_collections.shipshape.stack.plugins.module_utils import _nginx_trial as trial
from ansible_collections.shipshape.stack.plugins.module_utils._config_apply import Tools
from ansible_collections.shipshape.stack.plugins.module_utils._config_files import read_text
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_change import Change, Options, recover
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_swap import Plan, StrandedError, SwapError, Wanted
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_tls import Nginx


def wanted_of(config: dict[str, Any], nginx: Nginx) -> Wanted:
    """From the options, which have to be free of problems, to what shall be served by this nginx.

    With the servers that dynamic upstreams have now, so not before the lock is held.
    """
    return Wanted(
        rendering.render(config, nginx, standing(host.live() or host.marked(host.PROVEN))),
        tuple(rendering.listeners(config, nginx)),
        said.address_of(model.filled(config)["status"]["listen"]),
        tuple(rendering.certificates(config)),
        tuple(rendering.logs(config)),
    )


def look(wanted: Wanted) -> core.Facts:
    name = wanted.identity
    exists, pid = os.path.isdir(host.folder(name)), proof.master()
    return core.Facts(
        live=host.live(),
        proven=host.marked(host.PROVEN),
        exists=exists,
        same=exists and host.read_tree(name) == wanted.placed(),
        running=bool(pid),
        enabled=host.enabled(),
        serving=proof.serving(wanted.status) if pid else "",
        listening=bool(pid) and not said.missing(wanted.listeners, proof.held(pid)),
        placeholders=tuple(each for each in wanted.certificates if not store.target(each)),
    )


def standing(name: str) -> dict[str, str]:
    """A generation as the renderer would have written it; what nginx.conf is where there is none."""
    if name and os.path.isdir(host.folder(name)):
        return core.unplaced(host.read_tree(name), name)
    text = read_text(host.CONF) if os.path.isfile(host.CONF) else ""
    return {core.MAIN: text} if text else {}


# --- the whole --------------------------------------------------------------------------------------------------------


def told(wanted: Wanted, before: dict[str, str], todo: Plan, warnings: list[str]) -> dict[str, Any]:
    return {
        "changed": todo.changes,
        "changed_files": core.changed_files(before, wanted.files),
        "generation": wanted.identity,
        "reloaded": todo.reload,
        "started": todo.start,
        "warned": warnings,
        "diff": core.diff(before, wanted.files, todo),
    }


def ensure(make: Callable[[], Wanted], tools: Tools, options: Options) -> dict[str, Any]:
    """Under the lock from the first look at the live tree on: no change of another run is lost."""
    with store.lock():
        recovered = recover(options)
        wanted = make()
        before, todo = standing(host.live()), core.plan(wanted.identity, look(wanted))
        if not todo.changes and not recovered:
            host.prune()
            return told(wanted, before, todo, [])
        trial.refuse(wanted, todo)
        change = Change(wanted, todo, tools, options)
        change.run()
        host.prune()
        if todo.enable:
            try:
                host.systemctl(tools, "enable")
            except SwapError as exc:
                raise StrandedError(f"Nginx serves the new configuration, but not after the next boot: {exc}") from exc
        result = told(wanted, before, todo, change.warnings)
        return {**result, "changed": result["changed"] or recovered}


def foresee(make: Callable[[], Wanted], tools: Tools, options: Options) -> dict[str, Any]:
    """In check mode: everything but the change, and nothing is left behind."""
    wanted, before = make(), standing(host.live())
    if not host.installed():
        todo = Plan(wanted.certificates, write=True, swap=True, start=True, enable=True)
        return told(wanted, before, todo, [])
    todo, warnings = core.plan(wanted.identity, look(wanted)), []
    trial.refuse(wanted, todo)
    if todo.activates:
        new_logs = [path for path in wanted.logs if not os.path.lexists(path)]
        try:
            with trial.rehearsal(wanted, tools) as (folder, copy):
                warnings = trial.judge(copy, tools, f"{folder}/{core.MAIN}", folder, options.accept_warnings)
        finally:
            trial.drop_empty(new_logs)
    return told(wanted, before, todo, warnings)


def remove(tools: Tools, check_mode: bool) -> dict[str, Any]:
    """Neither server nor files of ours. Real certificates stay: they are not this module's."""
    present = host.installed()
    up, enabled = present and bool(proof.master()), present and host.enabled()
    todo = Plan(start=False)
    before, own = standing(host.live()) if host.live() else {}, host.remains()
    changed = bool(up or enabled or own)
    if changed and not check_mode:
        with store.lock():
            if up or enabled:
                host.systemctl(tools, "disable", "--now")
            host.remove()
    after = {core.MAIN: read_text(host.DISTRIBUTION if check_mode else host.CONF)} if before else {}
    lines = [{"before": f"{name}\n", "after": "", "before_header": "nginx", "after_header": "nginx"} for name in own]
    return {
        "changed": changed,
        "changed_files": core.changed_files(before, after),
        "generation": "",
        "reloaded": False,
        "started": False,
        "diff": [*core.diff(before, after, todo), *lines],
    }
