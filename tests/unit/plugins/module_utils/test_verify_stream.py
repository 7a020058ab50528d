# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One pass over a file: what is hashed is the file, and what comes out of gzip is what went in."""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils import _verify_stream as stream
from ansible_collections.shipshape.stack.plugins.module_utils._verify_bytes import Gunzip
from ansible_collections.shipshape.stack.plugins.module_utils._verify_model import StopError
from hypothesis import given
from hypothesis import strategies as st

DATA = bytes(range(256)) * 3000 + b"\x00" * 500_000


class Drops:
    """A reader that gives what it likes."""

    def __init__(self, data: bytes, most: int) -> None:
        self.file, self.most = io.BytesIO(data), most

    def read(self, size: int = -1) -> bytes:
        return self.file.read(min(size, self.most) if size >= 0 else self.most)


def unpacked(data: bytes, most: int = 1 << 20, size: int = 1 << 20) -> bytes:
    reader, parts = Gunzip(Drops(data, most)), []
    while chunk := reader.read(size):
        assert len(chunk) <= size
        parts.append(chunk)
    return b"".join(parts)


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=4), st.integers(1, 60), st.integers(1, 60))
def test_members_come_out_as_they_went_in(members, most, size):
    assert unpacked(b"".join(map(gzip.compress, members)), most, size) == b"".join(members)


@given(st.integers(1, 100), st.integers(1, 40))
def test_zeros_behind_and_between_members_are_padding(zeros, most):
    padding = bytes(zeros)
    assert unpacked(gzip.compress(b"x") + padding + gzip.compress(b"y") + padding, most) == b"xy"


def test_what_the_decompressor_holds_back_comes_out():
    assert unpacked(gzip.compress(DATA), size=1 << 16) == DATA


@given(st.integers(1, len(gzip.compress(DATA)) - 1))
def test_a_member_that_was_cut_is_found(length):
    with pytest.raises(EOFError):
        unpacked(gzip.compress(DATA)[:length])


@given(st.integers(10, len(gzip.compress(DATA)) - 1), st.integers(1, 255))
def test_a_byte_that_changed_is_found(at, change):
    data = bytearray(gzip.compress(DATA))
    data[at] ^= change
    with pytest.raises((zlib.error, EOFError)):
        unpacked(bytes(data))


def test_garbage_behind_a_member_is_found():
    with pytest.raises(zlib.error):
        unpacked(gzip.compress(b"x") + b"garbage")


@pytest.mark.parametrize("read", [0, 10, 1 << 20, 5 << 20])
def test_the_sum_is_that_of_the_file_however_much_was_read(tmp_path, read):
    path = tmp_path / "x"
    path.write_bytes(DATA * 5)
    source = stream.Source(str(path), stream.Clock(60))
    source.read(read)
    assert source.drain() == source.drain() == hashlib.sha256(DATA * 5).hexdigest()
    source.close()


def test_a_file_that_cannot_be_read_is_told(tmp_path):
    with pytest.raises(StopError, match="No such file"):
        stream.Source(str(tmp_path / "x"), stream.Clock(60))
