# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL when things go wrong: what is bad is refused by name, and the server goes on with what it has."""

from __future__ import annotations

import pytest

from .conftest import until

# Eleven minutes of restarts and power cuts; the scenarios of the role stand for it on every commit.
pytestmark = pytest.mark.nightly

FACTS = {"gather_facts": True, "gather_subset": ["!all", "!min", "distribution", "hardware"]}
ROLE = [
    {
        "hosts": "all",
        "become": True,
        **FACTS,
        "tasks": [
            {"ansible.builtin.package_facts": {}},
            {"ansible.builtin.include_role": {"name": "shipshape.stack.postgresql"}},
        ],
    }
]
PSQL = "psql --no-psqlrc --tuples-only --no-align --username=postgres --dbname=postgres"
# All that a refused change has to leave alone. It fails where the server does not answer.
LOOK = (
    "cd /etc/postgresql/*/main; md5sum conf.d/* pg_hba.conf pg_ident.conf; ls -A /var/lib/shipshape/*;"
    f' {PSQL} --command="SELECT pg_postmaster_start_time(), pg_conf_load_time()";'
    f' {PSQL} --command="SELECT name FROM pg_settings WHERE pending_restart"; ls /etc/systemd/system'
)
STARTED = f'{PSQL} --command="SELECT pg_postmaster_start_time()"'


def everywhere(hosts, script):
    return hosts.shells(dict.fromkeys(hosts.names, script))


def setting(hosts, name):
    return {value.strip() for value in everywhere(hosts, f'{PSQL} --command="SHOW {name}"').values()}


def converge(hosts, variables=None, *words, changed=None):
    run = hosts.play(ROLE, *words, variables=variables or {})
    assert run.code == 0, run.output
    if changed is not None:
        assert [run.changed(name) for name in hosts.names] == [changed] * len(hosts.names), run.output
    return run


@pytest.fixture(scope="module")
def served(hosts):
    """Both hosts with the role's defaults, and rows that have to be there at the end."""
    converge(hosts)
    everywhere(hosts, f'{PSQL} --command="CREATE TABLE kept AS SELECT generate_series(1, 10000) AS id" >/dev/null')
    return hosts


BAD = [
    pytest.param({"postgresql_settings": {"max_conections": 50}}, "max_conections: unrecognized", id="unknown-name"),
    pytest.param(
        {"postgresql_settings": {"checkpoint_timeout": "5 bananas"}}, "checkpoint_timeout: inv", id="bad-unit"
    ),
    pytest.param(
        {"postgresql_settings": {"shared_buffers": "900GB"}}, "shared_buffers: the settings ask", id="too-big"
    ),
    pytest.param(
        {"postgresql_preload_libraries": ["pg_stat_statements", "nosuch"]},
        "shared_preload_libraries: FATAL",
        id="no-library",
    ),
    pytest.param({"postgresql_settings": {"wal_level": "minimal"}}, "wal_level: FATAL", id="two-that-do-not-agree"),
    pytest.param({"postgresql_settings": {"huge_pages": True}}, "huge_pages: FATAL", id="no-huge-pages"),
    pytest.param(
        {"postgresql_tls": True, "postgresql_tls_certificate": "/no.crt", "postgresql_tls_key": "/no.key"},
        "ssl_cert_file: FATAL",
        id="no-certificate",
    ),
    pytest.param(
        {"postgresql_hba_rules": [{"type": "host", "address": "all", "method": "ldap", "options": {"nosuch": 1}}]},
        'unrecognized authentication option name: "nosuch"',
        id="bad-rule",
    ),
]


@pytest.mark.parametrize(("variables", "told"), BAD)
def test_refused_before_the_server_hears_of_it(served, variables, told):
    before = everywhere(served, LOOK)
    run = served.play(ROLE, variables=variables)
    assert run.code == 2
    assert run.text.count(told) >= len(served.names), run.output
    assert everywhere(served, LOOK) == before


def test_the_healthy_case_changes_nothing(served):
    before = everywhere(served, LOOK)
    converge(served, changed=0)
    converge(served, None, "--check", changed=0)
    assert everywhere(served, LOOK) == before


# In this order, so that each change is one from the one before: what changes, and how often the server restarts.
CHANGES = [
    pytest.param({"log_min_duration_statement": "1s"}, "auto", 0, id="reload"),
    pytest.param({"log_min_duration_statement": "1000ms"}, "auto", 0, id="the-same-in-another-unit"),
    pytest.param({"max_connections": 55, "max_locks_per_transaction": 128}, "auto", 1, id="two-that-need-a-restart"),
    pytest.param({"max_connections": 60}, "never", 0, id="restart-not-allowed"),
    pytest.param({"max_connections": 60}, "auto", 1, id="allowed-now"),
    pytest.param({}, "auto", 1, id="back"),
    pytest.param({}, "auto", 0, id="nothing"),
]


@pytest.mark.parametrize(("settings", "policy", "restarts"), CHANGES)
def test_as_many_restarts_as_needed(served, settings, policy, restarts):
    variables = {"postgresql_settings": settings, "postgresql_restart": policy}
    before = everywhere(served, STARTED)
    run = converge(served, variables)
    assert sum(before[name] != now for name, now in everywhere(served, STARTED).items()) == restarts * 2
    assert ("max_connections, max_locks_per_transaction: in effect after a restart" in run.text) == (policy == "never")
    if policy == "auto":
        for name, value in settings.items():
            assert setting(served, name) == {"1s" if value == "1000ms" else str(value)}
    converge(served, variables, changed=0)


def test_a_library_that_has_to_wait_is_not_asked_for(served):
    without = {"postgresql_preload_libraries": []}
    everywhere(served, f"{PSQL} --command='DROP EXTENSION pg_stat_statements'")
    converge(served, without)
    run = converge(served, {"postgresql_restart": "never"})
    assert "shared_preload_libraries: in effect after a restart" in run.text
    converge(served)
    converge(served, changed=0)
    counted = f"{PSQL} --command='SELECT count(*) > 0 FROM pg_stat_statements'"
    assert set(everywhere(served, counted).values()) == {"t\n"}


def test_a_link_in_the_servers_own_folder_is_not_followed_by_root(served):
    """The folder belongs to the server's user, who would be handed a copy of whatever root may read."""
    link = "cd /etc/postgresql/*/main && ln -s /etc/shadow conf.d/60-link.conf"
    with_change = {"postgresql_settings": {"log_min_duration_statement": "8s"}}
    everywhere(served, link)
    try:
        run = served.play(ROLE, variables=with_change)
        assert run.code == 2
        assert run.text.count("Permission denied") >= 2, run.output
        assert "root:" not in run.output
    finally:
        everywhere(served, "rm /etc/postgresql/*/main/conf.d/60-link.conf")
    converge(served, changed=0)


def test_a_taken_port_is_found_and_the_old_one_kept(served):
    """PostgreSQL starts with one of two addresses, and systemd calls that a success."""
    with_port = {"postgresql_port": 5440}
    everywhere(served, "systemd-run --quiet --unit=taken python3 -m http.server --bind 127.0.0.1 5440")
    try:
        run = served.play(ROLE, variables=with_port)
        assert run.code == 2
        assert run.text.count("does not answer on 127.0.0.1 port 5440: another program has the port") >= 2, run.output
        assert run.text.count("The old files are back and the server answers") >= 2
        assert setting(served, "port") == {"5432"}
    finally:
        everywhere(served, "systemctl stop taken")
    converge(served, changed=0)


def test_what_alter_system_decides_is_named_and_left(served):
    everywhere(served, f"{PSQL} --command='ALTER SYSTEM SET work_mem = 5000' --command='SELECT pg_reload_conf()'")
    run = converge(served, changed=0)
    assert "work_mem: decided by ALTER SYSTEM or by another file" in run.text
    assert setting(served, "work_mem") == {"5000kB"}
    everywhere(served, f"{PSQL} --command='ALTER SYSTEM RESET work_mem' --command='SELECT pg_reload_conf()'")
    assert "decided by" not in converge(served, changed=0).text


def test_a_full_disk_changes_nothing(served):
    with_change = {"postgresql_settings": {"log_min_duration_statement": "7s"}}
    before = everywhere(served, LOOK)
    everywhere(served, "mount -t tmpfs -o size=1M,mode=711 full /var/lib/shipshape/postgresql")
    try:
        run = served.play(ROLE, variables=with_change)
        assert run.code == 2
        assert run.text.count("No space left on device") >= 2, run.output
    finally:
        everywhere(served, "umount /var/lib/shipshape/postgresql")
    assert everywhere(served, LOOK) == before


def test_a_killed_run_is_caught_up_with(served):
    """Killed on the host, as hard as can be, when the file has its new content and the server has not."""
    killer = (
        'systemd-run --quiet --unit=killer sh -c "'
        "while ! grep -q 'max_connections = .77.' /etc/postgresql/*/main/conf.d/*; do sleep 0.02; done;"
        " pkill -KILL -x 'python3.*'\""
    )
    wanted = {"postgresql_settings": {"max_connections": 77}}
    everywhere(served, killer)
    assert served.play(ROLE, variables=wanted).code == 2
    assert setting(served, "max_connections") != {"77"}
    converge(served, wanted)
    assert setting(served, "max_connections") == {"77"}
    converge(served, wanted, changed=0)
    assert set(everywhere(served, "find /etc/systemd/system -name 'shipshape-rollback-*'").values()) == {""}


def test_a_renewed_certificate_is_read(served):
    tls = {"postgresql_tls": True}
    converge(served, tls)
    converge(served, tls, changed=0)
    loaded = f'{PSQL} --command="SELECT pg_conf_load_time()"'
    before = everywhere(served, loaded)
    everywhere(served, "touch /etc/postgresql-common/shipshape.crt")
    converge(served, tls, changed=1)
    assert all(before[name] != now for name, now in everywhere(served, loaded).items())
    converge(served, tls, changed=0)


def test_another_cluster_on_the_port_is_not_fought_with(served):
    run = served.play(ROLE, variables={"postgresql_cluster": "second"})
    assert run.code == 2
    assert run.text.count("port 5432 is in use by the cluster") >= 2, run.output
    assert set(everywhere(served, "pg_lsclusters --no-header | wc -l").values()) == {"1\n"}


def test_taken_away_and_brought_back_with_all_rows(served):
    converge(served, {"postgresql_state": "absent"})
    down = "pg_lsclusters --no-header | awk '{print $4}'; ls /etc/postgresql/*/main/conf.d /etc/systemd/system"
    for said in everywhere(served, down).values():
        assert said.startswith("down\n")
        assert "shipshape" not in said
    served.restart(*served.names)
    assert {said.split()[0] for said in everywhere(served, down).values()} == {"down"}
    converge(served, {"postgresql_state": "absent"}, changed=0)
    converge(served)
    served.restart(*served.names)
    answers = f"{PSQL} --command='SHOW port' 2>&1 || true"
    until(lambda: set(everywhere(served, answers).values()) == {"5432\n"}, 30, "the server is back after a power cut")
    count = everywhere(served, f'{PSQL} --command="SELECT count(*) FROM kept"')
    assert set(count.values()) == {"10000\n"}
