"""Every option of the role shows in what fail2ban really does."""

from __future__ import annotations

import pathlib

import pytest
import yaml
from scenario import until

SCENARIO = pathlib.Path(__file__).resolve().parents[1]
SPECS = pathlib.Path(__file__).resolve().parents[3] / "roles/fail2ban/meta/argument_specs.yml"


@pytest.fixture(autouse=True)
def _as_root(host):
    with host.sudo():
        until(lambda: host.run("fail2ban-client ping").rc == 0, 20, "an answer")
        yield


def asked(host, *words):
    return host.check_output(f"fail2ban-client get {' '.join(words)}").strip()


def test_every_option_of_the_role_is_set_in_this_scenario():
    options = yaml.safe_load(SPECS.read_text(encoding="utf-8"))["argument_specs"]["main"]["options"]
    scenario = yaml.safe_load((SCENARIO / "molecule.yml").read_text(encoding="utf-8"))
    assert set(scenario["provisioner"]["inventory"]["group_vars"]["all"]) == set(options)


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ("sshd bantime", "1200"),
        ("sshd findtime", "3600"),
        ("sshd maxretry", "3"),
        ("sshd usedns", "raw"),
        ("recidive bantime", "1209600"),
        ("recidive findtime", "172800"),
        ("recidive maxretry", "9"),
        ("shop bantime", "10800"),
        ("shop findtime", "120"),
        ("shop maxretry", "2"),
    ],
)
def test_settings(host, words, value):
    assert asked(host, words) == value


def test_the_server_s_settings(host):
    assert "'NOTICE'" in asked(host, "loglevel")
    assert "5184000" in asked(host, "dbpurgeage")
    assert host.package("whois").is_installed


def test_who_is_never_banned(host):
    ignored = asked(host, "sshd", "ignoreip").split()
    assert set(ignored) >= {"127.0.0.0/8", "::1", "198.51.100.0/24", "2001:db8:1::/48", "192.0.2.9", "2001:db8:2::9"}
    # It lies in a network that is there already.
    assert "198.51.100.9" not in ignored


def test_jails_only_where_their_service_is(host):
    found = host.check_output("fail2ban-client status").rpartition("\t")[2].split(", ")
    assert sorted(name.strip() for name in found) == ["recidive", "shop", "shop-file", "sshd"]


@pytest.mark.parametrize(("address", "good"), [("203.0.113.9", "198.51.100.8"), ("2001:db8:9::9", "2001:db8:1::8")])
def test_a_jail_on_a_journal_identifier_bans(host, address, good):
    for _attempt in range(2):
        host.check_output(f"logger -t shop 'bad login from {good}'")
        host.check_output(f"logger -t shop 'worse login from {address}'")
        host.check_output("logger -t else 'bad login from 203.0.113.77'")
    until(lambda: asked(host, "shop", "banned", address) == "1", 10, f"a ban of {address}")
    until(lambda: address in host.check_output("nft list ruleset"), 5, "the packet filter")
    assert asked(host, "shop", "banned", good) == "0"
    assert asked(host, "shop", "banned", "203.0.113.77") == "0"
    assert "drop" in host.check_output("nft list chain inet f2b-table f2b-chain")


def test_a_jail_on_a_file_bans(host):
    # With the time, as a file has no other.
    host.check_output('for _ in 1 2 3; do date "+%F %T refused 203.0.113.10" >>/var/log/dpkg.log; done')
    until(lambda: asked(host, "shop-file", "banned", "203.0.113.10") == "1", 10, "a ban")
    until(lambda: "443" in host.check_output("nft list chain inet f2b-table f2b-chain"), 5, "the packet filter")


def test_connections_without_a_login_count_in_the_mode_aggressive(host):
    host.check_output(
        "systemd-run --quiet --collect --wait --slice=system-ssh.slice --property=SyslogIdentifier=sshd sh -c '"
        'for _ in 1 2 3; do echo "Connection closed by 203.0.113.11 port 9 [preauth]"; done; sleep 0.5\''
    )
    until(lambda: asked(host, "sshd", "banned", "203.0.113.11") == "1", 10, "a ban")
    chain = host.check_output("nft list chain inet f2b-table f2b-chain")
    assert "tcp dport { 22, 2222 }" in chain
