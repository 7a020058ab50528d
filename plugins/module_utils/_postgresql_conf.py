# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role's file of settings as text, and what a running server makes of it. No I/O and no Ansible imports."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ._postgresql_units import equal

NAME = re.compile(r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)?", re.IGNORECASE)
LINE = re.compile(r"^(\S+) = '((?:[^'\\]|\\.|'')*)'$", re.MULTILINE)
MACHINE = re.compile(r"^# Machine: (\d+) MiB of memory, [\d.]+ CPUs, (\w+) disk, (\d+) MiB free for WAL$", re.MULTILINE)
# A measurement within these factors of the recorded one is the same machine: without this a kernel update, or a table
# that grew, would change the settings and restart the server.
MEMORY_FACTOR = 1.03
# Stand for "work it out" in some settings, such as wal_buffers, and the server shows what came of it.
COMPUTED = ("-1", "0")
FREE_FACTOR = 2.0


class ConfError(ValueError):
    """A setting that cannot be written."""


@dataclass(frozen=True)
class Machine:
    memory_mb: int
    cpus: float
    disk: str
    wal_free_mb: int

    def line(self) -> str:
        return (
            f"# Machine: {self.memory_mb} MiB of memory, {self.cpus:g} CPUs, {self.disk} disk,"
            f" {self.wal_free_mb} MiB free for WAL"
        )


@dataclass(frozen=True)
class Live:
    """One row of pg_settings; no setting where this very session brought its own."""

    setting: str | None
    unit: str | None
    vartype: str
    context: str
    pending_restart: bool


@dataclass(frozen=True)
class Verdict:
    """How a running server differs from what is wanted."""

    reload: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()
    shadowed: tuple[str, ...] = ()


def _near(old: float, new: float, factor: float) -> bool:
    return old > 0 and new > 0 and max(old, new) / min(old, new) <= factor


def steady(text: str, now: Machine) -> Machine:
    """The machine as the file recorded it, in each measure that has not really changed since."""
    found = MACHINE.search(text)
    if not found:
        return now
    memory, free = int(found.group(1)), int(found.group(3))
    return Machine(
        memory if _near(memory, now.memory_mb, MEMORY_FACTOR) else now.memory_mb,
        now.cpus,
        now.disk if now.disk != "unknown" else found.group(2),
        free if _near(free, now.wal_free_mb, FREE_FACTOR) else now.wal_free_mb,
    )


def text_of(value: Any) -> str:
    """A value as PostgreSQL writes it: on/off, lists with commas."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, (list, tuple)):
        return ", ".join(str(each) for each in value)
    return str(value)


def merge(tuned: Mapping[str, Mapping[str, str]], given: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """The tuner's settings under the given ones; None leaves a setting to PostgreSQL."""
    found = {name: dict(setting) for name, setting in tuned.items()}
    for name, value in given.items():
        if not NAME.fullmatch(name):
            raise ConfError(f"{name!r} is not the name of a setting")
        if value is None:
            found.pop(name.lower(), None)
            continue
        text = text_of(value)
        if any(char in text for char in "\n\r\0"):
            raise ConfError(f"{name}: a value cannot have a line break in it")
        found[name.lower()] = {"value": text, "why": ""}
    return found


def conf_text(settings: Mapping[str, Mapping[str, str]], header: str, machine: Machine | None) -> str:
    """The file: each setting after the reason that it has."""
    lines = [header, *([machine.line()] if machine else [])]
    for name, setting in settings.items():
        lines += ["", f"# {setting['why']}"] if setting["why"] else []
        lines.append("{} = '{}'".format(name, setting["value"].replace("\\", "\\\\").replace("'", "''")))
    return "\n".join([*lines, ""])


def parse_conf(text: str) -> dict[str, str]:
    """The settings of a file that conf_text wrote."""
    return {name: value.replace("''", "'").replace("\\\\", "\\") for name, value in LINE.findall(text)}


def judge(
    wanted: Mapping[str, str],
    before: Iterable[str],
    live: Mapping[str, Live],
    winners: Mapping[str, str],
    conf: str,
) -> Verdict:
    """What is left to do for the server to run what is wanted.

    `before` are the names that the file held until now: one that is gone from it may wait for a restart, too. `winners`
    says which file's line decides, by name (pg_file_settings).
    """
    shadowed = sorted(name for name in wanted if winners.get(name, conf) != conf)
    waiting = {name for name in {*wanted, *before} if name in live and live[name].pending_restart}
    reload: list[str] = []
    restart = sorted(waiting)
    for name, value in wanted.items():
        row = live.get(name)
        # Settings of a library are shown once it is loaded.
        later = "." in name if row is None else row.setting is None
        if name in shadowed or name in waiting or value in COMPUTED or later:
            continue
        if row is None or not equal(value, row.setting or "", row.unit, row.vartype):
            (restart if row is not None and row.context == "postmaster" else reload).append(name)
    return Verdict(tuple(sorted(reload)), tuple(sorted(restart)), tuple(shadowed))


def culprits(message: str, settings: Mapping[str, str]) -> list[str]:
    """The settings that a server's complaint is about, by their name, else by their value."""
    if "could not map" in message:  # its hint names whatever takes memory
        return ["huge_pages" if settings.get("huge_pages") == "on" else "shared_buffers"]
    named = [name for name in settings if re.search(rf"(?<![\w.]){re.escape(name)}(?![\w.])", message)]
    if named:
        return named
    quoted = set(re.findall(r'"([^"]+)"', message))
    return [name for name, value in settings.items() if quoted & set(re.split(r",\s*", value))]


def complaint(output: str) -> str:
    """What is wrong, out of all that a server that does not start says."""
    lines: Sequence[str] = [line.strip() for line in output.splitlines() if line.strip()]
    told = [re.sub(r"^.*?\b(FATAL|ERROR|LOG|DETAIL|HINT):\s+", r"\1: ", line) for line in lines]
    wrong = [line for line in told if not line.startswith(("LOG: ", "HINT: "))]
    logged = [
        line[5:]
        for line in told
        if line.startswith("LOG: ") and re.search(r"could not|invalid|error|syntax|unrecog", line)
    ]
    return " ".join([*logged, *wrong] or told[-3:])
