# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Put files back as a journal remembers them.

The module runs this, and so does the dead-man switch, from a copy beside the journal when no controller is there any
more. Hence: nothing but the standard library in here, and nothing imported from the collection.

Why putting back cannot fail for want of space: the original inode itself is kept under a hidden name in the
same directory (a hard link, made before anything is replaced), and comes back by rename(2), which takes an entry away.
Nothing is copied, so nothing is allocated; owner, mode, times and attributes come back because the inode does.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shlex
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

ROOT = "/var/lib/shipshape/config_files"
UNITS = "/etc/systemd/system"
ASIDE_PREFIX = ".shipshape-"
MAX_LINKS = 40

Record = dict[str, Any]


class ConfigError(Exception):
    """What the user is told; never a traceback."""


# --- directories ------------------------------------------------------------------------------------------------------


def others_may_write(found: os.stat_result) -> bool:
    return found.st_uid not in (0, os.geteuid()) or bool(found.st_mode & 0o022)


def _child(fd: int, name: str, path: str, exposed: bool) -> int | str:
    """Enter a directory without following links; a link is returned as its target, if it may be trusted."""
    try:
        return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
    except OSError:
        if not stat.S_ISLNK(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode):
            raise
    if exposed or others_may_write(os.fstat(fd)):
        raise ConfigError(
            f"{path}: the directory '{name}' in it is a symbolic link in a directory that other users may write."
            " They choose where it leads. Give the path that it points to, or take the directory away from them."
        )
    return os.readlink(name, dir_fd=fd)


def open_parent(path: str) -> tuple[int, str, bool]:
    """Walk to the directory of `path`: its descriptor, the last name, and whether other users can swap what is there.

    Descriptors all the way: what was checked is what is used, whatever somebody renames meanwhile.
    """
    todo = [part for part in os.path.dirname(path).split("/") if part not in ("", ".")]
    fd, exposed, links = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), False, 0
    try:
        while todo:
            here, step = os.fstat(fd), _child(fd, todo[0], path, exposed)
            if isinstance(step, str):
                links += 1
                if links > MAX_LINKS:
                    raise ConfigError(f"{path}: too many symbolic links. Give the real path.")
                todo = [part for part in step.split("/") if part not in ("", ".")] + todo[1:]
                if step.startswith("/"):
                    os.close(fd)
                    fd = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                continue
            os.close(fd)
            fd, below = step, os.fstat(step)
            todo.pop(0)
            # In a sticky directory (/tmp) others can neither rename nor remove what root or we own.
            sticky = here.st_mode & stat.S_ISVTX and below.st_uid in (0, os.geteuid())
            exposed = exposed or (others_may_write(here) and not sticky)
        return fd, os.path.basename(path), exposed or others_may_write(os.fstat(fd))
    except BaseException:
        os.close(fd)
        raise


@contextlib.contextmanager
def parent(path: str) -> Iterator[tuple[int, str, bool]]:
    fd, name, shared = open_parent(path)
    try:
        yield fd, name, shared
    finally:
        os.close(fd)


def lstat(fd: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _discard(fd: int, name: str) -> None:
    found = lstat(fd, name)
    if found is None:
        return
    if stat.S_ISDIR(found.st_mode):
        shutil.rmtree(f"/proc/self/fd/{fd}/{name}")
    else:
        os.unlink(name, dir_fd=fd)


def drop_aside(record: Record) -> None:
    """Forget the old state: the change stays."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), parent(record["dest"]) as (fd, _name, _shared):
        for key in ("aside", "temp"):
            if record.get(key):
                _discard(fd, record[key])


def _restore_attributes(fd: int, name: str, record: Record) -> None:
    handle = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
    try:
        os.fchown(handle, record["uid"], record["gid"])
        os.fchmod(handle, record["mode"])
    finally:
        os.close(handle)


def _remove_created(fd: int, name: str, found: os.stat_result) -> None:
    if not stat.S_ISDIR(found.st_mode):
        os.unlink(name, dir_fd=fd)
        return
    with contextlib.suppress(OSError):  # somebody put a file of their own into the new directory: it stays
        os.rmdir(name, dir_fd=fd)


def restore_record(record: Record) -> None:
    """Idempotent: it may be killed anywhere and run again."""
    try:
        fd, name, _shared = open_parent(record["dest"])
    except FileNotFoundError:
        return  # the directory was never made, or is gone again
    try:
        now, aside = lstat(fd, name), record.get("aside")
        if record["kind"] == "absent" and now is not None:
            _remove_created(fd, name, now)
        elif record["kind"] == "directory" and now is not None:
            _restore_attributes(fd, name, record)
        elif aside and lstat(fd, aside) is not None:
            untouched = now is not None and [now.st_dev, now.st_ino] == record.get("inode")
            if not untouched:
                os.rename(aside, name, src_dir_fd=fd, dst_dir_fd=fd)
            # rename(2) leaves both names when they are the same inode, and an untouched file still has its second one.
            _discard(fd, aside)
        if record.get("temp"):
            _discard(fd, record["temp"])
        os.fsync(fd)
    finally:
        os.close(fd)


def restore(records: list[Record]) -> None:
    """Put everything back, last change first; what cannot be put back does not keep the rest from it."""
    problems = []
    for record in reversed(records):
        try:
            restore_record(record)
        except (OSError, ConfigError) as exc:
            problems.append(f"{record['dest']}: {exc}")
    if problems:
        raise ConfigError("not everything could be put back, put it right by hand: " + "; ".join(problems))


# --- journals ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def lock(root: str, wait: float | None) -> Iterator[None]:
    """One writer at a time; the kernel lets go of the lock however its holder ends. `wait` None waits for ever."""
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        end = None if wait is None else time.monotonic() + wait
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | (0 if end is None else fcntl.LOCK_NB))
                break
            except BlockingIOError:
                if end is not None and time.monotonic() >= end:
                    raise ConfigError(
                        f"another run holds the lock on {root} for more than {wait:g} s."
                        f" Wait for it, or find it with: fuser -v {root}"
                    ) from None
                time.sleep(0.1)
        yield
    finally:
        os.close(fd)


def read_json(path: str) -> dict[str, Any] | None:
    try:
        with open(path, encoding="utf-8") as handle:
            return json.load(handle)
    except FileNotFoundError:
        return None


def sync_directory(path: str) -> None:
    with parent(f"{path}/.") as (fd, _name, _shared):
        os.fsync(fd)


def forget(folder: str) -> None:
    """Finish a journal that only names leftovers: done.json lists what may be thrown away."""
    done = read_json(os.path.join(folder, "done.json"))
    if done is None:
        return
    kept = {
        record.get("aside") for record in (read_json(os.path.join(folder, "pending.json")) or {}).get("records", [])
    }
    for record in done["records"]:
        if not record.get("aside") or record["aside"] not in kept:
            drop_aside(record)
    os.unlink(os.path.join(folder, "done.json"))


def recover(folder: str) -> bool:
    """Bring one journal to rest: a transaction that was not committed is put back, leftovers are removed."""
    forget(folder)
    writing_path = os.path.join(folder, "writing.json")
    writing = read_json(writing_path)
    if writing is None:
        return False
    pending = read_json(os.path.join(folder, "pending.json"))
    if pending is not None and pending["txid"] == writing["txid"]:  # killed just behind the commit
        os.rename(writing_path, os.path.join(folder, "done.json"))
        forget(folder)
        return False
    restore(writing["records"])
    os.unlink(writing_path)
    sync_directory(folder)
    return True


# --- the dead-man switch ----------------------------------------------------------------------------------------------


def remove_units(name: str, units: str = UNITS) -> bool:
    """Whether there was anything to remove. Files first: after that no reboot can arm it again."""
    unit, found = f"shipshape-rollback-{name}", False
    for path in (f"timers.target.wants/{unit}.timer", f"{unit}.timer", f"{unit}.service"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(units, path))
            found = True
    return found


def roll_back(folder: str, units: str = UNITS) -> str:
    """Put back everything since the last confirmed state, reload the service, leave a record."""
    name = os.path.basename(folder)
    journals = [read_json(os.path.join(folder, each)) for each in ("writing.json", "pending.json")]
    guard = next((each["guard"] for each in journals if each and each.get("guard")), None)
    if guard is None:
        return f"{name}: nothing to roll back"
    recover(folder)
    restore((read_json(os.path.join(folder, "pending.json")) or {"records": []})["records"])
    outcome = "no command"
    if guard["command"]:
        try:
            ran = subprocess.run(guard["command"], stdin=subprocess.DEVNULL, check=False, timeout=120)
            outcome = f"{shlex.join(guard['command'])}: rc {ran.returncode}"
        except (OSError, subprocess.SubprocessError) as exc:
            outcome = f"{shlex.join(guard['command'])}: {exc}"
    record = f"{time.strftime('%FT%T%z')} {name}: not confirmed ({guard['seconds']} s), old state restored; {outcome}"
    with contextlib.suppress(OSError), open(f"{folder}.rolled_back", "w", encoding="utf-8") as handle:  # disk full
        handle.write(record + "\n")
    remove_units(name, units)
    shutil.rmtree(folder)
    return record


def main() -> None:
    folder = os.path.dirname(os.path.abspath(__file__))
    with lock(os.path.dirname(folder), None):
        sys.stdout.write(f"{roll_back(folder)}\n")  # systemd writes it to the system log
    # The timer still runs where somebody started the service by hand, to have the old state at once.
    timer = f"shipshape-rollback-{os.path.basename(folder)}.timer"
    for words in (["stop", timer], ["daemon-reload"]):
        subprocess.run(["systemctl", "--no-block", *words], check=False)


if __name__ == "__main__":
    main()
