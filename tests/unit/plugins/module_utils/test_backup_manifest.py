"""What a manifest says, and what is wrong with one."""

from __future__ import annotations

import json

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils import _backup_manifest as manifest
from hypothesis import given
from hypothesis import strategies as st

ARTEFACT = {
    "name": "postgresql-shop.dump",
    "component": "postgresql",
    "kind": "pg_custom",
    "size": 123,
    "sha256": "0" * 64,
    "source": {"database": "shop", "port": 5432},
}
GOOD = manifest.build("20261126T020000Z", "db1", (1795658400.0, 1795658460.5), "daily", [ARTEFACT])


def test_a_manifest_comes_back_as_it_went():
    assert manifest.parse(manifest.dumps(GOOD)) == GOOD
    assert manifest.size(GOOD) == 123
    assert manifest.having(GOOD, "pg_custom", database="shop") == [ARTEFACT]
    assert manifest.having(GOOD, "pg_custom", database="other") == manifest.having(GOOD, "sqlite") == []


BROKEN = [
    ("{", "not JSON"),
    ([], "not an object"),
    ({**GOOD, "format": 2}, "format is 2"),
    ({**GOOD, "id": "20261341T020000Z"}, "id is '20261341T020000Z'"),
    ({**GOOD, "host": ""}, "host is ''"),
    ({**GOOD, "ended": "now"}, "ended is 'now'"),
    ({**GOOD, "artefacts": []}, "no artefacts"),
    ({**GOOD, "artefacts": ["x"]}, "artefacts[0]: it is not an object"),
    ({**GOOD, "artefacts": [ARTEFACT, ARTEFACT]}, "two artefacts are called 'postgresql-shop.dump'"),
    *[
        ({**GOOD, "artefacts": [{**ARTEFACT, key: value}]}, f"artefacts[0]: {key} is {value!r}")
        for key, value in [
            ("name", "../etc/passwd"),
            ("name", ".hidden"),
            ("name", "manifest.json"),
            ("kind", "zip"),
            ("component", "mysql"),
            ("size", -1),
            ("size", True),
            ("sha256", "abc"),
            ("source", None),
        ]
    ],
]


@pytest.mark.parametrize(("document", "said"), BROKEN)
def test_what_is_wrong_is_said(document, said):
    text = document if isinstance(document, str) else json.dumps(document)
    with pytest.raises(manifest.BackupError) as caught:
        manifest.parse(text)
    assert said in str(caught.value)


@given(st.integers(0, 253402300799), st.integers(0, 253402300799))
def test_names_of_sets_sort_as_times_do(one, other):
    assert manifest.began(manifest.set_id(one)) == one
    assert (manifest.set_id(one) < manifest.set_id(other)) == (one < other)


@given(st.text())
def test_no_name_leads_out_of_the_folder(thing):
    name = manifest.file_name("postgresql", thing.encode("utf-8", "replace").decode(), ".dump")
    assert "/" not in name
    assert name.startswith("postgresql-")


@pytest.mark.parametrize("name", ["", "20261126T020000", "20261126T020000Z.partial", "x20261126T020000Z"])
def test_what_is_no_id(name):
    assert not manifest.is_id(name)
