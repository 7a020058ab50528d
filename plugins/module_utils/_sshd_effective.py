# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What sshd really does (C(sshd -T)), compared keyword by keyword with what was asked for.

A file proves little: an earlier drop-in, a Match block or a second Port line of somebody else may win over it.
Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

import re
from typing import Any

# Keywords whose value is a time (sshd prints seconds) or a size (sshd prints bytes), sshd_config(5) TIME FORMATS.
_TIMES = {"logingracetime", "clientaliveinterval", "channeltimeout", "unusedconnectiontimeout"}
_TIME_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_SIZE_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
# sshd prints the old spelling of some values.
_SAME = {"without-password": "prohibit-password"}


def parse(output: str) -> dict[str, list[str]]:
    """The output of C(sshd -T): a lower-case keyword a line, repeated for each of its values."""
    found: dict[str, list[str]] = {}
    for line in output.splitlines():
        key, _space, value = line.strip().partition(" ")
        if key:
            found.setdefault(key, []).append(value)
    return found


def seconds(text: str) -> str:
    """C(1h30m) as C(5400); anything that is no time as it is."""
    if not re.fullmatch(r"(\d+[smhdw]?)+", text, re.IGNORECASE):
        return text
    parts = re.findall(r"(\d+)([smhdw]?)", text, re.IGNORECASE)
    return str(sum(int(number) * _TIME_UNITS[unit.lower()] for number, unit in parts))


def _rekey(text: str) -> str:
    size, _space, time = text.partition(" ")
    match = re.fullmatch(r"(\d+)([kmg]?)", size, re.IGNORECASE)
    amount = str(int(match[1]) * _SIZE_UNITS[match[2].lower()]) if match else "0" if size == "default" else size
    return f"{amount} {'0' if time in ('', 'none') else seconds(time)}"


def canonical(key: str, values: list[str]) -> list[str]:
    """The lines of one keyword in the form in which two of them can be compared."""
    key = key.lower()
    if key in ("allowusers", "allowgroups", "denyusers", "denygroups", "acceptenv", "setenv"):
        return sorted(word for value in values for word in value.split())
    if key == "listenaddress":
        # sshd prints an address for each port; the ports are compared by themselves.
        return sorted({re.sub(r"^\[(.*)\](:\d+)?$|^([^:]+):\d+$", r"\1\3", value) for value in values})
    if key == "port":
        return sorted(values)
    if key == "rekeylimit":
        return [_rekey(value) for value in values]
    plain = [" ".join(value.strip().strip('"').split()) for value in values]
    if key in _TIMES:
        return [seconds(value) for value in plain]
    if key == "persourcepenalties":
        # On, it is printed with all its amounts.
        return ["no" if value == "no" else "yes" for value in plain]
    return [
        _SAME.get(value.lower(), value.lower() if value.lower() in ("yes", "no", "none") else value) for value in plain
    ]


def mismatches(
    wanted: dict[str, list[str]], effective: dict[str, list[str]], directives: list[dict[str, Any]] | None = None
) -> list[str]:
    """One message for each keyword whose effective value is another than the one asked for."""
    messages = []
    for key, values in wanted.items():
        lower = key.lower()
        found = effective.get(lower)
        expected = canonical(lower, values)
        if found is None and expected in (["none"], ["no"]):
            # Keywords that were compiled out, or that sshd prints only when they are set.
            continue
        if found is not None and canonical(lower, found) == expected:
            continue
        others = [
            f"{line['file']}:{line['line']} sets {line['value']!r}"
            for line in directives or []
            if line["key"] == lower and "shipshape" not in line["file"]
        ]
        shown = "nothing" if found is None else " ".join(found)
        messages.append(f"{key}: asked for {' '.join(values)!r}, in effect is {shown!r}" + _because(others))
    return messages


def deaf_ports(wanted: dict[str, list[str]], info: dict[str, Any]) -> list[str]:
    """Ports of the configuration that sshd, or systemd for its socket, does not listen on.

    sshd goes on with the other ports where one is taken, and says so in its log only.
    """
    owners = ("sshd", "systemd") if info["socket"]["active"] else ("sshd",)
    heard = {str(listener["port"]) for listener in info["listeners"] if listener["process"] in owners}
    return [f"Port: sshd does not listen on {port}; its log says why" for port in wanted["Port"] if port not in heard]


def _because(others: list[str]) -> str:
    return f" ({'; '.join(others)})" if others else ""
