# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring a certificate to the services that use it: copy, flip, reload, prove, or flip back.

What has been done for which certificate is written down only after it was proven. So a run that was killed in between,
or a service that refused, is found by the next run, and nothing is done twice.
Standard library only: part of the hook that certbot calls.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import _certificate_nginx as nginx
from . import _certificate_services as services
from . import _certificate_store as store
from ._run_command import run_command

STATE = "/var/lib/shipshape/certbot"
NGINX = "nginx"


def read_json(path: str) -> dict[str, Any]:
    """What was written down; nothing where it is missing or was cut short."""
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write_json(path: str, data: Mapping[str, Any]) -> None:
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    temporary = f"{path}.{os.getpid()}"
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(data, file, indent=1, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


@dataclass(frozen=True)
class Spec:
    """Who uses a certificate, and what else to run when there is a new one."""

    targets: tuple[str, ...] = (NGINX,)
    commands: tuple[tuple[str, ...], ...] = ()

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Spec:
        return cls(tuple(data.get("targets", ())), tuple(tuple(words) for words in data.get("commands", ())))


@dataclass(frozen=True)
class World:
    """The world outside; tests bring their own."""

    run: store.Run = run_command
    nginx_root: str = store.ROOT
    lock: str = store.LOCK
    state: str = STATE
    reload_nginx: Callable[[store.Run], bool] = nginx.reload
    services: Mapping[str, services.Service] = field(default_factory=lambda: services.SERVICES)

    @property
    def record(self) -> str:
        return os.path.join(self.state, "deployed.json")

    @contextlib.contextmanager
    def alone(self, targets: Sequence[str]) -> Iterator[None]:
        """One run at a time, and none of nginx_config where nginx is concerned; other hosts have no /etc/nginx."""
        with store.lock(self.state, mode=0o700), contextlib.ExitStack() as stack:
            if NGINX in targets:
                stack.enter_context(store.lock(self.lock))
            yield

    def place(self, target: str) -> store.Place | None:
        return store.Place(self.nginx_root) if target == NGINX else self.services[target].place()


def recorded(name: str, world: World) -> dict[str, Any]:
    """Which certificate each service took last."""
    found = read_json(world.record).get(name)
    return found if isinstance(found, dict) else {}


def command_key(words: Sequence[str]) -> str:
    return f"command {shlex.join(words)}"


def pending(name: str, identity: str, spec: Spec, world: World) -> list[str]:
    """What is left to do for this certificate; a service that the host does not have is not."""
    done, left = recorded(name, world), []
    for target in spec.targets:
        place = world.place(target)
        if place and (done.get(target) != identity or store.target(name, place.root) != identity):
            left.append(target)
    return left + [key for key in map(command_key, spec.commands) if done.get(key) != identity]


def behind(name: str, identity: str, spec: Spec, world: World) -> bool:
    """Whether a service never took this certificate. One that somebody led back to an older one by hand did."""
    done, left = recorded(name, world), pending(name, identity, spec, world)
    stands_in = NGINX in left and not store.has_own(name, world.nginx_root)
    return stands_in or any(done.get(task) != identity for task in left)


def _deploy_nginx(name: str, pair: store.Pair, world: World) -> None:
    root, old = world.nginx_root, store.target(name, world.nginx_root)
    new = store.add(name, pair, store.Place(root))
    store.point(name, new, root)
    try:
        world.reload_nginx(world.run)
    except BaseException as exc:
        if old and old != new:
            store.point(name, old, root)
            if isinstance(exc, store.CertificateError):
                _back(world, exc)
        raise
    store.prune(name, [new, old if old != store.BORROWED else ""], root)


def _back(world: World, cause: store.CertificateError) -> None:
    # Where this is refused too, nginx never took the new one: its workers have the old one in memory.
    with contextlib.suppress(store.CertificateError):
        world.reload_nginx(world.run)
    raise store.CertificateError(f"the old certificate goes on being served. {cause}") from cause


def _deploy_copy(name: str, target: str, pair: store.Pair, world: World) -> None:
    place = world.place(target)
    if place is None:
        return
    old = store.target(name, place.root)
    store.point(name, store.add(name, pair, place), place.root)
    try:
        world.services[target].reload(name, world.run)
    except BaseException:
        # The server goes on with what it has in memory; so it would at its next start.
        if old:
            store.point(name, old, place.root)
        raise
    store.prune(name, [pair.identity, old], place.root)


def _do(name: str, task: str, pair: store.Pair, spec: Spec, world: World) -> None:
    if task == NGINX:
        _deploy_nginx(name, pair, world)
    elif task in world.services:
        _deploy_copy(name, task, pair, world)
    else:
        words = next(each for each in spec.commands if command_key(each) == task)
        rc, out, err = world.run(words)
        if rc:
            raise store.CertificateError(f"`{shlex.join(words)}` failed (rc {rc}): {(err or out).strip()}")


def deploy(name: str, pair: store.Pair, spec: Spec, world: World) -> tuple[list[str], list[str]]:
    """What was done, and what went wrong: one service that refuses does not keep the others from theirs."""
    done, problems = [], []
    with world.alone(spec.targets):
        for task in pending(name, pair.identity, spec, world):
            try:
                _do(name, task, pair, spec, world)
                taken = {**recorded(name, world), task: pair.identity}
                write_json(world.record, {**read_json(world.record), name: taken})
                done.append(task)
            except store.CertificateError as exc:
                problems.append(f"{name}: {task}: {exc}")
            except OSError as exc:
                where = exc.filename or f"the files of {task}"
                problems.append(f"{name}: {task}: {where}: {exc.strerror}. The old certificate goes on being served")
    return done, problems


def withdraw(name: str, spec: Spec, world: World) -> bool:
    """Back to the placeholder, and so without HSTS; copies stay, as their servers would not start without them."""
    served = NGINX in spec.targets and store.has_own(name, world.nginx_root)
    with world.alone(spec.targets if served else ()):
        record = read_json(world.record)
        if record.pop(name, None) is not None:
            write_json(world.record, record)
        old = store.target(name, world.nginx_root)
        if not served or not store.has_own(name, world.nginx_root):
            return False
        store.make_placeholder(name, world.run, world.nginx_root)
        store.point(name, store.PLACEHOLDER, world.nginx_root)
        try:
            world.reload_nginx(world.run)
        except store.CertificateError:
            store.point(name, old, world.nginx_root)
            raise
        store.prune(name, [], world.nginx_root)
        return True
