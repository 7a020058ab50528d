"""Every option of the role shows in what sshd really does."""

from __future__ import annotations

import pathlib
import subprocess

import pytest
import yaml

pytestmark = pytest.mark.usefixtures("as_root")

SCENARIO = pathlib.Path(__file__).resolve().parents[1]
SPECS = pathlib.Path(__file__).resolve().parents[3] / "roles/sshd/meta/argument_specs.yml"


def effective(host, user):
    found = {}
    for line in host.check_output(f"sshd -T -C user={user},host=192.0.2.1,addr=192.0.2.1").splitlines():
        keyword, _space, value = line.partition(" ")
        found.setdefault(keyword, []).append(value)
    return found


def test_every_option_of_the_role_is_set_in_this_scenario():
    options = yaml.safe_load(SPECS.read_text(encoding="utf-8"))["argument_specs"]["main"]["options"]
    scenario = yaml.safe_load((SCENARIO / "molecule.yml").read_text(encoding="utf-8"))
    assert set(scenario["provisioner"]["inventory"]["group_vars"]["all"]) == set(options)


@pytest.mark.parametrize(
    ("keyword", "values"),
    [
        ("port", ["22", "2222"]),
        ("kexalgorithms", ["curve25519-sha256,diffie-hellman-group16-sha512"]),
        ("ciphers", ["aes256-gcm@openssh.com,aes256-ctr"]),
        ("macs", ["hmac-sha2-512-etm@openssh.com,hmac-sha2-512"]),
        ("permitrootlogin", ["without-password"]),
        ("passwordauthentication", ["yes"]),
        ("kbdinteractiveauthentication", ["yes"]),
        ("denyusers", ["mallory"]),
        ("denygroups", ["games"]),
        ("trustedusercakeys", ["/etc/ssh/ca.pub"]),
        ("logingracetime", ["45"]),
        ("maxauthtries", ["6"]),
        ("maxsessions", ["20"]),
        ("maxstartups", ["20:50:90"]),
        ("clientaliveinterval", ["60"]),
        ("clientalivecountmax", ["3"]),
        ("allowtcpforwarding", ["local"]),
        ("allowagentforwarding", ["yes"]),
        ("loglevel", ["INFO"]),
        ("banner", ["/etc/issue.net"]),
        ("rekeylimit", ["536870912 3600"]),
        ("printmotd", ["no"]),
        ("compression", ["yes"]),
    ],
)
def test_effective_settings(host, keyword, values):
    assert effective(host, "admin")[keyword] == values


def test_lists_of_users_and_groups(host):
    found = effective(host, "admin")
    assert sorted(found["allowusers"]) == ["admin", "backup", "root"]
    assert sorted(found["allowgroups"]) == ["backup", "root", "sudo"]


def test_match_block_holds_for_its_user_only(host):
    backup, admin = effective(host, "backup"), effective(host, "admin")
    assert (backup["forcecommand"], backup["allowtcpforwarding"], backup["permittty"]) == (
        ["/bin/true"],
        ["no"],
        ["no"],
    )
    assert (admin["forcecommand"], admin["permittty"]) == (["none"], ["yes"])


@pytest.mark.parametrize("port", [22, 2222])
def test_both_ports_answer_on_both_families(host, address, port):
    keys = subprocess.run(["ssh-keyscan", "-p", str(port), address], capture_output=True, text=True, check=True).stdout
    assert {line.split()[1] for line in keys.splitlines()} == {"ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256"}
    assert host.run(f"timeout 5 bash -c 'exec 3<>/dev/tcp/::1/{port}'").rc == 0


def test_penalties_spare_the_admin_networks_and_controllers(host):
    if host.system_info.codename == "bookworm":
        assert "persourcepenalties" not in effective(host, "admin")
    else:
        assert effective(host, "admin")["persourcepenaltyexemptlist"] == ["10.0.0.0/8,fd00::/8,192.0.2.9"]
