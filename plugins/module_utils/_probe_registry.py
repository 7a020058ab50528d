# Copyright: (c) 2026, The shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every type of check. A new one is a file `_probe_<type>.py` and a line here; docs/health.md shows how."""

from __future__ import annotations

from . import (
    _probe_command,
    _probe_host,
    _probe_http,
    _probe_postgres,
    _probe_redis,
    _probe_restart,
    _probe_systemd,
    _probe_tcp,
    _probe_time,
    _probe_tls,
)
from ._health_spec import Probe

REGISTRY: dict[str, Probe] = {
    "http": _probe_http.PROBE,
    "tls": _probe_tls.PROBE,
    "tcp": _probe_tcp.PROBE,
    "postgres": _probe_postgres.PROBE,
    "redis": _probe_redis.PROBE,
    "systemd": _probe_systemd.PROBE,
    "disk": _probe_host.DISK_PROBE,
    "memory": _probe_host.MEMORY_PROBE,
    "load": _probe_host.LOAD_PROBE,
    "command": _probe_command.PROBE,
    "time": _probe_time.PROBE,
    "restart": _probe_restart.PROBE,
}
