# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of a release after the first: each may be called twice, and after a run that was killed at any point."""

from __future__ import annotations

import time
from typing import Any, Optional

from ._app_compose import RUNNING, init_name, migration_name, network, service_names, volumes
from ._release import Release
from ._release_docker import LOG_LINES
from ._release_slot import Slot, infra
from ._release_state import STARTED, SWITCHED, ReleaseError, dropped, pruned, reached, switched
from ._run_command import TIMED_OUT

BEFORE_SWITCH = ("web", "worker")
STATIC = "/srv"
WATCH_PAUSE = 1.0


def migrate(release: Release) -> dict[str, Any]:
    """Jobs of `init` that have not run, then the migration. Each is marked as done before the next begins."""
    slot = release.needed()
    app, name = release.app, release.state["candidate"]["release"]
    release.hold(slot.patience)
    _together(release)
    changed = False
    for job in app["init"]:
        if job["name"] not in release.state["init_done"]:
            _once(release, slot, init_name(job["name"], slot.slot), job["timeout"], f"the job {job['name']} of init")
            release.save({**release.state, "init_done": [*release.state["init_done"], job["name"]]})
            changed = True
    known = release.manifest(name)
    if app["migrate"] and not known["migrated"]:
        _once(release, slot, migration_name(slot.slot), app["migrate"]["timeout"], "the migration")
        revision = _revision(release, slot)
        known = {**known, "migrated": True, "revision": revision, "backup_id": release.backup_id}
        release.home.write_json(known, "releases", name, "manifest.json")
        changed = True
    return {"changed": changed, "revision": known["revision"]}


def _together(release: Release) -> None:
    """What both slots share: network, volumes, and what the app brings along."""
    release.docker.network(network(release.app), release.app["name"])
    release.docker.volumes(volumes(release.app), release.app["name"])
    shared = infra(release.docker, release.home, release.app, release.secrets)
    names = service_names(release.app, shared.slot)
    if names:
        shared.compose("up", "--detach", "--remove-orphans", *names)
        shared.settle(names, shared.patience)


def _once(release: Release, slot: Slot, job: str, seconds: int, what: str) -> None:
    """A command of the new image, with an end."""
    release.hold(seconds)
    code, said = slot.once(job, seconds)
    if code:
        why = f"did not end within {seconds} s" if code == TIMED_OUT else f"failed with exit status {code}"
        raise ReleaseError(
            f"{what} {why}; the schema may be changed in part, and the release that runs was not touched",
            said.splitlines()[-LOG_LINES:],
        )


def _revision(release: Release, slot: Slot) -> str:
    command = release.app["migrate"]["revision"]
    if not command:
        return ""
    words = ("run", "--rm", "-T", "--no-deps", migration_name(slot.slot), *command)
    return (slot.compose(*words, seconds=120).strip().splitlines() or [""])[-1][:200]


def start(release: Release) -> dict[str, Any]:
    """The new slot up and healthy, beside the one that runs. Its scheduler waits."""
    slot = release.needed()
    release.hold(3 * slot.patience)
    _together(release)
    static = release.app["static"]
    images = release.manifest(release.state["candidate"]["release"])["images"]
    if static:
        release.docker.copy(images[static["service"]], static["path"], f"{STATIC}/{release.app['name']}/static")
    names = slot.names(BEFORE_SWITCH)
    changed = not slot.running(names)
    slot.up(names)
    slot.settle(names, slot.patience)
    slot.probe(release.view()["servers"], patient=True)
    if release.state["candidate"]["phase"] != SWITCHED:
        release.save(reached(release.state, STARTED))
    return {**release.view(), "changed": changed}


def handover(release: Release) -> dict[str, Any]:
    """The scheduler: there is never more than one, so the old one ends before the new one starts."""
    slot = release.needed()
    release.hold(slot.patience)
    names = slot.names(["scheduler"])
    active = release.state["active"]
    if active:
        old = release.of_release(active)
        leaving = old.names(["scheduler"])
        if leaving:
            old.stop(leaving)
    slot.up(names)
    slot.settle(names, slot.patience)
    release.save(reached(release.state, SWITCHED))
    return {**release.view(), "changed": bool(names)}


def watch(release: Release) -> dict[str, Any]:
    """Look at the new slot for a while; the first sign of trouble is enough."""
    slot = release.needed()
    release.hold(release.seconds)
    kinds = RUNNING if release.state["candidate"]["phase"] == SWITCHED else BEFORE_SWITCH
    names, called = slot.names(kinds), release.view()["servers"]
    end = time.monotonic() + release.seconds
    while True:
        slot.judge(slot.containers(names), names)
        slot.probe(called, patient=False)
        if time.monotonic() >= end:
            return {"changed": False}
        time.sleep(min(WATCH_PAUSE, max(0.0, end - time.monotonic())))


def finish(release: Release) -> dict[str, Any]:
    """The new release is the one that runs; the old slot is drained and stopped, and old releases go."""
    release.hold(release.app["deploy"]["drain_seconds"])
    changed = bool(release.state["candidate"] or release.state["draining"])
    if release.state["candidate"]:
        release.load(release.state["candidate"]["release"])
        release.save(switched(release.state))
    left = release.stop_draining()
    release.save(pruned(release.state, release.app["keep_releases"]))
    release.tidy()
    release.home.unlock()
    return {**release.view(), "changed": changed, "cut_off": left}


def undo(release: Release) -> dict[str, Any]:
    """The release that runs as it was, and the new slot gone. The traffic is off it already.

    Where the release before does not come up, the new one goes all the same: else nothing could be deployed any more.
    """
    release.hold()
    slot, active, trouble = release.candidate(), release.state["active"], None
    if slot:
        release.hold(slot.patience + release.app["deploy"]["drain_seconds"])
        if slot.names(["scheduler"]):
            slot.stop(slot.names(["scheduler"]))
        if active:
            trouble = _as_before(release.of_release(active))
        slot.drain(release.app["deploy"]["drain_seconds"])
        slot.stop()
        slot.down()
        release.save(dropped(release.state))
        release.tidy()
    release.home.unlock()
    if trouble:
        said = f"the new release is gone, but the one before does not run as it should: {trouble}"
        raise ReleaseError(said, trouble.log)
    return {**release.view(), "changed": slot is not None}


def _as_before(old: Slot) -> Optional[ReleaseError]:
    names = old.names(RUNNING)
    try:
        old.start(names)
        old.settle(names, old.patience)
    except ReleaseError as exc:
        return exc
    return None


def absent(release: Release) -> dict[str, Any]:
    """Everything of the app but its volumes, of which those that are named go, too, also long after the app."""
    there = release.home.exists()
    named = [name for name in release.volumes_removed if not release.docker.ask("volume", "inspect", name)[0]]
    if release.check:
        return {"changed": there or bool(named)}
    if there:
        release.hold()
        for name in ("a", "b", "infra"):
            release.slot(name).down()
        release.docker.ask("network", "rm", network(release.app))
    for name in named:
        release.docker.do("volume", "rm", name)
    if there:
        release.state = {**release.state, "active": None, "candidate": None, "draining": None, "releases": []}
        release.tidy()
        release.home.remove()
    return {"changed": there or bool(named)}
