"""How the graders read what their programs print; tests/faults/test_grades_tls.py runs them on hosts."""

from __future__ import annotations

import argparse
import importlib.machinery
import importlib.util
import json
import pathlib
import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest

GRADE = pathlib.Path(__file__).resolve().parents[3] / "tests/grade"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A grader, which has no suffix to be imported by."""
    monkeypatch.syspath_prepend(str(GRADE))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def module(name: str) -> types.ModuleType:
        loader = importlib.machinery.SourceFileLoader(f"grade_{name}", str(GRADE / name))
        spec = importlib.util.spec_from_loader(loader.name, loader)
        assert spec
        made = importlib.util.module_from_spec(spec)
        loader.exec_module(made)
        return made

    yield module
    sys.modules.pop("gradelib", None)


GOOD = """
<protocol type="ssl" version="3" enabled="0" />
<protocol type="tls" version="1.0" enabled="0" />
<protocol type="tls" version="1.2" enabled="1" />
<protocol type="tls" version="1.3" enabled="1" />
<renegotiation supported="0" secure="0" />
<compression supported="0" />
<heartbleed sslversion="TLSv1.2" vulnerable="0" />
<cipher status="preferred" sslversion="TLSv1.3" bits="256" cipher="TLS_AES_256_GCM_SHA384" strength="strong" />
<cipher status="accepted" sslversion="TLSv1.3" bits="256" cipher="TLS_CHACHA20_POLY1305_SHA256" strength="strong" />
<cipher status="accepted" sslversion="TLSv1.2" bits="128" cipher="ECDHE-ECDSA-AES128-GCM-SHA256" strength="strong" />
<group sslversion="TLSv1.3" bits="128" name="x25519" id="0x001d" />
<certificates><certificate type="short">
<signature-algorithm>ecdsa-with-SHA256</signature-algorithm><pk error="false" type="EC" bits="128" />
<self-signed>false</self-signed><not-valid-after>Feb 13 2027</not-valid-after><expired>false</expired>
</certificate></certificates>
"""


def document(test: str) -> str:
    return (
        f'<?xml version="1.0"?><document title="SSLScan Results" version="2.0.7"><ssltest>{test}</ssltest></document>'
    )


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("", "", []),
        ('version="1.0" enabled="0"', 'version="1.0" enabled="1"', ["TLSv1.0 is spoken"]),
        ('version="3" enabled="0"', 'version="3" enabled="1"', ["SSLv3 is spoken"]),
        ('renegotiation supported="0"', 'renegotiation supported="1"', ["insecure renegotiation"]),
        ('renegotiation supported="0" secure="0"', 'renegotiation supported="1" secure="1"', []),
        ('compression supported="0"', 'compression supported="1"', ["TLS compression (CRIME)"]),
        ('vulnerable="0"', 'vulnerable="1"', ["Heartbleed (TLSv1.2)"]),
        ("ECDHE-ECDSA-AES128-GCM-SHA256", "AES128-SHA", ["cipher AES128-SHA (TLSv1.2, strong)"]),
        ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-SHA", ["cipher ECDHE-RSA-AES128-SHA (TLSv1.2, strong)"]),
        (
            'SHA256" strength="strong" />\n<group',
            'SHA256" strength="weak" />\n<group',
            ["cipher ECDHE-ECDSA-AES128-GCM-SHA256 (TLSv1.2, weak)"],
        ),
        ("ecdsa-with-SHA256", "sha1WithRSAEncryption", ["certificate signed by sha1WithRSAEncryption"]),
        ('type="EC" bits="128"', 'type="RSA" bits="1024"', ["key of 1024 bits (RSA)"]),
        ('type="EC" bits="128"', 'type="RSA" bits="2048"', []),
        ('bits="128" />\n<self', 'bits="80" />\n<self', ["key of 80 bits (EC)"]),
        ("<self-signed>false", "<self-signed>true", ["certificate that signs itself"]),
        ("<expired>false", "<expired>true", ["certificate that ended on Feb 13 2027"]),
    ],
)
def test_sslscan(load: Any, old: str, new: str, said: list[str]) -> None:
    assert old in GOOD
    found = load("sslscan").read(document(GOOD.replace(old, new, 1) if old else GOOD))
    assert found["problems"] == said
    assert found["version"] == "2.0.7"


@pytest.mark.parametrize("test", ["", '<protocol type="tls" version="1.2" enabled="0" />'])
def test_sslscan_of_what_does_not_answer(load: Any, test: str) -> None:
    grader = load("sslscan")
    with pytest.raises(grader.GradeError, match="no answer in TLS"):
        grader.read(document(test))


def row(name: str, finding: str, severity: str = "INFO") -> dict[str, str]:
    return {"id": name, "ip": "shop/192.0.2.7", "port": "443", "severity": severity, "finding": finding}


def test_testssl(load: Any) -> None:
    grader = load("testssl")
    rows = [
        row("BEAST", "not vulnerable", "OK"),
        row("HSTS", "not offered", "LOW"),
        row("final_score", "93"),
        row("overall_grade", "A", "OK"),
        row("grade_cap_reason_1", "Grade capped to A. HSTS is not offered"),
    ]
    assert grader.read(json.dumps(rows)) == {
        "grade": "A",
        "points": "93",
        "caps": ["Grade capped to A. HSTS is not offered"],
        "findings": ["LOW HSTS: not offered"],
    }


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([row("BEAST", "not vulnerable", "OK")], "no grade: testssl.sh has to be 3.1 or later"),
        ([row("scanProblem", "Can't connect to 192.0.2.7:443", "FATAL")], "Can't connect to 192.0.2.7:443"),
    ],
)
def test_testssl_without_a_grade(load: Any, rows: list[dict[str, str]], said: str) -> None:
    grader = load("testssl")
    with pytest.raises(grader.GradeError, match=said):
        grader.read(json.dumps(rows))


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("shop.example.com", ("shop.example.com", 443)),
        ("shop.example.com:8443", ("shop.example.com", 8443)),
        ("-oProxyCommand=x", None),
        ("a b", None),
        ("2001:db8::7", None),
    ],
)
def test_which_site_is_meant(load: Any, text: str, meant: tuple[str, int] | None) -> None:
    load("testssl")
    endpoint = sys.modules["gradelib"].endpoint
    if meant:
        assert endpoint(text) == meant
    else:
        with pytest.raises((argparse.ArgumentTypeError, ValueError)):
            endpoint(text)


def issue(plugin: str, severity: str, summary: str = "Something") -> dict[str, Any]:
    return {"plugin": plugin, "severity": severity, "summary": summary, "reason": "", "path": "nginx.conf"}


PREFIX = "Detect path after host in proxy_pass (potential URL decoding issue)"


@pytest.mark.parametrize(
    ("issues", "left", "waived"),
    [
        ([], [], []),
        ([issue("if_is_evil", "LOW")], [], []),
        ([issue("ssrf", "HIGH"), issue("status_page_exposed", "MEDIUM")], ["ssrf", "status_page_exposed"], []),
        ([issue("proxy_pass_normalized", "MEDIUM", PREFIX)], [], ["proxy_pass_normalized"]),
        # Only what was looked at is waived, not all that the check may say.
        ([issue("proxy_pass_normalized", "MEDIUM", "Other")], ["proxy_pass_normalized"], []),
    ],
)
def test_gixy(load: Any, issues: list[dict[str, Any]], left: list[str], waived: list[str]) -> None:
    found = load("gixy").judge(issues)
    assert [each["plugin"] for each in found["problems"]] == left
    assert found["waived"] == waived
