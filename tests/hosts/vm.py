"""One real virtual machine with the packages and settings of the test hosts, by qemu.

  vm up [--suite SUITE] [--inventory FILE]    build the disk if needed, boot, wait for ssh
  vm down                                     stop it and forget what it wrote; the built disk stays

It boots without KVM too, only slower. The state is in .cache/vm: disk, console log, key, inventory.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from hostlib import image, machine, plan
from hostlib.machine import HostsError, run

STATE = machine.HERE.parent.parent / ".cache/vm"
KEY = STATE / "id_ed25519"
PID = STATE / "qemu.pid"
BOOT_SECONDS = 300
# Beyond the packages of every host: a kernel, devices, and an address by DHCP.
MORE_PACKAGES = ("linux-image-cloud-amd64", "initramfs-tools", "udev", "systemd-resolved")
# Runs with the new root in $1, after the shared setup.
CUSTOMIZE = r"""
echo vm > "$1/etc/hostname"
printf '127.0.0.1 localhost\n127.0.1.1 vm\n' > "$1/etc/hosts"
echo '/dev/vda / ext4 defaults 0 1' > "$1/etc/fstab"
printf '[Match]\nName=en* eth*\n[Network]\nDHCP=yes\n' > "$1/etc/systemd/network/80-dhcp.network"
chroot "$1" systemctl enable systemd-networkd systemd-resolved
chroot "$1" ssh-keygen -A
chroot "$1" chown -R admin:admin /home/admin/.ssh
"""


def build(suite: str) -> pathlib.Path:
    """The disk image of `suite`, made anew when its recipe has changed."""
    disk = STATE / f"{suite}-{image.recipe_digest()}.img"
    if disk.exists():
        return disk
    packages = [*image.packages(), *MORE_PACKAGES]
    with tempfile.TemporaryDirectory(dir=STATE) as folder:
        root = pathlib.Path(folder, "root")
        customize = pathlib.Path(folder, "customize")
        customize.write_text(CUSTOMIZE, encoding="utf-8")
        run(
            "mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(packages)}",
            f"--customize-hook=copy-in {image.RECIPE / 'setup'} /tmp",
            '--customize-hook=chroot "$1" sh /tmp/setup',
            f"--customize-hook=upload {KEY}.pub /home/admin/.ssh/authorized_keys",
            f"--customize-hook=sh -eu {customize} \"$1\"",
            suite, str(root), *image.machine_sources(suite),
        )  # fmt: skip
        # mmdebstrap wrote what these were on this machine.
        resolv = root / "etc/resolv.conf"
        resolv.unlink(missing_ok=True)
        resolv.symlink_to("../run/systemd/resolve/stub-resolv.conf")
        os.utime(root / "var/lib/apt/lists", (86400, 86400))
        for name in ("vmlinuz", "initrd.img"):
            (kernel,) = (root / "boot").glob(f"{name}-*")
            shutil.copy(kernel, STATE / f"{suite}-{name}")
        run("mke2fs", "-q", "-t", "ext4", "-d", str(root), f"{disk}.new", "10G")
        # Strict host key checking is on: the key is known from the disk, not from the network.
        keys = "".join(path.read_text(encoding="utf-8") for path in (root / "etc/ssh").glob("*.pub"))
        (STATE / f"{suite}-keys").write_text(keys, encoding="utf-8")
    pathlib.Path(f"{disk}.new").rename(disk)
    return disk


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def boot(suite: str, disk: pathlib.Path, port: int) -> None:
    overlay = STATE / "run.qcow2"
    overlay.unlink(missing_ok=True)
    run("qemu-img", "create", "-q", "-f", "qcow2", "-b", str(disk), "-F", "raw", str(overlay))
    start = [
        "qemu-system-x86_64", "-smp", "2", "-m", "2048", "-display", "none", "-daemonize", "-pidfile", str(PID),
        "-kernel", str(STATE / f"{suite}-vmlinuz"), "-initrd", str(STATE / f"{suite}-initrd.img"),
        "-append", "root=/dev/vda rw console=ttyS0 quiet net.ifnames=0",
        # Nothing on this disk has to survive a power cut of the machine.
        "-drive", f"file={overlay},if=virtio,cache=unsafe",
        "-netdev", f"user,id=n0,hostfwd=tcp:127.0.0.1:{port}-:22,hostfwd=tcp:127.0.0.1:{port + 1}-:2222",
        "-device", "virtio-net-pci,netdev=n0", "-device", "virtio-rng-pci",
        "-serial", f"file:{STATE / 'console.log'}",
    ]  # fmt: skip
    # A /dev/kvm that is there may still not work, so try.
    if run(*start, "-accel", "kvm", "-cpu", "host", check=False).returncode:
        run(*start, "-accel", "tcg,thread=multi", "-cpu", "max")


def wait_ssh(host: plan.Host) -> None:
    command = ["ssh", "-F", str(STATE / "ssh_config"), "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", host.name]
    deadline = time.monotonic() + BOOT_SECONDS
    while subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        if not running():
            raise HostsError(f"qemu ended; its console is in {STATE / 'console.log'}")
        if time.monotonic() > deadline:
            raise HostsError(f"no ssh login within {BOOT_SECONDS} s; the console is in {STATE / 'console.log'}")
        time.sleep(1)


def running() -> int:
    """The process id of our qemu, or 0; a number left by an earlier boot of this machine is not believed."""
    try:
        pid = int(PID.read_text(encoding="utf-8"))
        command = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return 0
    return pid if str(PID).encode() in command else 0


def up(suite: str, inventory: pathlib.Path | None) -> None:
    for program in ("mmdebstrap", "mke2fs", "qemu-system-x86_64", "qemu-img"):
        if not shutil.which(program):
            raise HostsError(f"{program} is missing: run 'tests/tools/system-packages vm'")
    STATE.mkdir(parents=True, exist_ok=True)
    STATE.chmod(0o700)
    if not KEY.exists():
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(KEY))
    if not running():
        disk = build(suite)
        port = free_port()
        boot(suite, disk, port)
        host = plan.Host(
            name="vm", image=suite, container="", index=0, address="127.0.0.1", address6="", user="admin",
            key_file=str(KEY), known_hosts=str(STATE / "known_hosts"), port=port,
        )  # fmt: skip
        keys = (STATE / f"{suite}-keys").read_text(encoding="utf-8")
        known = plan.known_hosts({"127.0.0.1": keys}, (22, port, port + 1))
        (STATE / "known_hosts").write_text(known, encoding="utf-8")
        (STATE / "ssh_config").write_text(plan.ssh_config([host]), encoding="utf-8")
        (STATE / "inventory.yml").write_text(plan.inventory([host]), encoding="utf-8")
        machine.give_to_caller(STATE)
        wait_ssh(host)
    if inventory:
        shutil.copy(STATE / "inventory.yml", inventory)
    print(f"vm: log in with: ssh -F {STATE}/ssh_config vm")


def down() -> None:
    if pid := running():
        os.kill(pid, signal.SIGKILL)
    for name in ("run.qcow2", "qemu.pid", "inventory.yml", "ssh_config", "known_hosts"):
        with contextlib.suppress(FileNotFoundError):
            (STATE / name).unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=["up", "down"])
    parser.add_argument("--suite", default="trixie")
    parser.add_argument("--inventory", type=pathlib.Path, metavar="FILE")
    args = parser.parse_args()
    if args.verb == "up" or running():
        machine.become_root()
    if args.verb == "up":
        up(args.suite, args.inventory)
    else:
        down()


if __name__ == "__main__":
    try:
        main()
    except HostsError as error:
        sys.exit(f"vm: {error}")
