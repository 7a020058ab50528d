#!/usr/bin/python
# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_objects
short_description: Roles, databases, grants and extensions of a PostgreSQL cluster in one call
version_added: 0.1.0
author:
  - The shipshape.stack maintainers (@shipshape)
description:
  - Compares all that is declared with the catalog, and changes what differs, in one task and one remote call.
  - What cannot work is refused before anything is changed, with every reason in one message.
  - Roles are changed in one transaction, and the contents of each database in one more. A run that was killed is
    completed by the next one.
  - Passwords are compared with what the server has stored, and become SCRAM-SHA-256 verifiers before they are sent. No
    command line, log or statistics view has one.
attributes:
  check_mode:
    support: full
    description: >-
      Predicts every change from the same plan. Where no server answers yet, all is predicted to be created; extensions
      that are not installed or preloaded yet give a warning.
  diff_mode:
    support: full
    description: One line for each change; no passwords.
  idempotent:
    support: full
    description: Reports a change only if something in the catalog changes.
  platform:
    support: full
    platforms: debian
    description: PostgreSQL 13 and later; the host needs python3-psycopg (version 3), and psql for schema files.
options:
  port: {description: Port of the cluster; it is part of the socket's name., type: int, default: 5432}
  socket_directory: {description: Where the socket is., type: path, default: /var/run/postgresql}
  login_user:
    description:
      - Superuser to work as. Run as root, the module connects with the rights of the account of this name, or of
        C(postgres) where there is none, so peer authentication is enough.
    type: str
    default: postgres
  roles:
    description: Roles of the cluster. Others are left alone, and so are their privileges.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Name., type: str, required: true}
      state:
        description: >-
          V(absent) takes its privileges and the role. One that owns something is refused.
        type: str
        choices: [present, absent]
        default: present
      password:
        description: Password, or a SCRAM-SHA-256 verifier. Left out, it stays as it is. See also O(passwords).
        type: str
      login: {description: May log in., type: bool, default: true}
      superuser: {description: May do everything., type: bool, default: false}
      createdb: {description: May create databases., type: bool, default: false}
      createrole: {description: May create roles., type: bool, default: false}
      replication: {description: May stream the whole cluster., type: bool, default: false}
      connection_limit: {description: "Sessions at once, -1 for any number. Left out, it stays.", type: int}
      member_of: {description: "Its groups, and no others. Left out, they stay.", type: list, elements: str}
      settings: {description: "What its sessions start with, and nothing else. Left out, it stays.", type: dict}
      valid_until: {description: "When its password ends, in UTC, or V(infinity). Left out, it stays.", type: str}
  passwords:
    description: Passwords by role, as in O(roles[].password). Nothing shows this parameter.
    type: dict
  databases:
    description: Databases of the cluster. Others are left alone.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Name., type: str, required: true}
      state:
        description: V(absent) drops it with all that is in it, and needs O(databases[].confirm_drop).
        type: str
        choices: [present, absent]
        default: present
      confirm_drop: {description: The database's name once more., type: str}
      owner:
        description: >-
          Owns the database, and schema public with it. Left out, it stays; O(login_user) owns a new one.
        type: str
      encoding: {description: Of a new database; another one is refused., type: str, default: UTF8}
      locale: {description: Stands for the next two., type: str}
      lc_collate: {description: Order of text in a new database; another one is refused., type: str}
      lc_ctype: {description: Kinds of characters in a new database; another one is refused., type: str}
      template: {description: What a new database is a copy of., type: str, default: template0}
      connection_limit: {description: "Sessions at once, -1 for any number. Left out, it stays.", type: int}
      settings: {description: "What its sessions start with, and nothing else. Left out, it stays.", type: dict}
      extensions:
        description: >-
          Names, or dictionaries of C(name), C(schema) and C(version). An installed one is updated only to the version
          that is given, or to the newest one with V(latest).
        type: list
        elements: raw
        default: []
      schemas:
        description: Schemas beside public.
        type: list
        elements: dict
        default: []
        suboptions:
          name: {description: Name., type: str, required: true}
          owner: {description: Owner; the database's where it is left out., type: str}
      schema_content:
        description:
          - SQL text that is imported once by psql as O(databases[].owner), into a database without tables, as a whole
            or not at all. It must not end its transaction itself.
        type: str
      readers:
        description: >-
          Roles that may read all tables and sequences of public, of O(databases[].schemas) and of the owner's other
          schemas, also those that the owners create later.
        type: list
        elements: str
        default: []
      writers:
        description: Roles that may also insert, update and delete rows, and use sequences.
        type: list
        elements: str
        default: []
      revoke_public:
        description: Whether everybody loses CONNECT and TEMPORARY on the database and CREATE on schema public.
        type: bool
        default: true
notes:
  - A role of O(roles) that is neither reader nor writer of a database loses there what readers and writers get, whoever
    gave it. Other privileges (TRUNCATE, single columns, functions) and other roles' are left alone.
  - Objects that another role than an owner creates are readable after the next run.
seealso:
  - module: community.postgresql.postgresql_privs
"""

EXAMPLES = r"""
- name: Declare the shop's database
  shipshape.stack.postgresql_objects:
    roles:
      - {name: shop}
      - {name: shop_report, connection_limit: 5, settings: {statement_timeout: 30s}}
    passwords:
      shop: "{{ shop_password }}"
      shop_report: "{{ report_password }}"
    databases:
      - name: shop
        owner: shop
        locale: C.UTF-8
        extensions: [pgcrypto, {name: pg_stat_statements, version: latest}]
        readers: [shop_report]
        schema_content: "{{ lookup('ansible.builtin.file', 'shop.sql') }}"

- name: Drop the old one and its role
  shipshape.stack.postgresql_objects:
    roles: [{name: old, state: absent}]
    databases: [{name: old, state: absent, confirm_drop: old}]
"""

RETURN = r"""
steps:
  description: What was changed, or would be; C(+) came and C(-) went.
  returned: success
  type: list
  elements: str
  sample: ["+ role shop: login", "- database shop: everybody may CONNECT, TEMPORARY"]
imported:
  description: Databases whose schema file was imported.
  returned: success
  type: list
  elements: str
  sample: [shop]
"""

import os
import signal
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.shipshape.stack.plugins.module_utils._postgresql_catalog import read
from ansible_collections.shipshape.stack.plugins.module_utils._postgresql_model import (
    Catalog,
    ObjectsError,
    Step,
    Wanted,
)
from ansible_collections.shipshape.stack.plugins.module_utils._postgresql_objects import plan, remarks
from ansible_collections.shipshape.stack.plugins.module_utils._postgresql_refusals import lacking, refuse
from ansible_collections.shipshape.stack.plugins.module_utils._postgresql_server import Server
from ansible_collections.shipshape.stack.plugins.module_utils._postgresql_wanted import parse

STATE = {"type": "str", "choices": ["present", "absent"], "default": "present"}
NO: dict[str, Any] = {"type": "bool", "default": False}
NAMES = {"type": "list", "elements": "str", "default": []}
ROLE_SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "state": STATE,
    "password": {"type": "str", "no_log": True},
    "login": {"type": "bool", "default": True},
    "superuser": NO,
    "createdb": NO,
    "createrole": NO,
    "replication": NO,
    "connection_limit": {"type": "int"},
    "member_of": {"type": "list", "elements": "str"},
    "settings": {"type": "dict"},
    "valid_until": {"type": "str"},
}
DATABASE_SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "state": STATE,
    "confirm_drop": {"type": "str"},
    "owner": {"type": "str"},
    "encoding": {"type": "str", "default": "UTF8"},
    "locale": {"type": "str"},
    "lc_collate": {"type": "str"},
    "lc_ctype": {"type": "str"},
    "template": {"type": "str", "default": "template0"},
    "connection_limit": {"type": "int"},
    "settings": {"type": "dict"},
    "extensions": {"type": "list", "elements": "raw", "default": []},
    "schemas": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"name": {"type": "str", "required": True}, "owner": {"type": "str"}},
    },
    "schema_content": {"type": "str", "no_log": True},
    "readers": NAMES,
    "writers": NAMES,
    "revoke_public": {"type": "bool", "default": True},
}
ARGUMENT_SPEC: dict[str, Any] = {
    "port": {"type": "int", "default": 5432},
    "socket_directory": {"type": "path", "default": "/var/run/postgresql"},
    "login_user": {"type": "str", "default": "postgres"},
    "roles": {"type": "list", "elements": "dict", "default": [], "options": ROLE_SPEC},
    "passwords": {"type": "dict", "no_log": True},
    "databases": {"type": "list", "elements": "dict", "default": [], "options": DATABASE_SPEC},
}


class Module(AnsibleModule):
    """Ansible writes the parameters into the journal, and overlooks a nested secret that has a quote or a backslash."""

    def log(self, msg: Any, log_args: Any = None) -> None:
        super().log("Invoked; its parameters may hold secrets")


def stop(number: int, _frame: Any) -> None:
    raise ObjectsError(f"Stopped by signal {number}; the next run goes on")


def told(steps: list[Step]) -> dict[str, Any]:
    before = "".join(f"{step.before}\n" for step in steps if step.before)
    after = "".join(f"{step.after}\n" for step in steps if step.after)
    header = {"before_header": "PostgreSQL", "after_header": "PostgreSQL"}
    return {
        "changed": bool(steps),
        "steps": list(map(str, steps)),
        "imported": [step.database for step in steps if step.script is not None],
        "diff": {**header, "before": before, "after": after},
    }


def judge(module: AnsibleModule, server: Server, current: Catalog, wanted: Wanted) -> list[Step]:
    """The plan, once nothing speaks against it."""
    refuse(current, wanted)
    lacks = lacking(current, wanted)
    if lacks and not module.check_mode:
        raise ObjectsError("; ".join(lacks))
    for remark in [*lacks, *remarks(current, wanted)]:
        module.warn(remark)
    steps = plan(current, wanted)
    problems = server.setting_problems(steps) if current.reachable else []
    if steps and current.standby:
        problems.append("this server is a standby: roles and databases come from its primary, so declare them there")
    if problems:
        raise ObjectsError("; ".join(problems))
    return steps


def reconcile(module: AnsibleModule, server: Server, wanted: Wanted) -> dict[str, Any]:
    missing = server.missing()
    if missing and not module.check_mode:
        raise ObjectsError(missing)
    if module.check_mode:
        return told(judge(module, server, Catalog(reachable=False) if missing else read(server, wanted), wanted))
    server.lock()
    steps = judge(module, server, read(server, wanted), wanted)
    done = server.apply(steps)
    if any(step.alone or step.script for step in done):
        # What a template or a schema file brought along.
        done += server.apply(plan(read(server, wanted), wanted))
    return told(done)


def main() -> None:
    module = Module(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, stop)
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]  # libpq would go somewhere else
    params = module.params
    try:
        wanted = parse(params)
        with Server(params["port"], params["socket_directory"], params["login_user"]) as server:
            result = reconcile(module, server, wanted)
    except ObjectsError as exc:
        module.fail_json(msg=str(exc))
    if not module._diff:
        del result["diff"]
    module.exit_json(**result)


if __name__ == "__main__":
    main()
