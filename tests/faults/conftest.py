"""Hosts and runs for the fault tests: each run is a process and a login of its own, as a user's would be."""

from __future__ import annotations

import concurrent.futures
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils._command_files import command_files

ROOT = pathlib.Path(__file__).resolve().parents[2]
HOSTS = ROOT / "tests/hosts/hosts"
UTILS = ROOT / "plugins/module_utils"
COMMAND = """#!/bin/sh
exec python3 -I -c '
import sys
sys.path.insert(0, "/root/lib")
from ansible_collections.shipshape.stack.plugins.module_utils._cli import main
sys.exit(main(sys.argv[1:]))' "$@"
"""
RUN_SECONDS = 600
# The files that take longest, first: one that is begun last keeps all others waiting at the end.
LONGEST = (
    "test_deploy",
    "test_nginx",
    "test_redis",
    "test_site",
    "test_backup_copies",
    "test_backup",
    "test_sshd_lockout",
    "test_postgresql",
)
# The tools of the environment that runs the tests, activated or not.
os.environ["PATH"] = f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


def until(condition, seconds: float, what: str) -> None:
    """Wait for a condition, and say what was waited for when it does not come."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.3)


@dataclass
class Run:
    """What one ansible-playbook said and did."""

    code: int
    output: str
    recap: dict[str, dict[str, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for line in self.output.rpartition("PLAY RECAP")[2].splitlines():
            name, colon, counts = line.partition(" : ")
            if colon:
                self.recap[name.strip()] = {key: int(count) for key, count in re.findall(r"(\w+)=(\d+)", counts)}

    @property
    def text(self) -> str:
        """The output with its line breaks folded: messages are wrapped by the callback."""
        return " ".join(self.output.split())

    def changed(self, name: str) -> int:
        return self.recap[name]["changed"]


class Group:
    """Some hosts that the tests of one module share."""

    def __init__(self, name: str, folder: pathlib.Path, *options: str, **suites: str) -> None:
        self.name, self.folder, self.names = name, folder, list(suites)
        self.state = ROOT / ".cache/hosts" / name
        self.down()  # what a run left that was killed
        self._tool("up", *options, *(f"{host}={suite}" for host, suite in suites.items()))

    @property
    def public_key(self) -> str:
        return (self.state / "id_ed25519.pub").read_text(encoding="utf-8").strip()

    def _tool(self, verb: str, *words: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [str(HOSTS), verb, "--group", self.name, *words], capture_output=True, text=True, check=False, cwd=ROOT
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    def down(self) -> None:
        self._tool("down")

    def restart(self, *names: str) -> None:
        self._tool("restart", *names)
        # A restarted container has a new MAC address, which a machine would not.
        self.shells(dict.fromkeys(self.names, "ip neighbour flush dev eth0"))

    def address(self, name: str, field: str = "address") -> str:
        hosts = json.loads((self.state / "hosts.json").read_text(encoding="utf-8"))
        return next(host[field] for host in hosts["hosts"] if host["name"] == name)

    def shell(self, name: str, script: str) -> str:
        """Run a shell script on the host as root, past ssh, and return what it printed."""
        return self._tool("run", name, "sh", "-euc", script).stdout

    def shells(self, scripts: dict[str, str]) -> dict[str, str]:
        """The same on several hosts at once: a script each."""
        with concurrent.futures.ThreadPoolExecutor() as pool:
            return dict(zip(scripts, pool.map(self.shell, scripts, scripts.values()), strict=True))

    def bring_code(self, *patterns: str) -> None:
        """The modules' own code to every host, where programs of the tests import it from /root/lib."""
        self._bring([path for pattern in patterns for path in UTILS.glob(f"{pattern}.py")])

    def bring_command(self) -> None:
        """`shipshape`, on hosts that no role has been on."""
        self._bring([pathlib.Path(path) for path in command_files(UTILS)])
        write = f"cat >/usr/local/bin/shipshape <<'END'\n{COMMAND}END\nchmod 755 /usr/local/bin/shipshape"
        self.shells(dict.fromkeys(self.names, write))

    def _bring(self, files: list[pathlib.Path]) -> None:
        names = [path.name for path in files]
        packed = subprocess.run(["tar", "-C", str(UTILS), "-c", *names], capture_output=True, check=True).stdout
        folder = "/root/lib/ansible_collections/shipshape/stack/plugins/module_utils"
        unpack = f"sudo mkdir -p {folder} && sudo tar -C {folder} -x"
        for name in self.names:
            subprocess.run(["ssh", "-F", str(self.state / "ssh_config"), name, unpack], input=packed, check=True)

    def ssh(self, name: str, *words: str, port: int = 22) -> subprocess.CompletedProcess[str]:
        """A login of its own, with the host key checked."""
        options = ["-o", "BatchMode=yes", "-o", "ConnectTimeout=5", "-o", "ControlPath=none", "-p", str(port)]
        return subprocess.run(
            ["ssh", "-F", str(self.state / "ssh_config"), *options, name, *words],
            capture_output=True,
            text=True,
            check=False,
        )

    def can_log_in(self, name: str, port: int = 22) -> bool:
        return self.ssh(name, "sudo", "-n", "true", port=port).returncode == 0

    def start(
        self, play: str | list[dict[str, Any]], *words: str, variables: dict[str, Any] | None = None
    ) -> subprocess.Popen[str]:
        """Start one run; a play that is not a file of the project is written to the test's folder."""
        if not isinstance(play, str):
            path = self.folder / "play.yml"
            path.write_text(json.dumps(play), encoding="utf-8")
            play = str(path)
        extra = ["--extra-vars", json.dumps(variables)] if variables else []
        return subprocess.Popen(
            ["ansible-playbook", "-i", str(self.state / "inventory.yml"), play, *extra, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
            env=self.environment(),
            start_new_session=True,
        )

    def environment(self) -> dict[str, str]:
        # Connections that outlive a run would hide a login that does not work any more.
        return {
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_SSH_ARGS": "-o ControlMaster=auto -o ControlPersist=5s",
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self.folder / f"cp{time.monotonic_ns() % 10**7}"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_FORCE_COLOR": "0",
            "PYTHONUNBUFFERED": "1",
        }

    def play(self, play: str | list[dict[str, Any]], *words: str, variables: dict[str, Any] | None = None) -> Run:
        process = self.start(play, *words, variables=variables)
        try:
            output, _none = process.communicate(timeout=RUN_SECONDS)
        except subprocess.TimeoutExpired:
            # Without its answer ssh would wait for hours.
            os.killpg(process.pid, signal.SIGKILL)
            output, _none = process.communicate()
            pytest.fail(f"the run did not end within {RUN_SECONDS} s:\n{output}")
        return Run(process.returncode, output)

    def play_killed_at(
        self,
        play: str | list[dict[str, Any]],
        marker: str,
        *words: str,
        variables: dict[str, Any] | None = None,
    ) -> None:
        """Kill a run and all its children as soon as the marker stands in its output."""
        process = self.start(play, *words, variables=variables)
        assert process.stdout
        if not any(marker in line for line in process.stdout):
            pytest.fail(f"the run ended before {marker!r}")
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()

    @contextmanager
    def broken(self, name: str, fault: str, mend: str):
        """A fault on one host, while the block runs."""
        self.shell(name, fault)
        try:
            yield
        finally:
            self.shell(name, mend)


@pytest.fixture(scope="module")
def hosts(request, tmp_path_factory):
    """Debian 12 and 13, fresh for each module of tests."""
    # A short folder: ssh's control sockets may have no more than 108 characters in their path.
    name = "faults-" + request.module.__name__.rpartition("test_")[2].replace("_", "-")
    group = Group(name, tmp_path_factory.mktemp("f"), d12="bookworm", d13="trixie")
    yield group
    group.down()
