#!/usr/bin/python
# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nginx_upstream
short_description: Where an upstream of nginx runs, switched in one step and proven to be served
version_added: 0.1.0
author:
  - The shipshape.stack maintainers (@shipshape)
description:
  - Gives an upstream that M(shipshape.stack.nginx_config) has with C(dynamic=true) other servers, while nginx serves.
  - Takes the tree that is live, changes that upstream alone, and goes the same way as M(shipshape.stack.nginx_config).
    The tree is tested, swapped in by one rename, reloaded and proven, or the old one is back.
  - Servers belong to an owner, such as the host that they run on, so that each host is switched by itself.
    M(shipshape.stack.nginx_config) keeps them.
  - An upstream that has no server left is rendered with one that is down, and requests get 502.
extends_documentation_fragment: [shipshape.stack.nginx, shipshape.stack.nginx.change, shipshape.stack.nginx.upstream]
attributes:
  check_mode:
    support: full
    description:
      - Everything but the swap. Where nginx or the upstream is not there yet, as on a fresh host, a change is reported.
  diff_mode:
    support: full
    description: Each file of the tree against the one that is live.
  idempotent:
    support: full
    description: Reports a change only if a file, or what nginx serves, changes.
options:
  owner:
    description: Whose servers are given or taken away; those of others stay. Needed unless only O(maintenance) changes.
    type: str
  servers:
    description:
      - All servers of the owner, each with the keys of C(nginx_upstreams[].servers) of the role
        P(shipshape.stack.nginx#role), such as C(address), C(weight) and C(down).
      - Needed with O(owner) and O(state=present). The list may be empty.
    type: list
    elements: dict
  state:
    description: V(absent) takes the servers of the owner away.
    type: str
    choices: [present, absent]
    default: present
  maintenance:
    description:
      - Whether nginx answers for the whole upstream, with status 503 and C(Retry-After), instead of its servers.
      - Stays as it is where it is not given.
    type: bool
"""

EXAMPLES = r"""
- name: Send requests to the new release
  shipshape.stack.nginx_upstream:
    name: shop-web
    owner: "{{ inventory_hostname }}"
    servers: [{address: "192.0.2.11:20001"}, {address: "192.0.2.11:20002"}]
  delegate_to: lb1
  register: switched

- name: Say that the shop is away for a while
  shipshape.stack.nginx_upstream:
    name: shop-web
    maintenance: true
  delegate_to: lb1
"""

RETURN = r"""
generation:
  description: Name of the tree that nginx serves.
  returned: success
  type: str
  sample: 0f3c9a5b7d1e2468
servers:
  description: All servers of the upstream, of every owner.
  returned: success
  type: list
  elements: dict
  sample: [{address: "192.0.2.11:20001", weight: 1}]
maintenance:
  description: Whether it is under maintenance.
  returned: success
  type: bool
  sample: false
mark:
  description: Place in the access log before the switch, for M(shipshape.stack.nginx_upstream_info).
  returned: success
  type: str
  sample: "262530:18231"
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.shipshape.stack.plugins.module_utils import _nginx_host as host
from ansible_collections.shipshape.stack.plugins.module_utils import _nginx_switch as work
from ansible_collections.shipshape.stack.plugins.module_utils._config_apply import Tools
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_module import carry_out, options_of
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_swap import SwapError
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_upstream import Switch, UnknownError

ARGUMENT_SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "owner": {"type": "str"},
    "servers": {"type": "list", "elements": "dict"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "maintenance": {"type": "bool"},
    "warnings": {"type": "str", "choices": ["refuse", "accept"], "default": "refuse"},
    "reload_seconds": {"type": "int", "default": 30},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        required_one_of=[["owner", "maintenance"]],
        required_by={"servers": ["owner"]},
        supports_check_mode=True,
    )
    carry_out(module, reconcile)


def reconcile(module: AnsibleModule) -> dict[str, Any]:
    params, tools = module.params, Tools()
    present, owner, servers = params["state"] == "present", params["owner"], params["servers"]
    if owner is not None and present and servers is None:
        raise SwapError(f"servers: they are missing: give those of {owner}, an empty list, or state: absent")
    if not present and (owner is None or servers is not None):
        raise SwapError("state: absent takes away all servers of an owner: give owner, and no servers")
    switch = Switch(params["name"], owner, servers, params["maintenance"])
    problems, options = switch.problems(), options_of(params)
    if problems:
        raise SwapError(" ".join(f"{each}." for each in problems))
    if host.installed():
        try:
            return work.run(switch, tools, options, module.check_mode)
        except UnknownError as exc:
            if not module.check_mode:
                raise
            reason = str(exc)
    elif module.check_mode:
        reason = "nginx is not installed yet"
    else:
        raise SwapError(f"{host.PROGRAM} is not installed: run site.yml, or the role nginx, first")
    told = {"generation": "", "servers": servers or [], "maintenance": bool(switch.maintenance), "mark": ""}
    return {"changed": True, **told, "warned": [f"Not foreseen: {reason}."]}


if __name__ == "__main__":
    main()
