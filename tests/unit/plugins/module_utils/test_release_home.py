# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder of an app: whole files for root alone, and one lock."""

from __future__ import annotations

import os

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils._release_home import Home
from ansible_collections.shipshape.stack.plugins.module_utils._release_state import EMPTY, ReleaseError

MINE, OTHER = {"id": "mine", "by": "alice"}, {"id": "other", "by": "bob"}


@pytest.fixture
def home(tmp_path):
    return Home(str(tmp_path / "apps"), "shop")


def test_a_new_app_has_an_empty_state(home):
    assert home.state() == EMPTY
    assert not home.exists()


def test_files_are_for_root_alone_and_whole(home):
    home.write_json({"a": 1}, "releases", "one", "secrets.json")
    path = home.path("releases", "one", "secrets.json")
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert os.stat(home.top).st_mode & 0o777 == 0o700
    assert home.load("releases", "one", "secrets.json") == {"a": 1}
    assert home.names("releases", "one") == ["secrets.json"]


@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_a_damaged_state_is_said_and_not_lost(home, text):
    home.write(text, "state.json")
    with pytest.raises(ReleaseError, match=r"state\.json"):
        home.state()
    assert home.text("state.json") == text


def test_one_run_has_the_lock_until_it_lets_go(home):
    assert home.lock(MINE) is None
    assert home.lock(MINE) is None
    assert home.lock(OTHER)["by"] == "alice"
    assert home.lock(OTHER, take=True) is None
    assert home.lock(MINE)["by"] == "bob"
    assert home.unlock()
    assert not home.unlock()
    assert home.lock(MINE) is None


def test_a_lock_that_is_over_holds_nobody_up(home):
    assert home.lock(OTHER, seconds=-1) is None
    assert home.lock(MINE) is None


def test_other_apps_are_seen(home, tmp_path):
    other = Home(str(tmp_path / "apps"), "blog")
    other.save({"ports": {"web-1-a": 20000}})
    home.save({})
    assert [state["ports"] for state in home.others()] == [{"web-1-a": 20000}]
