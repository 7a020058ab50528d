#!/usr/bin/python
# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_pitr
short_description: Archive the WAL of a cluster with pgBackRest, for point in time recovery
version_added: 0.1.0
author:
  - The shipshape.stack maintainers (@shipshape)
description:
  - Writes C(/etc/pgbackrest/pgbackrest.conf) and a file in the cluster's C(conf.d), creates the stanza, restarts the
    server once where C(archive_mode) needs it, and proves that a WAL segment arrives in the repository.
  - A repository that had backups and is gone or empty is an error. It is not begun anew.
attributes:
  check_mode: {support: full, description: Predicts changes without making them.}
  diff_mode: {support: full, description: Shows both files without their secrets.}
  idempotent: {support: full, description: A second run changes nothing.}
  platform: {support: full, platforms: debian, description: Clusters of postgresql-common.}
options:
  state:
    description: V(absent) takes archiving back. The repository stays.
    type: str
    choices: [present, absent]
    default: present
  port:
    description: Port of the cluster.
    type: int
    default: 5432
  stanza:
    description: Name of the cluster in the repository.
    type: str
    default: main
  repository:
    description: Folder of the repository, on this host or within the bucket.
    type: path
    default: /var/lib/pgbackrest
  settings:
    description: Other options of pgBackRest, as in its file.
    type: dict
    default: {}
  secrets:
    description: Those that nobody may see, such as C(repo1-cipher-pass) and C(repo1-s3-key-secret).
    type: dict
    default: {}
  days:
    description: How far back any time can be recovered, at least.
    type: int
    default: 7
  archive_timeout:
    description: Seconds after which a WAL segment is archived that is not full.
    type: int
    default: 300
  queue_max:
    description: >-
      How much WAL may wait for a repository that does not take it, such as V(1GiB). What is more is dropped, so that
      the disk does not run full, and C(shipshape backup pitr check) reports it.
    type: str
    default: 1GiB
  restart:
    description: Whether the server may be restarted, where C(archive_mode) has to change.
    type: str
    choices: [auto, never]
    default: auto
"""

EXAMPLES = r"""
- name: Archive the WAL
  shipshape.stack.backup_pitr:
    stanza: db1
    repository: /srv/pgbackrest

- name: Take archiving back
  shipshape.stack.backup_pitr:
    state: absent
"""

RETURN = r"""
done:
  description: What was done, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: ["create the stanza db1", "restart postgresql@17-main.service, as archive_mode needs it"]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.shipshape.stack.plugins.module_utils import _pitr_setup as setup
from ansible_collections.shipshape.stack.plugins.module_utils._backup_manifest import BackupError

ARGUMENT_SPEC: dict[str, Any] = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "port": {"type": "int", "default": 5432},
    "stanza": {"type": "str", "default": "main"},
    "repository": {"type": "path", "default": "/var/lib/pgbackrest"},
    "settings": {"type": "dict", "default": {}},
    "secrets": {"type": "dict", "default": {}, "no_log": True},
    "days": {"type": "int", "default": 7},
    "archive_timeout": {"type": "int", "default": 300},
    "queue_max": {"type": "str", "default": "1GiB"},
    "restart": {"type": "str", "choices": ["auto", "never"], "default": "auto"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    restart = module.params["restart"] == "auto"
    try:
        if module.params["state"] == "present":
            outcome = setup.present(module.params, restart, module.check_mode)
        else:
            outcome = setup.absent(restart, module.check_mode)
    except (BackupError, OSError) as exc:
        module.fail_json(msg=str(exc))
    for warning in outcome.warnings:
        module.warn(warning)
    module.exit_json(changed=bool(outcome.done), done=outcome.done, diff=outcome.diff)


if __name__ == "__main__":
    main()
