# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of an app, its lock and its ports, step by step."""

from __future__ import annotations

import json

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils import _release_state as state
from ansible_collections.shipshape.stack.plugins.module_utils._app_model import normal
from hypothesis import given
from hypothesis import strategies as st

WEB = {"name": "web", "kind": "web", "image": "shop", "version": "1", "port": 8000, "health": {"path": "/health"}}


def app(replicas: int = 1) -> dict:
    return normal({"name": "shop", "services": [{**WEB, "replicas": replicas}]})


def released(*names: str) -> dict:
    """The state after some releases, one after the other."""
    found = state.read(None)
    for name in names:
        found = state.drained(state.switched(state.begun(found, name, "deploy")))
    return found


@pytest.mark.parametrize(
    ("names", "active", "previous", "slot"),
    [
        pytest.param((), None, None, "a", id="nothing"),
        pytest.param(("one",), {"slot": "a", "release": "one"}, None, "b", id="first"),
        pytest.param(("one", "two"), {"slot": "b", "release": "two"}, {"release": "one"}, "a", id="second"),
        pytest.param(("one", "one"), {"slot": "b", "release": "one"}, None, "a", id="started-anew"),
        pytest.param(
            ("one", "two", "two"),
            {"slot": "a", "release": "two"},
            {"release": "one"},
            "b",
            id="anew-keeps-the-way-back",
        ),
        pytest.param(("one", "two", "one"), {"slot": "a", "release": "one"}, {"release": "two"}, "b", id="back"),
    ],
)
def test_releases_take_turns(names, active, previous, slot):
    found = released(*names)
    assert (found["active"], found["previous"], state.next_slot(found)) == (active, previous, slot)
    assert found["candidate"] is None
    assert found["draining"] is None
    assert len(found["releases"]) == len(set(names))


def test_the_old_slot_is_remembered_until_it_has_stopped():
    found = state.switched(state.reached(state.begun(released("one"), "two", "deploy"), state.SWITCHED))
    assert found["draining"] == {"slot": "a", "release": "one"}
    assert found["active"] == {"slot": "b", "release": "two"}


def test_a_candidate_that_is_dropped_leaves_what_was_there():
    before = released("one")
    assert state.dropped(state.begun(before, "two", "deploy")) == before


@given(st.lists(st.sampled_from("abcde"), max_size=12), st.integers(1, 5))
def test_the_running_release_and_the_way_back_are_always_kept(names, keep):
    found = state.pruned(released(*names), keep)
    for entry in (found["active"], found["previous"]):
        assert entry is None or entry["release"] in found["releases"]
    assert len(found["releases"]) <= keep + 2
    assert state.pruned(found, keep) == found


@pytest.mark.parametrize(
    ("names", "asked", "wanted"),
    [(("one", "two"), "previous", "one"), (("one", "two"), "one", "one"), (("one", "two"), "two", "two")],
)
def test_a_kept_release_can_be_gone_back_to(names, asked, wanted):
    assert state.wanted_release(released(*names), asked) == wanted


@pytest.mark.parametrize(
    ("names", "asked", "reason"),
    [
        (("one",), "previous", "no release before"),
        ((), "previous", "no release before"),
        (("one", "two"), "zero", "no release zero on this host; those kept are: two, one"),
    ],
)
def test_an_unknown_release_is_refused(names, asked, reason):
    with pytest.raises(state.ReleaseError, match=reason):
        state.wanted_release(released(*names), asked)


def test_a_killed_rollback_goes_on_to_where_it_was_going():
    assert state.wanted_release(state.begun(released("one", "two"), "one", "rollback"), "previous") == "one"


@given(st.integers(0, 5), st.integers(0, 5), st.sets(st.integers(20000, 20030)))
def test_ports_are_kept_and_never_shared(before, after, taken):
    known = state.allocated(app(before), {}, taken, 20000, 20999)
    found = state.allocated(app(after), known, taken, 20000, 20999)
    assert len(set(found.values())) == len(found) == 2 * max(before, after)
    assert not set(found.values()) & taken
    assert found.items() >= known.items(), "the slot that runs may have more containers than the new one"
    assert state.allocated(app(after), found, taken, 20000, 20999) == found


def test_a_range_that_is_used_up_is_said():
    with pytest.raises(state.ReleaseError, match="no port is left from 20000 to 20001 for web-1-b"):
        state.allocated(app(1), {}, {20001}, 20000, 20001)


@pytest.mark.parametrize("text", ["20000", "20000-19999", "80-90", "20000-70000", "a-b", ""])
def test_a_wrong_range_is_refused(text):
    with pytest.raises(state.ReleaseError, match="port_range"):
        state.ports_of(text)


def test_a_range_is_read():
    assert state.ports_of("20000-20999") == (20000, 20999)


@pytest.mark.parametrize(
    ("address", "wanted"), [("127.0.0.1", "127.0.0.1:20000"), ("2001:db8::1", "[2001:db8::1]:20000")]
)
def test_servers_are_called_at_their_ports(address, wanted):
    assert state.servers(app(), "a", {"web-1-a": 20000}, address) == {"web": [{"address": wanted}]}


MINE = {"id": "x-1-2", "by": "alice"}
OTHER = {"id": "y-3-4", "by": "bob"}


@pytest.mark.parametrize(
    ("lock", "take", "stands"),
    [
        pytest.param(None, False, False, id="none"),
        pytest.param(state.locked(MINE, 100), False, False, id="own"),
        pytest.param(state.locked(OTHER, 100), False, True, id="other"),
        pytest.param(state.locked(OTHER, 100), True, False, id="taken"),
        pytest.param(state.locked(OTHER, 100, 5), False, False, id="expired"),
    ],
)
def test_whose_lock_stands_in_the_way(lock, take, stands):
    assert (state.holder(lock, MINE, 110, take) is not None) == stands


def test_secrets_are_masked_the_longest_first():
    secrets = {"web": {"A": "pass", "B": "password", "C": "x"}}
    assert state.masked("password pass x", secrets) == "******** ******** x"


def test_the_state_is_plain_data():
    assert json.loads(json.dumps(released("one", "two"))) == released("one", "two")
