from __future__ import annotations

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils._preflight import problems

FIT = {
    "distribution": "Debian",
    "distribution_version": "12.11",
    "memtotal_mb": 2000,
    "mounts": [{"mount": "/boot", "size_available": 1}, {"mount": "/", "size_available": 10 * 1024**3}],
    "date_time": {"epoch": "1000"},
}
SETTINGS = {
    "stack_supported_systems": {"Debian": ["12", "13"], "Ubuntu": ["24.04"]},
    "stack_requirements": {
        "all": {"memory_mb": 400, "disk_mb": 1024},
        "db": {"memory_mb": 1000, "disk_mb": 8000},
        "app": {"memory_mb": 1000},
    },
    "stack_clock_tolerance": 60,
}
SPECS = {
    "sshd": {"argument_specs": {"main": {"options": {"sshd_ports": {}}}}},
    "redis": {"argument_specs": {"main": {"options": {"redis_password": {"required": True, "description": "It."}}}}},
}
KEY = {"baseline_admins": [{"name": "a", "authorized_keys": ["ssh-ed25519 A"]}]}


def judge(facts=None, names=("redis_password",), values=None, groups=(), now=1000.0):
    return problems({**FIT, **(facts or {})}, names, values or {}, SPECS, SETTINGS, groups, now)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param({}, id="plain"),
        pytest.param({"groups": ["db", "ungrouped"]}, id="enough-for-its-groups"),
        pytest.param({"facts": {"distribution_version": "13"}}, id="version-without-point-release"),
        pytest.param({"facts": {"distribution": "Ubuntu", "distribution_version": "24.04"}}, id="ubuntu"),
        pytest.param({"facts": {"mounts": []}}, id="a-container-has-no-root-device"),
        pytest.param({"now": 1060.0}, id="clock-just-within"),
        pytest.param({"values": {"ansible_user": "root", **KEY}}, id="root-login-with-an-administrator"),
        pytest.param(
            {"values": {"ansible_user": "root", "sshd_permit_root_login": "prohibit-password"}}, id="root-stays-open"
        ),
        pytest.param({"values": {"ansible_password": "x", "sshd_password_authentication": True}}, id="passwords-stay"),
        pytest.param({"values": {"names": ["b1"], "proxy_arguments": ["-o ProxyJump=b2"]}}, id="others-jump-elsewhere"),
        pytest.param({"values": {"names": ["b1"], "proxy_arguments": ["-o LogLevel=b1"]}}, id="no-jump-at-all"),
        pytest.param(
            {"values": {"names": ["b1"], "proxy_arguments": ["-J b1"], "sshd_allow_tcp_forwarding": "local"}},
            id="a-bastion-that-forwards",
        ),
        pytest.param({"names": ["redis_password", "sshd_ports", "stack_requirements"]}, id="known-names"),
    ],
)
def test_fit(case):
    assert judge(**case) == []


@pytest.mark.parametrize(
    ("case", "words"),
    [
        pytest.param({"facts": {"distribution_version": "11.9"}}, "Debian 11.9 is not supported", id="version"),
        pytest.param({"facts": {"distribution_version": "120"}}, "Debian 120 is not", id="no-prefix-of-digits"),
        pytest.param({"facts": {"distribution": "Fedora"}}, "Fedora 12.11 is not supported", id="distribution"),
        pytest.param({"groups": ["db", "app"]}, "2000 MiB of memory, and its groups need 2400", id="memory"),
        pytest.param(
            {"facts": {"mounts": [{"mount": "/", "size_available": 1024**3}]}, "groups": ["db"]},
            "1024 MiB free on /, and its groups need 9024",
            id="disk",
        ),
        pytest.param({"now": 1061.0}, "its clock is 61 s behind the controller's", id="clock-behind"),
        pytest.param({"now": 900.0}, "its clock is 100 s ahead of", id="clock-ahead"),
        pytest.param({"values": {"ansible_user": "root"}}, "Ansible logs in as root, which will be shut", id="root"),
        pytest.param(
            {"values": {"ansible_user": "root", "baseline_admins": [{"name": "a", "authorized_keys": []}]}},
            "no administrator with a key",
            id="administrator-without-a-key",
        ),
        pytest.param(
            {"values": {"ansible_user": "root", "baseline_admins": [{**KEY["baseline_admins"][0], "state": "absent"}]}},
            "no administrator with a key",
            id="administrator-removed",
        ),
        pytest.param({"values": {"ansible_ssh_pass": "x"}}, "logs in with a password, which", id="password"),
        *(
            pytest.param(
                {"values": {"names": ["b1", "192.0.2.1"], "proxy_arguments": [arguments]}},
                "other hosts are reached through it",
                id=f"bastion {arguments}",
            )
            for arguments in (
                "-o ProxyJump=admin@b1:2222",
                "-J x,192.0.2.1",
                '-o ProxyCommand="ssh -W %h:%p -q admin@b1"',
            )
        ),
        pytest.param({"names": []}, "redis_password is required and not set: It.", id="missing"),
        pytest.param(
            {"names": ["redis_password", "sshd_port"]},
            "sshd_port is not an option: did you mean sshd_ports?",
            id="unknown",
        ),
        pytest.param(
            {"names": ["redis_password", "stack_requirement"]}, "did you mean stack_requirements?", id="unknown-stack"
        ),
    ],
)
def test_unfit(case, words):
    found = judge(**case)
    assert len(found) == 1, found
    assert words in found[0]


def test_everything_is_listed_at_once():
    found = judge({"distribution": "Fedora", "memtotal_mb": 1, "date_time": {"epoch": "9"}}, names=["sshd_x"])
    assert len(found) == 5
