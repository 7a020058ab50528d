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
from typing import Any

from . import _pitr_config
from ._backup_copy_rules import REPOSITORY, tool_problems
from ._backup_keys import (
    APP_KEYS,
    COMMON,
    COMPONENT_KEYS,
    COPY_KEYS,
    CRON,
    DRILL_KEYS,
    KEEP,
    NOTIFY_KEYS,
    SCHEDULE_KEYS,
    TOP_KEYS,
    entry_problems,
    filled,
)
from ._backup_manifest import COMPONENTS, BackupError
from ._verify_model import LEVELS

NAME = re.compile(r"[a-z][a-z0-9_-]*")
# From so many places on, one of them has to be elsewhere: three copies, on two media, one of them off site.
ALL_PLACES = 3
# Names that mean something to the command itself.
MANUAL, SAFETY = "manual", "safety"


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
    found = filled(document, TOP_KEYS)
    found["components"] = [filled(each, {**COMMON, **COMPONENT_KEYS[each["type"]]}) for each in found["components"]]
    found["schedules"] = {name: filled(each, SCHEDULE_KEYS) for name, each in found["schedules"].items()}
    found["copies"] = [filled(each, COPY_KEYS) for each in found["copies"]]
    for each in found["copies"]:
        each["offsite"] = not each["repository"].startswith("/") if each["offsite"] is None else each["offsite"]
    found["apps"] = [filled(each, APP_KEYS) for each in found["apps"]]
    found["notify"] = filled(found["notify"], NOTIFY_KEYS)
    found["drill"] = filled(found["drill"], DRILL_KEYS)
    return found


def problems(document: Any) -> list[str]:
    """All that is wrong, one line each; [] where the command can work with it."""
    if not isinstance(document, Mapping):
        return ["the configuration must be an object"]
    found = list(entry_problems("", document, TOP_KEYS))
    if found:
        return found
    document = filled(document, TOP_KEYS)
    found += [wrong for number, each in enumerate(document["components"]) for wrong in _component(number, each)]
    for name, each in document["schedules"].items():
        found += _schedule(f"schedules.{name}", name, each)
    found += [wrong for number, each in enumerate(document["copies"]) for wrong in _copy(f"copies[{number}]", each)]
    found += [
        wrong
        for number, each in enumerate(document["apps"])
        for wrong in entry_problems(f"apps[{number}]", each, APP_KEYS)
    ]
    found += entry_problems("notify", document["notify"], NOTIFY_KEYS)
    found += entry_problems("drill", document["drill"], DRILL_KEYS)
    found += _pitr_config.shape(document["pitr"])
    return found or list(_together(normal(document)))


def _component(number: int, entry: Mapping[str, Any]) -> Iterator[str]:
    path = f"components[{number}]"
    if entry.get("type") not in COMPONENTS:
        yield f"{path}.type is {entry.get('type')!r}: there are {', '.join(COMPONENTS)}"
        return
    yield from entry_problems(path, entry, {**COMMON, **COMPONENT_KEYS[entry["type"]]})
    if isinstance(entry.get("name"), str) and not NAME.fullmatch(entry["name"]):
        yield f"{path}.name is {entry['name']!r}: use small letters, digits, - and _"
    paths = [entry.get("path")] if entry["type"] == "sqlite" else entry.get("paths", [])
    for each in paths if isinstance(paths, list) else []:
        if isinstance(each, str) and not each.startswith("/"):
            yield f"{path}: the path {each!r} must begin with /"
    if entry.get("argv") == [] or entry.get("paths") == []:
        yield f"{path}: there is nothing to back up in it"


def _schedule(path: str, name: str, entry: Any) -> Iterator[str]:
    yield from entry_problems(path, entry, SCHEDULE_KEYS)
    if not NAME.fullmatch(name) or name in (MANUAL, SAFETY):
        yield f"{path}: use small letters, digits, - and _, and none of {MANUAL}, {SAFETY}"
    if not isinstance(entry, Mapping):
        return
    yield from _cron(path, entry.get("cron"))
    if entry.get("verify", "") not in ("", *LEVELS):
        yield f"{path}.verify is {entry['verify']!r}: there are {', '.join(LEVELS)}"
    if not any(isinstance(entry.get(key), int) and entry[key] > 0 for key in KEEP):
        yield f"{path} keeps nothing: give one of {', '.join(KEEP)}"


def _cron(path: str, cron: Any) -> Iterator[str]:
    if isinstance(cron, str) and not CRON.fullmatch(cron):
        yield f"{path}.cron is {cron!r}: five fields as in crontab(5), such as '0 2 * * *'"


def _copy(path: str, entry: Any) -> Iterator[str]:
    yield from entry_problems(path, entry, COPY_KEYS)
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
    for each in drill["ignore"]:
        good = set(each) == {"id", "reason"} and all(isinstance(text, str) and text.strip() for text in each.values())
        if not good:
            yield f"drill.ignore has {each!r}: it takes an id, and the reason why that does not count"
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


def latest(config: Mapping[str, Any], sets: Mapping[str, Mapping[str, Any]]) -> str:
    """The newest of these sets that is of a schedule with most of the components; empty without a set."""

    def parts(name: str) -> int:
        return len(components_of(config, sets[name]["schedule"]))

    most = max(map(parts, sets), default=0)
    return max((name for name in sets if parts(name) == most), default="")


def copies_of(config: Mapping[str, Any], schedule: str) -> list[dict[str, Any]]:
    if schedule == SAFETY:
        return []
    if schedule == MANUAL:
        return list(config["copies"])
    return [each for each in config["copies"] if schedule in each["schedules"]]
