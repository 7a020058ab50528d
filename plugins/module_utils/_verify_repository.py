# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Repositories of restic, borg and pgBackRest, each looked at by its own program.

The password comes from a file and never stands in an argument. Nothing is repaired; borg takes its lock in the
repository, which it has to be able to write.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Optional

from ._verify_model import Finding, finding, stop
from ._verify_stream import ask

SHOWN = 400
# restic: no repository, locked, wrong password. borg: locked (two), wrong password, no key.
LOCKED = {"restic": (11,), "borg": (70, 71, 72, 73, 74, 75)}
WRONG_KEY = {"restic": (12,), "borg": (44, 52, 53)}
CUT = re.compile(r"unexpected file size|too short|short read", re.IGNORECASE)
GONE = re.compile(r"does not exist|not found|missing", re.IGNORECASE)
DAMAGED = re.compile(r"mismatch \[segment|integrity|ciphertext|invalid data|checksum|hash", re.IGNORECASE)
FRACTION = re.compile(r"\.\d+")


def judged(said: str) -> str:
    """The id of what a program found. Damage may make other objects look lost, and a cut looks like damage."""
    return (
        "TRUNCATED"
        if CUT.search(said)
        else "DECODE_ERROR"
        if DAMAGED.search(said)
        else "FILES_MISSING"
        if GONE.search(said)
        else "DECODE_ERROR"
    )


def moment(text: str) -> float:
    """As restic (RFC 3339, nanoseconds) and borg (local time) write it."""
    return datetime.fromisoformat(FRACTION.sub("", text).replace("Z", "+00:00")).timestamp()


def password_file(artefact: Any) -> str:
    path = artefact.options["decrypt"].get("password_file") or ""
    if path and not os.access(path, os.R_OK):
        raise stop("KEY_UNAVAILABLE", f"{artefact.path} is encrypted, and {path} cannot be read")
    return str(path)


def asked(artefact: Any, argv: list[str], environment: Mapping[str, str], level: str) -> tuple[int, str, str]:
    """The program's answer, unless it could not even begin."""
    name = artefact.kind
    code, out, said = ask(argv, artefact.clock, level, environment=environment)
    if code in WRONG_KEY.get(name, ()) and not password_file(artefact):
        raise stop("KEY_UNAVAILABLE", f"{artefact.path} is encrypted, and no password_file is given")
    if code in WRONG_KEY.get(name, ()):
        raise stop("DECRYPT_FAILED", f"{name}: {said[-SHOWN:]}", "structure")
    if code in LOCKED.get(name, ()):
        raise stop("NOT_READABLE", f"{name}: it is locked: {said[-SHOWN:]}", level)
    return code, out, said


def newest(artefact: Any, times: list[float]) -> Iterator[Finding]:
    # Where one could not be read, that is found with the data.
    if not times:
        raise stop("EMPTY_ARTEFACT", "there is no backup in the repository", "structure")
    artefact.facts |= {"snapshots": len(times), "age_seconds": time.time() - max(times)}
    age, most = artefact.facts["age_seconds"], artefact.options["max_age"]
    if most and age > most:
        yield finding("STALE", f"its newest backup is {age:.0f} s old, and max_age is {most} s", "structure")


# -- restic --------------------------------------------------------------------------------------------------------


def _restic(artefact: Any, *words: str, level: str) -> tuple[int, str, str]:
    file = password_file(artefact)
    if not file:
        raise stop("KEY_UNAVAILABLE", f"{artefact.path} is encrypted, and no password_file is given")
    argv = ["restic", "-r", artefact.path, "--password-file", file, "--no-cache", "--no-lock", *words]
    return asked(artefact, argv, {}, level)


def restic_structure(artefact: Any) -> Iterator[Finding]:
    code, out, said = _restic(artefact, "snapshots", "--json", level="structure")
    if code or (said and not json.loads(out)):
        raise stop(judged(said), f"restic: {said[-SHOWN:]}", "structure")
    # To read the data is to do all of that again.
    if not artefact.wanted("decode"):
        yield from _restic_check(artefact)
    yield from newest(artefact, [moment(each["time"]) for each in json.loads(out) or []])


def restic_data(artefact: Any) -> Iterator[Finding]:
    percent = artefact.options["read_percent"]
    words = ["--read-data"] if percent == 100 else [f"--read-data-subset={percent}%"]
    yield from _restic_check(artefact, *words)


def _restic_check(artefact: Any, *words: str) -> Iterator[Finding]:
    code, out, said = _restic(artefact, "check", *words, level="decode" if words else "structure")
    if code:
        name = judged(f"{said} {out}")
        # Sizes and names are looked at without the data.
        level = "decode" if words and name == "DECODE_ERROR" else "structure"
        yield finding(name, f"restic check: {said[:SHOWN]}", level)


# -- borg ----------------------------------------------------------------------------------------------------------


@contextmanager
def _borg(artefact: Any) -> Iterator[Callable[..., tuple[int, str, str]]]:
    """Its cache is not ours to fill, and a repository that it has not seen is no question here."""
    file = password_file(artefact)
    with tempfile.TemporaryDirectory(prefix="shipshape-borg-") as folder:
        environment = {
            "BORG_CACHE_DIR": f"{folder}/cache",
            "BORG_SECURITY_DIR": f"{folder}/security",
            "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
            "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
            "BORG_EXIT_CODES": "modern",
            **({"BORG_PASSCOMMAND": f"cat {shlex.quote(file)}"} if file else {"BORG_PASSPHRASE": ""}),
        }
        yield lambda level, *words: asked(artefact, ["borg", *words, artefact.path], environment, level)


def borg_structure(artefact: Any) -> Iterator[Finding]:
    with _borg(artefact) as borg:
        code, out, said = borg("structure", "list", "--json")
    if code:
        raise stop(judged(said), f"borg list: {said[-SHOWN:]}", "structure")
    yield from newest(artefact, [moment(each["time"]) for each in json.loads(out)["archives"]])


def borg_data(artefact: Any) -> Iterator[Finding]:
    with _borg(artefact) as borg:
        code, _out, said = borg("decode", "check", "--verify-data")
    if code:
        yield finding(judged(said), f"borg check: {said[:SHOWN]}")


# -- pgBackRest ----------------------------------------------------------------------------------------------------


def _stanzas(artefact: Any) -> list[str]:
    folder = os.path.join(artefact.path, "backup")
    return sorted(each for each in os.listdir(folder) if os.path.isdir(os.path.join(folder, each)))


def _pgbackrest(artefact: Any, stanza: str, level: str, *words: str) -> tuple[int, str, str]:
    file, environment = password_file(artefact), {}
    if file:
        with open(file, encoding="utf-8") as handle:
            cipher = {"CIPHER_TYPE": "aes-256-cbc", "CIPHER_PASS": handle.readline().rstrip("\n")}
        environment = {f"PGBACKREST_REPO1_{key}": value for key, value in cipher.items()}
    where = ["--config=/dev/null", f"--repo1-path={artefact.path}", "--log-level-file=off", f"--stanza={stanza}"]
    return asked(artefact, ["pgbackrest", *where, *words], environment, level)


def pgbackrest_structure(artefact: Any) -> Iterator[Finding]:
    times: list[float] = []
    for stanza in _stanzas(artefact):
        code, out, said = _pgbackrest(artefact, stanza, "structure", "--output=json", "info")
        for each in [] if code else json.loads(out):
            wrong: Optional[str] = each["status"]["message"] if each["status"]["code"] else None
            times += [found["timestamp"]["stop"] for found in each.get("backup", []) if not found.get("error")]
            if wrong:
                yield finding("DECODE_ERROR", f"pgbackrest: {stanza}: {wrong}", "structure")
        if code:
            name = "DECRYPT_FAILED" if "cipher" in f"{said}{out}" or "decrypt" in f"{said}{out}" else judged(said + out)
            yield finding(name, f"pgbackrest info: {stanza}: {(said or out)[-SHOWN:]}", "structure")
    yield from newest(artefact, times)


def pgbackrest_data(artefact: Any) -> Iterator[Finding]:
    for stanza in _stanzas(artefact):
        code, out, said = _pgbackrest(artefact, stanza, "decode", "--output=text", "--verbose", "verify")
        # It leaves with 0 whatever it finds (measured with 2.55).
        if code or "status: ok" not in out:
            found = " ".join(f"{out} {said}".split())
            name = "FILES_MISSING" if re.search(r"missing: [1-9]|No usable", found) else "DECODE_ERROR"
            yield finding(name, f"pgbackrest verify: {found[:SHOWN]}")


KINDS: dict[str, tuple[Callable[[Any], Iterator[Finding]], ...]] = {
    "restic": (restic_structure, restic_data),
    "borg": (borg_structure, borg_data),
    "pgbackrest": (pgbackrest_structure, pgbackrest_data),
}
