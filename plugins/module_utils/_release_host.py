# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host must have before anything of a release is made: room, memory, ports, and what the kernel can limit."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from typing import Any

from ._app_compose import RUNNING
from ._release_docker import Docker
from ._release_state import ReleaseError
from ._run_command import run_command

FREE_MB = 512
UNITS = {"k": 1 / 1024, "m": 1, "g": 1024}


def memory_mb(app: Mapping[str, Any]) -> float:
    """What the containers of one slot may take by their limits, MiB."""
    return sum(
        _mb(service["limits"]["memory"]) * service["replicas"]
        for service in app["services"]
        if service["kind"] in RUNNING and service["limits"]["memory"]
    )


def _mb(size: str) -> float:
    number, unit = re.fullmatch(r"([0-9.]+)([kmg]?)b?", str(size).lower()).groups()  # type: ignore[union-attr]
    return float(number) * (UNITS[unit] if unit else 1 / 1048576)


def available_mb() -> float:
    with open("/proc/meminfo", encoding="ascii") as file:
        rows = dict(line.split(":", 1) for line in file)
    return int(rows["MemAvailable"].split()[0]) / 1024


def judge(app: Mapping[str, Any], information: Mapping[str, Any], directory: str) -> None:
    """Refuse a host on which two slots have no room beside each other."""
    root = str(information.get("DockerRootDir") or "/var/lib/docker")
    for folder in (root, directory):
        while not os.path.exists(folder):
            folder = os.path.dirname(folder)
        status = os.statvfs(folder)
        free = status.f_bavail * status.f_frsize / 1048576
        if free < FREE_MB:
            raise ReleaseError(
                f"{folder} has {free:.0f} MiB left, and a release needs {FREE_MB}: make room there first"
            )
    needed, there = memory_mb(app), available_mb()
    if needed > there:
        raise ReleaseError(
            f"the new containers may take {needed:.0f} MiB beside the old ones, and {there:.0f} MiB are available:"
            " lower limits.memory or replicas, or give the host more memory"
        )
    limited = [service["name"] for service in app["services"] if service["limits"]["cpus"]]
    if limited and information.get("CpuCfsQuota", information.get("CPUCfsQuota")) is False:
        raise ReleaseError(f"this kernel cannot limit processors (no CFS quota): leave out limits.cpus of {limited[0]}")


def open_here(port: int, address: str) -> bool:
    """Whether a container could have the port: nothing listens there."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def who_listens(port: int) -> str:
    _code, out, _err = run_command(["ss", "-Hltnp", f"sport = :{port}"])
    found = re.search(r'users:\(\("([^"]+)",pid=([0-9]+)', out)
    return f"{found[1]} (process {found[2]})" if found else "another program"


def refuse_taken(docker: Docker, ports: Mapping[str, int], address: str) -> None:
    """Refuse ports of a slot that does not run and that somebody else has."""
    published = docker.published()
    for name, port in ports.items():
        if port in published:
            continue  # by the slot itself; a stranger's container is found by Docker when the slot starts
        if not open_here(port, address):
            raise ReleaseError(
                f"port {port} of {address}, which {name} is to have, is taken by {who_listens(port)}: stop that, or"
                " choose another app_stack_port_range"
            )
