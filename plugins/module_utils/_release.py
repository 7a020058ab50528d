# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One app on one host, for the length of one step: what is known of it, its lock and its slots."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Optional

from ._app_release import image_tag
from ._release_docker import Docker
from ._release_home import Home
from ._release_slot import Slot
from ._release_state import LOCK_SECONDS, ReleaseError, drained, holder, ports_of, servers


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

    def other_run(self) -> Optional[dict[str, Any]]:
        """Take the lock, or say whose it is; in check mode it is not taken."""
        if self.check:
            return holder(self.home.owner(), self.run, time.time(), self.take_lock)
        return self.home.lock(self.run, self.take_lock)

    def hold(self, seconds: float = 0) -> None:
        """Renew the lock for a step that may take so long; who lost it may not go on."""
        other = self.home.lock(self.run, self.take_lock, LOCK_SECONDS + seconds)
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
