# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes of a data model: each says what is wrong with a value and where, and fills in what was left out.

Pure data: no I/O and no Ansible imports.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any


class Node:
    """A value of the model."""

    def problems(self, path: str, value: Any) -> Iterator[str]:
        raise NotImplementedError

    def filled(self, value: Any) -> Any:
        return value


@dataclass(frozen=True)
class Leaf(Node):
    """One plain value."""

    good: Callable[[Any], bool]
    hint: str
    make: Callable[[Any], Any] = str

    def problems(self, path: str, value: Any) -> Iterator[str]:
        if not self.good(value):
            yield f"{path}: {value!r} is not {self.hint}"

    def filled(self, value: Any) -> Any:
        return self.make(value)


@dataclass(frozen=True)
class Items(Node):
    """A list."""

    item: Node
    least: int = 0

    def problems(self, path: str, value: Any) -> Iterator[str]:
        if not isinstance(value, (list, tuple)):
            yield f"{path}: {value!r} is not a list"
            return
        if len(value) < self.least:
            yield f"{path}: the list is empty: give at least {self.least}"
        for index, each in enumerate(value):
            yield from self.item.problems(f"{path}[{index}]", each)

    def filled(self, value: Any) -> Any:
        return [self.item.filled(each) for each in value]


@dataclass(frozen=True)
class Table(Node):
    """Names that the user chooses, each with a value."""

    key: Leaf
    value: Leaf

    def problems(self, path: str, value: Any) -> Iterator[str]:
        if not isinstance(value, Mapping):
            yield f"{path}: {value!r} is not a mapping of names to values"
            return
        seen: set[str] = set()
        for key, each in value.items():
            yield from self.key.problems(f"{path} (a name)", key)
            yield from self.value.problems(f"{path}.{key}", each)
            if str(key).lower() in seen:
                yield f"{path}.{key}: the name is there twice; capitals make no difference"
            seen.add(str(key).lower())

    def filled(self, value: Any) -> Any:
        return {str(key): self.value.filled(each) for key, each in value.items()}


@dataclass(frozen=True)
class Field:
    """A key of a mapping. Without a default, what was left out stays None."""

    node: Node
    default: Any = None
    required: bool = False


@dataclass(frozen=True)
class Map(Node):
    """A mapping whose keys are known."""

    fields: Mapping[str, Field]

    def problems(self, path: str, value: Any, prefix: str = "") -> Iterator[str]:
        if not isinstance(value, Mapping):
            yield f"{path}: {value!r} is not a mapping, such as {{{', '.join(list(self.fields)[:3])}}}"
            return
        below = f"{path}." if path else prefix
        for key, each in value.items():
            field = self.fields.get(str(key))
            if field is None:
                yield f"{below}{key}: {self._unknown(str(key))}"
            elif each is not None:
                yield from field.node.problems(f"{below}{key}", each)
        for key, field in self.fields.items():
            if field.required and value.get(key) is None:
                yield f"{below}{key}: it is missing, and required"

    def _unknown(self, key: str) -> str:
        near = difflib.get_close_matches(key, self.fields, n=1)
        return f"there is no such key: {f'did you mean {near[0]}?' if near else 'it may be ' + ', '.join(self.fields)}"

    def filled(self, value: Any) -> Any:
        made = {}
        for key, field in self.fields.items():
            given = value.get(key)
            if given is None:
                given = field.default
            made[key] = None if given is None else field.node.filled(given)
        return made
