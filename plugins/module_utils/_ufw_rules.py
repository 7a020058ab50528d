# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One firewall rule: as ufw keeps it in user.rules, as people read it, and as a playbook asks for it.

Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

import binascii
import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

TAG = "shipshape"
ANYWHERE = {False: "0.0.0.0/0", True: "::/0"}
# As in ufw/util.py of ufw 0.36: what has no ports, and what exists for IPv4 only.
PORTLESS = ("ipv6", "esp", "ah", "igmp", "gre", "vrrp")
IPV4_ONLY = ("ipv6", "igmp")
# iptables takes 15 ports in one rule; a range counts as two.
MAX_PORTS = 15
# xtables_parse_interface() of iptables, less what a shell would take for something else.
INTERFACE = re.compile(r"^[A-Za-z0-9_.=,%@-]{1,14}\+?$|^[A-Za-z0-9_.=,%@-]{15}$")
MARK = "### tuple ### "


class RuleError(ValueError):
    """What the user is told."""


@dataclass(frozen=True)
class Rule:
    action: str
    proto: str = "any"
    dport: str = "any"
    dst: str = ANYWHERE[False]
    sport: str = "any"
    src: str = ANYWHERE[False]
    direction: str = "in"
    forward: bool = False
    interface_in: str = ""
    interface_out: str = ""
    log: str = ""
    comment: str = ""
    dapp: str = ""
    sapp: str = ""
    v6: bool = False

    @property
    def own(self) -> bool:
        return self.comment == TAG or self.comment.startswith(f"{TAG}: ")

    @property
    def key(self) -> Rule:
        """What ufw tells two rules apart by: of two with one key only one can stand."""
        return replace(self, action="", log="", comment="")

    def __str__(self) -> str:
        words = ["route"] if self.forward else []
        words.append(self.action)
        if not self.forward:
            words.append(self.direction)
        for word, name in (("in on", self.interface_in), ("out on", self.interface_out)):
            if name:
                words.append(f"{word if self.forward else 'on'} {name}")
        if self.log:
            words.append(self.log)
        if self.proto != "any":
            words.append(f"proto {self.proto}")
        words += _side("from", self.src, self.sport, self.sapp) + _side("to", self.dst, self.dport, self.dapp)
        if self.comment:
            words.append(f"# {self.comment}")
        return " ".join(filter(None, words))


def _side(word: str, address: str, port: str, app: str) -> list[str]:
    where = f"{word} {'any' if address in ANYWHERE.values() else address}"
    if app:
        return [where, f"app {app}"]
    return [where, f"port {port}"] if port != "any" else [where]


# --- ufw's own text ---------------------------------------------------------------------------------------------------


def to_tuple(rule: Rule) -> str:
    """The comment line in user.rules that ufw reads its rules from."""
    action = ("route:" if rule.forward else "") + rule.action + (f"_{rule.log}" if rule.log else "")
    if rule.interface_in and rule.interface_out:
        interfaces = f"in_{rule.interface_in}!out_{rule.interface_out}"
    elif rule.interface_in or rule.interface_out:
        interfaces = f"in_{rule.interface_in}" if rule.interface_in else f"out_{rule.interface_out}"
    else:
        interfaces = rule.direction
    words = [action, rule.proto, rule.dport, rule.dst, rule.sport, rule.src]
    if rule.dapp or rule.sapp:
        words += [rule.dapp.replace(" ", "%20") or "-", rule.sapp.replace(" ", "%20") or "-"]
    words.append(interfaces)
    if rule.comment:
        words.append(f"comment={binascii.hexlify(rule.comment.encode()).decode()}")
    return MARK + " ".join(words)


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def from_tuple(line: str, v6: bool) -> Rule:
    """One such line back; lines of old versions of ufw have no direction."""
    words = line[len(MARK) :].split()
    comment = ""
    if words and words[-1].startswith("comment="):
        try:
            comment = binascii.unhexlify(words.pop()[len("comment=") :]).decode("utf-8", "replace")
        except ValueError as exc:
            raise RuleError(f"ufw's own line {line.strip()!r} has a damaged comment ({exc})") from exc
    if not 6 <= len(words) <= 9:
        raise RuleError(f"ufw's own line {line.strip()!r} has {len(words)} words instead of 6 to 9")
    odd = [word for word in (words[3], words[5]) if not _is_network(word)]
    odd += [word for word in (words[2], words[4]) if not re.fullmatch(r"any|[0-9]+([:,][0-9]+)*", word)]
    if odd:
        raise RuleError(f"ufw's own line {line.strip()!r} has {odd[0]!r} where an address or a port should be")
    forward, action = words[0].startswith("route:"), words[0].removeprefix("route:")
    action, _line, log = action.partition("_")
    apps = [word.replace("%20", " ") if word != "-" else "" for word in (words[6:8] if len(words) >= 8 else ("", ""))]
    end = words[-1] if len(words) in (7, 9) else "in"
    names = dict(part.partition("_")[::2] for part in end.split("!"))
    return Rule(
        action=action,
        log=log,
        proto=words[1],
        dport=words[2],
        dst=words[3],
        sport=words[4],
        src=words[5],
        dapp=apps[0],
        sapp=apps[1],
        direction="out" if end.startswith("out") else "in",
        forward=forward,
        interface_in=names.get("in", ""),
        interface_out=names.get("out", ""),
        comment=comment,
        v6=v6,
    )


def parse_rules(text: str, v6: bool) -> list[Rule]:
    """The rules of a user.rules or user6.rules, in their order."""
    return [from_tuple(line, v6) for line in text.splitlines() if line.startswith(MARK)]


# --- what a playbook asks for -----------------------------------------------------------------------------------------


def _ports(value: Any, proto: str, what: str) -> str:
    text = str(value if value is not None else "").strip(" ")
    if text in ("", "any"):
        return "any"
    if proto in PORTLESS:
        raise RuleError(f"{what} {text} with proto {proto}, which has no ports: leave it out")
    parts = []
    for part in (each.strip(" ") for each in text.split(",")):
        numbers = [int(number) for number in part.split(":")] if re.fullmatch(r"[0-9]+(:[0-9]+)?", part) else [0]
        if not all(1 <= number <= 65535 for number in numbers):
            raise RuleError(f"{what} {part!r} is not a port (1-65535) nor a range like 6000:6007")
        if len(numbers) == 2 and numbers[0] >= numbers[1]:
            raise RuleError(f"{what} {part} is a range that ends before it begins")
        parts.append(numbers)
    if (len(parts) > 1 or ":" in text) and proto not in ("tcp", "udp"):
        raise RuleError(f"{what} {text} has several ports, which ufw takes with proto tcp or udp only: say which")
    if sum(map(len, parts)) > MAX_PORTS:
        raise RuleError(f"{what} has more than {MAX_PORTS} ports (a range counts as two): make two rules of it")
    return ",".join(dict.fromkeys(":".join(map(str, numbers)) for numbers in sorted(parts)))


def _address(value: str, what: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """None stands for anywhere."""
    if value.strip().lower() == "any":
        return None
    try:
        if "%" in value:
            raise ValueError(value)  # a zone, which ufw does not take
        return ipaddress.ip_network(value.strip(), strict=False)
    except ValueError:
        raise RuleError(f"{what} {value!r} is not an address, a network (CIDR) or any") from None


def _text(network: ipaddress.IPv4Network | ipaddress.IPv6Network | None, v6: bool) -> str:
    if network is None:
        return ANYWHERE[v6]
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)


def _interfaces(entry: Mapping[str, Any]) -> tuple[str, str]:
    names = [str(entry.get(name) or "") for name in ("interface", "interface_in", "interface_out")]
    for name in names:
        if name and (not INTERFACE.fullmatch(name) or name in (".", "..")):
            raise RuleError(f"{name!r} is not the name of a network interface")
    plain, inward, outward = names
    if plain and entry.get("route"):
        raise RuleError("a route rule takes interface_in and interface_out instead of interface")
    if (inward or outward) and not entry.get("route"):
        raise RuleError("interface_in and interface_out are for route rules: give interface, and direction")
    return (inward or plain, outward) if entry.get("direction") != "out" else (inward, outward or plain)


def _comment(given: object) -> str:
    text = "" if given is None else str(given)  # in an inventory a number may stand there
    if text and (not text.isprintable() or "'" in text):
        raise RuleError(f"the comment {text!r} has a line break or a quote, which ufw does not take: leave it out")
    return f"{TAG}: {text.strip()}" if text.strip() else TAG


def _families(entry: Mapping[str, Any], proto: str, networks: Iterable[Any]) -> list[bool]:
    versions = {network.version for network in networks if network is not None}
    asked = {"ipv4": {4}, "ipv6": {6}}.get(entry.get("family") or "both", {4, 6})
    if len(versions) == 2:
        raise RuleError("from_ip and to_ip are of different families: one of IPv4, one of IPv6")
    if versions and not versions & asked:
        raise RuleError(f"family {entry['family']} and the addresses given do not fit")
    found = (versions or {4, 6}) & asked
    if proto in IPV4_ONLY:
        if found == {6}:
            raise RuleError(f"proto {proto} does not exist over IPv6")
        found = {4}
    return [version == 6 for version in sorted(found)]


def _services(entry: Mapping[str, Any], apps: Mapping[str, list[tuple[str, str]]]) -> list[tuple[str, str, str]]:
    """Protocol, port and application profile; a profile may stand for several."""
    proto, name = entry.get("proto") or "any", entry.get("name")
    if not name:
        return [(proto, _ports(entry.get("to_port"), proto, "to_port"), "")]
    if entry.get("to_port") or proto != "any":
        raise RuleError(f"name {name!r} says the ports and the protocol: leave to_port and proto out")
    if name not in apps:
        known = ", ".join(sorted(apps)) or "none"
        raise RuleError(f"name {name!r} is not an application profile of this host (known: {known})")
    return [(each, port, name) for port, each in apps[name]]


def desired(entry: Mapping[str, Any], apps: Mapping[str, list[tuple[str, str]]]) -> list[Rule]:
    """The rules that one entry of a playbook stands for: one for each address, family and part of a profile."""
    if entry.get("route") and entry.get("direction") == "out":
        raise RuleError("a route rule has no direction: give interface_in and interface_out")
    interface_in, interface_out = _interfaces(entry)
    outward = entry.get("direction") == "out" or (interface_out and not interface_in)
    comment, found = _comment(entry.get("comment")), []
    sources = [_address(str(each), "from_ip") for each in entry.get("from_ip") or ["any"]]
    targets = [_address(str(each), "to_ip") for each in entry.get("to_ip") or ["any"]]
    for proto, dport, app in _services(entry, apps):
        for src in sources:
            for dst in targets:
                for v6 in _families(entry, proto, (src, dst)):
                    found.append(
                        Rule(
                            action=entry.get("rule") or "allow",
                            proto=proto,
                            dport=dport,
                            dst=_text(dst, v6),
                            sport=_ports(entry.get("from_port"), proto, "from_port"),
                            src=_text(src, v6),
                            direction="out" if outward else "in",
                            forward=bool(entry.get("route")),
                            interface_in=interface_in,
                            interface_out=interface_out,
                            log={"new": "log", "all": "log-all"}.get(entry.get("log") or "", ""),
                            comment=comment,
                            dapp=app,
                            v6=v6,
                        )
                    )
    return found
