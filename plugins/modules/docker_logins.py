#!/usr/bin/python
# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_logins
short_description: Log in to all container registries of a host in one call
version_added: 0.1.0
author:
  - The shipshape.stack maintainers (@shipshape)
description:
  - Compares Docker's C(config.json) with what is wanted, and calls C(docker login) only for what differs. The registry
    has to accept the login, or the task fails.
  - The password is written to the client's standard input. It is in no argument, environment, log or output. Docker
    keeps it in C(config.json) as base64, which is no encryption; that file gets mode 0600.
  - Registries that are not named are left alone.
requirements:
  - docker on the host
attributes:
  check_mode:
    support: full
    description: Predicts the logins without trying them.
  diff_mode:
    support: none
    description: The result names the registries.
  idempotent:
    support: full
    description: A login that is stored with the same user and password is not repeated.
  platform:
    support: full
    platforms: posix
    description: Docker 20 and later.
options:
  logins:
    description: Registries to be logged in to, or out of.
    type: list
    elements: dict
    required: true
    suboptions:
      registry: {description: "C(HOST) or C(HOST:PORT); V(docker.io) for Docker Hub.", type: str, required: true}
      username: {description: Who logs in., type: str}
      state:
        description: V(absent) logs out.
        type: str
        choices: [present, absent]
        default: present
  passwords:
    description: Password or token of each by its registry.
    type: dict
    default: {}
  folder:
    description: Where C(config.json) is.
    type: path
    default: /root/.docker
seealso:
  - module: community.docker.docker_login
"""

EXAMPLES = r"""
- name: Log in to the registry of the shop
  shipshape.stack.docker_logins:
    logins:
      - {registry: registry.example.org, username: deploy}
      - {registry: old.example.org, state: absent}
    passwords:
      registry.example.org: "{{ vault_registry_token }}"
"""

RETURN = r"""
logged_in:
  description: Registries that were logged in to.
  type: list
  elements: str
  returned: success
  sample: [registry.example.org]
logged_out:
  description: Registries that were logged out of.
  type: list
  elements: str
  returned: success
  sample: [old.example.org]
"""

import os
import stat

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.shipshape.stack.plugins.module_utils._docker_logins import LoginError, plan

ARGUMENT_SPEC = {
    "logins": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "registry": {"type": "str", "required": True},
            "username": {"type": "str"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
    },
    "passwords": {"type": "dict", "default": {}, "no_log": True},
    "folder": {"type": "path", "default": "/root/.docker"},
}


def read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def open_to_others(path: str) -> bool:
    return os.path.exists(path) and bool(stat.S_IMODE(os.stat(path).st_mode) & 0o077)


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    folder, passwords = module.params["folder"], module.params["passwords"]
    path = os.path.join(folder, "config.json")
    try:
        steps = plan(read(path), module.params["logins"], passwords)
    except LoginError as exc:
        module.fail_json(msg=f"{path}: {exc}")
    exposed = open_to_others(path)
    if not module.check_mode:
        os.umask(0o077)
        if exposed:
            os.chmod(path, 0o600)
        for step in steps:
            password = passwords.get(step.registry, "")
            code, out, err = module.run_command(step.argv(folder), data=password if step.login else None)
            if code:
                said = (err or out).strip()
                module.fail_json(
                    msg=f"{step.registry} refuses the login of {step.username}: "
                    f"{said.replace(password, '********') if password else said}"
                )
    module.exit_json(
        changed=exposed or bool(steps),
        logged_in=[step.registry for step in steps if step.login],
        logged_out=[step.registry for step in steps if not step.login],
    )


if __name__ == "__main__":
    main()
