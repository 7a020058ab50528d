# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where servers find their certificates: a folder per name, in which the link `current` says which one is served.

A virtual host always points at `current`, so it never changes with its certificate. Until there is a real one, it
leads to a placeholder that this host signed itself, and whose `placeholder.map` withholds HSTS (docs/nginx.md). A real
one is a folder that never changes, named after what is in it: one rename(2) brings chain and key in together, and the
same rename brings the old pair back.
Standard library only: the hook that certbot calls is this code, too.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

Run = Callable[[Sequence[str]], "tuple[int, str, str]"]

ROOT = "/etc/nginx/tls"
# Held by whoever changes what nginx serves: this store, and the module nginx_config.
LOCK = "/etc/nginx/shipshape"
LOCK_SECONDS = 120.0
CHAIN, KEY = "fullchain.pem", "privkey.pem"
PLACEHOLDER = "placeholder"
# A copy of another name's pair, which nginx_config has a new site serve until it has its own.
BORROWED = "borrowed"
# Included by a map whose input is empty: an empty value, and nginx leaves a header with an empty value out.
MAP_FILE, MAP = "placeholder.map", '# No HSTS while the certificate is a placeholder.\n"" "";\n'
DAYS = 3
IDENTITY = re.compile(r"^[0-9a-f]{16}$")


class CertificateError(Exception):
    """What is wrong with a certificate, and what to do."""


@dataclass(frozen=True)
class Pair:
    """A certificate with its chain, and its key."""

    chain: bytes
    key: bytes
    # Whether no browser trusts it, so that HSTS would only lock its visitors out.
    untrusted: bool = False

    @property
    def identity(self) -> str:
        return hashlib.sha256(self.chain).hexdigest()[:16]

    @classmethod
    def read(cls, where: str, untrusted: bool = False) -> Pair:
        """What is in a folder."""
        contents = []
        for name in (CHAIN, KEY):
            with open(os.path.join(where, name), "rb") as file:
                contents.append(file.read())
        return cls(contents[0], contents[1], untrusted)


@dataclass(frozen=True)
class Place:
    """Where a service has its certificates, and who may read them."""

    root: str = ROOT
    uid: int = 0
    gid: int = 0
    key_mode: int = 0o600


def folder(name: str, root: str = ROOT) -> str:
    return os.path.join(root, name)


def current(name: str, root: str = ROOT) -> str:
    """The path that configurations name."""
    return os.path.join(folder(name, root), "current")


def target(name: str, root: str = ROOT) -> str:
    """What `current` leads to, as the link says it; empty where it is not there, or leads nowhere."""
    try:
        found = os.readlink(current(name, root))
    except FileNotFoundError:
        return ""
    return found if os.path.exists(os.path.join(current(name, root), CHAIN)) else ""


def is_placeholder(name: str, root: str = ROOT) -> bool:
    return target(name, root) == PLACEHOLDER


def has_own(name: str, root: str = ROOT) -> bool:
    """Whether a certificate of its own is served, and not what stands in for it."""
    return target(name, root) not in ("", PLACEHOLDER, BORROWED)


def point(name: str, where: str, root: str = ROOT) -> bool:
    """Let `current` lead to another folder in one step; whether it did not before."""
    if target(name, root) == where:
        return False
    temporary = os.path.join(folder(name, root), f".current-{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)  # of a killed run
    os.symlink(where, temporary)
    try:
        os.replace(temporary, current(name, root))
    except BaseException:
        os.unlink(temporary)
        raise
    return True


@contextlib.contextmanager
def lock(path: str = LOCK, wait: float = LOCK_SECONDS, mode: int = 0o755) -> Iterator[None]:
    """One at a time; the kernel lets go of it however its holder ends."""
    end = time.monotonic() + wait
    while True:
        handle = _try_lock(path, mode)
        if handle is not None:
            break
        if time.monotonic() >= end:
            raise CertificateError(
                f"another run holds the lock on {path} for more than {wait:g} s: wait for it, or find it with"
                f" `fuser -v {path}`"
            )
        time.sleep(0.1)
    try:
        yield
    finally:
        os.close(handle)


def _try_lock(path: str, mode: int) -> int | None:
    with contextlib.suppress(FileExistsError):
        os.makedirs(path, mode=mode)
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:  # removed meanwhile
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever held it may have removed the folder, and others lock the next one of that name.
        if os.path.samestat(os.fstat(handle), os.stat(path)):
            return handle
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(handle)
    return None


# --- a real certificate -----------------------------------------------------------------------------------------------


def _write(path: str, content: bytes, mode: int, place: Place) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fchown(handle, place.uid, place.gid)
        os.fchmod(handle, mode)
        os.fsync(handle)


def _holds(path: str, pair: Pair) -> bool:
    """Whether a folder is complete: one that a killed run left never has its name."""
    for name, content in ((CHAIN, pair.chain), (KEY, pair.key)):
        try:
            with open(os.path.join(path, name), "rb") as file:
                if file.read() != content:
                    return False
        except OSError:
            return False
    return True


def add(name: str, pair: Pair, place: Place) -> str:
    """Put a pair beside the one that is served; the name of its folder. Nothing is served of it yet."""
    home = folder(name, place.root)
    os.makedirs(home, mode=0o755, exist_ok=True)
    wanted = os.path.join(home, pair.identity)
    if _holds(wanted, pair):
        return pair.identity
    made = tempfile.mkdtemp(prefix=".new-", dir=home)
    try:
        _write(os.path.join(made, CHAIN), pair.chain, 0o644, place)
        _write(os.path.join(made, KEY), pair.key, place.key_mode, place)
        if pair.untrusted:
            _write(os.path.join(made, MAP_FILE), MAP.encode(), 0o644, place)
        os.chown(made, place.uid, place.gid)
        os.chmod(made, 0o750 if place.key_mode & 0o040 else 0o700)
        shutil.rmtree(wanted, ignore_errors=True)
        os.rename(made, wanted)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    return pair.identity


def prune(name: str, keep: Sequence[str], root: str = ROOT) -> None:
    """Remove pairs that are not served any more, what was borrowed until then, and what killed runs left."""
    kept = {target(name, root), *keep}
    for entry in os.scandir(folder(name, root)):
        ours = entry.name == BORROWED or entry.name.startswith((".new-", ".placeholder-")) or IDENTITY.match(entry.name)
        if entry.is_dir(follow_symlinks=False) and ours and entry.name not in kept:
            shutil.rmtree(entry.path, ignore_errors=True)


# --- the placeholder --------------------------------------------------------------------------------------------------


def make_placeholder(name: str, run: Run, root: str = ROOT) -> None:
    """A fresh placeholder beside whatever is served."""
    os.makedirs(folder(name, root), mode=0o755, exist_ok=True)
    wanted = os.path.join(folder(name, root), PLACEHOLDER)
    made = tempfile.mkdtemp(prefix=".placeholder-", dir=folder(name, root))
    try:
        with open(os.path.join(made, MAP_FILE), "w", encoding="utf-8") as handle:
            handle.write(MAP)
        sign(made, name, [], DAYS, run)
        os.chmod(made, 0o700)
        shutil.rmtree(wanted, ignore_errors=True)  # what a killed run left
        os.rename(made, wanted)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise


def ensure_placeholder(name: str, run: Run, root: str = ROOT) -> bool:
    """Make a certificate that a server can start with, unless there is one already; whether it had to be made."""
    if target(name, root):
        return False
    make_placeholder(name, run, root)
    return point(name, PLACEHOLDER, root)


def borrow(name: str, other: str, root: str = ROOT) -> bool:
    """Let a name that has none serve the pair of another until it has its own; whether there was one to be lent.

    A site whose certificate gets another name would show a placeholder instead, and whoever knows it by HSTS would be
    locked out until the new one is issued.
    """
    if target(name, root) or not target(other, root) or os.path.exists(os.path.join(current(other, root), MAP_FILE)):
        return False
    made = add(name, Pair.read(current(other, root)), Place(root))
    home = folder(name, root)
    shutil.rmtree(os.path.join(home, BORROWED), ignore_errors=True)
    os.rename(os.path.join(home, made), os.path.join(home, BORROWED))
    return point(name, BORROWED, root)


def sign(where: str, name: str, domains: Sequence[str], days: int, run: Run) -> None:
    """A certificate that is signed by its own key."""
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    words += ["-days", str(days), "-subj", f"/CN={name[:64]}"]
    if domains:
        words += ["-addext", f"subjectAltName={','.join(f'DNS:{each}' for each in domains)}"]
    words += ["-keyout", os.path.join(where, KEY), "-out", os.path.join(where, CHAIN)]
    rc, out, err = run(words)  # openssl makes the key readable for nobody else
    if rc != 0:
        raise CertificateError(f"{name}: openssl could not make a certificate: {(err or out).strip()}")
