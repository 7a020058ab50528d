# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of an app on its host, and how each step of a release changes that.

C(active) has the traffic, C(candidate) is about to get it, C(draining) had it and is not stopped yet, C(previous) is
what to go back to. Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Optional

from ._app_compose import service_names

SLOTS = ("a", "b")
PREPARED, STARTED, SWITCHED = "prepared", "started", "switched"
# A lock outlives the longest step that has no limit of its own; each step renews it.
LOCK_SECONDS = 1800
EMPTY: Mapping[str, Any] = {
    "active": None,
    "candidate": None,
    "draining": None,
    "previous": None,
    "ports": {},
    "init_done": [],
    "releases": [],
}


class ReleaseError(Exception):
    """A reason for which a step cannot be done, for people, with the last lines of a container's log."""

    def __init__(self, message: str, log: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.log = list(log)


def read(data: Optional[Mapping[str, Any]]) -> dict[str, Any]:
    """The state, with what an older version did not know yet."""
    return {
        **{key: (list(value) if isinstance(value, list) else value) for key, value in EMPTY.items()},
        **(data or {}),
    }


def next_slot(state: Mapping[str, Any]) -> str:
    """The slot that has no traffic."""
    active = state["active"]
    return "b" if active and active["slot"] == "a" else "a"


def begun(state: Mapping[str, Any], release: str, action: str) -> dict[str, Any]:
    candidate = {"slot": next_slot(state), "release": release, "phase": PREPARED, "action": action}
    return {**state, "candidate": candidate}


def reached(state: Mapping[str, Any], phase: str) -> dict[str, Any]:
    return {**state, "candidate": {**state["candidate"], "phase": phase}}


def switched(state: Mapping[str, Any]) -> dict[str, Any]:
    """The candidate is what runs. A slot that was only started anew or put right is nothing to go back to."""
    candidate, active = state["candidate"], state["active"]
    made = {"slot": candidate["slot"], "release": candidate["release"]}
    other = active and active["release"] != made["release"]
    return {
        **state,
        "active": made,
        "candidate": None,
        "draining": active,
        "previous": {"release": active["release"]} if other else state["previous"],
        "releases": [made["release"], *(each for each in state["releases"] if each != made["release"])],
    }


def drained(state: Mapping[str, Any]) -> dict[str, Any]:
    return {**state, "draining": None}


def dropped(state: Mapping[str, Any]) -> dict[str, Any]:
    return {**state, "candidate": None}


def pruned(state: Mapping[str, Any], keep: int) -> dict[str, Any]:
    """The newest releases, and always the one that runs and the one to go back to."""
    needed = {each["release"] for each in (state["active"], state["previous"], state["candidate"]) if each}
    releases = [each for number, each in enumerate(state["releases"]) if number < keep or each in needed]
    return {**state, "releases": releases}


def wanted_release(state: Mapping[str, Any], asked: str) -> str:
    """The id of the release to go back to."""
    if asked != "previous":
        if asked not in state["releases"]:
            known = ", ".join(state["releases"]) or "none"
            raise ReleaseError(f"there is no release {asked} on this host; those kept are: {known}")
        return asked
    candidate, previous = state["candidate"], state["previous"]
    if candidate and candidate["action"] == "rollback":
        return str(candidate["release"])  # a killed run was on its way there
    if not previous or previous["release"] not in state["releases"]:
        raise ReleaseError("there is no release before the one that runs: deploy a version instead")
    return str(previous["release"])


def ports_of(text: str) -> tuple[int, int]:
    """The first and the last port of a range such as C(20000-20999)."""
    found = re.fullmatch(r"([0-9]{1,5})-([0-9]{1,5})", text)
    first, last = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1024 <= first <= last <= 65535:
        raise ReleaseError(f"port_range: {text!r} is no range of ports from 1024 to 65535, such as 20000-20999")
    return first, last


def allocated(
    app: Mapping[str, Any], known: Mapping[str, int], taken: Collection[int], first: int, last: int
) -> dict[str, int]:
    """A port of the host for each container of a web service, in both slots; those that had one keep it for good.

    Those that this release has no more run still in the other slot, or in a release that is gone back to.
    """
    wanted = [name for slot in SLOTS for name in service_names(app, slot, ["web"])]
    ports = dict(known)
    free = (port for port in range(first, last + 1) if port not in taken and port not in ports.values())
    for name in wanted:
        if name not in ports:
            port = next(free, None)
            if port is None:
                raise ReleaseError(
                    f"no port is left from {first} to {last} for {name}: widen app_stack_port_range, or run"
                    " fewer replicas"
                )
            ports[name] = port
    return ports


def servers(
    app: Mapping[str, Any], slot: str, ports: Mapping[str, int], address: str
) -> dict[str, list[dict[str, str]]]:
    """What a load balancer calls in a slot, by service."""
    host = f"[{address}]" if ":" in address else address
    return {
        service["name"]: [
            {"address": f"{host}:{ports[name]}"}
            for name in (f"{service['name']}-{number}-{slot}" for number in range(1, service["replicas"] + 1))
        ]
        for service in app["services"]
        if service["kind"] == "web"
    }


def holder(
    lock: Optional[Mapping[str, Any]], run: Mapping[str, Any], now: float, take: bool
) -> Optional[dict[str, Any]]:
    """Whose lock stands in the way of a run; None where it may go on."""
    if not lock or take or lock.get("id") == run.get("id") or float(lock.get("expires", 0)) <= now:
        return None
    return dict(lock)


def locked(run: Mapping[str, Any], now: float, seconds: float = LOCK_SECONDS) -> dict[str, Any]:
    return {**run, "since": int(now), "expires": int(now + seconds)}


def masked(text: str, secrets: Mapping[str, Mapping[str, str]]) -> str:
    """A text that a container wrote, without the values of its secrets."""
    values: Iterable[str] = {value for own in secrets.values() for value in own.values() if len(value) > 2}
    for value in sorted(values, key=len, reverse=True):
        text = text.replace(value, "********")
    return text
