# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `nginx -t` needs so that it says the truth and leaves nothing behind, and what its verdict means."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ansible_collections.shipshape.stack.plugins.module_utils import _certificate_store as store
from ansible_collections.shipshape.stack.plugins.module_utils import _nginx_host as host
from ansible_collections.shipshape.stack.plugins.module_utils import _nginx_proof as proof
from ansible_collections.shipshape.stack.plugins.module_utils import _nginx_said as said
from ansible_collections.shipshape.stack.plugins.module_utils._config_apply import Tools
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_swap import MAIN, Plan, SwapError, Wanted


def make_log(path: str) -> bool:
    """With the owner that the system's rotation gives it: `nginx -t` would make it root's. Whether it was made."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
    except FileExistsError:
        return False
    try:
        os.fchown(handle, pwd.getpwnam("www-data").pw_uid, grp.getgrnam("adm").gr_gid)
    finally:
        os.close(handle)
    return True


def drop_empty(paths: Sequence[str]) -> None:
    for path in paths:
        with contextlib.suppress(OSError):
            if os.path.getsize(path) == 0:
                os.unlink(path)


def test(tools: Tools, target: str) -> tuple[int, str]:
    """`nginx -t` of a file that need not be live, from where the live one is: relative paths mean the same."""
    had_pid = os.path.lexists("/run/nginx.pid")
    link = host.TEST % os.getpid()
    host.forget(link)
    os.symlink(target, link)
    try:
        rc, out, err = tools.run([host.PROGRAM, "-t", "-c", link])
    finally:
        host.forget(link)
        if not had_pid:
            drop_empty(["/run/nginx.pid"])
    return rc, out + err


@contextlib.contextmanager
def rehearsal(wanted: Wanted, tools: Tools) -> Iterator[tuple[str, Wanted]]:
    """A copy that nobody serves, outside /etc, with certificates of its own where the host has none yet."""
    made = tempfile.mkdtemp(prefix="shipshape-nginx-", dir="/run")
    try:
        files = dict(wanted.files)
        for name in wanted.certificates:
            if not store.target(name):
                store.make_placeholder(name, tools.run, f"{made}/tls")
                pair = f"{store.current(name)}/", f"{made}/tls/{name}/{store.PLACEHOLDER}/"
                files = {path: text.replace(*pair) for path, text in files.items()}
        copy = replace(wanted, files=files)
        os.mkdir(f"{made}/tree")
        host.write_tree(f"{made}/tree", copy.placed(f"{made}/tree"))
        yield f"{made}/tree", copy
    finally:
        shutil.rmtree(made, ignore_errors=True)


def lost_certificates(names: Sequence[str]) -> list[str]:
    """Those that were there: a placeholder instead would be served by the next reload."""
    return [name for name in names if os.path.islink(store.current(name)) and not store.target(name)]


# --- its verdict ------------------------------------------------------------------------------------------------------


def refuse(wanted: Wanted, todo: Plan) -> None:
    """What can be said before anything is written."""
    if not todo.activates:
        return
    pid = proof.master()
    lost = lost_certificates(wanted.certificates) if pid else []
    if lost:
        raise SwapError(
            f"{store.current(lost[0])} leads to nothing, and nginx would serve a placeholder in its place: put the"
            " certificate back, or remove that link if it is not needed any more"
        )
    taken = proof.obstacles(wanted, pid)
    if taken:
        raise SwapError("; ".join(taken))


def judge(wanted: Wanted, tools: Tools, target: str, folder: str, accept: bool) -> list[str]:
    """`nginx -t`; what it warns of anew is returned if that is accepted."""
    rc, output = test(tools, target)
    texts = wanted.placed(folder)
    if rc:
        raise SwapError(said.explain_all(output, folder, texts))
    if not any(line.level == "warn" for line in said.read_said(output)):
        return []
    before = test(tools, MAIN)[1] if os.path.exists(host.CONF) else ""
    found = said.new_warnings(output, before, [folder, host.folder(host.live())])
    told = [said.explain(line, folder, texts) for line in found]
    if told and not accept:
        raise SwapError(f"nginx warns of what it did not before: {' '.join(told)} warnings: accept lets it pass")
    return told
