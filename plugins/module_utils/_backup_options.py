# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the options of the role backup to the configuration of the command, and what is refused of them.

Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import _pitr_config
from ._backup_config import problems as config_problems
from ._backup_copy_rules import RESTIC

METRICS = "/var/lib/prometheus/node-exporter/shipshape_backup.prom"


def config(options: Mapping[str, Any], secrets: str = "/etc/shipshape/backup") -> dict[str, Any]:
    """What is written to backup.json. A schedule that nothing has would run in vain, and fail for it."""
    used = {name for each in options["backup_components"] for name in each.get("schedules", ["daily"])}
    environments = options["backup_copy_environments"]
    return {
        "host": options["backup_host_name"],
        "folder": options["backup_folder"],
        "metrics_file": METRICS,
        "components": list(options["backup_components"]),
        "schedules": {name: each for name, each in options["backup_schedules"].items() if name in used},
        "min_verified": options["backup_min_verified"],
        "copies": [
            {
                **each,
                "schedules": [name for name in each.get("schedules", ["daily"]) if name in used],
                "password_file": f"{secrets}/{each['name']}.password" if _has_password(each) else "",
                "environment_file": f"{secrets}/{each['name']}.environment" if each["name"] in environments else "",
            }
            for each in options["backup_copies"]
        ],
        "copies_min": options["backup_copies_min"],
        "apps": list(options["backup_apps"]),
        "notify": dict(options["backup_notify"]),
        "drill": dict(options["backup_drill"]),
        "rto_seconds": options["backup_rto_seconds"],
        "rpo_seconds": options["backup_rpo_seconds"],
        **({"pitr": _pitr_config.config(options)} if options.get("backup_pitr") else {}),
    }


def problems(options: Mapping[str, Any]) -> list[str]:
    """All that is wrong, without any secret."""
    if options.get("backup_state") == "absent":
        return []
    found = [f"backup_{line}" for line in config_problems(config(options))]
    named = {each["name"] for each in options["backup_copies"]}
    encrypted = {each["name"] for each in options["backup_copies"] if _has_password(each)}
    for name in sorted(encrypted - set(options["backup_copy_passwords"])):
        found.append(f"backup_copy_passwords has no {name}: a repository is encrypted by a password")
    for name in sorted(set(options["backup_copy_passwords"]) & (named - encrypted)):
        found.append(f"backup_copy_passwords.{name} has no use: the copy is made by rclone; give age_recipients")
    for key in ("backup_copy_passwords", "backup_copy_environments"):
        found += [f"{key}.{name} belongs to none of backup_copies" for name in sorted(set(options[key]) - named)]
    known = set(options["backup_schedules"])
    for each in options["backup_copies"]:
        for name in sorted(set(each.get("schedules", [])) - known):
            found.append(f"backup_copies: {each['name']} names the schedule {name!r}, which is not in backup_schedules")
    return found + _pitr_config.problems(options)


def _has_password(copy: Mapping[str, Any]) -> bool:
    return bool(copy.get("tool", RESTIC) == RESTIC)


def secret_files(
    name: str, passwords: Mapping[str, str], environments: Mapping[str, Mapping[str, str]], folder: str
) -> list[dict[str, Any]]:
    """The files of one copy, as config_files takes them."""
    found = [(f"{folder}/{name}.password", f"{passwords[name]}\n")] if name in passwords else []
    if name in environments:
        found.append((f"{folder}/{name}.environment", "".join(f"{k}={v}\n" for k, v in environments[name].items())))
    return [{"dest": dest, "content": content, "mode": "0600", "no_log": True} for dest, content in found]
