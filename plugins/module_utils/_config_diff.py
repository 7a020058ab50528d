# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan as ansible shows differences, and output of other programs without the secrets. No I/O."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Any

from ansible_collections.shipshape.stack.plugins.module_utils._config_plan import Plan, State, Step

LARGE = 100_000
# Shorter words are in every program's messages; masking them would leave nothing to read.
WORD = re.compile(r"[^\s=:@\"';,<>()\[\]{}]{6,}")


def text_of(content: bytes | None, size: int, hidden: bool) -> str:
    """Content as a person may see it."""
    if hidden:
        return f"(content hidden by no_log, {size} bytes)\n"
    if content is None:
        return f"(large, {size} bytes)\n"
    digest = hashlib.sha256(content).hexdigest()
    if len(content) > LARGE:
        return f"(large, {size} bytes, sha256 {digest})\n"
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return f"(binary, {size} bytes, sha256 {digest})\n"
    return f"(binary, {size} bytes, sha256 {digest})\n" if "\0" in text else text


def _before(now: State, hidden: bool) -> str:
    if now.kind == "file":
        return text_of(now.content, now.size, hidden)
    return f"-> {now.target}\n" if now.kind == "link" else ""


def _content(step: Step) -> dict[str, Any] | None:
    wanted, now = step.wanted, step.current
    before = _before(now, wanted.no_log)
    after = ""
    if step.action == "link":
        after = f"-> {wanted.target}\n"
    elif step.action == "put":
        if now.kind == "file" and now.content == wanted.content:
            return None
        after = text_of(wanted.content, len(wanted.content), wanted.no_log)
        if wanted.no_log and before == after:
            after = after.replace(")\n", ", changed)\n")
    elif step.action != "remove" or now.kind == "directory":
        return None
    return {"before": before, "after": after, "before_header": step.dest, "after_header": step.dest}


def _attributes(step: Step) -> dict[str, Any] | None:
    """Only what differs, as ansible.builtin.file shows it."""
    wanted, now = step.wanted, step.current
    old: dict[str, Any] = {"state": now.kind}
    new: dict[str, Any] = {"state": wanted.kind}
    if wanted.kind in ("file", "directory"):
        new |= {"mode": f"{wanted.mode:04o}", "owner": wanted.owner, "group": wanted.group}
        if now.kind in ("file", "directory"):
            old["mode"] = f"{now.mode:04o}"
            old["owner"] = wanted.owner if now.uid == wanted.uid else now.uid
            old["group"] = wanted.group if now.gid == wanted.gid else now.gid
    keys = [key for key in new if old.get(key) != new[key]]
    if not keys:
        return None
    return {
        "before": {"path": step.dest, **{key: old[key] for key in keys if key in old}},
        "after": {"path": step.dest, **{key: new[key] for key in keys}},
        "before_header": f"{step.dest} (attributes)",
        "after_header": f"{step.dest} (attributes)",
    }


def diff(plan: Plan) -> list[dict[str, Any]]:
    return [entry for step in plan.steps for entry in (_content(step), _attributes(step)) if entry]


def mask(text: str, secrets: Iterable[bytes]) -> str:
    """What a validator says, without the words of files that are not to be shown."""
    words = {word for secret in secrets for word in WORD.findall(secret.decode("utf-8", "replace"))}
    for word in sorted(words, key=len, reverse=True):
        text = text.replace(word, "********")
    return text
