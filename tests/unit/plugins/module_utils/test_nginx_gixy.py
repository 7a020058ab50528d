"""What the role nginx writes, read by gixy: of the scenarios, of the documentation, and of nothing at all."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
import sys
from typing import Any

import pytest
import yaml
from ansible_collections.shipshape.stack.plugins.module_utils import _nginx_role as role
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_render import render
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_tls import Nginx, NginxError

ROOT = pathlib.Path(__file__).resolve().parents[4]
DEBIAN = {
    "d12": Nginx((1, 22, 1), (3, 0, 17), frozenset()),
    "d13": Nginx((1, 26, 3), (3, 5, 4), frozenset({"ngx_http_brotli_filter_module"})),
}
PAGES = ("README.md", "docs/nginx.md", "roles/nginx/README.md")


def written() -> dict[str, dict[str, Any]]:
    """Options of the role by where they stand."""
    found: dict[str, dict[str, Any]] = {"nothing": {}}
    for path in sorted(ROOT.glob("molecule/nginx_*/molecule.yml")):
        scenario = yaml.safe_load(path.read_text(encoding="utf-8"))
        found[path.parent.name] = (
            scenario.get("provisioner", {}).get("inventory", {}).get("group_vars", {}).get("all", {})
        )
    for page in filter(lambda page: (ROOT / page).exists(), PAGES):
        blocks = re.findall(r"^```yaml\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
        for number, block in enumerate(blocks):
            found[f"{page} {number}"] = yaml.safe_load(block)
    plain = {name: dict(options(what)) for name, what in found.items()}
    return {name: given for name, given in plain.items() if name == "nothing" or given}


def options(what: Any) -> Any:
    """The variables of the role, wherever they stand in a document; for a template there stands a server."""
    if isinstance(what, dict):
        for key, value in what.items():
            if str(key).startswith("nginx_"):
                yield key, json.loads(re.sub(r'"\{\{[^"]*\}\}"', '[{"address": "192.0.2.1:8000"}]', json.dumps(value)))
            else:
                yield from options(value)
    elif isinstance(what, list):
        for each in what:
            yield from options(each)


def written_to(folder: pathlib.Path, given: dict[str, Any], nginx: Nginx) -> str:
    """The tree, as a generation in that folder."""
    assert role.problems(given) == []
    for path, text in render(role.config(given), nginx).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text.replace("@GENERATION@", str(folder)).replace("@ID@", "0123456789abcdef"))
    return str(folder / "nginx.conf")


def graded(*paths: str) -> dict[str, Any]:
    argv = [sys.executable, str(ROOT / "tests/grade/gixy"), "--json", "--file", *paths]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    # Else it would have looked at less than nginx does.
    missed = set(re.findall("File not found: (.*)", done.stderr))
    assert missed <= {"/etc/nginx/mime.types"}, done.stderr
    grades: dict[str, Any] = json.loads(done.stdout)
    assert (done.returncode == 0) == (not any(found["problems"] for found in grades.values()))
    return grades


@pytest.fixture(scope="module")
def grades(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Any]:
    paths = {}
    for name, given in written().items():
        for release, nginx in DEBIAN.items():
            try:
                paths[name, release] = written_to(tmp_path_factory.mktemp("tree"), given, nginx)
            except NginxError:
                assert release == "d12", name  # what only Debian 13 has
    found = graded(*paths.values())
    return {key: found[path] for key, path in paths.items()}


@pytest.mark.parametrize("name", written())
def test_nothing_of_medium_or_high(grades: dict[tuple[str, str], Any], name: str) -> None:
    releases = [release for release in DEBIAN if (name, release) in grades]
    assert "d13" in releases
    for release in releases:
        assert grades[name, release]["problems"] == [], release


def test_every_waiver_is_needed(grades: dict[tuple[str, str], Any]) -> None:
    for release in DEBIAN:
        waived = {check for key in grades if key[1] == release for check in grades[key]["waived"]}
        assert waived == {"proxy_pass_normalized"}, release


def test_enough_is_looked_at() -> None:
    """A name that changed would leave nothing to look at."""
    names = list(written())
    assert "nginx_full" in names
    assert any(name.startswith("docs/nginx.md") for name in names)


@pytest.mark.parametrize(
    ("raw", "check", "severity"),
    [
        ("location /files { alias /srv/files/; }", "alias_traversal", "HIGH"),
        (
            r"location ~ /v1/((?<action>[^.]*)\.json)?$ { add_header X-Action $action; return 204; }",
            "http_splitting",
            "HIGH",
        ),
        (
            "location /old/ { proxy_pass http://192.0.2.1; proxy_set_header Host $http_host; }",
            "host_spoofing",
            "MEDIUM",
        ),
    ],
)
def test_what_a_user_adds_is_found(tmp_path: pathlib.Path, raw: str, check: str, severity: str) -> None:
    site = {"name": "shop", "server_names": ["shop.example.com"], "raw": raw}
    path = written_to(tmp_path, {"nginx_sites": [site]}, DEBIAN["d12"])
    problems = [(each["plugin"], each["severity"]) for each in graded(path)[path]["problems"]]
    assert (check, severity) in problems
