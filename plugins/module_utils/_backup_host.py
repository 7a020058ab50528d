# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the backup engine asks of a host: programs with an end, files that are on the disk, one run at a time."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Optional

from ._backup_manifest import BackupError

CHUNK = 1 << 20
SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
# Of root's alone: in /run/lock anybody could hold them.
LOCK = "/run/shipshape-backup.lock"
SAID = 2000
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class BusyError(BackupError):
    """Another run is at it."""


class MissingProgramError(BackupError):
    """A program is not installed, or cannot be run."""


class StoppedError(BaseException):
    """A signal came. No error of what was being done, so nobody who goes on after errors goes on after it."""


class OvertimeError(BackupError):
    """A program was ended, as it had had its time."""


def gentle() -> None:
    """The run gives way to the services of the host; what it starts inherits that."""
    with contextlib.suppress(OSError):
        os.nice(max(0, 10 - os.nice(0)))
    argv = ["ionice", "-c", "2", "-n", "7", "-p", str(os.getpid())]
    with contextlib.suppress(OSError):
        subprocess.run(argv, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def stop_on_signals() -> None:
    """An ending by a signal goes through all that cleans up, so that nothing is left behind."""

    def stop(number: int, _frame: Any) -> None:
        raise StoppedError(f"stopped by signal {number}")

    for number in SIGNALS:
        signal.signal(number, stop)


@contextlib.contextmanager
def unhurried() -> Iterator[None]:
    """Signals are not heard: what is done here is ended. Programs that are started hear theirs as ever."""

    def later(_number: int, _frame: Any) -> None:
        pass

    before = {number: signal.signal(number, later) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def as_user(user: str, argv: Sequence[str]) -> list[str]:
    """The command as it is run by another user of the system."""
    if user in ("", "root") or os.geteuid() != 0:
        return list(argv)
    try:
        pwd.getpwnam(user)
    except KeyError:
        raise BackupError(f"there is no user {user!r} on this host: correct the component's user") from None
    return ["runuser", "-u", user, "--", *argv]


def execute(
    argv: Sequence[str],
    what: str,
    seconds: float,
    stdin: Optional[IO[bytes]] = None,
    stdout: Optional[IO[bytes]] = None,
    environment: Optional[Mapping[str, str]] = None,
    accepted: Sequence[int] = (0,),
) -> tuple[int, bytes, str]:
    """Run to the end, or raise what went wrong. stdin and stdout are files, so that nothing is held in memory."""
    clean = {"PATH": PATH, "LC_ALL": "C.UTF-8", "HOME": os.environ.get("HOME", "/root"), **(environment or {})}
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=stdin if stdin is not None else subprocess.DEVNULL,
            stdout=stdout if stdout is not None else subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env=clean,
            cwd="/",
        )
    except OSError as exc:
        problem = f"{what}: {argv[0]}: {exc.strerror}: install the package that it comes with"
        raise MissingProgramError(problem) from None
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired as exc:
        heard = " ".join((exc.stderr or b"").decode("utf-8", "replace").split())[-SAID:]
        problem = f"{what}: no end within {seconds:.0f} s; give it more by timeout"
        raise OvertimeError(f"{problem}: {heard}" if heard else problem) from None
    finally:
        # Also what a program left running that has ended itself; its group has no other members then.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    said = " ".join(err.decode("utf-8", "replace").split())
    if process.returncode not in accepted:
        raise BackupError(f"{what}: {os.path.basename(argv[0])} ended with {process.returncode}: {said[-SAID:]}")
    return process.returncode, out or b"", said


def read_back(path: Path, each: Optional[Callable[[bytes], None]] = None) -> tuple[int, str]:
    """Size and SHA-256 of what the disk gives, in one pass."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as handle:
        while chunk := handle.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
            if each:
                each(chunk)
    return size, digest.hexdigest()


def sync_file(path: Path) -> None:
    with path.open("rb+") as handle:
        os.fsync(handle.fileno())


def sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomically(path: Path, text: str, mode: int = 0o600, owner: Optional[tuple[int, int]] = None) -> None:
    """All or nothing, also when the power goes."""
    temporary = path.with_name(f".{path.name}.new")
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w", encoding="utf-8") as handle:
            os.fchmod(handle.fileno(), mode)
            if owner:
                os.fchown(handle.fileno(), *owner)
            handle.write(text)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def read_json(path: Path) -> dict[str, Any]:
    """What a file of our own remembers; one that is gone or torn remembers nothing."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def private_folder(path: Path) -> Path:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.chmod(0o700)
    return path


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def put_file(source: Path, path: Path, owner: os.stat_result, mode: int) -> None:
    """A copy with that owner and mode. The folder may be an app's own: nothing is followed that it could put there, and
    nobody reads what is not yet theirs."""
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with source.open("rb") as reader, open(handle, "wb") as writer:
        shutil.copyfileobj(reader, writer, CHUNK)
        os.fchown(handle, owner.st_uid, owner.st_gid)
        os.fchmod(handle, mode)
        writer.flush()
        os.fsync(handle)


def need_space(folder: Path, wanted: int, reserve_percent: float = 2.0) -> None:
    """Ask before, as a disk that runs full takes the databases on it along."""
    usage = shutil.disk_usage(folder)
    wanted += int(usage.total * reserve_percent / 100)
    if usage.free < wanted:
        raise BackupError(
            f"{folder}: {usage.free >> 20} MiB are free, and the run needs about {wanted >> 20} MiB:"
            " make room, or keep fewer sets"
        )


@contextlib.contextmanager
def one_at_a_time(verb: str, wait: float = 0.0, path: str = LOCK) -> Iterator[None]:
    """The kernel lets go of the lock however its holder ends, so it is never stale."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        end = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= end:
                    owner = os.pread(handle, 500, 0).decode("utf-8", "replace").strip() or "somebody"
                    raise BusyError(f"another run is at it: {owner}. Wait for it, or give --wait SECONDS") from None
                time.sleep(0.2)
        os.ftruncate(handle, 0)
        os.pwrite(
            handle, f"{verb}, process {os.getpid()}, since {time.strftime('%FT%TZ', time.gmtime())}\n".encode(), 0
        )
        yield
    finally:
        os.close(handle)
