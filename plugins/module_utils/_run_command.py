# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run one command, and give it an end. Standard library only: programs that live on the host have it, too."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence

# A command that hangs must not hold a lock for ever.
COMMAND_SECONDS = 120
# The exit status of a command that was ended, as timeout(1) has it.
TIMED_OUT = 124


def run_command(
    argv: Sequence[str],
    environment: Mapping[str, str] | None = None,
    seconds: float = COMMAND_SECONDS,
    ending: signal.Signals = signal.SIGKILL,
) -> tuple[int, str, str]:
    """In a process group of its own, so that a timeout ends its children too; C(ending) is what it is ended by."""
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env={**os.environ, "LC_ALL": "C.UTF-8", **(environment or {})},
        )
    except OSError as exc:
        return 127, "", f"{argv[0]}: {exc.strerror}"
    try:
        out, err = process.communicate(timeout=seconds)
        return process.returncode, out.decode("utf-8", "replace"), err.decode("utf-8", "replace")
    except subprocess.TimeoutExpired:
        return TIMED_OUT, "", f"no answer within {seconds:g} s"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, ending)
            process.wait()
