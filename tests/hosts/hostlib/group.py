"""Start, restart and remove the hosts of a group. Podman's labels are the only memory of what exists."""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
import pathlib
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable

from . import image as images
from . import machine, plan
from .machine import HERE, HostsError, podman

CHECKOUT = HERE.parent.parent
STATE = CHECKOUT / ".cache/hosts"
OWNER = hashlib.sha256(str(CHECKOUT).encode()).hexdigest()[:6]
BOOT_SECONDS = 120


class Group:
    """One network with its hosts; their key pair and address files are in `folder`."""

    def __init__(self, name: str) -> None:
        self.name = plan.check_name(name, "group")
        self.folder = STATE / name
        self.network = f"shipshape-{OWNER}-{name}"
        self.labels = [f"--label=shipshape.checkout={OWNER}", f"--label=shipshape.group={name}"]

    def up(self, wanted: dict[str, str], volumes: Iterable[str] = (), publish: Iterable[str] = ()) -> list[plan.Host]:
        """Start what is missing, mend what is broken, leave alone what runs."""
        images.build_all(sorted({image for image in wanted.values() if image.isalnum()}))
        self.make_folder()
        subnets = self.make_network()
        existing = self.containers()
        taken = {name: int(found["Labels"]["shipshape.index"]) for name, found in existing.items()}
        options = [*(f"--volume={item}" for item in volumes), *(f"--publish={item}" for item in publish)]
        hosts = [
            self.host(name, wanted[name], index, subnets)
            for name, index in plan.assign_indexes(list(wanted), taken).items()
        ]
        each(lambda host: self.start(host, options, existing.get(host.name)), hosts)
        each(self.wait_booted, hosts)
        # Hosts that were there before and are not named now stay in the files.
        others = [
            self.host(name, found["Labels"]["shipshape.image"], taken[name], subnets)
            for name, found in existing.items()
            if name not in wanted and found["State"] == "running"
        ]
        everyone = sorted([*hosts, *others], key=lambda host: host.index)
        self.write_files(everyone)
        each(self.wait_ssh, hosts)
        return everyone

    def make_folder(self) -> None:
        key = self.folder / "id_ed25519"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        if not key.exists():
            machine.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", self.network, "-f", str(key))

    def make_network(self) -> list[str]:
        """Create the network unless it is there; returns its subnets, which podman chooses free ones for."""
        # Two groups that start at once must not be given the same subnet.
        with machine.locked("network"):
            if podman("network", "exists", self.network, check=False).returncode:
                podman("network", "create", "--ipv6", *self.labels, self.network)
        found = json.loads(podman("network", "inspect", self.network).stdout)[0]
        return [subnet["subnet"] for subnet in found["subnets"]]

    def containers(self) -> dict[str, dict]:
        listed = listing(f"shipshape.group={self.name}")
        return {found["Labels"]["shipshape.host"]: found for found in listed}

    def host(self, name: str, image: str, index: int, subnets: list[str]) -> plan.Host:
        address, address6 = plan.addresses(subnets, index)
        return plan.Host(
            name=name,
            image=images.name_of(image),
            container=f"{self.network}-{name}",
            index=index,
            address=address,
            address6=address6,
            user="admin",
            key_file=str(self.folder / "id_ed25519"),
            known_hosts=str(self.folder / "known_hosts"),
        )

    def start(self, host: plan.Host, options: list[str], existing: dict | None) -> None:
        spec = hashlib.sha256(repr([host, options]).encode()).hexdigest()[:16]
        if existing and existing["Labels"]["shipshape.spec"] == spec:
            if existing["State"] == "running":
                return
            if podman("start", host.container, check=False).returncode == 0:
                return
        # Not there, half made, or made differently than it is wanted now.
        remove([host.container])
        podman(
            "run", "--detach", "--name", host.container, "--hostname", host.name, "--systemd=always",
            "--privileged", f"--security-opt=seccomp={HERE}/conf/seccomp.json",
            "--pull=never" if host.image.startswith("localhost/") else "--pull=missing",
            "--no-hosts", "--network", self.network, "--network-alias", host.name, "--ip", host.address,
            *(["--ip6", host.address6] if host.address6 else []),
            *self.labels, f"--label=shipshape.host={host.name}", f"--label=shipshape.index={host.index}",
            f"--label=shipshape.image={host.image}", f"--label=shipshape.spec={spec}",
            *options, host.image,
        )  # fmt: skip

    def wait_booted(self, host: plan.Host) -> None:
        """Until every unit has started; then let our key in."""
        said = "nothing yet"

        def booted() -> bool:
            nonlocal said
            done = podman("exec", host.container, "systemctl", "is-system-running", "--wait", check=False)
            said = (done.stdout or done.stderr).strip()
            return said in ("running", "degraded")

        wait_until(booted, lambda: f"{host.name} did not boot: systemd says {said!r}")
        if said == "degraded":
            failed = podman("exec", host.container, "systemctl", "--failed", "--plain", "--no-legend").stdout
            raise HostsError(f"{host.name} booted degraded, failed units:\n{failed}")
        public = pathlib.Path(f"{host.key_file}.pub").read_text(encoding="utf-8")
        podman("exec", "--interactive", "--user", host.user, host.container, "sh", "-ec", ADD_KEY, input=public)

    def write_files(self, hosts: list[plan.Host]) -> None:
        """The connection of every host, for programs (JSON), for ssh and for ansible."""
        keys: dict[str, str] = {}
        for host in hosts:
            text = podman("exec", host.container, "sh", "-c", "cat /etc/ssh/ssh_host_*_key.pub").stdout
            keys |= {address: text for address in (host.address, host.address6, host.name) if address}
        for name, text in {
            "known_hosts": plan.known_hosts(keys),
            "hosts.json": plan.as_json(self.name, hosts),
            "inventory.yml": plan.inventory(hosts),
            "ssh_config": plan.ssh_config(hosts),
        }.items():
            (self.folder / name).write_text(text, encoding="utf-8")
        machine.give_to_caller(self.folder)

    def wait_ssh(self, host: plan.Host) -> None:
        """Until something answers as ssh on the port that sshd says it listens on."""
        command = [
            "ssh", "-F", str(self.folder / "ssh_config"), "-o", "BatchMode=yes", "-o", "ConnectTimeout=2",
            "-p", str(self.port(host)), host.name, "true",
        ]  # fmt: skip
        said = ""

        def answers() -> bool:
            nonlocal said
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            said = done.stderr.strip()
            return done.returncode == 0

        wait_until(answers, lambda: f"no ssh login on {host.name} ({host.address}): {said}")

    def port(self, host: plan.Host) -> int:
        """A role may have moved sshd, so ask it."""
        text = podman("exec", host.container, "/usr/sbin/sshd", "-T", check=False).stdout
        return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("port ")), 22)

    def chosen(self, names: list[str]) -> list[plan.Host]:
        known = {host.name: host for host in self.read()}
        for name in names:
            if name not in known:
                raise HostsError(f"group {self.name} has no host {name!r}; it has: {', '.join(known) or 'none'}")
        return [known[name] for name in names or known]

    def read(self) -> list[plan.Host]:
        path = self.folder / "hosts.json"
        if not path.exists():
            raise HostsError(f"group {self.name} is not up: start it with 'hosts up --group {self.name} NAME=SUITE'")
        return [plan.Host(**item) for item in json.loads(path.read_text(encoding="utf-8"))["hosts"]]

    def restart(self, names: list[str]) -> None:
        """A power cycle: processes, /run, firewall rules in the kernel and network namespace are new.

        `systemctl reboot` inside would keep the network namespace, so that a rule nobody saved seems to survive.
        """
        hosts = self.chosen(names)
        each(cycle, hosts)
        each(self.wait_booted, hosts)
        each(self.wait_ssh, hosts)

    def kill(self, names: list[str]) -> None:
        """A power cut. `up` or `restart` bring the host back."""
        each(lambda host: podman("kill", "--signal=KILL", host.container), self.chosen(names))

    def down(self) -> None:
        remove([found["Names"][0] for found in self.containers().values()])
        podman("network", "rm", "--force", self.network, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


def cycle(host: plan.Host) -> None:
    """Podman's runtime fails on a host that ends in the moment it is looked at; down it is all the same."""
    if podman("restart", "--time", "20", host.container, check=False).returncode:
        podman("start", host.container)


# Roles under test manage authorized_keys themselves, so the line is added only where it is missing.
ADD_KEY = """read -r key; file=$HOME/.ssh/authorized_keys
grep -qxF "$key" "$file" 2>/dev/null || { umask 077; echo "$key" >> "$file"; }"""


def listing(*filters: str) -> list[dict]:
    """This checkout's containers; those of another checkout are not ours to touch."""
    arguments = [f"--filter=label={item}" for item in (f"shipshape.checkout={OWNER}", *filters)]
    return json.loads(podman("ps", "--all", "--format=json", *arguments).stdout) or []


def remove(containers: list[str]) -> None:
    if not containers:
        return
    words = ["rm", "--force", "--ignore", "--volumes", "--time", "1", *containers]
    # Podman fails where a container ends by itself in the moment in which it is to be stopped.
    if podman(*words, check=False).returncode:
        podman(*words)


def down_all() -> None:
    """Everything that this checkout ever started, whatever state it is in."""
    remove([found["Names"][0] for found in listing()])
    networks = podman("network", "ls", "--quiet", f"--filter=label=shipshape.checkout={OWNER}").stdout.split()
    if networks:
        podman("network", "rm", "--force", *networks)
    shutil.rmtree(STATE, ignore_errors=True)


def each(action: Callable[[plan.Host], object], hosts: list[plan.Host]) -> None:
    """Run `action` for all hosts at once; the first failure is raised."""
    with concurrent.futures.ThreadPoolExecutor(max_workers=8) as pool:
        for result in [pool.submit(action, host) for host in hosts]:
            result.result()


def wait_until(condition: Callable[[], bool], message: Callable[[], str]) -> None:
    deadline = time.monotonic() + BOOT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise HostsError(message())
        time.sleep(0.1)
