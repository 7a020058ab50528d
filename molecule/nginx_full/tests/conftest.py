"""Shared by the tests of this scenario."""

from __future__ import annotations

import json
import os
import pathlib
import shlex
import subprocess
import time
from dataclasses import dataclass

import pytest

ROOT = pathlib.Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])


@dataclass
class Answer:
    status: int
    headers: list
    body: str

    def header(self, name):
        """The value of a header that is there once; empty where it is not."""
        values = [value for key, value in self.headers if key == name.lower()]
        assert len(values) <= 1, f"{name} is there {len(values)} times: {values}"
        return values[0] if values else ""

    @property
    def told(self):
        """What the application says that reached it."""
        return json.loads(self.body)

    def sent(self, name):
        """A header that reached the application once."""
        values = [value for key, value in self.told["headers"] if key == name.lower()]
        assert len(values) <= 1, f"{name} reached it {len(values)} times: {values}"
        return values[0] if values else None


def until(condition, seconds, what):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.3)


@pytest.fixture(autouse=True)
def _as_root(host):
    with host.sudo():
        yield


@pytest.fixture
def ask(host):
    """Ask nginx on the host, with any words for curl; without an answer the status is 0."""

    def run(url, *words, address="127.0.0.1"):
        name, _colon, port = url.split("/")[2].partition(":")
        port = port or ("443" if url.startswith("https") else "80")
        resolve = f"{name}:{port}:{address}"
        argv = ["curl", "-gsk", "-i", "--max-time", "8", "--path-as-is", "--resolve", resolve, *words, url]
        found = host.run(shlex.join(argv)).stdout.replace("\r", "")
        head, _blank, body = found.partition("\n\n")
        while " 100 " in head.partition("\n")[0]:
            head, _blank, body = body.partition("\n\n")
        lines = head.splitlines()
        pairs = [line.partition(":") for line in lines[1:]]
        status = int(lines[0].split()[1]) if lines else 0
        return Answer(status, [(key.lower(), value.strip()) for key, _colon, value in pairs], body)

    return run


@pytest.fixture(scope="session")
def playbook():
    """Run a playbook on the hosts of the scenario."""

    def run(path, *arguments):
        argv = ["ansible-playbook", f"--inventory={os.environ['MOLECULE_INVENTORY_FILE']}", *arguments, str(path)]
        return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)

    return run
