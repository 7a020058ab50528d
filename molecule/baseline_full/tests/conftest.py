"""Shared by the tests of this scenario."""

from __future__ import annotations

import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])


@pytest.fixture
def login(host):
    """Log in from outside as somebody, with the key of the administrators, and run a command."""

    def run(user, command, stdin=""):
        name = host.backend.get_pytest_id().rsplit("/", 1)[-1]
        config = ROOT / ".cache/hosts/baseline_full/ssh_config"
        argv = ["ssh", "-F", str(config), "-o", "BatchMode=yes", "-o", "ControlPath=none", "-l", user, name, command]
        return subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=60, check=False)

    return run
