# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Back up what is no server: SQLite by its own online backup, files by tar, and what any command prints."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ._backup_host import as_user, execute
from ._backup_manifest import BackupError
from ._backup_schema import quoted

BUSY_SECONDS = 60.0
# Of all that tar ends with 1 for, a file that became shorter is what it does not hold: its end is made up.
PADDED = "padding with zeros"


def sqlite(component: Mapping[str, Any], folder: Path) -> Iterator[dict[str, Any]]:
    """Never a copy of the file: what is written while it is copied, and the log beside it, would be torn apart."""
    source, path = component["path"], folder / f"sqlite-{component['name']}.db"
    if not os.path.isfile(source):
        raise BackupError(f"{component['name']}: there is no file {source}: correct its path")
    if os.path.islink(source):
        # A restore takes the place of the file, and not of a link in a release's folder.
        source = os.path.realpath(source)
    try:
        # Not made where it is missing, and never written.
        live = sqlite3.connect(f"file:{quote(source)}?mode=ro", uri=True, timeout=BUSY_SECONDS)
        copy = sqlite3.connect(path)
        try:
            # In one step: a copy in several begins anew with each write between them, and may never end.
            live.backup(copy)
            facts = sqlite_facts(copy)
        finally:
            copy.close()
            live.close()
    except sqlite3.Error as exc:
        raise BackupError(f"{component['name']}: {source}: {exc}") from None
    yield {"path": path, "component": "sqlite", "kind": "sqlite", "source": {"path": source}, "tables": facts}


def sqlite_facts(database: sqlite3.Connection) -> dict[str, int]:
    """Rows by table, of a file that is whole."""
    # A file alone is what a restore puts back.
    database.execute("PRAGMA journal_mode=DELETE")
    refuse_damage(database)
    return table_rows(database)


def refuse_damage(database: sqlite3.Connection) -> None:
    said = [str(row[0]) for row in database.execute("PRAGMA integrity_check(5)")]
    if said != ["ok"]:
        raise sqlite3.DatabaseError(f"it is damaged: {'; '.join(said)}")


def table_rows(database: sqlite3.Connection) -> dict[str, int]:
    names = database.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
    )
    return {
        name: database.execute(f"SELECT count(*) FROM {quoted(name)}").fetchone()[0]  # noqa: S608
        for (name,) in names.fetchall()
    }


def files(component: Mapping[str, Any], folder: Path) -> Iterator[dict[str, Any]]:
    there = [each for each in component["paths"] if os.path.lexists(each)]
    missing = sorted(set(component["paths"]) - set(there))
    if missing and not component["optional"]:
        raise BackupError(f"{component['name']}: there is no {', '.join(missing)}: correct its paths, or set optional")
    if not there:
        return
    path = folder / f"files-{component['name']}.tar.gz"
    argv = ["tar", "--create", "--gzip", "--acls", "--xattrs", "--numeric-owner", "--directory=/"]
    # A path is that path alone, and no folder of its name elsewhere; what is no path is a name anywhere.
    for each in component["exclude"]:
        argv += ["--anchored" if each.startswith("/") else "--no-anchored", f"--exclude={each.lstrip('/')}"]
    argv.append("--anchored")
    # Our own sets would hold each other.
    argv += [f"--exclude={str(folder.parent).lstrip('/')}", "--", *(each.strip("/") or "." for each in there)]
    with path.open("xb") as out:
        rc, _out, said = execute(argv, component["name"], component["timeout"], None, out, accepted=(0, 1))
    if rc == 1 and PADDED in said:
        raise BackupError(f"{component['name']}: tar: {said}: back it up while nobody cuts it, or leave it out")
    entry = {"path": path, "component": "files", "kind": "tar", "source": {"paths": there}}
    entry["files"] = tar_members(path, component["timeout"])
    # What changed is in the archive as it was at some moment, and what was removed is not; who restores should know.
    yield {**entry, **({"warnings": [said]} if said else {})}


def tar_members(path: Path, seconds: float) -> int:
    """Read to the end, checksums and all."""
    _rc, out, _said = execute(
        ["tar", "--list", "--gzip", "--file", str(path)], f"{path.name}: the new archive", seconds
    )
    return out.count(b"\n")


def command(component: Mapping[str, Any], folder: Path) -> Iterator[dict[str, Any]]:
    """What a program prints. Its exit status counts, and an output of nothing is no backup."""
    path = folder / f"command-{component['name']}"
    with path.open("xb") as out:
        execute(as_user(component["user"], component["argv"]), component["name"], component["timeout"], None, out)
    size = path.stat().st_size
    if size < component["min_size"]:
        raise BackupError(f"{component['name']}: it printed {size} bytes, and min_size is {component['min_size']}")
    yield {"path": path, "component": "command", "kind": "output", "source": {"argv": component["argv"]}}
