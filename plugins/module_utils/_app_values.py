# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kinds of values that land in a container's definition.

Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any, Union

from ._app_schema import Secret
from ._memory_budget import MemoryBudgetError, mebibytes
from ._nginx_schema import Leaf
from ._nginx_values import pattern

LEAST_MEMORY = 6  # MiB, below which Docker refuses a container
# No file of the host that rules it, or tells secrets, may be handed to a container.
GUARDED = re.compile(r"/(?:|(?:bin|boot|dev|etc|lib|lib64|proc|root|run|sbin|sys|usr|var|var/(?:lib|run))/?)")
GUARDED_BELOW = re.compile(r"(?:/var)?/run/.*|/(?:proc|sys|dev|boot|root)/.*|/var/lib/(?:docker|shipshape)(?:/.*)?")


def is_text(value: Any) -> bool:
    """What an environment or an argument can carry."""
    if not isinstance(value, str) or "\0" in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_plain(value: Any) -> bool:
    return is_text(value) or isinstance(value, (bool, int, float))


def _is_secret(value: Any) -> bool:
    """What was encrypted in place is an object of its own in older Ansibles, and a text once it is asked for it."""
    if value is None or isinstance(value, (bool, Mapping, list, tuple)):
        return False
    return str(value) != "" and is_text(str(value))


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


NAME = pattern(r"[a-z](?:[a-z0-9]|-(?!-)){0,30}(?<!-)", "a name of a-z, 0-9 and single dashes, at most 31, such as web")
IMAGE = pattern(
    r"(?:[a-zA-Z0-9.-]+(?::[0-9]{1,5})?/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*",
    "an image without its version, such as registry.example.org/shop (its version is a key of its own)",
)
VERSION = Leaf(
    lambda value: isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", value) is not None,
    'the tag of an image as a text: quote it, as in "1.10"',
)
DIGEST = pattern(r"sha256:[0-9a-f]{64}", "a digest, sha256: and 64 hex digits")
VARIABLE = pattern(r"[A-Za-z_][A-Za-z0-9_]{0,199}", "the name of a variable of the environment")
SETTING = Leaf(_is_plain, "a text, a number or a boolean (leave it out for none)", _plain)
SECRET = Secret(_is_secret, "a text that is not empty", str)
LABEL = pattern(
    r"(?!com\.docker\.|stack\.shipshape\.)[a-zA-Z0-9][a-zA-Z0-9._/-]{0,199}", "the name of a label of yours"
)
USER = pattern(r"[a-z0-9_][a-z0-9_.-]{0,31}(?::[a-z0-9_][a-z0-9_.-]{0,31})?", "a user, or user:group, of the image")
CAPABILITY = pattern(r"(?!ALL)[A-Z][A-Z_]{2,40}", "a capability such as NET_BIND_SERVICE (ALL is none)")
ULIMIT_NAME = pattern(r"[a-z]{2,12}", "the name of a limit, such as nofile")
TMPFS = pattern(
    r"/(?!.*\.\.)[A-Za-z0-9_./-]+(?::[a-z0-9=,]+)?", "an absolute path, with options if need be: /tmp:size=64m"
)
TARGET = pattern(r"/(?!.*(?:/\.\./|/\.\.$|//))[A-Za-z0-9_.@+/-]+", "an absolute path in the container, but not /")
HOST_PATH = Leaf(
    lambda value: TARGET.good(value) and not GUARDED.fullmatch(value) and not GUARDED_BELOW.fullmatch(value),
    "an absolute path on the host outside of the system's own folders",
)


def number(least: float, most: float, what: str = "a number") -> Leaf:
    """One with decimals."""

    def good(value: Any) -> bool:
        if isinstance(value, str):
            return re.fullmatch(r"[0-9]{1,9}(?:\.[0-9]{1,9})?", value) is not None and least <= float(value) <= most
        return isinstance(value, (int, float)) and not isinstance(value, bool) and least <= value <= most

    return Leaf(good, f"{what} from {least:g} to {most:g}", float)


def _is_memory(value: Any) -> bool:
    try:
        return mebibytes(value) >= LEAST_MEMORY
    except MemoryBudgetError:
        return False


MEMORY = Leaf(
    _is_memory, f"a size of at least {LEAST_MEMORY}M with its unit, such as 512M", lambda value: f"{mebibytes(value)}M"
)


def _words(value: Any) -> list[str]:
    if isinstance(value, str):
        return shlex.split(value)
    return [_plain(each) for each in value]


def _is_command(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return bool(value) and all(_is_plain(each) for each in value)
    try:
        return is_text(value) and bool(shlex.split(value))
    except ValueError:
        return False


COMMAND = Leaf(_is_command, "a command, as a list of words or as one text whose quotes are closed", _words)
# Docker runs a text in a shell and a list without one, so neither becomes the other.
CHECK_COMMAND = Leaf(_is_command, COMMAND.hint, lambda value: value if isinstance(value, str) else _words(value))


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -1 <= value <= 2**62


def _is_limit(value: Any) -> bool:
    if isinstance(value, Mapping):
        return set(value) == {"soft", "hard"} and all(_whole(each) for each in value.values())
    return _whole(value)


def _limit(value: Any) -> Union[int, dict[str, int]]:
    return dict(value) if isinstance(value, Mapping) else int(value)


ULIMIT = Leaf(_is_limit, "a number, or {soft: N, hard: N}", _limit)
