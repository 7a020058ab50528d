# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The laws of the tuner of PostgreSQL, over all machines.

The sums are worked out here once more from the texts that would be written, not taken from the tuner.
fixtures/pg_settings.json was recorded from PostgreSQL 13 to 18: what each version knows, its units and its limits.
"""

from __future__ import annotations

import itertools
import json
import math
import pathlib

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils._postgresql_tuning import TuningError, tune
from ansible_collections.shipshape.stack.plugins.module_utils._postgresql_units import boolean, equal, number, whole
from hypothesis import given, settings
from hypothesis import strategies as st

KNOWN = json.loads((pathlib.Path(__file__).parents[1] / "fixtures/pg_settings.json").read_text(encoding="utf-8"))
VERSIONS = range(13, 19)
PROFILES = ("web", "oltp", "dw", "mixed")
MEMORY_MB = (512, 768, 1024, 1536, 2048, 4096, 8192, 16384, 32768, 65536, 131072, 262144)
CPUS = (1, 1.5, 2, 4, 16, 64)
PRIMARY = {
    "max_connections": 150,
    "max_worker_processes": 20,
    "max_wal_senders": 12,
    "max_prepared_transactions": 10,
    "max_locks_per_transaction": 128,
}
DEFAULTS = {"max_prepared_transactions": 0, "max_wal_senders": 10, "max_locks_per_transaction": 64}
CONNECTION_MB = 10


def megabytes(text):
    return whole(text, "kB") / 1024


def worst_case_mb(answer):
    """The invariant, from the texts: what PostgreSQL takes when everything works at once."""
    found = {name: entry["value"] for name, entry in answer["settings"].items()}
    active = int(found["max_connections"]) + int(found["max_parallel_workers"])
    maintenance = found["maintenance_work_mem"]
    return (
        megabytes(found["shared_buffers"])
        + megabytes(found.get("autovacuum_work_mem", maintenance)) * int(found["autovacuum_max_workers"])
        + megabytes(maintenance)
        + megabytes(found["work_mem"]) * float(found["hash_mem_multiplier"]) * active
        + CONNECTION_MB * active
    )


def assert_the_server_takes_it(answer, version):
    """Names, units, ranges and choices as the version has them."""
    for name, entry in answer["settings"].items():
        assert name in KNOWN[str(version)], f"PostgreSQL {version} has no {name}"
        known, value = KNOWN[str(version)][name], entry["value"]
        if known["vartype"] == "bool":
            boolean(value)
        elif known["vartype"] == "enum":
            assert value in known["enumvals"], name
        else:
            assert float(known["min"]) <= number(value, known["unit"]) <= float(known["max"]), f"{name} = {value}"


def assert_lawful(answer, wishes):
    found = {name: entry["value"] for name, entry in answer["settings"].items()}
    assert_the_server_takes_it(answer, wishes["version"])
    assert int(found["max_worker_processes"]) >= 8
    assert int(found["max_parallel_workers"]) <= int(found["max_worker_processes"])
    assert int(found["max_parallel_workers_per_gather"]) <= int(found["max_parallel_workers"])
    assert whole(found["min_wal_size"], "MB") <= whole(found["max_wal_size"], "MB")
    assert whole(found["max_slot_wal_keep_size"], "MB") >= whole(found["max_wal_size"], "MB")
    assert megabytes(found["effective_cache_size"]) >= megabytes(found["shared_buffers"])
    free = wishes.get("wal_free_mb")
    if free is not None:
        # Below that the server has no use for it, and the user is told.
        assert whole(found["max_wal_size"], "MB") <= max(32, free / 5)
        assert whole(found["max_wal_size"], "MB") <= free / 5 or any("max_wal_size" in w for w in answer["warnings"])
    worst, share = worst_case_mb(answer), answer["memory"]["share_mb"]
    assert worst <= answer["memory"]["total_mb"]
    assert worst <= share or any("cannot be met" in warning for warning in answer["warnings"])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("profile", PROFILES)
def test_the_invariant_holds_on_every_machine(version, profile):
    for memory, cpus, claimed, free in itertools.product(MEMORY_MB, CPUS, (0, 0.4), (None, 500, 50000)):
        wishes = {
            "memory_mb": memory,
            "cpus": cpus,
            "version": version,
            "profile": profile,
            "claims_mb": int(memory * claimed),
            "wal_free_mb": free,
        }
        if memory * (1 - claimed) - max(256, memory / 10) < 176:
            with pytest.raises(TuningError, match="too little memory"):
                tune(wishes)
            continue
        answer = tune(wishes)
        assert_lawful(answer, wishes)
        assert worst_case_mb(answer) <= answer["memory"]["total_mb"] <= answer["memory"]["share_mb"], wishes
        assert megabytes(answer["settings"]["work_mem"]["value"]) >= 4


@pytest.mark.parametrize("version", VERSIONS)
def test_a_standby_is_never_below_its_primary(version):
    for memory, cpus, profile in itertools.product(MEMORY_MB, CPUS, PROFILES):
        wishes = {
            "memory_mb": memory,
            "cpus": cpus,
            "version": version,
            "profile": profile,
            "role": "standby",
            "primary": PRIMARY,
        }
        answer = tune(wishes)
        assert_lawful(answer, wishes)
        for name, value in PRIMARY.items():
            assert int(answer["settings"][name]["value"]) >= value


def wishes(**more):
    """Any machine and any wish that is not refused."""
    return st.fixed_dictionaries(
        {
            "memory_mb": st.integers(450, 262144),
            "cpus": st.one_of(st.integers(1, 64), st.floats(0.1, 64)),
            "version": st.sampled_from(VERSIONS),
            "profile": st.sampled_from(PROFILES),
            "disk": st.sampled_from(["ssd", "nvme", "hdd", "unknown"]),
            "role": st.sampled_from(["primary", "standby"]),
            "connections": st.one_of(st.none(), st.integers(1, 5000)),
            "limit_mb": st.one_of(st.none(), st.integers(300, 262144)),
            "wal_free_mb": st.one_of(st.none(), st.integers(0, 10**7)),
            "primary": st.fixed_dictionaries(
                {}, optional={name: st.integers(0, 4 * value) for name, value in PRIMARY.items()}
            ),
            **more,
        }
    )


SIZES = st.one_of(st.integers(64, 10**8).map(lambda kb: f"{kb}kB"), st.integers(1, 100).map(lambda gb: f"{gb / 4}GB"))
# The values of the user that the memory depends on, and two that it does not.
SIZED = {
    "shared_buffers": st.one_of(st.integers(16, 10**7), st.integers(1, 10**5).map(lambda mb: f"{mb}MB")),
    "work_mem": SIZES,
    "maintenance_work_mem": SIZES.filter(lambda size: whole(size, "kB") >= 1024),
    "autovacuum_work_mem": st.one_of(st.just(-1), SIZES),
    "autovacuum_max_workers": st.integers(1, 50),
    "max_connections": st.integers(4, 5000),
    "max_parallel_workers": st.integers(0, 64),
    "max_worker_processes": st.integers(0, 64),
    "hash_mem_multiplier": st.floats(1, 1000),
    "wal_buffers": st.sampled_from([-1, "16MB", "64kB"]),
}
OVERRIDES = st.fixed_dictionaries(
    {},
    optional={
        **SIZED,
        "max_wal_size": st.integers(32, 10**5),
        "huge_pages": st.sampled_from(["on", "off", "try"]),
    },
)


@settings(max_examples=500, deadline=None)
@given(wishes())
def test_any_machine(wish):
    answer = tune(wish)
    assert_lawful(answer, wish)
    found = {name: entry["value"] for name, entry in answer["settings"].items()}
    least = wish["primary"] if wish["role"] == "standby" else {}
    for name, value in least.items():
        assert int(found.get(name, DEFAULTS.get(name, 0))) >= value
    if wish["role"] == "primary":
        assert worst_case_mb(answer) <= answer["memory"]["share_mb"]
    if wish["connections"] and int(found["max_connections"]) < wish["connections"]:
        assert any("pgbouncer" in warning for warning in answer["warnings"])


@settings(max_examples=500, deadline=None)
@given(wishes(overrides=OVERRIDES))
def test_overrides_always_win_and_break_the_invariant_only_with_a_word(wish):
    answer = tune(wish)
    for name, value in wish["overrides"].items():
        assert answer["settings"][name]["value"] == str(value)
    if answer["memory"]["total_mb"] > answer["memory"]["share_mb"]:
        assert "cannot be met" in answer["warnings"][0]
        causes = [f"{name} = {value}" for name, value in wish["overrides"].items() if name in SIZED]
        assert all(cause in answer["warnings"][0] for cause in causes)


@settings(max_examples=500, deadline=None)
@given(wishes(), st.integers(1, 4096))
def test_more_memory_never_means_less_shared_buffers(wish, more):
    small, large = tune(wish), tune({**wish, "memory_mb": wish["memory_mb"] + more})
    for name in ("shared_buffers", "effective_cache_size"):
        assert megabytes(small["settings"][name]["value"]) <= megabytes(large["settings"][name]["value"])


@pytest.mark.parametrize(
    ("profile", "connections", "first"), [("web", 100, 1500), ("dw", 60, 1000), ("oltp", 35, 800), ("mixed", 15, 270)]
)
def test_nor_where_every_megabyte_counts(profile, connections, first):
    """A standby whose primary has more connections than fit at first: MB by MB, shared_buffers only grows."""
    wish = {
        "cpus": 4,
        "version": 17,
        "profile": profile,
        "role": "standby",
        "primary": {"max_connections": connections},
    }
    sizes = [
        megabytes(tune({**wish, "share_mb": share, "memory_mb": 8192})["settings"]["shared_buffers"]["value"])
        for share in range(first, first + 1000)
    ]
    assert sizes == sorted(sizes)
    assert sizes[0] < first // 4


@settings(max_examples=200, deadline=None)
@given(wishes(), st.integers(0, 10**6))
def test_what_others_claim_is_taken_from_postgresql_alone(wish, claimed):
    """A claim is the same as a smaller machine with the same reserve."""
    reserved = max(256, math.ceil(wish["memory_mb"] / 10))
    wish = {**wish, "reserved_mb": reserved}
    bigger = {**wish, "memory_mb": wish["memory_mb"] + claimed, "claims_mb": claimed}
    assert tune(bigger)["settings"] == tune(wish)["settings"]


@settings(max_examples=200, deadline=None)
@given(wishes())
def test_a_second_run_sees_nothing_to_change(wish):
    """What pg_settings then shows, in the unit of the parameter, is what is wanted."""
    known = KNOWN[str(wish["version"])]
    shown = {}
    for name, entry in tune(wish)["settings"].items():
        is_whole = known[name]["vartype"] == "integer"
        shown[name] = str(whole(entry["value"], known[name]["unit"])) if is_whole else entry["value"]
    for name, entry in tune(wish)["settings"].items():
        assert equal(entry["value"], shown[name], known[name]["unit"], known[name]["vartype"])
