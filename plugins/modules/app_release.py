#!/usr/bin/python
# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: app_release
short_description: One step of the release of a container app
version_added: 0.1.0
description:
  - Releases go into two slots, compose projects C(APP-a) and C(APP-b), one of which has the traffic. Each step may be
    called twice, and by the next run after one that was killed; the state of an app lies in O(directory) on its host.
  - The role P(shipshape.stack.app_stack#role) calls the steps in their order, with the switch of the traffic by
    M(shipshape.stack.nginx_upstream) between O(step=start) and O(step=handover); docs/releases.md tells of each.
requirements:
  - Docker with the command C(docker compose), version 2
options:
  step:
    description:
      - V(prepare) takes the lock, judges the host, fetches and pins the images and writes the release down.
      - V(migrate) runs the jobs of C(init) that have not run, and the migration.
      - V(start) starts the new slot and asks it until it is healthy. V(handover) lets the new
        scheduler follow the old one.
      - V(watch) looks at the new slot for O(seconds). V(finish) drains and stops the old slot.
      - V(undo) makes the old slot run as it did, and takes the new one away; the traffic has to be off it.
      - V(status) reports. V(unlock) takes the lock away. V(absent) removes the app, but for its volumes.
    type: str
    required: true
    choices: [prepare, migrate, start, handover, watch, finish, undo, status, unlock, absent]
  app:
    description: The app as docs/apps.md describes it, without its secrets.
    type: dict
    required: true
  secrets:
    description: Secret variables of each service, by its name.
    type: dict
    default: {}
  run:
    description: Who does this; C(id) has to be the same for all steps of a run, and the lock belongs to it.
    type: dict
    default: {}
  release:
    description: For O(step=prepare), the id of a kept release to go back to, or V(previous). Empty deploys O(app).
    type: str
    default: ""
  restart:
    description: For O(step=prepare), whether a release that runs already is started anew, in the other slot.
    type: bool
    default: false
  take_lock:
    description: Whether the lock of another run is taken, which has to be dead for sure.
    type: bool
    default: false
  publish_address:
    description: Address of the host that web services are published on.
    type: str
    default: 127.0.0.1
  port_range:
    description: The first and the last port of the host that web services may get.
    type: str
    default: 20000-20999
  allow_contract:
    description: Whether a migration with C(contract) may run, after which there is no way back.
    type: bool
    default: false
  backup_id:
    description: For O(step=migrate), the backup that was taken before; kept with the release.
    type: str
    default: ""
  seconds:
    description: For O(step=watch), how long, in seconds.
    type: int
    default: 10
  volumes_removed:
    description: For O(step=absent), volumes to remove with the app, as Docker calls them, such as V(shop_data).
    type: list
    elements: str
    default: []
  directory:
    description: Where the apps' states are kept.
    type: path
    default: /var/lib/shipshape/apps
attributes:
  check_mode:
    support: full
    description: Predicts changes without making them; no image is pulled.
  diff_mode:
    support: full
    description: Shows the compose document of the new slot against that of the old one, without secrets.
  idempotent:
    support: full
    description: A step that was done changes nothing.
author: the shipshape.stack maintainers (@shipshape)
"""

EXAMPLES = r"""
- name: See what runs
  shipshape.stack.app_release:
    step: status
    app:
      name: shop
      services:
        - {name: web, kind: web, image: registry.example.com/shop, version: v1.2.0, port: 8000, health: {path: /health}}
  register: shop
"""

RETURN = r"""
action:
  description: (prepare) What is to be done; V(none) where the release runs already.
  returned: with O(step=prepare)
  type: str
  sample: deploy
release:
  description: The release that this is about.
  returned: success
  type: str
  sample: v1.2.0-5f0c2a9be1d4
slot:
  description: The slot that it is in, or will be.
  returned: success
  type: str
  sample: b
phase:
  description: How far a release that has no traffic yet has come, V(prepared), V(started) or V(switched).
  returned: success
  type: str
  sample: started
active_release:
  description: The release that has the traffic.
  returned: success
  type: str
  sample: v1.1.0-0c55f1f4a7b2
active_servers:
  description: Where that can be called, by service.
  returned: success
  type: dict
  sample: {web: [{address: "127.0.0.1:20000"}]}
servers:
  description: Where the release that this is about can be called, by service.
  returned: success
  type: dict
  sample: {web: [{address: "127.0.0.1:20001"}]}
releases:
  description: Releases that are kept, the newest first.
  returned: success
  type: list
  elements: str
  sample: [v1.1.0-0c55f1f4a7b2]
needs_migration:
  description: (prepare) Whether O(step=migrate) has something to do.
  returned: with O(step=prepare)
  type: bool
  sample: true
leftover:
  description: (prepare) Whether a killed run left another release behind, which O(step=undo) has to take away first.
  returned: with O(step=prepare)
  type: bool
  sample: false
locked_by:
  description: (prepare) Whose lock stands in the way; nothing was done then.
  returned: with O(step=prepare)
  type: dict
  sample: {id: "7c1e", controller: deploy1, pid: 4711, by: alice}
revision:
  description: (migrate) What the command C(migrate.revision) printed last.
  returned: with O(step=migrate)
  type: str
  sample: "0042"
cut_off:
  description: (finish) Connections that the old slot still had when C(deploy.drain_seconds) were over.
  returned: with O(step=finish)
  type: int
  sample: 0
log:
  description: The last lines of the container that failed, without secrets.
  returned: on failure
  type: list
  elements: str
  sample: ["KeyError: 'SHOP_NAME'"]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.shipshape.stack.plugins.module_utils import _release_steps as steps
from ansible_collections.shipshape.stack.plugins.module_utils._app_model import normal, problems
from ansible_collections.shipshape.stack.plugins.module_utils._release import Release
from ansible_collections.shipshape.stack.plugins.module_utils._release_prepare import prepare
from ansible_collections.shipshape.stack.plugins.module_utils._release_state import ReleaseError

STEPS = {
    "prepare": prepare,
    "migrate": steps.migrate,
    "start": steps.start,
    "handover": steps.handover,
    "watch": steps.watch,
    "finish": steps.finish,
    "undo": steps.undo,
    "absent": steps.absent,
    "unlock": lambda release: {"changed": release.home.unlock()},
    "status": lambda release: {**release.view(), "changed": False, "locked_by": release.home.owner()},
}
WITHOUT_DOCKER = ("status", "unlock")
ARGUMENT_SPEC: dict[str, Any] = {
    "step": {"type": "str", "required": True, "choices": list(STEPS)},
    "app": {"type": "dict", "required": True},
    "secrets": {"type": "dict", "default": {}, "no_log": True},
    "run": {"type": "dict", "default": {}},
    "release": {"type": "str", "default": ""},
    "restart": {"type": "bool", "default": False},
    "take_lock": {"type": "bool", "default": False},
    "publish_address": {"type": "str", "default": "127.0.0.1"},
    "port_range": {"type": "str", "default": "20000-20999"},
    "allow_contract": {"type": "bool", "default": False},
    "backup_id": {"type": "str", "default": ""},
    "seconds": {"type": "int", "default": 10},
    "volumes_removed": {"type": "list", "elements": "str", "default": []},
    "directory": {"type": "path", "default": "/var/lib/shipshape/apps"},
}


def take(options: dict[str, Any], check: bool) -> dict[str, Any]:
    found = [] if options["step"] in ("absent", "status", "unlock") else problems(options["app"])
    if found:
        raise ReleaseError(f"Nothing was changed. {'; '.join(found)}")
    release = Release(options, normal(options["app"]), check)
    if options["step"] not in WITHOUT_DOCKER:
        try:
            release.information = release.docker.information()
        except ReleaseError:
            if not check:
                raise
    if check and options["step"] not in ("prepare", "absent", *WITHOUT_DOCKER):
        return {**release.view(), "changed": bool(release.state["candidate"])}
    return STEPS[options["step"]](release)


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        result = take(module.params, module.check_mode)
    except ReleaseError as exc:
        module.fail_json(msg=str(exc), log=exc.log)
    except OSError as exc:
        module.fail_json(msg=f"{exc.filename or ''}: {exc.strerror}", log=[])
    if not module._diff:
        result.pop("diff", None)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
