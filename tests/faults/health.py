"""`shipshape health` on hosts that no role has been on."""

from __future__ import annotations

import json
import shlex
from typing import Any

from .conftest import Group, Run


def reported(hosts: Group, name: str, *checks: dict[str, Any]) -> tuple[list[dict[str, Any]], str]:
    """What the command says of each check on the host, and all that it printed."""
    wanted = json.dumps({"attempts": 1, "checks": [{**check, "name": str(n)} for n, check in enumerate(checks)]})
    write = f"printf %s {shlex.quote(wanted)} >/root/health.json"
    ask = "shipshape health --format json --config /root/health.json || [ $? -le 2 ]"
    output = hosts.shell(name, f"{write}; {ask}")
    return json.loads(output)["checks"], output


def probed(hosts: Group, *checks: dict[str, Any]) -> Run:
    """What the module says of them on all hosts. It never changes one."""
    task = {"name": "Probe", "shipshape.stack.health_check": {"checks": list(checks), "attempts": 1}}
    run = hosts.play([{"hosts": "all", "gather_facts": False, "become": True, "tasks": [task]}], "-vv")
    assert run.code == 0, run.output
    assert {run.changed(name) for name in hosts.names} == {0}
    return run
