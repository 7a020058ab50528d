# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether what runs on the host is well after a restore: the checks of the host's own `shipshape health`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ._cli_health import CONFIG, load
from ._health_engine import run
from ._health_plan import read_plan
from ._health_spec import UNHEALTHY, HealthError
from ._probe_registry import REGISTRY

# What asks a service. A disk that is nearly full was so before, and waiting does not empty it.
SERVICES = ("http", "tls", "tcp", "postgres", "redis", "systemd", "command")


def unhealthy(seconds: float, path: str = CONFIG) -> Iterator[str]:
    """Each check that does not become healthy in that time, with what it says. None where the host has no checks."""
    if not Path(path).exists():
        return
    try:
        document: dict[str, Any] = {**load(Path(path)), "timeout": seconds}
        names = [each["name"] for each in document.get("checks", []) if each.get("type") in SERVICES]
        checks = run(read_plan(document, REGISTRY, names))["checks"] if names else []
    except HealthError as exc:
        yield f"{path}: {exc}"
        return
    for check in checks:
        if check["status"] == UNHEALTHY:
            yield f"{check['name']}: {check['detail']}"
