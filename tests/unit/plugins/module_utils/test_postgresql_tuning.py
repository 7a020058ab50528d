# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tuner of PostgreSQL: single cases. Its laws over all machines are in test_postgresql_tuning_laws.py."""

from __future__ import annotations

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils._postgresql_tuning import TuningError, tune

MACHINE = {"memory_mb": 4096, "cpus": 4, "version": 17, "disk": "ssd", "wal_free_mb": 40000}


def tuned(**wishes):
    return tune({**MACHINE, **wishes})


def values(**wishes):
    return {name: entry["value"] for name, entry in tuned(**wishes)["settings"].items()}


def refused(**wishes):
    with pytest.raises(TuningError) as caught:
        tuned(**wishes)
    return str(caught.value)


# -- what comes out ------------------------------------------------------------------------------------------


def test_a_usual_web_host():
    answer = tuned(profile="web")
    assert {name: entry["value"] for name, entry in answer["settings"].items()} == {
        "max_connections": "108",
        "shared_buffers": "921MB",
        "huge_pages": "try",
        "effective_cache_size": "2764MB",
        "maintenance_work_mem": "115MB",
        "autovacuum_max_workers": "3",
        "work_mem": "4MB",
        "hash_mem_multiplier": "2",
        "max_wal_size": "4096MB",
        "min_wal_size": "1024MB",
        "max_slot_wal_keep_size": "8192MB",
        "checkpoint_timeout": "15min",
        "checkpoint_completion_target": "0.9",
        "wal_buffers": "16MB",
        "wal_compression": "lz4",
        "default_statistics_target": "100",
        "random_page_cost": "1.1",
        "effective_io_concurrency": "200",
        "jit": "off",
        "max_worker_processes": "8",
        "max_parallel_workers": "4",
        "max_parallel_workers_per_gather": "2",
        "max_parallel_maintenance_workers": "2",
    }
    assert answer["warnings"] == []
    memory = answer["memory"]
    assert memory["share_mb"] == 4096 - 410
    parts = ["shared_buffers_mb", "maintenance_mb", "work_mb", "connections_mb", "server_mb"]
    # Each part is rounded up by itself.
    assert 0 <= sum(memory[part] for part in parts) - memory["total_mb"] <= len(parts)
    assert memory["total_mb"] <= memory["share_mb"]


def test_every_value_has_a_reason_of_one_line():
    for profile in ("web", "dw"):
        for role in ("primary", "standby"):
            settings = tuned(profile=profile, role=role, version=18, primary={"max_wal_senders": 20})["settings"]
            assert all(entry["why"] and "\n" not in entry["why"] for entry in settings.values())


@pytest.mark.parametrize(
    ("wishes", "share"),
    [
        ({"memory_mb": 1024}, 1024 - 256),
        ({"memory_mb": 16384}, 16384 - 1639),
        ({"claims_mb": 1000}, 4096 - 1000 - 410),
        ({"reserved_mb": 0}, 4096),
        ({"reserved_mb": 1024, "claims_mb": 1024}, 2048),
        ({"share_mb": 3000, "reserved_mb": 4000, "claims_mb": 4000}, 3000),
        ({"limit_mb": 2000}, 1800),
        ({"limit_mb": 2000, "claims_mb": 1000}, 1800),
        ({"limit_mb": 2000, "claims_mb": 2000}, 4096 - 2000 - 410),
        ({"limit_mb": 4096}, 3686),
        ({"limit_mb": 8192}, 3686),
        ({"limit_mb": 2000, "share_mb": 2000}, 2000),
    ],
)
def test_the_share(wishes, share):
    assert tuned(**wishes)["memory"]["share_mb"] == share


@pytest.mark.parametrize(
    ("wishes", "expected"),
    [
        ({"profile": "web"}, {"max_connections": "200", "jit": "off", "default_statistics_target": "100"}),
        ({"profile": "oltp", "wal_free_mb": 10**6}, {"max_connections": "300", "max_wal_size": "8192MB"}),
        ({"profile": "mixed"}, {"max_connections": "100", "max_parallel_workers_per_gather": "4"}),
        (
            {"profile": "dw"},
            {
                "max_connections": "40",
                "jit": "on",
                "default_statistics_target": "500",
                "checkpoint_timeout": "30min",
                "max_parallel_workers_per_gather": "8",
                "maintenance_work_mem": "2048MB",
                "autovacuum_work_mem": "1024MB",
            },
        ),
        ({"disk": "nvme"}, {"random_page_cost": "1.1", "effective_io_concurrency": "200"}),
        ({"disk": "hdd"}, {"random_page_cost": "4", "effective_io_concurrency": "16"}),
        ({"disk": "unknown"}, {"random_page_cost": "2", "effective_io_concurrency": "16"}),
        ({"version": 13}, {"wal_compression": "on"}),
        ({"version": 14}, {"wal_compression": "on"}),
        ({"version": 15}, {"wal_compression": "lz4"}),
        ({"version": 18}, {"io_method": "worker", "io_workers": "4"}),
        ({"version": 18, "cpus": 1}, {"io_workers": "3"}),
        ({"cpus": 1}, {"max_parallel_workers": "0", "max_parallel_workers_per_gather": "0"}),
        ({"cpus": 1.5}, {"max_parallel_workers": "0", "max_worker_processes": "8"}),
        ({"cpus": 2.5}, {"max_parallel_workers": "2", "max_worker_processes": "8"}),
        ({"cpus": 16}, {"max_parallel_workers": "16", "max_worker_processes": "16", "autovacuum_max_workers": "4"}),
        ({"cpus": 32}, {"autovacuum_max_workers": "5"}),
        ({"connections": 40}, {"max_connections": "40"}),
        ({"wal_free_mb": None}, {"max_wal_size": "4096MB", "max_slot_wal_keep_size": "8192MB"}),
        (
            {"wal_free_mb": 10000},
            {"max_wal_size": "1024MB", "min_wal_size": "256MB", "max_slot_wal_keep_size": "2048MB"},
        ),
        ({"wal_free_mb": 10**7}, {"max_wal_size": "4096MB", "max_slot_wal_keep_size": "2097152MB"}),
    ],
)
def test_what_each_wish_changes(wishes, expected):
    found = values(**{"memory_mb": 65536, "cpus": 16, **wishes})
    assert {name: found[name] for name in expected} == expected


def test_io_method_only_where_it_is_known():
    assert not {"io_method", "io_workers"} & set(values(version=17))


def test_free_room_that_changes_a_little_changes_nothing():
    assert values(wal_free_mb=30000) == values(wal_free_mb=26000)


# -- too much --------------------------------------------------------------------------------------------------


def test_more_connections_than_fit_are_lowered_with_a_word():
    answer = tuned(connections=500)
    assert answer["settings"]["max_connections"]["value"] == "108"
    assert answer["settings"]["work_mem"]["value"] == "4MB"
    assert "500 do not fit into PostgreSQL's share of 3686 MB" in answer["settings"]["max_connections"]["why"]
    (warning,) = answer["warnings"]
    assert "max_connections is 108, not 500 as wanted" in warning
    assert "pgbouncer" in warning


def test_a_profile_that_does_not_fit_is_no_warning_but_a_reason():
    answer = tuned(profile="oltp")
    assert answer["warnings"] == []
    assert "300 do not fit" in answer["settings"]["max_connections"]["why"]


def test_very_few_connections_are_worth_a_word():
    (warning,) = tuned(memory_mb=512)["warnings"]
    assert "only 6 connections fit into the 256 MB" in warning


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        ({"memory_mb": 300}, ["of 300 MB", "256 MB are reserved", "44 MB are left", "needs 176 MB"]),
        ({"claims_mb": 4000}, ["4000 MB are claimed", "0 MB are left", "lower what others claim"]),
        ({"share_mb": 100}, ["share_mb is 100", "needs 176 MB"]),
        ({"share_mb": 5000}, ["share_mb 5000 is more than the 4096 MB"]),
        ({"share_mb": 3000, "limit_mb": 2000}, ["share_mb 3000 is more than the 2000 MB"]),
        ({"limit_mb": 150}, ["its unit may take 150 MB, of which 135 MB count", "needs 176 MB"]),
        ({"claims_mb": 4000, "overrides": {"work_mem": "4MB"}}, ["0 MB are left"]),
    ],
)
def test_too_little_memory(wishes, said):
    message = refused(**wishes)
    assert all(part in message for part in said), message


def test_the_least_that_is_named_is_enough_and_less_is_not():
    assert tuned(share_mb=176)["memory"]["total_mb"] <= 176
    assert "needs 176 MB" in refused(share_mb=172)


# -- a standby -------------------------------------------------------------------------------------------------

PRIMARY = {
    "max_connections": 250,
    "max_worker_processes": 24,
    "max_wal_senders": 15,
    "max_prepared_transactions": 50,
    "max_locks_per_transaction": 128,
}


def test_a_standby_is_not_below_its_primary():
    found = values(role="standby", primary=PRIMARY, memory_mb=16384)
    assert {name: int(found[name]) for name in PRIMARY} == PRIMARY


def test_a_primary_does_not_mind():
    assert values(primary=PRIMARY) == values()


def test_a_standby_does_not_repeat_defaults():
    primary = {"max_wal_senders": 10, "max_prepared_transactions": 0, "max_locks_per_transaction": 64}
    assert not set(primary) & set(values(role="standby", primary=primary))


def test_a_standby_gives_up_memory_before_connections():
    answer = tuned(role="standby", primary={"max_connections": 160})
    found = {name: entry["value"] for name, entry in answer["settings"].items()}
    assert found["max_connections"] == "160"
    assert "as many as on the primary" in answer["settings"]["max_connections"]["why"]
    assert (found["shared_buffers"], found["work_mem"]) == ("692MB", "4MB")
    assert answer["memory"]["total_mb"] <= answer["memory"]["share_mb"]
    assert "max_connections = 160 of the primary leaves little of the 3686 MB" in answer["warnings"][0]


def test_then_work_mem_and_then_the_rest_of_shared_buffers():
    for connections, expected in [(220, ("460MB", "1344kB")), (280, ("226MB", "64kB"))]:
        answer = tuned(role="standby", primary={"max_connections": connections})
        found = {name: entry["value"] for name, entry in answer["settings"].items()}
        assert (found["shared_buffers"], found["work_mem"]) == expected
        assert answer["memory"]["total_mb"] <= answer["memory"]["share_mb"]


def test_a_standby_that_cannot_hold_its_primary_is_told():
    answer = tuned(role="standby", primary={"max_connections": 1000})
    assert answer["settings"]["max_connections"]["value"] == "1000"
    assert "max_connections = 1000 of the primary cannot be met within it" in answer["warnings"][0]


def test_a_standby_gives_up_parallel_workers_in_silence():
    answer = tuned(role="standby", primary={"max_connections": 120})
    found = {name: entry["value"] for name, entry in answer["settings"].items()}
    assert (found["shared_buffers"], found["work_mem"], found["max_parallel_workers"]) == ("921MB", "4MB", "0")
    assert answer["warnings"] == []


def test_wanted_connections_that_do_not_fit_beside_the_primary():
    answer = tuned(role="standby", connections=500, primary={"max_connections": 50})
    assert answer["settings"]["max_connections"]["value"] == "108"
    assert "not 500 as wanted" in answer["warnings"][0]


def test_an_override_below_the_primary_wins_with_a_word():
    answer = tuned(
        role="standby",
        primary={"max_connections": 100, "max_wal_senders": 20},
        overrides={"max_connections": 50, "max_wal_senders": 5},
    )
    assert answer["settings"]["max_connections"]["value"] == "50"
    for part in ["max_connections = 50 is below the 100", "max_wal_senders = 5 is below the 20"]:
        assert any(part in warning for warning in answer["warnings"])


# -- overrides -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("shared_buffers", "1GB", "1GB"),
        ("SHARED_BUFFERS", "1GB", "1GB"),
        ("jit", True, "on"),
        ("jit", False, "off"),
        ("max_connections", 20, "20"),
        ("random_page_cost", 1.5, "1.5"),
        ("timezone", "UTC", "UTC"),
        ("shared_preload_libraries", "", ""),
        ("pg_stat_statements.track", "all", "all"),
    ],
)
def test_an_override_always_wins(name, value, text):
    settings = tuned(overrides={name: value})["settings"]
    name = {"timezone": "TimeZone"}.get(name, name.lower())
    assert settings[name] == {"value": text, "why": "set by you"}
    assert len({key.lower() for key in settings}) == len(settings)


@pytest.mark.parametrize(
    ("name", "value", "key", "expected"),
    [
        ("shared_buffers", "2GB", "max_connections", lambda new, old: new < old),
        ("shared_buffers", "128MB", "max_connections", lambda new, old: new > old),
        ("work_mem", "16MB", "max_connections", lambda new, old: new < old / 1.5),
        ("hash_mem_multiplier", 4, "max_connections", lambda new, old: new < old),
        ("maintenance_work_mem", "512MB", "max_connections", lambda new, old: new < old),
        ("autovacuum_work_mem", "512MB", "max_connections", lambda new, old: new < old),
        ("autovacuum_max_workers", 1, "maintenance_work_mem", lambda new, old: new > old),
        ("max_connections", 30, "work_mem", lambda new, old: new > 2 * old),
        ("max_parallel_workers", 20, "max_connections", lambda new, old: new < old),
        ("max_worker_processes", 0, "max_parallel_workers", lambda new, old: new == 0),
        ("max_wal_size", "1GB", "min_wal_size", lambda new, old: new == 256),
        ("wal_buffers", "128MB", "max_connections", lambda new, old: new < old),
        ("huge_pages", "on", "max_connections", lambda new, old: new > old),
    ],
)
def test_what_is_overridden_counts(name, value, key, expected):
    wishes = {"profile": "oltp"}
    old, new = values(**wishes), values(**wishes, overrides={name: value})
    assert expected(*(int(found[key].rstrip("kMB")) for found in (new, old)))
    answer = tuned(**wishes, overrides={name: value})
    assert answer["memory"]["total_mb"] <= answer["memory"]["share_mb"]
    assert answer["warnings"] == []


def test_autovacuum_follows_an_override_of_its_default():
    assert "autovacuum_work_mem" not in values(memory_mb=65536, profile="dw", overrides={"maintenance_work_mem": "4GB"})


@pytest.mark.parametrize(
    "overrides",
    [
        {"shared_buffers": "4GB"},
        {"work_mem": "1GB"},
        {"maintenance_work_mem": "2GB"},
        {"max_connections": 5000},
        {"max_connections": 200, "work_mem": "32MB"},
    ],
)
def test_overrides_that_cannot_fit_are_named(overrides):
    answer = tuned(overrides=overrides)
    assert answer["memory"]["total_mb"] > answer["memory"]["share_mb"]
    for name, value in overrides.items():
        assert answer["settings"][name]["value"] == str(value)
        assert f"{name} = {value}" in answer["warnings"][0]
    assert "cannot be met" in answer["warnings"][0]


def test_an_override_that_leaves_little_is_a_warning():
    answer = tuned(overrides={"max_connections": 220})
    assert answer["memory"]["total_mb"] <= answer["memory"]["share_mb"]
    assert "max_connections = 220 leaves little" in answer["warnings"][0]
    assert "work_mem is 1344kB, shared_buffers is 460MB" in answer["warnings"][0]


@pytest.mark.parametrize(("free", "overrides"), [(10000, {"max_wal_size": "4GB"}), (100, {})])
def test_more_wal_than_a_fifth_of_the_room_is_a_warning(free, overrides):
    (warning,) = tuned(wal_free_mb=free, overrides=overrides)["warnings"]
    assert f"of the {free} MB that are free" in warning


# -- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        ({"profile": "desktop"}, "profile 'desktop' is not one of web, oltp, dw, mixed"),
        ({"role": "replica"}, "role 'replica' is not one of primary, standby"),
        ({"disk": "tape"}, "disk 'tape' is not one of ssd, nvme, hdd, unknown"),
        ({"version": 12}, "version 12 is not one of 13, 14, 15, 16, 17, 18"),
        ({"version": "17"}, "version '17' is not one of"),
        ({"version": 19}, "version 19"),
        ({"memory_mb": 0}, "memory_mb 0 is not a whole number from 1 on"),
        ({"memory_mb": "4GB"}, "memory_mb '4GB'"),
        ({"memory_mb": None}, "memory_mb None"),
        ({"memory_mb": True}, "memory_mb True"),
        ({"claims_mb": -1}, "claims_mb -1"),
        ({"claims_mb": None}, "claims_mb None"),
        ({"reserved_mb": -1}, "reserved_mb -1"),
        ({"share_mb": 0}, "share_mb 0"),
        ({"limit_mb": 0}, "limit_mb 0"),
        ({"wal_free_mb": -1}, "wal_free_mb -1"),
        ({"connections": 0}, "connections 0"),
        ({"cpus": 0}, "cpus 0 is not a number above 0"),
        ({"cpus": "4"}, "cpus '4'"),
        ({"cpus": float("nan")}, "cpus nan"),
        ({"cpus": float("inf")}, "cpus inf"),
        ({"ram": 1}, "ram: not known here; use memory_mb, cpus, version"),
        ({"primary": []}, r"primary \[\] is not a dictionary"),
        ({"primary": {"work_mem": 1}}, "primary: work_mem is not one of max_connections"),
        ({"primary": {"max_connections": "100"}}, "primary: max_connections '100' is not a whole number"),
        ({"overrides": ["work_mem"]}, "is not a dictionary of parameters"),
        (
            {"overrides": {"work_mem": "4 megs"}},
            "overrides: work_mem '4 megs' has a unit that is not one of TB, GB, MB",
        ),
        ({"overrides": {"work_mem": "4mb"}}, "overrides: work_mem '4mb'"),
        ({"overrides": {"work_mem": "1kB"}}, "work_mem '1kB' is not between 64 and 2147483647 times kB"),
        ({"overrides": {"shared_buffers": "lots"}}, "shared_buffers 'lots' is not a number, as in \"512MB\""),
        ({"overrides": {"max_connections": "many"}}, "max_connections 'many' is not a number"),
        ({"overrides": {"max_connections": 0}}, "max_connections 0 is not between 1 and 262143"),
        ({"overrides": {"hash_mem_multiplier": 0.5}}, "hash_mem_multiplier 0.5 is not between 1 and 1000"),
        ({"overrides": {"jit": None}}, "jit None is not a text or a number"),
        ({"overrides": {"search_path": ["a"]}}, r"search_path \['a'\] is not a text or a number"),
        ({"overrides": {"log_line_prefix": "a\nfsync = off"}}, "log_line_prefix .* of one line"),
        ({"overrides": {"work mem": 1}}, "'work mem' is not the name of a parameter"),
        ({"overrides": {"jit": "on", "JIT": "off"}}, "jit is given twice"),
    ],
)
def test_bad_wishes(wishes, said):
    with pytest.raises(TuningError, match=said):
        tuned(**wishes)


def test_all_problems_are_named_at_once():
    message = refused(profile="x", cpus=0, ram=1, overrides={"work_mem": "?", "jit": None})
    for part in ["ram:", "profile", "cpus", "work_mem", "jit"]:
        assert part in message


@pytest.mark.parametrize("name", ["memory_mb", "cpus", "version"])
def test_what_has_to_be_known(name):
    with pytest.raises(TuningError, match=f"{name} is missing"):
        tune({key: value for key, value in MACHINE.items() if key != name})


def test_wishes_are_a_dictionary():
    with pytest.raises(TuningError, match="is not a dictionary"):
        tune([])  # type: ignore[arg-type]
