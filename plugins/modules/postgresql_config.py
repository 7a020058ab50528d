#!/usr/bin/python
# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_config
short_description: Tune and configure a PostgreSQL cluster as one validated transaction
version_added: 0.2.0
author:
  - The shipshape.stack maintainers (@shipshape)
description:
  - Measures the machine, works the settings out, and writes them, C(pg_hba.conf) and C(pg_ident.conf) in one remote
    call. Creates the cluster with C(pg_createcluster) where it is missing, and starts it where it does not run.
  - Every change is tried first, on a server of its own with an empty data directory. What that one refuses never
    reaches the files of the real one.
  - Reloads, and restarts only where a changed setting needs it. Success is an answer to a query with the new values. A
    server that does not come up gets its old files back.
attributes:
  check_mode: {support: full, description: Tries the new files on the scratch server. Changes nothing.}
  diff_mode: {support: full, description: Each file.}
  idempotent:
    support: full
    description: Memory within 3 % and free room within a factor of 2 of what the file records count as unchanged.
  platform: {support: full, platforms: posix, description: Debian and Ubuntu with postgresql-common and systemd.}
options:
  version: {description: Major version of PostgreSQL whose packages are installed., type: int, required: true}
  cluster: {description: Name of the cluster., type: str, default: main}
  data_directory: {description: Where a missing cluster is created. Default is Debian's., type: path}
  initdb_options:
    description: Options for C(initdb) where the cluster is missing.
    type: list
    elements: str
    default: []
  tuning:
    description: Whether the settings are worked out from the machine. See C(docs/tuning.md).
    type: str
    choices: [auto, none]
    default: auto
  profile:
    description: What the server is used for.
    type: str
    choices: [web, oltp, dw, mixed]
    default: mixed
  connections: {description: Clients at the same time that are wanted. Default by O(profile)., type: int}
  memory_mb: {description: PostgreSQL's share of the memory in MiB. Default is what the others leave., type: int}
  claims_mb: {description: Memory that others on this host claim in MiB., type: int, default: 0}
  settings:
    description: Settings by name. They win over the worked out ones; V(null) leaves a setting to PostgreSQL.
    type: dict
    default: {}
  hba:
    description: Rules of C(pg_hba.conf), the first that fits decides. The file is not touched without them.
    type: list
    elements: dict
    suboptions:
      type: {description: Kind of connection., type: str, required: true}
      databases: {description: Databases., type: list, elements: str, default: [all]}
      users: {description: Roles., type: list, elements: str, default: [all]}
      address: {description: Network or host name; not for V(local)., type: str}
      method: {description: How the client proves who it is., type: str, default: scram-sha-256}
      options: {description: Options of the method., type: dict, default: {}}
  ident:
    description: Lines of C(pg_ident.conf). The file is not touched without O(hba).
    type: list
    elements: dict
    default: []
    suboptions:
      map: {description: Name of the map., type: str, required: true}
      system_user: {description: User of the system., type: str, required: true}
      role: {description: Role of the database., type: str, required: true}
  restart:
    description: Whether a setting that needs it may restart the server. V(never) reports it instead, on each run.
    type: str
    choices: [auto, never]
    default: auto
  restart_timeout: {description: Seconds that a stop and a start may take., type: int, default: 300}
notes:
  - Needs psycopg 3 (python3-psycopg), and root.
  - Settings that C(ALTER SYSTEM) wrote win over any file. They are reported, never removed.
seealso:
  - module: shipshape.stack.postgresql_objects
  - module: shipshape.stack.config_files
"""

EXAMPLES = r"""
- name: A tuned server for a web application, with 20 % of the memory left to others
  shipshape.stack.postgresql_config:
    version: 17
    profile: web
    claims_mb: 1600
    settings:
      log_min_duration_statement: 500ms
      shared_preload_libraries: [pg_stat_statements]
    hba:
      - {type: local, users: [postgres], method: peer}
      - {type: hostssl, databases: [shop], users: [shop], address: 10.0.1.0/24}
"""

RETURN = r"""
changed_files: {description: Files that changed., returned: success, type: list, elements: str, sample: []}
created: {description: The cluster was created., returned: success, type: bool, sample: false}
started: {description: The server was started., returned: success, type: bool, sample: false}
reloaded: {description: The server read its files anew., returned: success, type: bool, sample: true}
restarted: {description: The server was restarted., returned: success, type: bool, sample: false}
restart_needed:
  description: Settings that wait for a restart; in check mode those that would need one.
  returned: success
  type: list
  elements: str
  sample: [shared_buffers]
shadowed:
  description: Settings that another file or C(ALTER SYSTEM) decides.
  returned: success
  type: list
  elements: str
  sample: [work_mem]
port: {description: Port that the server runs with now., returned: success, type: int, sample: 5432}
memory: {description: The memory budget in MiB., returned: with O(tuning=auto), type: dict, sample: {"share_mb": 1500}}
settings: {description: What the file says., returned: success, type: dict, sample: {"work_mem": "4MB"}}
"""

import signal
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.shipshape.stack.plugins.module_utils import _postgresql_converge as postgresql
from ansible_collections.shipshape.stack.plugins.module_utils._config_restore import ConfigError
from ansible_collections.shipshape.stack.plugins.module_utils._postgresql_conf import ConfError
from ansible_collections.shipshape.stack.plugins.module_utils._postgresql_hba import HbaError
from ansible_collections.shipshape.stack.plugins.module_utils._postgresql_tuning import TuningError

HBA_SPEC: dict[str, Any] = {
    "type": {"type": "str", "required": True},
    "databases": {"type": "list", "elements": "str", "default": ["all"]},
    "users": {"type": "list", "elements": "str", "default": ["all"]},
    "address": {"type": "str"},
    "method": {"type": "str", "default": "scram-sha-256"},
    "options": {"type": "dict", "default": {}},
}
IDENT_SPEC: dict[str, Any] = {key: {"type": "str", "required": True} for key in ("map", "system_user", "role")}
ARGUMENT_SPEC: dict[str, Any] = {
    "version": {"type": "int", "required": True},
    "cluster": {"type": "str", "default": "main"},
    "data_directory": {"type": "path"},
    "initdb_options": {"type": "list", "elements": "str", "default": []},
    "tuning": {"type": "str", "choices": ["auto", "none"], "default": "auto"},
    "profile": {"type": "str", "choices": ["web", "oltp", "dw", "mixed"], "default": "mixed"},
    "connections": {"type": "int"},
    "memory_mb": {"type": "int"},
    "claims_mb": {"type": "int", "default": 0},
    "settings": {"type": "dict", "default": {}},
    "hba": {"type": "list", "elements": "dict", "options": HBA_SPEC},
    "ident": {"type": "list", "elements": "dict", "default": [], "options": IDENT_SPEC},
    "restart": {"type": "str", "choices": ["auto", "never"], "default": "auto"},
    "restart_timeout": {"type": "int", "default": 300},
}


def stop(number: int, _frame: Any) -> None:
    raise ConfigError(f"stopped by signal {number}")


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, stop)
    try:
        result = postgresql.reconcile(module.params, module.check_mode)
    except (ConfError, HbaError, TuningError) as exc:
        module.fail_json(msg=f"Nothing was changed. {exc}")
    except ConfigError as exc:
        module.fail_json(msg=f"PostgreSQL is as it was. {exc}")
    except OSError as exc:
        module.fail_json(msg=f"PostgreSQL is as it was. {exc.filename or ''}: {exc.strerror}")
    for warning in result.pop("warnings"):
        module.warn(warning)
    if not module._diff:
        result.pop("diff", None)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
