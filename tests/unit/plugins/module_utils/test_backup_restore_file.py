"""Which statements of a plain dump lead out of the database that it is restored into."""

from __future__ import annotations

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils._backup_restore_file import LEAVES


@pytest.mark.parametrize(
    "line", ["\\connect shop", "\\c shop", "CREATE DATABASE shop WITH TEMPLATE = template0;", "DROP DATABASE shop;"]
)
def test_what_leads_away(line):
    assert LEAVES.search(f"SET x = 1;\n{line}\nSELECT 1;\n")


@pytest.mark.parametrize(
    "line",
    [
        "\\\\connect shop",
        "a\t\\\\c",
        "\\restrict abc",
        "\\.",
        "COMMENT ON DATABASE shop IS 'x';",
        "-- CREATE DATABASE x",
    ],
)
def test_what_does_not(line):
    assert not LEAVES.search(f"SET x = 1;\n{line}\nSELECT 1;\n")
