# Copyright: (c) 2026, The shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The probe `restart`: what still runs old code after an upgrade: the kernel, and services with deleted libraries."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Optional

from ._health_spec import DEGRADED, HEALTHY, Option, Outcome, Probe, listing, text
from ._probe_host import in_container

OPTIONS = {"ignore": Option(listing(text()))}
# Code comes from here; deleted maps elsewhere (/memfd:, /dev/shm, /tmp) are data of programs that run as they should.
CODE = re.compile(r"^\S+ ..x\S* \S+ \S+ [1-9]\d*\s+(/(?:usr|lib|lib64|bin|sbin|opt)/.*) \(deleted\)$", re.MULTILINE)
CONTAINER = re.compile(r"(^|/)((docker|libpod|crio|cri-containerd|lxc|nspawn)[-.]|kubepods|machine\.slice)")
SESSION = re.compile(r"/session-\w+\.scope(/|$)")
KERNEL = re.compile(r"(?P<version>.*\d)-(?P<flavour>[a-z].*)")


def natural(version: str) -> list[tuple[int, str]]:
    """A key that puts 6.1.0-9 before 6.1.0-18."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.findall(r"\d+|[^\d]+", version)]


def newer_kernel(running: str, installed: Iterable[str]) -> Optional[str]:
    """The newest installed kernel of the running one's flavour, if it is newer."""
    mine = KERNEL.fullmatch(running)
    if mine is None:
        return None
    same = (KERNEL.fullmatch(name) for name in installed)
    versions = [found["version"] for found in same if found and found["flavour"] == mine["flavour"]]
    newest = max(versions, key=natural, default=mine["version"])
    return f"{newest}-{mine['flavour']}" if natural(newest) > natural(mine["version"]) else None


def deleted_code(maps: str) -> set[str]:
    """Files with code in /proc/PID/maps that are no longer the ones on disk."""
    return set(CODE.findall(maps))


def unit_of(cgroup: str, base: str) -> Optional[str]:
    """The unit that a process belongs to; None where no restart is due.

    A container is renewed by its image, and a login (the one that this runs in, too) ends by itself.
    """
    path = cgroup.strip().rpartition("::")[2]
    path = path[len(base) :] if path.startswith(base) else path
    if CONTAINER.search(path) or SESSION.search(path):
        return None
    units = [part for part in path.split("/") if part.endswith((".service", ".scope"))]
    return units[0] if units else "processes without a unit"


def evaluate(reasons: list[str], units: Mapping[str, set[str]], hidden: int, options: Mapping[str, Any]) -> Outcome:
    ignored = set(options["ignore"] or ())
    stale = {unit: sorted(files) for unit, files in sorted(units.items()) if unit not in ignored}
    said = []
    if reasons:
        said.append(f"reboot: {', '.join(reasons)}")
    if stale:
        said.append(f"restart: {', '.join(stale)}")
    note = f" ({hidden} of the processes not looked into: no permission)" if hidden else ""
    data = {"reboot": reasons, "restart": stale}
    return Outcome(DEGRADED if said else HEALTHY, ("; ".join(said) or "nothing runs old code") + note, json=data)


def _reboot_reasons(root: Path) -> list[str]:
    reasons = []
    if (root / "run/reboot-required").exists():
        packages = _text(root / "run/reboot-required.pkgs").split()
        reasons.append(f"asked for by {', '.join(sorted(set(packages)))}" if packages else "asked for by a package")
    if not in_container(root):
        installed = [path.name.partition("-")[2] for path in (root / "boot").glob("vmlinuz-*")]
        newer = newer_kernel(platform.release(), installed)
        if newer:
            reasons.append(f"kernel {platform.release()} runs, {newer} is installed")
    return reasons


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


def scan(proc: Path) -> tuple[dict[str, set[str]], int]:
    """Units whose processes map deleted code, and how many processes could not be read."""
    units: dict[str, set[str]] = {}
    hidden = 0
    base = _text(proc / "1/cgroup").strip().rpartition("::")[2]
    base = base[: -len("/init.scope")] if base.endswith("/init.scope") else ""
    for entry in proc.iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            files = deleted_code((entry / "maps").read_text(errors="replace"))
            unit = unit_of((entry / "cgroup").read_text(), base) if files else None
        except PermissionError:
            hidden += 1
            continue
        except OSError:  # The process has ended meanwhile.
            continue
        if unit:
            units.setdefault(unit, set()).update(files)
    return units, hidden


def _run(options: Mapping[str, Any], timeout: float) -> Outcome:
    units, hidden = scan(Path("/proc"))
    return evaluate(_reboot_reasons(Path("/")), units, hidden, options)


PROBE = Probe(OPTIONS, _run, asked_once=True)
