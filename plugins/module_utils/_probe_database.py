# Copyright: (c) 2026, The shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the probes of databases share: measured values against their limits, passwords out of files, libraries."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Optional

from ._health_spec import HEALTHY, STATES, UNHEALTHY, Outcome, level, thresholds, worst

Finding = tuple[str, str]  # A status that is not healthy, and what was found.
UNITS = {"percent": "%", "seconds": " s", "mib": " MiB"}
PRIMARY, REPLICA = ROLES = ("primary", "replica")


class Broken(Exception):
    """Why the server could not be asked; the text is the finding."""


def limits_agree(names: Iterable[str], options: Mapping[str, Any], path: str) -> Iterable[str]:
    """For each name, `degraded_NAME` is not above `unhealthy_NAME`."""
    for name in names:
        yield from thresholds(f"degraded_{name}", f"unhealthy_{name}")(options, path)


def measure(value: Optional[float], name: str, said: str, options: Mapping[str, Any]) -> Iterable[Finding]:
    """A finding where the value reaches `degraded_NAME` or `unhealthy_NAME`; what is not known reaches nothing."""
    state = HEALTHY if value is None else level(value, options[f"degraded_{name}"], options[f"unhealthy_{name}"])
    if state != HEALTHY:
        yield state, f"{said}, wanted less than {options[f'{state}_{name}']:g}{UNITS[name.rpartition('_')[2]]}"


def wrong_role(role: str, wanted: Optional[str]) -> Iterable[Finding]:
    if wanted not in (None, role):
        yield UNHEALTHY, f"it is a {role}, wanted a {wanted}"


def verdict(server: str, findings: Iterable[Finding], fine: str, figures: Mapping[str, Any]) -> Outcome:
    """The worst of all findings, and all of them, the worst first; which server it is stands before either."""
    ordered = sorted(findings, key=lambda finding: -STATES.index(finding[0]))
    said = "; ".join(text for _status, text in ordered) or fine
    return Outcome(worst(status for status, _text in ordered), f"{server}: {said}", json=dict(figures))


def read_password(options: Mapping[str, Any]) -> Optional[str]:
    path = options["password_file"]
    if path is None:
        return None
    try:
        password = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as exc:
        raise Broken(f"password_file {path}: {getattr(exc, 'strerror', None) or 'not text'}") from exc
    if not password or "\n" in password:
        raise Broken(f"password_file {path}: not one line with the password")
    return password


def missing(package: str, library: str) -> Outcome:
    """A probe loads its library when it runs, so that all the others work without it."""
    return Outcome(UNHEALTHY, f"needs {package}: {sys.executable} cannot import {library}")


def age(seconds: float) -> str:
    """A duration as one says it."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172800 else f"{seconds / 86400:.1f} days"
