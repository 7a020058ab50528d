"""Shared by the tests of this scenario."""

from __future__ import annotations

import json
import shlex
import socket
import subprocess
from dataclasses import dataclass

import pytest


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


@pytest.fixture(autouse=True)
def _as_root(host):
    with host.sudo():
        yield


@pytest.fixture
def ask(host, address):
    """Ask nginx, from outside unless `inside` is an address of the host; without an answer the status is 0."""

    def run(url, *words, inside=""):
        name, _colon, port = url.split("/")[2].partition(":")
        port = port or ("443" if url.startswith("https") else "80")
        resolve = f"{name}:{port}:{inside or address}"
        argv = ["curl", "-gsk", "-i", "--max-time", "8", "--path-as-is", "--resolve", resolve, *words, url]
        if inside:
            found = host.run(shlex.join(argv)).stdout
        else:
            found = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False).stdout
        return _read(found.replace("\r", ""))

    return run


def _read(found):
    head, _blank, body = found.partition("\n\n")
    while " 100 " in head.partition("\n")[0]:
        head, _blank, body = body.partition("\n\n")
    lines = head.splitlines()
    pairs = [line.partition(":") for line in lines[1:]]
    status = int(lines[0].split()[1]) if lines else 0
    return Answer(status, [(key.lower(), value.strip()) for key, _colon, value in pairs], body)


@pytest.fixture
def here(address):
    """The address that the host sees this machine by."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        asked.connect((address, 9))
        return asked.getsockname()[0]
