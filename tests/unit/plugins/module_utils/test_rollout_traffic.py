# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which servers load balancers get at each stage of a rollout."""

from __future__ import annotations

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_upstream import SERVERS
from ansible_collections.shipshape.stack.plugins.module_utils._rollout_traffic import WEIGHT, stages, switches
from app_examples import app, service
from hypothesis import given
from hypothesis import strategies as st

SHOP = app(domains=["shop.example.org"])


def servers(first, number):
    return [{"address": f"127.0.0.1:{first + each}"} for each in range(number)]


def plan(old, new):
    return {"active_servers": {"web": servers(20000, old)}, "servers": {"web": servers(20100, new)}}


def weights(found):
    return [(each["address"].rpartition(":")[2], each["weight"]) for each in found]


@pytest.mark.parametrize(
    ("old", "new", "percent", "given_to"),
    [
        pytest.param(1, 1, 0, [("20000", 100)], id="back"),
        pytest.param(1, 1, 100, [("20100", 100)], id="all"),
        pytest.param(1, 1, 10, [("20000", 90), ("20100", 10)], id="a-tenth"),
        pytest.param(1, 2, 10, [("20000", 90), ("20100", 5), ("20101", 5)], id="a-tenth-for-two"),
        pytest.param(2, 1, 10, [("20000", 90), ("20001", 90), ("20100", 20)], id="a-tenth-of-two"),
        pytest.param(1, 4, 1, [("20000", 99), *[(f"2010{each}", 1) for each in range(4)]], id="not-less-than-one"),
        pytest.param(0, 1, 10, [("20100", 100)], id="the-first-release-has-nobody-to-share-with"),
        pytest.param(0, 1, 0, [], id="back-to-nothing"),
        pytest.param(2, 0, 50, [("20000", 100), ("20001", 100)], id="none-in-the-new-release"),
    ],
)
def test_who_gets_the_traffic(old, new, percent, given_to):
    (found,) = switches(SHOP, plan(old, new), percent, ["lb1"])
    assert weights(found["servers"]) == given_to
    assert (found["balancer"], found["name"], found["watched"]) == ("lb1", "shop-web", servers(20100, new))


@given(st.integers(1, 8), st.integers(1, 8), st.integers(1, 99))
def test_a_canary_takes_its_share_and_nothing_from_other_hosts(old, new, percent):
    (found,) = switches(SHOP, plan(old, new), percent, ["lb1"])
    assert list(SERVERS.problems("servers", found["servers"])) == []
    total = sum(each["weight"] for each in found["servers"])
    share = sum(each["weight"] for each in found["servers"][old:])
    # Each weight is a whole number, so each container is off by one half at most, or by one where it would get none.
    assert abs(total - old * WEIGHT) <= new
    assert abs(share - old * percent) <= new


def test_each_load_balancer_gets_each_service_that_a_route_leads_to():
    many = app(
        service("api"),
        service("admin"),
        service("inner"),
        service("worker", kind="worker"),
        service("flower", kind="infra", port=5555, publish=15555),
        domains=["shop.example.org"],
        routes=[{"path": f"/{each}/", "service": each} for each in ("api", "admin", "flower")],
    )
    found = switches(many, {"active_servers": {}, "servers": {}}, 100, ["lb1", "lb2"])
    assert [(each["balancer"], each["name"]) for each in found] == [
        ("lb1", "shop-api"),
        ("lb1", "shop-admin"),
        ("lb2", "shop-api"),
        ("lb2", "shop-admin"),
    ]


def test_an_app_that_is_to_go_has_its_upstreams_still():
    assert [each["name"] for each in switches({**SHOP, "state": "absent"}, plan(1, 0), 0, ["lb1"])] == ["shop-web"]


@pytest.mark.parametrize("found", [app(service("w", kind="worker")), app()])
def test_without_domains_nothing_is_switched(found):
    assert switches(found, plan(1, 1), 100, ["lb1"]) == []


def test_stages():
    assert stages(SHOP) == [{"percent": 100, "seconds": 15}]
    canary = [{"percent": 10, "seconds": 60}, {"percent": 50, "seconds": 30}]
    shop = app(domains=["shop.example.org"], deploy={"canary": canary, "bake_seconds": 5})
    assert stages(shop) == [*canary, {"percent": 100, "seconds": 5}]


@pytest.mark.parametrize(
    ("balance", "percent", "spare", "spares"),
    [
        pytest.param("round_robin", 100, True, ["20000"], id="behind-the-new"),
        pytest.param("least_conn", 100, True, ["20000"], id="least-conn"),
        pytest.param("round_robin", 100, False, [], id="not-asked-for"),
        pytest.param("round_robin", 10, True, [], id="a-canary-needs-none"),
        pytest.param("ip_hash", 100, True, [], id="nginx-knows-none"),
    ],
)
def test_the_release_before_stays_behind_the_new_one(balance, percent, spare, spares):
    shop = app(service(balance=balance), domains=["shop.example.org"])
    (found,) = switches(shop, plan(1, 1), percent, ["lb1"], spare)
    assert list(SERVERS.problems("servers", found["servers"])) == []
    backups = [each["address"].rpartition(":")[2] for each in found["servers"] if each.get("backup")]
    assert backups == spares


def test_what_runs_already_is_no_spare_of_its_own():
    same = {"active_servers": {"web": servers(20000, 1)}, "servers": {"web": servers(20000, 1)}}
    (found,) = switches(SHOP, same, 100, ["lb1"], spare=True)
    assert len(found["servers"]) == 1
