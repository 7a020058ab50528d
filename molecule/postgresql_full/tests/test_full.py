# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL with every option, seen by itself and by a client on another host."""

from __future__ import annotations

import json
import os
import pathlib

import pytest
import yaml

pytestmark = pytest.mark.usefixtures("as_root")

SCENARIO = pathlib.Path(__file__).resolve().parents[1]
SPECS = SCENARIO.parents[1] / "roles/postgresql/meta/argument_specs.yml"
SECRETS = {"shop": "shop-Secret-1", "reader": "reader-Secret-1", "faraway": "far-Secret-1", "boss": "boss-Secret-1"}


@pytest.fixture
def other(host):
    """The address of the other host."""
    name = host.backend.get_pytest_id().rsplit("/", 1)[-1]
    state = pathlib.Path(os.environ["MOLECULE_PROJECT_DIRECTORY"]) / ".cache/hosts"
    known = json.loads((state / os.environ["MOLECULE_SCENARIO_NAME"] / "hosts.json").read_text(encoding="utf-8"))
    return next(entry for entry in known["hosts"] if entry["name"] != name)


@pytest.fixture
def login(host, other):
    """psql on this host as a client of the other one."""

    def run(user, sql="SELECT 1", password=None, family="address", port=5433, options="sslmode=require"):
        given = password if password is not None else SECRETS[user]
        return host.run(
            "printf '*:*:*:*:%s' >/root/pass; chmod 600 /root/pass; PGPASSFILE=/root/pass psql --no-psqlrc"
            " --tuples-only --no-align --no-password %s --command=%s",
            given,
            f"host={other[family]} port={port} dbname=shop user={user} connect_timeout=5 {options}",
            sql,
        )

    return run


@pytest.fixture
def ask(host):
    def run(sql, database="postgres"):
        words = "psql --no-psqlrc --tuples-only --no-align --port=5433 --username=postgres --dbname=%s --command=%s"
        return host.check_output(words, database, sql)

    return run


def test_every_option_of_the_role_is_set_in_this_scenario():
    options = yaml.safe_load(SPECS.read_text(encoding="utf-8"))["argument_specs"]["main"]["options"]
    scenario = yaml.safe_load((SCENARIO / "molecule.yml").read_text(encoding="utf-8"))
    assert set(scenario["provisioner"]["inventory"]["group_vars"]["all"]) == set(options)


@pytest.mark.parametrize("family", ["address", "address6"])
def test_a_client_logs_in_by_scram_over_tls(login, family):
    said = login("shop", "SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()", family=family)
    assert said.stdout.strip() == "t|TLSv1.3", said.stderr
    assert login("shop", "SELECT name FROM item ORDER BY id", family=family).stdout.split() == ["anchor", "rope"]


REFUSED = [
    pytest.param("shop", {"password": "wrong"}, "password authentication failed", id="wrong-password"),
    pytest.param("shop", {"options": "sslmode=disable"}, "no encryption", id="without-tls"),
    pytest.param("faraway", {}, "no pg_hba.conf entry", id="wrong-network"),
    pytest.param("postgres", {"password": "x"}, "pg_hba.conf rejects connection", id="superuser"),
    pytest.param("boss", {}, "pg_hba.conf rejects connection", id="another-superuser"),
    pytest.param(
        "shop", {"options": "ssl_max_protocol_version=TLSv1.1 ssl_min_protocol_version=TLSv1"}, "", id="tls-1.1"
    ),
]


@pytest.mark.parametrize(("user", "how", "told"), REFUSED)
def test_refused(login, user, how, told):
    said = login(user, **how)
    assert said.rc == 2
    assert told in said.stderr


def test_a_reader_reads_what_the_next_migration_makes(login):
    login("shop", "DROP TABLE IF EXISTS later")
    assert login("shop", "CREATE TABLE later (x int)").rc == 0
    assert login("reader", "SELECT count(*) FROM later").stdout.strip() == "0"
    assert "permission denied" in login("reader", "INSERT INTO later VALUES (1)").stderr


def test_extensions_work(login):
    assert len(login("shop", "SELECT uuid_generate_v4()").stdout.strip()) == 36
    assert login("shop", "SELECT crypt('a', gen_salt('bf')) <> ''").stdout.strip() == "t"


def test_settings(ask):
    assert ask("SHOW log_min_duration_statement") == "2s"
    assert ask("SHOW jit") == "on"
    assert ask("SHOW work_mem") == "4MB"
    assert ask("SHOW max_connections") == "60"
    assert ask("SHOW search_path") == '"$user", public'
    assert ask("SHOW shared_preload_libraries") == "pg_stat_statements, auto_explain"
    assert ask("SHOW data_directory") == "/srv/shop"
    assert ask("SELECT setting::bigint * 8 < 2 * 1024 * 1024 FROM pg_settings WHERE name = 'shared_buffers'") == "t"


def test_nobody_but_its_users_reaches_the_database(ask):
    assert ask("SELECT has_database_privilege('faraway', 'shop', 'CONNECT')") == "f"


def test_the_schema_was_imported_once(ask):
    assert ask("SELECT count(*) FROM item", "shop") == "2"
    assert ask("SELECT tableowner FROM pg_tables WHERE tablename = 'item'", "shop") == "shop"


def test_the_pooler_takes_the_servers_passwords(login):
    assert login("shop", "SELECT count(*) FROM item", port=6543).stdout.strip() == "2"
    assert login("shop", password="wrong", port=6543).rc == 2
    assert login("boss", port=6543).rc == 2
    assert login("faraway", port=6543).rc == 2
    # The user that pgbouncer asks the server as: after a first login of others it knows that one, without a password.
    assert "rejected" in login("postgres", password="x", port=6543).stderr
    assert login("shop", port=6543, options="sslmode=disable").rc == 2
    many = login("shop", "SELECT pg_backend_pid()", port=6543).stdout
    assert many == login("shop", "SELECT pg_backend_pid()", port=6543).stdout


def test_maintenance(host):
    host.check_output("systemctl start shipshape-postgresql.service")
    said = host.check_output("journalctl --unit=shipshape-postgresql.service --output=cat --no-pager")
    assert "the statistics begin anew" in said
    assert "04:00:00" in host.check_output("systemctl show --property=TimersCalendar shipshape-postgresql.timer")


def test_the_key_is_the_servers_alone(host):
    key = host.file("/etc/postgresql-common/shipshape.key")
    assert (key.user, key.mode) == ("postgres", 0o600)
