# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with the services of an app: keys that do not belong to their kind, and names that lead nowhere.

Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ._health_json import read_condition
from ._health_spec import HealthError, mapping

SLOTTED = ("web", "worker", "scheduler", "job")
# Containers have these names, or have these in front of theirs.
TAKEN = re.compile(r"migrate|init-.*|.*-[0-9]+-[ab]|default|backend|inside|localhost")
OWN_VARIABLES = ("APP_NAME", "APP_RELEASE", "APP_SERVICE", "APP_SLOT")
# More than one would do the work of each twice.
MOST_REPLICAS = {"scheduler": 1, "infra": 1, "job": 1}
OF_HTTP = ("path", "json", "version")


def known(path: str, name: str, names: Iterable[str], what: str) -> Iterator[str]:
    names = list(names)
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        yield f"{path}: there is no {name} among {what}" + (f": did you mean {near[0]}?" if near else "")


def twice(path: str, values: Iterable[Any], key: str = "") -> Iterator[str]:
    """What is there twice; `key` is the one below each entry that is compared."""
    seen: dict[Any, int] = {}
    for index, value in enumerate(values):
        first = seen.setdefault(value, index)
        if first != index:
            yield f"{path}[{index}]{key}: {value} is that of {path}[{first}] already"


def service_problems(app: Mapping[str, Any]) -> Iterator[str]:
    """Of all services of an app that has its defaults."""
    services = app["services"]
    yield from twice("services", [service["name"] for service in services], ".name")
    infra: list[str] = []
    for index, service in enumerate(services):
        path = f"services[{index}]"
        if TAKEN.fullmatch(service["name"]):
            yield f"{path}.name: {service['name']} is the name of something else in Docker: choose another"
        yield from _image(path, service)
        yield from _kind(path, service)
        yield from _health(path, service)
        yield from _volumes(path, service)
        yield from environment_problems(path, service)
        for number, other in enumerate(service["after"]):
            if service["kind"] != "infra":
                yield f"{path}.after: only a service of kind infra waits for others"
                break
            yield from known(f"{path}.after[{number}]", other, infra, "the services of kind infra before it")
        infra += [service["name"]] if service["kind"] == "infra" else []
    published = [service["publish"] for service in services if service["publish"] is not None]
    for port in sorted({port for port in published if published.count(port) > 1}):
        yield f"services: {port} is published by two of them: give each a port of its own"


def _image(path: str, service: Mapping[str, Any]) -> Iterator[str]:
    if service["version"] is None and service["digest"] is None:
        yield f"{path}.version: it is missing: say which one of {service['image']}, or give its digest"
    if service["version"] == "latest" and service["digest"] is None:
        yield f"{path}.version: latest is another image each day, so there is no way back to it: name one version"


def _kind(path: str, service: Mapping[str, Any]) -> Iterator[str]:
    kind = service["kind"]
    most = MOST_REPLICAS.get(kind)
    if most is not None and service["replicas"] > most:
        yield f"{path}.replicas: {service['replicas']} is too many: of a {kind} there is one, or none"
    if kind == "job" and service["replicas"] != 1:
        yield f"{path}.replicas: a job runs only where migrate or init name it: leave it out"
    if kind == "web" and service["port"] is None:
        yield f"{path}.port: it is missing: say on which port in its container it serves"
    if kind == "web" and not service["internet"]:
        yield f"{path}.internet: an internal network publishes no port, so a web service needs the other one as well"
    if kind not in ("web", "infra") and service["port"] is not None:
        yield f"{path}.port: a {kind} serves nothing: leave it out, or make it a service of kind web"
    if kind != "infra" and service["publish"] is not None:
        yield f"{path}.publish: only a service of kind infra has one: the ports of others change with each release"
    if service["publish"] is not None and service["port"] is None:
        yield f"{path}.port: it is missing: say which port in its container is to be published"
    if service["publish"] is not None and not service["internet"]:
        yield f"{path}.internet: an internal network publishes no port: leave out one of publish and internet"
    if service["balance"] != "round_robin" and kind != "web":
        yield f"{path}.balance: only requests to a web service are balanced: leave it out"


def _health(path: str, service: Mapping[str, Any]) -> Iterator[str]:
    health = service["health"]
    if service["kind"] == "web" and health["path"] is None:
        yield f"{path}.health.path: it is missing: say which path answers once it can serve, such as /health"
    for key in OF_HTTP:
        if service["kind"] != "web" and health[key] is not None:
            yield f"{path}.health.{key}: only a web service is asked over HTTP: use health.command"
    if service["kind"] == "job" and health["command"] is not None:
        yield f"{path}.health.command: a job is judged by its exit status: leave it out"
    if health["version"] is not None and service["version"] is None:
        yield f"{path}.health.version: there is no version to compare with: give the service one beside its digest"
    try:
        if health["json"] is not None:
            mapping(read_condition).read(health["json"], f"{path}.health.json")
        if health["version"] is not None:
            read_condition(health["version"]["json_field"], "", f"{path}.health.version.json_field")
    except HealthError as exc:
        yield from exc.problems


def _volumes(path: str, service: Mapping[str, Any]) -> Iterator[str]:
    for index, volume in enumerate(service["volumes"]):
        if (volume["name"] is None) == (volume["host"] is None):
            yield (
                f"{path}.volumes[{index}].name: give either name, a volume that is kept for the app, or host, a path"
                " on the host"
            )
    yield from twice(f"{path}.volumes", [volume["path"] for volume in service["volumes"]], ".path")
    for target in sorted(
        {each.partition(":")[0] for each in service["tmpfs"]} & {v["path"] for v in service["volumes"]}
    ):
        yield f"{path}.tmpfs: {target} is the path of a volume already"


def environment_problems(path: str, owner: Mapping[str, Any]) -> Iterator[str]:
    """Of an app or a service; a name, never a value, is said."""
    for kind in ("env", "secrets"):
        for name in owner[kind]:
            if name in OWN_VARIABLES:
                yield f"{path}{'.' if path else ''}{kind}.{name}: every container has it already: choose another name"
    for name in sorted(owner["env"].keys() & owner["secrets"].keys()):
        yield f"{path}{'.' if path else ''}env.{name}: it is among the secrets as well: keep one of them"
