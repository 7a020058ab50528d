"""Build the images that the hosts start from, out of the distribution's packages: no image registry is needed."""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
import os
import shutil
import subprocess

from . import machine
from .machine import HERE, HostsError, podman

SUITES = ("bookworm", "trixie")
RECIPE = HERE / "image"


def name_of(image: str) -> str:
    """A bare word is a suite built here; anything else is an image's full name."""
    return f"localhost/shipshape-host:{image}" if image.isalnum() else image


def recipe_digest() -> str:
    digest = hashlib.sha256()
    for path in sorted(RECIPE.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def packages() -> list[str]:
    return (RECIPE / "packages").read_text(encoding="utf-8").split()


def sources(suite: str, targets: str, mirror: str = "") -> list[str]:
    """The apt sources of `suite`, on the mirrors that this machine's own apt uses.

    `targets` is what `apt-get indextargets --format '$(REPO_URI)'` prints; on a machine that is not Debian it names
    no Debian archive, and Debian's own addresses are taken.
    """
    uris = [uri.rstrip("/") for uri in targets.split() if uri.startswith("http")]
    main = mirror or next((uri for uri in uris if uri.endswith("/debian")), "http://deb.debian.org/debian")
    security = next((uri for uri in uris if uri.endswith("/debian-security")), f"{main}-security")
    return [
        f"deb {main} {suite} main",
        f"deb {main} {suite}-updates main",
        f"deb {security} {suite}-security main",
    ]


def machine_sources(suite: str) -> list[str]:
    targets = machine.run("apt-get", "indextargets", "--format", "$(REPO_URI)", "Origin: Debian", check=False).stdout
    return sources(suite, targets, os.environ.get("SHIPSHAPE_MIRROR", ""))


def build_all(suites: list[str], base: str = "") -> None:
    """Make the images that are missing or older than their recipe, side by side."""
    with machine.locked("image"), concurrent.futures.ThreadPoolExecutor() as pool:
        list(pool.map(lambda suite: build(suite, base), suites))


def build(suite: str, base: str = "") -> None:
    label = podman("image", "inspect", "--format", "{{json .Labels}}", name_of(suite), check=False)
    labels = (json.loads(label.stdout) if label.returncode == 0 else None) or {}
    # Once chosen, a base stays until the images are removed: `up` builds what is missing and names none.
    base = base or os.environ.get("SHIPSHAPE_BASE", "") or labels.get("shipshape.base", "")
    digest = hashlib.sha256(f"{recipe_digest()} {base}".encode()).hexdigest()[:16]
    if labels.get("shipshape.recipe") == digest:
        return
    podman(
        "build", "--quiet", "--build-arg", f"BASE={base or bootstrap(suite)}", "--label", f"shipshape.base={base}",
        "--label", f"shipshape.recipe={digest}", "--tag", name_of(suite), str(RECIPE),
    )  # fmt: skip


def bootstrap(suite: str) -> str:
    name = f"localhost/shipshape-base:{suite}"
    if podman("image", "exists", name, check=False).returncode == 0:
        return name
    if shutil.which("mmdebstrap") is None:
        raise HostsError("mmdebstrap is missing: run 'make system', or name a registry's image with --base")
    command = ["mmdebstrap", "--quiet", "--variant=minbase", "--include=ca-certificates", suite, "-"]
    maker = subprocess.Popen([*command, *machine_sources(suite)], stdout=subprocess.PIPE)
    podman("import", "--quiet", "-", name, stdin=maker.stdout)
    if maker.wait():
        podman("rmi", name, check=False)
        raise HostsError(f"mmdebstrap could not make Debian {suite}; its own message is above")
    return name


def remove_all() -> None:
    """Forget the images and their bases, unless another checkout's hosts stand on them."""
    names = podman("images", "--format", "{{.Repository}}:{{.Tag}}").stdout.split()
    for name in names:
        if name.startswith(("localhost/shipshape-host:", "localhost/shipshape-base:")):
            podman("rmi", name, check=False)
    podman("image", "prune", "--force", check=False)
