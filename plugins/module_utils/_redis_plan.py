# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Redis server is told, and what has to change for it. No I/O: states in, plan out."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MANAGER = "shipshape"
HEADER = "# Written by Ansible (shipshape.stack.redis). What is changed here by hand is lost.\n"
# The scratch server runs with values of its own for these; what the live one should say is worked out here.
OWN = ("port", "tls-port", "unixsocket", "unixsocketperm", "dir", "logfile", "appendonly", "save", "aclfile")
# The unit says these, or the server works them out for itself; requirepass is compared as the default user.
UNCOMPARED = frozenset(
    ["supervised", "daemonize", "pidfile", "maxclients", "tls-replication", "replicaof", "slaveof", "requirepass"]
)
SECRET = frozenset(["masterauth", "tls-key-file-pass", "tls-client-key-file-pass", "requirepass"])
IMMUTABLE = frozenset(["unixsocket", "unixsocketperm", "dir", "logfile", "aclfile"])
# Where the data lie: another value would start an empty server beside them.
PLACES = ("dir", "dbfilename", "appendfilename", "appenddirname")
ALIASES = {"lua-time-limit": "busy-reply-threshold"}
EVICTING = re.compile(r"^(allkeys|volatile)-")
# What a directive may be called; anything else would end up as another line of the file.
NAME = re.compile(r"[a-z][a-z0-9_-]*")


class RedisError(ValueError):
    """What the user is told; never a traceback."""


class StrandedError(RedisError):
    """A change failed, and so did the way back."""


@dataclass(frozen=True)
class Flavour:
    """Where Debian puts things."""

    name: str

    @property
    def unit(self) -> str:
        return f"{self.name}-server.service"

    @property
    def program(self) -> str:
        return f"/usr/bin/{self.name}-server"

    @property
    def folder(self) -> str:
        return f"/etc/{self.name}"

    @property
    def package_file(self) -> str:
        return f"{self.folder}/{self.name}.conf"

    @property
    def file(self) -> str:
        return f"{self.folder}/shipshape.conf"

    @property
    def users_file(self) -> str:
        return f"{self.folder}/shipshape.acl"

    @property
    def password_file(self) -> str:
        return f"{self.folder}/shipshape.password"

    @property
    def drop_in(self) -> str:
        return f"/etc/systemd/system/{self.unit}.d/shipshape.conf"

    @property
    def socket(self) -> str:
        return f"/run/{self.name}/shipshape.sock"

    @property
    def settings(self) -> dict[str, str]:
        """What the role decides alone, and what the package says."""
        return {
            "aclfile": self.users_file,
            "appendonly": "no",
            "dir": f"/var/lib/{self.name}",
            "logfile": f"/var/log/{self.name}/{self.name}-server.log",
            "pidfile": f"/run/{self.name}/{self.name}-server.pid",
            "port": "6379",
            "save": '""',
            "tls-port": "0",
            "unixsocket": self.socket,
            "unixsocketperm": "700",
        }

    def drop_in_text(self, folder: str) -> str:
        return (
            f"{HEADER}[Service]\nExecStart=\n"
            f"ExecStart={self.program} {self.file} --supervised systemd --daemonize no\n"
            "# Loading a big data set takes longer than systemd waits by itself.\nTimeoutStartSec=infinity\n"
            "# Its configuration is not the server's to write.\nReadWritePaths=\n"
            f"ReadWritePaths=-{folder}\nReadWritePaths=-/var/log/{self.name}\nReadWritePaths=-/run/{self.name}\n"
        )


def text_of(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return '""' if value is None or value == "" else str(value)


def merged(flavour: Flavour, settings: Mapping[str, Any]) -> dict[str, list[str]]:
    """Every directive with its lines."""
    found = {key: [value] for key, value in flavour.settings.items()}
    for key, value in settings.items():
        name = str(key).lower()
        lines = [text_of(each) for each in value] if isinstance(value, (list, tuple)) else [text_of(value)]
        if not NAME.fullmatch(name):
            raise RedisError(f"{key!r} is not the name of a directive")
        if any(sign in line for line in lines for sign in "\n\r\0"):
            raise RedisError(f"{name}: the value has more than one line: write a list with one line in each entry")
        found[name] = lines
    return found


def render(directives: Mapping[str, Sequence[str]]) -> str:
    return HEADER + "".join(f"{key} {line}\n" for key in sorted(directives) for line in directives[key])


def read_file(text: str) -> dict[str, str]:
    """Directives of a file, the last line of each; enough to find the server that runs on it."""
    found = {}
    for line in text.splitlines():
        name, _space, value = line.strip().partition(" ")
        if name and not name.startswith("#"):
            found[name.lower()] = value.strip().strip("\"'")
    return found


def own_values(directives: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """What a server on this file answers to C(CONFIG GET) for the directives that the scratch server has otherwise."""
    found = {key: directives[key][-1].strip("\"'") for key in OWN}
    found["save"] = " ".join(line.strip("\"'") for line in directives["save"]).strip()
    if "maxclients" in directives:  # lowered in silence to the limit of whoever starts it
        found["maxclients"] = directives["maxclients"][-1]
    return found


# --- users ------------------------------------------------------------------------------------------------------------


def users_text(users: Iterable[Mapping[str, Any]], passwords: Mapping[str, str]) -> str:
    """The file of users. Redis allows no comments in it."""
    lines = []
    for user in users:
        secret = passwords.get(user["name"])
        digest = [f"#{hashlib.sha256(secret.encode()).hexdigest()}"] if secret else []
        state = ["on" if secret else "off"]
        lines.append(" ".join(["user", user["name"], *state, *digest, *(user["rules"] if secret else [])]))
    return "".join(f"{line}\n" for line in lines)


def canonical(line: str) -> tuple[str, ...]:
    """A user's line of C(ACL LIST) so that two servers' can be compared: Redis 7.0 lists commands in any order."""
    words = line.replace("(", "( ").replace(")", " )").split()
    found: list[str] = []
    run: list[str] = []
    for word in [*words, ""]:
        if word[:1] in ("+", "-") and word[1:2] != "@":
            run.append(word)
            continue
        found += sorted(run)
        run = []
        if word not in ("", "sanitize-payload"):
            found.append(word)
    return tuple(found)


def by_name(lines: Iterable[str]) -> dict[str, str]:
    return {line.split()[1]: line for line in lines}


def user_changes(live: Iterable[str], wanted: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Users whose line differs: name to old and new line, '' where there is none."""
    old, new = by_name(live), by_name(wanted)
    return {
        name: (old.get(name, ""), new.get(name, ""))
        for name in sorted({*old, *new})
        if canonical(old.get(name, "")) != canonical(new.get(name, ""))
    }


def rules_of(line: str) -> list[str]:
    """A line of C(ACL LIST) as C(ACL SETUSER) takes it: a selector in brackets is one word."""
    found: list[str] = []
    inside = False
    for word in line.split()[2:]:
        if inside:
            found[-1] += f" {word}"
        else:
            found.append(word)
        inside = (inside or word.startswith("(")) and not word.endswith(")")
    return found


def shown(line: str) -> str:
    """A user's line without the digests of passwords."""
    return re.sub(r"#[0-9a-f]{64}", "#********", line)


def shown_setting(key: str, value: str) -> str:
    """A directive as anybody may see it."""
    return f"{key} {'********' if key in SECRET and value else value}"


# --- settings ---------------------------------------------------------------------------------------------------------


def primary(key: str) -> str:
    """The present name of a directive that has an older one, too."""
    return ALIASES.get(key, key.replace("slave", "replica").replace("ziplist", "listpack"))


def setting_changes(
    live: Mapping[str, str], wanted: Mapping[str, str], explicit: Iterable[str] = ()
) -> dict[str, tuple[str, str]]:
    """Directives whose live value is another: name to old and new value, each directive once."""
    skipped = UNCOMPARED - set(explicit)
    return {
        key: (live[key], value)
        for key, value in sorted(wanted.items())
        if key in live
        and live[key] != value
        and key not in skipped
        and not (primary(key) != key and primary(key) in wanted)
    }


def keyspace(info: Mapping[str, str]) -> dict[int, tuple[int, int]]:
    """Databases with their keys, and how many of these are to expire, from C(INFO keyspace)."""
    found = {}
    for name, value in info.items():
        match = re.fullmatch(r"db(\d+)", name)
        if match:
            counts = dict(re.findall(r"(\w+)=(\d+)", value))
            found[int(match.group(1))] = (int(counts.get("keys", 0)), int(counts.get("expires", 0)))
    return found


def policy_problem(policy: str, purpose: str) -> str:
    """Why keys would be evicted that nobody can miss, or ''."""
    if not EVICTING.match(policy) or purpose == "cache":
        return ""
    what = {"queue": "jobs of a queue would be lost", "store": "data of a store would be lost"}[purpose]
    return f"maxmemory-policy {policy} evicts keys, so {what} when the memory is full: write noeviction"


def dangers(
    changes: Mapping[str, tuple[str, str]], databases: Mapping[int, tuple[int, int]], used: int, limit: int
) -> list[str]:
    """Changes that keys would not survive. C(limit) is the memory from then on, 0 for none that counts."""
    found, count = [], sum(keys for keys, _expires in databases.values())
    for key in PLACES:
        if key in changes and databases:
            found.append(
                f"{key} {changes[key][1]}: the server has {count} keys where"
                f" {key} is {changes[key][0]} and would start empty. Stop it, move the data, and set it again"
            )
    count = int(changes.get("databases", ("", "0"))[1] or 0)
    if count and databases and max(databases) >= count:
        found.append(f"databases {count}: there are keys in database {max(databases)}. Move or delete them first")
    begins = "maxmemory" in changes or EVICTING.match(changes.get("maxmemory-policy", ("", ""))[1])
    if begins and limit and limit < used:
        found.append(
            f"maxmemory {limit}: the server uses {used} bytes, so keys would be evicted or writes refused. Give more,"
            " or accept that with accept_eviction (redis_accept_eviction: true)"
        )
    return found


def scratch_problem(output: str) -> str:
    """Why a scratch server did not start, from what it said."""
    quoted = re.search(r">>> '(.*)'\s*\n(.*)", output)
    if quoted:
        return f"'{quoted.group(1)}': {quoted.group(2).strip()}"
    lines = [re.sub(r"^\d+:\w \d+ \w+ \d+ [\d:.]+ [*#.-] ", "", line) for line in output.splitlines()]
    words = ("abort", "error", "fail", "denied", "unknown", "acl", "can't", "invalid", "detected")
    told = [line for line in lines if any(word in line.lower() for word in words) and "overcommit" not in line]
    return "; ".join(told[-3:]) or "it ended without a word"
