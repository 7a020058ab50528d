# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each of the tools asks of a copy's options.

Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ._backup_manifest import BackupError
from ._backup_rclone_remote import recipient_problem, remote

RESTIC, RCLONE = TOOLS = ("restic", "rclone")
REPOSITORY = re.compile(r"(/|sftp:|s3:).+")


def tool_problems(path: str, entry: Mapping[str, Any]) -> Iterator[str]:
    """What one of the two tools needs, and the other has no use for."""
    tool, keys = entry.get("tool", RESTIC), entry.get("age_recipients") or []
    if tool not in TOOLS:
        yield f"{path}.tool is {tool!r}: there are {', '.join(TOOLS)}"
    elif tool == RESTIC:
        if not entry.get("password_file"):
            yield f"{path}.password_file is missing: restic encrypts by a password"
        if keys:
            yield f"{path}.age_recipients is for rclone; restic encrypts by its password: leave it out"
    else:
        if entry.get("password_file"):
            yield f"{path}.password_file has no use with rclone: leave it out, and give age_recipients"
        yield from _rclone(path, entry.get("repository"), keys)


def _rclone(path: str, repository: Any, keys: Any) -> Iterator[str]:
    for number, each in enumerate(keys if isinstance(keys, list) else []):
        wrong = recipient_problem(each) if isinstance(each, str) else ""
        if wrong:
            yield f"{path}.age_recipients[{number}] {wrong}"
    if not isinstance(repository, str) or not REPOSITORY.fullmatch(repository):
        return
    try:
        remote(repository, {})
    except BackupError as exc:
        yield f"{path}.repository: {exc}"
    # Dumps and .env files in the clear on somebody else's disk.
    if not keys and not repository.startswith("/"):
        yield f"{path}.age_recipients is empty: rclone encrypts nothing, and {repository} is elsewhere: give keys"
