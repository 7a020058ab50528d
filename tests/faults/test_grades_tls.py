"""The grades of TLS that docs/grades.md names: the role nginx earns them with its defaults, asked by a neighbour."""

from __future__ import annotations

import concurrent.futures
import json
import shlex
import subprocess

import pytest

from .conftest import ROOT, Group

# Rules of outside tools, which change with the tools rather than with a role.
pytestmark = pytest.mark.nightly

GRADE = ROOT / "tests/grade"
SITE = "shop.example.com"
# As certbot leaves it: a certificate of an authority with the one between, in place before nginx is.
CERTIFICATE = f"""
mkdir -p /etc/nginx/tls/shop/0123456789abcdef
cd /etc/nginx/tls/shop/0123456789abcdef
ca='basicConstraints=critical,CA:true\\nkeyUsage=critical,keyCertSign,cRLSign\\n'
leaf='keyUsage=critical,digitalSignature\\nextendedKeyUsage=serverAuth\\n'
printf "$ca" > ca.ext
printf "${{leaf}}subjectAltName=DNS:{SITE}\\n" > leaf.ext
sign() {{
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $1.key -out $1.csr -subj "/CN=$2"
    openssl x509 -req -in $1.csr -out $1.pem -CA $3.pem -CAkey $3.key -CAcreateserial -days 80 -extfile $4.ext
}}
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout root.key -out root.pem -days 90 \\
    -subj '/CN=Harbour root' -addext basicConstraints=critical,CA:true -addext keyUsage=critical,keyCertSign
sign sub 'Harbour CA' root ca
sign leaf {SITE} sub leaf
cat leaf.pem sub.pem > fullchain.pem
mv leaf.key privkey.pem
ln -s 0123456789abcdef ../current
"""
TOOLS = """
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends testssl.sh sslscan
"""
# What is wrong with it is for sslscan to find: old protocols, a weak cipher, a certificate that signs itself.
WEAK = f"""
cd /root
openssl req -x509 -newkey rsa:1024 -nodes -keyout weak.key -out weak.pem -days 3 -subj /CN={SITE}
systemd-run --quiet --unit=weak openssl s_server -accept 8443 -cert /root/weak.pem -key /root/weak.key -www \\
    -min_protocol TLSv1 -cipher 'AES128-SHA:@SECLEVEL=0'
"""
SITES = [
    {
        "name": "shop",
        "server_names": [SITE],
        "tls": {"certificate": "shop"},
        "locations": [{"path": "/", "type": "return", "code": 200, "text": "fine"}],
    }
]


def grade(grader, *words):
    argv = [str(GRADE / grader), "--json", *words]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode in (0, 1), done.stderr
    found = json.loads(done.stdout)
    assert len(found) == 1
    return {**next(iter(found.values())), "passed": done.returncode == 0}


@pytest.fixture(scope="module")
def grades(tmp_path_factory):
    """What the graders say, all at once."""
    folder = tmp_path_factory.mktemp("f")
    group = Group("faults-grades-tls", folder, d12="bookworm", d13="trixie", neighbour="trixie")
    config = str(group.state / "ssh_config")
    try:
        group.shells({"d12": CERTIFICATE, "d13": CERTIFICATE + WEAK})
        play = {
            "hosts": "d12,d13",
            "become": True,
            "roles": ["shipshape.stack.nginx"],
            "vars": {"nginx_sites": SITES},
        }
        with concurrent.futures.ThreadPoolExecutor() as pool:
            tools = pool.submit(group.shell, "neighbour", TOOLS)
            run = group.play([play])
            assert run.code == 0, run.output
            tools.result()
        roots = {name: folder / f"{name}.pem" for name in ("d12", "d13")}
        for name, path in roots.items():
            path.write_text(group.shell(name, "cat /etc/nginx/tls/shop/current/root.pem"), encoding="utf-8")

        def asked(name, *words):
            return ("--ip", group.address(name), "--via", f"ssh -F {shlex.quote(str(config))} neighbour", *words)

        with concurrent.futures.ThreadPoolExecutor() as pool:
            found = {
                "testssl": pool.submit(grade, "testssl", *asked("d13", "--ca", str(roots["d13"]), SITE)),
                "weak": pool.submit(grade, "sslscan", *asked("d13", f"{SITE}:8443")),
            }
            for name in roots:
                found[f"sslscan {name}"] = pool.submit(grade, "sslscan", *asked(name, SITE))
                found[f"gixy {name}"] = pool.submit(grade, "gixy", "-F", config, name)
            yield {name: future.result() for name, future in found.items()}
    finally:
        group.down()


def test_testssl(grades):
    assert grades["testssl"]["grade"] == "A+", grades["testssl"]
    assert grades["testssl"]["passed"]


@pytest.mark.parametrize("name", ["d12", "d13"])
def test_sslscan(grades, name):
    found = grades[f"sslscan {name}"]
    assert found["problems"] == []
    assert found["passed"]
    assert found["protocols"] == ["TLSv1.2", "TLSv1.3"]


def test_sslscan_finds_what_is_weak(grades):
    found = grades["weak"]
    assert not found["passed"]
    assert "TLSv1.0 is spoken" in found["problems"]
    assert "certificate that signs itself" in found["problems"]
    assert "key of 1024 bits (RSA)" in found["problems"]
    assert any(problem.startswith("cipher AES128-SHA (TLSv1.") for problem in found["problems"])


@pytest.mark.parametrize("name", ["d12", "d13"])
def test_gixy(grades, name):
    assert grades[f"gixy {name}"]["problems"] == []
    assert grades[f"gixy {name}"]["passed"]
    # It is the host's own nginx that was read.
    assert grades[f"gixy {name}"]["version"] == {"d12": "nginx/1.22.1", "d13": "nginx/1.26.3"}[name]
