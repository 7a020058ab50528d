"""Real bans: who guesses is shut out, who does not is not, and a broken fail2ban is found."""

from __future__ import annotations

import itertools
import json
import subprocess
import time

import pytest

from .conftest import until

# Bans take their time to come and to go; the scenarios of the role stand for them on every commit.
pytestmark = pytest.mark.nightly

ROLE = [{"hosts": "all", "gather_facts": False, "become": True, "roles": ["shipshape.stack.fail2ban"]}]
BOTH = [
    {
        "hosts": "all",
        "gather_facts": False,
        "become": True,
        "roles": ["shipshape.stack.sshd", "shipshape.stack.fail2ban"],
    }
]
TARGETS = [("d12", "d13"), ("d13", "d12")]
JAILS = "/etc/fail2ban/jail.d/zz-shipshape.local"
SSH = (
    "ssh -F /dev/null -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ConnectTimeout=2"
)
CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 2, (sys.argv[3], 0))"
NUMBERS = itertools.count(100)


@pytest.fixture(scope="module")
def guarded(hosts):
    run = hosts.play(BOTH)
    assert run.code == 0, run.output
    return hosts


def place(hosts, name):
    known = json.loads((hosts.state / "hosts.json").read_text(encoding="utf-8"))
    return next(host for host in known["hosts"] if host["name"] == name)


class Neighbour:
    """Somebody on another host, with an address that nobody has had before."""

    def __init__(self, hosts, source, target, family=4):
        self.hosts, self.source, self.target = hosts, source, target
        key = "address" if family == 4 else "address6"
        self.goal = place(hosts, target)[key]
        base, number = place(hosts, source)[key], next(NUMBERS)
        self.address = (
            base.rpartition(".")[0] + f".{number}" if family == 4 else f"{base.rpartition('::')[0]}::{number}"
        )
        prefix = "24" if family == 4 else "64 nodad"
        hosts.shell(source, f"ip address add {self.address}/{prefix} dev eth0")

    def guess(self, count=12, user="nobody-here", port=22):
        """Wrong logins, six at a time: one after the other sshd of Debian 13 turns them away before the fifth."""
        login = f"timeout 8 {SSH} -b {self.address} -p {port} {user}@{self.goal} true"
        self.hosts.shell(self.source, f"seq {count} | xargs -P6 -I% {login} >/dev/null 2>&1 || true")

    def reaches(self, port=22):
        script = f"python3 -c '{CONNECT}' {self.goal} {port} {self.address} 2>/dev/null && echo open || echo shut"
        return self.hosts.shell(self.source, script).strip() == "open"

    def listed(self, jail="sshd"):
        return self.address in self.hosts.shell(self.target, f"fail2ban-client status {jail}").split()

    def is_banned(self, jail="sshd", port=22):
        return self.listed(jail) and not self.reaches(port)

    def ban_seconds(self):
        """How long the ban lasts in all; 0 without one."""
        for line in self.hosts.shell(self.target, "fail2ban-client get sshd banip --with-time").splitlines():
            if line.split()[:1] == [self.address]:
                return int(line.partition(" + ")[2].split()[0])
        return 0


def jails(hosts, name):
    return hosts.shell(name, "fail2ban-client status")


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize(("target", "source"), TARGETS)
def test_twelve_wrong_logins_are_banned_within_ten_seconds(guarded, target, source, family, record_property):
    neighbour = Neighbour(guarded, source, target, family)
    assert neighbour.reaches()
    start = time.monotonic()
    neighbour.guess()
    until(neighbour.is_banned, 10 - (time.monotonic() - start), f"a ban of {neighbour.address} on {target}")
    print(f"\n{target}, IPv{family}: banned after {time.monotonic() - start:.1f} s")
    record_property("seconds", round(time.monotonic() - start, 1))


@pytest.mark.parametrize(("target", "source"), TARGETS)
def test_guesses_at_root_count_where_passwords_are_off(guarded, target, source):
    neighbour = Neighbour(guarded, source, target)
    neighbour.guess(user="root")
    until(neighbour.is_banned, 10, f"a ban of {neighbour.address} on {target}")


def test_fifty_wrong_logins_of_the_controller_shut_nobody_out(guarded):
    for name in guarded.names:
        login = ["ssh", "-F", str(guarded.state / "ssh_config"), "-o", "ControlPath=none", "-o", "BatchMode=yes"]
        for _attempt in range(50):
            done = subprocess.run([*login, "-l", "nobody-here", name, "true"], capture_output=True, check=False)
            assert b"Permission denied" in done.stderr, done.stderr
    for name in guarded.names:
        # They were seen, and passed over.
        source = guarded.shell(name, "journalctl -u fail2ban -n 200 -o cat | grep -o 'Ignore [^ ]*' | tail -1").split()[
            1
        ]
        assert source not in guarded.shell(name, "fail2ban-client status sshd").split()
        assert guarded.can_log_in(name)


@pytest.mark.parametrize(("target", "source"), TARGETS)
def test_right_logins_and_a_look_at_the_port_ban_nobody(guarded, target, source):
    neighbour = Neighbour(guarded, source, target)
    key = (guarded.state / "id_ed25519").read_text(encoding="utf-8")
    guarded.shell(
        source,
        f"umask 077; cd /root; cat >right <<'X'\n{key}X\n"
        "for key in a b; do rm -f $key; ssh-keygen -q -t ed25519 -N '' -f $key; done\n"
        # As with an agent that holds several keys: two wrong ones first.
        f"for _ in 1 2 3 4 5 6; do {SSH} -o IdentitiesOnly=yes -b {neighbour.address} -i a -i b -i right"
        f" admin@{neighbour.goal} true; done; rm right a b",
    )
    assert all(neighbour.reaches() for _probe in range(7))
    # What was written before a ban of somebody else has been read, too.
    other = Neighbour(guarded, source, target)
    other.guess()
    until(other.is_banned, 10, f"a ban of {other.address}")
    assert not neighbour.listed()
    assert neighbour.reaches()


@pytest.mark.parametrize(("target", "source"), TARGETS)
def test_the_sshd_of_a_user_has_nobody_banned(guarded, target, source):
    """A user can have a sshd of his own write whatever he likes; one that root started by hand counts."""
    serve = (
        "rm -f /tmp/key-{0}; ssh-keygen -q -t ed25519 -N '' -f /tmp/key-{0}; chown {0} /tmp/key-{0};"
        " mkdir -p /run/sshd; systemd-run --quiet --unit=sshd-of-{0} --uid={0}"
        " /usr/sbin/sshd -D -f /dev/null -h /tmp/key-{0} -o UsePAM=no -o PidFile=none -o LogLevel=VERBOSE -p {1}"
    )
    ports = {"nobody": 2201, "root": 2202}
    guarded.shell(target, "; ".join(serve.format(user, port) for user, port in ports.items()))
    try:
        slandered, guesser = (Neighbour(guarded, source, target) for _each in ports)
        until(lambda: all(slandered.reaches(port) for port in ports.values()), 10, "both of them")
        slandered.guess(port=ports["nobody"])
        lines = "journalctl --output=cat _EXE=/usr/sbin/sshd + _EXE=/usr/lib/openssh/sshd-session | grep -c {}"
        assert int(guarded.shell(target, lines.format(f"'nobody-here .*{slandered.address} '"))) >= 5
        guesser.guess(port=ports["root"])
        until(guesser.listed, 10, f"a ban of {guesser.address}")
        assert not slandered.listed()
        assert slandered.reaches()
    finally:
        guarded.shell(target, "systemctl stop sshd-of-nobody sshd-of-root")


@pytest.mark.parametrize(("target", "source"), TARGETS)
def test_bans_outlive_reload_restart_and_a_power_cut(guarded, target, source):
    neighbour = Neighbour(guarded, source, target, 6)
    neighbour.guess()
    until(neighbour.is_banned, 10, f"a ban of {neighbour.address}")
    for change in ("fail2ban-client reload --restart", "systemctl restart fail2ban"):
        guarded.shell(target, change)
        until(neighbour.is_banned, 10, f"the ban after {change}")
    guarded.restart(target)
    until(neighbour.is_banned, 20, "the ban after a power cut")


def test_another_port_is_shut(guarded):
    old = Neighbour(guarded, "d12", "d13")
    old.guess()
    until(old.is_banned, 10, "a ban")
    ports = {"sshd_ports": [22, 2222], "fail2ban_sshd_ports": [22, 2222]}
    run = guarded.play(BOTH, "--limit", "d13", variables=ports)
    assert run.code == 0, run.output
    # Of a ban from before the change, and of a new one.
    assert not old.reaches(2222)
    new = Neighbour(guarded, "d12", "d13", 6)
    until(lambda: new.reaches(2222), 10, "a first connection")
    new.guess(port=2222)
    until(lambda: new.is_banned(port=2222), 10, "a ban on port 2222")
    assert guarded.play(BOTH, "--limit", "d13").code == 0


@pytest.mark.parametrize(("target", "source"), TARGETS)
def test_bans_grow_and_whoever_comes_back_is_shut_out_of_all_ports(guarded, target, source):
    short = {"fail2ban_bantime": "6s", "fail2ban_recidive_maxretry": 2}
    run = guarded.play(ROLE, "--limit", target, variables=short)
    assert run.code == 0, run.output
    guarded.shell(target, "systemd-run --unit=web python3 -m http.server --bind 0.0.0.0 8080")
    try:
        neighbour = Neighbour(guarded, source, target)
        until(lambda: neighbour.reaches(8080), 10, "the other service")
        neighbour.guess()
        until(lambda: neighbour.ban_seconds() == 6, 10, "a first ban of 6 s")
        assert neighbour.reaches(8080)
        until(neighbour.reaches, 15, "the end of the first ban")
        neighbour.guess()
        until(lambda: neighbour.ban_seconds() == 12, 10, "a second ban of 12 s")
        until(lambda: neighbour.is_banned("recidive", 8080), 10, "a ban from all ports")
    finally:
        guarded.shell(target, "systemctl stop web")
        assert guarded.play(ROLE, "--limit", target).code == 0


BLIND = [
    pytest.param(
        "dpkg --remove --force-depends python3-systemd >/dev/null 2>&1; systemctl restart fail2ban",
        id="no-journal-library",
    ),
    pytest.param("systemctl stop fail2ban", id="stopped"),
    pytest.param("fail2ban-client stop sshd", id="jail-stopped"),
]


@pytest.mark.parametrize("fault", BLIND)
def test_a_dead_or_blind_fail2ban_is_brought_back(guarded, fault):
    for name in guarded.names:
        guarded.shell(name, fault)
    run = guarded.play(ROLE)
    assert run.code == 0, run.output
    for target, source in TARGETS:
        assert run.changed(target) > 0
        neighbour = Neighbour(guarded, source, target)
        neighbour.guess()
        until(neighbour.is_banned, 10, f"a ban on {target}")
    again = guarded.play(ROLE)
    assert [again.changed(name) for name in again.recap] == [0, 0]


REFUSED = [
    pytest.param({"fail2ban_ignore_ips": ["10.0.0.300"]}, "'10.0.0.300' is not an address", id="network"),
    pytest.param({"fail2ban_bantime": "soon"}, "fail2ban_bantime: 'soon' is not a duration", id="duration"),
    pytest.param({"fail2ban_ban_time": "1h"}, "did you mean fail2ban_bantime", id="misspelt-option"),
    pytest.param({"fail2ban_jails": [{"name": "shop"}]}, "fail2ban_jails: shop has no filter", id="no-filter"),
    pytest.param(
        {"fail2ban_jails": [{"name": "a]\n[b", "filter": "sshd"}]}, "is not a name: write up to", id="injected-section"
    ),
    pytest.param(
        {"fail2ban_jails": [{"name": "shop", "filter": "no-such-filter"}]},
        "Unable to read the filter 'no-such-filter'",
        id="no-such-filter",
    ),
    pytest.param(
        {"fail2ban_filters": [{"name": "shop", "failregex": ["(unclosed <HOST>"]}]},
        "Unable to compile regular expression",
        id="bad-expression",
    ),
    pytest.param(
        {"fail2ban_banaction": 'nftables[type=custom, rule_match-custom="nonsense"]'},
        "The old configuration of fail2ban is back",
        id="action-that-does-not-work",
    ),
    pytest.param(
        {"fail2ban_defaults": {"bantime.formula": "nonsense("}},
        "The old configuration of fail2ban is back",
        id="what-only-a-reload-finds",
    ),
]


@pytest.mark.parametrize(("variables", "words"), REFUSED)
def test_what_is_broken_is_refused_and_the_old_one_goes_on_banning(guarded, variables, words):
    before = [guarded.shell(name, f"cat {JAILS}; ls /etc/fail2ban/filter.d") for name in guarded.names]
    run = guarded.play(ROLE, variables=variables)
    assert run.code != 0
    assert words in run.text, run.output
    assert [guarded.shell(name, f"cat {JAILS}; ls /etc/fail2ban/filter.d") for name in guarded.names] == before
    if "Nothing was changed" in run.text:
        return
    for target, source in TARGETS:
        until(lambda: "sshd" in jails(guarded, target), 10, f"the jail on {target}")  # noqa: B023
        neighbour = Neighbour(guarded, source, target)
        neighbour.guess()
        until(neighbour.is_banned, 10, f"a ban on {target}")


def test_a_broken_file_of_somebody_else_is_named(guarded):
    with guarded.broken("d13", "echo nonsense >/etc/fail2ban/jail.local", "rm /etc/fail2ban/jail.local"):
        run = guarded.play(ROLE, "--limit", "d13", variables={"fail2ban_maxretry": 6})
    assert run.code != 0
    assert "/etc/fail2ban/jail.local" in run.text
    assert "sshd" in jails(guarded, "d13")


def test_a_run_that_was_killed_is_caught_up_with(guarded):
    change = {"fail2ban_maxretry": 4}
    guarded.play_killed_at(ROLE, "Let fail2ban start with the host", variables=change)
    run = guarded.play(ROLE, variables=change)
    assert run.code == 0, run.output
    for name in guarded.names:
        assert run.changed(name) > 0
        assert guarded.shell(name, "fail2ban-client get sshd maxretry").strip() == "4"
        assert guarded.shell(name, "ls /etc/systemd/system | grep shipshape-rollback || true") == ""
    again = guarded.play(ROLE, variables=change)
    assert [again.changed(name) for name in again.recap] == [0, 0]


def test_absent_leaves_no_ban_behind(guarded):
    neighbour = Neighbour(guarded, "d12", "d13")
    neighbour.guess()
    until(neighbour.is_banned, 10, "a ban")
    run = guarded.play(ROLE, variables={"fail2ban_state": "absent"})
    assert run.code == 0, run.output
    assert neighbour.reaches()
    for name in guarded.names:
        assert guarded.shell(name, "find /etc/fail2ban -name '*shipshape*'; nft list tables | grep f2b || true") == ""
        assert guarded.shell(
            name, "systemctl is-active fail2ban || true; systemctl is-enabled fail2ban || true"
        ).split() == [
            "inactive",
            "disabled",
        ]
    again = guarded.play(ROLE, variables={"fail2ban_state": "absent"})
    assert [again.changed(name) for name in again.recap] == [0, 0]
