# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files know what they are by their first bytes."""

from __future__ import annotations

import contextlib
import io
import sqlite3
import struct
import tarfile

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils import _verify_formats as formats
from hypothesis import given
from hypothesis import strategies as st


def integer(value: int) -> bytes:
    return bytes([value < 0]) + abs(value).to_bytes(4, "little")


def string(text: str) -> bytes:
    return integer(len(text)) + text.encode()


def dump(minor: int = 16, database: str = "shop", server: str = "17.2 (Debian 17.2-1)") -> bytes:
    compressed = b"\x01" if minor >= 15 else integer(-1)
    times = b"".join(integer(each) for each in (30, 10, 2, 26, 10, 126, 0))
    return b"PGDMP" + bytes([1, minor, 0, 4, 8, 1]) + compressed + times + string(database) + string(server)


def archive(name: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.addfile(tarfile.TarInfo(name))
    return out.getvalue()


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (dump(), "pg_custom"),
        (b"SQLite format 3\x00" + b"\x10\x00", "sqlite"),
        (b"REDIS0011\xfa", "redis_rdb"),
        (b"VALKEY080\xfa", "redis_rdb"),
        (archive("toc.dat"), "pg_tar"),
        (archive("etc/redis"), "tar"),
        (b"--\n-- PostgreSQL database dump\n--\n", "pg_plain"),
        (b"--\n-- PostgreSQL database cluster dump\n--\n", "pg_globals"),
        (b"", ""),
        (b"hello", ""),
    ],
)
def test_a_kind_is_known_by_its_head(head, kind):
    assert formats.detect(head) == kind


@pytest.mark.parametrize(
    ("head", "name"),
    [(b"\x1f\x8b\x08", "gzip"), (b"BZh9", "bzip2"), (b"\xfd7zXZ\x00", "xz"), (b"\x04\x22M\x18", "lz4"), (b"PGDMP", "")],
)
def test_a_compression_is_known_by_its_head(head, name):
    assert formats.compression(head) == name


@pytest.mark.parametrize("minor", [14, 15, 16])
def test_a_dump_says_its_database_and_version(minor):
    assert formats.dump_header(dump(minor)) == formats.DumpHeader("shop", "17.2")


@given(st.integers(0, len(dump()) - 1))
def test_a_dump_whose_header_is_cut_is_refused(length):
    with pytest.raises(ValueError, match=r"."):
        formats.dump_header(dump()[:length])


@given(st.binary(max_size=200))
def test_no_header_breaks_the_reader(data):
    with contextlib.suppress(ValueError):
        formats.dump_header(b"PGDMP" + data)
    formats.detect(data)
    formats.sqlite_size(data)


def test_sqlite_says_how_long_it_has_to_be(tmp_path):
    database = sqlite3.connect(tmp_path / "x.db")
    database.execute("CREATE TABLE t (x)")
    database.commit()
    database.close()
    data = (tmp_path / "x.db").read_bytes()
    assert formats.sqlite_size(data) == len(data)
    # An old writer does not keep the count of pages; then nothing is known.
    assert formats.sqlite_size(data[:92] + struct.pack(">I", 77) + data[96:]) is None


LISTING = """;
; Archive created at 2026-11-26 02:00:00 UTC
;
215; 1259 16385 TABLE public orders shop
3360; 0 16385 TABLE DATA public orders shop
3400; 0 0 TABLE ATTACH public orders_2026 shop
4; 3079 16384 EXTENSION - amcheck\x20
216; 1259 16390 SEQUENCE public orders_id_seq reader
"""


def test_a_listing_is_tables_and_owners():
    assert formats.contents(LISTING) == (1, {"shop", "reader"})


@given(
    st.lists(
        st.sampled_from(
            [b"\nCREATE TABLE x (", b"\nCREATE UNLOGGED TABLE z (", b"\nCREATE TAB", b"LE y (", b"data", b"\n"]
        )
    ),
    st.integers(1, 9),
)
def test_tables_of_a_text_are_counted_across_chunks(parts, size):
    whole = b"".join(parts)
    scan = formats.Text()
    for at in range(0, len(whole), size):
        scan.feed(whole[at : at + size])
    assert scan.tables == whole.count(b"\nCREATE TABLE ") + whole.count(b"\nCREATE UNLOGGED TABLE ")
    assert scan.tail == whole[-4096:]


@pytest.mark.parametrize(
    ("head", "database", "version", "found"),
    [
        (b"\n\\connect shop\n", "shop", "", []),
        (b"\n\\connect crm\n", "shop", "", ["WRONG_DATABASE"]),
        (b'\n\\connect "the shop"\n', "", "", []),
        (b"\n-- Dumped from database version 15.4 (Debian)\n", "", "15.9", []),
        (b"\n-- Dumped from database version 15.4 (Debian)\n", "", "17", ["VERSION_MISMATCH"]),
        (b"", "shop", "17", []),
    ],
)
def test_a_plain_dump_against_what_is_expected(head, database, version, found):
    assert [name for name, _message in formats.plain_problems(head, database, version)] == found
