# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judge a new daemon.json before it lands: validate.py CANDIDATE."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import tempfile

LIVE = pathlib.Path("/etc/docker/daemon.json")
DATA = "/var/lib/docker"


def run(*argv: str) -> tuple[int, str]:
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, text=True)
    return done.returncode, done.stdout.strip()


def judged(candidate: str) -> str:
    """What the daemon says against the file; nothing if it takes it."""
    if "--validate" in run("dockerd", "--help")[1]:
        code, said = run("dockerd", "--validate", "--config-file", candidate)
        return said if code else ""
    # Docker 20 has no such option. It reads its file first and then looks whether a daemon runs already: this process
    # is said to be one, so that it goes no further.
    with tempfile.NamedTemporaryFile("w") as pid:
        pid.write(str(os.getpid()))
        pid.flush()
        _code, said = run("dockerd", "--config-file", candidate, "--pidfile", pid.name)
    return "" if "pid file found" in said else said


def moved(candidate: str) -> str:
    """A daemon with another data-root starts with nothing, and looks as if all were lost."""
    try:
        old = json.loads(LIVE.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        old = {}
    before = pathlib.Path(old.get("data-root") or old.get("graph") or DATA)
    after = pathlib.Path(json.loads(pathlib.Path(candidate).read_text(encoding="utf-8")).get("data-root") or DATA)
    if before == after:
        return ""
    kept = [part for part in ("containers", "volumes") for _each in before.glob(f"{part}/*/")]
    kept += [part for part in ("image",) for _each in before.glob("image/*/imagedb/content/sha256/*")]
    if not kept:
        return ""
    return (
        f"data-root would change from {before} to {after}, but there are {', '.join(dict.fromkeys(kept))} in {before}:"
        f" set docker_data_root: {before}, or stop docker, move the directory, and write the new path into {LIVE}"
    )


def main() -> None:
    candidate = sys.argv[1]
    sys.exit(judged(candidate) or moved(candidate) or None)


if __name__ == "__main__":
    main()
