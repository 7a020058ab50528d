# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verify a set, a file, or the files of a pattern. A check that could not be made is never a success."""

from __future__ import annotations

import glob
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

from . import _backup_manifest as manifest
from ._backup_manifest import BackupError
from ._backup_postgresql import roles_of
from ._verify_artefact import Artefact
from ._verify_folder import Folder, is_artefact
from ._verify_history import line, record
from ._verify_model import (
    FAILED,
    PASSED,
    Finding,
    StopError,
    finding,
    highest,
    reached,
    unless_ignored,
    verdict,
    worst,
)
from ._verify_options import DEFAULTS, refuse_wrong
from ._verify_postgresql import Restored, dropped
from ._verify_redis import load

RESTORED = ("pg_custom", "pg_plain", "pg_tar", "pg_dir")
# What the metrics call sets: each has a name of its own, and there would be no end of series.
SETS = "set"


def verify(path: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The whole report. BackupError is what the caller got wrong."""
    options = {**DEFAULTS, **given}
    refuse_wrong(options)
    begun = time.monotonic()
    found = [_file(each, options) for each in chosen(path, options["select"])] if not _is_set(path) else None
    artefacts = _set(path, options) if found is None else found
    if left := unasked(options, artefacts):
        artefacts.append(_broken(path, options, finding("CHECK_NOT_MADE", f"no database was asked: {', '.join(left)}")))
    report: dict[str, Any] = {
        "path": path,
        "level_requested": options["level"],
        "verdict": worst(each["verdict"] for each in artefacts),
        "artefacts": artefacts,
        "seconds": time.monotonic() - begun,
    }
    ages = [each["age_seconds"] for each in artefacts if "age_seconds" in each]
    report["rpo_seconds"] = _age_of_set(path) if found is None else min(ages, default=None)
    times = [each["restore_seconds"] for each in artefacts if "restore_seconds" in each]
    report["rto_seconds"] = sum(times) if times else None
    new = line(path, report, time.time(), "" if found else SETS, options["rto_budget"], options["max_age"])
    unwritten = record(new, options["history_path"], options["metrics_path"])
    report["warnings"] = [each.plain() for each in unwritten]
    return report


def unasked(options: Mapping[str, Any], artefacts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Checks that nobody was asked. Where a database could not be restored its own findings say so."""
    asked_for = {check["name"] for check in options["checks"]}
    if any(each["verdict"] != PASSED for each in artefacts):
        return []
    return sorted(asked_for - {check["name"] for each in artefacts for check in each.get("checks", [])})


def _is_set(path: str) -> bool:
    return os.path.isfile(os.path.join(path, manifest.FILE)) or manifest.is_id(os.path.basename(path.rstrip("/")))


def _age_of_set(path: str) -> Optional[float]:
    name = os.path.basename(path.rstrip("/"))
    return time.time() - manifest.began(name) if manifest.is_id(name) else None


def chosen(path: str, select: str) -> list[str]:
    """By name, as names hold the time: a copy has another mtime, and the newest may be the broken one."""
    if not glob.has_magic(path):
        return [path]
    found = sorted(each for each in glob.glob(path) if is_artefact(each))
    return (found if select == "all" else found[-1:]) or [path]


def _file(path: str, options: Mapping[str, Any]) -> dict[str, Any]:
    made = Folder if os.path.isdir(path) else Artefact
    artefact = made(path, options, _entry(path, options["manifest"]))
    if glob.has_magic(os.path.basename(path)):
        artefact.findings.append(finding("MISSING", f"no file is called like {path}"))
        return outcome(artefact, options)
    text = ""
    if options["globals_path"]:
        try:
            text = Path(options["globals_path"]).read_text(encoding="utf-8", errors="replace")
            artefact.roles = set(roles_of(text))
        except OSError as exc:
            message = f"{options['globals_path']}: {exc.strerror}"
            artefact.findings.append(finding("GLOBALS_MISSING", message))
    return _verified(artefact, options, text)


def _entry(path: str, file: str) -> Optional[Mapping[str, Any]]:
    if not file:
        return None
    try:
        document = manifest.parse(Path(file).read_text(encoding="utf-8"))
    except OSError as exc:
        raise BackupError(f"manifest: {file}: {exc.strerror}") from None
    for entry in document["artefacts"]:
        if entry["name"] == os.path.basename(path):
            return dict(entry)
    raise BackupError(f"manifest: {file} has no artefact {os.path.basename(path)}")


def _set(path: str, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All artefacts of a set, each by its entry in the manifest."""
    try:
        document = manifest.parse((Path(path) / manifest.FILE).read_text(encoding="utf-8"))
    except OSError as exc:
        return [_broken(path, options, finding("MISSING", f"{path}/{manifest.FILE}: {exc.strerror}"))]
    except BackupError as exc:
        return [_broken(path, options, finding("CHECKSUM_MISMATCH", str(exc)))]
    found = list(_set_findings(path, document, options))
    text = "".join(_globals(path, document))
    reports = [_broken(path, options, *found)] if found else []
    for entry in document["artefacts"]:
        # The age is the set's, and its name says it; a copy that was brought home has another time.
        artefact = Artefact(os.path.join(path, entry["name"]), {**options, "max_age": 0}, entry)
        artefact.sizes = list(_sizes(path, entry["name"])) if options["size_tolerance"] else []
        artefact.roles = set(roles_of(text)) if text else None
        reports.append(_verified(artefact, options, text))
    return reports


def _set_findings(path: str, document: Mapping[str, Any], options: Mapping[str, Any]) -> Iterator[Finding]:
    name = os.path.basename(path.rstrip("/"))
    if name.endswith(manifest.PARTIAL):
        yield finding("PARTIAL", f"{name} was not finished")
    elif document["id"] != name:
        yield finding("WRONG_FORMAT", f"the manifest is that of {document['id']}, and the folder is {name}", "exists")
    age = time.time() - manifest.began(document["id"])
    if options["max_age"] and age > options["max_age"]:
        yield finding("STALE", f"it is {age:.0f} s old, and max_age is {options['max_age']} s")
    kinds = {each["kind"] for each in document["artefacts"]}
    if "pg_custom" in kinds and "pg_globals" not in kinds:
        yield finding("GLOBALS_MISSING", "the set has dumps, and no globals")


def _globals(path: str, document: Mapping[str, Any]) -> Iterator[str]:
    for each in document["artefacts"]:
        if each["kind"] == "pg_globals":
            try:
                yield (Path(path) / each["name"]).read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue  # its own verification says so


def _sizes(path: str, name: str) -> Iterator[int]:
    """Of the artefact in the sets before, oldest first."""
    own = Path(path)
    for folder in sorted(own.parent.iterdir()):
        if manifest.is_id(folder.name) and folder.name < own.name:
            try:
                document = manifest.parse((folder / manifest.FILE).read_text(encoding="utf-8"))
            except (OSError, BackupError):
                continue
            yield from (each["size"] for each in document["artefacts"] if each["name"] == name)


def _broken(path: str, options: Mapping[str, Any], *found: Finding) -> dict[str, Any]:
    artefact = Artefact(path, options)
    artefact.findings += found
    return outcome(artefact, options)


def _verified(artefact: Artefact, options: Mapping[str, Any], globals_text: str) -> dict[str, Any]:
    artefact.check()
    # What is broken up to here is not worth a server; what could not be looked at may still be restored.
    if verdict(unless_ignored(artefact.findings, options["ignore"])[0]) != FAILED and artefact.wanted("restore"):
        try:
            _restore(artefact, globals_text)
        except StopError as exc:
            artefact.findings.append(exc.finding)
        except BackupError as exc:
            artefact.findings.append(finding("SCRATCH_FAILED", str(exc)))
    return outcome(artefact, options)


def _restore(artefact: Artefact, globals_text: str) -> None:
    if artefact.kind in RESTORED:
        Restored(artefact, globals_text).check()
    elif artefact.kind == "redis_rdb" and "keys" in artefact.facts:
        artefact.add(load(artefact))
    elif artefact.kind == "sqlite" and "rows" in artefact.facts and artefact.wanted("rows"):
        artefact.add(dropped(artefact.entry, artefact.facts["rows"], artefact.options))


def outcome(artefact: Artefact, options: Mapping[str, Any]) -> dict[str, Any]:
    counted, ignored = unless_ignored(artefact.findings, options["ignore"])
    facts = artefact.facts
    shown = ("path", "size", "mtime", "age_seconds", "sha256", "format", "compression", "database", "server_version",
             "tables", "files", "keys", "snapshots", "copies", "restore_seconds", "restore_errors",
             "checks")  # fmt: skip
    level = highest(artefact.kind, options["level"])
    return {
        **{key: facts[key] for key in shown if key in facts},
        "verdict": verdict(counted),
        "level_reached": reached(counted, level),
        "findings": [each.plain() for each in counted],
        "ignored": [each.plain() for each in ignored],
        "durations": {key: round(value, 3) for key, value in artefact.durations.items()},
    }


def problems(report: Mapping[str, Any]) -> Sequence[str]:
    """One line for each finding."""
    found = [
        f"{os.path.basename(each['path'].rstrip('/'))}: {found['id']}: {found['message']}: {found['hint']}"
        for each in report["artefacts"]
        for found in each["findings"]
    ]
    return [*found, *warnings(report)]


def warnings(report: Mapping[str, Any]) -> Sequence[str]:
    """What is no matter of the backup, and of no verdict."""
    return [f"{found['id']}: {found['message']}: {found['hint']}" for found in report["warnings"]]
