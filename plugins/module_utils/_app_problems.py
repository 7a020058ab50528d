# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with apps: each by itself, and all of them together.

Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ._app_data import data_problems, twice
from ._app_edge import names, site_problems
from ._app_model import normal, problems


def app_problems(apps: Any, port_range: str = "") -> list[str]:
    """One message for each wrong value: its path, what is wrong with it, and what to write.

    `port_range`, FIRST-LAST, is where the ports of web services come from.
    """
    if not isinstance(apps, (list, tuple)):
        return ["apps: it is not a list: write each app as an entry of its own"]
    found = [_below(index, message) for index, app in enumerate(apps) for message in problems(app)]
    found += _names(apps)
    if not found:
        found = list(_together([normal(app) for app in apps], port_range))
    return list(dict.fromkeys(found))


def _below(index: int, message: str) -> str:
    return f"apps[{index}]{': ' + message[8:] if message.startswith('an app: ') else '.' + message}"


def _names(apps: Sequence[Any]) -> Iterator[str]:
    given = [(index, app.get("name")) for index, app in enumerate(apps) if isinstance(app, Mapping)]
    for index, first, name in twice([(index, name) for index, name in given if isinstance(name, str)]):
        yield f"apps[{index}].name: {name} is that of apps[{first}] already"


def _together(apps: Sequence[Mapping[str, Any]], port_range: str) -> Iterator[str]:
    present = [app if app["state"] == "present" else _gone(app) for app in apps]
    for index, first, name in twice(names(present)):
        yield f"apps[{index}].name: a service of it and one of apps[{first}] are both {name} to nginx: rename one"
    yield from data_problems(present)
    yield from site_problems(apps)
    yield from _published(present, port_range)


def _gone(app: Mapping[str, Any]) -> dict[str, Any]:
    return {**app, "services": [], "database": None, "cache": None}


def _published(apps: Sequence[Mapping[str, Any]], port_range: str) -> Iterator[str]:
    least, _dash, most = port_range.partition("-")
    ports = []
    for index, app in enumerate(apps):
        for number, service in enumerate(app["services"]):
            port = service["publish"]
            if port is None:
                continue
            ports.append((index, port))
            if most and int(least) <= port <= int(most):
                yield f"apps[{index}].services[{number}].publish: {port} is one of {port_range}, which web services get"
    for index, first, port in twice(ports):
        yield f"apps[{index}]: its services publish {port}, and so do those of apps[{first}]: give each its own"
