# Copyright: (c) 2026, The shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The probe `systemd`: units are as they should be, or no unit on the host has failed."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping
from typing import Any

from ._health_spec import UNHEALTHY, Option, Outcome, Probe, boolean, integer, judge, listing, text
from ._probe_command import start

PROPERTIES = "Id,Names,LoadState,ActiveState,SubState,Result,UnitFileState,NRestarts"
OPTIONS = {
    "unit": Option(text()),
    "units": Option(listing(text())),
    "failed": Option(boolean(), False),
    "ignore": Option(listing(text())),
    "active_state": Option(listing(text()), ["active", "reloading"]),
    "sub_state": Option(listing(text())),
    "enabled": Option(boolean()),
    "max_restarts": Option(integer(0, 1000000)),
}


def _wanted(options: Mapping[str, Any]) -> list[str]:
    names = [*([options["unit"]] if options["unit"] else []), *(options["units"] or [])]
    return [name if "." in name else f"{name}.service" for name in names]


def _agree(options: Mapping[str, Any], path: str) -> Iterable[str]:
    names = _wanted(options)
    if not names and not options["failed"]:
        yield f"{path}: a systemd check needs unit, units or failed: true"
    for name in names:
        # A pattern would match nothing without a word.
        if name.startswith("-") or any(c in name for c in "*?[ "):
            yield f"{path}.unit: {name!r} is not the name of a unit"
    if options["ignore"] and not options["failed"]:
        yield f"{path}.ignore: goes with failed: true only"


def parse_show(text_: str) -> list[dict[str, str]]:
    """Blocks of `systemctl show`, one per unit that was asked for, in that order."""
    blocks = text_.strip("\n").split("\n\n")
    return [dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in blocks if block.strip()]


def parse_failed(text_: str) -> list[str]:
    """Names out of `systemctl list-units --plain --no-legend`."""
    return [line.split()[0] for line in text_.splitlines() if line.strip()]


def evaluate(units: list[tuple[str, Mapping[str, str]]], failed: list[str], options: Mapping[str, Any]) -> Outcome:
    """Judge the units that were asked for, and the failed units of the host where `failed` was asked for."""
    problems: list[str] = []
    warnings: list[str] = []
    for name, unit in units:
        problems += _unit(name, unit, options)
        restarts = unit.get("NRestarts", "")
        if options["max_restarts"] is not None and restarts.isdigit() and int(restarts) > options["max_restarts"]:
            warnings.append(f"{name} was restarted {restarts} times, wanted at most {options['max_restarts']}")
    if options["failed"]:
        left = [n for n in failed if not any(fnmatch.fnmatchcase(n, p) for p in options["ignore"] or ())]
        problems += [f"failed: {', '.join(left)}"] if left else []
    good = [f"{name} is {unit.get('ActiveState')} ({unit.get('SubState')})" for name, unit in units]
    fine = f"{len(units)} units are as wanted" if len(units) > 1 else good[0] if good else "no unit has failed"
    return Outcome(*judge(problems, warnings, fine))


def _unit(name: str, unit: Mapping[str, str], options: Mapping[str, Any]) -> Iterable[str]:
    load, active, sub = (unit.get(key, "") for key in ("LoadState", "ActiveState", "SubState"))
    if load not in ("loaded", "masked"):
        yield f"{name} is {load or 'unknown'}"
        return
    if active not in options["active_state"]:
        why = f", result {unit['Result']}" if unit.get("Result", "success") not in ("success", "") else ""
        again = f", restarted {unit['NRestarts']} times" if unit.get("NRestarts", "0") not in ("", "0") else ""
        yield f"{name} is {active} ({sub}{why}{again}), wanted {' or '.join(options['active_state'])}"
    elif options["sub_state"] and sub not in options["sub_state"]:
        yield f"{name} is {sub}, wanted {' or '.join(options['sub_state'])}"
    if options["enabled"] is not None:
        state = unit.get("UnitFileState", "")
        # static, indirect, generated and alias units are pulled in by others: enabled is all they can be.
        enabled = state not in ("disabled", "masked", "masked-runtime", "bad", "")
        if enabled != options["enabled"]:
            wanted = "enabled" if options["enabled"] else "disabled"
            yield f"{name} is {state or 'without a unit file'}, wanted {wanted}"


def _run(options: Mapping[str, Any], timeout: float) -> Outcome:
    names = _wanted(options)
    units: list[dict[str, str]] = []
    failed: list[str] = []
    try:
        if names:
            shown = start(["systemctl", "show", f"--property={PROPERTIES}", "--", *names], timeout)
            units = parse_show(shown.stdout)
            if shown.rc != 0 or len(units) != len(names):
                return Outcome(UNHEALTHY, f"systemctl show: rc {shown.rc}: {shown.stderr or shown.stdout}")
        if options["failed"]:
            listed = start(["systemctl", "list-units", "--state=failed", "--plain", "--no-legend", "--full"], timeout)
            if listed.rc != 0:
                return Outcome(UNHEALTHY, f"systemctl list-units: rc {listed.rc}: {listed.stderr}")
            failed = parse_failed(listed.stdout)
    except FileNotFoundError:
        return Outcome(UNHEALTHY, "systemctl is not on this host")
    return evaluate([(names[at], unit) for at, unit in enumerate(units)], failed, options)


PROBE = Probe(OPTIONS, _run, agree=_agree)
