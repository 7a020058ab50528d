"""`shipshape health` on hosts that no role has been on."""

from __future__ import annotations

import base64
import io
import json
import shlex
import tarfile
from typing import Any

from .conftest import ROOT, Group, Run

LIBRARY = "/usr/local/lib/shipshape/shipshape"
COMMAND = """python3 -I -c 'import sys
sys.path.insert(0, "/usr/local/lib/shipshape")
from shipshape._cli import main
sys.exit(main(["health", "--format", "json", "--config", "/root/health.json"]))'"""


def _library() -> str:
    """What baseline copies to a host, packed."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:xz") as tar:
        for path in (ROOT / "plugins/module_utils").glob("_*.py"):
            if path.name.startswith(("_cli", "_health", "_probe", "_backup", "_verify", "_run_command", "_acting_as")):
                tar.add(path, path.name)
        tar.addfile(tarfile.TarInfo("__init__.py"))
    return base64.b64encode(packed.getvalue()).decode()


# A script that brings it there. One word of a command has to stay below 128 KiB, and a bare host has no xz(1).
UNPACK = f"""mkdir -p {LIBRARY}; echo {_library()} | base64 -d | python3 -c '
import io, sys, tarfile
tarfile.open(fileobj=io.BytesIO(sys.stdin.buffer.read()), mode="r:xz").extractall("{LIBRARY}")'"""


def reported(hosts: Group, name: str, *checks: dict[str, Any]) -> tuple[list[dict[str, Any]], str]:
    """What the command says of each check on the host, and all that it printed."""
    wanted = json.dumps({"attempts": 1, "checks": [{**check, "name": str(n)} for n, check in enumerate(checks)]})
    output = hosts.shell(name, f"printf %s {shlex.quote(wanted)} > /root/health.json; {COMMAND} || [ $? -le 2 ]")
    return json.loads(output)["checks"], output


def probed(hosts: Group, *checks: dict[str, Any]) -> Run:
    """What the module says of them on all hosts. It never changes one."""
    task = {"name": "Probe", "shipshape.stack.health_check": {"checks": list(checks), "attempts": 1}}
    run = hosts.play([{"hosts": "all", "gather_facts": False, "become": True, "tasks": [task]}], "-vv")
    assert run.code == 0, run.output
    assert {run.changed(name) for name in hosts.names} == {0}
    return run
