# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where nginx finds its certificates: a folder per name, in which the link `current` says which certificate is served.

A virtual host always points at `current`, so it never changes with its certificate. Until there is a real one, it
leads to a placeholder that this host signed itself, and whose `placeholder.map` withholds HSTS (docs/nginx.md).
Standard library only: the hook that certbot calls is this code, too.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence

Run = Callable[[Sequence[str]], "tuple[int, str, str]"]

ROOT = "/etc/nginx/tls"
CHAIN, KEY = "fullchain.pem", "privkey.pem"
PLACEHOLDER = "placeholder"
# Included by a map whose input is empty: an empty value, and nginx leaves a header with an empty value out.
MAP_FILE, MAP = "placeholder.map", '# No HSTS while the certificate is a placeholder.\n"" "";\n'
DAYS = 3


class CertificateError(Exception):
    """What is wrong with a certificate, and what to do."""


def folder(name: str, root: str = ROOT) -> str:
    return os.path.join(root, name)


def current(name: str, root: str = ROOT) -> str:
    """The path that configurations name."""
    return os.path.join(folder(name, root), "current")


def target(name: str, root: str = ROOT) -> str:
    """What `current` leads to, as the link says it; empty where it is not there."""
    try:
        return os.readlink(current(name, root))
    except FileNotFoundError:
        return ""


def is_placeholder(name: str, root: str = ROOT) -> bool:
    return target(name, root) == PLACEHOLDER


def point(name: str, where: str, root: str = ROOT) -> bool:
    """Let `current` lead to another folder in one step; whether it did not before."""
    if target(name, root) == where:
        return False
    temporary = os.path.join(folder(name, root), f".current-{os.getpid()}")
    os.symlink(where, temporary)
    try:
        os.replace(temporary, current(name, root))
    except BaseException:
        os.unlink(temporary)
        raise
    return True


def ensure_placeholder(name: str, run: Run, root: str = ROOT) -> bool:
    """Make a certificate that a server can start with, unless there is one already; whether it had to be made."""
    if target(name, root):
        return False
    os.makedirs(folder(name, root), mode=0o755, exist_ok=True)
    wanted = os.path.join(folder(name, root), PLACEHOLDER)
    made = tempfile.mkdtemp(prefix=".placeholder-", dir=folder(name, root))
    try:
        _sign(made, name, run)
        shutil.rmtree(wanted, ignore_errors=True)  # what a killed run left
        os.rename(made, wanted)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    return point(name, PLACEHOLDER, root)


def _sign(where: str, name: str, run: Run) -> None:
    with open(os.path.join(where, MAP_FILE), "w", encoding="utf-8") as handle:
        handle.write(MAP)
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    words += ["-days", str(DAYS), "-subj", f"/CN={name[:64]}"]
    words += ["-keyout", os.path.join(where, KEY), "-out", os.path.join(where, CHAIN)]
    rc, out, err = run(words)  # openssl makes the key readable for nobody else
    if rc != 0:
        raise CertificateError(f"{name}: openssl could not make a placeholder: {(err or out).strip()}")
    os.chmod(where, 0o700)
