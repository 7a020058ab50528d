# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of a release after the first: each may be called twice, and after a run that was killed at any point."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Optional

from ._app_compose import init_name, migration_name, network, service_names, volumes
from ._app_release import image_tag
from ._release_docker import Docker
from ._release_home import Home
from ._release_slot import Slot, infra
from ._release_state import (
    LOCK_SECONDS,
    STARTED,
    SWITCHED,
    ReleaseError,
    drained,
    dropped,
    masked,
    ports_of,
    pruned,
    reached,
    servers,
    switched,
)

BEFORE_SWITCH = ("web", "worker")
STATIC = "/srv"
WATCH_PAUSE = 1.0


class Release:
    """One app on one host, for the length of one step."""

    def __init__(self, options: Mapping[str, Any], app: Mapping[str, Any], check: bool) -> None:
        self.docker = Docker()
        self.app: dict[str, Any] = dict(app)
        self.secrets: Mapping[str, Mapping[str, str]] = options["secrets"] or {}
        self.home = Home(options["directory"], app["name"])
        self.check = check
        self.run: Mapping[str, Any] = options["run"] or {}
        self.take_lock, self.restart = options["take_lock"], options["restart"]
        self.asked: str = options["release"] or ""
        self.address: str = options["publish_address"]
        self.ports = ports_of(options["port_range"])
        self.allow_contract: bool = options["allow_contract"]
        self.backup_id: str = options["backup_id"]
        self.seconds: int = options["seconds"]
        self.volumes_removed: list[str] = options["volumes_removed"]
        self.state = self.home.state()
        self.information: Mapping[str, Any] = {}

    def is_ours(self, lock: Mapping[str, Any]) -> bool:
        return lock.get("id") == self.run.get("id") or float(lock.get("expires", 0)) <= time.time() or self.take_lock

    def hold(self, seconds: float = LOCK_SECONDS) -> None:
        """Renew the lock; who lost it may not go on."""
        other = self.home.lock(self.run, self.take_lock, seconds)
        if other:
            raise ReleaseError(
                f"the lock of {self.app['name']} was taken over by {other.get('by')} on {other.get('controller')}: this"
                " run ends"
            )

    def save(self, state: Mapping[str, Any]) -> None:
        self.state = dict(state)
        self.home.save(self.state)

    def slot(self, name: str) -> Slot:
        return Slot(self.docker, self.home, self.app, name, self.secrets)

    def manifest(self, name: str) -> dict[str, Any]:
        return self.home.load("releases", name, "manifest.json") or {}

    def load(self, name: str) -> None:
        """Be about a release that is written down, whatever the inventory says now."""
        app = self.home.load("releases", name, "app.json")
        if app is None or not self.manifest(name):
            raise ReleaseError(f"{self.home.path('releases', name)} is incomplete: choose another release, or deploy")
        kept = {
            key: self.app[key] for key in ("deploy", "keep_releases", "routes", "domains", "site", "maintenance", "tls")
        }
        self.app = {**app, **kept}
        self.secrets = self.home.load("releases", name, "secrets.json") or {}

    def candidate(self) -> Optional[Slot]:
        """The slot that is about to get traffic, with the release that it has."""
        candidate = self.state["candidate"]
        if not candidate:
            return None
        self.load(candidate["release"])
        return self.slot(candidate["slot"])

    def needed(self) -> Slot:
        slot = self.candidate()
        if slot is None:
            raise ReleaseError(f"{self.app['name']} has no release that is about to start: call the step prepare first")
        return slot

    def of_release(self, entry: Mapping[str, Any]) -> Slot:
        """The slot of another release than the one this is about."""
        app = self.home.load("releases", entry["release"], "app.json") or self.app
        secrets = self.home.load("releases", entry["release"], "secrets.json") or {}
        return Slot(self.docker, self.home, app, entry["slot"], secrets)

    def active_text(self) -> str:
        active = self.state["active"]
        return self.slot(active["slot"]).text() if active else ""

    def tag(self, service: str, image: str, release: str) -> None:
        self.docker.do("tag", image, image_tag(self.app, service, release))

    def view(self, release: str = "") -> dict[str, Any]:
        """What the play has to know: who runs, who is about to, and where each can be called."""
        active, candidate = self.state["active"], self.state["candidate"]
        empty: dict[str, Any] = {}
        running = self.of_release(active).app if active else self.app
        slot = (candidate or active or {}).get("slot", "")
        coming = self.of_release(candidate).app if candidate else running
        return {
            "release": release or (candidate or active or {}).get("release", ""),
            "slot": slot,
            "phase": (candidate or empty).get("phase", ""),
            "active_release": (active or empty).get("release", ""),
            "active_servers": servers(running, active["slot"], self.state["ports"], self.address) if active else empty,
            "servers": servers(coming, slot, self.state["ports"], self.address) if slot else empty,
            "releases": self.state["releases"],
            "locked_by": None,
        }

    def tidy(self) -> None:
        """Releases that are not kept, and the names that kept their images."""
        entries = (self.state["active"], self.state["candidate"], self.state["draining"])
        kept = {*self.state["releases"], *(entry["release"] for entry in entries if entry)}
        for name in self.home.names("releases"):
            if name not in kept:
                for service in self.manifest(name).get("images", {}):
                    self.docker.ask("image", "rm", image_tag(self.app, service, name))
                self.home.remove("releases", name)

    def stop_draining(self) -> int:
        """Let the slot that had the traffic before come to its end."""
        entry = self.state["draining"]
        if not entry:
            return 0
        old = self.of_release(entry)
        left = old.drain(self.app["deploy"]["drain_seconds"])
        old.stop()
        self.save(drained(self.state))
        return left


def migrate(release: Release) -> dict[str, Any]:
    """Jobs of `init` that have not run, then the migration. Each is marked as done before the next begins."""
    slot = release.needed()
    app, name = release.app, release.state["candidate"]["release"]
    _together(release, slot)
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


def _together(release: Release, slot: Slot) -> None:
    """What both slots share: network, volumes, and what the app brings along."""
    release.docker.network(network(release.app), release.app["name"])
    release.docker.volumes(volumes(release.app), release.app["name"])
    shared = infra(release.docker, release.home, release.app, release.secrets)
    names = service_names(release.app, shared.slot)
    if names:
        shared.compose("up", "--detach", "--remove-orphans", *names)
        shared.settle(names, _patience(release.app))


def _patience(app: Mapping[str, Any]) -> int:
    return max(int(service["health"]["start_seconds"]) for service in app["services"])


def _once(release: Release, slot: Slot, job: str, seconds: int, what: str) -> str:
    """A command of the new image, with an end: a container that goes on after its time is removed."""
    release.hold(LOCK_SECONDS + seconds)
    name = f"{slot.project}-{job}-once"
    release.docker.ask("rm", "--force", name)  # of a run that was killed
    words = (
        "compose",
        "-p",
        slot.project,
        "-f",
        slot.files[0],
        "-f",
        slot.files[1],
        "run",
        "--rm",
        "-T",
        "--no-deps",
        "--name",
        name,
        job,
    )
    code, out, err = release.docker.ask(*words, seconds=seconds)
    release.docker.ask("rm", "--force", name)
    if code:
        lines = masked(out + err, release.secrets).splitlines()[-20:]
        why = f"did not end within {seconds} s and was stopped" if code == 124 else f"failed with exit status {code}"
        raise ReleaseError(
            f"{what} {why}; the schema may be changed in part, and the release that runs was not touched", lines
        )
    return out


def _revision(release: Release, slot: Slot) -> str:
    command = release.app["migrate"]["revision"]
    if not command:
        return ""
    words = ("run", "--rm", "-T", "--no-deps", migration_name(slot.slot), *command)
    return (slot.compose(*words, seconds=120).strip().splitlines() or [""])[-1][:200]


def start(release: Release) -> dict[str, Any]:
    """The new slot up and healthy, beside the one that runs. Its scheduler waits."""
    slot = release.needed()
    release.hold()
    _together(release, slot)
    static = release.app["static"]
    images = release.manifest(release.state["candidate"]["release"])["images"]
    if static:
        release.docker.copy(images[static["service"]], static["path"], f"{STATIC}/{release.app['name']}/static")
    names = slot.names(BEFORE_SWITCH)
    changed = not slot.running(names)
    slot.up(names)
    slot.settle(names, _patience(release.app))
    slot.probe(release.view()["servers"], patient=True)
    if release.state["candidate"]["phase"] != SWITCHED:
        release.save(reached(release.state, STARTED))
    return {**release.view(), "changed": changed}


def handover(release: Release) -> dict[str, Any]:
    """The scheduler: there is never more than one, so the old one ends before the new one starts."""
    slot = release.needed()
    release.hold()
    names = slot.names(["scheduler"])
    active = release.state["active"]
    if active:
        old = release.of_release(active)
        leaving = old.names(["scheduler"])
        if leaving:
            old.stop(leaving)
    slot.up(names)
    slot.settle(names, _patience(release.app))
    release.save(reached(release.state, SWITCHED))
    return {**release.view(), "changed": bool(names)}


def watch(release: Release) -> dict[str, Any]:
    """Look at the new slot for a while; the first sign of trouble is enough."""
    slot = release.needed()
    release.hold()
    kinds = (*BEFORE_SWITCH, "scheduler") if release.state["candidate"]["phase"] == SWITCHED else BEFORE_SWITCH
    names, called = slot.names(kinds), release.view()["servers"]
    end = time.monotonic() + release.seconds
    while True:
        slot.missing(slot.containers(names), names)
        slot.probe(called, patient=False)
        if time.monotonic() >= end:
            return {"changed": False}
        time.sleep(min(WATCH_PAUSE, max(0.0, end - time.monotonic())))


def finish(release: Release) -> dict[str, Any]:
    """The new release is the one that runs; the old slot is drained and stopped, and old releases go."""
    release.hold()
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
    """The release that runs as it was, and the new slot gone. The traffic is off it already."""
    release.hold()
    slot = release.candidate()
    if slot:
        active = release.state["active"]
        if slot.names(["scheduler"]):
            slot.stop(slot.names(["scheduler"]))
        if active:
            old = release.of_release(active)
            names = old.names((*BEFORE_SWITCH, "scheduler"))
            old.start(names)
            old.settle(names, _patience(old.app))
        slot.drain(release.app["deploy"]["drain_seconds"])
        slot.stop()
        slot.down()
        release.save(dropped(release.state))
        release.tidy()
    release.home.unlock()
    return {**release.view(), "changed": slot is not None}


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
