# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release of an app: its id, which follows from all that defines it, and its manifest.

Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from ._app_compose import infra_document, service_names, slot_document
from ._app_model import normal

RELEASE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,59}-[0-9a-f]{12}")
# So many that guessing a secret by its release's id takes long, and a run does not.
ROUNDS = 200_000


def release_id(app: Mapping[str, Any], images: Mapping[str, str], secrets: Mapping[str, Mapping[str, str]]) -> str:
    """The version of the first service, and a hash of all that defines the containers.

    How they are rolled out, checked and reached is no part of it: a change of those starts nothing anew.
    """
    made = normal(app)
    ports = dict.fromkeys(service_names(made, "a", ["web"]), 0)
    defining = {
        "slot": slot_document(made, "a", images, ports, "", ""),
        "infra": infra_document(made, images, ""),
        "static": made["static"],
        "secrets": _digest_of(made["name"], secrets),
    }
    return f"{clean_version(made)}-{hashlib.sha256(_canonical(defining)).hexdigest()[:12]}"


def clean_version(app: Mapping[str, Any]) -> str:
    """The version of the first service, as a part of a file's name and of an image's tag."""
    first = app["services"][0]
    text = re.sub(r"[^A-Za-z0-9._-]+", "-", str(first.get("version") or str(first.get("digest"))[7:19]))
    return text[:60].lstrip(".-").rstrip("-") or "release"


def image_tag(app: Mapping[str, Any], service: str, release: str) -> str:
    """The name that keeps the image of a release from being pruned."""
    return f"shipshape/{app['name']}/{service}:{release}"


def manifest(
    app: Mapping[str, Any],
    release: str,
    images: Mapping[str, str],
    compose: str,
    run: Mapping[str, Any],
    now: str,
    backup_id: str = "",
) -> dict[str, Any]:
    """What is kept of a release: what it is, who made it and when. `compose` is the text of its document.

    `revision`, that of the schema, is known only after the migration.
    """
    made = normal(app)
    return {
        "app": made["name"],
        "release": release,
        "versions": {service["name"]: service["version"] or service["digest"] for service in made["services"]},
        "images": dict(images),
        "compose_sha256": hashlib.sha256(compose.encode()).hexdigest(),
        "contract": bool(made["migrate"] and made["migrate"]["contract"]),
        "migrated": False,
        "revision": "",
        "backup_id": backup_id,
        "by": str(run.get("by") or ""),
        "job": str(run.get("job") or ""),
        "controller": str(run.get("controller") or ""),
        "prepared": now,
    }


def _digest_of(name: str, secrets: Mapping[str, Mapping[str, str]]) -> str:
    plain = {service: {key: str(value) for key, value in own.items()} for service, own in secrets.items() if own}
    return hashlib.pbkdf2_hmac("sha256", _canonical(plain), f"stack.shipshape.{name}".encode(), ROUNDS).hex()


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
