# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the wanted sshd_config would shut out the login that Ansible came in with.

Decided before anything is changed. What only a real login can show is left to the dead-man switch of the role.
Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

import re
from typing import Any, Iterable

from ._sshd_settings import covered


def _matches(pattern: str, text: str) -> bool:
    """One pattern of ssh_config(5): C(*) and C(?) only."""
    expression = "".join({"*": ".*", "?": "."}.get(character, re.escape(character)) for character in pattern)
    return re.fullmatch(expression, text) is not None


def _user_matches(pattern: str, user: str, address: str | None) -> bool:
    """C(USER) or C(USER@HOST); the host is a pattern or a network."""
    name, at, host = pattern.partition("@")
    if not _matches(name, user):
        return False
    if not at or address is None:
        # Without a known address the host part cannot be judged; the login test decides.
        return True
    try:
        return covered(address, [host])
    except ValueError:
        return _matches(host, address)


def _access(wanted: dict[str, list[str]], login: dict[str, Any], address: str | None) -> list[str]:
    """The allow and deny lists, in the order in which sshd reads them."""
    user, groups = login["name"], login["groups"]
    problems = []
    denied = [pattern for pattern in _words(wanted, "DenyUsers") if _user_matches(pattern, user, address)]
    if denied:
        problems.append(f"sshd_deny_users has {denied[0]!r}, which shuts out the login user {user}")
    allowed = _words(wanted, "AllowUsers")
    if allowed and not any(_user_matches(pattern, user, address) for pattern in allowed):
        problems.append(f"sshd_allow_users ({' '.join(allowed)}) leaves out the login user {user}: add it")
    denied = [pattern for pattern in _words(wanted, "DenyGroups") if any(_matches(pattern, group) for group in groups)]
    if denied:
        problems.append(f"sshd_deny_groups has {denied[0]!r}, a group of the login user {user}")
    allowed = _words(wanted, "AllowGroups")
    if allowed and not any(_matches(pattern, group) for pattern in allowed for group in groups):
        problems.append(
            f"sshd_allow_groups ({' '.join(allowed)}) has no group of the login user {user}"
            f" ({' '.join(groups)}): add one"
        )
    return problems


def _words(wanted: dict[str, list[str]], key: str) -> list[str]:
    return [word for line in wanted.get(key, []) for word in line.split()]


def _split(wanted: dict[str, list[str]], key: str) -> list[str]:
    return [word for line in wanted.get(key, []) for word in line.split(",") if word]


def _authentication(wanted: dict[str, list[str]], login: dict[str, Any]) -> list[str]:
    """Root shut out, or no key that the new settings take while passwords are off."""
    problems = []
    if login["name"] == "root" and wanted.get("PermitRootLogin") in (["no"], ["forced-commands-only"]):
        problems.append(
            "Ansible logs in as root and sshd_permit_root_login is 'no': log in as an administrator with sudo"
            " (baseline_admins), or set sshd_permit_root_login to 'prohibit-password'"
        )
    passwords = wanted.get("PasswordAuthentication") == ["yes"]
    certificates = wanted.get("TrustedUserCAKeys", ["none"]) != ["none"]
    if passwords or certificates or login["keys_elsewhere"]:
        return problems
    smallest = int((wanted.get("RequiredRSASize") or ["0"])[0])
    accepted = _split(wanted, "PubkeyAcceptedAlgorithms")
    good = [key for key in login["keys"] if _key_accepted(key, accepted, smallest)]
    if not login["keys"]:
        problems.append(
            f"the login user {login['name']} has no key in {', '.join(login['key_files'])} and passwords are to be"
            " switched off: put a key there first"
        )
    elif not good:
        shown = ", ".join(f"{key['type']} {key['bits'] or ''}".strip() for key in login["keys"])
        problems.append(
            f"none of the keys of the login user {login['name']} ({shown}) would be accepted: use ed25519, or RSA of"
            f" {smallest} bits and more"
        )
    return problems


def _key_accepted(key: dict[str, Any], accepted: list[str], smallest_rsa: int) -> bool:
    if key["type"] == "ssh-rsa":
        # An RSA key signs with SHA-2 under names of their own.
        return key["bits"] >= smallest_rsa and any(name.startswith("rsa-sha2-") for name in accepted)
    return not accepted or key["type"] in accepted


def _ports(wanted: dict[str, list[str]], info: dict[str, Any], ansible_port: int) -> list[str]:
    problems = []
    ports = [int(port) for port in wanted["Port"]]
    for listener in info["listeners"]:
        if listener["port"] in ports and listener["process"] not in ("sshd", "systemd", "sshd-session"):
            problems.append(
                f"port {listener['port']} of sshd_ports is used by {listener['process'] or 'another process'}:"
                " choose another port or stop that service"
            )
    connection = info.get("connection") or {}
    if connection and connection["server_port"] not in ports and connection["server_port"] != ansible_port:
        problems.append(
            f"this connection reaches port {connection['server_port']} of the host through a forwarded port"
            f" ({ansible_port}), and sshd_ports ({', '.join(map(str, ports))}) drops it: the new way in cannot be"
            f" known; keep {connection['server_port']} in sshd_ports"
        )
    family = "inet6" if ":" in connection.get("server", "") else "inet"
    if connection and wanted["AddressFamily"] not in (["any"], [family]):
        problems.append(
            f"sshd_address_family {wanted['AddressFamily'][0]} shuts out this connection, which is {family}: set any"
        )
    addresses = wanted.get("ListenAddress", [])
    plain = [re.sub(r"^\[(.*)\](:\d+)?$", r"\1", address) for address in addresses]
    wildcard = {"inet": "0.0.0.0", "inet6": "::"}[family]  # noqa: S104 - compared, not bound
    if connection and plain and not {wildcard, "*", connection["server"]} & set(plain):
        problems.append(
            f"sshd_listen_addresses ({', '.join(addresses)}) leaves out {connection['server']}, the address that this"
            " connection came in on: add it"
        )
    return problems


def _algorithms(wanted: dict[str, list[str]], info: dict[str, Any], controller: dict[str, list[str]]) -> list[str]:
    """Names that the host does not have, and lists without one in common with the controller's ssh."""
    problems = []
    for key, kind, option in (
        ("KexAlgorithms", "kex", "sshd_kex"),
        ("Ciphers", "ciphers", "sshd_ciphers"),
        ("MACs", "macs", "sshd_macs"),
        ("HostKeyAlgorithms", "host_key", "sshd_host_keys"),
    ):
        names = _split(wanted, key)
        unknown = [name for name in names if name not in info["algorithms"][kind]]
        if unknown or not names:
            problems.append(
                f"{option}: OpenSSH {info['version']} on this host does not have"
                f" {', '.join(unknown) or 'any of the list'}; it has {', '.join(info['algorithms'][kind])}"
            )
        offered = controller.get(key.lower(), [])
        if names and offered and not set(names) & set(offered):
            problems.append(
                f"{key}: this controller's ssh and the list for the host have nothing in common (host:"
                f" {', '.join(names)}; controller: {', '.join(offered)}): set sshd_profile to 'compatible' or extend"
                f" {option}"
            )
    return problems


def problems(
    wanted: dict[str, list[str]],
    info: dict[str, Any],
    ansible_port: int,
    controller: dict[str, list[str]] | None = None,
    admin_networks: Iterable[str] = (),
) -> list[str]:
    """Everything that would shut the login out; empty where nothing would.

    C(controller) is what C(ssh -G) says there: the lists by lower-case keyword, empty for a connection that is not ssh.
    """
    if info["error"]:
        return [
            f"sshd does not accept the configuration that the host has now, so nothing is changed: {info['error']};"
            " mend that file first"
        ]
    found = []
    connection = info.get("connection") or {}
    address = connection.get("client")
    login = next((user for user in info["users"] if user["name"] == connection.get("user")), None)
    if login:
        found += _access(wanted, login, address)
        found += _authentication(wanted, login)
    networks = list(admin_networks)
    if address and networks and not covered(address, networks):
        found.append(
            f"sshd_admin_networks ({', '.join(networks)}) leaves out {address}, the address that this controller comes"
            " from: add it or its network"
        )
    found += _ports(wanted, info, ansible_port)
    found += _algorithms(wanted, info, (controller or {}) if connection else {})
    return found
