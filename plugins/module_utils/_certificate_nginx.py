# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have nginx read its certificates anew, and see that it did.

`nginx -s reload` returns 0 before anything has happened, and also where nginx then keeps what it had. So the signal
goes to the master, and what counts is what follows: workers that are younger. The log only says why there are none:
whoever asks for a page writes to it, too.
Standard library only: part of the hook that certbot calls.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from collections.abc import Iterable

from . import _certificate_store as store

RELOAD_SECONDS = 20.0
# A refusal comes instead of new workers, so they have a moment to prove that a line in the log was none.
REFUSED_SECONDS = 2.0
DEFAULTS = {"pid": "/run/nginx.pid", "error_log": "/var/log/nginx/error.log"}
DIRECTIVE = re.compile(r"^\s*(pid|error_log)\s+\"?([^\s;\"]+)", re.MULTILINE)


def installed() -> bool:
    return shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin") is not None


def _stat(pid: int) -> list[str]:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _title(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
            return file.read().replace("\0", " ").strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def master(pid_file: str) -> int:
    """The running master, or 0: a file that a power cut left may name anybody."""
    try:
        with open(pid_file, encoding="utf-8") as file:
            pid = int(file.read())
    except (OSError, ValueError):
        return 0
    return pid if _title(pid).startswith("nginx: master") else 0


def workers(parent: int) -> set[int]:
    """Workers that take connections; one that is shutting down says so in its title."""
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    children = [pid for pid in pids if _stat(pid)[1:2] == [str(parent)]]
    return {pid for pid in children if _title(pid) == "nginx: worker process"}


def _sizes(logs: Iterable[str]) -> dict[str, int]:
    return {path: os.path.getsize(path) if os.path.exists(path) else 0 for path in logs}


def _emergencies(sizes: dict[str, int], pid: int) -> str:
    """What the master wrote since that kept it from its new configuration; an `nginx -t` of others has another pid."""
    own = re.compile(rf"\d{{4}}/\d\d/\d\d \d\d:\d\d:\d\d \[emerg\] {pid}#", re.ASCII)
    for path, size in sizes.items():
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                file.seek(size)
                found = [line.strip() for line in file if own.match(line)]
        except OSError:
            continue
        if found:
            return found[0]
    return ""


def test(run: store.Run) -> dict[str, list[str]]:
    """`nginx -t`, and where it has its pid and logs. Refused: CertificateError."""
    rc, out, err = run(["nginx", "-T"])
    if rc:
        lines = [line for line in err.splitlines() if "[emerg]" in line] or err.splitlines()[-1:]
        raise store.CertificateError(f"`nginx -t` refuses: {' '.join(lines) or f'rc {rc}'}")
    found: dict[str, list[str]] = {}
    for key, value in DIRECTIVE.findall(out):
        found.setdefault(key, []).append(value)
    return {key: [*found.get(key, []), default] for key, default in DEFAULTS.items()}


def reload(run: store.Run, seconds: float = RELOAD_SECONDS) -> bool:
    """Test, reload, prove. False where nginx does not run: it reads them when it starts."""
    if not installed():
        return False
    paths = test(run)
    pid = next(filter(None, map(master, paths["pid"])), 0)
    if not pid:
        return False
    sizes = _sizes({path for path in paths["error_log"] if path.startswith("/")})
    before, end = workers(pid), time.monotonic() + seconds
    os.kill(pid, signal.SIGHUP)
    said = ""
    while True:
        now = workers(pid)
        if now and not now & before:
            return True
        if not said:
            said = _emergencies(sizes, pid)
            end = min(end, time.monotonic() + REFUSED_SECONDS) if said else end
        if time.monotonic() >= end:
            break
        time.sleep(0.05)
    if said:
        raise store.CertificateError(f"nginx did not take the reload: {said}")
    raise store.CertificateError(f"nginx has no new workers {seconds:g} s after the reload: see its error log")
