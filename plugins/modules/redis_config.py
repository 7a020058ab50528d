#!/usr/bin/python
# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_config
short_description: The whole configuration of a Redis or Valkey server, applied without losing a key
version_added: 0.1.0
author:
  - The shipshape.stack maintainers (@shipshape)
description:
  - All settings and users of a server in one task and one remote call, compared with what the running server says and
    not only with its files.
  - A scratch server boots on the new files before anything is changed. What it refuses is refused, with the name of the
    setting.
  - What can be changed while the server runs is changed so. It is restarted only for settings that need it, and only
    after every key is on the disk; if it does not come back with all of them, the old files do.
  - The files are C(shipshape.conf), C(shipshape.acl) and C(shipshape.password) in C(/etc/redis) or C(/etc/valkey), and
    a drop-in of the unit. The package's own file is left alone, so that upgrades have no questions about it.
requirements:
  - redis-py on the host (package C(python3-redis))
attributes:
  check_mode:
    support: full
    description:
      - Boots the scratch server too, and predicts all changes. Where the server, python3-redis or a file of its TLS is
        missing, that is no reason to fail, and the files alone are compared.
  diff_mode:
    support: full
    description: The files, and what changes on the running server. Passwords and their digests are not shown.
  idempotent:
    support: full
    description: Reports a change only if a file or the running server changes.
  platform:
    support: full
    platforms: debian
    description: redis-server 7.0 and 8.0, valkey-server 8.1, with systemd.
options:
  flavour:
    description: Which server.
    type: str
    choices: [redis, valkey]
    default: redis
  state:
    description:
      - V(absent) saves the data, stops and disables the server and removes the files of this module. Data stay.
    type: str
    choices: [present, absent]
    default: present
  settings:
    description:
      - Directives as in C(redis.conf). A list stands for several lines. What is not given has the server's default.
      - Passwords have no place in here.
    type: dict
    default: {}
  users:
    description: Users besides C(shipshape), whom this module logs in as, and C(default), who is off if not given.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Name of the user., type: str, required: true}
      rules: {description: "What the user may do, as for C(ACL SETUSER).", type: list, elements: str, required: true}
  passwords:
    description: Passwords of O(users) by name. A user without one is off.
    type: dict
    default: {}
  restart:
    description:
      - Whether the server may be restarted for settings that need it. With V(never) these are in RV(restart_needed).
      - A server without keys is restarted all the same when it is taken over.
    type: str
    choices: [auto, never]
    default: auto
  purpose:
    description: A C(maxmemory-policy) that evicts keys is refused for V(queue), and warned of for V(store).
    type: str
    choices: [cache, queue, store]
    default: store
  accept_eviction:
    description: Whether C(maxmemory) may be less than what the server uses, so that keys are evicted or writes refused.
    type: bool
    default: false
  persist_seconds:
    description: How long the server may take to write all keys to the disk.
    type: int
    default: 600
"""

EXAMPLES = r"""
- name: Configure Redis
  shipshape.stack.redis_config:
    settings:
      bind: 127.0.0.1 -::1
      maxmemory: 1gb
      maxmemory-policy: noeviction
      appendonly: true
      save: 900 1 300 10
    users:
      - {name: shop, rules: ["~shop:*", "&shop:*", "+@all", "-@admin", "-@dangerous"]}
    passwords:
      shop: "{{ vault_redis_shop }}"
"""

RETURN = r"""
changed_settings:
  description: Directives of the running server that changed.
  returned: success
  type: list
  elements: str
  sample: [maxmemory]
changed_users:
  description: Users of the running server that changed.
  returned: success
  type: list
  elements: str
  sample: [shop]
changed_files:
  description: Files that changed.
  returned: success
  type: list
  elements: str
  sample: [/etc/redis/shipshape.conf]
restarted:
  description: Whether the server was restarted or started.
  returned: success
  type: bool
  sample: false
restart_needed:
  description: Directives that the server takes at its next start only.
  returned: success
  type: list
  elements: str
  sample: []
"""

import os
import signal
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.shipshape.stack.plugins.module_utils import _redis_converge as work
from ansible_collections.shipshape.stack.plugins.module_utils import _redis_host as host
from ansible_collections.shipshape.stack.plugins.module_utils._config_apply import Tools, recover
from ansible_collections.shipshape.stack.plugins.module_utils._config_restore import ConfigError
from ansible_collections.shipshape.stack.plugins.module_utils._redis_plan import (
    Flavour,
    RedisError,
    StrandedError,
    policy_problem,
)
from ansible_collections.shipshape.stack.plugins.module_utils._redis_wish import Wish

USER_SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "rules": {"type": "list", "elements": "str", "required": True},
}
ARGUMENT_SPEC: dict[str, Any] = {
    "flavour": {"type": "str", "choices": ["redis", "valkey"], "default": "redis"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "settings": {"type": "dict", "default": {}},
    "users": {"type": "list", "elements": "dict", "default": [], "options": USER_SPEC},
    "passwords": {"type": "dict", "default": {}, "no_log": True},
    "restart": {"type": "str", "choices": ["auto", "never"], "default": "auto"},
    "purpose": {"type": "str", "choices": ["cache", "queue", "store"], "default": "store"},
    "accept_eviction": {"type": "bool", "default": False},
    "persist_seconds": {"type": "int", "default": 600},
}


def stop(number: int, _frame: Any) -> None:
    raise ConfigError(f"Stopped by signal {number}.")


def wish_of(params: dict[str, Any]) -> Wish:
    flavour = Flavour(params["flavour"])
    known = host.read_secret(flavour.password_file)
    return Wish(
        flavour,
        params["settings"],
        params["users"],
        params["passwords"],
        params["restart"] == "auto",
        params["accept_eviction"],
        params["persist_seconds"],
        **({"secret": known} if known else {}),
    )


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, stop)
    name = module.params["flavour"].capitalize()
    try:
        result = reconcile(module)
    except StrandedError as exc:
        module.fail_json(msg=str(exc))
    except (RedisError, ConfigError) as exc:
        module.fail_json(msg=f"{name} is as it was. {exc}")
    except host.LibraryError as exc:
        module.fail_json(msg=f"The server did not answer as it should. Run it again. {exc}")
    except OSError as exc:
        hint = "" if os.geteuid() == 0 else ". Run it with become: true"
        module.fail_json(msg=f"{name} is as it was. {exc.filename or ''}: {exc.strerror}{hint}")
    if not module._diff:
        result.pop("diff", None)
    module.exit_json(**result)


def reconcile(module: AnsibleModule) -> dict[str, Any]:
    flavour, tools = Flavour(module.params["flavour"]), Tools()
    other = Flavour("valkey" if flavour.name == "redis" else "redis")
    if module.params["state"] == "present" and host.unit_is_up(other.unit):
        raise RedisError(f"{other.unit} runs on this host: stop it, or set redis_flavour: {other.name}")
    recovered = [] if module.check_mode else recover(tools)
    wish, purpose = wish_of(module.params), module.params["purpose"]
    evicting = policy_problem(wish.directives.get("maxmemory-policy", ["noeviction"])[-1], purpose)
    if evicting and purpose == "queue":
        raise RedisError(evicting)
    if evicting:
        module.warn(f"{evicting}, or purpose: cache (redis_purpose)")
    if not os.path.exists(flavour.program):
        if not module.check_mode and module.params["state"] == "present":
            raise RedisError(f"{flavour.program} is not installed: install the package {flavour.name}-server first")
    elif host.redis is None and not module.check_mode:
        module.fail_json(msg=missing_required_lib("redis") + " Install python3-redis.")
    action = work.remove if module.params["state"] == "absent" else work.ensure
    result = action(wish, tools, module.check_mode)
    if result["restart_needed"]:
        module.warn(f"{flavour.unit} takes {', '.join(result['restart_needed'])} at its next start only")
    return {**result, "changed": result["changed"] or bool(recovered)}


if __name__ == "__main__":
    main()
