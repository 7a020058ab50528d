# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The memory budget of a host."""

from __future__ import annotations

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils._memory_budget import (
    MemoryBudgetError,
    mebibytes,
    memory_budget,
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0),
        (256, 256),
        ("512M", 512),
        ("512m", 512),
        ("2G", 2048),
        ("1.5g", 1536),
        ("2GiB", 2048),
        ("2GB", 2048),
        ("1 T", 1024 * 1024),
        pytest.param("1K", 1, id="rounds-up"),
        pytest.param("1025K", 2, id="rounds-up-to-the-next"),
    ],
)
def test_sizes(value, expected):
    assert mebibytes(value) == expected


@pytest.mark.parametrize(
    "value", ["512", "2 gigs", "2Gb/s", "", "G", "-1G", "1e3M", -1, 1.5, None, True, ["2G"], "2G\n1"]
)
def test_what_is_no_size_is_refused(value):
    with pytest.raises(MemoryBudgetError):
        mebibytes(value)


def test_what_fits():
    budget = memory_budget([{"name": "redis", "memory": "512M"}, {"name": "postgresql", "memory": "2G"}], 4096, 512)
    assert budget["ok"]
    assert budget["message"] == ""
    assert [row["name"] for row in budget["rows"]] == ["postgresql", "redis"]
    assert (budget["claimed_mb"], budget["free_mb"]) == (2560, 1024)
    assert budget["table"] == [
        "memory of the host           4096 MiB",
        "reserved for the system       512 MiB",
        "postgresql                   2048 MiB",
        "redis                         512 MiB",
        "free                         1024 MiB",
    ]


def test_copies_claim_each_their_share():
    budget = memory_budget([{"name": "web", "memory": "512M", "count": 3}], 2048, 512)
    assert budget["ok"]
    assert budget["free_mb"] == 0
    assert "web x 3" in "\n".join(budget["table"])


def test_what_does_not_fit_names_the_biggest_and_what_to_do():
    claims = [{"name": name, "memory": size} for name, size in [("a", 100), ("b", "3G"), ("c", "2G"), ("d", "1G")]]
    budget = memory_budget(claims, 4096, 512)
    assert not budget["ok"]
    assert f"{100 + 6144 + 512 - 4096} MiB too much" in budget["message"]
    assert "b 3072 MiB, c 2048 MiB, d 1024 MiB." in budget["message"]
    assert "Lower them" in budget["message"]
    assert "too much by" in budget["table"][-1]


def test_every_bad_claim_is_named_at_once():
    budget = memory_budget(
        [{"name": "a", "memory": "2"}, {"memory": "2GB/s"}, {"name": "c"}, {"name": "d", "memory": 1, "count": "x"}],
        4096,
        0,
    )
    assert not budget["ok"]
    for name in ["claim a", "claim number 2", "claim c", "claim d"]:
        assert name in budget["message"]


def test_no_claims_need_no_facts():
    assert memory_budget([], None, 512)["ok"]


def test_claims_need_the_memory_of_the_host():
    budget = memory_budget([{"name": "a", "memory": 1}], None, 0)
    assert not budget["ok"]
    assert "hardware" in budget["message"]
    assert "too much" not in budget["message"]
