# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What to do so that nginx serves a tree, and how the difference is told (docs/nginx.md).

Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.shipshape.stack.plugins.module_utils._nginx_said import CERTIFICATE
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_text import FOLDER, ID

MAIN = "nginx.conf"
ROOT = "/etc/nginx/shipshape"


class SwapError(Exception):
    """What was refused or did not work. Nginx serves what it served."""


class StrandedError(Exception):
    """The old configuration is back, but nginx does not run on it."""


@dataclass(frozen=True)
class Wanted:
    """What nginx shall serve."""

    files: Mapping[str, str]
    listeners: tuple[tuple[str, int, str], ...]
    status: tuple[str, int]  # of the server that says which generation runs
    certificates: tuple[str, ...] = ()
    logs: tuple[str, ...] = ()

    @property
    def identity(self) -> str:
        digest = hashlib.sha256()
        for path, text in sorted(self.files.items()):
            # With their lengths: no two trees have the same bytes then.
            for part in (path.encode(), text.encode("utf-8", "surrogateescape")):
                digest.update(b"%d:" % len(part) + part)
        return digest.hexdigest()[:16]

    def placed(self, folder: str = "") -> dict[str, str]:
        """The bytes that nginx reads."""
        name = self.identity
        folder = folder or f"{ROOT}/{name}"
        return {path: text.replace(FOLDER, folder).replace(ID, name) for path, text in self.files.items()}


@dataclass(frozen=True)
class Facts:
    """The host as it is."""

    live: str = ""  # the generation that nginx.conf leads to; empty where it is something else
    proven: str = ""
    exists: bool = False  # the folder of the wanted generation
    same: bool = False  # and it holds what it should
    running: bool = False
    enabled: bool = False
    serving: str = ""  # what the status server answers
    listening: bool = False  # on everything that it shall
    placeholders: tuple[str, ...] = ()  # certificates that there are none of


@dataclass(frozen=True)
class Plan:
    placeholders: tuple[str, ...] = ()
    write: bool = False
    exchange: bool = False  # the folder that is live was changed by hand
    swap: bool = False
    start: bool = False
    reload: bool = False
    enable: bool = False

    @property
    def activates(self) -> bool:
        return self.start or self.reload

    @property
    def changes(self) -> bool:
        return self != Plan()


def plan(wanted: str, facts: Facts) -> Plan:
    write, swap = not facts.same, facts.live != wanted
    well = facts.serving == facts.proven == wanted and facts.listening
    return Plan(
        placeholders=facts.placeholders,
        write=write,
        exchange=write and facts.exists and not swap,
        swap=swap,
        start=not facts.running,
        reload=facts.running and (write or swap or not well or bool(facts.placeholders)),
        enable=not facts.enabled,
    )


def successors(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, str]:
    """Names of certificates that a site takes up, and which it had instead."""
    found: dict[str, str] = {}
    for path in sorted({*before} & {*after}):
        old, new = ({*CERTIFICATE.findall(side[path])} for side in (before, after))
        if path.startswith("sites/") and len(old) == len(new) == 1 and old != new:
            found.setdefault(new.pop(), old.pop())
    return found


# --- telling ----------------------------------------------------------------------------------------------------------


def unplaced(files: Mapping[str, str], name: str) -> dict[str, str]:
    """As the renderer wrote it, so that two generations differ in what matters only."""
    if not name:
        return dict(files)
    return {path: text.replace(f"{ROOT}/{name}", FOLDER).replace(name, ID) for path, text in files.items()}


def changed_files(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    return sorted(path for path in {*before, *after} if before.get(path) != after.get(path))


def diff(before: Mapping[str, str], after: Mapping[str, str], plan_: Plan) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for path in changed_files(before, after):
        head = f"/etc/nginx/{MAIN}" if path == MAIN else path
        texts = [side.get(path, "") for side in (before, after)]
        found.append({"before": texts[0], "after": texts[1], "before_header": head, "after_header": head})
    state = [(plan_.start, "stopped", "started"), (plan_.enable, "disabled", "enabled")]
    lines = [(old, new) for differs, old, new in state if differs]
    lines += [("", f"a placeholder for the certificate {name}") for name in plan_.placeholders]
    if lines:
        texts = ["".join(f"{pair[side]}\n" for pair in lines if pair[side]) for side in (0, 1)]
        heads = {"before_header": "nginx.service", "after_header": "nginx.service"}
        found.append({"before": texts[0], "after": texts[1], **heads})
    return found
