# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services that cannot read root's keys: where their copies lie, and how each is told that there is a new one.

Standard library only: part of the hook that certbot calls.
"""

from __future__ import annotations

import grp
import os
import pwd
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from . import _certificate_store as store

SECONDS = 10.0


@dataclass(frozen=True)
class Service:
    """Whose copies they are: a user of its own, or root's with a group."""

    root: str
    # Tells the service that the certificate of a name is another one.
    reload: Callable[[str, store.Run], bool]
    user: str = ""
    group: str = ""
    key_mode: int = 0o600

    def place(self) -> store.Place | None:
        """None where the host does not have the service (yet)."""
        try:
            account = pwd.getpwnam(self.user or "root")
            gid = grp.getgrnam(self.group).gr_gid if self.group else account.pw_gid
        except KeyError:
            return None
        if not os.path.isdir(os.path.dirname(self.root)):
            return None
        return store.Place(self.root, account.pw_uid, gid, self.key_mode)


def reload_postgresql(_name: str, run: store.Run) -> bool:
    """Every cluster that runs reads its files anew."""
    rc, out, _err = run(["pg_lsclusters", "--no-header"])
    running = [line.split() for line in out.splitlines() if rc == 0 and line.split()[3:4] == ["online"]]
    for version, cluster, *_rest in running:
        rc, out, err = run(["pg_ctlcluster", version, cluster, "reload"])
        if rc:
            raise store.CertificateError(f"PostgreSQL {version}/{cluster} did not reload: {(err or out).strip()}")
    return bool(running)


class Redis:
    """Just enough of its protocol; a password goes to the socket, and never to a command line."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(SECONDS)
        self.socket.connect(path)
        self.file = self.socket.makefile("rb")

    def ask(self, *words: str) -> list[str]:
        parts = [word.encode() for word in words]
        message = b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
        self.socket.sendall(message)
        return self._answer()

    def _answer(self) -> list[str]:
        line = self.file.readline().decode().rstrip()
        kind, text = line[:1], line[1:]
        if kind == "-":
            raise store.CertificateError(f"it says: {text}")
        if kind == "*":
            return [each for _number in range(int(text)) for each in self._answer()]
        if kind == "$":
            return [self.file.read(int(text) + 2)[:-2].decode()] if int(text) >= 0 else [""]
        return [text]

    def close(self) -> None:
        self.file.close()
        self.socket.close()


def reload_redis(flavour: str, name: str, _run: store.Run, base: str = "") -> bool:
    """Tell the running server the same paths again, and it reads them anew. False where it serves something else."""
    where = f"{base}/run/{flavour}/shipshape.sock"
    if not os.path.exists(where):
        return False  # it does not run, or is not set up by the role: it reads them when it starts
    server = Redis(where)
    try:
        with open(f"{base}/etc/{flavour}/shipshape.password", encoding="utf-8") as file:
            server.ask("AUTH", "shipshape", file.read().strip())
        words = iter(server.ask("CONFIG", "GET", "tls-*-file"))
        served = {key: next(words) for key in words}
        folder = store.current(name, f"{base}/etc/{flavour}/tls")
        paths = {"tls-cert-file": os.path.join(folder, store.CHAIN), "tls-key-file": os.path.join(folder, store.KEY)}
        if any(served.get(key) != path for key, path in paths.items()):
            return False
        server.ask("CONFIG", "SET", *(word for pair in paths.items() for word in pair))
        return True
    except (OSError, store.CertificateError) as exc:
        raise store.CertificateError(f"{flavour} did not take the certificate: {exc}") from exc
    finally:
        server.close()


# PostgreSQL takes a key only if it is its own. Redis runs in a user namespace, where it has its group alone.
SERVICES = {
    "postgresql": Service("/etc/postgresql/tls", reload_postgresql, user="postgres"),
    **{
        flavour: Service(f"/etc/{flavour}/tls", partial(reload_redis, flavour), group=flavour, key_mode=0o640)
        for flavour in ("redis", "valkey")
    },
}
