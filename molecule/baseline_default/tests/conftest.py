"""Shared by the tests of this scenario."""

from __future__ import annotations

import os
import pathlib
import shlex

import pytest
import yaml

ROOT = pathlib.Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])


@pytest.fixture
def updates_check():
    """The role's own check of its file for apt, as a command line."""
    entries = yaml.safe_load((ROOT / "roles/baseline/vars/main.yml").read_text())["__baseline_own_files"]
    *command, _path, _count = entries[0]["entry"]["validate"]
    return lambda path, count: shlex.join([*command, path, str(count)])
