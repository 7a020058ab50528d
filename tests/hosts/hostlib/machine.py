"""The machine that the test hosts run on: becoming root, a place where podman can start them, and locks."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator

HERE = pathlib.Path(__file__).resolve().parent.parent
RUN = pathlib.Path("/run/shipshape-hosts")
NAMESPACE = RUN / "mnt"
SETTINGS = ("SHIPSHAPE_BASE", "SHIPSHAPE_MIRROR")


class HostsError(Exception):
    """Something the user has to know: what is wrong, with which value, and what to do."""


def run(*argv: str, check: bool = True, **options) -> subprocess.CompletedProcess[str]:
    """Run a program and return its output; a failure carries what the program said."""
    done = subprocess.run(argv, text=True, capture_output=True, check=False, **options)
    if check and done.returncode:
        raise HostsError(f"{' '.join(argv)} failed ({done.returncode}): {(done.stderr or done.stdout).strip()}")
    return done


def podman(*argv: str, check: bool = True, **options) -> subprocess.CompletedProcess[str]:
    return run("podman", *argv, check=check, **options)


def become_root() -> None:
    if os.geteuid() == 0:
        return
    if not shutil.which("sudo"):
        raise HostsError("test hosts need root, and there is no sudo: run this as root")
    os.execvp("sudo", ["sudo", f"--preserve-env={','.join(SETTINGS)}", sys.executable, *sys.argv])


def enter() -> None:
    """Continue as root in a place where podman can start hosts.

    With cgroup v2 at /sys/fs/cgroup (every current distribution, hosted runners) this place is here. On a machine
    that mounts cgroup v1 it is one long-lived private mount namespace with a cgroup v2 tree; the machine's own
    mounts, and the images and containers of its own podman, stay as they are.
    """
    become_root()
    if shutil.which("podman") is None:
        raise HostsError("podman is missing: run 'make system' (or apt-get install podman crun netavark aardvark-dns)")
    if not needs_namespace():
        return
    with locked("namespace"):
        if not is_mountpoint(NAMESPACE):
            make_namespace()
    os.environ |= {
        "CONTAINERS_CONF": str(HERE / "conf/containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(HERE / "conf/storage.conf"),
        # crun would raise RLIMIT_MEMLOCK for a device filter, which such machines do not allow.
        "BUILDAH_ISOLATION": "chroot",
    }
    os.execvp("nsenter", ["nsenter", f"--mount={NAMESPACE}", f"--wd={os.getcwd()}", sys.executable, *sys.argv])


def needs_namespace() -> bool:
    kinds = {line.split()[4]: line.split(" - ")[1].split()[0] for line in mounts()}
    return kinds.get("/sys/fs/cgroup") != "cgroup2"


def mounts() -> list[str]:
    return pathlib.Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()


def is_mountpoint(path: pathlib.Path) -> bool:
    return any(line.split()[4] == str(path) for line in mounts())


def make_namespace() -> None:
    # A namespace file can be bound only below a private mount.
    if not is_mountpoint(RUN):
        run("mount", "--bind", "--make-private", str(RUN), str(RUN))
    NAMESPACE.touch()
    sweep(pathlib.Path("/var/lib/shipshape-hosts/networks"))
    # Run-time state on a fresh tmpfs: to podman a new namespace is a reboot, so hosts that died with an earlier
    # one are seen as stopped, not as running.
    script = """
        umount --recursive /sys/fs/cgroup
        mount -t cgroup2 cgroup2 /sys/fs/cgroup
        for dir in /run/containers /run/crun /run/libpod /run/netns; do
            mkdir -p "$dir"
            mount -t tmpfs -o mode=0755 tmpfs "$dir"
        done"""
    run("unshare", f"--mount={NAMESPACE}", "bash", "-ec", script)


def sweep(networks: pathlib.Path) -> None:
    """Remove bridges and firewall rules of hosts that died with an earlier namespace: nobody else will."""
    for path in networks.glob("*.json"):
        network = json.loads(path.read_text(encoding="utf-8"))
        run("ip", "link", "delete", network["network_interface"], check=False)
        for subnet in (entry["subnet"] for entry in network["subnets"]):
            sweep_rules("ip6tables" if ":" in subnet else "iptables", subnet)


def sweep_rules(program: str, subnet: str) -> None:
    for table in ("nat", "filter"):
        for line in run(program, "-t", table, "-S", check=False).stdout.splitlines():
            rule = shlex.split(line)
            if rule[0] != "-A" or subnet not in rule:
                continue
            run(program, "-t", table, "-D", *rule[1:], check=False)
            if rule[1] == "POSTROUTING":  # it jumped to a chain of this network alone
                run(program, "-t", table, "-F", rule[-1], check=False)
                run(program, "-t", table, "-X", rule[-1], check=False)


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Only one process at a time; the kernel frees the lock of a killed one."""
    RUN.mkdir(mode=0o755, exist_ok=True)
    with open(f"{RUN}.{name}.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def give_to_caller(path: pathlib.Path) -> None:
    """What root made in the checkout belongs to the user who called sudo."""
    if "SUDO_UID" not in os.environ:
        return
    uid, gid = int(os.environ["SUDO_UID"]), int(os.environ["SUDO_GID"])
    for item in (path, *path.rglob("*")):
        os.chown(item, uid, gid)
