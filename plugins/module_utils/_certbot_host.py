# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What certbot_certificates asks of a host: certbot's folders, certbot itself, its timer, and cron."""

from __future__ import annotations

import contextlib
import glob
import importlib.metadata
import os
import re
import shutil
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.shipshape.stack.plugins.module_utils import _certbot_cron as cron
from ansible_collections.shipshape.stack.plugins.module_utils import _certbot_renewal as renewal
from ansible_collections.shipshape.stack.plugins.module_utils import _certbot_x509 as certificates
from ansible_collections.shipshape.stack.plugins.module_utils._certbot_plan import Leaf, Lineage
from ansible_collections.shipshape.stack.plugins.module_utils._certificate_deploy import STATE
from ansible_collections.shipshape.stack.plugins.module_utils._certificate_store import CertificateError
from ansible_collections.shipshape.stack.plugins.module_utils._config_files import read_text
from ansible_collections.shipshape.stack.plugins.module_utils._run_command import run_command

ETC = "/etc/letsencrypt"
TIMER = "certbot.timer"
TABLES = ("/etc/crontab", "/etc/cron.d/*", "/var/spool/cron/crontabs/root")
SCRIPTS = ("/etc/cron.hourly/*", "/etc/cron.daily/*", "/etc/cron.weekly/*", "/etc/cron.monthly/*")
ISSUE_SECONDS = 900
BUSY_SECONDS = 180
BUSY = "Another instance of Certbot is already running"
DETAIL = re.compile(r"Domain:\s*(\S+)\s+Type:\s*(\S+)\s+Detail:\s*([^\n]+)")
NOISE = re.compile(
    r"^(Saving debug log|Ask for help|See the logfile|Some challenges have failed|Plugins selected|Hint:)"
)
REASON_LENGTH = 500


def read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return b""


def replace(path: str, text: str) -> None:
    """New content under the same name, owner and mode, in one step."""
    found, temporary = os.stat(path), os.path.join(os.path.dirname(path), f".shipshape-{os.getpid()}~")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
            file.flush()
            os.fchown(handle, found.st_uid, found.st_gid)
            os.fchmod(handle, found.st_mode & 0o7777)
            os.fsync(handle)
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


# --- certbot's folders ------------------------------------------------------------------------------------------------


def configuration_path(name: str) -> str:
    return os.path.join(ETC, "renewal", f"{name}.conf")


def lineage(name: str) -> Lineage | None:
    """One of certbot's certificates; without a leaf where a part of it is missing."""
    text = read_text(configuration_path(name))
    found = renewal.parse(text)
    chain = found[""].get("fullchain") or os.path.join(ETC, "live", name, "fullchain.pem")
    if not text and not any(os.path.lexists(os.path.join(ETC, part, name)) for part in ("live", "archive")):
        return None
    whole = renewal.PARAMETERS in found and os.path.exists(os.path.join(os.path.dirname(chain), "privkey.pem"))
    leaf: Leaf | None = certificates.leaf(read(chain)) if whole and certificates.available() else None
    return Lineage(leaf, found.get(renewal.PARAMETERS, {}).get("server", ""), text)


def lineage_names() -> list[str]:
    paths = glob.glob(os.path.join(ETC, "renewal", "*.conf"))
    return sorted(os.path.basename(path)[: -len(".conf")] for path in paths)


def set_aside(name: str) -> str:
    """Move what a killed run left out of certbot's way; where it is now."""
    target = os.path.join(STATE, "set_aside", f"{name}-{time.strftime('%Y%m%d%H%M%S')}")
    os.makedirs(target, mode=0o700)
    for part in ("live", "archive"):
        if os.path.lexists(os.path.join(ETC, part, name)):
            shutil.move(os.path.join(ETC, part, name), os.path.join(target, part))
    if os.path.lexists(configuration_path(name)):
        shutil.move(configuration_path(name), os.path.join(target, f"{name}.conf"))
    return target


# --- certbot ----------------------------------------------------------------------------------------------------------


def version() -> tuple[int, ...]:
    """Of the certbot that is installed; empty without one. Asking it would start it, which takes a second."""
    try:
        text = importlib.metadata.version("certbot")
    except importlib.metadata.PackageNotFoundError:
        return ()
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def installed() -> bool:
    return shutil.which("certbot") is not None


def call(argv: Sequence[str], environment: Mapping[str, str]) -> tuple[int, str]:
    """Run certbot; while another one runs (the timer's), wait for that."""
    end = time.monotonic() + BUSY_SECONDS
    while True:
        rc, text = _call(argv, environment)
        if rc == 0 or not busy(text) or time.monotonic() >= end:
            return rc, text
        time.sleep(2)


def busy(text: str) -> bool:
    """Whether the authority was not even asked, as another certbot runs."""
    return BUSY in text


def _call(argv: Sequence[str], environment: Mapping[str, str]) -> tuple[int, str]:
    # By SIGTERM it takes its challenges away before it ends.
    rc, out, err = run_command(argv, environment, ISSUE_SECONDS, signal.SIGTERM)
    return rc, out + err


def reason(text: str) -> str:
    """What the authority said, without certbot's advice around it."""
    details = [f"{domain}: {detail.strip()} ({kind})" for domain, kind, detail in DETAIL.findall(text)]
    lines = [line.strip() for line in text.splitlines() if line.strip() and not NOISE.match(line.strip())]
    said = "; ".join(details) or " ".join(lines[-3:]) or "certbot said nothing: see /var/log/letsencrypt"
    return said if len(said) <= REASON_LENGTH else f"{said[:REASON_LENGTH]}..."


# --- schedulers -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Table:
    """One file of cron that renews a second time."""

    path: str
    old: str
    new: str

    def apply(self) -> None:
        if self.new:
            replace(self.path, self.new)
        else:
            os.unlink(self.path)


def second_schedulers() -> tuple[list[Table], list[str]]:
    """What to take out of cron, and the lines (file:number) that do more than to renew, for somebody to look at."""
    tables, mixed = [], []
    for path in sorted(path for pattern in TABLES for path in glob.glob(pattern)):
        old, system = read_text(path), path.startswith("/etc/")
        new = cron.cleaned(old, system)
        if new != old:
            tables.append(Table(path, old, new))
        mixed += [f"{path}:{number}" for number in cron.mixed(new, system)]
    for path in sorted(path for pattern in SCRIPTS for path in glob.glob(pattern)):
        only, numbers = cron.script(read_text(path))
        if only:
            tables.append(Table(path, read_text(path), ""))
        mixed += [f"{path}:{number}" for number in numbers]
    return tables, mixed


def timer_is_off() -> bool:
    """Whether Debian's timer has to be switched on. A host without certbot has none."""
    rc, out, err = run_command(["systemctl", "show", TIMER, "--property=LoadState,ActiveState,UnitFileState"])
    if rc:
        raise CertificateError(f"systemd did not say how {TIMER} is: {(err or out).strip()}")
    state = dict(line.partition("=")[::2] for line in out.splitlines())
    if state.get("LoadState") == "masked":
        raise CertificateError(f"{TIMER} is masked, so that nothing would renew: systemctl unmask {TIMER}")
    on = (state.get("ActiveState"), state.get("UnitFileState")) == ("active", "enabled")
    return state.get("LoadState") == "loaded" and not on


def switch_timer_on() -> None:
    rc, out, err = run_command(["systemctl", "enable", "--now", TIMER])
    if rc:
        raise CertificateError(f"{TIMER} could not be switched on: {(err or out).strip()}")
