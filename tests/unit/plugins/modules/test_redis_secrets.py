# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No password goes to redis-cli as an argument, where every user of the host could read it."""

from __future__ import annotations

import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[4]
ARGUMENT = re.compile(r"(?:redis|valkey)-(?:cli|benchmark)\b[^\n|;&]*?\s(?:-a|--pass|-u)(?:\s|=|$)")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("redis-cli -h db -a secret ping", True),
        ("valkey-cli --pass secret", True),
        ("redis-cli -u redis://:secret@db", True),
        ("redis-benchmark -a secret", True),
        ("REDISCLI_AUTH=x redis-cli --user a ping", False),
        ("redis-cli --user shop --askpass", False),
        ("redis-cli ping; ls -a /", False),
    ],
)
def test_the_pattern(text, found):
    assert bool(ARGUMENT.search(text)) is found


def test_nothing_in_the_project_passes_a_password_as_an_argument():
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    files = [
        ROOT / name for name in listed.stdout.splitlines() if name != str(pathlib.Path(__file__).relative_to(ROOT))
    ]
    texts = {path: path.read_text(encoding="utf-8", errors="replace") for path in files if path.is_file()}
    assert len(texts) > 100
    assert [path for path, text in texts.items() if ARGUMENT.search(text)] == []
