# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the access log says of the servers of an upstream."""

from __future__ import annotations

import json

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_access import MARK, count, logged, mark, since

A, B = "192.0.2.1:80", "[2001:db8::1]:80"


def asked(address, status):
    return json.dumps({"upstream_addr": address, "upstream_status": status, "status": 200}) + "\n"


COUNTED = {
    "fine": ([asked(A, "200")] * 3, 3, {}),
    "failed": ([asked(A, "500"), asked(A, "404"), asked(A, "504")], 3, {A: 2}),
    "tried on two": ([asked(f"{A}, {B}", "502, 200")], 2, {A: 1}),
    "after a redirect inside": ([asked(f"{A} : {B}", "200 : 503")], 2, {B: 1}),
    "of another": ([asked("192.0.2.9:80", "502")], 0, {}),
    "longer by a digit": ([asked(f"{A}80", "502")], 0, {}),
    "none at all": ([asked("app", "502"), asked("", "")], 0, {}),
    "client went away": ([asked(A, "-"), asked(A, "")], 2, {}),
    "not of the format": (["", "127.0.0.1 - -\n", "[]\n", "{}\n", asked(A, "502")[:40], asked(A, None)], 0, {}),
}


@pytest.mark.parametrize("case", COUNTED)
def test_count(case):
    lines, requests, errors = COUNTED[case]
    assert count(lines, [A, B]) == (requests, errors)


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "access.log"
    path.write_text("one\n", encoding="utf-8")
    return path


def add(path, text):
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{text}\n")


def rotated(path):
    path.rename(f"{path}.1")
    path.touch()


def after(path, place):
    return sorted(line.strip() for line in since([str(path)], place))


def test_only_what_is_after_the_mark(log):
    place = mark([str(log)])
    assert MARK.fullmatch(place)
    assert after(log, place) == []
    add(log, "two")
    assert after(log, place) == ["two"]
    rotated(log)
    add(log, "three")
    assert after(log, place) == ["three", "two"]
    # A mark in the new one says nothing of the old one.
    place = mark([str(log)])
    add(log, "four")
    assert after(log, place) == ["four"]


def test_a_log_that_was_not_there_is_read_from_its_beginning(tmp_path, log):
    missing = tmp_path / "new.log"
    place = mark([str(missing)])
    assert place == ""
    assert MARK.fullmatch(place)
    assert after(missing, place) == []
    missing.write_text("one\n", encoding="utf-8")
    assert after(missing, place) == ["one"]
    both = [str(log), str(missing)]
    place = mark(both)
    assert MARK.fullmatch(place)
    add(missing, "two")
    assert [line.strip() for line in since(both, place)] == ["two"]


def test_a_log_that_was_cut_is_read_from_its_beginning(log):
    place = mark([str(log)])
    log.write_text("a\n", encoding="utf-8")
    assert after(log, place) == ["a"]


@pytest.mark.parametrize("place", ["1", "1:2,3:4", "a:b", "1:2 ", "-1:2"])
def test_no_marks(place):
    assert not MARK.fullmatch(place)


def test_a_name_is_logged_as_its_addresses():
    found = logged([A, B, "unix:/run/app.sock", "localhost:80", "no.host.invalid:80"])
    assert found[A] == A
    assert found[B] == B
    assert found["unix:/run/app.sock"] == "unix:/run/app.sock"
    assert found["127.0.0.1:80"] == "localhost:80"
    assert found["no.host.invalid:80"] == "no.host.invalid:80"
