#!/usr/bin/python
# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_info
short_description: The backup sets of a host, with age, size, copies and the last verdict
version_added: 0.1.0
author:
  - The shipshape.stack maintainers (@shipshape)
description:
  - Reads what the role C(backup) and the command C(shipshape backup) keep on a host. Nothing is decoded or verified.
attributes:
  check_mode: {support: full, description: Reads only.}
  diff_mode: {support: none, description: There is nothing to compare.}
  idempotent: {support: full, description: Never reports a change.}
  platform: {support: full, platforms: debian, description: Hosts with the role C(backup).}
options:
  config:
    description: Configuration of the command.
    type: path
    default: /etc/shipshape/backup.json
"""

EXAMPLES = r"""
- name: Ask for the sets
  shipshape.stack.backup_info:
  register: backups

- name: Refuse to go on with a backup that is too old
  ansible.builtin.assert:
    that: backups.sets | length > 0 and backups.sets[0].age < 86400
"""

RETURN = r"""
sets:
  description: Complete sets, the newest first. C(age) and C(seconds) are seconds, C(size) is bytes.
  returned: success
  type: list
  elements: dict
  sample:
    - id: 20261126T020000Z
      host: db1
      schedule: daily
      age: 3600.0
      size: 513453
      seconds: 4.2
      copies: 2
      targets: [offsite]
      verified: {at: 1795658400.0, level: restore, verdict: passed}
      artefacts: [postgresql-shop.dump, postgresql-globals.sql]
problems:
  description: Sets that cannot be read, and why.
  returned: success
  type: list
  elements: str
  sample: []
schedules:
  description: How the last run of each schedule went.
  returned: success
  type: dict
  sample: {daily: {ok: true, last_set: 20261126T020000Z, errors: []}}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.shipshape.stack.plugins.module_utils._backup_manifest import BackupError
from ansible_collections.shipshape.stack.plugins.module_utils._backup_sets import Store
from ansible_collections.shipshape.stack.plugins.module_utils._cli_backup import load, sets

ARGUMENT_SPEC: dict[str, Any] = {"config": {"type": "path", "default": "/etc/shipshape/backup.json"}}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    problems: list[str] = []
    try:
        config = load(module.params["config"])
        found = sets(config, problems)
        schedules = Store(config).memory()["schedules"]
    except (BackupError, OSError) as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(changed=False, sets=found, problems=problems, schedules=schedules)


if __name__ == "__main__":
    main()
