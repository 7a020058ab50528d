#!/usr/bin/python
# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: config_files
short_description: Write many configuration files as one validated transaction
version_added: 0.1.0
author:
  - The shipshape.stack maintainers (@shipshape)
description:
  - Templates, files, links, directories and removals in one task and one remote call. Templates are rendered on the
    controller just as M(ansible.builtin.template) renders them.
  - Each file is written to a temporary name and renamed. The commands of O(validate) then judge the whole. If one
    refuses, or anything else fails, every file is put back with content, mode, owner, times, link or absence.
  - A run that is killed is put back by the next call. Files that were changed but whose services were never reloaded
    are reported again, until O(state=confirmed).
  - Never follows a symbolic link in the last part of a path, and none at all in directories that other users may write.
attributes:
  check_mode:
    support: full
    description: Predicts every change, also on a host where users and directories are still to be made. Writes nothing.
  diff_mode:
    support: full
    description: One entry per file for its content, another for mode, owner, group and type if they differ.
  idempotent:
    support: full
    description: Reports a change only if a file changes, or if an earlier change is still unconfirmed.
  platform:
    support: full
    platforms: posix
    description: Linux hosts; O(rollback) needs systemd.
options:
  name:
    description:
      - Names the transaction. Changes of a named one stay pending until O(state=confirmed), so that handlers that
        a killed run lost are notified again.
      - Without it nothing is pending after the call.
    type: str
  files:
    description: What shall be there, or shall not.
    type: list
    elements: dict
    default: []
    suboptions:
      dest: {description: Absolute path., type: str, required: true}
      template: {description: Template to render; searched in the role's C(templates/)., type: str}
      content: {description: Text to write. Lists and dictionaries are written as JSON., type: raw}
      src: {description: File of the controller to copy as it is; searched in the role's C(files/)., type: str}
      link: {description: Target of a symbolic link. It need not exist., type: str}
      vars: {description: "Further variables for O(files[].template).", type: dict, default: {}}
      owner: {description: User name or number. Default is root. Links have none., type: str}
      group: {description: Group name or number. Default is root. Links have none., type: str}
      mode:
        description: Octal and quoted, such as V("0640"). Required for files; the default for directories is V("0755").
        type: raw
      validate:
        description: Command that judges this file alone. V(%s) stands for its temporary path. No shell.
        type: raw
      backup: {description: Keep the old file beside it under a name with the time., type: bool, default: false}
      no_log: {description: Never show the content in a diff nor in a validator's output., type: bool, default: false}
      force: {description: If V(false) an existing file is left as it is., type: bool, default: true}
      state:
        description: What it shall be. Default is V(link) with O(files[].link) and else V(file).
        type: str
        choices: [file, directory, link, absent]
  purge:
    description: Directories whose files and links go, unless O(files) declares them. Their subdirectories stay.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: The directory. If it does not exist there is nothing to remove., type: str, required: true}
      patterns:
        description: Shell patterns of the names to consider. Hidden files need a pattern that starts with a dot.
        type: list
        elements: str
        default: ["*"]
  validate:
    description: Commands, each a string or a list of arguments, that judge the result when all files are in place.
    type: list
    elements: raw
    default: []
  rollback:
    description:
      - Dead-man switch. Unless O(state=confirmed) comes in time, the host itself puts the old files back, even if it
        was rebooted or the controller is gone. A further call while it runs starts the time again.
    type: dict
    suboptions:
      seconds: {description: How long to wait., type: int, required: true}
      command: {description: Command to run when the files are back. String or list; no shell., type: raw}
  payload:
    description: What the action plugin read and rendered. Not for tasks; they give it in O(files).
    type: str
  state:
    description: V(confirmed) takes O(name) only, ends the pending state and cancels the dead-man switch.
    type: str
    choices: [applied, confirmed]
    default: applied
notes:
  - An entry without O(files[].owner) or O(files[].group) belongs to root; it does not keep another owner.
  - O(files[].state=absent) removes a directory with all that is in it.
  - The journals are in C(/var/lib/shipshape/config_files), and the lock that keeps two runs apart.
seealso:
  - module: ansible.builtin.template
  - module: ansible.builtin.copy
"""

EXAMPLES = r"""
- name: Write the SSH server's configuration
  shipshape.stack.config_files:
    name: sshd
    files:
      - dest: /etc/ssh/sshd_config.d/00-shipshape.conf
        template: 00-shipshape.conf.j2
        mode: "0600"
    validate: [sshd -t]
    rollback: {seconds: 120, command: systemctl reload ssh}
  register: __sshd_files
  notify: [Reload sshd, Confirm sshd]

# The last handler
- name: Confirm sshd
  shipshape.stack.config_files:
    name: sshd
    state: confirmed

- name: Sites that are declared, and no others
  shipshape.stack.config_files:
    files:
      - {dest: /etc/nginx/sites-available/shop.conf, template: site.conf.j2, mode: "0644", vars: {site: shop}}
      - {dest: /etc/nginx/sites-enabled/shop.conf, link: ../sites-available/shop.conf}
    purge:
      - {path: /etc/nginx/sites-enabled, patterns: ["*.conf"]}
    validate: [nginx -t]
"""

RETURN = r"""
changed_files:
  description: What this call changed, sorted.
  returned: success
  type: list
  elements: str
  sample: [/etc/ssh/sshd_config.d/00-shipshape.conf]
pending_files:
  description: RV(changed_files) and what earlier calls of this name changed and nobody confirmed.
  returned: success
  type: list
  elements: str
  sample: [/etc/ssh/sshd_config.d/00-shipshape.conf]
recovered:
  description: An interrupted run was put back first.
  returned: success
  type: bool
  sample: false
rollback_armed:
  description: The dead-man switch is running.
  returned: success
  type: bool
  sample: true
backup_files:
  description: Copies that O(files[].backup) made.
  returned: success
  type: list
  elements: str
  sample: []
cmd:
  description: The command that refused the result. RV(rc), RV(stdout) and RV(stderr) come with it.
  returned: when validation fails
  type: list
  elements: str
  sample: [sshd, -t]
rc: {description: Its exit status., returned: when validation fails, type: int, sample: 1}
stdout: {description: What it said., returned: when validation fails, type: str, sample: ""}
stderr: {description: What it complained about., returned: when validation fails, type: str, sample: Bad option}
"""

import base64
import grp
import json
import os
import pwd
import signal
import zlib
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.shipshape.stack.plugins.module_utils._config_apply import (
    CommandError,
    Tools,
    converge,
    predict,
)
from ansible_collections.shipshape.stack.plugins.module_utils._config_entries import parse
from ansible_collections.shipshape.stack.plugins.module_utils._config_restore import ConfigError

FILE_SPEC: dict[str, Any] = {
    "dest": {"type": "str", "required": True},
    "template": {"type": "str"},
    "content": {"type": "raw"},
    "src": {"type": "str"},
    "link": {"type": "str"},
    "vars": {"type": "dict", "default": {}},
    "owner": {"type": "str"},
    "group": {"type": "str"},
    "mode": {"type": "raw"},
    "validate": {"type": "raw"},
    "backup": {"type": "bool", "default": False},
    "no_log": {"type": "bool", "default": False},
    "force": {"type": "bool", "default": True},
    "state": {"type": "str", "choices": ["file", "directory", "link", "absent"]},
}
ARGUMENT_SPEC: dict[str, Any] = {
    "name": {"type": "str"},
    "files": {"type": "list", "elements": "dict", "default": [], "options": FILE_SPEC},
    "purge": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "path": {"type": "str", "required": True},
            "patterns": {"type": "list", "elements": "str", "default": ["*"]},
        },
    },
    "validate": {"type": "list", "elements": "raw", "default": []},
    "rollback": {
        "type": "dict",
        "options": {"seconds": {"type": "int", "required": True}, "command": {"type": "raw"}},
    },
    "state": {"type": "str", "choices": ["applied", "confirmed"], "default": "applied"},
    # What the action plugin rendered, all of it in one parameter that nothing ever shows.
    "payload": {"type": "str", "no_log": True},
}


def user(name: str) -> int | None:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return int(name) if name.isdigit() else None


def group(name: str) -> int | None:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return int(name) if name.isdigit() else None


def unpack(payload: str | None) -> dict[str, bytes]:
    packed = json.loads(zlib.decompress(base64.b64decode(payload))) if payload else {}
    return {dest: base64.b64decode(content) for dest, content in packed.items()}


def stop(number: int, _frame: Any) -> None:
    raise ConfigError(f"stopped by signal {number}; the files that were there before are back")


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, stop)  # a lost connection or Ctrl-C: put everything back now, not with the next run
    try:
        request = parse(module.params, unpack(module.params["payload"]), user, group)
        result = (predict if module.check_mode else converge)(request, Tools())
    except CommandError as exc:
        module.fail_json(msg=f"{exc}. All files are as they were.", **exc.result)
    except ConfigError as exc:
        module.fail_json(msg=str(exc))
    except OSError as exc:
        where = f"{exc.filename}: " if exc.filename else ""
        hint = "Put that right and run it again." if os.geteuid() == 0 else "Run it with become: true."
        module.fail_json(msg=f"{where}{exc.strerror}; all files are as they were. {hint}")
    if not module._diff:
        del result["diff"]
    module.exit_json(**result)


if __name__ == "__main__":
    main()
