# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of Docker and of Compose, by their commands. What they answer is read by pure functions."""

from __future__ import annotations

import json
import os
import time
from calendar import timegm
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Optional

from ._app_compose import LABELS
from ._release_state import ReleaseError
from ._run_command import run_command

PULL_SECONDS = 1800
COMPOSE_SECONDS = 600
LOG_LINES = 20
ESTABLISHED = "01"
KILLED = 137
# Docker, too, takes a container for started after so long, and begins its restarts anew.
STARTED_SECONDS = 10
LOOPBACKS = ("0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F")


@dataclass(frozen=True)
class Container:
    """One container, as far as a release depends on it."""

    id: str
    name: str
    status: str
    health: str
    restarts: int
    exit_code: int
    out_of_memory: bool
    pid: int
    started: float

    @property
    def runs(self) -> bool:
        return self.status == "running"

    def steady(self, now: float) -> bool:
        """Whether it runs to stay. One that Docker started again once, some time ago, needs nothing."""
        return self.runs and (not self.restarts or now - self.started >= STARTED_SECONDS)

    @property
    def trouble(self) -> str:
        """What is wrong for good; empty for one that runs, or may still come up."""
        if self.out_of_memory:
            return "was out of memory"
        if self.status in ("exited", "dead", "restarting", "removing") or self.restarts:
            killed = " (killed, or out of memory)" if self.exit_code == KILLED else ""
            return f"ended with exit status {self.exit_code}{killed}"
        if self.health == "unhealthy":
            return "is unhealthy by its own health check"
        return ""


def containers(text: str) -> list[Container]:
    """From what C(docker inspect) says."""
    found = []
    for each in json.loads(text or "[]"):
        state = each["State"]
        found.append(
            Container(
                id=each["Id"],
                name=each["Config"]["Labels"].get("com.docker.compose.service", each["Name"].lstrip("/")),
                status=state["Status"],
                health=(state.get("Health") or {}).get("Status", ""),
                restarts=each.get("RestartCount", 0),
                exit_code=state.get("ExitCode", 0),
                out_of_memory=bool(state.get("OOMKilled")),
                pid=state.get("Pid", 0),
                started=moment(state.get("StartedAt", "")),
            )
        )
    return sorted(found, key=lambda container: container.name)


def moment(text: str) -> float:
    """Seconds since 1970 from Docker's time, which has nine digits after the point; 0 for one that never started."""
    head, _point, _rest = text.rstrip("Z").partition(".")
    return float(timegm(time.strptime(head, "%Y-%m-%dT%H:%M:%S"))) if head and not head.startswith("0001") else 0.0


def last_exit(text: str) -> Optional[int]:
    """The exit status that a container ended with last, from what C(docker events) says of its ends, one a line."""
    ends = [json.loads(line) for line in text.splitlines() if line.strip()]
    return int(ends[-1]["Actor"]["Attributes"]["exitCode"]) if ends else None


def pinned(image: str, text: str) -> str:
    """The image by its digest, from what C(docker image inspect) says; by its id if it came from no registry."""
    found = json.loads(text)[0]
    for digest in found.get("RepoDigests") or []:
        if digest.rpartition("@")[0] in (
            image,
            f"docker.io/{image}",
            image.replace("docker.io/", "").replace("library/", ""),
        ):
            return str(digest)
    return str(found["Id"])


def established(table: str, port: int) -> int:
    """Connections that clients have to a port, from C(/proc/PID/net/tcp); a container's own calls are none."""
    rows = [line.split() for line in table.splitlines()[1:]]
    ends = [row[1].rpartition(":") for row in rows if len(row) > 3 and row[3] == ESTABLISHED]
    return sum(int(number, 16) == port and address not in LOOPBACKS for address, _colon, number in ends)


class Docker:
    """The commands, each with an end."""

    def ask(
        self, *words: str, seconds: float = 120, environment: Optional[Mapping[str, str]] = None
    ) -> tuple[int, str, str]:
        return run_command(["docker", *words], environment, seconds=seconds)

    def do(self, *words: str, seconds: float = 120) -> str:
        code, out, err = self.ask(*words, seconds=seconds)
        if code:
            raise ReleaseError(f"docker {words[0]} failed: {(err or out).strip()[-1500:] or f'exit status {code}'}")
        return out

    def information(self) -> dict[str, Any]:
        """What the engine says of itself. Without it, and without Compose, nothing can be done."""
        code, out, err = self.ask("info", "--format", "{{json .}}")
        if code:
            raise ReleaseError(
                f"Docker does not answer: {(err or out).strip()}. Run the role docker on this host first"
            )
        if self.ask("compose", "version", "--short")[0]:
            raise ReleaseError(
                "Docker has no command `compose`: Debian 12 has no package for it, so name a repository"
                " (docker_repository_url); elsewhere set docker_compose: true and run the role docker"
            )
        found: dict[str, Any] = json.loads(out)
        return found

    def pin(self, service: Mapping[str, Any], fetch: bool = True) -> str:
        """The image of a service by a name that always means the same. None is fetched without C(fetch)."""
        image = service["image"]
        name = f"{image}@{service['digest']}" if service["digest"] else f"{image}:{service['version']}"
        code, out, _err = self.ask("image", "inspect", name)
        if fetch and service["pull"] != "never" and (code or service["pull"] == "always"):
            code, out, err = self.ask("pull", "--quiet", name, seconds=PULL_SECONDS)
            if code:
                raise ReleaseError(
                    f"the image {name} of {service['name']} cannot be pulled: {(err or out).strip()[-800:]}"
                )
            code, out, _err = self.ask("image", "inspect", name)
        if code:
            if not fetch:
                return name
            raise ReleaseError(
                f"the image {name} of {service['name']} is not on this host, and pull is never: load it first"
            )
        return pinned(image, out)

    def ask_compose(self, project: str, files: Sequence[str], *words: str, seconds: float) -> tuple[int, str, str]:
        named = [word for file in files for word in ("-f", file)]
        return self.ask("compose", "-p", project, *named, *words, seconds=seconds)

    def compose(self, project: str, files: Sequence[str], *words: str, seconds: float = COMPOSE_SECONDS) -> str:
        code, out, err = self.ask_compose(project, files, *words, seconds=seconds)
        if code:
            said = (err or out).strip()[-1500:] or f"exit status {code}"
            raise ReleaseError(f"docker compose {words[0]} failed: {said}")
        return out

    def containers(self, project: str) -> list[Container]:
        # Those that a job left, or an earlier run of it, are not of the slot.
        label = f"label=com.docker.compose.project={project}"
        ids = self.do("ps", "-aq", "--filter", label, "--filter", "label=com.docker.compose.oneoff=False").split()
        return containers(self.do("inspect", "--type", "container", *ids)) if ids else []

    def ended(self, container: Container) -> Container:
        """With the exit status of its last end: one that was started again shows that of the run it is in, 0."""
        if not container.restarts:
            return container
        words = ("--filter", f"container={container.id}", "--filter", "event=die", "--format", "{{json .}}")
        text = self.do("events", "--since", "0", "--until", str(int(time.time()) + 1), *words)
        code = last_exit(text)
        return container if code is None else replace(container, exit_code=code)

    def log(self, container: Container, lines: int = LOG_LINES) -> list[str]:
        _code, out, err = self.ask("logs", "--tail", str(lines), container.id)
        return (out + err).splitlines()[-lines:]

    def published(self) -> set[int]:
        """Ports of the host that containers have, running or not."""
        ids = self.do("ps", "-aq").split()
        found = json.loads(self.do("inspect", "--type", "container", *ids)) if ids else []
        bindings = [each["HostConfig"].get("PortBindings") or {} for each in found]
        return {
            int(one["HostPort"])
            for each in bindings
            for ports in each.values()
            for one in ports or []
            if one["HostPort"]
        }

    def connections(self, container: Container, port: int) -> int:
        total = 0
        for family in ("tcp", "tcp6"):
            try:
                with open(f"/proc/{container.pid}/net/{family}", encoding="ascii") as file:
                    total += established(file.read(), port)
            except OSError:
                continue  # it ended meanwhile, or the host has no IPv6
        return total

    def network(self, name: str, app: str) -> None:
        if self.ask("network", "inspect", name)[0]:
            self.do("network", "create", "--internal", "--label", f"{LABELS}app={app}", name)

    def volumes(self, names: Iterable[str], app: str) -> None:
        for name in names:
            # As good as asking first: one that is there stays as it is.
            self.do("volume", "create", "--label", f"{LABELS}app={app}", name)

    def copy(self, image: str, path: str, to: str) -> None:
        """Files out of an image. What is there and not in the image stays."""
        os.makedirs(to, mode=0o755, exist_ok=True)
        made = self.do("create", image).strip()
        try:
            self.do("cp", f"{made}:{path}/.", to, seconds=COMPOSE_SECONDS)
        finally:
            self.do("rm", "--force", made)
