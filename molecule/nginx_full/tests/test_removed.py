"""The role takes itself back. The last test of the scenario, as the file names are sorted."""

from __future__ import annotations

import pytest
from scenario import run_tasks


@pytest.fixture(scope="module")
def removed():
    role = {"ansible.builtin.include_role": {"name": "shipshape.stack.nginx"}, "vars": {"nginx_state": "absent"}}
    done = run_tasks(role, role)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_a_second_run_changes_nothing(removed):
    recap = removed.stdout.split("PLAY RECAP")[1]
    assert recap.count("changed=1 ") == recap.count("ok=") == 2


def test_the_role_takes_itself_back(host, removed):
    assert not host.service("nginx").is_running
    assert not host.service("nginx").is_enabled
    assert not host.file("/etc/nginx/shipshape").exists
    assert host.check_output("dpkg --verify nginx-common || true") == ""
    assert host.run("nginx -t").rc == 0
    assert host.file("/etc/nginx/tls/shop/given/privkey.pem").exists
