# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release on several hosts: who is next, and what stops it.

A fleet is what each host knows of each app by now: `plan`, the answer of the step prepare, and `failure`, what went
wrong. Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Union

Record = Mapping[str, Any]
Fleet = Mapping[str, Mapping[str, Record]]
# Of a watch, so that it is given up soon and does not ask all the time.
LEAST_SECONDS = 5
MOST_SLICES = 10
# One bad answer may be anybody's.
SPARED_ERRORS = 1
LOG_LINES = 20


def records(fleet: Fleet, app: str) -> dict[str, Record]:
    return {host: own.get(app, {}) for host, own in fleet.items()}


def moves(record: Record) -> bool:
    """Whether the host has something to do, and holds the app's lock for it."""
    return record.get("plan", {}).get("action", "none") != "none"


def failed(fleet: Fleet, app: str) -> bool:
    """Whether no host may go on with the app."""
    return any(record.get("failure") for record in records(fleet, app).values())


def rounds(fleet: Fleet, apps: Sequence[str], batches: Sequence[Union[int, str]]) -> list[dict[str, Any]]:
    """App by app, the hosts that are taken to the new release at a time."""
    found = []
    for app in apps:
        hosts = [host for host, record in records(fleet, app).items() if moves(record)]
        if not failed(fleet, app):
            found += [{"app": app, "hosts": part} for part in _parts(hosts, batches, len(fleet))]
    return found


def _parts(hosts: Sequence[str], batches: Sequence[Union[int, str]], of: int) -> Iterator[Sequence[str]]:
    """The last batch is repeated until nobody is left."""
    done = number = 0
    while done < len(hosts):
        text = str(batches[min(number, len(batches) - 1)])
        size = max(1, of * int(text[:-1]) // 100 if text.endswith("%") else int(text))
        yield hosts[done : done + size]
        done, number = done + size, number + 1


def migrates(fleet: Fleet, app: str) -> str:
    """The host that runs the migration; none if it was run for this release already, by whichever host."""
    found = records(fleet, app)
    plans = [record.get("plan", {}) for record in found.values()]
    if failed(fleet, app) or not all(plan.get("needs_migration") for plan in plans):
        return ""
    return next((host for host, record in found.items() if moves(record)), "")


def divided(fleet: Fleet, app: str) -> str:
    """Why the hosts cannot come to one release, if they cannot."""
    releases: dict[str, list[str]] = {}
    for host, record in records(fleet, app).items():
        if record.get("plan"):
            releases.setdefault(record["plan"]["release"], []).append(host)
    if len(releases) < 2:
        return ""
    told = ", ".join(f"{release} on {' and '.join(hosts)}" for release, hosts in releases.items())
    return (
        f"the hosts would not come to one release, but to {told}. Give all of them the same images, by a registry or by"
        " docker load, and the same secrets; to go back, name the release: -e app_stack_release=ID"
    )


def slices(seconds: int) -> list[int]:
    """A watch in parts, after each of which the errors are counted."""
    number = max(1, min(MOST_SLICES, seconds // LEAST_SECONDS))
    least, more = divmod(seconds, number)
    return [least + (index < more) for index in range(number)]


def failing(counts: Sequence[Mapping[str, Any]], ratio: float) -> str:
    """Why what the load balancers counted is too much, if it is."""
    requests = sum(each.get("requests", 0) for each in counts)
    errors: dict[str, int] = {}
    for each in counts:
        for address, number in each.get("errors", {}).items():
            errors[address] = errors.get(address, 0) + number
    total = sum(errors.values())
    if total <= requests * ratio or (ratio and total <= SPARED_ERRORS):
        return ""
    told = ", ".join(f"{address} ({number})" for address, number in sorted(errors.items()))
    return f"{total} of {requests} requests to it failed, more than deploy.max_error_ratio {ratio:g} allows: {told}"


def failure(result: Mapping[str, Any], task: str) -> dict[str, Any]:
    """What is kept of a failed task: the step that it was, why, and the last lines of what was said there."""
    bad = [each for each in result.get("results", []) if each.get("failed") or each.get("unreachable")]
    first = bad[0] if bad else result
    message = str(first.get("msg") or first.get("module_stderr") or "no reason was given").strip()
    step = first.get("invocation", {}).get("module_args", {}).get("step") or task.rpartition("| ")[2]
    return {
        "step": step[:1].lower() + step[1:],
        "message": message.replace("Task failed: ", ""),
        "log": list(first.get("log") or first.get("stderr_lines") or [])[-LOG_LINES:],
    }
