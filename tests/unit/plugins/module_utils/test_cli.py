"""The command `shipshape` as a process of its own, from a folder that holds nothing but the files of the host."""

from __future__ import annotations

import json
import os
import pathlib
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml
from ansible_collections.shipshape.stack.plugins.module_utils import _cli, _cli_health
from ansible_collections.shipshape.stack.plugins.module_utils._command_files import command_files, imported

ROOT = pathlib.Path(__file__).resolve().parents[4]
SOURCE = ROOT / "plugins/module_utils"
START = "import sys; sys.path.insert(0, {!r}); from shipshape._cli import main; sys.exit(main(sys.argv[1:]))"
Shipshape = Callable[..., "subprocess.CompletedProcess[str]"]
OK = {"name": "fine", "type": "command", "command": "true"}
SO_SO = {"name": "so-so", "type": "command", "command": "false", "degraded_rc": 1}
BAD = {"name": "broken", "type": "command", "command": ["sh", "-c", "echo no space left; exit 1"]}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """What the role puts on the host."""
    folder = tmp_path_factory.mktemp("lib") / "shipshape"
    folder.mkdir()
    for file in command_files(SOURCE):
        shutil.copy(file, folder)
    return folder.parent


@pytest.fixture
def config(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "health.json"


@pytest.fixture
def shipshape(installed: pathlib.Path, config: pathlib.Path) -> Shipshape:
    def run(*arguments: str, checks: list[Any] | None = None, **call: Any) -> subprocess.CompletedProcess[str]:
        if checks is not None:
            config.write_text(json.dumps({"checks": checks, "attempts": 1, **call}))
        command = [sys.executable, "-I", "-c", START.format(str(installed)), *arguments]
        if arguments[:1] == ("health",) and "--config" not in arguments:
            command += ["--config", str(config)]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    return run


@pytest.mark.parametrize(
    ("checks", "status", "last"),
    [
        ([OK], 0, "healthy: 1 healthy in "),
        ([OK, SO_SO], 1, "degraded: 1 healthy, 1 degraded in "),
        ([OK, SO_SO, BAD], 2, "unhealthy: 1 healthy, 1 degraded, 1 unhealthy in "),
    ],
)
def test_the_exit_status_is_the_state(shipshape: Shipshape, checks: list[Any], status: int, last: str) -> None:
    done = shipshape("health", checks=checks)
    assert (done.returncode, done.stderr) == (status, "")
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["CHECK", "STATE", "MS", "DETAIL"]
    assert lines[-1].startswith(last)
    assert all(len(line) <= 80 and line.isprintable() for line in lines)


def test_json(shipshape: Shipshape) -> None:
    report = json.loads(shipshape("health", "--format", "json", checks=[OK, BAD]).stdout)
    assert report["status"] == "unhealthy"
    assert [row["detail"] for row in report["checks"]] == ["rc 0", "rc 1, wanted 0: no space left"]


def test_only_the_checks_that_were_named(shipshape: Shipshape) -> None:
    done = shipshape("health", "--format", "json", "--check", "fine", checks=[OK, SO_SO, BAD])
    assert [row["name"] for row in json.loads(done.stdout)["checks"]] == ["fine"]
    assert shipshape("health", "--check", "fine", "so-so").returncode == 1
    done = shipshape("health", "--check", "brokn")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.endswith("no check is called 'brokn' (did you mean broken?)\n")


def test_quiet_is_for_cron(shipshape: Shipshape) -> None:
    assert shipshape("health", "--quiet", checks=[OK]).stdout == ""
    assert "broken" in shipshape("health", "--quiet", checks=[OK, BAD]).stdout


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "there is no such file; name another with --config"),
        ("{", "not JSON: Expecting property name"),
        ("[]", 'the file must hold an object like {"checks": [...]}'),
        ("{}", "checks: at least one check is needed"),
        ('{"checks": [], "checks": []}', "'checks' is given twice in one object"),
        ('{"checks": [{"name": "a", "type": "tcp", "port": 70000}]}', "checks[0].port: 70000 is not a port (1-65535)"),
        ("\udcff", "not JSON: 'utf-8' codec can't decode"),
    ],
)
def test_a_wrong_configuration_is_one_line(
    shipshape: Shipshape, config: pathlib.Path, text: str | None, said: str
) -> None:
    if text is not None:
        config.write_bytes(text.encode(errors="surrogateescape"))
    done = shipshape("health")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(f"shipshape: {config}: {said}")
    assert done.stderr.count("\n") == 1


def test_a_folder_is_no_configuration(shipshape: Shipshape, tmp_path: pathlib.Path) -> None:
    done = shipshape("health", "--config", str(tmp_path))
    assert (done.returncode, done.stderr) == (3, f"shipshape: {tmp_path}: Is a directory\n")


def test_a_configuration_of_someone_else() -> None:
    class Theirs:
        """Root may read any real file."""

        def read_text(self, encoding: str) -> str:
            raise PermissionError

    theirs: Any = Theirs()
    with pytest.raises(ValueError, match="not readable for this user; run as root"):
        _cli_health.load(theirs)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "shipshape: the following arguments are required: VERB (see shipshape --help)"),
        (["helth"], "shipshape: argument VERB: invalid choice: 'helth'"),
        (["health", "--formt"], "shipshape: unrecognized arguments: --formt"),
        (["health", "--format", "xml"], "shipshape health: argument --format: invalid choice: 'xml'"),
    ],
)
def test_wrong_arguments_are_one_line(shipshape: Shipshape, arguments: list[str], said: str) -> None:
    done = shipshape(*arguments)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == 1


def test_help_and_version(shipshape: Shipshape) -> None:
    assert "health" in shipshape("--help").stdout
    said = " ".join(shipshape("health", "--help").stdout.split())
    assert "Exit status: 0 healthy, 1 degraded, 2 unhealthy, 3" in said
    assert "/etc/shipshape/health.json" in said
    done = shipshape("--version")
    assert (done.returncode, done.stdout) == (0, f"shipshape {_cli.VERSION}\n")


def test_the_version_is_the_collection_s() -> None:
    assert yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"] == _cli.VERSION


def test_a_reader_that_leaves_is_no_traceback(
    shipshape: Shipshape, installed: pathlib.Path, config: pathlib.Path
) -> None:
    config.write_text(json.dumps({"checks": [OK]}))
    start = shlex.join([sys.executable, "-I", "-c", START.format(str(installed))])
    done = subprocess.run(
        ["bash", "-c", f"{start} health --config {shlex.quote(str(config))} | true"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stderr == ""


HANG = """
import sys, time
sys.path.insert(0, {!r})
from shipshape import _cli, _cli_health, _health_spec
_cli_health.REGISTRY["hang"] = _health_spec.Probe({{}}, lambda options, seconds: time.sleep(20))
sys.exit(_cli.main(["health", "--config", {!r}]))
"""


def test_a_probe_that_no_timeout_reaches_does_not_hold_the_command(
    installed: pathlib.Path, config: pathlib.Path
) -> None:
    """Its thread is still there when the command ends."""
    config.write_text(json.dumps({"checks": [{"name": "x", "type": "hang", "timeout": 0.3}], "attempts": 1}))
    command = [sys.executable, "-I", "-c", HANG.format(str(installed), str(config))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    assert (done.returncode, "no answer within 0.3 s" in done.stdout) == (2, True)


def test_a_silent_server_is_unhealthy(shipshape: Shipshape) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        check = {"name": "x", "type": "tcp", "port": silent.getsockname()[1], "expect": "x", "timeout": 0.3}
        done = shipshape("health", checks=[check])
    assert (done.returncode, "no answer within 0.3 s" in done.stdout) == (2, True)


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    ours, theirs = os.openpty()
    yield ours, theirs
    os.close(ours)


def test_colours_are_for_terminals(installed: pathlib.Path, config: pathlib.Path, terminal: tuple[int, int]) -> None:
    config.write_text(json.dumps({"checks": [OK]}))
    command = [sys.executable, "-I", "-c", START.format(str(installed)), "health", "--config", str(config)]
    subprocess.run(command, stdout=terminal[1], env={"PATH": os.environ["PATH"]}, timeout=30, check=True)
    os.close(terminal[1])
    assert b"\x1b[32mhealthy" in os.read(terminal[0], 4096)


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("from . import _a, _b", {"_a", "_b"}),
        ("from ._a import x\nfrom json import y\nimport os", {"_a"}),
        ("def late():\n    from ._a import (\n        x,\n    )", {"_a"}),
        ("", set()),
    ],
)
def test_what_a_file_of_the_command_needs_beside_it(source: str, names: set[str]) -> None:
    assert imported(source) == names


def test_no_file_of_the_command_needs_ansible() -> None:
    for file in command_files(SOURCE):
        text = pathlib.Path(file).read_text(encoding="utf-8")
        assert "import ansible" not in text, file
        assert "from ansible" not in text, file
