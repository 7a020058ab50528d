# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the task's parameters to what is wanted, with every mistake named at once. No I/O of its own."""

from __future__ import annotations

import hashlib
import os.path
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.shipshape.stack.plugins.module_utils._config_plan import Wanted
from ansible_collections.shipshape.stack.plugins.module_utils._config_restore import ConfigError

NAME = re.compile(r"^[a-z0-9][a-z0-9_-]*$")
MODE = re.compile(r"^[0-7]{3,4}$|^0[0-7]{4}$")
SOURCES = ("template", "content", "src", "link")
UNNAMED = "files-"

Lookup = Callable[[str], "int | None"]


@dataclass(frozen=True)
class Purge:
    path: str
    patterns: tuple[str, ...]


@dataclass(frozen=True)
class Rollback:
    seconds: int
    command: tuple[str, ...]


@dataclass(frozen=True)
class Request:
    name: str
    named: bool
    confirm: bool
    wanted: tuple[Wanted, ...]
    purge: tuple[Purge, ...]
    validate: tuple[tuple[str, ...], ...]
    rollback: Rollback | None


def argv(command: Any, what: str) -> tuple[str, ...]:
    """A command without a shell: a string is split as a shell would, a list is taken as it is."""
    if isinstance(command, (list, tuple)):
        parts = [str(part) for part in command]
    else:
        try:
            parts = shlex.split(str(command))
        except ValueError as exc:
            raise ConfigError(f"{what}: '{command}' cannot be split into arguments ({exc}). Give it as a list") from exc
    if not parts:
        raise ConfigError(f"{what} is empty. Give a command, or leave it out")
    return tuple(parts)


def kind_of(entry: Mapping[str, Any]) -> str:
    return entry.get("state") or ("link" if entry.get("link") is not None else "file")


def source_problem(entry: Mapping[str, Any]) -> str:
    """Why the sources given do not fit the state, or ''. The action asks this too, before it renders anything."""
    kind = kind_of(entry)
    given = [each for each in SOURCES if entry.get(each) is not None]
    allowed = {"file": ("template", "content", "src"), "link": ("link",)}.get(kind, ())
    if not allowed and given:
        return f"state: {kind} takes none of {', '.join(given)}. Leave it out, or correct `state`"
    if allowed and (len(given) != 1 or given[0] not in allowed):
        return f"a {kind} needs exactly one of {', '.join(allowed)}; given: {', '.join(given) or 'none'}"
    return ""


def _mode(value: Any, kind: str) -> int:
    if value is None and kind == "directory":
        return 0o755
    if value is None:
        raise ConfigError('`mode` is missing. Give one, quoted, like mode: "0644"')
    if not isinstance(value, str) or not MODE.match(value):
        raise ConfigError(f'mode {value!r} is not an octal string. Quote it, like mode: "0644"')
    return int(value, 8)


def _path(value: Any) -> str:
    path = str(value or "")
    if not path.startswith("/") or os.path.normpath(path) != path or path == "/" or "\0" in path:
        raise ConfigError(f"'{path}' is not an absolute path without '..', '//' and a '/' at the end. Write it out")
    return path


def _validate(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    command = argv(value, "`validate`")
    if not any("%s" in part for part in command):
        raise ConfigError(f"validate '{value}' has no %s, where the new file's path goes. Add it")
    return command


def _entry(entry: Mapping[str, Any], contents: Mapping[str, bytes], user: Lookup, group: Lookup) -> Wanted:
    dest, kind = _path(entry.get("dest")), kind_of(entry)
    problem = source_problem(entry)
    if problem:
        raise ConfigError(problem)
    owner, owning_group = str(entry.get("owner") or "root"), str(entry.get("group") or "root")
    if kind == "file" and dest not in contents:
        raise ConfigError("its content did not arrive. Call the module through its action plugin, not by another name")
    has_owner = kind in ("file", "directory")
    return Wanted(
        dest=dest,
        kind=kind,
        content=contents[dest] if kind == "file" else b"",
        target=str(entry["link"]) if kind == "link" else "",
        mode=_mode(entry.get("mode"), kind) if has_owner else 0,
        owner=owner,
        group=owning_group,
        uid=user(owner) if has_owner else 0,
        gid=group(owning_group) if has_owner else 0,
        validate=_validate(entry.get("validate")),
        backup=bool(entry.get("backup")),
        no_log=bool(entry.get("no_log")),
        force=entry.get("force") is not False,
    )


def _whole(wanted: Sequence[Wanted]) -> list[str]:
    """Mistakes that only two entries together can make."""
    problems, seen = [], set()
    above = {each.dest: each.kind for each in wanted if each.kind != "directory"}
    for each in wanted:
        if each.dest in seen:
            problems.append(f"{each.dest} is declared twice. Leave one of the two out")
        seen.add(each.dest)
        problems += [
            f"{each.dest} lies in {path}, whose declared state is {kind}. Leave one of the two out"
            for path, kind in above.items()
            if each.dest.startswith(f"{path}/")
        ]
    return problems


def _rollback(value: Mapping[str, Any] | None) -> Rollback | None:
    if not value:
        return None
    if int(value["seconds"]) < 1:
        raise ConfigError(f"rollback.seconds is {value['seconds']}; it must be at least 1")
    command = argv(value["command"], "rollback.command") if value.get("command") else ()
    return Rollback(int(value["seconds"]), command)


def _collect(problems: list[str], where: str, make: Callable[[], Any]) -> list[Any]:
    try:
        return [make()]
    except ConfigError as exc:
        problems.append(f"{where}{exc}")
        return []


def parse(params: Mapping[str, Any], contents: Mapping[str, bytes], user: Lookup, group: Lookup) -> Request:
    """Raises ConfigError with all problems in one message."""
    problems: list[str] = []
    name, confirm, files = params.get("name"), params.get("state") == "confirmed", params.get("files") or []
    if name is not None and not NAME.match(name):
        problems.append(f"name '{name}' has other characters than a-z, 0-9, '_' and '-'. Rename it")
    if name is None and (confirm or params.get("rollback")):
        problems.append("`name` is missing. state: confirmed and rollback need it to find the transaction again")
    if confirm and (files or params.get("purge") or params.get("validate") or params.get("rollback")):
        problems.append("state: confirmed takes nothing but `name`. Leave the other parameters out")
    wanted: list[Wanted] = []
    for number, entry in enumerate(files):
        where = f"files[{number}] ({entry.get('dest')}): "
        wanted += _collect(problems, where, lambda entry=entry: _entry(entry, contents, user, group))  # type: ignore[misc]
    problems += _whole(wanted)
    purge: list[Purge] = []
    for each in params.get("purge") or []:
        patterns = tuple(each.get("patterns") or ["*"])
        purge += _collect(problems, "purge: ", lambda each=each, p=patterns: Purge(_path(each["path"]), p))  # type: ignore[misc]
    validate: list[tuple[str, ...]] = []
    for command in params.get("validate") or []:
        validate += _collect(problems, "", lambda command=command: argv(command, "validate"))  # type: ignore[misc]
    rollback = _collect(problems, "", lambda: _rollback(params.get("rollback")))
    if problems:
        raise ConfigError("; ".join(problems))
    key = "\n".join(sorted([each.dest for each in wanted] + [each.path for each in purge]))
    unnamed = UNNAMED + hashlib.sha256(key.encode()).hexdigest()[:12]
    return Request(
        name or unnamed, name is not None, confirm, tuple(wanted), tuple(purge), tuple(validate), rollback[0]
    )
