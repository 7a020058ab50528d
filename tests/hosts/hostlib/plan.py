"""What a group of hosts looks like: names, addresses, and the files that tell others. No I/O here."""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import re

from .machine import HostsError

# A host's name is a DNS label too; a group may be a Molecule scenario.
NAMES = {"host": re.compile(r"[a-z0-9][a-z0-9-]{0,39}"), "group": re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")}
FIRST_ADDRESS = 10


@dataclasses.dataclass(frozen=True)
class Host:
    name: str
    image: str
    container: str
    index: int
    address: str
    address6: str
    user: str
    key_file: str
    known_hosts: str
    port: int = 22


def check_name(name: str, what: str) -> str:
    if not NAMES[what].fullmatch(name):
        raise HostsError(f"{what} {name!r}: take up to 40 of a-z, 0-9 and '-', starting with a letter or digit")
    return name


def parse_hosts(arguments: list[str]) -> dict[str, str]:
    """NAME=IMAGE arguments as a dict."""
    hosts = {}
    for argument in arguments:
        name, found, image = argument.partition("=")
        if not found or not image:
            raise HostsError(f"{argument!r}: write NAME=SUITE or NAME=IMAGE, as in web1=trixie")
        hosts[check_name(name, "host")] = image
    return hosts


def assign_indexes(names: list[str], taken: dict[str, int]) -> dict[str, int]:
    """Every host keeps its number; a new one gets the lowest that is free."""
    free = (number for number in range(200) if number not in taken.values())
    return {name: taken[name] if name in taken else next(free) for name in names}


def addresses(subnets: list[str], index: int) -> tuple[str, str]:
    """The fixed IPv4 and IPv6 address (empty without an IPv6 subnet) of host number `index`."""
    found = {4: "", 6: ""}
    for subnet in subnets:
        network = ipaddress.ip_network(subnet)
        found[network.version] = str(network[FIRST_ADDRESS + index])
    return found[4], found[6]


def as_json(group: str, hosts: list[Host]) -> str:
    return json.dumps({"group": group, "hosts": [dataclasses.asdict(host) for host in hosts]}, indent=2) + "\n"


def ssh_options(host: Host) -> str:
    """Strict checking stays on: the keys in the file were read from the host itself."""
    return f"-o UserKnownHostsFile='\"{host.known_hosts}\"' -o GlobalKnownHostsFile=/dev/null -o IdentitiesOnly=yes"


def inventory(hosts: list[Host]) -> str:
    """A YAML inventory; JSON strings are YAML strings, so any path is quoted rightly."""
    lines = ["all:", "  hosts:"]
    for host in hosts:
        variables = {
            "ansible_host": host.address,
            "ansible_port": host.port,
            "ansible_user": host.user,
            "ansible_ssh_private_key_file": host.key_file,
            "ansible_ssh_common_args": ssh_options(host),
        }
        lines.append(f"    {host.name}:")
        lines += [f"      {name}: {json.dumps(value)}" for name, value in variables.items()]
    return "\n".join(lines) + "\n"


def ssh_config(hosts: list[Host]) -> str:
    """For `ssh -F FILE NAME` by hand."""
    return "\n".join(
        f"Host {host.name}\n  HostName {host.address}\n  Port {host.port}\n  User {host.user}\n"
        f'  IdentityFile "{host.key_file}"\n  IdentitiesOnly yes\n  UserKnownHostsFile "{host.known_hosts}"\n'
        for host in hosts
    )


def known_hosts(keys: dict[str, str], ports: tuple[int, ...] = (22, 2222)) -> str:
    """Lines for each address and port that a test may use; `keys` maps an address to its *.pub files' text."""
    lines = []
    for address, text in keys.items():
        names = ",".join([address, *(f"[{address}]:{port}" for port in ports if port != 22)])
        lines += [f"{names} {' '.join(line.split()[:2])}" for line in text.splitlines() if line.strip()]
    return "\n".join(lines) + "\n"
