# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clear away what Docker keeps and nobody uses. Runs on the host, from a timer: standard library only.

Docker's own `prune` looks at when a thing was made: an image from last year that was pulled a minute ago would go, and
so would a container that ran for a month and stopped a minute ago. Here only time without use counts. Volumes are never
removed, nor is what belongs to a deployed app.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

KEEP_LABELS = ("stack.shipshape.app", "stack.shipshape.keep")
KEEP_TAGS = "shipshape/"
STATE = "/var/lib/shipshape/docker-prune.json"
STOPPED = ("created", "exited", "dead")
OWN_NETWORKS = ("bridge", "host", "none")
KINDS = ("containers", "images", "networks", "build-cache")
# Docker refuses them, and rightly: somebody began to use them just now, or others are built on them.
IN_USE = re.compile(r"conflict|in use|being used|active endpoints|dependent child|No such", re.IGNORECASE)
COMMAND_SECONDS = 600

Thing = Mapping[str, Any]


@dataclass
class Plan:
    """Commands, and since when each unused thing has been so."""

    commands: list[list[str]] = field(default_factory=list)
    unused: dict[str, float] = field(default_factory=dict)


def seconds(text: str | None) -> float:
    """Docker's times have nanoseconds, which Python does not read; its year 1 means never."""
    found = re.match(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(Z|[+-]\d\d:\d\d)?", text or "")
    if not found or found.group(1) < "1971":
        return 0.0
    zone = (found.group(2) or "Z").replace("Z", "+00:00")
    return datetime.datetime.fromisoformat(found.group(1) + zone).timestamp()


def kept(labels: Mapping[str, str] | None) -> bool:
    return any(label in (labels or {}) for label in KEEP_LABELS)


def _containers(containers: Iterable[Thing], limit: float) -> Iterable[Thing]:
    for each in containers:
        last = max(seconds(each["Created"]), seconds(each["State"].get("FinishedAt")))
        if each["State"]["Status"] in STOPPED and last < limit and not kept(each["Config"].get("Labels")):
            yield each


def _names(image: Thing) -> list[str]:
    """By what it is removed: one with several names only goes name by name."""
    tags = [*(image.get("RepoTags") or []), *(image.get("RepoDigests") or [])]
    return [name for name in tags if "<none>" not in name] or [image["Id"]]


def _unused_images(images: Iterable[Thing], containers: Iterable[Thing]) -> Iterable[Thing]:
    used = {each["Image"] for each in containers}
    for image in images:
        mine = any(tag.startswith(KEEP_TAGS) for tag in image.get("RepoTags") or [])
        if image["Id"] not in used and not mine and not kept((image.get("Config") or {}).get("Labels")):
            yield image


def _unused_networks(networks: Iterable[Thing], containers: Iterable[Thing]) -> Iterable[Thing]:
    # Also those of stopped containers, which could not be started without.
    attached = {
        key
        for each in containers
        for name, network in each["NetworkSettings"]["Networks"].items()
        for key in (name, (network or {}).get("NetworkID"))
    }
    for network in networks:
        free = network["Id"] not in attached and network["Name"] not in attached and not network.get("Containers")
        own = network["Name"] in OWN_NETWORKS or network.get("Ingress")
        if free and not own and not kept(network.get("Labels")):
            yield network


def plan(
    host: Mapping[str, list[Thing]], kinds: Iterable[str], unused: Mapping[str, float], now: float, hours: int
) -> Plan:
    """What goes now, and what is remembered for the next time."""
    limit = now - hours * 3600
    found = Plan()

    def idle(key: str, last: float) -> bool:
        """Since it was first seen without a use, or was last made or named."""
        since = max(min(unused.get(key, now), now), last)
        found.unused[key] = since
        return since <= limit

    left = list(host["containers"])
    if "containers" in kinds:
        gone = list(_containers(left, limit))
        left = [each for each in left if each not in gone]
        found.commands += [["docker", "container", "rm", each["Id"]] for each in gone]
    if "images" in kinds:
        for image in _unused_images(host["images"], left):
            named = seconds((image.get("Metadata") or {}).get("LastTagTime"))
            if idle(image["Id"], named):
                found.commands += [["docker", "image", "rm", name] for name in _names(image)]
    if "networks" in kinds:
        for network in _unused_networks(host["networks"], left):
            if idle(network["Id"], seconds(network.get("Created"))):
                found.commands.append(["docker", "network", "rm", network["Id"]])
    if "build-cache" in kinds:
        found.commands.append(["docker", "builder", "prune", "--force", "--filter", f"until={hours}h"])
    return found


# --- the host ---------------------------------------------------------------------------------------------------------


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def run(*argv: str) -> tuple[int, str]:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=COMMAND_SECONDS)
    return done.returncode, (done.stdout if done.returncode == 0 else done.stderr).strip()


def inspected(kind: str, *listing: str) -> list[Thing]:
    """All of a kind; what vanishes in between is none."""
    code, said = run("docker", kind, "ls", "--quiet", "--no-trunc", *listing)
    if code:
        raise SystemExit(said)
    found: list[Thing] = []
    for each in dict.fromkeys(said.split()):
        code, said = run("docker", kind, "inspect", each)
        found += json.loads(said) if code == 0 else []
    return found


def remembered() -> dict[str, float]:
    try:
        with open(STATE, encoding="utf-8") as file:
            return {str(key): float(value) for key, value in json.load(file).items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}  # then everything is new, which is the safe side


def remember(unused: Mapping[str, float]) -> None:
    os.makedirs(os.path.dirname(STATE), mode=0o755, exist_ok=True)
    with open(f"{STATE}.new", "w", encoding="utf-8") as file:
        json.dump(unused, file)
    os.replace(f"{STATE}.new", STATE)


def main() -> None:
    parser = argparse.ArgumentParser(description="Remove what Docker keeps and nobody uses; never volumes.")
    parser.add_argument("--hours", type=int, required=True, help="how long something has to have been unused")
    parser.add_argument("--show", action="store_true", help="print what would be done, and change nothing")
    parser.add_argument("kinds", nargs="+", choices=KINDS)
    args = parser.parse_args()
    host = {
        "containers": inspected("container", "--all"),
        "images": inspected("image"),
        "networks": inspected("network"),
    }
    now = datetime.datetime.now(datetime.timezone.utc).timestamp()
    chosen = plan(host, args.kinds, remembered(), now, args.hours)
    failed = 0
    for argv in chosen.commands:
        say(" ".join(argv))
        if not args.show:
            code, said = run(*argv)
            if code and not IN_USE.search(said):
                failed = 1
            if code or argv[1] == "builder":
                say(said)
    if not args.show:
        remember(chosen.unused)
    raise SystemExit(failed)


if __name__ == "__main__":
    main()
