# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Directives and blocks of nginx as text. What goes through here stays inside its directive.

Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

# What the swap puts the folder of the generation, and its id, in the place of.
FOLDER, ID = "@GENERATION@", "@ID@"
HEAD = "# The role shipshape.stack.nginx wrote this. A change by hand is lost at its next run.\n\n"
_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+,=~^*?$|!&\[\]-]+")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def word(value: Any) -> str:
    """One argument, in quotes where it needs them."""
    text = str(value)
    if _PLAIN.fullmatch(text):
        return text
    return '"' + "".join(_ESCAPES.get(each, each) for each in text) + '"'


def line(name: str, *values: Any) -> str:
    """One directive."""
    return " ".join([name, *map(word, values)]) + ";"


def block(head: str, lines: Iterable[str]) -> list[str]:
    return [f"{head} {{", *(f"    {each}" if each else "" for each in lines), "}"]


def include(path: str) -> str:
    """A part of the same generation."""
    return f"include {FOLDER}/{path};"


def raw(text: str) -> list[str]:
    """One item, so that no line but the first is moved: a break may stand within quotes."""
    return [text.strip("\n")] if text.strip() else []


def switch(value: bool) -> str:
    return "on" if value else "off"


def text_of(lines: Iterable[str]) -> str:
    """A file, without blank lines where it begins or two of them in a row."""
    kept: list[str] = []
    for each in lines:
        if each or (kept and kept[-1]):
            kept.append(each)
    return HEAD + "".join(f"{each}\n" for each in kept)
