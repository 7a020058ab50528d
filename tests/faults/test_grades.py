"""The grades that docs/grades.md names: site.yml earns them, and a bare host does not have them."""

from __future__ import annotations

import concurrent.futures
import datetime
import importlib.machinery
import importlib.util
import json
import subprocess
import sys

import pytest

from .conftest import ROOT, Group

# Rules of outside tools, which change with the tools rather than with a role.
pytestmark = pytest.mark.nightly

GRADE = ROOT / "tests/grade"
# What a container gets. docs/grades.md says what is missing to it, and why.
LEAST_INDEX = 78


def grade(config, grader, *words):
    argv = [str(GRADE / grader), "--json", "-F", str(config), *words]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def grades(tmp_path_factory):
    """What both graders say of a bare host, and of one that site.yml was run on."""
    group = Group("faults-grades", tmp_path_factory.mktemp("f"), bare="bookworm", hardened="bookworm")
    config = group.state / "ssh_config"
    try:
        with concurrent.futures.ThreadPoolExecutor() as pool:
            rules = ("openscap", "--as-machine", "--gated-only")
            # The bare host is graded while the other one is being hardened.
            found = {"bare": [pool.submit(grade, config, *words, "bare") for words in (("lynis",), rules)]}
            run = group.play("playbooks/site.yml", "--limit", "hardened")
            assert run.code == 0, run.output
            found["hardened"] = [pool.submit(grade, config, *words, "hardened") for words in (("lynis",), rules)]
        yield {name: [future.result()[name] for future in futures] for name, futures in found.items()}
    finally:
        group.down()


def test_lynis_index(grades):
    bare, hardened = grades["bare"][0], grades["hardened"][0]
    assert hardened["index"] >= LEAST_INDEX
    assert bare["index"] < LEAST_INDEX - 10
    assert hardened["warnings"] == []


def test_openscap_rules_pass_or_are_waived(grades):
    assert grades["hardened"][1]["problems"] == []
    assert len(grades["bare"][1]["problems"]) >= 10


@pytest.fixture(scope="module")
def openscap():
    """The grader itself, which has no suffix to be imported by."""
    sys.path.insert(0, str(GRADE))
    loader = importlib.machinery.SourceFileLoader("grade_openscap", str(GRADE / "openscap"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("grade_openscap", loader))
    loader.exec_module(module)
    yield module
    sys.path.remove(str(GRADE))


TODAY = datetime.date(2026, 12, 1)
WAIVER = {"rule": "b", "reason": "known", "until": datetime.date(2027, 1, 1)}


@pytest.mark.parametrize(
    ("results", "waivers", "words"),
    [
        pytest.param({"a": "pass", "b": "fail"}, [WAIVER], None, id="waived"),
        pytest.param({"a": "pass", "b": "fail"}, [], "b fail", id="failed"),
        pytest.param({"a": "pass", "b": "pass"}, [WAIVER], "remove its waiver", id="not-needed"),
        pytest.param({"a": "pass"}, [WAIVER], "is not in", id="no-such-rule"),
        pytest.param(
            {"a": "pass", "b": "fail"}, [{**WAIVER, "until": datetime.date(2026, 11, 30)}], "ended", id="over"
        ),
        pytest.param({"a": "pass", "b": "fail"}, [{**WAIVER, "reason": ""}], "no reason", id="no-reason"),
        pytest.param({"a": "notapplicable"}, [], "nothing was graded", id="nothing-graded"),
    ],
)
def test_waivers(openscap, results, waivers, words):
    problems = openscap.judge(results, waivers, TODAY)
    assert len(problems) == (1 if words else 0)
    assert words is None or words in problems[0]
