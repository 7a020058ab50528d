# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL without a single option: tuned, for the host itself, with nothing open to others."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.usefixtures("as_root")

VERSIONS = {"12": "15", "13": "17"}


@pytest.fixture
def version(host):
    return VERSIONS[host.system_info.release.split(".")[0]]


@pytest.fixture
def ask(host):
    """What a query says, asked by root: the peer map lets it in as the superuser, without a password."""

    def run(sql, database="postgres"):
        return host.check_output(
            "psql --no-psqlrc --tuples-only --no-align --username=postgres --dbname=%s --command=%s", database, sql
        )

    return run


def test_the_server_runs_after_the_power_cut(host, version, ask):
    assert host.service(f"postgresql@{version}-main").is_running
    assert ask("SHOW server_version").startswith(version)


def test_cluster(ask):
    assert ask("SHOW server_encoding") == "UTF8"
    assert ask("SHOW data_checksums") == "on"
    assert ask("SELECT datcollate FROM pg_database WHERE datname = 'postgres'") == "C.UTF-8"


def test_only_the_host_itself_reaches_it(host, ask):
    listening = {each.rpartition(":")[0] for each in host.socket.get_listening_sockets() if each.endswith(":5432")}
    assert listening <= {"tcp://127.0.0.1", "tcp://::1"}
    assert "tcp://127.0.0.1" in listening
    assert host.run("psql --host=127.0.0.1 --username=postgres --no-password --command='SELECT 1'").rc == 2


def test_it_is_tuned_with_reasons(host, version, ask):
    text = host.file(f"/etc/postgresql/{version}/main/conf.d/50-shipshape.conf").content_string
    assert "# Machine: " in text
    for name in ("shared_buffers", "work_mem", "max_wal_size"):
        line = next(number for number, line in enumerate(text.splitlines()) if line.startswith(f"{name} = "))
        assert text.splitlines()[line - 1].startswith("# ")
        assert ask(f"SELECT sourcefile FROM pg_settings WHERE name = '{name}'").endswith("50-shipshape.conf")
    assert ask("SELECT count(*) FROM pg_settings WHERE pending_restart") == "0"
    assert ask("SELECT count(*) FROM pg_file_settings WHERE error IS NOT NULL") == "0"


def test_statements_are_counted(ask):
    assert ask("SHOW pg_stat_statements.track") == "all"
    assert int(ask("SELECT count(*) FROM pg_stat_statements")) > 0


def test_passwords_and_tls_are_of_this_age(ask):
    assert ask("SHOW password_encryption") == "scram-sha-256"
    assert ask("SHOW ssl_min_protocol_version") == "TLSv1.2"


def test_maintenance(host, version, ask):
    assert host.service("shipshape-postgresql.timer").is_running
    before = ask("SELECT coalesce(sum(vacuum_count), 0) FROM pg_stat_all_tables")
    host.check_output("systemctl start shipshape-postgresql.service")
    assert int(ask("SELECT sum(vacuum_count) FROM pg_stat_all_tables")) > int(before)
    said = host.check_output("journalctl --unit=shipshape-postgresql.service --output=cat --no-pager")
    assert "mean_ms" in said
    assert "SELECT" in said
    assert host.run("systemctl is-failed shipshape-postgresql.service").rc == 1


def test_logs_are_rotated(host):
    assert "/var/log/postgresql" in host.run("logrotate --debug /etc/logrotate.d/postgresql-common 2>&1").stdout


def test_no_other_cluster_was_made(host, version):
    assert host.check_output("pg_lsclusters --no-header | wc -l") == "1"
