# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Apps for the tests: those of docs/apps.md, and small ones to bend."""

from __future__ import annotations

import pathlib
import re

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[4]
PAGE = (ROOT / "docs/apps.md").read_text(encoding="utf-8")
# What a URL, a shell and compose would all take for something else.
SECRET = "S3cret/@:$%{x} "


def secret(name: str) -> str:
    return f"{SECRET}{name}"


def _documented():
    for block in re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
        text = re.sub(r"\{\{ (\w+) \}\}", lambda found: secret(found.group(1)), block)
        yield from yaml.safe_load(text)["apps"]


DOCUMENTED = {app["name"]: app for app in _documented()}


def service(name="web", kind="web", **keys):
    web = {"port": 8000, "health": {"path": "/health"}} if kind == "web" else {}
    return {"name": name, "kind": kind, "image": "registry.example.org/shop", "version": "1.0", **web, **keys}


def app(*services, **keys):
    return {"name": "shop", "services": list(services) or [service()], **keys}


def images(found):
    return {each["name"]: f"registry.example.org/{each['name']}@sha256:{'0' * 64}" for each in found["services"]}
