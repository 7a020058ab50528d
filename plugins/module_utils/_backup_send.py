# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sets go to their targets, and what a target has held is remembered apart from the sets that are here."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ._backup_config import copies_of
from ._backup_copies import target
from ._backup_manifest import BackupError, began
from ._backup_sets import Store


def send(config: Mapping[str, Any], store: Store, options: Mapping[str, Any], name: str) -> None:
    """One set to one target, read back and compared."""
    there, own = target(options, config["host"]), options["name"]
    memory = store.memory()
    mark = memory["targets"].setdefault(own, {})
    held = mark.get("held") or any(own in each for each in memory["copies"].values())
    there.open(bool(held))
    if not held and not mark.get("begun"):
        _refuse_others(config, there.snapshots(config["host"]), own)
        mark["begun"] = began(name)
        store.remember(memory)
    record = there.upload(store.sets / name, store.read(name)["schedule"])
    memory = store.memory()
    memory["targets"][own]["held"] = time.time()
    memory["copies"].setdefault(name, {})[own] = {"at": time.time(), **record}
    store.remember(memory)


def _refuse_others(config: Mapping[str, Any], sets: Mapping[str, Any], name: str) -> None:
    """A new host that has the name of a lost one would put its empty sets behind the good ones, as their newest."""
    if sets:
        raise BackupError(
            f"copy {name}: it holds {len(sets)} sets of {config['host']}, and this host remembers none of them. Bring"
            f" home what is to be restored (`shipshape backup fetch --target {name}`), or say that this host goes on"
            f" without: `shipshape backup adopt {name}`"
        )


def adopt(store: Store, name: str, held: bool) -> None:
    """This host goes on behind the sets that are there."""
    memory = store.memory()
    memory["targets"].setdefault(name, {}).update(begun=time.time(), **({"held": time.time()} if held else {}))
    store.remember(memory)


def lacking(config: Mapping[str, Any], store: Store) -> list[tuple[dict[str, Any], str]]:
    """The newest set of each schedule with the targets that it should be in, and is not."""
    memory, names = store.memory(), set(store.names())
    newest = {name: memory["schedules"].get(name, {}).get("last_set") for name in config["schedules"]}
    return [
        (options, found)
        for schedule, found in newest.items()
        if found in names
        for options in copies_of(config, schedule)
        if options["name"] not in memory["copies"].get(found, {})
        # Not what a new host made before it was told to go on behind a lost one's sets.
        and began(found) >= memory["targets"].get(options["name"], {}).get("begun", 0)
    ]
