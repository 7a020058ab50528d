# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads nginx's own syntax, by the rules of its parser, so that tests see what nginx would."""

from __future__ import annotations

from dataclasses import dataclass, field

ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


@dataclass
class Directive:
    name: str
    words: list[str]
    block: list[Directive] | None = field(default=None)

    def all(self, name):
        """Every directive of that name below, with itself."""
        found = [self] if self.name == name else []
        return found + [each for child in self.block or [] for each in child.all(name)]

    def own(self, name):
        return [child.words for child in self.block or [] if child.name == name]


def read(text, tree=None):
    """The directives of a file; with a tree, what it includes of @GENERATION@ stands in its place."""
    tokens = _tokens(text)
    found = _block(tokens, inside=False)
    return _with_includes(found, tree) if tree is not None else found


def _with_includes(directives, tree):
    made = []
    for each in directives:
        if each.name == "include" and each.words[0].startswith("@GENERATION@/"):
            made += read(tree[each.words[0].removeprefix("@GENERATION@/")], tree)
        else:
            block = None if each.block is None else _with_includes(each.block, tree)
            made.append(Directive(each.name, each.words, block))
    return made


def _block(tokens, inside):
    made, words = [], []
    for kind, text in tokens:
        if kind == "word":
            words.append(text)
        elif text == "}":
            assert inside, "a block ends that never began"
            assert not words, f"a block ends within {words}"
            return made
        else:
            assert words, f"{text} without a directive"
            made.append(Directive(words[0], words[1:], _block(tokens, inside=True) if text == "{" else None))
            words = []
    assert not inside, "the text ends within a block"
    assert not words, f"the text ends within {words}"
    return made


def _tokens(text):
    at = 0
    while at < len(text):
        char = text[at]
        if char.isspace():
            at += 1
        elif char == "#":
            at = (text + "\n").index("\n", at)
        elif char in ";{}":
            yield "mark", char
            at += 1
        else:
            word, at = _quoted(text, at) if char in "\"'" else _bare(text, at)
            yield "word", word


def _quoted(text, at):
    quote, at, word = text[at], at + 1, ""
    while text[at] != quote:
        if text[at] == "\\" and text[at + 1] in "\"'\\":
            at += 1
            word += text[at]
        elif text[at] == "\\" and text[at + 1] in ESCAPES:
            at += 1
            word += ESCAPES[text[at]]
        else:
            word += text[at]
        at += 1
    assert at + 1 == len(text) or text[at + 1] in " \n;{)", f"{text[at : at + 9]!r} after a quote"
    return word, at + 1


def _bare(text, at):
    start = at
    while at < len(text) and not text[at].isspace() and text[at] not in ";{":
        assert text[at] != "\\", "a bare word with a backslash"
        at += 1
    return text[start:at], at
