# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One slot of an app, or its infrastructure, as a compose project: started, asked, drained, stopped."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Optional

from ._app_checks import slot_checks, slot_options
from ._app_compose import INFRA, dumps, project, replicas, secrets_document, service_names
from ._health_engine import failure, run
from ._health_plan import read_plan
from ._probe_registry import REGISTRY
from ._release_docker import Container, Docker
from ._release_home import Home
from ._release_state import ReleaseError, masked

POLL_SECONDS = 0.5
# A container without a health check of its own has to run for so long before it is believed.
STABLE_SECONDS = 3
# One answer may be lost on a busy host; two in a row are the release's fault.
WATCH_ATTEMPTS = 3


class Slot:
    """The containers of a slot, and the files that they are made from."""

    def __init__(
        self, docker: Docker, home: Home, app: Mapping[str, Any], slot: str, secrets: Mapping[str, Mapping[str, str]]
    ) -> None:
        self.docker, self.home, self.app, self.slot, self.secrets = docker, home, app, slot, secrets
        self.project = project(app, slot)

    @property
    def files(self) -> list[str]:
        return [self.home.path("slots", self.slot, name) for name in ("compose.json", "secrets.json")]

    @property
    def patience(self) -> int:
        """How long the slowest service may take to be healthy, in seconds."""
        return max(int(service["health"]["start_seconds"]) for service in self.app["services"])

    def write(self, document: Mapping[str, Any]) -> None:
        """Secrets first: no container may ever be made without them."""
        self.home.write(dumps(secrets_document(self.app, self.secrets, self.slot)), "slots", self.slot, "secrets.json")
        self.home.write(dumps(document), "slots", self.slot, "compose.json")

    def text(self) -> str:
        return self.home.text("slots", self.slot, "compose.json")

    def compose(self, *words: str, seconds: float = 600) -> str:
        try:
            return self.docker.compose(self.project, self.files, *words, seconds=seconds)
        except ReleaseError as exc:
            raise ReleaseError(masked(str(exc), self.secrets)) from None

    def names(self, kinds: Collection[str]) -> list[str]:
        return service_names(self.app, self.slot, kinds)

    def containers(self, names: Optional[Collection[str]] = None) -> list[Container]:
        found = self.docker.containers(self.project)
        return [each for each in found if names is None or each.name in names]

    def running(self, names: Collection[str]) -> bool:
        return {each.name for each in self.containers(names) if each.steady(time.time())} == set(names)

    def up(self, names: Sequence[str]) -> None:
        if names:
            self.compose("up", "--detach", "--no-deps", *names)

    def start(self, names: Sequence[str]) -> None:
        """Containers of the slot as they were; those that are gone are made again."""
        if names:
            self.compose("up", "--detach", "--no-deps", "--no-recreate", *names)

    def once(self, job: str, seconds: int) -> tuple[int, str]:
        """Run a job: its exit status and what it said. A container that goes on after its time is removed."""
        name = f"{self.project}-{job}-once"
        self.docker.ask("rm", "--force", name)  # of a run that was killed
        words = ("run", "--rm", "-T", "--no-deps", "--name", name, job)
        code, out, err = self.docker.ask_compose(self.project, self.files, *words, seconds=seconds)
        self.docker.ask("rm", "--force", name)
        return code, masked(out + err, self.secrets)

    def stop(self, names: Optional[Sequence[str]] = None) -> None:
        """Gracefully, each with the time that it was declared to need."""
        found = self.containers(names)
        if any(each.status in ("running", "restarting", "paused") for each in found):
            grace = max(service["stop_seconds"] for service in self.app["services"])
            self.compose("stop", *(names or ()), seconds=grace + 60)

    def down(self) -> None:
        """Containers and network. Volumes are not the slot's."""
        if self.text():
            self.compose("down", "--remove-orphans")

    def refuse(self, container: Container, why: str) -> ReleaseError:
        log = [masked(line, self.secrets) for line in self.docker.log(container)]
        return ReleaseError(f"{container.name} {why}", log)

    def judge(self, found: Sequence[Container], names: Collection[str]) -> None:
        for container in found:
            if container.trouble:
                raise self.refuse(container, self.docker.ended(container).trouble)
        gone = sorted(set(names) - {each.name for each in found})
        if gone:
            raise ReleaseError(f"{gone[0]} is gone: somebody removed it, or Docker could not make it")

    def settle(self, names: Collection[str], seconds: float) -> None:
        """Wait until every container is healthy, or has run for a while; the first that fails ends it."""
        end, since = time.monotonic() + seconds, None
        while names:
            found = self.containers(names)
            self.judge(found, names)
            waiting = [each for each in found if not each.runs or each.health not in ("", "healthy")]
            since = None if waiting else since or time.monotonic()
            if since and time.monotonic() - since >= STABLE_SECONDS:
                return
            if time.monotonic() > end and waiting:
                state = waiting[0].health or waiting[0].status
                raise self.refuse(waiting[0], f"was not healthy within {seconds:g} s: it is {state}")
            time.sleep(POLL_SECONDS)

    def probe(self, servers: Mapping[str, Any], patient: bool) -> None:
        """Ask each web service directly, as a load balancer would, until it is healthy, or once or twice."""
        for service in self.app["services"]:
            own = {service["name"]: servers.get(service["name"], [])}
            checks = slot_checks(self.app, own)
            if not checks:
                continue
            options = dict(slot_options(service))
            if not patient:
                options.update(attempts=WATCH_ATTEMPTS, consecutive_successes=1)
            self._ask({**options, "checks": checks}, service)

    def _ask(self, call: Mapping[str, Any], service: Mapping[str, Any]) -> None:
        """The probes, while the containers are looked after: one that ended will not answer any more."""
        names = replicas(self.app, self.slot, ["web"])[service["name"]]
        plan = read_plan(call, REGISTRY)
        answers: list[dict[str, Any]] = []
        thread = threading.Thread(target=lambda: answers.append(run(plan)), daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(POLL_SECONDS)
            self.judge(self.containers(names), names)
        message = failure(plan, answers[0]) if answers else "the probes broke off"
        if message:
            first = self.containers(names)[0]
            raise self.refuse(first, f"does not answer as it should: {message}")

    def drain(self, seconds: float) -> int:
        """Wait until no client is connected any more; returns how many still were when the time was up."""
        ports = {
            name: service["port"]
            for service in self.app["services"]
            if service["kind"] == "web"
            for name in replicas(self.app, self.slot, ["web"]).get(service["name"], [])
        }
        end = time.monotonic() + seconds
        while True:
            busy = sum(self.docker.connections(each, ports[each.name]) for each in self.containers(ports) if each.runs)
            if not busy or time.monotonic() >= end:
                return busy
            time.sleep(POLL_SECONDS)


def infra(docker: Docker, home: Home, app: Mapping[str, Any], secrets: Mapping[str, Mapping[str, str]]) -> Slot:
    return Slot(docker, home, app, INFRA, secrets)
