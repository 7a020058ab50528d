# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The dead-man switch: a systemd timer that runs a restore program unless somebody cancels it in time.

It knows nothing of files: `restore` is any program that puts the old state back and removes the units (see
_config_restore.remove_units) when it has succeeded. It must need neither the controller nor the collection. Hold the
lock that the program takes while calling arm() or disarm(): a program that waits for it is stopped here, harmlessly.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ansible_collections.shipshape.stack.plugins.module_utils._config_restore import (
    UNITS,
    ConfigError,
    remove_units,
)

Run = Callable[[Sequence[str]], "tuple[int, str, str]"]

SERVICE = """\
# Written by shipshape.stack; goes away by itself.
[Unit]
Description=Put {name} back: its change was not confirmed
ConditionPathExists={path}

[Service]
Type=oneshot
ExecStart={program}
"""
# AccuracySec: systemd's default would let it fire up to a minute late.
TIMER = """\
# Written by shipshape.stack; goes away by itself.
[Unit]
Description=Dead-man switch of {name}

[Timer]
OnActiveSec={seconds}
AccuracySec=100ms

[Install]
WantedBy=timers.target
"""


@dataclass(frozen=True)
class Guard:
    name: str
    run: Run
    units: str = UNITS
    booted: str = "/run/systemd/system"

    @property
    def unit(self) -> str:
        return f"shipshape-rollback-{self.name}"

    @property
    def armed(self) -> bool:
        return os.path.exists(os.path.join(self.units, f"{self.unit}.timer"))

    def require_systemd(self) -> None:
        if not os.path.isdir(self.booted):
            raise ConfigError(
                f"rollback needs a running systemd, and {self.booted} does not exist. Leave `rollback` out on this host"
            )

    def _systemctl(self, *words: str) -> None:
        rc, out, err = self.run(["systemctl", *words])
        if rc != 0:
            raise ConfigError(f"rollback: systemctl {' '.join(words)} failed with rc {rc}: {(err or out).strip()}")

    def arm(self, seconds: int, restore: Sequence[str]) -> None:
        """Start the clock, or start it again. Enabled too, so that a reboot does not save a bad change."""
        self.require_systemd()
        texts = {
            "service": SERVICE.format(name=self.name, program=" ".join(restore), path=restore[-1]),
            "timer": TIMER.format(name=self.name, seconds=seconds),
        }
        for suffix, text in texts.items():
            path = os.path.join(self.units, f"{self.unit}.{suffix}")
            with open(path, "w", encoding="utf-8") as handle:
                handle.write(text)
                handle.flush()
                os.fsync(handle.fileno())
        self._systemctl("daemon-reload")
        self._systemctl("stop", f"{self.unit}.timer", f"{self.unit}.service")
        self._systemctl("enable", "--now", f"{self.unit}.timer")

    def disarm(self) -> bool:
        """Whether a timer was there. Units that are gone stay gone, whatever systemctl says."""
        if not remove_units(self.name, self.units):
            return False
        if os.path.isdir(self.booted):
            self.run(["systemctl", "stop", f"{self.unit}.timer", f"{self.unit}.service"])
            self.run(["systemctl", "daemon-reload"])
        return True
