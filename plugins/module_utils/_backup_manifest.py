# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifest of a backup set: what is in it, and what was true when it was made.

Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

import json
import re
from calendar import timegm
from collections.abc import Iterator, Mapping, Sequence
from time import gmtime, strftime, strptime
from typing import Any
from urllib.parse import quote

FORMAT = 1
FILE = "manifest.json"
PARTIAL = ".partial"
ID_FORMAT = "%Y%m%dT%H%M%SZ"
ID = re.compile(r"[0-9]{8}T[0-9]{6}Z")
SHA256 = re.compile(r"[0-9a-f]{64}")
KINDS = ("pg_custom", "pg_globals", "pg_plain", "pg_dir", "pg_tar", "redis_rdb", "sqlite", "tar", "output")
COMPONENTS = ("postgresql", "redis", "sqlite", "files", "command")


class BackupError(ValueError):
    """What the user is told: what is wrong, which value, what to do."""


def set_id(epoch: float) -> str:
    """The name of a set that was begun then. Names sort as times do."""
    return strftime(ID_FORMAT, gmtime(epoch))


def began(name: str) -> float:
    """The time that a set's name says; never the file's, as a copy has another one."""
    if not ID.fullmatch(name):
        raise BackupError(f"{name!r} is not the id of a backup set: an id is a time, such as 20261126T020000Z")
    try:
        return float(timegm(strptime(name, ID_FORMAT)))
    except ValueError:
        raise BackupError(f"{name!r} is not the id of a backup set: there is no such time") from None


def is_id(name: str) -> bool:
    try:
        began(name)
    except BackupError:
        return False
    return True


def file_name(component: str, thing: str, suffix: str) -> str:
    """The name of an artefact. What a file cannot be called is written as in a URL."""
    return f"{component}-{quote(thing, safe='')}{suffix}"


def build(
    name: str, host: str, times: tuple[float, float], schedule: str, artefacts: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "id": name,
        "host": host,
        "began": times[0],
        "ended": times[1],
        "schedule": schedule,
        "artefacts": list(artefacts),
    }


def dumps(manifest: Mapping[str, Any]) -> str:
    return json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def parse(text: str) -> dict[str, Any]:
    """A manifest that can be relied upon, or BackupError with all that is wrong with it."""
    try:
        found = json.loads(text)
    except ValueError as exc:
        raise BackupError(f"the manifest is not JSON ({exc}): the set is broken, take another one") from None
    wrong = list(problems(found))
    if wrong:
        raise BackupError(f"the manifest is broken: {'; '.join(wrong)}. Take another set")
    return found


def problems(manifest: Any) -> Iterator[str]:
    if not isinstance(manifest, dict):
        yield "it is not an object"
        return
    if manifest.get("format") != FORMAT:
        yield f"format is {manifest.get('format')!r}, and {FORMAT} is what this program reads"
        return
    if not is_id(str(manifest.get("id"))):
        yield f"id is {manifest.get('id')!r}"
    for key in ("host", "schedule"):
        if not isinstance(manifest.get(key), str) or not manifest[key]:
            yield f"{key} is {manifest.get(key)!r}"
    for key in ("began", "ended"):
        if not _is_number(manifest.get(key)):
            yield f"{key} is {manifest.get(key)!r}"
    entries = manifest.get("artefacts")
    if not isinstance(entries, list) or not entries:
        yield "it has no artefacts"
        return
    for number, entry in enumerate(entries):
        yield from (f"artefacts[{number}]: {wrong}" for wrong in _artefact(entry))
    names = [entry.get("name") for entry in entries if isinstance(entry, dict)]
    yield from (f"two artefacts are called {name!r}" for name in sorted({str(n) for n in names if names.count(n) > 1}))


def _artefact(entry: Any) -> Iterator[str]:
    if not isinstance(entry, dict):
        yield "it is not an object"
        return
    name = entry.get("name")
    # A name that leads out of the set's folder would have a restore read, and a check hash, anything.
    if not isinstance(name, str) or not name or "/" in name or name.startswith(".") or name == FILE:
        yield f"name is {name!r}"
    if entry.get("kind") not in KINDS:
        yield f"kind is {entry.get('kind')!r}"
    if entry.get("component") not in COMPONENTS:
        yield f"component is {entry.get('component')!r}"
    size = entry.get("size")
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        yield f"size is {size!r}"
    if not isinstance(entry.get("sha256"), str) or not SHA256.fullmatch(entry["sha256"]):
        yield f"sha256 is {entry.get('sha256')!r}"
    if not isinstance(entry.get("source"), dict):
        yield f"source is {entry.get('source')!r}"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0


def size(manifest: Mapping[str, Any]) -> int:
    return sum(entry["size"] for entry in manifest["artefacts"])


def having(manifest: Mapping[str, Any], kind: str, **source: Any) -> list[dict[str, Any]]:
    """The artefacts of a kind whose source has these values."""
    return [
        entry
        for entry in manifest["artefacts"]
        if entry["kind"] == kind and all(entry["source"].get(key) == value for key, value in source.items())
    ]
