# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of contents of a dump, and what the end of each file of data has to be."""

from __future__ import annotations

import contextlib
import io

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils import _verify_archive as archive
from hypothesis import given
from hypothesis import strategies as st


def integer(value: int) -> bytes:
    return bytes([value < 0]) + abs(value).to_bytes(4, "little")


def string(text: str | None) -> bytes:
    return integer(-1) if text is None else integer(len(text)) + text.encode()


def entry(minor: int, form: int, kind: str, file: str = "", copied: str = "", dumped: int = 0) -> bytes:
    body = integer(7) + integer(dumped) + string("1259") + string("16385") + string("orders") + string(kind)
    body += integer(2) + string("CREATE") + string("DROP") + string(copied) + string("public") + string("") + string("")
    body += (integer(ord("r")) if minor >= 16 else b"") + string("shop") + string("false")
    body += string("3") + string("12") + string(None)
    return body + (b"\x02" + bytes(8) if form == archive.CUSTOM else string(file))


def dump(minor: int = 16, form: int = 3) -> bytes:
    compressed = b"\x01" if minor >= 15 else integer(-1)
    head = b"PGDMP" + bytes([1, minor, 0, 4, 8, form]) + compressed + b"".join(integer(30) for _part in range(7))
    head += string("shop") + string("17.2") + string("17.2")
    entries = [
        entry(minor, form, "TABLE"),
        entry(minor, form, "TABLE DATA", "3420.dat", "COPY orders FROM stdin", 1),
        entry(minor, form, "TABLE DATA", "3421.dat", "", 1),
        entry(minor, form, "BLOBS", "blobs_3423.toc", "", 1),
        entry(minor, form, "BLOBS", "3424.dat", "", 1),
    ]
    return head + integer(len(entries)) + b"".join(entries)


def read(data: bytes) -> archive.Archive:
    return archive.contents(archive.Stream(io.BytesIO(data).read))


@pytest.mark.parametrize("minor", archive.KNOWN)
@pytest.mark.parametrize("form", [archive.CUSTOM, 3])
def test_a_table_of_contents_is_tables_owners_and_files(minor, form):
    found = read(dump(minor, form))
    assert (found.tables(), found.owners(), len(found.entries)) == (1, {"shop"}, 5)
    wanted = {"3420.dat": True, "3421.dat": False, "blobs_3423.toc": False} if form == 3 else {}
    assert archive.data_files(found) == wanted


@given(st.integers(0, len(dump()) - 1))
def test_one_that_was_cut_is_found(length):
    with pytest.raises(archive.CutError):
        read(dump()[:length])


@given(st.integers(0, len(dump()) - 1), st.integers(1, 255))
def test_no_byte_that_changed_breaks_the_reader(at, change):
    data = bytearray(dump())
    data[at] ^= change
    with contextlib.suppress(archive.CutError, archive.DamagedError, KeyError):
        read(bytes(data))


def test_a_version_of_the_future_is_left_to_others():
    with pytest.raises(KeyError):
        read(dump(99))


@given(st.lists(st.integers(0, 40)), st.integers(1, 9))
def test_a_stream_gives_what_is_asked_for_whatever_its_reader_gives(sizes, most):
    data = bytes(index % 251 for index in range(sum(sizes)))
    below = io.BytesIO(data)
    stream = archive.Stream(lambda _size: below.read(most))
    assert b"".join(stream.take(each) for each in sizes) == data
    with pytest.raises(archive.CutError):
        stream.take(1)


@pytest.mark.parametrize(
    ("tail", "copied", "whole"),
    [
        (b"20000\tx\n\\.\n\n\n", True, True),
        (b"\\.\n\n\n", True, True),
        (b"20000\tx\n", True, False),
        (b"\\.\n", True, False),
        (b"", True, False),
        (b"INSERT INTO orders VALUES (1);\n\n\n", False, True),
        (b"", False, True),
    ],
)
def test_copy_writes_an_end(tail, copied, whole):
    assert archive.whole(tail, copied) == whole
