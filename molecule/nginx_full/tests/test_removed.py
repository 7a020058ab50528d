"""Sites that are not declared any more disappear, mistakes change nothing, and the role takes itself back.

The last test of the scenario, as the file names are sorted.
"""

from __future__ import annotations

import json

import pytest
from conftest import ROOT

CONVERGE = ROOT / "molecule/nginx_full/converge.yml"
ONE = [
    {
        "name": "plain",
        "server_names": ["plain.example.org"],
        "http": "serve",
        "tls": {"certificate": "shop", "http3": "{{ ansible_facts['distribution_major_version'] == '13' }}"},
        "locations": [{"path": "/", "type": "return", "code": 200, "text": "alone"}],
    }
]
MISTAKES = [
    ({"nginx_site": []}, "nginx_site is not an option: did you mean nginx_sites?"),
    (
        {"nginx_sites": [{**ONE[0], "locatons": []}]},
        "nginx_sites[0].locatons: there is no such key: did you mean locations?",
    ),
    ({"nginx_sites": ONE * 2}, "nginx_sites[1].name: plain is the name of sites[0] already"),
    (
        {"nginx_sites": [{**ONE[0], "locations": [{"path": "/s/", "type": "static", "alias": "/srv/s"}]}]},
        "nginx_sites[0].locations[0].alias: /srv/s has no / at the end",
    ),
    (
        {
            "nginx_sites": [
                {
                    **ONE[0],
                    "locations": [
                        {"path": "^/a/", "match": "regex", "type": "proxy", "upstream": "app", "strip_prefix": True}
                    ],
                }
            ]
        },
        "nginx_sites[0].locations[0].strip_prefix: match: regex",
    ),
    (
        {"nginx_sites": [{**ONE[0], "server_names": ["a;b"]}]},
        "nginx_sites[0].server_names[0]: 'a;b' is not a host name",
    ),
    ({"nginx_sites": [{**ONE[0], "raw": "} server {"}]}, "nginx_sites[0].raw"),
    ({"nginx_status": {"listen": "192.0.2.1:8081"}}, "nginx_status.listen: 192.0.2.1:8081 is not of this host alone"),
    ({"nginx_sites": [{**ONE[0], "raw": "no_such_directive on;"}]}, "no_such_directive"),
]


def attempt(options, reason):
    """A task that runs the role with a mistake, and fails unless the role refused it with the reason."""
    return {
        "name": "Refuse a mistake",
        "block": [
            {"ansible.builtin.include_role": {"name": "shipshape.stack.nginx"}, "vars": options},
            {"ansible.builtin.fail": {"msg": "it was taken"}},
        ],
        "rescue": [
            {
                "ansible.builtin.assert": {
                    "that": "reason in ansible_failed_result | string",
                    "fail_msg": "{{ ansible_failed_result | string }}",
                },
                "vars": {"reason": reason},
            }
        ],
    }


def test_mistakes_change_nothing(host, ask, playbook, tmp_path):
    plays = [{"hosts": "all", "become": True, "tasks": [attempt(*mistake) for mistake in MISTAKES]}]
    (tmp_path / "mistakes.yml").write_text(json.dumps(plays))
    state = (
        "find /etc/nginx -type f -o -type l | sort | xargs sha256sum; readlink /etc/nginx/nginx.conf; pgrep -x nginx"
    )
    before = host.check_output(state)
    found = playbook(tmp_path / "mistakes.yml")
    assert found.returncode == 0, found.stdout
    assert host.check_output(state) == before
    assert ask("http://plain.example.org/").status == 200


@pytest.fixture(scope="module")
def reduced(playbook, tmp_path_factory):
    path = tmp_path_factory.mktemp("vars") / "one.json"
    path.write_text(json.dumps({"nginx_sites": ONE}))
    return [playbook(CONVERGE, "-e", f"@{path}") for _run in range(2)]


def test_sites_that_are_not_declared_disappear(host, ask, reduced):
    assert [run.returncode for run in reduced] == [0, 0], reduced[0].stdout + reduced[1].stdout
    recap = reduced[1].stdout.split("PLAY RECAP")[1]
    assert recap.count("changed=0") == recap.count("ok=")
    assert ask("http://plain.example.org/").body == "alone"
    assert ask("http://shop.example.org/").status == 0
    assert not host.socket("tcp://0.0.0.0:8443").is_listening
    assert not host.socket("tcp://0.0.0.0:8080").is_listening


def test_http_3_where_nginx_has_it(host, ask, reduced):
    wanted = "debian13" in host.backend.get_pytest_id()
    assert ask("https://plain.example.org/").header("Alt-Svc") == ('h3=":443"; ma=86400' if wanted else "")
    assert host.socket("udp://0.0.0.0:443").is_listening == wanted


@pytest.fixture(scope="module")
def removed(reduced, playbook):
    runs = [playbook(CONVERGE, "-e", "nginx_state=absent") for _run in range(2)]
    assert [run.returncode for run in runs] == [0, 0], runs[0].stdout + runs[1].stdout
    return runs


def test_the_role_takes_itself_back(host, removed):
    recap = removed[1].stdout.split("PLAY RECAP")[1]
    assert recap.count("changed=0") == recap.count("ok=")
    assert not host.service("nginx").is_running
    assert not host.service("nginx").is_enabled
    assert not host.file("/etc/nginx/shipshape").exists
    assert host.check_output("dpkg --verify nginx-common || true") == ""
    assert host.run("nginx -t").rc == 0
    assert host.file("/etc/nginx/tls/shop/given/privkey.pem").exists
