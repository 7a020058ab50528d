#!/usr/bin/python
# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nginx_config
short_description: The whole configuration of nginx, swapped in one step and proven to be served
version_added: 0.1.0
author:
  - The shipshape.stack maintainers (@shipshape)
description:
  - Renders the whole tree of nginx for the version that the host has, as a folder C(/etc/nginx/shipshape/ID) named
    after its content, and lets C(/etc/nginx/nginx.conf) lead to it.
  - Before that, C(nginx -t) reads the bytes that will be live at the place where they will be. What it refuses, or
    warns of anew, is refused with the site and the line.
  - After that nginx is reloaded until it proves that it serves the new tree. It has to answer with the ID, from new
    workers of the same master, without an emergency in its log, and listen on all that it shall.
  - Otherwise the tree that was there before is put back, reloaded and proven in the same way. A run that was killed is
    taken back by the next one.
  - Upstreams with C(dynamic=true) keep the servers that M(shipshape.stack.nginx_upstream) gave them.
  - A server that is stopped is started, and enabled. Sites that are not declared any more are gone, and what was
    changed by hand in a tree is put right.
  - The package's own C(nginx.conf) is kept as C(nginx.conf.distribution), and a file that somebody else put in the
    place of ours as C(nginx.conf.replaced).
extends_documentation_fragment: [shipshape.stack.nginx, shipshape.stack.nginx.change]
attributes:
  check_mode:
    support: full
    description:
      - Everything but the swap. The tree is tested in a temporary folder, with temporary certificates for names that
        have none. Where nginx is not installed yet, the newest known version is rendered for, and not tested.
  diff_mode:
    support: full
    description: Each file of the tree against the one that is live.
  idempotent:
    support: full
    description: Reports a change only if a file, or what nginx serves, changes.
options:
  config:
    description:
      - The options of the role P(shipshape.stack.nginx#role) without their prefix, such as C(sites) and C(upstreams).
      - What is not given has the role's default.
    type: dict
    default: {}
  state:
    description:
      - V(absent) stops and disables the server, puts the package's C(nginx.conf) back, and removes the trees and
        placeholders of this module. Real certificates and logs stay.
    type: str
    choices: [present, absent]
    default: present
"""

EXAMPLES = r"""
- name: Serve an application
  shipshape.stack.nginx_config:
    config:
      upstreams:
        - name: app
          servers: [{address: "127.0.0.1:8000"}]
      sites:
        - name: shop
          server_names: [shop.example.org]
          tls: {certificate: shop}
          locations:
            - {path: /, type: proxy, upstream: app}
"""

RETURN = r"""
changed_files:
  description: Files of the tree that differ from the live one, by their path in it.
  returned: success
  type: list
  elements: str
  sample: [sites/shop.conf]
generation:
  description: Name of the tree that nginx serves; empty with O(state=absent).
  returned: success
  type: str
  sample: 0f3c9a5b7d1e2468
reloaded:
  description: Whether nginx was reloaded.
  returned: success
  type: bool
  sample: true
started:
  description: Whether nginx was started.
  returned: success
  type: bool
  sample: false
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.shipshape.stack.plugins.module_utils import _nginx_converge as work
from ansible_collections.shipshape.stack.plugins.module_utils import _nginx_host as host
from ansible_collections.shipshape.stack.plugins.module_utils import _nginx_model as model
from ansible_collections.shipshape.stack.plugins.module_utils._config_apply import Tools
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_module import carry_out, options_of
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_swap import SwapError
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_tls import Nginx

ARGUMENT_SPEC: dict[str, Any] = {
    "config": {"type": "dict", "default": {}},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "warnings": {"type": "str", "choices": ["refuse", "accept"], "default": "refuse"},
    "reload_seconds": {"type": "int", "default": 30},
}
# As Debian 13 has it, for hosts that have none yet.
NEWEST = Nginx((1, 26, 3), (3, 5, 0))


def main() -> None:
    carry_out(AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True), reconcile)


def reconcile(module: AnsibleModule) -> dict[str, Any]:
    params, tools = module.params, Tools()
    if params["state"] == "absent":
        return work.remove(tools, module.check_mode)
    options = options_of(params)
    problems = model.problems(params["config"])
    if problems:
        raise SwapError(" ".join(f"{each}." for each in problems))
    if not host.installed() and not module.check_mode:
        raise SwapError(f"{host.PROGRAM} is not installed: install the package nginx first")
    nginx = host.version(tools) if host.installed() else NEWEST
    act = work.foresee if module.check_mode else work.ensure
    return act(lambda: work.wanted_of(params["config"], nginx), tools, options)


if __name__ == "__main__":
    main()
