# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What nginx finds where it looks for a certificate."""

from __future__ import annotations

import os
import pathlib
import subprocess

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils import _certificate_store as store


def run(words):
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def root(tmp_path: pathlib.Path) -> str:
    return str(tmp_path)


def real(name: str, root: str) -> store.Pair:
    pair = store.Pair(f"chain of {name}".encode(), f"key of {name}".encode())
    place = store.Place(root, os.getuid(), os.getgid())
    store.point(name, store.add(name, pair, place), root)
    return pair


def read(name: str, part: str, root: str) -> bytes:
    return (pathlib.Path(store.current(name, root)) / part).read_bytes()


def test_a_placeholder_is_made_once_and_withholds_hsts(root):
    assert store.ensure_placeholder("shop", run, root)
    assert store.is_placeholder("shop", root)
    assert b"BEGIN CERTIFICATE" in read("shop", store.CHAIN, root)
    assert read("shop", store.MAP_FILE, root)
    assert os.stat(os.path.join(store.current("shop", root), store.KEY)).st_mode & 0o777 == 0o600
    assert not store.ensure_placeholder("shop", run, root)


@pytest.mark.skipif(os.getuid() != 0, reason="a pair belongs to root, and only root can give it away")
def test_a_name_without_a_pair_borrows_one_and_keeps_it_when_the_lender_goes(root):
    lent = real("old", root)
    assert store.borrow("new", "old", root)
    assert store.target("new", root) == store.BORROWED
    assert (read("new", store.CHAIN, root), read("new", store.KEY, root)) == (lent.chain, lent.key)
    assert not os.path.exists(os.path.join(store.current("new", root), store.MAP_FILE))  # HSTS goes on
    real("old", root)
    assert read("new", store.CHAIN, root) == lent.chain
    assert not store.borrow("new", "old", root)
    own = real("new", root)
    assert read("new", store.CHAIN, root) == own.chain


@pytest.mark.parametrize("lender", ["nobody", "placeholder"])
def test_nothing_is_borrowed_of_who_has_nothing(root, lender):
    if lender == "placeholder":
        store.ensure_placeholder(lender, run, root)
    assert not store.borrow("new", lender, root)
    assert store.target("new", root) == ""


def test_a_lock_is_one_holders_and_says_so(root):
    folder = os.path.join(root, "lock")
    second = store.lock(folder, wait=0)
    with store.lock(folder), pytest.raises(store.CertificateError, match="another run holds the lock"), second:
        pass
    with store.lock(folder, wait=0):
        pass


def test_a_folder_that_is_removed_before_it_is_locked_is_no_lock(root, monkeypatch):
    """As the holder that was waited for may remove it, and the next one makes it anew."""
    folder, real, removed = os.path.join(root, "lock"), store.fcntl.flock, []

    def flock(handle, how):
        if not removed:
            removed.append(os.rmdir(folder))
        real(handle, how)

    monkeypatch.setattr(store.fcntl, "flock", flock)
    with store.lock(folder, wait=5):
        second = store.lock(folder, wait=0)
        with pytest.raises(store.CertificateError, match="another run holds the lock"), second:
            pass
    assert len(removed) == 1
