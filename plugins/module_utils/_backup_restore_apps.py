# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Apps are down while their data are replaced, and come up again whatever happens."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ._backup_host import execute, read_json, unhurried, write_atomically
from ._backup_manifest import BackupError
from ._backup_sets import Store
from ._backup_undo import is_active

STOP_SECONDS = 180
LABEL = "stack.shipshape.app"
INFRA = "stack.shipshape.slot=infra"
Say = Callable[[str], None]


class NotStartedError(BackupError):
    """The restore has ended well, and what it had stopped does not start."""


@contextmanager
def stopped(store: Store, apps: Sequence[Mapping[str, Any]], say: Say) -> Iterator[None]:
    """Apps are stopped in their order and started in the other. Written down, as the restore may be killed."""
    path = store.stopped
    earlier = read_json(path)
    there = set(_docker("ps", "--all", "--quiet", "--no-trunc"))
    known = earlier.get("units", [])
    units = known + [each for app in apps for each in app["units"] if each not in known and is_active(each)]
    # What a killed restore had stopped may have been replaced by a release since.
    containers = [each for each in earlier.get("containers", []) if each in there] + [
        each for app in apps if app["containers"] for each in _containers(app["name"])
    ]
    if units or containers:
        write_atomically(path, json.dumps({"units": units, "containers": containers}))
    try:
        if units:
            say(f"stops {', '.join(units)}")
            execute(["systemctl", "stop", *units], "stop the apps", STOP_SECONDS)
        if containers:
            say(f"stops {len(containers)} containers")
            execute(["docker", "stop", *containers], "stop the apps", STOP_SECONDS)
        yield
    except BaseException:
        for problem in _start(units, containers):
            say(problem)
        if not store.replaced():
            path.unlink(missing_ok=True)
        raise
    problems = _start(units, containers)
    path.unlink(missing_ok=True)
    if problems:
        raise NotStartedError("; ".join(problems))


def _start(units: Sequence[str], containers: Sequence[str]) -> list[str]:
    """Each on its own, so that one that is broken does not keep the others down. What failed is told."""
    problems = []
    for argv in (*(["docker", "start", each] for each in reversed(containers)),
                 *(["systemctl", "start", each] for each in reversed(units))):  # fmt: skip
        with unhurried():
            try:
                execute(argv, "start the apps", STOP_SECONDS)
            except BackupError as exc:
                problems.append(str(exc))
    return problems


def _containers(app: str) -> list[str]:
    """The running containers of an app, but for what it brought along: that holds data of its own."""
    words = ["ps", "--quiet", "--no-trunc", "--filter", f"label={LABEL}={app}"]
    own = set(_docker(*words, "--filter", f"label={INFRA}"))
    return [each for each in _docker(*words) if each not in own]


def _docker(*words: str) -> list[str]:
    if not Path("/usr/bin/docker").exists():
        return []
    _rc, out, _said = execute(["docker", *words], "containers", 60)
    return out.decode().split()
