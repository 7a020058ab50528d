# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What sshd really does, compared keyword by keyword with what the role's file alone would make it do.

A file proves little: an earlier drop-in, a Match block or a second Port line of somebody else may win over it. Both
sides are read by sshd itself (C(sshd -T), and C(sshd -T -f) of the drop-in), so no spelling of a value is in the way.
Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

from typing import Any, Iterable

# sshd adds these up over all files, so that others may say more.
_CUMULATIVE = {"acceptenv", "setenv"}


def parse(output: str) -> dict[str, list[str]]:
    """The output of C(sshd -T): a lower-case keyword a line, repeated for each of its values."""
    found: dict[str, list[str]] = {}
    for line in output.splitlines():
        key, _space, value = line.strip().partition(" ")
        if key:
            found.setdefault(key, []).append(value)
    return found


def _agree(key: str, own: list[str], effective: list[str]) -> bool:
    return set(own) <= set(effective) if key in _CUMULATIVE else sorted(own) == sorted(effective)


def mismatches(
    keywords: Iterable[str],
    own: dict[str, list[str]],
    effective: dict[str, list[str]],
    directives: list[dict[str, Any]],
) -> list[str]:
    """One message for each of the keywords whose effective value is another than the drop-in alone would give."""
    messages = []
    for keyword in keywords:
        key = keyword.lower()
        # Not every keyword is printed by every version (DebianBanner), and then nothing can be said of it.
        wanted, found = own.get(key, []), effective.get(key, [])
        if _agree(key, wanted, found):
            continue
        others = [
            f"{line['file']}:{line['line']} sets {line['value']!r}"
            for line in directives
            if line["key"] == key and "shipshape" not in line["file"]
        ]
        because = f" ({'; '.join(others)})" if others else ""
        messages.append(f"{keyword}: asked for {' '.join(wanted)!r}, in effect is {' '.join(found)!r}{because}")
    return messages


def deaf_ports(wanted: dict[str, list[str]], info: dict[str, Any]) -> list[str]:
    """Ports of the configuration that sshd, or systemd for its socket, does not listen on.

    sshd goes on with the other ports where one is taken, and says so in its log only.
    """
    owners = ("sshd", "systemd") if info["socket"]["active"] else ("sshd",)
    heard = {str(listener["port"]) for listener in info["listeners"] if listener["process"] in owners}
    return [f"Port: sshd does not listen on {port}; its log says why" for port in wanted["Port"] if port not in heard]
