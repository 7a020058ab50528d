"""The lockout drill of the firewall: whatever is asked of it, a person can still log in, and nothing else gets in."""

from __future__ import annotations

import concurrent.futures
import json
import subprocess
import time

import pytest

from .conftest import ROOT, until

# Every change of rules is tried in a network of its own; the scenarios of the role stand for it on every commit.
pytestmark = pytest.mark.nightly

ALL = "d12,d13"
FILES = "/etc/default/ufw /etc/ufw/*.conf /etc/ufw/*.rules"
SSH = {"rule": "allow", "proto": "tcp", "to_port": 22}
SHUT, ECHO = 7001, 7002
BASE = [SSH, {"rule": "allow", "proto": "tcp", "to_port": ECHO, "comment": "echo"}]
# Two services on each host: one that no rule opens, one that is open.
SERVE = f"""
import socket, threading
def serve(port, answer):
    listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=4096)
    while True:
        connection, _peer = listener.accept()
        threading.Thread(target=answer, args=(connection,), daemon=True).start()
def echo(connection):
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while data := connection.recv(100):
        connection.sendall(data)
threading.Thread(target=serve, args=({SHUT}, lambda connection: connection.close())).start()
serve({ECHO}, echo)
"""
# A neighbour that tries the shut port without a pause and keeps one connection through the open one.
HAMMER = """
import json, os, select, socket, sys, threading, time
host, shut, open_port, stop = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
told = {"tries": 0, "got in": 0, "echoes": 0, "longest wait": 0.0, "broken": ""}
def running():
    return not os.path.exists(stop) and time.monotonic() < end
def hold():
    try:
        with socket.create_connection((host, open_port), timeout=20) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while running():
                started = time.monotonic()
                connection.sendall(b"x")
                if connection.recv(1) != b"x":
                    raise OSError("the other end closed it")
                told["echoes"] += 1
                told["longest wait"] = max(told["longest wait"], round(time.monotonic() - started, 3))
                time.sleep(0.004)
    except OSError as exc:
        told["broken"] = str(exc)
end = time.monotonic() + 120
holder = threading.Thread(target=hold)
holder.start()
waiting, poll = {}, select.poll()
while running():
    for _each in range(4):
        attempt = socket.socket()
        attempt.setblocking(False)
        attempt.connect_ex((host, shut))
        poll.register(attempt, select.POLLOUT)
        waiting[attempt.fileno()] = (attempt, time.monotonic())
        told["tries"] += 1
    for number, _event in poll.poll(1):
        attempt, _since = waiting[number]
        told["got in"] += attempt.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        poll.unregister(number)
        waiting.pop(number)[0].close()
    for number in [number for number, (_attempt, since) in waiting.items() if time.monotonic() - since > 0.05]:
        poll.unregister(number)
        waiting.pop(number)[0].close()
holder.join()
print(json.dumps(told))
"""
INSTALL = f"""
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq >/dev/null
apt-get install -qq --no-install-recommends ufw iptables >/tmp/apt.log 2>&1
cat >/root/serve.py <<'END'
{SERVE}
END
cat >/root/hammer.py <<'END'
{HAMMER}
END
"""
START = "systemd-run --quiet --unit=serve python3 /root/serve.py"
# Kills the module (and its helper) at the moment when the kernel is to be told, or when it was told for IPv4.
KILLER = """#!/bin/sh
case "$*" in
    *--noflush*--test*) exec /usr/sbin/iptables-restore "$@" ;;
    *--noflush*) ;;
    *) exec /usr/sbin/iptables-restore "$@" ;;
esac
rm /usr/local/sbin/iptables-restore
module=$(cut -d ' ' -f 4 /proc/$PPID/stat)
if [ {when} = loaded ]; then /usr/sbin/iptables-restore "$@"; fi
kill -9 $PPID $module
"""


def task(**params):
    return {"shipshape.stack.ufw_ruleset": {"state": "enabled", "rules": BASE, **params}}


def play_of(*tasks, hosts=ALL):
    return [{"hosts": hosts, "gather_facts": False, "become": True, "tasks": list(tasks)}]


def apply(group, *words, hosts=ALL, **params):
    return group.play(play_of(task(**params), hosts=hosts), *words)


def changed(group, run):
    return [run.changed(name) for name in group.names]


def snapshot(group) -> dict[str, str]:
    """Files with their inodes and times, and what the kernel has, without its counters."""
    kernel = "for tool in iptables ip6tables; do $tool-save | sed -E '/^#/d; s/ \\[[0-9:]+\\]//'; done"
    units = "ls /etc/systemd/system | grep shipshape-rollback || true"
    return group.shells(
        dict.fromkeys(group.names, f"stat -c '%n %i %Y %a' {FILES}; sha256sum {FILES}; {kernel}; {units}")
    )


def kernel_rules(group) -> dict[str, str]:
    """Files and kernel without inodes: what the old state has to look like when it is back."""
    return {
        name: "\n".join(line for line in text.splitlines() if not line.startswith("/etc/"))
        for name, text in snapshot(group).items()
    }


def everybody_can_log_in(group):
    return all(group.can_log_in(name) for name in group.names)


def reachable(group, name: str, port: int, source: str) -> bool:
    """From the other host."""
    code = f"import socket; socket.create_connection(('{group.address(name)}', {port}), 2)"
    return group.shell(source, f'python3 -c "{code}" 2>/dev/null && echo yes || echo no') == "yes\n"


@pytest.fixture(scope="module")
def ready(hosts):
    """ufw is installed and was never on; what needs a host without ufw comes first."""
    run = apply(hosts, "--check")
    assert run.code == 0, run.output
    assert changed(hosts, run) == [1, 1]
    hosts.shells(dict.fromkeys(hosts.names, INSTALL + START))
    return hosts


@pytest.fixture(scope="module")
def filtered(ready):
    run = apply(ready, default={"incoming": "deny", "outgoing": "allow", "routed": "deny"}, logging="low")
    assert run.code == 0, run.output
    return ready


@pytest.mark.parametrize("rollback", [None, 60])
def test_default_deny_outgoing_on_a_host_that_never_filtered(ready, rollback):
    """Connection tracking knows nothing of the connections that are open: this run's, and an administrator's."""
    talk = "for number in $(seq 60); do echo $number; sleep 0.2; done"
    sessions = [
        subprocess.Popen(
            ["ssh", "-F", str(ready.state / "ssh_config"), "-o", "ControlPath=none", name, talk],
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ready.names
    ]
    first = [session.stdout.readline() for session in sessions]
    assert first == ["1\n", "1\n"]
    started = time.monotonic()
    run = apply(ready, default={"incoming": "deny", "outgoing": "deny"}, rollback=rollback)
    seconds = time.monotonic() - started
    assert run.code == 0, run.output
    assert changed(ready, run) == [1, 1]
    assert everybody_can_log_in(ready)
    # They talk on without a word from our side.
    for session in sessions:
        try:
            rest, _none = session.communicate(timeout=30)
        finally:
            session.kill()
        assert rest.split()[-1] == "60"
    assert seconds < 30, "the answer of the module came late"
    if rollback:
        confirmed = ready.play(play_of({"shipshape.stack.ufw_ruleset": {"state": "confirmed"}}))
        assert confirmed.code == 0, confirmed.output
        assert everybody_can_log_in(ready)
    assert not reachable(ready, "d12", ECHO, "d13"), "outgoing was to be denied"
    # To and fro on a host that filters.
    assert changed(ready, apply(ready, default={"outgoing": "allow"})) == [1, 1]
    assert reachable(ready, "d12", ECHO, "d13")
    assert changed(ready, apply(ready, default={"outgoing": "deny"})) == [1, 1]
    assert everybody_can_log_in(ready)
    assert changed(ready, apply(ready, default={"outgoing": "deny"})) == [0, 0]
    for rules in ready.shells(dict.fromkeys(ready.names, "iptables-save; ip6tables-save")).values():
        assert "shipshape-adopt" not in rules, "the exception for the first load is still there"
    # A host that never filtered again, for what comes next.
    assert changed(ready, apply(ready, state="disabled", default={"outgoing": "allow"})) == [1, 1]
    ready.restart(*ready.names)
    ready.shells(dict.fromkeys(ready.names, START))


REFUSED = [
    pytest.param(
        {"rules": BASE[1:]}, "as no rule allows it and the default is deny", id="no-rule-for-ssh"
    ),
    pytest.param({"rules": []}, "as no rule allows it", id="no-rules"),
    pytest.param(
        {"rules": [{"rule": "deny", "to_port": 22}, *BASE]}, "the rule 'deny in from any to any", id="deny-first"
    ),
    pytest.param(
        {"rules": [{"rule": "reject", "proto": "tcp", "to_port": "20:30"}, *BASE]}, "comes first", id="range-first"
    ),
    pytest.param(
        {"rules": [{"rule": "deny", "from_ip": ["10.0.0.0/8"]}, *BASE]}, "comes first", id="network-first"
    ),
    pytest.param({"rules": [{**SSH, "from_ip": ["192.0.2.0/24"]}]}, "as no rule allows it", id="other-admin-network"),
    pytest.param({"rules": [{**SSH, "family": "ipv6"}]}, "as no rule allows it", id="ipv6-only"),
    pytest.param({"rules": [{**SSH, "interface": "eth7"}]}, "as no rule allows it", id="other-interface"),
    pytest.param({"controllers": ["192.0.2.1"], "rules": [{**SSH, "from_ip": ["10.0.0.0/8"]}]},
                 "logins from 192.0.2.1 to port 22", id="second-controller"),
    pytest.param({"controllers": ["2001:db8::5"], "rules": [{**SSH, "family": "ipv4"}]},
                 "logins from 2001:db8::5 to port 22", id="controller-of-the-other-family"),
    pytest.param({"ssh_ports": [2222]}, "to port 2222", id="second-ssh-port"),
]  # fmt: skip


@pytest.mark.parametrize(("params", "words"), REFUSED)
def test_what_shuts_ssh_out_is_refused_before_any_change(filtered, params, words):
    before = snapshot(filtered)
    for mode in ("--diff", "--check"):
        run = apply(filtered, mode, **params)
        assert run.code != 0
        assert words in run.text
        assert "would be shut out" in run.text
        assert "add {rule: allow, proto: tcp, to_port: 22" in run.text
    assert snapshot(filtered) == before


def test_a_rule_of_somebody_else_that_shuts_ssh_out_is_found(filtered):
    insert = "ufw insert 1 deny from 10.0.0.0/8 to any port 22 >/dev/null"
    # Past it, so that the module can be asked at all.
    let_in = "iptables --insert ufw-user-input --protocol tcp --dport 22 --jump ACCEPT"
    filtered.shells(dict.fromkeys(filtered.names, f"{insert}; {let_in}"))
    before = snapshot(filtered)
    run = apply(filtered, logging="medium")
    assert run.code != 0
    assert "as the rule 'deny in from 10.0.0.0/8 to any port 22', which somebody else made, comes first" in run.text
    assert snapshot(filtered) == before
    # The same rule behind ours does no harm, and goes where all others are to go.
    mended = apply(filtered, purge="all")
    assert (mended.code, changed(filtered, mended)) == (0, [1, 1])
    assert everybody_can_log_in(filtered)


BROKEN = [
    pytest.param("sed -i 's/^COMMIT/-A ufw-before-input -p tcp --dport 99999 -j DROP\\n&/' /etc/ufw/before.rules",
                 "99999", id="before.rules"),
    pytest.param("sed -i 's/^COMMIT/-A ufw6-after-input -j NO-SUCH-TARGET\\n&/' /etc/ufw/after6.rules",
                 "NO-SUCH-TARGET", id="after6.rules"),
    pytest.param("sed -i 's/^COMMIT//' /etc/ufw/before6.rules", "", id="no-commit"),
    pytest.param("sed -i 's/^### tuple ### allow tcp 22/& 1 2 3 4 5/' /etc/ufw/user.rules", "words", id="user.rules"),
    pytest.param("printf '[Bad]\\ntitle=Bad\\ndescription=Bad\\nports=80-90/tcp\\n' >/etc/ufw/applications.d/bad",
                 "", id="profile"),
]  # fmt: skip


@pytest.mark.parametrize(("fault", "words"), BROKEN)
def test_what_ufw_or_the_kernel_does_not_take_is_refused(filtered, fault, words):
    keep = "rm -rf /root/ufw && cp -a /etc/ufw /root/ufw"
    filtered.shells(dict.fromkeys(filtered.names, f"{keep}; {fault}"))
    before = snapshot(filtered)
    rules = [
        *BASE,
        {"name": "Bad"} if "Bad" in fault else {"to_port": 81, "proto": "tcp"},
        {"to_port": 82, "proto": "tcp"},
    ]
    try:
        for mode in ("--check", "--diff"):
            run = apply(filtered, mode, rules=rules)
            assert run.code != 0
            assert words in run.text
            assert "firewall is as it was" in run.text or "firewall was not changed" in run.text
            assert "Traceback" not in run.text
        assert snapshot(filtered) == before
        assert everybody_can_log_in(filtered)
    finally:
        filtered.shells(dict.fromkeys(filtered.names, "rm -r /etc/ufw && mv /root/ufw /etc/ufw"))
    again = apply(filtered)
    assert (again.code, changed(filtered, again)) == (0, [0, 0])


@pytest.mark.parametrize("rollback", [15, None])
@pytest.mark.parametrize("when", ["written", "loaded"])
def test_a_killed_run_leaves_the_old_firewall_or_the_next_run_mends(filtered, when, rollback):
    assert apply(filtered).code == 0
    before = kernel_rules(filtered)
    killer = "cat >/usr/local/sbin/iptables-restore <<'END'\n{}\nEND\nchmod 755 /usr/local/sbin/iptables-restore"
    filtered.shells(dict.fromkeys(filtered.names, killer.format(KILLER.format(when=when))))
    rules = [*BASE, {"to_port": 81, "proto": "tcp"}]
    started = time.monotonic()
    run = apply(filtered, rules=rules, default={"incoming": "reject"}, rollback=rollback)
    assert run.code != 0
    assert everybody_can_log_in(filtered)
    killed = filtered.shells(
        dict.fromkeys(filtered.names, "ls /usr/local/sbin; cat /var/lib/shipshape/config_files/ufw/writing.json")
    )
    assert all("81" not in text.splitlines()[0] and "records" in text for text in killed.values())
    if rollback:
        until(lambda: kernel_rules(filtered) == before, 60, "the old firewall is back")
        print(f"killed when {when}: the old firewall was back {time.monotonic() - started:.0f} s after the run began")
        assert everybody_can_log_in(filtered)
    again = apply(filtered, rules=rules, default={"incoming": "reject"})
    assert (again.code, changed(filtered, again)) == (0, [1, 1]), again.output
    third = apply(filtered, rules=rules, default={"incoming": "reject"})
    assert (third.code, changed(filtered, third)) == (0, [0, 0])
    assert changed(filtered, apply(filtered, default={"incoming": "deny"})) == [1, 1]


def test_an_unconfirmed_change_is_taken_back_to_disabled_too(filtered):
    assert apply(filtered, state="disabled").code == 0
    before = kernel_rules(filtered)
    assert not any("ufw-user-input" in text for text in before.values())
    run = apply(filtered, rollback=12)
    assert run.code == 0, run.output
    assert not reachable(filtered, "d13", SHUT, "d12")
    until(lambda: kernel_rules(filtered) == before, 60, "the firewall is off again")
    assert reachable(filtered, "d13", SHUT, "d12")
    assert changed(filtered, apply(filtered)) == [1, 1]


def test_a_lost_controller_is_no_lockout(filtered):
    """The new rules shut us out in a way that nobody foresaw, and no run is there any more to notice."""
    before = kernel_rules(filtered)
    run = apply(filtered, rules=[*BASE, {"to_port": 81, "proto": "tcp"}], rollback=12)
    assert run.code == 0, run.output
    started = time.monotonic()
    filtered.shells(dict.fromkeys(filtered.names, "iptables --flush ufw-user-input; ip6tables --flush ufw6-user-input"))
    assert not filtered.can_log_in("d13"), "this test would prove nothing"
    until(lambda: everybody_can_log_in(filtered), 60, "the timer put the old firewall back")
    print(f"cut off: logins work again after {time.monotonic() - started:.0f} s, rollback after 12 s")
    assert kernel_rules(filtered) == before
    late = filtered.play(play_of({"shipshape.stack.ufw_ruleset": {"state": "confirmed"}}))
    assert late.code != 0
    assert "too late" in late.text
    assert changed(filtered, apply(filtered)) == [0, 0]


def test_no_gap_while_rules_change(filtered):
    """Shut in the old and in the new policy is shut in between, and open connections stay."""
    shut = {"rule": "deny", "to_port": SHUT}
    rules = [*BASE, shut, {"to_port": "{{ 8000 + item }}", "proto": "tcp"}]
    # With incoming allowed by default only the rule keeps the port shut.
    change = {
        **task(rules=rules, default={"incoming": "{{ ['allow', 'deny'][item % 2] }}"}),
        "loop": list(range(10)),
    }
    reload = {"ansible.builtin.command": "ufw reload", "loop": list(range(10))}
    assert apply(filtered, rules=[*BASE, shut], default={"incoming": "allow"}).code == 0
    told = {}
    for name, step in (("module", change), ("ufw reload", reload)):
        if name == "ufw reload":
            assert apply(filtered, rules=[*BASE, shut], default={"incoming": "allow"}).code == 0
        words = f"{filtered.address('d13')} {SHUT} {ECHO} /run/stop"
        with concurrent.futures.ThreadPoolExecutor() as pool:
            hammer = pool.submit(filtered.shell, "d12", f"rm -f /run/stop; python3 /root/hammer.py {words}")
            try:
                run = filtered.play(play_of(step, hosts="d13"))
            finally:
                filtered.shell("d12", "sleep 0.2; touch /run/stop")
            told[name] = json.loads(hammer.result())
        assert run.code == 0, run.output
    print(told)
    assert told["module"]["got in"] == 0
    assert told["module"]["broken"] == ""
    assert told["module"]["tries"] > 1000
    assert told["module"]["echoes"] > 100
    assert told["ufw reload"]["got in"] > 0, "ufw reload has no gap here: this test proves nothing"
    assert changed(filtered, apply(filtered, default={"incoming": "deny"})) == [1, 1]


DRIFT = [
    # But for SSH, or no run could look.
    pytest.param(
        "iptables --flush ufw-user-input; iptables --append ufw-user-input --protocol tcp --dport 22 --jump ACCEPT",
        id="chain-flushed",
    ),
    pytest.param("ip6tables --policy INPUT ACCEPT", id="policy"),
    pytest.param("iptables --insert ufw-user-input --protocol tcp --dport 9999 --jump ACCEPT", id="rule-added"),
    pytest.param("iptables --flush; iptables --policy INPUT ACCEPT; iptables --delete-chain", id="all-flushed"),
    pytest.param("/usr/lib/ufw/ufw-init force-stop >/dev/null 2>&1", id="unloaded"),
]


@pytest.mark.parametrize("fault", DRIFT)
def test_rules_that_were_changed_by_hand_are_put_back(filtered, fault):
    before = kernel_rules(filtered)
    filtered.shells(dict.fromkeys(filtered.names, fault))
    assert kernel_rules(filtered) != before
    assert changed(filtered, apply(filtered, "--check")) == [1, 1]
    assert changed(filtered, apply(filtered)) == [1, 1]
    assert kernel_rules(filtered) == before
    assert changed(filtered, apply(filtered)) == [0, 0]


def test_rules_of_others_in_front_of_the_firewall_are_told_of(filtered):
    """They stay, as somebody may want them: but no run is green and silent while the firewall is open."""
    rule = "INPUT -s 192.0.2.7/32 -p tcp -j ACCEPT"
    with filtered.broken("d12", f"iptables -I {rule}", f"iptables -D {rule}"):
        run = apply(filtered)
        assert (run.code, changed(filtered, run)) == (0, [0, 0])
        assert f"these rules stand in front of ufw's and let packets past them: iptables -A {rule}" in run.text
        assert run.text.count("stand in front of") == 1


def test_interfaces_of_docker_stay_unless_they_are_named(filtered):
    """A call that opens one port more leaves all else alone, the guard of published ports above all."""
    more = {"to_port": 81, "proto": "tcp", "log": "all"}
    steps = [
        task(published=True, docker_interfaces=["docker0", "mybr0"]),
        {"shipshape.stack.ufw_ruleset": {"rules": [more], "purge": "none"}},
    ]
    run = filtered.play(play_of(*steps))
    assert run.code == 0, run.output
    saved = "iptables -S shipshape-published; ip6tables -S shipshape-published"
    for rules in filtered.shells(dict.fromkeys(filtered.names, saved)).values():
        assert rules.count("-o mybr0 -j DROP") == 2
        assert "br-+" not in rules
        assert rules.count("[UFW ALLOW] ") == 2
    assert changed(filtered, apply(filtered, published=False)) == [1, 1]


def test_check_mode_does_not_run_an_administrators_hooks(filtered):
    hook = "printf '#!/bin/sh\\ntouch /run/hooked\\n' >/etc/ufw/before.init; chmod 755 /etc/ufw/before.init"
    mend = "mv /root/before.init /etc/ufw/before.init; rm -f /run/hooked"
    rules = [*BASE, {"to_port": 81, "proto": "tcp"}]
    with filtered.broken("d12", f"cp -a /etc/ufw/before.init /root; {hook}", mend):
        assert changed(filtered, apply(filtered, "--check", rules=rules)) == [1, 1]
        flush = "ip6tables --flush ufw6-user-input"
        filtered.shells(dict.fromkeys(filtered.names, flush))
        assert changed(filtered, apply(filtered, "--check")) == [1, 1]
        assert filtered.shell("d12", "ls /run/hooked 2>/dev/null || true") == ""
        # What rules may rely on is made where they are tried, before they are loaded.
        assert changed(filtered, apply(filtered)) == [1, 1]
        assert filtered.shell("d12", "ls /run/hooked") == "/run/hooked\n"


def test_check_mode_says_whether_there_is_something_to_confirm(filtered):
    confirmed = {"shipshape.stack.ufw_ruleset": {"state": "confirmed"}}
    steps = [
        task(rules=[*BASE, {"to_port": 81, "proto": "tcp"}], rollback=60),
        {**confirmed, "check_mode": True, "register": "before"},
        {**confirmed, "register": "real"},
        {**confirmed, "check_mode": True, "register": "after"},
        {"ansible.builtin.assert": {"that": ["before is changed", "real is changed", "after is not changed"]}},
    ]
    run = filtered.play(play_of(*steps))
    assert run.code == 0, run.output
    assert changed(filtered, apply(filtered)) == [1, 1]


def test_rules_of_others_their_place_and_the_order(filtered):
    filtered.shells(dict.fromkeys(filtered.names, "ufw allow 9999 >/dev/null"))
    rules = [{"rule": "deny", "to_port": 8, "proto": "tcp"}, *BASE, {"rule": "limit", "to_port": 7, "proto": "tcp"}]
    steps = [
        {**task(rules=rules), "register": "kept"},
        {"ansible.builtin.assert": {"that": [
            "kept.foreign_rules == ['IPv4 ' ~ foreign, 'IPv6 ' ~ foreign]",
        ]}, "vars": {"foreign": "allow in from any to any port 9999"}},
    ]  # fmt: skip
    run = filtered.play(play_of(*steps), "--diff")
    assert run.code == 0, run.output
    for line in ("+IPv4 deny in proto tcp from any to any port 8", "+IPv6 limit in proto tcp from any to any port 7"):
        assert line in run.output
    ports = "ufw status numbered | sed -nE 's/^\\[ *[0-9]+\\] ([0-9]+)[/ ].*/\\1/p'"
    for text in filtered.shells(dict.fromkeys(filtered.names, ports)).values():
        ours = [port for port in text.split() if port != "9999"]
        assert ours == ["8", "22", str(ECHO), "7"] * 2
        assert text.split().count("9999") == 2
    assert changed(filtered, apply(filtered, rules=rules)) == [0, 0]
    gone = apply(filtered, "--diff", rules=rules, purge="all")
    assert changed(filtered, gone) == [1, 1]
    assert "-IPv4 allow in from any to any port 9999" in gone.output
    assert changed(filtered, apply(filtered, rules=rules, purge="all")) == [0, 0]
    # The same rules in another order are a change.
    assert changed(filtered, apply(filtered, rules=rules[::-1])) == [1, 1]
    assert changed(filtered, apply(filtered)) == [1, 1]


def test_twenty_rules_that_are_there_cost_two_seconds_at_most(filtered):
    rules = [*BASE, *({"to_port": 8000 + number, "proto": "tcp", "from_ip": ["192.0.2.7"]} for number in range(18))]
    assert apply(filtered, rules=rules).code == 0
    before, after = ({"ansible.builtin.set_fact": {name: "{{ now().timestamp() }}"}} for name in ("start", "end"))
    shown = {"ansible.builtin.debug": {"msg": "took {{ end | float - start | float }} s"}}
    took = []
    for _each in range(3):  # the fastest: the machine has other things to do
        run = filtered.play(play_of(before, task(rules=rules), after, shown, hosts="d13"))
        assert (run.code, run.changed("d13")) == (0, 0)
        took.append(float(run.text.partition("took ")[2].split()[0]))
    print("20 unchanged rules:", took)
    assert min(took) <= 2
    assert changed(filtered, apply(filtered)) == [1, 1]


def test_the_healthy_case_says_nothing(filtered):
    run = apply(filtered, "--diff")
    assert (run.code, changed(filtered, run)) == (0, [0, 0])
    for word in ("WARNING", "DEPRECAT", "+++"):
        assert word not in run.output
    assert not reachable(filtered, "d13", SHUT, "d12")
    assert reachable(filtered, "d13", ECHO, "d12")
    left = (
        "ls -d /run/shipshape-ufw-* /etc/ufw/.shipshape* /etc/systemd/system/*shipshape-rollback* 2>/dev/null || true"
    )
    assert set(filtered.shells(dict.fromkeys(filtered.names, left)).values()) == {""}


# --- the role ---------------------------------------------------------------------------------------------------------

ROLE = [{"hosts": ALL, "gather_facts": False, "become": True, "roles": ["shipshape.stack.ufw"]}]
ROLE_REFUSED = [
    pytest.param({"ufw_ssh_ports": [2222]}, "would be shut out", id="other-ssh-port"),
    pytest.param({"ufw_admin_networks": ["192.0.2.0/24"]}, "would be shut out", id="admin-network"),
    pytest.param({"ufw_rulez": []}, "did you mean ufw_rules", id="misspelt-option"),
    pytest.param({"ufw_rules": [{"to_port": 99999}]}, "99999", id="no-port"),
    pytest.param({"ufw_controller_addresses": ["ctl.example.com"]}, "'ctl.example.com' is not an address", id="name"),
]


@pytest.fixture(scope="module")
def converged(filtered):
    assert (ROOT / "roles/ufw").is_dir()
    run = filtered.play(ROLE, variables={"ufw_purge": "all"})
    assert run.code == 0, run.output
    return filtered


@pytest.mark.parametrize(("variables", "words"), ROLE_REFUSED)
def test_the_role_refuses_before_any_change(converged, variables, words):
    before = snapshot(converged)
    run = converged.play(ROLE, variables=variables)
    assert run.code != 0
    assert words in run.text
    assert changed(converged, run) == [0, 0]
    assert snapshot(converged) == before


TUPLE = "### tuple ### allow tcp 22 0.0.0.0/0 any no-address in"
UNFIT = [
    pytest.param(f"cp -a /etc/ufw/user.rules /root; echo '{TUPLE}' >>/etc/ufw/user.rules",
                 "mv /root/user.rules /etc/ufw/user.rules", "no-address", id="damaged-file"),
    pytest.param("printf '#!/bin/sh\\necho 5\\n' >/usr/local/sbin/ip; chmod 755 /usr/local/sbin/ip",
                 "rm /usr/local/sbin/ip", "broke down", id="module-that-breaks-down"),
]  # fmt: skip


@pytest.mark.parametrize(("fault", "mend", "words"), UNFIT)
def test_preflight_says_why_a_host_cannot_be_judged(converged, fault, mend, words):
    tasks = [
        {"ansible.builtin.include_role": {"name": "shipshape.stack.ufw", "tasks_from": "preflight"}},
        {"ansible.builtin.debug": {"msg": "{{ __ufw_preflight.msg }}"}},
    ]
    with converged.broken("d12", fault, mend):
        run = converged.play(play_of(*tasks, hosts="d12"))
        assert run.code == 0, run.output
        assert words in run.text


def test_a_role_that_dies_before_its_proof_is_taken_back(converged):
    before = kernel_rules(converged)
    variables = {"ufw_rules": [{"to_port": 81, "proto": "tcp"}], "ufw_rollback_seconds": 20}
    started = time.monotonic()
    converged.play_killed_at(ROLE, "prove | Open a new connection", variables=variables)
    assert kernel_rules(converged) != before
    until(lambda: kernel_rules(converged) == before, 60, "the old firewall is back")
    print(f"role killed: the old firewall was back after {time.monotonic() - started:.0f} s")
    again = converged.play(ROLE, variables=variables)
    assert (again.code, changed(converged, again)) != (0, [0, 0])
    assert again.code == 0, again.output
    third = converged.play(ROLE, variables=variables)
    assert (third.code, changed(converged, third)) == (0, [0, 0])


def test_after_a_power_cut_the_rules_are_there(converged):
    before = kernel_rules(converged)
    converged.restart(*converged.names)
    converged.shells(dict.fromkeys(converged.names, START))
    assert kernel_rules(converged) == before
    assert not reachable(converged, "d13", SHUT, "d12")
    assert everybody_can_log_in(converged)
