# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be done to have the files that are wanted. No I/O: states in, plan out."""

from __future__ import annotations

import fnmatch
import os.path
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

# Hidden names of a running transaction, and the copies that `backup` leaves: never anybody's to purge.
OURS = re.compile(r"^\.shipshape-.*\.(old|new)~$|\.\d+\.\d{4}-\d\d-\d\d@\d\d:\d\d:\d\d~$")


@dataclass(frozen=True)
class State:
    """What is there now. `content` is None where it was not read because its size alone settles the question."""

    kind: str = "absent"  # absent, file, link, directory, other
    mode: int = 0
    uid: int = 0
    gid: int = 0
    content: bytes | None = b""
    size: int = 0
    target: str = ""
    nlink: int = 1
    shared: bool = False  # other users may change what the directory holds
    parent: bool = True  # the directory exists
    trouble: str = ""  # why it could not be looked at


@dataclass(frozen=True)
class Wanted:
    dest: str
    kind: str  # file, link, directory, absent
    content: bytes = b""
    target: str = ""
    mode: int = 0
    owner: str = "root"
    group: str = "root"
    uid: int | None = 0  # None: there is no such user (yet)
    gid: int | None = 0
    validate: tuple[str, ...] = ()
    backup: bool = False
    no_log: bool = False
    force: bool = True


@dataclass(frozen=True)
class Step:
    action: str  # mkdir, attributes, put, link, remove
    wanted: Wanted
    current: State

    @property
    def dest(self) -> str:
        return self.wanted.dest


@dataclass(frozen=True)
class Plan:
    steps: tuple[Step, ...] = ()
    problems: tuple[str, ...] = ()  # nothing may be done
    missing: tuple[str, ...] = ()  # in check mode, an earlier task would have made it

    @property
    def changed_files(self) -> list[str]:
        return sorted(step.dest for step in self.steps)


def purgeable(names: Iterable[str], patterns: Sequence[str]) -> list[str]:
    """Names that match, as a shell would match them: a hidden file only by a pattern that starts with a dot."""

    def matches(name: str, pattern: str) -> bool:
        return fnmatch.fnmatchcase(name, pattern) and (pattern.startswith(".") or not name.startswith("."))

    return sorted(name for name in names if not OURS.search(name) and any(matches(name, each) for each in patterns))


def _problem(wanted: Wanted, now: State) -> str:
    """Why this entry cannot be had here, or ''."""
    if now.trouble:
        return "" if wanted.kind == "absent" and not now.parent else now.trouble
    what = {"link": "a symbolic link", "directory": "a directory", "file": "a file"}.get(now.kind, "a special file")
    if now.kind == "other":
        return "a device, socket or pipe is in the way. Remove it, or choose another dest"
    if wanted.kind in ("file", "link") and now.kind == "directory":
        return f"a directory is in the way of a {wanted.kind}. Declare it absent in an earlier task, or remove it"
    if wanted.kind == "directory" and now.kind in ("file", "link"):
        return f"{what} is in the way of a directory. Remove it, or choose another dest"
    if now.shared and wanted.kind == "file" and now.kind == "link":
        return (
            f"a symbolic link (to {now.target}) is in the way, in a directory that other users may write."
            " Remove it, or take the directory away from them"
        )
    if now.shared and wanted.kind in ("file", "link") and now.kind == "file" and now.nlink > 1:
        return (
            f"the file has {now.nlink} names (hard links), in a directory that other users may write."
            " Find the others with find -samefile, and remove what is not yours"
        )
    return ""


def _missing(wanted: Wanted, now: State, declared: frozenset[str]) -> list[str]:
    found = []
    folder = os.path.dirname(wanted.dest)
    if wanted.kind != "absent" and not now.parent and folder not in declared:
        found.append(f"the directory {folder} does not exist. Declare it with state: directory, or create it first")
    if wanted.kind in ("file", "directory"):
        if wanted.uid is None:
            found.append(f"there is no user '{wanted.owner}'. Create it first, or correct `owner`")
        if wanted.gid is None:
            found.append(f"there is no group '{wanted.group}'. Create it first, or correct `group`")
    return found


def _action(wanted: Wanted, now: State) -> str:
    """What to do for this entry, or '' when it is as it should be."""
    if wanted.kind == "absent":
        return "" if now.kind == "absent" else "remove"
    if wanted.kind == "link":
        return "" if (now.kind, now.target) == ("link", wanted.target) else "link"
    same_attributes = (now.mode, now.uid, now.gid) == (wanted.mode, wanted.uid, wanted.gid)
    if wanted.kind == "directory":
        if now.kind == "absent":
            return "mkdir"
        return "" if same_attributes else "attributes"
    if not wanted.force and now.kind in ("file", "link"):
        return ""
    return "" if now.kind == "file" and same_attributes and now.content == wanted.content else "put"


# Directories before what goes into them; removals last, so that a validated whole never lacks its new part.
ORDER = {"mkdir": 0, "attributes": 0, "put": 1, "link": 1, "remove": 2}


def plan(current: Mapping[str, State], wanted: Sequence[Wanted], purge: Sequence[str] = ()) -> Plan:
    """Decide everything; `purge` lists existing paths that go unless they are wanted."""
    declared = {each.dest for each in wanted}
    folders = frozenset(each.dest for each in wanted if each.kind == "directory")
    undeclared = [Wanted(path, "absent") for path in sorted(set(purge)) if path not in declared]
    steps, problems, missing = [], [], []
    for entry in (*wanted, *undeclared):
        now = current[entry.dest]
        problem = _problem(entry, now)
        if problem:
            problems.append(f"{entry.dest}: {problem}")
            continue
        action = _action(entry, now)
        if action:
            steps.append(Step(action, entry, now))
            missing += [f"{entry.dest}: {each}" for each in _missing(entry, now, folders)]
    steps.sort(key=lambda step: (ORDER[step.action], step.dest if ORDER[step.action] == 0 else ""))
    return Plan(tuple(steps), tuple(problems), tuple(missing))
