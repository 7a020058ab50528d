"""What needs no server: how psql's words are told, what a schema file is wrapped in, and who is asked."""

from __future__ import annotations

import os
import pwd
import socket

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils._acting_as import acting_as
from ansible_collections.shipshape.stack.plugins.module_utils._postgresql_catalog import libraries, usable
from ansible_collections.shipshape.stack.plugins.module_utils._postgresql_import import SHOWN, SchemaFile, told
from ansible_collections.shipshape.stack.plugins.module_utils._postgresql_model import ObjectsError
from ansible_collections.shipshape.stack.plugins.module_utils._postgresql_server import LOUD, QUIET, Server


@pytest.mark.parametrize(
    ("errors", "words"),
    [
        pytest.param(
            "psql:<stdin>:3: ERROR:  syntax error at or near \"x\"\nLINE 1: INSERT 'secret' x\n                ^\n",
            'line 3: syntax error at or near "x"',
            id="statement",
        ),
        pytest.param(
            "psql:<stdin>:3: ERROR:  duplicate key\nDETAIL:  Key (id)=(secret) already exists.\n",
            "line 3: duplicate key",
            id="no-rows",
        ),
        pytest.param("psql:<stdin>:7: error: invalid command \\x\n", "line 7: invalid command \\x", id="command"),
        pytest.param("psql: error: connection failed\n", "connection failed", id="psql"),
        pytest.param("ERROR:  the file ends\n", "the file ends", id="wrapping"),
        pytest.param("psql:<stdin>:1: WARNING:  w\npsql:<stdin>:2: ERROR:  e\n", "line 2: e", id="after-a-warning"),
        pytest.param("Killed", "psql did not say why it ended", id="nothing"),
        pytest.param("ERROR:  " + "x" * 1000, "x" * SHOWN, id="long"),
    ],
)
def test_told(errors, words):
    assert told(errors) == words


def test_a_schema_file_runs_as_its_owner_and_is_marked_by_the_superuser():
    file = SchemaFile('sh"op', 'o"wner', "SELECT 'secret'", "ALTER DATABASE x SET y TO z")
    assert file.before.endswith('SET ROLE "o""wner"')
    parts = file.after.split("; ")
    assert parts.index("RESET ROLE") < parts.index("ALTER DATABASE x SET y TO z") == len(parts) - 1
    assert "secret" not in f"{file} {file.before} {file.after}"


@pytest.mark.parametrize(
    ("setting", "names"),
    [
        pytest.param("", [], id="none"),
        pytest.param("pg_stat_statements", ["pg_stat_statements"], id="one"),
        pytest.param('auto_explain, "$libdir/pg_cron"', ["auto_explain", "pg_cron"], id="folder"),
    ],
)
def test_libraries(setting, names):
    assert libraries(setting) == names


@pytest.mark.parametrize(("name", "there"), [("C", True), ("POSIX", True), ("xx_YY.UTF-8", False), ("C\\", False)])
def test_usable(name, there):
    assert usable(name) == there


def test_what_is_silenced_is_turned_on_again():
    assert [one.split(" TO ")[0] for one in QUIET.split("; ")] == [one.split(" TO ")[0] for one in LOUD.split("; ")]


def test_a_server_that_does_not_answer_is_told_from_one_that_does(tmp_path):
    server = Server(5999, str(tmp_path), "postgres")
    assert "no server listens on" in server.missing()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / ".s.PGSQL.5999"))
        assert "no server listens on" in server.missing()
        listener.listen()
        assert server.missing() == ""


def test_a_folder_that_no_socket_can_be_in_is_named(tmp_path):
    with pytest.raises(ObjectsError, match="correct socket_directory"):
        Server(5432, str(tmp_path / ("x" * 120)), "postgres").missing()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_the_rights_of_another_account_are_given_back():
    nobody, before = pwd.getpwnam("nobody"), (os.geteuid(), os.getegid())
    seen = []
    with acting_as(nobody):
        seen.append((os.geteuid(), os.getegid()))
    with pytest.raises(ZeroDivisionError), acting_as(nobody):
        seen.append(1 // 0)
    assert seen == [(nobody.pw_uid, nobody.pw_gid)]
    assert (os.geteuid(), os.getegid()) == before
