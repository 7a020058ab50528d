# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is backed up, when, how long it is kept and where copies go: the file /etc/shipshape/backup.json.

Pure functions: no I/O and no Ansible imports. The role refuses by the same rules as the command, before any change.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Optional

from . import _pitr_config
from ._backup_copy_rules import REPOSITORY, RESTIC, tool_problems
from ._backup_manifest import COMPONENTS, BackupError
from ._verify_model import LEVELS

NAME = re.compile(r"[a-z][a-z0-9_-]*")
# From so many places on, one of them has to be elsewhere: three copies, on two media, one of them off site.
ALL_PLACES = 3
# Names that mean something to the command itself.
MANUAL, SAFETY = "manual", "safety"
KEEP = ("keep_last", "keep_hourly", "keep_daily", "keep_weekly", "keep_monthly", "keep_yearly")
CRON = re.compile(r"(@[a-z]+|([-0-9*,/a-zA-Z]+ ){4}[-0-9*,/a-zA-Z]+)")


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


def read(text: str) -> dict[str, Any]:
    """The configuration with every default in its place, or BackupError with all that is wrong."""
    try:
        document = json.loads(text)
    except ValueError as exc:
        raise BackupError(f"not JSON: {exc}") from None
    wrong = problems(document)
    if wrong:
        raise BackupError("; ".join(wrong))
    return normal(document)


def normal(document: Mapping[str, Any]) -> dict[str, Any]:
    found = _filled(document, TOP_KEYS)
    found["components"] = [_filled(each, {**COMMON, **COMPONENT_KEYS[each["type"]]}) for each in found["components"]]
    found["schedules"] = {name: _filled(each, SCHEDULE_KEYS) for name, each in found["schedules"].items()}
    found["copies"] = [_filled(each, COPY_KEYS) for each in found["copies"]]
    for each in found["copies"]:
        each["offsite"] = not each["repository"].startswith("/") if each["offsite"] is None else each["offsite"]
    found["apps"] = [_filled(each, APP_KEYS) for each in found["apps"]]
    found["notify"] = _filled(found["notify"], NOTIFY_KEYS)
    found["drill"] = _filled(found["drill"], DRILL_KEYS)
    return found


def _filled(entry: Mapping[str, Any], keys: Mapping[str, Key]) -> dict[str, Any]:
    return {name: entry.get(name, key.default) for name, key in keys.items()}


def problems(document: Any) -> list[str]:
    """All that is wrong, one line each; [] where the command can work with it."""
    if not isinstance(document, Mapping):
        return ["the configuration must be an object"]
    found = list(_entry("", document, TOP_KEYS))
    if found:
        return found
    document = _filled(document, TOP_KEYS)
    found += [wrong for number, each in enumerate(document["components"]) for wrong in _component(number, each)]
    for name, each in document["schedules"].items():
        found += _schedule(f"schedules.{name}", name, each)
    found += [wrong for number, each in enumerate(document["copies"]) for wrong in _copy(f"copies[{number}]", each)]
    found += [
        wrong for number, each in enumerate(document["apps"]) for wrong in _entry(f"apps[{number}]", each, APP_KEYS)
    ]
    found += _entry("notify", document["notify"], NOTIFY_KEYS)
    found += _entry("drill", document["drill"], DRILL_KEYS)
    found += _pitr_config.shape(document["pitr"])
    return found or list(_together(normal(document)))


def _entry(path: str, entry: Any, keys: Mapping[str, Key]) -> Iterator[str]:
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


def _component(number: int, entry: Mapping[str, Any]) -> Iterator[str]:
    path = f"components[{number}]"
    if entry.get("type") not in COMPONENTS:
        yield f"{path}.type is {entry.get('type')!r}: there are {', '.join(COMPONENTS)}"
        return
    yield from _entry(path, entry, {**COMMON, **COMPONENT_KEYS[entry["type"]]})
    if isinstance(entry.get("name"), str) and not NAME.fullmatch(entry["name"]):
        yield f"{path}.name is {entry['name']!r}: use small letters, digits, - and _"
    paths = [entry.get("path")] if entry["type"] == "sqlite" else entry.get("paths", [])
    for each in paths if isinstance(paths, list) else []:
        if isinstance(each, str) and not each.startswith("/"):
            yield f"{path}: the path {each!r} must begin with /"
    if entry.get("argv") == [] or entry.get("paths") == []:
        yield f"{path}: there is nothing to back up in it"


def _schedule(path: str, name: str, entry: Any) -> Iterator[str]:
    yield from _entry(path, entry, SCHEDULE_KEYS)
    if not NAME.fullmatch(name) or name in (MANUAL, SAFETY):
        yield f"{path}: use small letters, digits, - and _, and none of {MANUAL}, {SAFETY}"
    if not isinstance(entry, Mapping):
        return
    yield from _cron(path, entry.get("cron"))
    if not any(isinstance(entry.get(key), int) and entry[key] > 0 for key in KEEP):
        yield f"{path} keeps nothing: give one of {', '.join(KEEP)}"


def _cron(path: str, cron: Any) -> Iterator[str]:
    if isinstance(cron, str) and not CRON.fullmatch(cron):
        yield f"{path}.cron is {cron!r}: five fields as in crontab(5), such as '0 2 * * *'"


def _copy(path: str, entry: Any) -> Iterator[str]:
    yield from _entry(path, entry, COPY_KEYS)
    if not isinstance(entry, Mapping):
        return
    repository = entry.get("repository")
    if isinstance(repository, str) and not REPOSITORY.fullmatch(repository):
        yield f"{path}.repository is {repository!r}: a folder (/srv/x), sftp:user@host:/folder or s3:https://host/bucket"
    if isinstance(repository, str) and re.search(r"://[^/@]*:[^/@]*@", repository):
        yield f"{path}.repository has a password in it, which everybody would see: put it into environment"
    if not entry.get("escrow"):
        yield (
            f"{path}.escrow is empty: say where restic's password, or age's secret key, is kept outside of this host."
            " Without it the copies are lost together with the host"
        )
    if not any(isinstance(entry.get(key), int) and entry[key] > 0 for key in KEEP):
        yield f"{path} keeps nothing: give one of {', '.join(KEEP)}"
    yield from tool_problems(path, entry)


def _together(document: Mapping[str, Any]) -> Iterator[str]:
    for kind in ("components", "copies", "apps"):
        names = [each["name"] for each in document[kind]]
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield f"{kind}: two of them are called {name!r}"
    for kind in ("components", "copies"):
        for each in document[kind]:
            for schedule in each["schedules"]:
                if schedule not in document["schedules"]:
                    yield f"{kind}: {each['name']} names the schedule {schedule!r}, which is not among schedules"
    drill = document["drill"]
    if drill["cron"]:
        yield from _cron("drill", drill["cron"])
    if drill["level"] not in LEVELS:
        yield f"drill.level is {drill['level']!r}: there are {', '.join(LEVELS)}"
    if drill["source"] not in ("", "here", *(each["name"] for each in document["copies"])):
        yield f"drill.source is {drill['source']!r}: one of copies, or here"
    if any(each["name"] == drill["source"] and each["age_recipients"] for each in document["copies"]):
        yield (
            f"drill.source is {drill['source']}, which is encrypted for a key that this host does not have: take here,"
            " and now and then make a drill by hand, with --identity"
        )
    if document["notify"]["on"] not in ("failure", "always"):
        yield f"notify.on is {document['notify']['on']!r}: failure or always"
    if document["copies_min"] >= ALL_PLACES and not any(each["offsite"] for each in document["copies"]):
        yield (
            f"copies_min is {document['copies_min']}, and none of copies is off site, as 3-2-1 has it: add a target"
            " of sftp: or s3:, or say offsite of a disk that is taken away"
        )
    if document["copies_min"] > 1 + len(document["copies"]):
        yield (
            f"copies_min is {document['copies_min']}, and with {len(document['copies'])} target(s) there are only"
            f" {1 + len(document['copies'])}, this host's among them: add targets, or ask for less"
        )


def components_of(config: Mapping[str, Any], schedule: str) -> list[dict[str, Any]]:
    """What a schedule backs up; a run by hand, and the safety copy before a restore, take everything."""
    if schedule in (MANUAL, SAFETY):
        return list(config["components"])
    return [each for each in config["components"] if schedule in each["schedules"]]


def copied(config: Mapping[str, Any], schedule: str) -> bool:
    """Whether sets of the schedule should be in several places. Without any target all of them should."""
    return schedule != SAFETY and bool(copies_of(config, schedule) or not config["copies"])


def copies_of(config: Mapping[str, Any], schedule: str) -> list[dict[str, Any]]:
    if schedule == SAFETY:
        return []
    if schedule == MANUAL:
        return list(config["copies"])
    return [each for each in config["copies"] if schedule in each["schedules"]]
