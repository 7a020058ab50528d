#!/usr/bin/python
# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: sshd_info
short_description: Tells how sshd is really set up, and who can log in
author: The shipshape.stack maintainers (@shipshape)
description:
  - Reads in one call all that a change of C(sshd_config) has to know beforehand and has to prove afterwards - version
    and algorithms, the effective configuration for given users, keys and groups of those users, the connection that
    Ansible came in on, host keys, listeners and socket activation.
options:
  users:
    description:
      - Users for whom the effective configuration, groups and keys are read, besides the one that Ansible logged in as.
        One that the host does not have is left out of RV(users).
    type: list
    elements: str
    default: []
  ports:
    description: Ports whose listeners are looked up.
    type: list
    elements: int
    default: []
  config:
    description: The main configuration file.
    type: path
    default: /etc/ssh/sshd_config
  drop_in:
    description: A file that is read by itself, too, to tell what it alone asks for.
    type: path
attributes:
  check_mode:
    support: full
    description: Reads only.
  diff_mode:
    support: none
    description: Reads only.
  platform:
    platforms: posix
    support: full
    description: Debian and Ubuntu; needs root.
"""

EXAMPLES = r"""
- name: Read what sshd does for the administrator
  shipshape.stack.sshd_info:
    users: [admin, root]
    ports: [22, 2222]
  register: sshd

- name: Refuse passwords that some drop-in keeps on
  ansible.builtin.assert:
    that: sshd.effective.admin.passwordauthentication == ['no']
"""

RETURN = r"""
installed:
  description: Whether the host has sshd; where it has not, the values below are empty.
  returned: always
  type: bool
  sample: true
version:
  description: Version of OpenSSH.
  returned: always
  type: str
  sample: 9.2p1
error:
  description: What C(sshd -t) says of the configuration as it is now; empty where it is accepted.
  returned: always
  type: str
  sample: ""
include_first:
  description: Whether the main file includes the drop-in folder before it sets anything, so that a drop-in wins.
  returned: always
  type: bool
  sample: true
main:
  description: The text of the main file where RV(include_first) is false, for a change of it; else empty.
  returned: always
  type: str
  sample: ""
algorithms:
  description: What this OpenSSH has, by C(kex), C(ciphers), C(macs) and C(host_key).
  returned: always
  type: dict
  sample: {kex: [curve25519-sha256], ciphers: [aes256-ctr], macs: [umac-128@openssh.com], host_key: [ssh-ed25519]}
effective:
  description: The output of C(sshd -T -C user=) by user, lower-case keyword to the list of its values.
  returned: always
  type: dict
  sample: {admin: {port: ["22"], passwordauthentication: ["no"]}}
own:
  description: As RV(effective), for O(drop_in) alone; empty where there is no such file.
  returned: always
  type: dict
  sample: {admin: {port: ["22"], passwordauthentication: ["no"]}}
directives:
  description: Every directive of the main file and the drop-ins with file and line, to name who sets what.
  returned: always
  type: list
  elements: dict
  sample: [{file: /etc/ssh/sshd_config, line: 12, key: include, value: /etc/ssh/sshd_config.d/*.conf}]
users:
  description: Groups and authorized keys (type and bits) of the users that exist.
  returned: always
  type: list
  elements: dict
  sample: [{name: admin, groups: [admin], keys: [{type: ssh-ed25519, bits: 0}], key_files: [], keys_elsewhere: false}]
host_keys:
  description: Path, type and bits of the host keys.
  returned: always
  type: list
  elements: dict
  sample: [{path: /etc/ssh/ssh_host_ed25519_key, type: ed25519, bits: 256}]
listeners:
  description: Processes that listen on the O(ports).
  returned: always
  type: list
  elements: dict
  sample: [{port: 22, process: sshd}]
connection:
  description: The SSH connection that this module came in on, and the account that logged in; null without one.
  returned: always
  type: dict
  sample: {user: admin, client: 192.0.2.7, client_port: 51234, server: 192.0.2.10, server_port: 22}
socket:
  description: Whether C(ssh.socket) is active, and whether systemd makes its ports from sshd_config (Ubuntu 24.04).
  returned: always
  type: dict
  sample: {active: false, generator: false}
"""

import os
from typing import Any, Callable

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.shipshape.stack.plugins.module_utils._sshd_effective import parse
from ansible_collections.shipshape.stack.plugins.module_utils._sshd_host import (
    connection,
    host_keys,
    listeners,
    read_directives,
    read_text,
    user_facts,
)

Run = Callable[..., Any]

ARGUMENT_SPEC: dict[str, Any] = {
    "users": {"type": "list", "elements": "str", "default": []},
    "ports": {"type": "list", "elements": "int", "default": []},
    "config": {"type": "path", "default": "/etc/ssh/sshd_config"},
    "drop_in": {"type": "path"},
}
_QUERIES = {"kex": "kex", "ciphers": "cipher", "macs": "mac", "host_key": "HostKeyAlgorithms"}
_GENERATOR = "/usr/lib/systemd/system-generators/sshd-socket-generator"


def effective_settings(
    run: Run, sshd: str, config: str, users: list[str], session: dict[str, Any]
) -> tuple[dict[str, dict[str, list[str]]], str]:
    """C(sshd -T) for each user as seen from the connection, or the first error."""
    place = "host={client},addr={client},laddr={server},lport={server_port}".format(**session)
    code, _out, err = run([sshd, "-t", "-f", config])
    found = {}
    for user in users:
        if code == 0:
            code, out, err = run([sshd, "-T", "-f", config, "-C", f"user={user},{place}"])
            found[user] = parse(out)
    return (found, "") if code == 0 else ({}, " ".join(err.split()))


def read_sshd(
    run: Run, sshd: str, config: str, drop_in: str | None, users: list[str], session: dict[str, Any]
) -> dict[str, Any]:
    """What is known of an sshd that is installed."""
    # sshd -T refuses to answer without its run-time folder, which only a started ssh.service makes.
    os.makedirs("/run/sshd", 0o755, exist_ok=True)
    effective, error = effective_settings(run, sshd, config, users, session)
    own = effective_settings(run, sshd, drop_in, users, session)[0] if drop_in and os.path.exists(drop_in) else {}
    directives = read_directives(config)
    first = next((line for line in directives if line["file"] == config), {"key": "", "value": ""})
    include_first = first["key"] == "include" and "sshd_config.d" in first["value"]
    facts = [user_facts(user, effective.get(user, {})) for user in users]
    return {
        "installed": True,
        # It writes to stderr: "OpenSSH_9.2p1 Debian-2+deb12u7, OpenSSL ..."
        "version": run(["ssh", "-V"])[2].partition("_")[2].split(" ")[0].rstrip(","),
        "error": error,
        "include_first": include_first,
        "main": "" if include_first else read_text(config),
        "algorithms": {kind: run(["ssh", "-Q", query])[1].split() for kind, query in _QUERIES.items()},
        "effective": effective,
        "own": own,
        "directives": directives,
        "users": [found for found in facts if found],
        "host_keys": host_keys(run),
    }


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    config, session = module.params["config"], connection(os.getppid())
    result: dict[str, Any] = {
        "installed": False,
        "version": "",
        "error": "",
        "include_first": False,
        "main": "",
        "algorithms": {kind: [] for kind in _QUERIES},
        "effective": {},
        "own": {},
        "directives": [],
        "users": [],
        "host_keys": [],
    }
    sshd = module.get_bin_path("sshd", opt_dirs=["/usr/sbin"])
    if sshd and os.path.exists(config):
        place = session or {"client": "127.0.0.1", "server": "127.0.0.1", "server_port": 22}
        users = sorted({*module.params["users"], *([session["user"]] if session else [])})
        result = read_sshd(module.run_command, sshd, config, module.params["drop_in"], users, place)
    active = module.run_command(["systemctl", "is-active", "--quiet", "ssh.socket"])[0] == 0
    module.exit_json(
        changed=False,
        connection=session,
        listeners=listeners(module.params["ports"]),
        socket={"active": active, "generator": os.path.exists(_GENERATOR)},
        **result,
    )


if __name__ == "__main__":
    main()
