# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The keys of /etc/shipshape/backup.json: their types, their defaults, and which of them have to be there.

Pure: no I/O and no Ansible imports.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Optional

from ._backup_copy_rules import RESTIC

CRON = re.compile(r"(@[a-z]+|([-0-9*,/a-zA-Z]+ ){4}[-0-9*,/a-zA-Z]+)")
KEEP = ("keep_last", "keep_hourly", "keep_daily", "keep_weekly", "keep_monthly", "keep_yearly")


@dataclass(frozen=True)
class Key:
    """One key of an entry: its type, its default, and whether it has to be there."""

    kind: Any
    default: Any = None
    required: bool = False


TEXT, NUMBER, FLAG, TEXTS = str, int, bool, [str]
COMMON = {
    "name": Key(TEXT, required=True),
    "type": Key(TEXT, required=True),
    "schedules": Key(TEXTS, ["daily"]),
    "timeout": Key(NUMBER, 21600),
}
COMPONENT_KEYS: dict[str, dict[str, Key]] = {
    "postgresql": {
        "host": Key(TEXT, "/var/run/postgresql"),
        "port": Key(NUMBER, 5432),
        "user": Key(TEXT, "postgres"),
        # Without one the system's account of that name is who peer authentication lets in.
        "passfile": Key(TEXT, ""),
        "databases": Key(TEXTS, []),
        "exclude": Key(TEXTS, []),
    },
    "redis": {
        "flavour": Key(TEXT, "redis"),
        "socket": Key(TEXT, "/run/redis/shipshape.sock"),
        "host": Key(TEXT, ""),
        "port": Key(NUMBER, 6379),
        "user": Key(TEXT, "shipshape"),
        "password_file": Key(TEXT, "/etc/redis/shipshape.password"),
    },
    "sqlite": {"path": Key(TEXT, required=True)},
    "files": {
        "paths": Key(TEXTS, required=True),
        "exclude": Key(TEXTS, []),
        "optional": Key(FLAG, False),
        # Written by others as well, who would not know that it is older than they think.
        "on_request": Key(FLAG, False),
    },
    "command": {"argv": Key(TEXTS, required=True), "user": Key(TEXT, "root"), "min_size": Key(NUMBER, 1)},
}
RETENTION_KEYS = {key: Key(NUMBER, 0) for key in KEEP}
SCHEDULE_KEYS = {
    "cron": Key(TEXT, required=True),
    "jitter": Key(NUMBER, 300),
    "max_age": Key(NUMBER, 93600),
    "verify": Key(TEXT, ""),
    **RETENTION_KEYS,
}
COPY_KEYS = {
    "name": Key(TEXT, required=True),
    "tool": Key(TEXT, RESTIC),
    "repository": Key(TEXT, required=True),
    # Of restic; and the keys that age encrypts for before rclone sees anything.
    "password_file": Key(TEXT, ""),
    "age_recipients": Key(TEXTS, []),
    "escrow": Key(TEXT, ""),
    # A folder may be a disk that goes to a safe; without a word it is on this host.
    "offsite": Key(FLAG),
    "environment_file": Key(TEXT, ""),
    "schedules": Key(TEXTS, ["daily"]),
    "timeout": Key(NUMBER, 21600),
    **RETENTION_KEYS,
}
APP_KEYS = {
    "name": Key(TEXT, required=True),
    "databases": Key(TEXTS, []),
    "units": Key(TEXTS, []),
    "containers": Key(FLAG, True),
}
DRILL_KEYS = {
    "cron": Key(TEXT, "30 5 * * 0"),
    "jitter": Key(NUMBER, 1800),
    "level": Key(TEXT, "integrity"),
    "source": Key(TEXT, ""),
    "timeout": Key(NUMBER, 21600),
    "ignore": Key([dict], []),
}
NOTIFY_KEYS = {"webhook": Key(TEXT, ""), "mail": Key(TEXT, ""), "ping": Key(TEXT, ""), "on": Key(TEXT, "failure")}
TOP_KEYS = {
    "host": Key(TEXT, required=True),
    "folder": Key(TEXT, "/var/backups/shipshape"),
    "state_folder": Key(TEXT, "/var/lib/shipshape/backup"),
    "metrics_file": Key(TEXT, ""),
    "components": Key([dict], required=True),
    "schedules": Key(dict, {}),
    "min_verified": Key(NUMBER, 2),
    "copies": Key([dict], []),
    "copies_min": Key(NUMBER, 1),
    "apps": Key([dict], []),
    "notify": Key(dict, {}),
    "drill": Key(dict, {}),
    "rto_seconds": Key(NUMBER, 3600),
    "rpo_seconds": Key(NUMBER, 86400),
    "pitr": Key(dict, {}),
}


def filled(entry: Mapping[str, Any], keys: Mapping[str, Key]) -> dict[str, Any]:
    return {name: entry.get(name, key.default) for name, key in keys.items()}


def entry_problems(path: str, entry: Any, keys: Mapping[str, Key]) -> Iterator[str]:
    where = f"{path}." if path else ""
    if not isinstance(entry, Mapping):
        yield f"{path} must be an object"
        return
    for name in sorted(set(entry) - set(keys), key=str):
        yield f"{where}{name} is not an option: there are {', '.join(sorted(keys))}"
    for name, key in keys.items():
        if name not in entry:
            if key.required:
                yield f"{where}{name} is missing"
            continue
        wrong = _kind(entry[name], key.kind)
        if wrong:
            yield f"{where}{name} must be {wrong}, and is {entry[name]!r}"


def _kind(value: Any, kind: Any) -> Optional[str]:
    if isinstance(kind, list):
        good = isinstance(value, list) and all(isinstance(each, kind[0]) for each in value)
        return None if good else f"a list of {'objects' if kind[0] is dict else 'texts'}"
    if kind is int:
        good = isinstance(value, int) and not isinstance(value, bool) and value >= 0
        return None if good else "a whole number of 0 or more"
    return None if isinstance(value, kind) else {str: "a text", bool: "true or false", dict: "an object"}[kind]
