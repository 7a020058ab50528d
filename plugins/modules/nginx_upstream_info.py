#!/usr/bin/python
# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nginx_upstream_info
short_description: Where an upstream of nginx runs, and how often its servers failed
version_added: 0.1.0
author:
  - The shipshape.stack maintainers (@shipshape)
description:
  - Returns the servers of an upstream that M(shipshape.stack.nginx_config) has with C(dynamic=true), by owner.
  - With O(mark), counts in the access logs of its sites how often the servers were asked since then, and how often each
    of them failed. A request that was tried on two servers counts for both. Only logs in JSON say who was asked.
  - A log that was rotated once meanwhile is read to its end.
extends_documentation_fragment: [shipshape.stack.nginx, shipshape.stack.nginx.upstream]
attributes:
  check_mode:
    support: full
    description: Reads only.
  diff_mode:
    support: none
    description: Changes nothing.
options:
  mark:
    description: Where to begin, as M(shipshape.stack.nginx_upstream) returned it.
    type: str
  servers:
    description:
      - Servers to count for, each with its C(address). All that the upstream has now where they are not given.
    type: list
    elements: dict
"""

EXAMPLES = r"""
- name: Count what the new release failed at since the switch
  shipshape.stack.nginx_upstream_info:
    name: shop-web
    mark: "{{ switched.mark }}"
    servers: [{address: "192.0.2.11:20001"}]
  delegate_to: lb1
  register: watched
"""

RETURN = r"""
owners:
  description: Servers by owner; empty before the first switch.
  returned: success
  type: dict
  sample: {app1: [{address: "192.0.2.11:20001", weight: 1}]}
maintenance:
  description: Whether it is under maintenance.
  returned: success
  type: bool
  sample: false
logs:
  description: The logs that are read. With none nothing can be counted, as no site of it logs in JSON.
  returned: success
  type: list
  elements: str
  sample: [/var/log/nginx/access.log]
requests:
  description: How often the servers were asked.
  returned: when O(mark) is given
  type: int
  sample: 1823
errors:
  description: How often a server was not to be reached, or answered 5xx, by its address. Only those that failed.
  returned: when O(mark) is given
  type: dict
  sample: {"192.0.2.11:20001": 3}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.shipshape.stack.plugins.module_utils import _nginx_switch as work
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_access import MARK
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_change import tell
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_swap import SwapError
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_upstream import Switch

ARGUMENT_SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "mark": {"type": "str"},
    "servers": {"type": "list", "elements": "dict"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        result = look(module.params)
    except SwapError as exc:
        module.fail_json(msg=str(exc))
    except OSError as exc:
        module.fail_json(msg=tell(exc))
    module.exit_json(changed=False, **result)


def look(params: dict[str, Any]) -> dict[str, Any]:
    servers = params["servers"]
    problems = Switch(params["name"], servers=servers).problems()
    if params["mark"] is not None and not MARK.fullmatch(params["mark"]):
        problems.append(f"mark: {params['mark']!r} is not what nginx_upstream returned, such as 262530:18231")
    if problems:
        raise SwapError(" ".join(f"{each}." for each in problems))
    return work.look(params["name"], params["mark"], [server["address"] for server in servers or []])


if __name__ == "__main__":
    main()
