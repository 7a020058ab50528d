# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what sshd_info tells of a host. The parsers are pure; C(run) and C(root) are the seams for tests."""

from __future__ import annotations

import glob
import grp
import os
import pwd
import re
from typing import Any, Callable, Iterable

from ._public_key import KeyProblem, parse

Run = Callable[[list], "tuple[int, str, str]"]

_LISTEN = "0A"


def parse_key(line: str) -> dict[str, Any] | None:
    """Type and size of the key of one line; None where sshd would find none."""
    try:
        key = parse(line)
    except KeyProblem:
        return None
    return {"type": key.type, "bits": key.bits}


def key_files(patterns: Iterable[str], user: str, home: str) -> list[str]:
    """AuthorizedKeysFile with its tokens filled in; relative names lie in the user's home."""
    files = []
    for pattern in patterns:
        name = re.sub(r"%([%hu])", lambda found: {"%": "%", "h": home, "u": user}[found[1]], pattern)
        files.append(os.path.join(home, name))
    return [name for name in files if name != os.path.join(home, "none")]


def user_facts(user: str, effective: dict[str, list[str]]) -> dict[str, Any] | None:
    """Groups and keys of one account; None where the host has no such account."""
    try:
        account = pwd.getpwnam(user)
    except KeyError:
        return None
    files = key_files(" ".join(effective.get("authorizedkeysfile", [])).split(), user, account.pw_dir)
    keys = []
    for name in files:
        try:
            with open(name, encoding="utf-8", errors="replace") as handle:
                keys += [key for key in map(parse_key, handle) if key]
        except OSError:
            continue
    return {
        "name": user,
        "groups": [_group(gid) for gid in os.getgrouplist(user, account.pw_gid)],
        "keys": keys,
        "key_files": files,
        "keys_elsewhere": effective.get("authorizedkeyscommand", ["none"]) != ["none"],
    }


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _ssh_connection(pid: int, proc: str) -> str:
    with open(f"{proc}/{pid}/environ", "rb") as handle:
        found = [line for line in handle.read().split(b"\0") if line.startswith(b"SSH_CONNECTION=")]
    return found[0].decode().partition("=")[2] if found else ""


def _parent(pid: int, proc: str) -> int:
    with open(f"{proc}/{pid}/stat", encoding="utf-8", errors="replace") as handle:
        return int(handle.read().rpartition(")")[2].split()[1])


def connection(pid: int, proc: str = "/proc") -> dict[str, Any] | None:
    """The SSH connection that a process came in on, and the account that logged in.

    sudo hides SSH_CONNECTION from the module's own environment, so the ancestors are asked. The account is the owner
    of the outermost of those that share it: the shell that sshd started.
    """
    words, owner = "", 0
    try:
        while pid > 1:
            here = _ssh_connection(pid, proc)
            if words and here != words:
                break
            if here:
                words, owner = here, os.stat(f"{proc}/{pid}").st_uid
            pid = _parent(pid, proc)
    except (OSError, ValueError, IndexError):
        return None
    if len(words.split()) != 4:
        return None
    client, client_port, server, server_port = words.split()
    return {
        "user": _account(owner),
        "client": client.partition("%")[0],
        "client_port": int(client_port),
        "server": server.partition("%")[0],
        "server_port": int(server_port),
    }


def _account(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def parse_listeners(table: str, ports: Iterable[int]) -> dict[str, int]:
    """Socket inode to port, for the listening sockets of /proc/net/tcp that are among the ports."""
    wanted = set(ports)
    found = {}
    for line in table.splitlines()[1:]:
        words = line.split()
        port = int(words[1].rpartition(":")[2], 16)
        if words[3] == _LISTEN and port in wanted:
            found[words[9]] = port
    return found


def listeners(ports: Iterable[int], proc: str = "/proc") -> list[dict[str, Any]]:
    """Who listens on the ports."""
    inodes: dict[str, int] = {}
    for table in ("net/tcp", "net/tcp6"):
        try:
            with open(f"{proc}/{table}", encoding="ascii") as handle:
                inodes.update(parse_listeners(handle.read(), ports))
        except OSError:
            continue
    names = _socket_owners(inodes, proc) if inodes else {}
    found = {(port, names.get(inode, "")) for inode, port in inodes.items()}
    return [{"port": port, "process": name} for port, name in sorted(found)]


def _socket_owners(inodes: Iterable[str], proc: str) -> dict[str, str]:
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    owners: dict[str, str] = {}
    # The lowest pid comes last and wins: with socket activation systemd holds the socket too, and it is the owner.
    for link in sorted(glob.glob(f"{proc}/[0-9]*/fd/*"), key=lambda name: -int(name.split("/")[-3])):
        try:
            target = os.readlink(link)
            if target in wanted:
                with open(link.rpartition("/fd/")[0] + "/comm", encoding="utf-8") as handle:
                    owners[wanted[target]] = handle.read().strip()
        except OSError:
            continue
    return owners


def parse_directives(text: str, file: str) -> list[dict[str, Any]]:
    """Every directive of one file of sshd_config(5), Match lines included."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        words = re.split(r"[\s=]+", line.strip(), maxsplit=1)
        if words[0] and not words[0].startswith("#"):
            found.append(
                {"file": file, "line": number, "key": words[0].lower(), "value": words[1] if len(words) > 1 else ""}
            )
    return found


def read_text(name: str) -> str:
    """The text of a file; what is no UTF-8 in it comes back as it was when it is written again."""
    with open(name, encoding="utf-8", errors="surrogateescape") as handle:
        return handle.read()


def read_directives(main: str) -> list[dict[str, Any]]:
    """The directives of the main file and of the drop-in folder, which is what Debian and Ubuntu include."""
    found = []
    for name in [main, *sorted(glob.glob(os.path.join(os.path.dirname(main), "sshd_config.d/*.conf")))]:
        try:
            with open(name, encoding="utf-8", errors="replace") as handle:
                found += parse_directives(handle.read(), name)
        except OSError:
            continue
    return found


def host_keys(run: Run, folder: str = "/etc/ssh") -> list[dict[str, Any]]:
    """Path, type and size of the host's key pairs."""
    found = []
    for name in sorted(glob.glob(os.path.join(folder, "ssh_host_*_key"))):
        code, out, _err = run(["ssh-keygen", "-l", "-f", name + ".pub"])
        words = out.split()
        if code == 0 and len(words) >= 3:
            found.append({"path": name, "type": words[-1].strip("()").lower(), "bits": int(words[0])})
    return found
