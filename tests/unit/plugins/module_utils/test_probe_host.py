"""The probes `disk`, `memory` and `load`: tables for the judging, and one run of each on this very machine."""

from __future__ import annotations

import pathlib
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils import _health_engine as engine
from ansible_collections.shipshape.stack.plugins.module_utils import _probe_host as probe_host
from ansible_collections.shipshape.stack.plugins.module_utils._health_plan import read_plan
from ansible_collections.shipshape.stack.plugins.module_utils._probe_registry import REGISTRY
from hypothesis import given as given_any
from hypothesis import strategies as st


def options(kind: str, **given: Any) -> Any:
    return read_plan({"checks": [{"name": "x", "type": kind, **given}]}, REGISTRY).checks[0].options


def statvfs(used: int, inodes: int = 0, reserved: int = 0) -> Any:
    free = 100 - used
    return SimpleNamespace(
        f_frsize=2**30,
        f_blocks=100,
        f_bfree=free,
        f_bavail=free - reserved,
        f_files=100,
        f_ffree=100 - inodes,
        f_favail=100 - inodes,
    )


DISKS = [
    (statvfs(10), "healthy", "/: 10% of the space used, 90.0 GiB left"),
    (statvfs(79), "healthy", "/: 79% of the space used, 21.0 GiB left"),
    (statvfs(80), "degraded", "/: 80% of the space used, 20.0 GiB left, wanted less than 80%"),
    (statvfs(95), "unhealthy", "/: 95% of the space used, 5.0 GiB left, wanted less than 90%"),
    (statvfs(88, reserved=5), "unhealthy", "/: 93% of the space used, 7.0 GiB left, wanted less than 90%"),
    (
        statvfs(10, inodes=99),
        "unhealthy",
        "/: 10% of the space used, 90.0 GiB left, 99% of the inodes used, 1 left, wanted",
    ),
    (
        SimpleNamespace(f_frsize=1, f_blocks=0, f_bfree=0, f_bavail=0, f_files=0, f_ffree=0, f_favail=0),
        "healthy",
        "/: 0%",
    ),
]


@pytest.mark.parametrize(("stat", "status", "said"), DISKS)
def test_disk(stat: Any, status: str, said: str) -> None:
    outcome = probe_host.evaluate_disk(stat, options("disk"))
    assert outcome.status == status
    assert outcome.detail.startswith(said)


@given_any(st.integers(0, 2**60), st.integers(0, 2**60), st.integers(0, 2**60))
def test_a_percentage_is_one(total: int, free: int, available: int) -> None:
    free = min(free, total)
    assert 0 <= probe_host.used_percent(total, free, min(available, free)) <= 100


def files(**named: str) -> Any:
    return lambda name: named.get(name.replace(".", "_"), "")


def meminfo(available: int) -> str:
    return f"MemTotal:       1024 kB\nMemFree:  1 kB\nMemAvailable:   {available} kB\nHugePages_Total:       0\n"


MEMORIES = [
    (files(meminfo=meminfo(512)), "healthy", "50% used, 512.0 KiB of 1.0 MiB left"),
    (files(meminfo=meminfo(128)), "degraded", "88% used, 128.0 KiB of 1.0 MiB left, wanted less than 85%"),
    (files(meminfo=meminfo(10)), "unhealthy", "99% used, 10.0 KiB of 1.0 MiB left, wanted less than 95%"),
    (files(meminfo=meminfo(512), memory_max="max\n", memory_current="9999999"), "healthy", "50% used"),
    (
        files(
            meminfo=meminfo(512), memory_max="1000\n", memory_current="970\n", memory_stat="anon 1\ninactive_file 20\n"
        ),
        "unhealthy",
        "95% of the container's limit used, 50 B of 1000 B left",
    ),
    (
        files(meminfo=meminfo(512), memory_max="1000", memory_current="970", memory_stat="inactive_file 900"),
        "healthy",
        "50% used",
    ),
    (files(), "unhealthy", "/proc/meminfo does not say"),
]


@pytest.mark.parametrize(("read", "status", "said"), MEMORIES)
def test_memory(read: Any, status: str, said: str) -> None:
    outcome = probe_host.evaluate_memory(read, options("memory"))
    assert outcome.status == status
    assert outcome.detail.startswith(said)


@pytest.mark.parametrize(
    ("load", "given", "status"),
    [
        (1.0, {}, "healthy"),
        (8.0, {}, "degraded"),
        (80.0, {}, "degraded"),
        (80.0, {"unhealthy_per_cpu": 5}, "unhealthy"),
    ],
)
def test_load(load: float, given: dict[str, Any], status: str) -> None:
    assert probe_host.evaluate_load(load, 4, options("load", **given)).status == status


@pytest.mark.parametrize(
    ("check", "status", "said"),
    [
        ({"type": "disk", "path": "/", "unhealthy_percent": 100, "degraded_percent": 100}, "healthy", "/: "),
        ({"type": "disk", "path": "/", "unhealthy_percent": 0, "degraded_percent": 0}, "unhealthy", "/: "),
        ({"type": "disk", "path": "/nowhere"}, "unhealthy", "/nowhere: No such file or directory"),
        ({"type": "memory", "unhealthy_percent": 100, "degraded_percent": 100}, "healthy", ""),
        ({"type": "memory", "unhealthy_percent": 0, "degraded_percent": 0}, "unhealthy", ""),
        ({"type": "load", "degraded_per_cpu": 10000}, "healthy", "load over 5 minutes"),
    ],
)
def test_on_this_machine(check: dict[str, Any], status: str, said: str) -> None:
    row = engine.run(read_plan({"checks": [{"name": "x", **check}]}, REGISTRY))["checks"][0]
    assert (row["status"], row["attempts"]) == (status, 1)
    assert row["detail"].startswith(said)


def test_containers_are_known_by_their_marks(tmp_path: pathlib.Path) -> None:
    assert not probe_host.in_container(tmp_path)
    (tmp_path / "run/systemd").mkdir(parents=True)
    (tmp_path / "run/systemd/container").write_text("podman")
    assert probe_host.in_container(tmp_path)
