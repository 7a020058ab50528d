# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a backup is proven, what can be wrong with one, and what that makes of it.

Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Optional

# Each proves what those before do, and more.
LEVELS = ("exists", "checksum", "structure", "decode", "restore", "schema", "rows", "queries", "integrity")
FILES = ("pg_custom", "pg_plain", "pg_tar", "pg_globals", "redis_rdb", "sqlite", "tar", "output")
FOLDERS = ("pg_dir", "basebackup", "restic", "borg", "pgbackrest")
TYPES = ("auto", *FILES, *FOLDERS)
# How far each kind can be proven; asked for more, that much is all there is.
HIGHEST = {
    "pg_globals": "decode",
    "redis_rdb": "rows",
    "sqlite": "rows",
    "tar": "decode",
    "output": "checksum",
    "basebackup": "decode",
    "restic": "decode",
    "borg": "decode",
    "pgbackrest": "decode",
}
PASSED, FAILED, UNVERIFIED = "passed", "failed", "unverified"
ERROR, UNKNOWN = "error", "unverified"

# What is found: the cheapest level that finds it, and what to do.
FINDINGS = {
    "MISSING": ("exists", "see why the run did not write it; take another set"),
    "EMPTY_ARTEFACT": ("exists", "the program that made it failed; see its log, and check its exit status"),
    "PARTIAL": ("exists", "it was never finished: no restore may use it"),
    "PERMS": ("exists", "chmod 0600: a backup holds all secrets that the source holds"),
    "STALE": ("exists", "see why the last run did not happen or failed"),
    "TOO_SMALL": ("exists", "see what is missing in it"),
    "SIZE_ANOMALY": ("exists", "compare it with the ones before; the source may have lost data"),
    "COPIES_BELOW": ("exists", "copy it to more places: a disk takes all that are on it along"),
    "OFFSITE_MISSING": ("checksum", "copy it there again, and see why the upload failed"),
    "OFFSITE_DIFFERS": ("checksum", "remove that copy and upload again"),
    "CHECKSUM_MISMATCH": ("checksum", "it changed after it was made: take a copy of it, or another set"),
    "KEY_UNAVAILABLE": ("checksum", "bring the escrowed key: without it this backup is lost"),
    "DECRYPT_FAILED": ("structure", "it is for another key, or damaged: try the key that was in use then"),
    "WRONG_FORMAT": ("structure", "it is not what its name or its manifest says: see what wrote it"),
    "WRONG_DATABASE": ("structure", "it is the dump of another database: correct the command that made it"),
    "VERSION_MISMATCH": ("structure", "restore it with the version that it is of"),
    "GLOBALS_MISSING": (
        "structure",
        "pg_dumpall --globals-only beside each dump: without roles a restore is not whole",
    ),
    "ROLE_MISSING": ("structure", "take the globals of the same time; the owner would be lost"),
    "AOF_SHADOWS": ("structure", "the server reads appendonlydir and never this file: restore with AOF off, then on"),
    "TRUNCATED": ("decode", "the end is missing: the disk was full, or the program was killed"),
    "DECODE_ERROR": ("decode", "it is damaged inside: take a copy of it, or another set"),
    "EMPTY_DATABASE": ("decode", "there is no table in it; if that is right, say allow_empty"),
    "FILES_MISSING": ("decode", "see the warnings of the run that made it"),
    "RESTORE_ERRORS": ("restore", "see the messages; what failed is missing after a real restore, too"),
    "EXTENSION_MISSING": ("restore", "install the package of the extension where this is to be restored"),
    "RTO_EXCEEDED": ("restore", "restore faster (more cores, pg_restore -j), or plan for that time"),
    "SCHEMA_DIFFERS": ("schema", "the restored database lacks what the source had"),
    "ROW_DROP": ("rows", "rows of the source are not in the backup"),
    "CHECK_FAILED": ("queries", "the data are not what the app needs"),
    "STALE_DATA": ("queries", "the newest row is too old: is the source a replica that stopped?"),
    "INDEX_CORRUPT": ("integrity", "the source's index may be corrupt, too: check it with amcheck, and reindex"),
    "SEQUENCE_BEHIND": ("integrity", "the next insert fails: set the sequence to the column's maximum"),
    "COLLATION": ("integrity", "REINDEX after a restore: the order of texts is another one here"),
    # The check could not be made. It is never taken for a success.
    "TOOL_MISSING": ("decode", "install what is named"),
    "NO_SPACE": ("restore", "make room in work_dir, or name another one"),
    "TIMEOUT": ("decode", "give it more time"),
    "NOT_READABLE": ("exists", "run as root, or see the disk"),
    "CHECK_NOT_MADE": ("queries", "name its database, and a level of queries or more"),
    "SCRATCH_FAILED": ("restore", "see the message: the instance to restore into did not start"),
    "NO_REFERENCE": ("schema", "a manifest made with the dump says what has to be there"),
}
NOT_MADE = (
    "TOOL_MISSING",
    "NO_SPACE",
    "TIMEOUT",
    "NOT_READABLE",
    "CHECK_NOT_MADE",
    "SCRATCH_FAILED",
    "NO_REFERENCE",
    "KEY_UNAVAILABLE",
)


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or that could not be looked at."""

    id: str
    severity: str
    level: str
    message: str
    hint: str

    def plain(self) -> dict[str, str]:
        return asdict(self)


def finding(name: str, message: str, level: Optional[str] = None) -> Finding:
    usual, hint = FINDINGS[name]
    return Finding(name, UNKNOWN if name in NOT_MADE else ERROR, level or usual, message, hint)


class StopError(Exception):
    """Nothing after this can be looked at."""

    def __init__(self, found: Finding) -> None:
        super().__init__(found.message)
        self.finding = found


def stop(name: str, message: str, level: Optional[str] = None) -> StopError:
    return StopError(finding(name, message, level))


def at_least(level: str, wanted: str) -> bool:
    """Whether the level is asked for where C(wanted) is."""
    return LEVELS.index(level) <= LEVELS.index(wanted)


def highest(kind: str, wanted: str) -> str:
    """The level that is asked for, or the last one that the kind has."""
    most = HIGHEST.get(kind, LEVELS[-1])
    return wanted if at_least(wanted, most) else most


def reached(findings: Iterable[Finding], wanted: str) -> str:
    """The last level below everything that was found; empty if not even the first."""
    lowest = min((LEVELS.index(each.level) for each in findings), default=len(LEVELS))
    last = min(lowest - 1, LEVELS.index(wanted))
    return LEVELS[last] if last >= 0 else ""


def verdict(findings: Iterable[Finding]) -> str:
    severities = {each.severity for each in findings}
    return FAILED if ERROR in severities else UNVERIFIED if UNKNOWN in severities else PASSED


def worst(verdicts: Iterable[str]) -> str:
    """Of many. Of none it is not known."""
    found = set(verdicts)
    return next((each for each in (FAILED, UNVERIFIED, PASSED) if each in found), UNVERIFIED)


def unless_ignored(
    findings: Sequence[Finding], ignore: Sequence[Mapping[str, str]]
) -> tuple[list[Finding], list[Finding]]:
    """Those that count, and those that somebody has said a reason for."""
    names = {each["id"] for each in ignore}
    return [each for each in findings if each.id not in names], [each for each in findings if each.id in names]
