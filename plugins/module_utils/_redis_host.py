# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What redis_config asks of a host: its files, its unit, the running server, and a scratch server on new files."""

from __future__ import annotations

import contextlib
import glob
import grp
import os
import pwd
import re
import shutil
import socket
import ssl
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.shipshape.stack.plugins.module_utils._config_files import read_text
from ansible_collections.shipshape.stack.plugins.module_utils._redis_plan import (
    MANAGER,
    Flavour,
    RedisError,
    read_file,
    scratch_problem,
)

try:
    import redis
except ImportError:  # said by the module, as only it knows how
    redis = None  # type: ignore[assignment]
LibraryError: Any = redis.RedisError if redis else ()

SCRATCH_SECONDS = 30.0
START_SECONDS = 600
CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


def read_secret(path: str) -> str:
    """The manager's password; never through a link, as the directory belongs to the server's user."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    with os.fdopen(handle, encoding="utf-8") as file:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != 0:
            raise RedisError(f"{path} is not a file of root's: remove it")
        return file.read().strip()


def user_id(name: str) -> int | None:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


def group_id(name: str) -> int | None:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


# --- the unit ---------------------------------------------------------------------------------------------------------


def systemctl(*words: str, check: bool = True) -> str:
    try:
        done = subprocess.run(["systemctl", *words], capture_output=True, text=True, check=False, timeout=START_SECONDS)
    except FileNotFoundError:
        raise RedisError("there is no systemctl: the role needs systemd") from None
    except subprocess.TimeoutExpired:
        raise RedisError(f"systemctl {' '.join(words)} did not end within {START_SECONDS} s") from None
    if check and done.returncode:
        said = " ".join((done.stderr or done.stdout).split())
        raise RedisError(f"systemctl {' '.join(words)} failed: {said} The server's own log lies in /var/log")
    return done.stdout


def unit_state(unit: str) -> dict[str, str]:
    lines = systemctl("show", unit, "--property=ActiveState,SubState,UnitFileState", check=False)
    return dict(line.partition("=")[::2] for line in lines.splitlines())


def unit_is_up(unit: str) -> bool:
    """Also while it reads its data; not while systemd tries it again and again."""
    state = unit_state(unit)
    return state.get("ActiveState") in ("active", "activating", "reloading") and state.get("SubState") != "auto-restart"


def log_folder(flavour: Flavour) -> str:
    """Where an append-only file lies that no server with the package's configuration would read, or ''."""
    old = read_file(read_text(flavour.file))
    folder = os.path.join(old.get("dir", "/"), old.get("appenddirname", "appendonlydir"))
    return folder if old.get("appendonly") == "yes" and os.path.isdir(folder) and os.listdir(folder) else ""


# --- the running server -----------------------------------------------------------------------------------------------


class Server:
    """A connection to one server, with plain answers."""

    def __init__(self, **where: Any) -> None:
        self.client: Any = redis.Redis(decode_responses=True, socket_timeout=60, **where)
        # Its readings of answers differ from one version to the next.
        self.client.response_callbacks.clear()

    def ask(self, *words: str) -> Any:
        return self.client.execute_command(*words)

    def settings(self) -> dict[str, str]:
        words = iter(self.ask("CONFIG", "GET", "*"))
        return {key: next(words) for key in words}

    def info(self, section: str) -> dict[str, str]:
        lines = str(self.ask("INFO", section)).splitlines()
        return dict(line.partition(":")[::2] for line in lines if ":" in line)

    def users(self) -> list[str]:
        return list(self.ask("ACL", "LIST"))

    def close(self) -> None:
        with contextlib.suppress(redis.RedisError):
            self.client.close()


def _addresses(bind: str) -> list[str]:
    """Where to call a server that listens there; all addresses have this host's loopback among them."""
    words = [word.lstrip("-").strip("\"'") for word in bind.split()] or ["127.0.0.1"]
    everywhere = {"*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::*": "::1", "::": "::1"}  # noqa: S104
    return [everywhere.get(word, word) for word in words]


def _places(flavour: Flavour) -> Iterator[dict[str, Any]]:
    """Where the server may listen: our socket, then what its files say."""
    yield {"unix_socket_path": flavour.socket}
    for path in (flavour.file, flavour.package_file):
        found = read_file(read_text(path))
        if found.get("unixsocket", flavour.socket) != flavour.socket:
            yield {"unix_socket_path": found["unixsocket"]}
        port = int(found.get("port", "6379"))
        for address in _addresses(found.get("bind", "127.0.0.1")) if port else []:
            yield {"host": address, "port": port, "socket_connect_timeout": 5}


def _logins(flavour: Flavour, passwords: Mapping[str, str]) -> list[dict[str, str]]:
    """Who we may be: the manager, whoever the package's file lets in, and the default user of before."""
    secret = read_secret(flavour.password_file)
    found = [{"username": MANAGER, "password": secret}] if secret else []
    for password in (read_file(read_text(flavour.package_file)).get("requirepass"), passwords.get("default")):
        if password:
            found.append({"username": "default", "password": password})
    return [*found, {}]


def connect(flavour: Flavour, passwords: Mapping[str, str]) -> Server:
    """The running server as somebody who may read its configuration."""
    problems = []
    for place in _places(flavour):
        if not os.path.exists(place.get("unix_socket_path", "/")):
            continue
        for login in _logins(flavour, passwords):
            server = Server(**place, **login)
            try:
                wait_loaded(server)
                server.ask("CONFIG", "GET", "maxmemory")
                return server
            except redis.RedisError as exc:
                server.close()
                problems.append(
                    f"{login.get('username', 'nobody')} at {':'.join(str(v) for v in place.values())}: {exc}"
                )
    raise RedisError(
        f"{flavour.unit} runs, but lets nobody in whom the role knows. {'; '.join(problems) or 'It listens nowhere'}."
        f" {login_advice(flavour)}"
    )


def login_advice(flavour: Flavour) -> str:
    """What lets us in again. Without a login nobody changes the users of a running server, so it has to stop once."""
    if not os.path.exists(flavour.users_file):
        return f"Write the password of its default user into {flavour.package_file}, as requirepass"
    back = f"Put the password of {MANAGER} back into {flavour.password_file}. If it is lost, "
    old = read_file(read_text(flavour.file))
    if old.get("appendonly") == "yes" or old.get("save"):
        return (
            f"{back}run `systemctl stop {flavour.unit}`, which writes all keys to the disk, and then this again: it"
            " makes a new one"
        )
    return (
        f"{back}the keys are lost with the server's next stop, as {flavour.file} has neither appendonly nor save"
        f" points: copy them as a user who may read them, then run `systemctl stop {flavour.unit}` and this again"
    )


def serves_old_certificate(settings: Mapping[str, str]) -> bool:
    """Whether the server shows another certificate than its file has now; a file alone does not say what is loaded."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # it is compared, byte by byte
    try:
        file = ssl.PEM_cert_to_DER_cert(CERTIFICATE.findall(read_text(settings["tls-cert-file"]))[0])
        place = (_addresses(settings["bind"])[0], int(settings["tls-port"]))
        with socket.create_connection(place, 5) as raw, context.wrap_socket(raw) as shown:
            return shown.getpeercert(binary_form=True) != file
    except (OSError, IndexError, ValueError):
        return False  # who cannot be asked so is told of by what does not work


def wait_loaded(server: Server) -> None:
    """Until the data set is in memory; a server that dies meanwhile ends it."""
    while True:
        try:
            server.ask("PING")
            return
        except redis.BusyLoadingError:
            time.sleep(0.2)


# --- a scratch server -------------------------------------------------------------------------------------------------


def _scratch_command(flavour: Flavour, folder: str, tls: bool) -> list[str]:
    own = {
        "port": "0", "tls-port": "0", "unixsocket": f"{folder}/s", "unixsocketperm": "700", "dir": folder,
        "logfile": "", "pidfile": f"{folder}/pid", "daemonize": "no", "supervised": "no", "appendonly": "no",
        "save": "", "aclfile": f"{folder}/acl",
    }  # fmt: skip
    if tls:  # with no port the certificate would not be looked at
        own["tls-replication"] = "yes"
    # It ends with us, also where we are killed.
    start = ["setpriv", "--pdeathsig", "KILL", flavour.program, f"{folder}/conf"]
    return [*start, *(word for key, value in own.items() for word in (f"--{key}", value))]


@contextlib.contextmanager
def scratch(flavour: Flavour, config: str, users: str, password: str, tls: bool) -> Iterator[Server]:
    """A server on the new files, as the service's user, that nobody else can reach."""
    account = pwd.getpwnam(flavour.name)
    for left in glob.glob(f"/run/shipshape-{flavour.name}-*"):
        if os.stat(left).st_mtime < time.time() - 3600:  # of a run that was killed
            shutil.rmtree(left, ignore_errors=True)
    folder = tempfile.mkdtemp(prefix=f"shipshape-{flavour.name}-", dir="/run")
    try:
        for name, text in (("conf", config), ("acl", users)):
            path = os.path.join(folder, name)
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as handle:
                handle.write(text)
            os.chown(path, account.pw_uid, account.pw_gid)
        os.chown(folder, account.pw_uid, account.pw_gid)
        with open(os.path.join(folder, "out"), "w+", encoding="utf-8", errors="replace") as output:
            process = subprocess.Popen(
                _scratch_command(flavour, folder, tls),
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd=folder,
                user=account.pw_uid, group=account.pw_gid,
                extra_groups=os.getgrouplist(flavour.name, account.pw_gid), start_new_session=True,
            )  # fmt: skip
            try:
                yield _scratch_ready(process, folder, password)
            finally:
                process.kill()  # nothing of it is worth keeping
                process.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _scratch_ready(process: subprocess.Popen[bytes], folder: str, password: str) -> Server:
    end = time.monotonic() + SCRATCH_SECONDS
    server = Server(unix_socket_path=f"{folder}/s", username=MANAGER, password=password)
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            server.ask("PING")
            return server
        except (redis.ConnectionError, redis.BusyLoadingError):
            time.sleep(0.01)
    raise RedisError(scratch_problem(read_text(f"{folder}/out")).replace(f"{folder}/acl", "the users"))
