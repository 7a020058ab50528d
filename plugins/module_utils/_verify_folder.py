# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Artefacts that are folders: dumps of pg_dump -Fd, base backups with a manifest, and repositories."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from . import _verify_decode as decode
from . import _verify_repository as repository
from ._backup_host import read_back
from ._verify_artefact import Artefact
from ._verify_formats import HEAD, dump_header, folder_kind, major
from ._verify_model import Finding, StopError, finding, highest, stop
from ._verify_stream import PATH, ask, broken, opened
from ._verify_work import UNPACKED, workspace

# What of a folder says when it was made; a repository says that of its snapshots itself.
WRITTEN_LAST = {"pg_dir": decode.TABLE_OF_CONTENTS, "basebackup": "backup_manifest"}
SUFFIXES = ("", ".gz", ".lz4", ".zst")
TARS = (".tar", ".tar.gz", ".tar.lz4", ".tar.zst")
# The first of pg_verifybackup that reads tars.
READS_TARS = 18
SHOWN = 3


def files_of(path: str) -> list[str]:
    """All files below, in the order of their names."""
    return sorted(os.path.join(folder, name) for folder, _folders, names in os.walk(path) for name in names)


def is_artefact(path: str) -> bool:
    """Among what a pattern matches. Folders of anything else are not looked into."""
    with contextlib.suppress(OSError):
        return os.path.isfile(path) or bool(folder_kind(os.listdir(path), _config(path)))
    return False


def _config(path: str) -> bytes:
    with contextlib.suppress(FileNotFoundError, IsADirectoryError):
        return Path(path, "config").read_bytes()[:HEAD]
    return b""


class Folder(Artefact):
    """As a file is, but for what is asked of its inside."""

    def _what(self, status: os.stat_result) -> Iterator[Finding]:
        try:
            found = folder_kind(os.listdir(self.path), _config(self.path))
        except OSError as exc:
            raise stop("NOT_READABLE", f"{self.path}: {exc.strerror}") from None
        if not found or self.kind not in ("", found):
            wanted = f", and {self.kind} is expected" if self.kind else ""
            raise stop("WRONG_FORMAT", f"it is {found or 'a folder of nothing that is known'}{wanted}", "exists")
        self.kind = found
        files = files_of(self.path)
        self.facts |= {"format": found, "files": len(files)}
        self.facts["size"] = sum(os.lstat(each).st_size for each in files)
        if found in WRITTEN_LAST:
            with contextlib.suppress(FileNotFoundError):
                written = os.stat(os.path.join(self.path, WRITTEN_LAST[found])).st_mtime
                self.facts |= {"mtime": written, "age_seconds": time.time() - written}
        else:
            # Any look of its own program may write in it.
            del self.facts["age_seconds"], self.facts["mtime"]
        return iter(())

    def _read(self) -> None:
        begun = time.monotonic()
        self.level = highest(self.kind, self.level)
        # Nothing is read twice for a sum that nobody compares.
        if self.options["checksum"] or self.options["copies"] or self.options["min_copies"] > 1:
            self._compare(self.digest(self.path))
            self.durations["checksum"] = time.monotonic() - begun
        if self.kind in repository.KINDS:
            looks: tuple[Callable[[Any], Iterator[Finding]], ...] = repository.KINDS[self.kind]
        else:
            looks = {"pg_dir": (toc, data), "basebackup": (manifest, verified)}[self.kind]
        for level, look in zip(("structure", "decode"), looks, strict=True):
            if self.wanted(level):
                self.add(look(self))
                self.durations[level] = time.monotonic() - begun

    def digest(self, path: str) -> str:
        """Of names and contents of all files; of a file that of its content."""
        if not os.path.isdir(path):
            return super().digest(path)
        whole = hashlib.sha256()
        for each in files_of(path):
            self.clock.left("checksum")
            whole.update(f"{read_back(Path(each))[1]}  {os.path.relpath(each, path)}\n".encode())
        return whole.hexdigest()


# -- pg_dump -Fd ---------------------------------------------------------------------------------------------------


def toc(artefact: Folder) -> Iterator[Finding]:
    path = os.path.join(artefact.path, decode.TABLE_OF_CONTENTS)
    try:
        with open(path, "rb") as file:
            header = dump_header(file.read(HEAD))
    except FileNotFoundError:
        raise stop("FILES_MISSING", "toc.dat is not in it: nothing knows what its files are", "structure") from None
    except ValueError as exc:
        raise stop("WRONG_FORMAT", f"toc.dat: {exc}") from None
    artefact.facts |= {"database": header.database, "server_version": header.server_version}
    yield from artefact.expected_dump(header)
    argv = [decode.postgresql_program(header.server_version, "pg_restore", "structure"), "--list", artefact.path]
    code, out, said = ask(argv, artefact.clock, "structure")
    if code:
        raise broken(said[-300:])
    tables, owners = decode.contents(out)
    artefact.facts |= {"tables": tables, "owners": owners}
    yield from artefact.listed()


def data(artefact: Folder) -> Iterator[Finding]:
    """Each file to its end. C(pg_restore) takes one that was cut for whole, unless it is of gzip."""
    with open(os.path.join(artefact.path, decode.TABLE_OF_CONTENTS), "rb") as file:
        table = decode.table_of(file.read)

    def last(name: str) -> Any:
        for suffix in SUFFIXES:
            path = os.path.join(artefact.path, name + suffix)
            if os.path.exists(path):
                return _last_of(artefact, path)
        return None

    if table is None:
        raise stop("TOOL_MISSING", "its version of the format is not known here: use decode with a newer shipshape")
    yield from decode.data_problems(table, last)
    # Large objects are named in tables of their own.
    known = set(decode.archive.data_files(table))
    named = [
        words[1]
        for name in known
        if name.endswith(".toc") and os.path.exists(os.path.join(artefact.path, name))
        for words in map(str.split, Path(artefact.path, name).read_text(encoding="utf-8").splitlines())
        if len(words) == 2
    ]
    missing = [name for name in named if last(name) is None]
    if missing:
        yield finding("FILES_MISSING", f"{', '.join(missing[:SHOWN])} is not in it ({len(missing)} large objects)")


def _last_of(artefact: Folder, path: str) -> bytes:
    try:
        with opened(path, artefact.options["decrypt"], artefact.clock) as stack:
            found = decode.last_of(stack.top)
            stack.finish()
            return found
    except StopError as exc:
        raise _named(exc, path) from None


# -- pg_basebackup -------------------------------------------------------------------------------------------------


def manifest(artefact: Folder) -> Iterator[Finding]:
    """It has a checksum of its own; and each of its files is there, as long as it was."""
    raw = Path(artefact.path, "backup_manifest").read_bytes()
    head, mark, _rest = raw.rpartition(b'"Manifest-Checksum"')
    try:
        document = json.loads(raw)
        wanted, sizes = (
            document["Manifest-Checksum"],
            {each.get("Path", ""): each["Size"] for each in document["Files"]},
        )
    except (ValueError, KeyError, TypeError):
        raise stop("TRUNCATED", "its backup_manifest has no end", "structure") from None
    if not mark or hashlib.sha256(head).hexdigest() != wanted:
        raise stop("CHECKSUM_MISMATCH", "its backup_manifest was changed", "structure")
    artefact.facts["manifest_files"] = len(sizes)
    if tars := _tars(artefact.path):
        if not any(each.startswith("base.tar") for each in tars):
            raise stop("FILES_MISSING", "base.tar is not in it", "structure")
        return
    artefact.facts["server_version"] = _version(artefact.path)
    missing, short = [], []
    for name, size in sizes.items():
        try:
            there = os.stat(os.path.join(artefact.path, name)).st_size
        except OSError:
            missing.append(name)
            continue
        if there < size:
            short.append(name)
    if missing:
        message = f"{', '.join(missing[:SHOWN])} is not in it ({len(missing)} of {len(sizes)})"
        yield finding("FILES_MISSING", message, "structure")
    if short:
        yield finding("TRUNCATED", f"{', '.join(short[:SHOWN])} is shorter than the manifest says", "structure")


def _tars(path: str) -> list[str]:
    return sorted(each for each in os.listdir(path) if each.endswith(TARS))


def _version(path: str) -> str:
    try:
        return Path(path, "PG_VERSION").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise stop("FILES_MISSING", "PG_VERSION is not in it", "structure") from None


def verified(artefact: Folder) -> Iterator[Finding]:
    """By the program of the same major version: it knows which files may differ, and reads the WAL."""
    if not _tars(artefact.path):
        return _by_program(artefact, artefact.path)
    return _unpacked(artefact)


def _unpacked(artefact: Folder) -> Iterator[Finding]:
    """Its tars are put side by side as a restore would, in a folder that goes away again."""
    work = artefact.options["work_dir"]
    try:
        with workspace(work, UNPACKED, "decode") as own:
            # The mark of the workspace is no file of the backup.
            folder = os.path.join(own, "data")
            for name in _tars(artefact.path):
                stem = name[: name.index(".tar")]
                below = {"base": "", "pg_wal": "pg_wal"}.get(stem, f"pg_tblspc/{stem}")
                _unpack(artefact, os.path.join(artefact.path, name), os.path.join(folder, below))
            Path(folder, "backup_manifest").write_bytes(Path(artefact.path, "backup_manifest").read_bytes())
            artefact.facts["server_version"] = _version(folder)
            yield from _by_program(artefact, folder)
    except OSError as exc:
        raise stop("NO_SPACE", f"{work}: {exc.strerror}", "decode") from None


def _unpack(artefact: Folder, path: str, folder: str) -> None:
    def look(packed: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        # Links lead to the tablespaces of the source.
        if member.isreg() or member.isdir():
            packed.extract(member, folder, set_attrs=False, filter="data")

    os.makedirs(folder, mode=0o700, exist_ok=True)
    try:
        with opened(path, artefact.options["decrypt"], artefact.clock) as stack:
            decode.members(stack, look)
            stack.finish()
    except StopError as exc:
        raise _named(exc, path) from None


def _named(exc: StopError, path: str) -> StopError:
    return stop(exc.finding.id, f"{os.path.basename(path)}: {exc}", exc.finding.level)


def _by_program(artefact: Folder, path: str) -> Iterator[Finding]:
    version = artefact.facts["server_version"]
    program = os.path.join("/usr/lib/postgresql", major(version), "bin/pg_verifybackup")
    if not os.access(program, os.X_OK):
        raise stop("TOOL_MISSING", f"{program}: not here; install postgresql-{major(version)}")
    # It starts pg_waldump from beside itself.
    code, out, said = ask([program, path], artefact.clock, "decode", environment={"PATH": PATH})
    if code:
        for name, message in problems(f"{said} {out}"):
            yield finding(name, f"pg_verifybackup: {message}")


def problems(said: str) -> Iterator[tuple[str, str]]:
    """What pg_verifybackup or a program for repositories says, by the worst that is in it."""
    shown = said.replace("pg_verifybackup: error: ", "")[:300].strip()
    if "present in the manifest but not on disk" in said or "could not find any WAL file" in said:
        yield "FILES_MISSING", shown
    elif "on disk but size" in said:
        yield "TRUNCATED", shown
    else:
        yield "DECODE_ERROR", shown
