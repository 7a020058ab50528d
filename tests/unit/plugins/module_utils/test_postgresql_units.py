# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values of PostgreSQL's parameters. The tables were recorded from PostgreSQL 15 and 17, which agree."""

from __future__ import annotations

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils._postgresql_units import (
    BYTES,
    UnitError,
    boolean,
    equal,
    whole,
)
from hypothesis import given
from hypothesis import strategies as st

UNITS = {"B": 1, "kB": 1024, "8kB": 8192, "MB": 1024**2, "16MB": 16 * 1024**2}


@pytest.mark.parametrize(
    ("wanted", "setting", "unit", "vartype"),
    [
        ("4MB", "4096", "kB", "integer"),
        ("4096kB", "4096", "kB", "integer"),
        ("4096", "4096", "kB", "integer"),
        ("4 MB", "4096", "kB", "integer"),
        (" 8MB ", "8192", "kB", "integer"),
        ("+4MB", "4096", "kB", "integer"),
        ("4.MB", "4096", "kB", "integer"),
        (".5GB", "524288", "kB", "integer"),
        ("1.5MB", "1536", "kB", "integer"),
        ("1TB", "1073741824", "kB", "integer"),
        ("1e3kB", "1000", "kB", "integer"),
        pytest.param("0x1000", "4096", "kB", "integer", id="hexadecimal"),
        pytest.param("010000", "4096", "kB", "integer", id="octal"),
        ("4096.6", "4097", "kB", "integer"),
        ("100000B", "98", "kB", "integer"),
        pytest.param("66048B", "64", "kB", "integer", id="half-to-even"),
        ("66560B", "65", "kB", "integer"),
        ("1GB", "131072", "8kB", "integer"),
        ("1024MB", "131072", "8kB", "integer"),
        ("131072", "131072", "8kB", "integer"),
        ("8200kB", "1025", "8kB", "integer"),
        pytest.param("30.1GB", "3945216", "8kB", "integer", id="a-fraction-is-rounded-to-the-next-unit"),
        ("-1", "-1", "kB", "integer"),
        ("1min", "60000", "ms", "integer"),
        ("15min", "900", "s", "integer"),
        ("1.5s", "1500", "ms", "integer"),
        ("1d", "86400000", "ms", "integer"),
        ("500us", "0", "ms", "integer"),
        ("1500us", "2", "ms", "integer"),
        ("2500us", "2", "ms", "integer"),
        ("0x64", "100", None, "integer"),
        ("100.5", "100", None, "integer"),
        ("101.5", "102", None, "integer"),
        ("0.5", "0.5", "ms", "real"),
        ("500us", "0.5", "ms", "real"),
        ("0.002s", "2", "ms", "real"),
        ("0.0005s", "0", "ms", "real"),
        ("0.9", "0.9", None, "real"),
        ("0.90", "0.9", None, "real"),
        ("11e-1", "1.1", None, "real"),
        ("1.23456789", "1.23457", None, "real"),
        pytest.param("010", "10", None, "real", id="real-numbers-are-not-octal"),
        *[(word, "on", None, "bool") for word in ["on", "ON", "true", "t", "yes", "y", "1"]],
        *[(word, "off", None, "bool") for word in ["off", "of", "0", "no", "n", "f", "fal"]],
        ("LZ4", "lz4", None, "enum"),
        *[(word, "pglz", None, "enum") for word in ["on", "pglz", "true", "yes", "1"]],
        *[(word, "off", None, "enum") for word in ["off", "no", "0"]],
        ("partition", "partition", None, "enum"),
        ("true", "on", None, "enum"),
        ("debug", "debug2", None, "enum"),
        ("hot_standby", "replica", None, "enum"),
        ("pg_stat_statements", "pg_stat_statements", None, "string"),
    ],
)
def test_the_same(wanted, setting, unit, vartype):
    assert equal(wanted, setting, unit, vartype)


@pytest.mark.parametrize(
    ("wanted", "setting", "unit", "vartype"),
    [
        ("5MB", "4096", "kB", "integer"),
        ("4MB", "4", "MB", "bool"),
        *[(text, "4096", "kB", "integer") for text in ["4mb", "4KB", "4M", "", "MB", "-4MB", "1_000", "4 M B", "4min"]],
        ("1m", "60000", "ms", "integer"),
        ("1sec", "1000", "ms", "integer"),
        ("100kB", "100", None, "integer"),
        ("1e400", "4", None, "real"),
        *[(text, "4", None, "real") for text in ["nan", "inf", "1,1", "4ms", "4.00001"]],
        *[(text, "on", None, "bool") for text in ["o", "2", "", " on ", "enabled", "off"]],
        *[(text, "pglz", None, "enum") for text in ["t", " on ", "lz4", "off"]],
        ("pg_stat_statements", "", None, "string"),
        ("Public", "public", None, "string"),
    ],
)
def test_not_the_same(wanted, setting, unit, vartype):
    assert not equal(wanted, setting, unit, vartype)


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        ("4 megs", "kB", "TB, GB, MB, kB, B"),
        ("much", "8kB", "512MB"),
        ("soon", "s", "15min"),
        ("4MB", None, "plain number"),
        (True, "kB", "True is not a number"),
        ("4MB", "furlong", "furlong"),
    ],
)
def test_what_cannot_be_read_says_why(value, unit, said):
    with pytest.raises(UnitError, match=said):
        whole(value, unit)


def test_an_unclear_word_is_named():
    with pytest.raises(UnitError, match="'o' is neither on nor off"):
        boolean("o")


@given(st.integers(0, 2**31 - 1), st.sampled_from(sorted(UNITS)))
def test_a_setting_is_its_own_value_in_any_unit(count, unit):
    size = count * UNITS[unit]
    for name, factor in BYTES.items():
        if size % factor == 0:
            assert equal(f"{size // factor}{name}", str(count), unit, "integer")


@given(st.integers(-1, 10**6), st.integers(-1, 10**6), st.sampled_from([None, "8kB", "ms"]))
def test_only_the_same_number_is_the_same(one, other, unit):
    assert equal(str(one), str(other), unit, "integer") == (one == other)
