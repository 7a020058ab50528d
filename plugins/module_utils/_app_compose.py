# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The compose documents of an app: one for each slot, one for its infrastructure, and one with the secrets of each.

Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Optional

from ._app_model import normal
from ._app_services import SLOTTED

INFRA = "infra"
RUNNING = ("web", "worker", "scheduler")
LABELS = "stack.shipshape."
# What a YAML reader refuses as it is, or takes for the end of a line. JSON allows all of it inside a text.
UNREADABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
# How often a container's own health is looked at after it was up once.
STEADY = "10s"


def project(app: Mapping[str, Any], slot: str) -> str:
    """The compose project of a slot, `a` or `b`, or of the infrastructure, `infra`."""
    return f"{app['name']}-{slot}"


def network(app: Mapping[str, Any]) -> str:
    """The network that both slots and the infrastructure are in, without a way out. The engine makes it."""
    return f"{app['name']}-backend"


def volumes(app: Mapping[str, Any]) -> list[str]:
    """What Docker calls the volumes of the app. The engine makes them."""
    named = {volume["name"] for service in normal(app)["services"] for volume in service["volumes"]}
    return [f"{app['name']}_{name}" for name in sorted(name for name in named if name)]


def replica(service: str, number: int, slot: str) -> str:
    """What compose calls one of the containers of a service: it names its slot, as both slots share a network."""
    return f"{service}-{number}-{slot}"


def replicas(app: Mapping[str, Any], slot: str, kinds: Collection[str] = RUNNING) -> dict[str, list[str]]:
    """The services of some kinds, each with what compose calls its containers."""
    wanted = {INFRA} if slot == INFRA else set(kinds) & set(RUNNING)
    found = {}
    for service in filter(lambda each: each["kind"] in wanted, normal(app)["services"]):
        numbers = range(1, service["replicas"] + 1)
        found[service["name"]] = [
            service["name"] if slot == INFRA else replica(service["name"], each, slot) for each in numbers
        ]
    return found


def service_names(app: Mapping[str, Any], slot: str, kinds: Collection[str] = RUNNING) -> list[str]:
    """What compose calls the containers of some kinds, for `docker compose up`; the infrastructure has one kind."""
    return [name for names in replicas(app, slot, kinds).values() for name in names]


def migration_name(slot: str) -> str:
    """What compose calls the migration, for `docker compose run`."""
    return f"migrate-{slot}"


def init_name(job: str, slot: str) -> str:
    """What compose calls a job of `init`, for `docker compose run`."""
    return f"init-{job}-{slot}"


def dumps(document: Mapping[str, Any]) -> str:
    """The document as JSON that a reader of YAML understands alike."""
    text = json.dumps(document, ensure_ascii=False, indent=1, sort_keys=True)
    return UNREADABLE.sub(lambda found: f"\\u{ord(found.group()):04x}", text) + "\n"


def slot_document(
    app: Mapping[str, Any],
    slot: str,
    images: Mapping[str, str],
    ports: Mapping[str, int],
    publish_address: str,
    release: str,
) -> dict[str, Any]:
    """What runs in a slot, and the jobs that may run there.

    `images` has the pinned image of each service; `ports` has the port of the host for each container of a web service.
    """
    made = normal(app)
    inside = any(not service["internet"] for service in made["services"] if service["kind"] in SLOTTED)
    services: dict[str, Any] = {}
    for service in made["services"]:
        if service["kind"] not in SLOTTED:
            continue
        common = _slotted(made, service, images[service["name"]], slot, release)
        for name in replicas(made, slot, RUNNING).get(service["name"], []):
            running = {**common, "restart": "unless-stopped", "networks": _networks(service, inside)}
            if service["kind"] == "web":
                running["ports"] = [_port(service["port"], ports[name], publish_address)]
            services[name] = running
        for name, job in _jobs(made, service["name"], slot):
            services[name] = {**_job(common, job), "networks": _networks({**service, "name": None}, inside)}
    found = {
        "name": project(made, slot),
        "services": services,
        "networks": {"default": {}, "backend": {"name": network(made), "external": True}},
        **_volumes(made, SLOTTED),
    }
    if inside:
        found["networks"]["inside"] = {"internal": True}
    return _literal(found)


def infra_document(
    app: Mapping[str, Any], images: Mapping[str, str], publish_address: str = "127.0.0.1"
) -> dict[str, Any]:
    """What the app brings along beside its own code: of no slot and of no release."""
    made = normal(app)
    services = {}
    own = [service for service in made["services"] if service["kind"] == INFRA and service["replicas"]]
    conditions = {
        service["name"]: {"condition": "service_healthy" if service["health"]["command"] else "service_started"}
        for service in own
    }
    for service in own:
        found = _service(made, service, images[service["name"]], INFRA)
        found["restart"] = "unless-stopped"
        found["environment"] = dict(service["env"])
        found["networks"] = {**({"default": {}} if service["internet"] else {}), "backend": {}}
        after = {name: conditions[name] for name in service["after"] if name in conditions}
        if after:
            found["depends_on"] = after
        if service["publish"] is not None:
            found["ports"] = [_port(service["port"], service["publish"], publish_address)]
        services[service["name"]] = found
    return _literal(
        {
            "name": project(made, INFRA),
            "services": services,
            "networks": {"default": {}, "backend": {"name": network(made), "external": True}},
            **_volumes(made, (INFRA,)),
        }
    )


def secrets_document(app: Mapping[str, Any], secrets: Mapping[str, Mapping[str, str]], slot: str) -> dict[str, Any]:
    """A second document that gives each container its secrets; `slot` is `a`, `b` or `infra`."""
    made = normal(app)
    services = {}
    for service in made["services"]:
        own = {key: str(value) for key, value in secrets.get(service["name"], {}).items()}
        if own:
            names = replicas(made, slot).get(service["name"], [])
            names += [name for name, _job in _jobs(made, service["name"], slot) if slot != INFRA]
            services.update({name: {"environment": own} for name in names})
    return _literal({"services": services})


def _literal(document: Any) -> Any:
    """Compose takes a $ for the beginning of a variable, and $$ for a $."""
    if isinstance(document, str):
        return document.replace("$", "$$")
    if isinstance(document, Mapping):
        return {key: _literal(value) for key, value in document.items()}
    if isinstance(document, (list, tuple)):
        return [_literal(value) for value in document]
    return document


def _jobs(app: Mapping[str, Any], service: str, slot: str) -> list[tuple[str, Mapping[str, Any]]]:
    """The jobs that a service's image does, each with what compose calls it."""
    found = [(init_name(job["name"], slot), job) for job in app["init"] if job["service"] == service]
    if app["migrate"] and app["migrate"]["service"] == service:
        found.append((migration_name(slot), app["migrate"]))
    return found


def _job(common: Mapping[str, Any], job: Mapping[str, Any]) -> dict[str, Any]:
    """Runs only where it is asked for by name, and once."""
    found = {key: value for key, value in common.items() if key != "healthcheck"}
    found.update({"restart": "no", "profiles": ["jobs"]})
    if job["command"]:
        found["command"] = job["command"]
    if "lock_timeout" in job:
        # Every client that is built on libpq hands this to the server; a migration that waits for a lock makes all
        # others wait behind it.
        options = f"-c lock_timeout={job['lock_timeout'] * 1000}"
        found["environment"] = {"PGOPTIONS": options, **common["environment"]}
    return found


def _networks(service: Mapping[str, Any], inside: bool) -> dict[str, Any]:
    alias = {"aliases": [service["name"]]} if service["name"] else {}
    found: dict[str, Any] = {"backend": {}}
    if service["internet"]:
        found["default"] = alias
    if inside:
        found["inside"] = alias
    return found


def _port(target: int, published: int, address: str) -> dict[str, Any]:
    return {"target": target, "published": str(published), "host_ip": address, "protocol": "tcp"}


def _slotted(app: Mapping[str, Any], service: Mapping[str, Any], image: str, slot: str, release: str) -> dict[str, Any]:
    found = _service(app, service, image, slot)
    found["labels"][f"{LABELS}release"] = release
    found["environment"] = {
        **app["env"],
        **service["env"],
        "APP_NAME": app["name"],
        "APP_RELEASE": release,
        "APP_SERVICE": service["name"],
        "APP_SLOT": slot,
    }
    return found


def _service(app: Mapping[str, Any], service: Mapping[str, Any], image: str, slot: str) -> dict[str, Any]:
    """What every container has. The image is there already, so none is pulled while a slot starts."""
    limits = service["limits"]
    own = {"app": app["name"], "slot": slot, "service": service["name"], "kind": service["kind"]}
    found: dict[str, Any] = {
        "image": image,
        "pull_policy": "never",
        "init": service["init"],
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "stop_grace_period": f"{service['stop_seconds']}s",
        "labels": {
            **service["labels"],
            **{f"{LABELS}{key}": value for key, value in own.items()},
            f"{LABELS}version": service["version"] or service["digest"],
        },
    }
    optional = {
        "command": service["command"],
        "entrypoint": service["entrypoint"],
        "user": service["user"],
        "read_only": service["read_only"],
        "tmpfs": service["tmpfs"],
        "cap_add": service["cap_add"],
        "ulimits": service["ulimits"],
        "extra_hosts": {**app["extra_hosts"]},
        "cpus": limits["cpus"],
        "mem_limit": limits["memory"] and limits["memory"].lower(),
        "pids_limit": limits["pids"],
        "healthcheck": _healthcheck(service["health"]),
        "volumes": [_mount(volume) for volume in service["volumes"]],
    }
    found.update({key: value for key, value in optional.items() if value})
    return found


def _healthcheck(health: Mapping[str, Any]) -> Optional[dict[str, Any]]:
    """Docker's own; without a command that of the image, if it has one."""
    command = health["command"]
    if command is None:
        return None
    return {
        "test": ["CMD-SHELL", command] if isinstance(command, str) else ["CMD", *command],
        "interval": STEADY,
        "start_interval": f"{health['interval']:g}s",
        "start_period": f"{health['start_seconds']}s",
        "timeout": f"{health['timeout']:g}s",
        "retries": health["consecutive"],
    }


def _mount(volume: Mapping[str, Any]) -> dict[str, Any]:
    found = {"target": volume["path"], "read_only": volume["read_only"]}
    if volume["name"]:
        return {"type": "volume", "source": volume["name"], **found}
    return {"type": "bind", "source": volume["host"], "bind": {"create_host_path": False}, **found}


def _volumes(app: Mapping[str, Any], kinds: Iterable[str]) -> dict[str, Any]:
    named = {v["name"] for each in app["services"] if each["kind"] in kinds for v in each["volumes"] if v["name"]}
    return {"volumes": {name: {"name": f"{app['name']}_{name}", "external": True} for name in sorted(named)}}
