"""A fleet of four: what nmap sees of each host from each other one is what the tables of docs/firewall.md say."""

from __future__ import annotations

import re

import pytest

from .conftest import ROOT, Group

SUITES = {"lb1": "trixie", "app1": "trixie", "db1": "bookworm", "cache1": "bookworm"}
FAMILIES = {"IPv4": "address", "IPv6": "address6"}
# Something listens on each of these on every host, declared there or not: what is shut is shut by the firewall.
LISTENING = (80, 443, 5432, 6379, 8000, 8080, 9100, 50000)
SERVE = """
import selectors, socket, sys
box = selectors.DefaultSelector()
for port in map(int, sys.argv[1:]):
    box.register(socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True), selectors.EVENT_READ)
while True:
    for key, _events in box.select():
        key.fileobj.accept()[0].close()
"""
# All from port 1, which is not scanned: hosts that scan each other would else take a probe for a simultaneous open now
# and then, which nmap shows as an open port. At this rate a busy machine may lose an answer, so the ports that
# something listens on are asked once more, slowly.
FAST = "-p 2-65535 -T4 --max-retries 1 --min-rate 10000"
SLOW = f"-p {','.join(map(str, sorted({*LISTENING, 22})))} --max-retries 5"
SCAN = "; ".join(f"nmap {{family}} -Pn -n -g 1 {how} --open -oG - {{addresses}}" for how in (FAST, SLOW))


def documented() -> dict[tuple[str, str], set[int]]:
    """The table `from \\ to` of the guide."""
    text = (ROOT / "docs/firewall.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    start = next(number for number, row in enumerate(rows) if row[0].startswith("from"))
    names = rows[start][1:]
    return {
        (f"{row[0]}1", f"{name}1"): set(map(int, re.findall(r"\d+", cell)))
        for row in rows[start + 2 : start + 2 + len(names)]
        for name, cell in zip(names, row[1:], strict=True)
        if row[0] != name
    }


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    group = Group("faults-fleet", tmp_path_factory.mktemp("f"), **SUITES)
    try:
        inventory = group.state / "inventory.yml"
        plain = inventory.read_text(encoding="utf-8")
        addresses = {name: [group.address(name, field) for field in FAMILIES.values()] for name in SUITES}
        groups = "".join(
            f"{name[:-1]}:\n  hosts:\n    {name}:\n      stack_addresses: {addresses[name]}\n" for name in SUITES
        )
        inventory.write_text(plain + groups, encoding="utf-8")
        install = "apt-get -qq update; apt-get -qq install --no-install-recommends nmap >/dev/null; "
        serve = f"systemd-run --quiet python3 -c '{SERVE}' {' '.join(map(str, LISTENING))}"
        group.shells(dict.fromkeys(SUITES, install + serve))
        yield group
    finally:
        group.down()


def seen(fleet: Group, names: tuple[str, ...]) -> dict[str, dict[tuple[str, str], set[int]]]:
    """What each of the hosts sees open of all others, by family."""
    found: dict[str, dict[tuple[str, str], set[int]]] = {}
    for family, field in FAMILIES.items():
        where = {fleet.address(name, field): name for name in SUITES}
        scripts = {}
        for name in names:
            others = " ".join(address for address, other in where.items() if other != name)
            scripts[name] = SCAN.format(family="-6" if family == "IPv6" else "", addresses=others)
        found[family] = {}
        for name, output in fleet.shells(scripts).items():
            assert output.count("Status: Up") or "# Nmap done" in output, output
            for line in output.splitlines():
                host = re.match(r"Host: (\S+) ", line)
                if host and "Ports:" in line:
                    ports = found[family].setdefault((name, where[host[1]]), set())
                    ports.update(map(int, re.findall(r"(\d+)/open/tcp", line)))
    return found


def test_each_host_sees_what_the_table_says(fleet):
    everything = set(LISTENING) | {22}
    before = seen(fleet, ("db1",))
    assert before["IPv4"]["db1", "cache1"] == everything
    assert before["IPv6"]["db1", "app1"] == everything
    run = fleet.play("playbooks/site.yml", "--tags", "ufw")
    assert run.code == 0, run.output
    table = documented()
    for found in seen(fleet, tuple(SUITES)).values():
        assert found == table


def test_a_second_run_changes_nothing_nor_does_one_of_a_single_host(fleet):
    for words in ([], ["--limit", "db1"]):
        run = fleet.play("playbooks/site.yml", "--tags", "ufw", *words)
        assert run.code == 0, run.output
        assert {counts["changed"] for counts in run.recap.values()} == {0}


def test_a_host_that_leaves_a_group_loses_its_way_in(fleet):
    """The rule goes with the membership, and the next host of the group gets one."""
    run = fleet.play(
        "playbooks/site.yml",
        "--tags",
        "ufw",
        "--limit",
        "cache1",
        variables={"stack_flows": [{"to": "cache", "ports": [6379], "from": ["db"], "comment": "Redis"}]},
    )
    assert run.code == 0, run.output
    rules = fleet.shell("cache1", "ufw status")
    assert fleet.address("db1") in rules
    assert fleet.address("app1") not in rules


def test_a_name_instead_of_an_address_is_refused_before_any_change(fleet):
    before = fleet.shell("cache1", "cat /etc/ufw/user.rules")
    run = fleet.play("playbooks/site.yml", "--limit", "cache1", variables={"stack_addresses": ["app.example.com"]})
    assert run.code != 0
    assert "set stack_addresses for app1" in run.text
    assert fleet.shell("cache1", "cat /etc/ufw/user.rules") == before
