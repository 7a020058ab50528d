# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules once more, for the ports that Docker publishes.

Docker rewrites the address of such a packet before ufw sees it, and lets it pass by itself; only the chain DOCKER-USER
comes before Docker's own. There the port and address that the packet was sent to are known to connection tracking
(C(--ctorigdstport), C(--ctstate DNAT)), so a rule means the same for a container as for a service of the host. What
comes to a container without having been rewritten (a neighbour with a route to 172.17.0.2) needs a route rule.

The block lies in after.rules and after6.rules: ufw loads it at boot, long before Docker starts.
Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ._ufw_rules import ANYWHERE, INTERFACE, Rule, RuleError

CHAIN = "shipshape-published"
BEGIN = "# BEGIN shipshape.stack: ports that Docker publishes obey the rules of ufw"
END = "# END shipshape.stack"
SECTION = re.compile(rf"{re.escape(BEGIN)}\n.*?^{re.escape(END)}$\n?", re.DOTALL | re.MULTILINE)
DOCKERS = ("docker0", "br-+")
LOGGED = "-m limit --limit 3/min --limit-burst 10 -j LOG --log-prefix"
LIMIT_SECONDS, LIMIT_HITS = 30, 6  # what ufw's own limit is


def _match(rule: Rule, proto: str, dport: str) -> str:
    words = []
    for flag, value in (("-i", rule.interface_in), ("-o", rule.interface_out)):
        if value:
            words += [flag, value]
    if rule.src != ANYWHERE[rule.v6]:
        words += ["-s", rule.src]
    if rule.forward and rule.dst != ANYWHERE[rule.v6]:
        words += ["-d", rule.dst]
    if proto:
        words += ["-p", proto]
    if rule.sport != "any":
        words += ["-m", "multiport", "--sports", rule.sport]
    if rule.forward:
        return " ".join(words + (["-m", "multiport", "--dports", dport] if dport else []))
    words += ["-m", "conntrack", "--ctstate", "DNAT"]
    if rule.dst != ANYWHERE[rule.v6]:
        words += ["--ctorigdst", rule.dst]
    return " ".join(words + (["--ctorigdstport", dport] if dport else []))


def _verdicts(rule: Rule, match: str, proto: str, number: int, log: bool) -> list[str]:
    line = f"-A {CHAIN} {match}".rstrip()
    if log and rule.log:  # What is no new connection has left the chain above, so "all" finds no more than "new".
        word = {"allow": "ALLOW", "limit": "LIMIT"}.get(rule.action, "BLOCK")
        return [f'{line} {LOGGED} "[UFW {word}] "', *_verdicts(rule, match, proto, number, False)]
    if rule.action == "limit":
        recent = f"{line} -m conntrack --ctstate NEW -m recent --name {CHAIN}-{number}"
        return [
            f"{recent} --set",
            f"{recent} --update --seconds {LIMIT_SECONDS} --hitcount {LIMIT_HITS} -j DROP",
            f"{line} -j RETURN",
        ]
    reset = " --reject-with tcp-reset" if proto == "tcp" else ""
    return [f"{line} -j {({'allow': 'RETURN', 'reject': f'REJECT{reset}'}).get(rule.action, 'DROP')}"]


def _lines(rule: Rule, number: int, log: bool) -> list[str]:
    """One rule. Connection tracking knows one port or range at a time, and protocols one by one."""
    if rule.direction == "out" and not rule.forward:
        return []
    ported = rule.dport != "any" or rule.sport != "any"
    protos = [rule.proto] if rule.proto != "any" else (["tcp", "udp"] if ported else [""])
    ports = [""] if rule.dport == "any" else ([rule.dport] if rule.forward else rule.dport.split(","))
    return [
        line
        for proto in protos
        for port in ports
        for line in _verdicts(rule, _match(rule, proto, port), proto, number, log)
    ]


def block(rules: Sequence[Rule], interfaces: Sequence[str], logging: str) -> str:
    """The section for one family. C(interfaces) are those of Docker's networks."""
    lines = [BEGIN, "*filter", ":DOCKER-USER - [0:0]", f":{CHAIN} - [0:0]", f"-A DOCKER-USER -j {CHAIN}"]
    lines.append(f"-A {CHAIN} -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN")
    lines += [f"-A {CHAIN} -i {name} -j RETURN" for name in interfaces]
    for number, rule in enumerate(rules):
        lines += _lines(rule, number, logging != "off")
    for name in interfaces:
        if logging != "off":
            lines.append(f'-A {CHAIN} -o {name} {LOGGED} "[UFW BLOCK] "')
        lines.append(f"-A {CHAIN} -o {name} -j DROP")
    return "\n".join([*lines, "COMMIT", END, ""])


def interfaces_of(text: str) -> list[str]:
    """Those that the block in a file was written for: they stand at its beginning, and once more at its end.

    A rule may look like one of either, but never make the two agree on more.
    """
    section = SECTION.search(text)
    lines = section[0].splitlines()[6:-2] if section else []
    first = _leading(lines, "-i", "RETURN")
    last = _leading([line for line in reversed(lines) if " -j LOG " not in line], "-o", "DROP")[::-1]
    count = max((number for number in range(1, len(first) + 1) if first[:number] == last[-number:]), default=0)
    return list(dict.fromkeys(first[:count]))


def _leading(lines: Sequence[str], flag: str, verdict: str) -> list[str]:
    found = []
    for line in lines:
        match = re.fullmatch(rf"-A {CHAIN} {flag} (\S+) -j {verdict}", line)
        if not match:
            break
        found.append(match[1])
    return found


def interface_problems(names: Sequence[str]) -> list[str]:
    """Without one nothing would be dropped, and with a mistaken one not what is meant."""
    if not names:
        return ["docker_interfaces is empty: name at least one; published: false leaves the ports to Docker"]
    bad = [name for name in names if not INTERFACE.fullmatch(name) or name in (".", "..")]
    return [f"docker_interfaces: {name!r} is not the name of a network interface" for name in bad]


def without_block(text: str, name: str = "the file") -> str:
    """The file as it was before there was a block."""
    if text.count(BEGIN) != len(SECTION.findall(text)):
        raise RuleError(
            f"{name} has the line '{BEGIN}', but '{END}' does not follow it: put it back behind that section's COMMIT"
        )
    return SECTION.sub("", text)


def with_block(text: str, section: str, name: str = "the file") -> str:
    """The file with this section at its end, instead of an earlier one."""
    plain = without_block(text, name)
    return f"{plain}{'' if plain.endswith(chr(10)) or not plain else chr(10)}{section}"
