"""The sshd role's logic, on answers recorded from fresh Debian 12 and 13 hosts."""

from __future__ import annotations

import copy
import json
import os
import pathlib
import pwd

import pytest
import yaml
from ansible_collections.shipshape.stack.plugins.module_utils._sshd_effective import (
    deaf_ports,
    mismatches,
    parse,
)
from ansible_collections.shipshape.stack.plugins.module_utils._sshd_host import (
    connection,
    key_files,
    parse_directives,
    parse_key,
    parse_listeners,
)
from ansible_collections.shipshape.stack.plugins.module_utils._sshd_lockout import problems
from ansible_collections.shipshape.stack.plugins.module_utils._sshd_settings import (
    build,
    covered,
    exempt_addresses,
    match_keywords,
    match_users,
    version_tuple,
)
from hypothesis import given
from hypothesis import strategies as st

HERE = pathlib.Path(__file__).resolve().parent
SPECS = yaml.safe_load((HERE.parents[3] / "roles/sshd/meta/argument_specs.yml").read_text(encoding="utf-8"))
DEFAULTS = {name: option.get("default") for name, option in SPECS["argument_specs"]["main"]["options"].items()}
RSA_2048 = {"type": "ssh-rsa", "bits": 2048}
RSA_4096 = {"type": "ssh-rsa", "bits": 4096}
ED25519 = {"type": "ssh-ed25519", "bits": 0}


def options(**changes):
    return {**copy.deepcopy(DEFAULTS), **changes}


def info_of(name, **changes):
    found = json.loads((HERE.parent / f"fixtures/sshd_info_{name}.json").read_text(encoding="utf-8"))
    return {**found, **changes}


def with_login(info, **changes):
    info["users"] = [{**user, **changes} if user["name"] == "admin" else user for user in info["users"]]
    return info


@pytest.fixture(params=["debian12", "debian13"])
def info(request):
    return info_of(request.param)


# --- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "version"), [("9.2p1", (9, 2)), ("10.0p2", (10, 0)), ("8.9p1", (8, 9)), ("", (0, 0)), ("9", (9, 0))]
)
def test_version_tuple(text, version):
    assert version_tuple(text) == version


def test_policy_is_post_quantum_only_where_two_such_exchanges_are_at_hand():
    old, new = (build(options(), info_of(name))["KexAlgorithms"][0].split(",") for name in ("debian12", "debian13"))
    assert "curve25519-sha256" in old
    assert new == ["mlkem768x25519-sha256", "sntrup761x25519-sha512", "sntrup761x25519-sha512@openssh.com"]


def test_compatible_profile_admits_older_clients(info):
    wanted = build(options(sshd_profile="compatible"), info)
    assert "curve25519-sha256" in wanted["KexAlgorithms"][0].split(",")
    assert "ecdsa-sha2-nistp256" in wanted["PubkeyAcceptedAlgorithms"][0]


def test_every_algorithm_written_is_one_that_the_host_has(info):
    for profile in ("policy", "compatible"):
        wanted = build(options(sshd_profile=profile), info)
        for key, kind in (("KexAlgorithms", "kex"), ("Ciphers", "ciphers"), ("MACs", "macs")):
            names = wanted[key][0].split(",")
            assert names
            assert set(names) <= set(info["algorithms"][kind])


@pytest.mark.parametrize(
    ("changes", "key", "lines"),
    [
        pytest.param({}, "Port", ["22"], id="port"),
        pytest.param({"sshd_ports": [22, 2222]}, "Port", ["22", "2222"], id="ports"),
        pytest.param({"sshd_allow_users": ["a", "b"]}, "AllowUsers", ["a", "b"], id="one-line-each"),
        pytest.param({"sshd_config": {"x11forwarding": True}}, "X11Forwarding", ["yes"], id="raw-wins-in-any-case"),
        pytest.param({"sshd_config": {"X11Forwarding": None}}, "X11Forwarding", None, id="null-leaves-it-alone"),
        pytest.param({"sshd_config": {"AcceptEnv": ["LANG", "LC_*"]}}, "AcceptEnv", ["LANG", "LC_*"], id="raw-list"),
        pytest.param({"sshd_kex": ["curve25519-sha256"]}, "KexAlgorithms", ["curve25519-sha256"], id="own-list"),
        pytest.param({}, "ListenAddress", None, id="empty-is-not-written"),
    ],
)
def test_build(info, changes, key, lines):
    assert build(options(**changes), info).get(key) == lines


def test_extra_port_stays_open_beside_the_new_one(info):
    assert build(options(sshd_ports=[2222]), info, [22])["Port"] == ["2222", "22"]
    assert build(options(), info, [22])["Port"] == ["22"]


def test_penalties_are_written_where_openssh_has_them_and_spare_the_controller():
    assert "PerSourcePenalties" not in build(options(), info_of("debian12"))
    wanted = build(options(sshd_admin_networks=["192.0.2.0/24"]), info_of("debian13"))
    assert wanted["PerSourcePenaltyExemptList"] == ["192.0.2.0/24,10.89.1.1"]
    wanted = build(options(sshd_controller_addresses=["198.51.100.9"]), info_of("debian13"))
    assert wanted["PerSourcePenaltyExemptList"] == ["198.51.100.9,10.89.1.1"]


@pytest.mark.parametrize(
    ("networks", "controllers", "names"),
    [
        ([], [], []),
        ([], ["192.0.2.7"], ["192.0.2.7"]),
        ([], ["192.0.2.7", "192.0.2.7", "192.0.2.8"], ["192.0.2.7", "192.0.2.8"]),
        (["192.0.2.0/24"], ["192.0.2.7"], ["192.0.2.0/24"]),
        (["192.0.2.0/24"], ["::ffff:192.0.2.7"], ["192.0.2.0/24"]),
        (["2001:db8::/32"], ["2001:db8::7"], ["2001:db8::/32"]),
        (["192.0.2.0/24", "192.0.2.0/24"], ["198.51.100.1"], ["192.0.2.0/24", "198.51.100.1"]),
    ],
)
def test_exempt_addresses(networks, controllers, names):
    assert exempt_addresses(networks, controllers) == names


@given(st.ip_addresses())
def test_an_exempt_list_always_covers_the_controller(address):
    assert covered(str(address), exempt_addresses(["10.0.0.0/8", "2001:db8::/32"], [str(address)]))


def test_keys_of_users_do_not_depend_on_the_host_keys(info):
    wanted = build(options(sshd_host_keys=["ed25519"]), info)
    assert "rsa-sha2-512" not in wanted["HostKeyAlgorithms"][0]
    assert "rsa-sha2-512" in wanted["PubkeyAcceptedAlgorithms"][0]


def test_match_blocks():
    blocks = [
        {"criteria": "User backup", "settings": {"ForceCommand": "/bin/true", "PermitTTY": False}},
        {"criteria": "User b*", "settings": {"X11Forwarding": True}},
        {"criteria": "User a,b", "settings": {}},
        {"criteria": "Group sftp", "settings": {"ChrootDirectory": "/srv"}},
    ]
    assert match_users({"sshd_match": blocks}) == ["backup"]
    assert match_keywords({"sshd_match": blocks}) == ["ForceCommand", "PermitTTY", "X11Forwarding", "ChrootDirectory"]


# --- effective --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "effective"),
    [
        pytest.param({"usedns": ["no"]}, {"usedns": ["no"], "port": ["22"]}, id="same"),
        pytest.param({"port": ["22", "2222"]}, {"port": ["2222", "22"]}, id="order-of-lines-is-no-matter"),
        pytest.param({"acceptenv": ["LANG"]}, {"acceptenv": ["LANG", "COLORTERM"]}, id="others-may-add"),
        pytest.param({}, {}, id="not-printed-by-this-version"),
    ],
)
def test_what_is_in_effect_raises_nothing(own, effective):
    assert mismatches(["UseDNS", "AcceptEnv"] if "port" not in own else ["Port"], own, effective, []) == []


@pytest.mark.parametrize(
    ("own", "effective"),
    [
        pytest.param({"port": ["2222"]}, {"port": ["22", "2222"]}, id="another-port-as-well"),
        pytest.param({"port": ["22", "2222"]}, {"port": ["22"]}, id="a-port-is-missing"),
        pytest.param({"allowusers": ["a"]}, {"allowusers": ["a", "b"]}, id="somebody-else-may-log-in"),
        pytest.param({"acceptenv": ["LANG"]}, {"acceptenv": ["COLORTERM"]}, id="others-may-not-take-away"),
        pytest.param({"ciphers": ["a,b"]}, {"ciphers": ["b,a"]}, id="order-within-a-line"),
        pytest.param({"usedns": ["no"]}, {}, id="not-in-effect-at-all"),
    ],
)
def test_what_is_not_in_effect_is_named(own, effective):
    assert len(mismatches([next(iter(own))], own, effective, [])) == 1


def test_mismatch_names_the_file_that_won():
    directives = parse_directives("PasswordAuthentication yes\n", "/etc/ssh/sshd_config.d/00-other.conf")
    key = "passwordauthentication"
    found = mismatches(["PasswordAuthentication"], {key: ["no"]}, {key: ["yes"]}, directives)
    assert found == [
        "PasswordAuthentication: asked for 'no', in effect is 'yes' (/etc/ssh/sshd_config.d/00-other.conf:1 sets 'yes')"
    ]


@pytest.mark.parametrize(
    ("listeners", "active", "ports"),
    [
        pytest.param([(22, "sshd"), (2222, "sshd")], False, [], id="both"),
        pytest.param([(22, "sshd"), (2222, "systemd")], True, [], id="socket"),
        pytest.param([(22, "sshd"), (2222, "systemd")], False, ["2222"], id="another-socket-unit-has-it"),
        pytest.param([(22, "sshd"), (2222, "nginx")], False, ["2222"], id="another-process-has-it"),
        pytest.param([(22, "sshd")], False, ["2222"], id="nobody"),
    ],
)
def test_deaf_ports(listeners, active, ports):
    found = {
        "listeners": [{"port": port, "process": process} for port, process in listeners],
        "socket": {"active": active},
    }
    assert deaf_ports({"Port": ["22", "2222"]}, found) == [
        f"Port: sshd does not listen on {port}; its log says why" for port in ports
    ]


def test_parse_keeps_repeated_keywords():
    assert parse("port 22\nport 2222\nbanner none\n") == {"port": ["22", "2222"], "banner": ["none"]}


# --- lockout ----------------------------------------------------------------------------------------------------------


def lockout(info, controller=None, port=22, login="admin", networks=(), **changes):
    wanted = build(options(sshd_admin_networks=list(networks), **changes), info)
    if info["connection"]:
        info = {**info, "connection": {**info["connection"], "user": login}}
    return problems(wanted, info, port, controller, networks)


def test_defaults_lock_nobody_out(info):
    assert lockout(info) == []


OFFERS_OLD_ONLY = {"kexalgorithms": ["diffie-hellman-group14-sha1"], "ciphers": ["aes128-cbc"]}


@pytest.mark.parametrize(
    ("case", "words"),
    [
        pytest.param({"sshd_ciphers": ["aes256-rot13"]}, "sshd_ciphers: OpenSSH", id="bad-cipher"),
        pytest.param({"sshd_kex": ["nonsense"]}, "sshd_kex: OpenSSH", id="bad-kex"),
        pytest.param({"sshd_allow_groups": ["wheel"]}, "has no group of the login user admin", id="allow-groups"),
        pytest.param({"sshd_allow_users": ["bob"]}, "leaves out the login user admin", id="allow-users"),
        pytest.param({"sshd_allow_users": ["admin@192.0.2.*"]}, "leaves out the login user", id="allow-users-host"),
        pytest.param({"sshd_deny_users": ["ad*"]}, "shuts out the login user admin", id="deny-users"),
        pytest.param({"sshd_deny_groups": ["sudo"]}, "a group of the login user", id="deny-groups"),
        pytest.param({"networks": ["192.0.2.0/24"]}, "leaves out 10.89.1.1", id="admin-network"),
        pytest.param({"controller": OFFERS_OLD_ONLY}, "have nothing in common", id="no-common-algorithm"),
        pytest.param({"login": "root"}, "as root and sshd_permit_root_login is 'no'", id="root-shut"),
        pytest.param({"sshd_ports": [2222], "port": 10022}, "through a forwarded port", id="forwarded-port"),
        pytest.param({"sshd_listen_addresses": ["192.0.2.9"]}, "the address that this connection", id="listen"),
        pytest.param({"sshd_listen_addresses": ["::"]}, "the address that this connection", id="listen-other-family"),
        pytest.param({"sshd_address_family": "inet6"}, "shuts out this connection, which is inet", id="family"),
    ],
)
def test_lockout(info, case, words):
    found = lockout(info, **case)
    assert any(words in message for message in found), found


@pytest.mark.parametrize(
    "case",
    [
        {"sshd_allow_groups": ["wheel", "sud?"]},
        {"sshd_allow_users": ["bob", "admin@10.89.0.0/16"]},
        {"networks": ["10.0.0.0/8"]},
        {"sshd_ports": [2222]},
        {"sshd_listen_addresses": ["0.0.0.0"]},
        {"controller": {"kexalgorithms": ["sntrup761x25519-sha512@openssh.com"]}},
        {"login": "root", "sshd_permit_root_login": "prohibit-password", "sshd_password_authentication": True},
    ],
)
def test_no_lockout(info, case):
    assert lockout(info, **case) == []


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        pytest.param([], "has no key in", id="no-key"),
        pytest.param([RSA_2048], "none of the keys", id="rsa-too-small"),
        pytest.param([RSA_2048, RSA_4096], None, id="one-good-key-is-enough"),
        pytest.param([ED25519], None, id="ed25519"),
    ],
)
def test_keys_of_the_login_user(info, keys, words):
    found = lockout(with_login(info, keys=keys))
    assert [words in message for message in found] == ([True] if words else [])


def test_no_key_is_no_problem_while_passwords_stay_or_a_command_knows_the_keys(info):
    assert lockout(with_login(info, keys=[]), sshd_password_authentication=True) == []
    assert lockout(with_login(info, keys=[], keys_elsewhere=True)) == []
    assert lockout(with_login(info, keys=[], keys_elsewhere=False), sshd_trusted_user_ca_keys="/etc/ssh/ca.pub") == []


def test_port_in_use(info):
    info["listeners"] = [{"port": 2222, "process": "nginx"}, {"port": 22, "process": "sshd"}]
    assert lockout(info, sshd_ports=[2222, 22]) == [
        "port 2222 of sshd_ports is used by nginx: choose another port or stop that service"
    ]


def test_a_configuration_that_is_broken_already_is_named_and_nothing_else_is_said(info):
    found = lockout({**info, "error": "/etc/ssh/sshd_config.d/99.conf: line 1: Bad configuration option: Foo"})
    assert len(found) == 1
    assert "99.conf: line 1" in found[0]


def test_without_an_ssh_connection_nothing_can_be_lost(info):
    assert lockout({**info, "connection": None}, sshd_allow_users=["bob"]) == []


# --- the readers ------------------------------------------------------------------------------------------------------

ED_LINE = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0zOdO3Pd2BI9YkZVOKH5KyWbUdwGBvGQPmUv0WmCbW a@b"


@pytest.mark.parametrize(
    ("line", "key"),
    [
        (ED_LINE, ED25519),
        ('from="192.0.2.0/24",command="echo ssh-rsa" ' + ED_LINE, ED25519),
        ("# " + ED_LINE, None),
        ("", None),
        ("ssh-ed25519 not-base64", None),
    ],
)
def test_parse_key(line, key):
    assert parse_key(line) == key


def test_key_files_fills_the_tokens():
    assert key_files([".ssh/authorized_keys", "/etc/ssh/keys/%u", "%h/k%%", "none"], "bob", "/home/bob") == [
        "/home/bob/.ssh/authorized_keys",
        "/etc/ssh/keys/bob",
        "/home/bob/k%",
    ]


def test_parse_listeners():
    table = (
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        "   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1234 1\n"
        "   1: 0100007F:0016 0200007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 1235 1\n"
        "   2: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1236 1\n"
    )
    assert parse_listeners(table, [22, 2222]) == {"1234": 22}


def process(proc, pid, parent, environment=b"PATH=/bin\0"):
    folder = proc / str(pid)
    folder.mkdir()
    (folder / "environ").write_bytes(environment)
    (folder / "stat").write_text(f"{pid} (a ) b) S {parent} 0 0")


def test_connection_and_account_are_found_at_the_ancestors(tmp_path):
    ours = b"A=b\0SSH_CONNECTION=fe80::7%eth0 51000 fe80::1%eth0 22\0"
    # The module, sudo, the login shell, and a daemon that was once started from another session.
    process(tmp_path, 40, 30)
    process(tmp_path, 30, 20, ours)
    process(tmp_path, 20, 10, ours)
    process(tmp_path, 10, 1, b"SSH_CONNECTION=192.0.2.9 1 192.0.2.1 22\0")
    if os.geteuid() == 0:
        os.chown(tmp_path / "20", 1, 1)
    assert connection(40, str(tmp_path)) == {
        "user": pwd.getpwuid(os.stat(tmp_path / "20").st_uid).pw_name,
        "client": "fe80::7",
        "client_port": 51000,
        "server": "fe80::1",
        "server_port": 22,
    }
    assert connection(1, str(tmp_path)) is None
    assert connection(99, str(tmp_path)) is None


def test_parse_directives():
    assert parse_directives("# no\n\n  Port=22\nMatch User a\n", "f") == [
        {"file": "f", "line": 3, "key": "port", "value": "22"},
        {"file": "f", "line": 4, "key": "match", "value": "User a"},
    ]
