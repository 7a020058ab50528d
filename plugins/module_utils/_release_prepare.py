# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The first step of a release: what it is, whether there is anything to do, and all of it written down."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ._app_compose import dumps, infra_document, service_names, slot_document
from ._app_release import manifest, release_id
from ._release import Release
from ._release_host import judge, refuse_taken
from ._release_slot import Slot, infra
from ._release_state import ReleaseError, allocated, begun, next_slot, wanted_release


def prepare(release: Release) -> dict[str, Any]:
    """Lock, judge, fetch, pin, write. Where it fails, the lock is free again and nothing has changed."""
    other = release.other_run()
    if other:
        return {"changed": False, "action": "none", "locked_by": other, "msg": _locked(release, other)}
    try:
        return _prepare(release)
    except BaseException:
        if not release.check:
            release.tidy()
            release.home.unlock()
        raise


def _locked(release: Release, other: Mapping[str, Any]) -> str:
    minutes = max(1, int((float(other["expires"]) - time.time()) / 60))
    who = f"{other.get('by') or 'a run'} on {other.get('controller') or 'a controller'} (process {other.get('pid')})"
    return (
        f"{release.app['name']}: {who} is busy with it and has the lock for {minutes} more minutes: wait, or set"
        " app_stack_take_lock: true if that run is dead"
    )


def _prepare(release: Release) -> dict[str, Any]:
    if not release.check:
        release.stop_draining()
    images = _images(release)
    wanted = release.asked and wanted_release(release.state, release.asked)
    name = wanted or release_id(release.app, images, release.secrets)
    action = _action(release, name, bool(wanted))
    answer = {**release.view(name), "action": action, "leftover": False, "needs_migration": False}
    # First of all, and even where the release that is asked for runs: the other one may have traffic.
    if release.state["candidate"] and release.state["candidate"]["release"] != name:
        return {**answer, "leftover": True, "changed": release.check}
    if action == "none":
        if not release.check:
            release.home.unlock()
        return {**answer, "changed": False}
    _may_migrate(release, action)
    if release.check:
        return {**answer, "changed": True}
    return {**_written(release, name, action, images), "action": action, "leftover": False}


def _images(release: Release) -> dict[str, str]:
    """Of the release that is asked for: those of its manifest, or the ones that the versions mean now."""
    if release.asked:
        name = wanted_release(release.state, release.asked)
        release.load(name)
        found: dict[str, str] = release.manifest(name)["images"]
        return found
    return {each["name"]: release.docker.pin(each, not release.check) for each in release.app["services"]}


def _action(release: Release, name: str, back: bool) -> str:
    active, candidate = release.state["active"], release.state["candidate"]
    if candidate and candidate["release"] == name:
        return str(candidate["action"])
    if not active or active["release"] != name:
        return "rollback" if back else "deploy"
    if release.restart:
        return "restart"
    names = service_names(release.app, active["slot"])
    return "none" if release.slot(active["slot"]).running(names) else "heal"


def _may_migrate(release: Release, action: str) -> None:
    migrate = release.app["migrate"]
    if action == "deploy" and migrate and migrate["contract"] and not release.allow_contract:
        raise ReleaseError(
            "migrate.contract: this migration takes away what the release that runs still needs, so there is no way"
            " back after it: set app_stack_allow_contract: true to run it"
        )


def _ports(release: Release) -> dict[str, int]:
    """Of both slots. Ports of other apps are not free, nor are those that something listens on."""
    taken = {port for state in release.home.others() for port in state["ports"].values()} | release.docker.published()
    known = dict(release.state["ports"])
    first, last = release.ports
    return allocated(release.app, known, taken - set(known.values()), first, last)


def _written(release: Release, name: str, action: str, images: Mapping[str, str]) -> dict[str, Any]:
    """The release, its slot's documents and the state, after everything was judged."""
    app, home = release.app, release.home
    judge(app, release.information, home.directory)
    candidate = release.state["candidate"]
    slot = release.slot(candidate["slot"] if candidate else next_slot(release.state))
    ports = _ports(release)
    own = {key: port for key, port in ports.items() if key in slot.names(["web"])}
    if not slot.containers():
        refuse_taken(release.docker, own, release.address)
    document = slot_document(app, slot.slot, images, own, release.address, name)
    before = release.active_text()
    known = home.load("releases", name, "manifest.json")
    if known is None:
        home.write_json(app, "releases", name, "app.json")
        home.write_json(release.secrets, "releases", name, "secrets.json")
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        known = manifest(app, name, images, dumps(document), release.run, stamp, release.backup_id)
        home.write_json(known, "releases", name, "manifest.json")
    slot.write(document)
    slot.compose("config", "--quiet")
    _infra(release, images)
    for service, image in images.items():
        release.tag(service, image, name)
    state = {**release.state, "ports": ports}
    release.save(state if candidate else begun(state, name, action))
    pending = [job for job in app["init"] if job["name"] not in release.state["init_done"]]
    return {
        **release.view(name),
        "needs_migration": action == "deploy" and bool((app["migrate"] and not known["migrated"]) or pending),
        "changed": True,
        "diff": {"before": before, "after": dumps(document), "before_header": "compose", "after_header": "compose"},
    }


def _infra(release: Release, images: Mapping[str, str]) -> None:
    shared: Slot = infra(release.docker, release.home, release.app, release.secrets)
    document = infra_document(release.app, images, release.address)
    if document["services"]:
        shared.write(document)
        shared.compose("config", "--quiet")
