"""Fixtures that the tests of every scenario share."""

from __future__ import annotations

import json
import os
import pathlib

import pytest


@pytest.fixture
def address(host):
    """The address at which this machine reaches the host, as somebody from outside does."""
    name = host.backend.get_pytest_id().rsplit("/", 1)[-1]
    state = pathlib.Path(os.environ["MOLECULE_PROJECT_DIRECTORY"]) / ".cache/hosts"
    known = json.loads((state / os.environ["MOLECULE_SCENARIO_NAME"] / "hosts.json").read_text(encoding="utf-8"))
    return next(entry["address"] for entry in known["hosts"] if entry["name"] == name)


@pytest.fixture
def as_root(host):
    """Commands of the test are root's: for `pytest.mark.usefixtures`."""
    with host.sudo():
        yield
