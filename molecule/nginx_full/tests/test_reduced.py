"""Sites that are not declared any more disappear; mistakes are refused, and nothing of nginx changes."""

from __future__ import annotations

import pytest
from scenario import mistake, run_tasks

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


@pytest.fixture(scope="module")
def reduced():
    """A fifth of the sites, and then every mistake. One run, as it does not take long then."""
    role = {"ansible.builtin.include_role": {"name": "shipshape.stack.nginx"}, "vars": {"nginx_sites": ONE}}
    done = run_tasks(role, *(mistake("nginx", *each) for each in MISTAKES))
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_sites_that_are_not_declared_disappear(host, ask, reduced):
    assert ask("http://plain.example.org/").body == "alone"
    assert ask("http://shop.example.org/").status == 0
    assert not host.socket("tcp://0.0.0.0:8443").is_listening
    assert not host.socket("tcp://0.0.0.0:8080").is_listening


def test_mistakes_change_nothing(reduced):
    """One task of all these changed something: the one without a mistake."""
    recap = reduced.stdout.split("PLAY RECAP")[1]
    assert recap.count("changed=1 ") == recap.count("ok=") == 2


def test_http_3_where_nginx_has_it(host, ask, reduced):
    wanted = "debian13" in host.backend.get_pytest_id()
    assert ask("https://plain.example.org/").header("Alt-Svc") == ('h3=":443"; ma=86400' if wanted else "")
    assert host.socket("udp://0.0.0.0:443").is_listening == wanted
