# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where rclone finds a repository, what lies in it, and whom age encrypts for.

Pure functions: no I/O and no Ansible imports. Of a set the host's name, the schedule and the id are the folder,
HOST/SCHEDULE/ID/, as a host that only encrypts cannot read its own manifests. The manifest goes there last, and makes
it a set.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

from . import _backup_manifest as manifest
from ._backup_manifest import BackupError

REMOTE = "shipshape"
AGE = ".age"
SFTP = re.compile(r"sftp:(?!//)(?:(?P<user>[^@:/]+)@)?(?P<host>[^:/@]+):(?P<path>.+)")
SFTP_URL = re.compile(r"sftp://(?:(?P<user>[^@:/]+)@)?(?P<host>[^:/@]+)(?::(?P<port>[0-9]+))?/(?P<path>.+)")
S3 = re.compile(r"s3:(?P<scheme>https?://)?(?P<host>[^/@]+)/(?P<path>[^/].*)")
AMAZON = re.compile(r"s3[.-](?:(?P<region>[a-z0-9-]+)\.)?amazonaws\.com")
# S3 takes 10000 parts of an upload whose size is not told before.
PARTS, PART = 9000, 5 << 20
BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


@dataclass(frozen=True)
class Remote:
    """The root as rclone calls it, and what its environment has to say about it."""

    root: str
    environment: Mapping[str, str] = field(default_factory=dict)
    kind: str = "local"


def remote(repository: str, given: Mapping[str, str]) -> Remote:
    """From the syntax of restic. `given` is what the user's environment has: it decides where both say something."""
    if repository.startswith("/"):
        return Remote(repository.rstrip("/") or "/")
    if match := SFTP.fullmatch(repository) or SFTP_URL.fullmatch(repository):
        found = {key: value for key, value in match.groupdict().items() if value and key != "path"}
        # Without a file of known hosts rclone would take any host for the right one.
        found |= {"known_hosts_file": "/root/.ssh/known_hosts", "shell_type": "none", "disable_hashcheck": "true"}
        return Remote(f"{REMOTE}:{match['path']}", _environment("sftp", found, given), "sftp")
    if match := S3.fullmatch(repository):
        amazon = AMAZON.fullmatch(match["host"])
        found = {"provider": "AWS" if amazon else "Other", "env_auth": "true"}
        found["endpoint"] = (match["scheme"] or "https://") + match["host"]
        region = given.get("AWS_DEFAULT_REGION") or given.get("AWS_REGION") or (amazon["region"] if amazon else "")
        return Remote(
            f"{REMOTE}:{match['path'].rstrip('/')}", _environment("s3", {**found, "region": region}, given), "s3"
        )
    raise BackupError(
        f"{repository!r} is no repository: give a folder (/srv/x), sftp:user@host:/folder or s3:https://host/bucket"
    )


def _environment(kind: str, found: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    own = {f"RCLONE_CONFIG_{REMOTE.upper()}_TYPE": kind}
    for key, value in found.items():
        # What is said for the one remote would win over what the user says for the kind.
        if value and f"RCLONE_{kind.upper()}_{key.upper()}" not in given:
            own[f"RCLONE_CONFIG_{REMOTE.upper()}_{key.upper()}"] = value
    return own


def part_size(size: int) -> int:
    """Of the parts of an upload, so that there are not too many; rclone holds four of them in memory."""
    return max(PART, ((size // PARTS >> 20) + 1) << 20)


def place(host: str, schedule: str, name: str) -> str:
    return f"{folder_of(host)}/{schedule}/{name}"


def folder_of(host: str) -> str:
    found = quote(host, safe="")
    return found if found.strip(".") else found.replace(".", "%2E")


@dataclass(frozen=True)
class Listing:
    """Sets by id, oldest first, and the folders of uploads that were not finished."""

    sets: Mapping[str, dict[str, Any]]
    halves: tuple[str, ...]


def listing(paths: Iterable[str]) -> Listing:
    """From the paths of all files, HOST/SCHEDULE/ID/FILE. What is called otherwise is somebody else's."""
    folders: dict[str, set[str]] = {}
    for path in paths:
        parts = path.split("/")
        if len(parts) == 4 and manifest.is_id(parts[2]):
            folders.setdefault("/".join(parts[:3]), set()).add(parts[3])
    sets, halves = {}, []
    for folder, files in folders.items():
        host, schedule, name = folder.split("/")
        if files & {manifest.FILE, manifest.FILE + AGE}:
            encrypted = manifest.FILE + AGE in files
            sets[name] = {"id": folder, "hostname": unquote(host), "schedule": schedule, "encrypted": encrypted}
        else:
            halves.append(folder)
    return Listing(dict(sorted(sets.items())), tuple(sorted(halves)))


def recipient_problem(value: str) -> str:
    """Empty for a public key of age. Its checksum tells a mistyped one before anything is encrypted for nobody."""
    if value.upper().startswith("AGE-SECRET-KEY-"):
        # Not shown: it is the secret that must not be on the host.
        return "is a secret key: give the public one that begins with age1, and take the secret off this host"
    good = re.fullmatch(f"age1[{BECH32}]{{58}}", value) and _checksum("age", value[4:]) == 1
    return "" if good else f"is {value!r}: a public key of age, such as age-keygen prints (age1 and 58 characters)"


def _checksum(prefix: str, data: str) -> int:
    """Of Bech32 (BIP 173): 1 where it is right."""
    values = [ord(each) >> 5 for each in prefix] + [0] + [ord(each) & 31 for each in prefix]
    values += [BECH32.index(each) for each in data]
    found = 1
    for value in values:
        top = found >> 25
        found = (found & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(GENERATOR):
            found ^= generator if top >> bit & 1 else 0
    return found
