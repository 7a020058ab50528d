# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The generations on the disk, and the service of systemd. What to do with them is decided elsewhere."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import glob
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping

from ansible_collections.shipshape.stack.plugins.module_utils import _certificate_store as store
from ansible_collections.shipshape.stack.plugins.module_utils import _nginx_said as said
from ansible_collections.shipshape.stack.plugins.module_utils._config_apply import Tools
from ansible_collections.shipshape.stack.plugins.module_utils._config_files import read_text, write
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_swap import MAIN, ROOT, SwapError, Wanted
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_tls import Nginx

PROGRAM = "/usr/sbin/nginx"
CONF = f"/etc/nginx/{MAIN}"
# Of the package, while ours is in its place; beside it, for whoever looks for it, and what stood there instead of ours.
DISTRIBUTION, REPLACED = f"{CONF}.distribution", f"{CONF}.replaced"
# What nginx.conf was before a swap: there as long as the swap is not over. To put it back takes a rename and no space.
BACK, NEXT = (f"{CONF}.shipshape-{each}~" for each in ("back", "next"))
# With the number of the process: in check mode there is no lock.
TEST = f"{CONF}.shipshape-test-%d~"
PROVEN, PREVIOUS, UNPROVEN = (f"{ROOT}/{each}" for each in ("proven", "previous", "unproven"))
LEADS = re.compile(r"^(?:/etc/nginx/)?shipshape/([0-9a-f]{16})/nginx\.conf$")
GENERATION = re.compile(r"^[0-9a-f]{16}$")
UNIT = "nginx.service"
EXCHANGE, HERE = 2, -100


def installed() -> bool:
    return os.path.exists(PROGRAM)


def version(tools: Tools) -> Nginx:
    rc, out, err = tools.run([PROGRAM, "-V"])
    enabled = "\n".join(map(read_text, sorted(glob.glob("/etc/nginx/modules-enabled/*.conf"))))
    found = said.read_version(out + err, enabled)
    if rc or found is None:
        raise SwapError(f"`nginx -V` says neither its version nor that of OpenSSL: {(err or out).strip()}")
    return found


# --- links and folders ------------------------------------------------------------------------------------------------


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def live() -> str:
    """The generation that nginx.conf leads to."""
    found = LEADS.match(_link(CONF))
    return found[1] if found else ""


def marked(path: str) -> str:
    found = _link(path)
    return found if GENERATION.match(found) else ""


def folder(name: str) -> str:
    return f"{ROOT}/{name}"


def forget(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def read_tree(name: str) -> dict[str, str]:
    """Every file of a generation; anything else in it counts as one, so that it is noticed."""
    top, found = folder(name), {}
    for where, folders, files in os.walk(top):
        for each in files:
            path = os.path.join(where, each)
            text = read_text(path) if os.path.isfile(path) and not os.path.islink(path) else "(not a file)"
            found[os.path.relpath(path, top)] = text
        for each in (each for each in folders if os.path.islink(os.path.join(where, each))):
            found[os.path.relpath(os.path.join(where, each), top)] = "(not a folder)"
    return found


def write_tree(top: str, files: Mapping[str, str]) -> None:
    """On the disk, each byte of it, before anybody relies on it. Top exists."""
    folders = {top}
    for path, text in files.items():
        where = os.path.join(top, os.path.dirname(path)).rstrip("/")
        os.makedirs(where, mode=0o755, exist_ok=True)
        folders.add(where)
        handle = os.open(where, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            write(handle, os.path.basename(path), text.encode("utf-8", "surrogateescape"), 0o600, 0, 0)
        finally:
            os.close(handle)
    for where in sorted(folders):
        sync(where)


def sync(where: str) -> None:
    handle = os.open(where, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def staged(wanted: Wanted) -> Iterator[str]:
    """A complete folder beside the generations; whoever wants it moves it away."""
    os.makedirs(ROOT, mode=0o755, exist_ok=True)
    made = tempfile.mkdtemp(prefix=".new-", dir=ROOT)
    try:
        os.chmod(made, 0o755)  # noqa: S103 - as /etc/nginx itself
        write_tree(made, wanted.placed())
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def exchange(one: str, other: str) -> None:
    """Two folders swap their names in one step; two steps where the file system cannot."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(HERE, one.encode(), HERE, other.encode(), EXCHANGE) == 0:
        return
    number = ctypes.get_errno()
    if number not in (errno.EINVAL, errno.ENOSYS, errno.EXDEV):
        raise OSError(number, os.strerror(number), other)
    aside = f"{one}.aside"
    os.rename(other, aside)
    os.rename(one, other)
    os.rename(aside, one)


def swap(name: str) -> None:
    """Let nginx.conf lead to another generation. What it was is kept as BACK, and a file of somebody for good."""
    forget(BACK)
    forget(NEXT)
    if os.path.lexists(CONF):
        os.link(CONF, BACK, follow_symlinks=False)
        if not os.path.islink(CONF):
            kept = REPLACED if os.path.lexists(DISTRIBUTION) else DISTRIBUTION
            forget(kept)
            os.link(CONF, kept)
    os.symlink(f"shipshape/{name}/{MAIN}", NEXT)
    os.rename(NEXT, CONF)
    sync(os.path.dirname(CONF))


def swap_back() -> None:
    """What was there before the swap, by renames alone."""
    forget(NEXT)
    if os.path.lexists(BACK):
        os.rename(BACK, CONF)  # which does nothing where both are the same
        forget(BACK)
    if not os.path.islink(CONF):
        for kept in (DISTRIBUTION, REPLACED):
            if os.path.exists(kept) and os.path.exists(CONF) and os.path.samefile(kept, CONF):
                os.unlink(kept)
    sync(os.path.dirname(CONF))


def mark(name: str) -> None:
    """It is proven: from now on a failure leads back to this one. Both links, or on a full disk neither."""
    old = marked(PROVEN)
    links = {PREVIOUS: old, PROVEN: name} if old and old != name else {PROVEN: name}
    try:
        for path, target in links.items():
            forget(f"{path}~")
            os.symlink(target, f"{path}~")
    except OSError:
        for path in links:
            forget(f"{path}~")
        raise
    for path in links:
        os.rename(f"{path}~", path)
    sync(ROOT)


def drop_tests() -> None:
    """Links of killed runs."""
    for path in glob.glob(TEST.replace("%d", "*")):
        if not os.path.isdir(f"/proc/{path.rpartition('-')[2].rstrip('~')}"):
            forget(path)


def prune() -> None:
    """Two generations stay: the proven one, and the one before it. What killed runs left goes, too."""
    keep = {live(), marked(PROVEN), marked(PREVIOUS)}
    drop_tests()
    if live() == marked(PROVEN):
        forget(UNPROVEN)
    for entry in os.scandir(ROOT):
        ours = GENERATION.match(entry.name) or entry.name.startswith(".new-")
        if ours and entry.is_dir(follow_symlinks=False) and entry.name not in keep:
            shutil.rmtree(entry.path, ignore_errors=True)


def _stand_ins() -> list[str]:
    """Folders of certificates that are a placeholder, or another name's."""
    names = sorted(os.listdir(store.ROOT)) if os.path.isdir(store.ROOT) else []
    return [store.folder(name) for name in names if store.target(name) and not store.has_own(name)]


def remains() -> list[str]:
    """What is ours of the host."""
    own = [CONF] * bool(live()) + [ROOT] * os.path.isdir(ROOT) + [DISTRIBUTION] * os.path.exists(DISTRIBUTION)
    return [*own, *_stand_ins()]


def remove() -> None:
    """The package's configuration is back first, so that it is there wherever a kill comes."""
    if not live() and os.path.lexists(CONF):
        forget(DISTRIBUTION)  # somebody put a file of their own in its place: the newer one
    elif os.path.exists(DISTRIBUTION):
        os.rename(DISTRIBUTION, CONF)
    else:
        forget(CONF)
    for path in (BACK, NEXT):
        forget(path)
    drop_tests()
    for path in [*_stand_ins(), ROOT]:
        shutil.rmtree(path, ignore_errors=True)
    with contextlib.suppress(OSError):
        os.rmdir(store.ROOT)


# --- the service ------------------------------------------------------------------------------------------------------


def enabled() -> bool:
    """Without asking systemd: it says the same, and takes longer than all the rest of a call that changes nothing."""
    return os.path.lexists(f"/etc/systemd/system/multi-user.target.wants/{UNIT}")


def systemctl(tools: Tools, *words: str) -> None:
    rc, out, err = tools.run(["systemctl", *words, UNIT])
    if rc:
        raise SwapError(f"`systemctl {' '.join(words)} nginx` failed: {' '.join((err or out).split())}")
