# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes of the app model: they never show what they judge where a secret may be in it.

Pure data: no I/O and no Ansible imports.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ._nginx_schema import Field, Items, Leaf, Map, Node, Table

SHOWN = 60


def shown(value: Any) -> str:
    """A plain value, in short; of anything else only what it is."""
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def _kind(value: Any) -> str:
    return "a text" if isinstance(value, str) else shown(value)


class Secret(Leaf):
    """One plain value that nothing shows."""

    def problems(self, path: str, value: Any) -> Iterator[str]:
        if not self.good(value):
            yield f"{path}: it is not {self.hint} (its value is not shown)"


class Plain(Leaf):
    """One plain value. What holds other values is not shown."""

    def problems(self, path: str, value: Any) -> Iterator[str]:
        if not self.good(value):
            yield f"{path}: {shown(value)} is not {self.hint}"


class Rows(Items):
    def problems(self, path: str, value: Any) -> Iterator[str]:
        if isinstance(value, (list, tuple)):
            yield from super().problems(path, value)
        else:
            yield f"{path}: {_kind(value)} is not a list"


class Names(Table):
    """Names that capitals do not tell apart."""

    def problems(self, path: str, value: Any) -> Iterator[str]:
        if isinstance(value, Mapping):
            yield from super().problems(path, value)
        else:
            yield f"{path}: {_kind(value)} is not a mapping of names to values"


class Exact(Names):
    """Names that capitals tell apart, as in an environment."""

    def problems(self, path: str, value: Any) -> Iterator[str]:
        if not isinstance(value, Mapping):
            yield from super().problems(path, value)
            return
        for key, each in value.items():
            yield from self.key.problems(f"{path} (a name)", key)
            yield from self.value.problems(f"{path}.{key}", each)


class Keys(Map):
    def problems(self, path: str, value: Any, prefix: str = "") -> Iterator[str]:
        if isinstance(value, Mapping):
            yield from super().problems(path, value, prefix)
        else:
            yield f"{path or 'an app'}: {_kind(value)} is not a mapping, such as {{{', '.join(list(self.fields)[:3])}}}"


@dataclass(frozen=True)
class Raw(Node):
    """What another model judges."""

    def problems(self, path: str, value: Any) -> Iterator[str]:
        yield from ()


def quiet(node: Any) -> Any:
    """The same model, but one that does not show what it refuses."""
    if isinstance(node, Map):
        return Keys({name: replace(field, node=quiet(field.node)) for name, field in node.fields.items()})
    if isinstance(node, Items):
        return Rows(quiet(node.item), node.least)
    if isinstance(node, Table):
        return (Exact if isinstance(node, Exact) else Names)(quiet(node.key), quiet(node.value))
    if isinstance(node, Leaf) and not isinstance(node, Secret):
        return Plain(node.good, node.hint, node.make)
    return node


def without_defaults(node: Map, *names: str) -> dict[str, Field]:
    """Some fields of a model, for values that it fills in itself."""
    return {name: Field(node.fields[name].node) for name in names}
