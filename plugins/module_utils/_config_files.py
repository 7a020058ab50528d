# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at files and change them, one by one, never through a link. What to do is decided elsewhere."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
import time
from collections.abc import Iterable
from typing import Any

from ansible_collections.shipshape.stack.plugins.module_utils._config_diff import LARGE
from ansible_collections.shipshape.stack.plugins.module_utils._config_entries import Purge
from ansible_collections.shipshape.stack.plugins.module_utils._config_plan import State, Step, Wanted, purgeable
from ansible_collections.shipshape.stack.plugins.module_utils._config_restore import (
    ASIDE_PREFIX,
    ConfigError,
    Record,
    lstat,
    parent,
)

FS_IOC_GETFLAGS = 0x80086601
FLAGS = {0x10: "immutable (chattr -i)", 0x20: "append-only (chattr -a)"}


# --- looking ----------------------------------------------------------------------------------------------------------


def read_text(path: str) -> str:
    """All of a text file, whatever bytes are in it; nothing where it is missing."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as handle:
            return handle.read()
    except FileNotFoundError:
        return ""


def _read(fd: int, name: str, size_wanted: int) -> bytes | None:
    # O_NONBLOCK: were it swapped for a pipe since lstat, opening must not hang.
    handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=fd)
    with os.fdopen(handle, "rb") as file:
        size = os.fstat(handle).st_size
        return file.read() if size in (size_wanted,) or size <= LARGE else None


def _look(fd: int, name: str, shared: bool, size_wanted: int) -> State:
    found = lstat(fd, name)
    if found is None:
        return State(shared=shared)
    common: dict[str, Any] = {
        "mode": stat.S_IMODE(found.st_mode),
        "uid": found.st_uid,
        "gid": found.st_gid,
        "nlink": found.st_nlink,
        "size": found.st_size,
        "shared": shared,
    }
    if stat.S_ISREG(found.st_mode):
        return State("file", content=_read(fd, name, size_wanted), **common)
    if stat.S_ISLNK(found.st_mode):
        return State("link", target=os.readlink(name, dir_fd=fd), **common)
    return State("directory" if stat.S_ISDIR(found.st_mode) else "other", **common)


def look(path: str, size_wanted: int = -1) -> State:
    try:
        with parent(path) as (fd, name, shared):
            return _look(fd, name, shared, size_wanted)
    except FileNotFoundError:
        return State(parent=False)
    except ConfigError as exc:
        return State(trouble=str(exc).replace(f"{path}: ", "", 1))
    except NotADirectoryError:
        return State(
            parent=False, trouble="a part of its path is a file, not a directory. Correct dest, or remove that file"
        )
    except OSError as exc:
        return State(trouble=f"it cannot be read ({exc.strerror}). Look at it with: ls -ld; lsattr -d")


def survey(wanted: Iterable[Wanted], purge: Iterable[Purge]) -> tuple[dict[str, State], list[str]]:
    """The present state of everything that is wanted or may be purged, and the list of the latter."""
    states = {each.dest: look(each.dest, len(each.content)) for each in wanted}
    doomed: list[str] = []
    for each in purge:
        try:
            with parent(f"{each.path}/.") as (fd, _name, _shared):
                names = purgeable(os.listdir(fd), each.patterns)
        except FileNotFoundError:
            continue
        except OSError as exc:
            raise ConfigError(f"purge: {each.path} cannot be listed ({exc.strerror}). Give a directory") from exc
        for path in (f"{each.path}/{name}" for name in names):
            state = states.setdefault(path, look(path))
            if state.kind in ("file", "link"):
                doomed.append(path)
    return states, doomed


def _flags(fd: int, name: str | None) -> str:
    """The attribute that keeps even root from changing it, or ''."""
    try:
        handle = os.open(name or ".", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=fd)
    except OSError:
        return ""
    try:
        value = struct.unpack("l", fcntl.ioctl(handle, FS_IOC_GETFLAGS, b"\0" * 8))[0]
    except OSError:  # the file system has no such attributes
        return ""
    finally:
        os.close(handle)
    return next((text for bit, text in FLAGS.items() if value & bit), "")


def obstacle(step: Step) -> str:
    """What would make this step fail though the plan is sound; asked before anything is changed."""
    if not step.current.parent:
        return ""
    with parent(step.dest) as (fd, name, _shared):
        if not os.access(f"/proc/self/fd/{fd}", os.W_OK):
            return f"{step.dest}: its file system is mounted read-only. Mount it read-write"
        flag = _flags(fd, None)
        if flag:
            return f"{step.dest}: its directory is {flag}. Take the attribute away"
        found = lstat(fd, name)
        if found is None:
            return ""
        flag = "" if stat.S_ISLNK(found.st_mode) else _flags(fd, name)
        if flag:
            return f"{step.dest}: it is {flag}. Take the attribute away"
        if found.st_dev != os.fstat(fd).st_dev and step.action != "attributes":
            return f"{step.dest}: it is a mount point. Unmount it, or choose another dest"
    return ""


# --- changing ---------------------------------------------------------------------------------------------------------


def record(step: Step, txid: str, number: int) -> Record:
    """How to put this step back. The names are fixed before anything exists, so that a kill leaves nothing unnamed.

    A dot in front and `~` behind: what reads whole directories (logrotate, run-parts, apt) skips one of the two.
    """
    kinds = {"mkdir": "absent", "attributes": "directory"}
    now = step.current
    kind = kinds.get(step.action) or {"directory": "tree"}.get(now.kind, now.kind)
    kept = kind not in ("absent", "directory")
    return {
        "dest": step.dest,
        "kind": kind,
        "aside": f"{ASIDE_PREFIX}{txid}-{number}.old~" if kept else None,
        "temp": f"{ASIDE_PREFIX}{txid}-{number}.new~" if step.action in ("put", "link") else None,
        "inode": None,
        "mode": now.mode,
        "uid": now.uid,
        "gid": now.gid,
    }


def backup_record(step: Step) -> Record | None:
    if not (step.wanted.backup and step.action in ("put", "link") and step.current.kind == "file"):
        return None
    stamp = time.strftime("%Y-%m-%d@%H:%M:%S~")
    path = f"{step.dest}.{os.getpid()}.{stamp}"
    return {"dest": path, "kind": "absent", "aside": None, "temp": None}


def note_inode(entry: Record) -> None:
    """Which inode is the old one: whoever restores can tell a file that was not reached yet."""
    if entry["kind"] in ("file", "link"):
        with parent(entry["dest"]) as (fd, name, _shared):
            found = lstat(fd, name)
            entry["inode"] = [found.st_dev, found.st_ino] if found else None


def keep_inode(dest: str, other: str) -> None:
    """A second name for the file as it is; a copy where the file system has no hard links (vfat)."""
    with parent(dest) as (fd, name, _shared):
        try:
            os.link(name, other, src_dir_fd=fd, dst_dir_fd=fd, follow_symlinks=False)
            return
        except OSError as exc:
            if exc.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK):
                raise
        found = os.stat(name, dir_fd=fd, follow_symlinks=False)
        handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
        with os.fdopen(handle, "rb") as file:
            write(fd, other, file.read(), stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid)
        os.utime(other, ns=(found.st_atime_ns, found.st_mtime_ns), dir_fd=fd, follow_symlinks=False)


def write(fd: int, name: str, content: bytes, mode: int, uid: int, gid: int) -> None:
    """A complete file on the disk. Nobody else can open it before its owner and mode are right."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(name, flags, 0o600, dir_fd=fd)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fchown(handle, uid, gid)
        os.fchmod(handle, mode)  # behind chown, which takes setuid bits away
        os.fsync(handle)


def make_directory(wanted: Wanted, exists: bool) -> None:
    with parent(wanted.dest) as (fd, name, _shared):
        if not exists:
            os.mkdir(name, 0o700, dir_fd=fd)
        handle = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
        try:
            os.fchown(handle, -1 if wanted.uid is None else wanted.uid, -1 if wanted.gid is None else wanted.gid)
            os.fchmod(handle, wanted.mode)
        finally:
            os.close(handle)


def make_temp(step: Step, entry: Record) -> str:
    """The new file or link under its temporary name; returns that path."""
    wanted = step.wanted
    with parent(step.dest) as (fd, _name, _shared):
        if step.action == "link":
            os.symlink(wanted.target, entry["temp"], dir_fd=fd)
        else:
            write(fd, entry["temp"], wanted.content, wanted.mode, wanted.uid or 0, wanted.gid or 0)
    return os.path.join(os.path.dirname(step.dest), entry["temp"])


def swap(step: Step, entry: Record) -> None:
    """The one atomic moment of a step."""
    with parent(step.dest) as (fd, name, _shared):
        if step.action in ("put", "link"):
            os.rename(entry["temp"], name, src_dir_fd=fd, dst_dir_fd=fd)
        elif entry["kind"] == "tree":
            os.rename(name, entry["aside"], src_dir_fd=fd, dst_dir_fd=fd)
        else:
            os.unlink(name, dir_fd=fd)
