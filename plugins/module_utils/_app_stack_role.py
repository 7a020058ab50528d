# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role app_stack refuses of its options, before any change.

Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ._app_compose import volumes
from ._app_edge import sound
from ._app_problems import app_problems
from ._app_release import RELEASE
from ._app_services import known
from ._nginx_values import ADDRESS

VOLUME = re.compile(r"[a-z][a-z0-9-]*_[a-z][a-z0-9-]*")
BATCH = re.compile(r"[1-9][0-9]{0,3}|(?:[1-9][0-9]?|100)%")
# Of a range, so that a host with both slots and a second app does not run out at once.
LEAST_PORTS = 16


def problems(options: Mapping[str, Any], hosts: Iterable[str]) -> list[str]:
    """One message for each wrong value. `hosts` are all of the inventory."""
    return list(dict.fromkeys(_problems(options, list(hosts))))


def _problems(options: Mapping[str, Any], hosts: list[str]) -> Iterator[str]:
    apps = options["app_stack_apps"]
    ports = list(_port_range(str(options["app_stack_port_range"])))
    yield from ports
    yield from app_problems(apps, "" if ports else str(options["app_stack_port_range"]))
    if options["app_stack_app"]:
        names = [str(app.get("name")) for app in apps if isinstance(app, Mapping)]
        yield from known("app_stack_app", options["app_stack_app"], names, "app_stack_apps")
    for index, host in enumerate(options["app_stack_load_balancers"]):
        yield from known(f"app_stack_load_balancers[{index}]", host, hosts, "the hosts of the inventory")
    address = options["app_stack_publish_address"]
    if address == "*" or not ADDRESS.good(address):
        yield f"app_stack_publish_address: {address!r} is not one address of this host, such as 127.0.0.1"
    release = options["app_stack_release"]
    if release and release != "previous" and not RELEASE.fullmatch(str(release)):
        yield f"app_stack_release: {release!r} is neither previous nor the id of a release, such as 1.2-0123456789ab"
    if release and options["app_stack_restart"]:
        yield "app_stack_restart: a restart is of the release that runs: leave out app_stack_release"
    for index, batch in enumerate(options["app_stack_batches"]):
        if not BATCH.fullmatch(str(batch)):
            yield f'app_stack_batches[{index}]: {batch!r} is not a number of hosts, or a share such as "25%"'
    if not options["app_stack_batches"]:
        yield 'app_stack_batches: it is empty: give ["100%"] for all hosts at once'
    yield from _volumes(options, set() if options["app_stack_state"] == "absent" else _used(apps))


def _port_range(text: str) -> Iterator[str]:
    found = re.fullmatch(r"([0-9]{4,5})-([0-9]{4,5})", text)
    first, last = map(int, found.groups()) if found else (0, 0)
    if not (first >= 1024 and first + LEAST_PORTS - 1 <= last <= 65535):
        yield f"app_stack_port_range: {text!r} is not a range of {LEAST_PORTS} ports or more, such as 20000-20999"


def _used(apps: Any) -> set[str]:
    return {name for app in sound(apps) for name in volumes(app)}


def _volumes(options: Mapping[str, Any], used: set[str]) -> Iterator[str]:
    for index, name in enumerate(options["app_stack_volumes_removed"]):
        path = f"app_stack_volumes_removed[{index}]"
        if not VOLUME.fullmatch(str(name)):
            yield f"{path}: {name!r} is not the name of a volume, APP_NAME, such as shop_data"
        elif name in used:
            yield f"{path}: {name} is in use by an app that is present: take it out of one of them first"
