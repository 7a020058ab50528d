# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a verification: what the module takes, and what the command leaves at its default.

Pure: no I/O and no Ansible imports.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ._backup_manifest import BackupError
from ._verify_model import FAILED, FINDINGS, LEVELS, TYPES, UNVERIFIED

WORK = "/var/lib/shipshape/verify"
DECRYPT = {"identity_file": {"type": "path"}, "password_file": {"type": "path"}}
COPY = {"path": {"type": "path", "required": True}}
CHECK = {
    "name": {"type": "str", "required": True},
    "query": {"type": "str", "required": True},
    "expect": {"type": "str"},
    "max_age": {"type": "int"},
    "database": {"type": "str", "default": ""},
}
IGNORE = {"id": {"type": "str", "required": True}, "reason": {"type": "str", "required": True}}
ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "path": {"type": "path", "required": True},
    "select": {"type": "str", "choices": ["newest", "all"], "default": "newest"},
    "type": {"type": "str", "choices": list(TYPES), "default": "auto"},
    "level": {"type": "str", "choices": list(LEVELS), "default": "decode"},
    "max_age": {"type": "int", "default": 0},
    "min_size": {"type": "int", "default": 0},
    "size_tolerance": {"type": "int", "default": 0},
    "checksum": {"type": "str", "default": ""},
    "copies": {"type": "list", "elements": "dict", "default": [], "options": COPY},
    "min_copies": {"type": "int", "default": 1},
    "globals_path": {"type": "path", "default": ""},
    "manifest": {"type": "path", "default": ""},
    "expected_database": {"type": "str", "default": ""},
    "expected_version": {"type": "str", "default": ""},
    "allow_empty": {"type": "bool", "default": False},
    "group_readable": {"type": "bool", "default": False},
    "contains": {"type": "list", "elements": "str", "default": []},
    "decrypt": {"type": "dict", "default": {}, "options": DECRYPT},
    "read_percent": {"type": "int", "default": 100},
    "work_dir": {"type": "path", "default": WORK},
    "timeout": {"type": "int", "default": 3600},
    "checks": {"type": "list", "elements": "dict", "default": [], "options": CHECK},
    "row_tolerance": {"type": "int", "default": 0},
    "amcheck": {"type": "bool", "default": True},
    "rto_budget": {"type": "int", "default": 0},
    "history_path": {"type": "path", "default": ""},
    "metrics_path": {"type": "path", "default": ""},
    "ignore": {"type": "list", "elements": "dict", "default": [], "options": IGNORE},
    "fail_on": {
        "type": "list",
        "elements": "str",
        "choices": [FAILED, UNVERIFIED],
        "default": [FAILED, UNVERIFIED],
    },
}
DEFAULTS: dict[str, Any] = {
    key: each["default"] for key, each in ARGUMENT_SPEC.items() if key not in ("path", "fail_on")
}


def refuse_wrong(options: Mapping[str, Any]) -> None:
    """What a specification of arguments cannot say."""
    for each in options["ignore"]:
        if each["id"] not in FINDINGS:
            raise BackupError(f"ignore: {each['id']!r} is no finding; see docs/backup_verify.md for their list")
        if not each.get("reason", "").strip():
            raise BackupError(f"ignore: {each['id']} has no reason: say why, for whoever reads this in a year")
    for key in ("row_tolerance", "size_tolerance"):
        if not 0 <= options[key] <= 100:
            raise BackupError(f"{key} is {options[key]}: it is a percentage, from 0 to 100")
    if not 1 <= options["read_percent"] <= 100:
        raise BackupError(f"read_percent is {options['read_percent']}: it is a percentage, from 1 to 100")
    for key in ("max_age", "min_size", "rto_budget"):
        if options[key] < 0:
            raise BackupError(f"{key} is {options[key]}: it cannot be negative")
    for check in options["checks"]:
        if (check.get("expect") is None) == (check.get("max_age") is None):
            raise BackupError(f"checks: {check['name']!r} needs one of expect and max_age")
    if options["timeout"] <= 0:
        raise BackupError(f"timeout is {options['timeout']}: give it some seconds")
