# Copyright: (c) 2026, The shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The probe `time`: the kernel calls the clock synchronised, and little is left to correct.

The kernel is asked (adjtimex), so it does not matter which of chrony, timesyncd or ntpd disciplines the clock.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ._health_spec import DEGRADED, HEALTHY, SKIPPED, UNHEALTHY, Option, Outcome, Probe, choice, seconds
from ._probe_host import in_container

STA_NANO = 0x2000
# The kernel lets the error grow while nobody corrects the clock, and stops here. systemd's timedatectl judges by the
# same number and not by STA_UNSYNC, which chrony without rtcsync leaves set on purpose.
UNKNOWN_ERROR = 16.0
OPTIONS = {
    "max_offset_seconds": Option(seconds(0.0001), 1.0),
    "container": Option(choice(SKIPPED, DEGRADED), SKIPPED),
}


class _Timex(ctypes.Structure):
    """struct timex of adjtimex(2), with its padding."""

    _fields_ = [
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_long * 32),
    ]


@dataclass(frozen=True)
class Clock:
    offset: float
    error: float


def evaluate(clock: Clock, contained: bool, options: Mapping[str, Any]) -> Outcome:
    """A clock that nobody corrects is doubtful; one that is known to be off is broken."""
    whose = "the machine's clock" if contained else "the clock"
    if clock.error >= UNKNOWN_ERROR:
        said = f"{whose} is not synchronised"
        if contained:
            return Outcome(options["container"], f"{said}; nothing inside a container can mend that")
        return Outcome(DEGRADED, f"{said}; is a time service running, and does it reach a server?")
    limit = options["max_offset_seconds"]
    if abs(clock.offset) > limit:
        return Outcome(UNHEALTHY, f"{whose} is off by {clock.offset:+.3f} s, wanted at most {limit:g} s")
    return Outcome(HEALTHY, f"{whose} is synchronised, {clock.offset:+.4f} s to correct")


def _ask() -> Clock:
    libc = ctypes.CDLL(None, use_errno=True)
    timex = _Timex()
    if libc.adjtimex(ctypes.byref(timex)) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    unit = 1e9 if timex.status & STA_NANO else 1e6
    return Clock(timex.offset / unit, timex.maxerror / 1e6)


def _run(options: Mapping[str, Any], timeout: float) -> Outcome:
    contained = in_container()
    try:
        return evaluate(_ask(), contained, options)
    except OSError as exc:
        said = f"the kernel does not tell about the clock: {exc.strerror}"
        return Outcome(options["container"] if contained else DEGRADED, said)


PROBE = Probe(OPTIONS, _run)
