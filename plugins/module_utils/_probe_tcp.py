# Copyright: (c) 2026, The shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The probe `tcp`: something listens, and says what is expected."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterable, Mapping
from typing import Any, Optional

from ._health_spec import HEALTHY, UNHEALTHY, Option, Outcome, Probe, excerpt, port, regex, seconds, text

MOST = 4096
OPTIONS = {
    "host": Option(text(), "127.0.0.1"),
    "port": Option(port(), required=True),
    "send": Option(text()),
    "expect": Option(regex()),
    "connect_timeout": Option(seconds()),
}


def evaluate(where: str, banner: str, expect: Optional[str]) -> Outcome:
    if expect is None:
        return Outcome(HEALTHY, f"{where} accepts connections")
    if re.search(expect, banner):
        return Outcome(HEALTHY, f"{where} says {excerpt(banner, 60)}")
    said = f"said {excerpt(banner)!r}" if banner else "said nothing"
    return Outcome(UNHEALTHY, f"{where} {said}, wanted text like {expect!r}")


def _run(options: Mapping[str, Any], timeout: float) -> Outcome:
    deadline = time.monotonic() + timeout
    where = f"{options['host']}:{options['port']}"
    banner = b""
    try:
        with socket.create_connection(
            (options["host"], options["port"]), min(options["connect_timeout"] or timeout, timeout)
        ) as connection:
            if options["send"]:
                connection.sendall(options["send"].encode())
            if options["expect"] is not None:
                for banner in _said(connection, deadline):
                    if re.search(options["expect"], banner.decode("utf-8", "replace")):
                        break
    except (socket.timeout, TimeoutError):
        if not banner:
            raise
    except OSError as exc:
        return Outcome(UNHEALTHY, f"{where}: {exc.strerror or exc}")
    return evaluate(where, banner.decode("utf-8", "replace"), options["expect"])


def _said(connection: socket.socket, deadline: float) -> Iterable[bytes]:
    """All that has come so far, each time that more comes."""
    said = b""
    while len(said) < MOST:
        connection.settimeout(max(0.01, deadline - time.monotonic()))
        more = connection.recv(MOST)
        if not more:
            return
        said += more
        yield said


PROBE = Probe(OPTIONS, _run)
