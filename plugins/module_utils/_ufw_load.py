# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring the kernel to what ufw's files say, in one transaction for each family.

C(ufw reload) takes the old rules away before it loads the new ones: for a moment nothing is filtered. Here ufw's own
init script builds the ruleset in a network namespace of its own, where it hurts nobody and where the kernel refuses
what it does not take; the result goes into the real kernel with one C(iptables-restore --noflush), which is atomic.
What belongs to others (Docker's chains, rules that an administrator added to INPUT) stays.

The module runs this, and so does the dead-man switch, from a copy on the host when no controller is there any more.
Hence: nothing but the standard library in here, and nothing imported from the collection.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

RECORD = "/var/lib/shipshape/ufw/loaded.json"
FILES = (
    "/etc/default/ufw",
    "/etc/ufw/ufw.conf",
    *(f"/etc/ufw/{name}{six}.rules" for name in ("before", "user", "after") for six in ("", "6")),
)
HOOKS = ("/etc/ufw/before.init", "/etc/ufw/after.init")
INIT = "/usr/lib/ufw/ufw-init"
TOOLS = {4: "iptables", 6: "ip6tables"}
OWN = re.compile(r"^(ufw6?-|shipshape-)")
BUILTIN = ("INPUT", "FORWARD", "OUTPUT")
# Chains of others in which a jump of ours stands: Docker's comes before Docker's own rules.
JUMPED = (*BUILTIN, "DOCKER-USER")
# Connections from before the first load, this run's own among them, are unknown to connection tracking: the host's side
# of them would count as new, and be dropped where outgoing is denied. Whatever is not the first packet of a connection
# passes until the module is called again; by then they are known. No connection can be opened that way.
ADOPT = (
    "-p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN -m conntrack --ctstate NEW"
    " -m comment --comment shipshape-adopt -j ACCEPT"
)
SECONDS = 60
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class LoadError(Exception):
    """What the user is told."""


@dataclass
class Table:
    """One table as iptables-save prints it: policies of the built-in chains, and the rules of each chain."""

    policies: dict[str, str] = field(default_factory=dict)
    chains: dict[str, list[str]] = field(default_factory=dict)


# --- pure -------------------------------------------------------------------------------------------------------------


def parse(text: str) -> dict[str, Table]:
    """Tables by name. A rule is kept without its C(-A CHAIN)."""
    tables: dict[str, Table] = {}
    table = Table()
    for line in text.splitlines():
        if line.startswith("*"):
            table = tables.setdefault(line[1:].strip(), Table())
        elif line.startswith(":"):
            name, policy = line[1:].split()[:2]
            table.chains.setdefault(name, [])
            if policy != "-":
                table.policies[name] = policy
        elif line.startswith("-A "):
            _flag, name, rule = f"{line} ".split(" ", 2)
            table.chains.setdefault(name, []).append(rule.rstrip())
    return tables


def _own_jump(rule: str) -> bool:
    found = re.search(r"(?:^| )-[jg] (\S+)", re.sub(r'"[^"]*"', "", rule))
    return bool(found and OWN.match(found[1]))


def own(table: Table) -> dict[str, object]:
    """The part of a filter table that is ufw's, or ours: empty where the firewall is not loaded."""
    chains = {name: rules for name, rules in table.chains.items() if OWN.match(name) and rules}
    jumps = {name: [rule for rule in table.chains.get(name, []) if _own_jump(rule)] for name in JUMPED}
    if not chains:
        return {}
    return {"chains": chains, "jumps": jumps, "policies": {name: table.policies.get(name) for name in BUILTIN}}


def digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def transaction(wanted: Table, live: Table) -> str:
    """What iptables-restore --noflush has to do so that C(own) of the live table becomes that of the wanted one."""
    # A kernel that was never asked to filter has no policies to show, and lets everything pass.
    policies = {**dict.fromkeys(live.policies, "ACCEPT"), **wanted.policies}
    ours = [name for name in wanted.chains if OWN.match(name)]
    stale = [name for name in live.chains if OWN.match(name) and name not in ours]
    # An administrator's own, from before.rules: ufw declares them anew with each load, too.
    others = [name for name, rules in wanted.chains.items() if not OWN.match(name) and name not in JUMPED]
    others = [name for name in others if live.chains.get(name) != wanted.chains[name]]
    if "DOCKER-USER" in wanted.chains and "DOCKER-USER" not in live.chains:
        stale.append("DOCKER-USER")
    lines = ["*filter", *(f":{name} {policy} [0:0]" for name, policy in policies.items())]
    lines += [f":{name} - [0:0]" for name in ours + stale + others]
    lines += [f"-A {name} {rule}".rstrip() for name in ours + others for rule in wanted.chains[name]]
    for name in JUMPED:
        lines += _jumps(name, wanted.chains.get(name, []), live.chains.get(name, []))
    return "\n".join([*lines, "COMMIT", ""])


def _jumps(name: str, there: Sequence[str], here: Sequence[str]) -> list[str]:
    """Our part of a chain of others: in front of Docker's, and at the end of the built-in ones, as ufw does it."""
    lines, wanted = [], [rule for rule in there if _own_jump(rule)]
    if [rule for rule in here if _own_jump(rule)] != wanted:
        lines += [f"-D {name} {rule}" for rule in here if _own_jump(rule)]
        if name == "DOCKER-USER":
            lines += [f"-I {name} {rule}" for rule in reversed(wanted)]
        else:
            lines += [f"-A {name} {rule}" for rule in wanted]
    return lines + [f"-A {name} {rule}".rstrip() for rule in there if not _own_jump(rule) and rule not in here]


def first_load(text: str, wanted: Table, live: Table) -> str:
    """The same transaction; on a host that filtered nothing before, without breaking its connections."""
    if own(live) or wanted.policies.get("OUTPUT") == "ACCEPT":
        return text
    return text.replace("*filter\n", f"*filter\n-I OUTPUT {ADOPT}\n", 1)


def additions(wanted: Mapping[str, Table], live: Mapping[str, Table]) -> str:
    """What before.rules asks for in other tables (nat, mangle, raw) and is not there. Never takes anything away."""
    lines: list[str] = []
    for name, table in wanted.items():
        here = live.get(name, Table())
        pairs = [(chain, rule) for chain, rules in table.chains.items() for rule in rules]
        missing = [f"-A {chain} {rule}" for chain, rule in pairs if rule not in here.chains.get(chain, [])]
        chains = [chain for chain in table.chains if chain not in here.chains and chain not in table.policies]
        if name != "filter" and missing:
            lines += [f"*{name}", *(f":{chain} - [0:0]" for chain in chains), *missing, "COMMIT"]
    return "\n".join([*lines, ""]) if lines else ""


# --- the host ---------------------------------------------------------------------------------------------------------


def run(argv: Sequence[str], given: str | None = None, check: bool = True) -> str:
    try:
        done = subprocess.run(
            list(argv),
            input=given if given is not None else "",
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS,
            check=False,
            env={"PATH": PATH, "LC_ALL": "C.UTF-8"},
        )
    except (OSError, subprocess.SubprocessError) as exc:
        raise LoadError(f"{argv[0]}: {exc}") from exc
    if check and done.returncode != 0:
        said = " ".join((done.stderr + done.stdout).split()) or "no output"
        raise LoadError(f"`{' '.join(argv)}` failed with rc {done.returncode}: {said}")
    return done.stdout


def read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as handle:
            return handle.read()
    except FileNotFoundError:
        return ""


def value(text: str, key: str) -> str:
    found = re.findall(rf"^{key}=[\"']?([^\"'\s]*)", text, re.MULTILINE)
    return found[-1] if found else ""


def live_tables() -> dict[int, dict[str, Table]]:
    """What the kernel has. A kernel without IPv6 has no tables for it."""
    return {family: parse(run([f"{tool}-save"], check=family == 4)) for family, tool in TOOLS.items()}


def built(stage: str) -> dict[int, dict[str, Table]]:
    """What ufw makes of the files under C(stage), asked of the kernel in a network namespace of its own."""
    mark = "### IPv6"
    script = """
        set -e
        "$1" --datadir "$2" start >&2
        iptables-save
        echo "$3"
        ! ip6tables -L INPUT -n >/dev/null 2>&1 || ip6tables-save
    """
    out = run(["unshare", "--net", "/bin/sh", "-c", script, "sh", INIT, stage, mark])
    four, _mark, six = out.partition(f"{mark}\n")
    return {4: parse(four), 6: parse(six)}


def stage(texts: Mapping[str, str], folder: str) -> None:
    """A copy of ufw's files in which nothing leads out of the namespace."""
    for name in (*FILES, *HOOKS):
        path = f"{folder}{name}"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        text = texts[name] if name in texts else read(name)
        if name == "/etc/default/ufw":
            text = re.sub(r"^(IPT_SYSCTL|IPT_MODULES)=.*$", r"\1=", text, flags=re.MULTILINE)
            text = re.sub(r"^MANAGE_BUILTINS=.*$", "MANAGE_BUILTINS=no", text, flags=re.MULTILINE)
        if name == "/etc/ufw/ufw.conf":
            text = re.sub(r"^ENABLED=.*$", "ENABLED=yes", text, flags=re.MULTILINE)
        with open(path, "w", encoding="utf-8", errors="surrogateescape") as handle:
            handle.write(text)
        if name in HOOKS and os.access(name, os.X_OK):
            os.chmod(path, 0o700)


def _restore(family: int, text: str, *options: str) -> None:
    run([f"{TOOLS[family]}-restore", "--noflush", "--wait", "20", *options], text)


def _swap(wanted: Mapping[int, Mapping[str, Table]], live: Mapping[int, Mapping[str, Table]]) -> None:
    """Both families or none."""
    families = [family for family in TOOLS if wanted[family]]
    pairs = {family: (wanted[family]["filter"], live[family].get("filter", Table())) for family in families}
    texts = {family: first_load(transaction(*pair), *pair) for family, pair in pairs.items()}
    for family in families:
        _restore(family, texts[family], "--test")
    done: list[int] = []
    try:
        for family in families:
            _restore(family, texts[family])
            done.append(family)
            more = additions(wanted[family], live[family])
            if more:
                _restore(family, more)
        now = live_tables()
        for family in families:
            if own(now[family]["filter"]) != own(wanted[family]["filter"]):
                raise LoadError(f"{TOOLS[family]} took the rules and has others now; does another program change them?")
    except BaseException:
        now = live_tables()
        for family in done:
            _restore(family, transaction(live[family].get("filter", Table()), now[family]["filter"]))
        raise


def hooked() -> bool:
    return any(os.access(name, os.X_OK) for name in HOOKS)


def _hook(name: str) -> None:
    """An administrator's own script; Debian's is not executable."""
    if os.access(name, os.X_OK):
        run([name, "start"])


def release() -> None:
    """Connections from before an earlier load are known by now: no further exception for them."""
    for family, tables in live_tables().items():
        count = tables.get("filter", Table()).chains.get("OUTPUT", []).count(ADOPT)
        if count:
            _restore(family, "\n".join(["*filter", *[f"-D OUTPUT {ADOPT}"] * count, "COMMIT", ""]))


def unload() -> bool:
    """Let everything pass, as C(ufw disable) does; published ports too."""
    tables = live_tables()
    if not any(own(each.get("filter", Table())) for each in tables.values()):
        return False
    run([INIT, "force-stop"])
    release()
    for family, each in live_tables().items():
        chains = each.get("filter", Table()).chains
        text = "".join(f":{name} - [0:0]\n" for name in chains if name.startswith("shipshape-"))
        if text:
            _restore(family, f"*filter\n{text}COMMIT\n")
    return True


def _fingerprint(tables: Mapping[int, Mapping[str, Table]]) -> dict[str, str]:
    kernel = digest({str(family): own(each.get("filter", Table())) for family, each in tables.items()})
    return {"files": digest([read(name) for name in FILES]), "kernel": kernel}


def _recorded() -> dict[str, str]:
    try:
        with open(RECORD, encoding="utf-8") as handle:
            return json.load(handle)
    except (OSError, ValueError):
        return {}


def _record(found: Mapping[str, str]) -> None:
    os.makedirs(os.path.dirname(RECORD), 0o700, exist_ok=True)
    with open(f"{RECORD}.tmp", "w", encoding="utf-8") as handle:
        json.dump(found, handle)
    os.rename(f"{RECORD}.tmp", RECORD)


def wanted_tables(texts: Mapping[str, str] | None = None) -> dict[int, dict[str, Table]]:
    """What the files would make; C(texts) stand for files that are not written yet."""
    folder = tempfile.mkdtemp(prefix="shipshape-ufw-", dir="/run")
    try:
        stage(texts or {}, folder)
        return built(folder)
    finally:
        shutil.rmtree(folder)


def enabled() -> bool:
    return value(read("/etc/ufw/ufw.conf"), "ENABLED").lower() == "yes"


def in_force(judge: bool = True, live: dict[int, dict[str, Table]] | None = None) -> bool:
    """Whether the kernel has what the files say; quick where it was loaded, or compared, before.

    If it is not to judge the files, the record alone decides.
    """
    live = live or live_tables()
    if not enabled():
        return not any(own(each.get("filter", Table())) for each in live.values())
    now = _fingerprint(live)
    if now == _recorded() or not judge:
        return now == _recorded()
    wanted = wanted_tables()
    if any(own(each["filter"]) != own(live[family].get("filter", Table())) for family, each in wanted.items() if each):
        return False
    _record(now)
    return True


def load() -> bool:
    """Whether the kernel had something else before."""
    if not enabled():
        return unload()
    if in_force():
        return False
    live = live_tables()
    starting, defaults = not own(live[4].get("filter", Table())), read("/etc/default/ufw")
    if starting:  # what ufw's init script does beside the rules
        for names in re.findall(r'^IPT_MODULES="?([^"\n]*)', defaults, re.MULTILINE)[-1:]:
            for name in names.split():
                run(["modprobe", name], check=False)
        _hook(HOOKS[0])
    _swap(wanted_tables(), live)
    if starting:
        if value(defaults, "IPT_SYSCTL"):
            run(["sysctl", "-e", "-q", "-p", value(defaults, "IPT_SYSCTL")], check=False)
        _hook(HOOKS[1])
    _record(_fingerprint(live_tables()))
    return True


def main() -> int:
    try:
        sys.stdout.write("loaded\n" if load() else "nothing to do\n")
    except LoadError as exc:
        sys.stderr.write(f"{exc}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
