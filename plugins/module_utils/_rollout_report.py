# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What came of a rollout, in one text for whoever started it.

Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ._rollout import Fleet, Record, failed, records

DONE = {
    "none": "runs already",
    "deploy": "is live",
    "rollback": "is live again",
    "restart": "was started anew",
    "heal": "was put right",
}


def listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names) or "nothing"


def problem(fleet: Fleet, apps: Sequence[str]) -> str:
    """The whole reason to fail with; empty if all went well."""
    return "\n\n".join("\n".join(_problem(app, records(fleet, app))) for app in apps if _bad(fleet, app))


def summary(fleet: Fleet, apps: Sequence[str], check_mode: bool = False) -> list[str]:
    """A line for each app that is as it was asked for."""
    return [line for app in apps if not _bad(fleet, app) for line in _good(app, records(fleet, app), check_mode)]


def _bad(fleet: Fleet, app: str) -> bool:
    return failed(fleet, app) or any(record.get("trouble") for record in records(fleet, app).values())


def _good(app: str, found: Mapping[str, Record], check_mode: bool) -> Iterator[str]:
    for action, hosts in _grouped((record["plan"]["action"], host) for host, record in found.items()):
        plan = found[hosts[0]]["plan"]
        told = f"would be live ({action})" if check_mode and action != "none" else DONE.get(action, action)
        yield f"{app}: {plan['release']} {told} on {listed(hosts)}"


def _problem(app: str, found: Mapping[str, Record]) -> Iterator[str]:
    """Why, what its containers said, and what each host is left with."""
    kept = any(record.get("end") == "finished" for record in found.values())
    release = next((record["plan"]["release"] for record in found.values() if record.get("plan")), "")
    failures = [(host, record["failure"]) for host, record in found.items() if record.get("failure")]
    what = f"{app}: {release}".rstrip(": ")
    yield f"{what} {'is live, but not all is in order' if kept or not failures else 'was not released'}."
    for (step, message), hosts in _grouped(((each["step"], each["message"]), host) for host, each in failures):
        yield f"{listed(hosts)} failed ({step}): {message}"
        yield from _log(host_log for host, host_log in _logs(failures) if host in hosts)
    for host, record in found.items():
        trouble = record.get("trouble")
        if trouble and (not record.get("failure") or trouble["message"] != record["failure"]["message"]):
            yield f"{host} failed at the end ({trouble['step']}): {trouble['message']}"
            yield from _log([trouble["log"]])
    yield from _left(found)


def _left(found: Mapping[str, Record]) -> Iterator[str]:
    ends = [(record.get("end", ""), host) for host, record in found.items() if record.get("plan")]
    for end, hosts in _grouped(ends):
        for active, those in _grouped((found[host]["plan"].get("active_release") or "", host) for host in hosts):
            back = f"the traffic is with {active} again" if active else "nothing of the app serves, as before"
            yield {
                "undone": f"Undone on {listed(those)}: {back}, and the new containers are gone.",
                "finished": f"{listed(those)}: the new release serves.",
                "": f"Nothing was begun on {listed(those)}.",
                "stuck": f"Not all was undone on {listed(those)}: run the same again once the host is well.",
            }[end]


def _logs(failures: Iterable[tuple[str, Mapping[str, Any]]]) -> Iterator[tuple[str, Sequence[str]]]:
    return ((host, each["log"]) for host, each in failures)


def _log(logs: Iterable[Sequence[str]]) -> Iterator[str]:
    lines = next((log for log in logs if log), [])
    if lines:
        yield "The last of its log:"
        yield from (f"  | {line}" for line in lines)


def _grouped(pairs: Iterable[tuple[Any, str]]) -> list[tuple[Any, list[str]]]:
    found: dict[Any, list[str]] = {}
    for key, host in pairs:
        found.setdefault(key, []).append(host)
    return list(found.items())
