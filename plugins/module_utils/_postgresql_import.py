# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Imports a schema file by psql, which dumps are written for: as a whole and with its mark, or not at all."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ._postgresql_model import MARK, ObjectsError
from ._postgresql_sql import ident, literal

LOCK = 0x73686971
MEANWHILE = "shipshape: imported meanwhile"
LEFT = "the file ends its transaction or its connection itself: take BEGIN, COMMIT, ROLLBACK and \\connect out"
SHOWN = 200  # characters of a message, which may cite the file
ERROR = re.compile(r"^(?:psql:<stdin>:(?P<line>\d+): )?(?:psql: )?(?:error|fatal): +(?P<text>.*)$", re.I | re.M)


@dataclass(frozen=True)
class SchemaFile:
    database: str
    owner: str
    content: str = field(repr=False)
    mark: str
    """The statement that says that it was imported."""

    @property
    def before(self) -> str:
        """A trigger that only C(after) satisfies stops a COMMIT within the file, and with it the whole.

        The lock waits for an import that goes on although the run that began it was killed.
        """
        marked = (
            f"BEGIN PERFORM pg_advisory_xact_lock({LOCK}); PERFORM FROM pg_db_role_setting s"
            " JOIN pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) c"
            f" WHERE d.datname = current_database() AND s.setrole = 0 AND starts_with(c, {literal(MARK + '=')});"
            f" IF FOUND THEN RAISE EXCEPTION {literal(MEANWHILE)}; END IF; END"
        )
        whole = (
            "BEGIN IF current_setting('shipshape.whole', true) IS DISTINCT FROM 'yes'"
            f" THEN RAISE EXCEPTION {literal(LEFT)}; END IF; RETURN NULL; END"
        )
        return "; ".join(
            [
                f"DO {literal(marked)}",
                f"CREATE FUNCTION pg_temp.shipshape_whole() RETURNS trigger LANGUAGE plpgsql AS {literal(whole)}",
                "CREATE TEMPORARY TABLE shipshape_import (part int) ON COMMIT DROP",
                "CREATE CONSTRAINT TRIGGER whole AFTER INSERT ON pg_temp.shipshape_import DEFERRABLE INITIALLY DEFERRED"
                " FOR EACH ROW EXECUTE FUNCTION pg_temp.shipshape_whole()",
                "INSERT INTO pg_temp.shipshape_import VALUES (1)",
                f"SET ROLE {ident(self.owner)}",
            ]
        )

    @property
    def after(self) -> str:
        body = (
            "BEGIN IF to_regclass('pg_temp.shipshape_import') IS NULL"
            f" THEN RAISE EXCEPTION {literal(LEFT)}; END IF; END"
        )
        done = "SET LOCAL shipshape.whole TO 'yes'"
        return "; ".join(["RESET SESSION AUTHORIZATION", "RESET ROLE", f"DO {literal(body)}", done, self.mark])


def run(file: SchemaFile, target: Mapping[str, str], account: Any) -> bool:
    """Whether it was imported now. The content never is an argument, nor a file that has a name."""
    command = ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-v", "AUTOCOMMIT=off", "--single-transaction"]
    command += ["-c", file.before, "-f", "-", "-c", file.after]
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C.UTF-8",
        "PGCLIENTENCODING": "UTF8",
        "PGAPPNAME": "shipshape",
        "PGOPTIONS": "-c lc_messages=C -c client_min_messages=warning",
        **target,
    }
    rights: dict[str, Any] = {}
    if account is not None:
        environment["HOME"] = account.pw_dir
        rights = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    with tempfile.TemporaryFile() as whole:
        # Not a pipe: it would end in the middle of a statement if this process is killed, and psql would commit that.
        whole.write(file.content.encode())
        whole.seek(0)
        streams: dict[str, Any] = {"stdin": whole, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        try:
            process = subprocess.Popen(command, env=environment, cwd="/", **streams, **rights)
        except FileNotFoundError as exc:
            raise ObjectsError("this host has no psql: install the package postgresql-client") from exc
        try:
            errors = process.communicate()[1].decode("utf-8", "replace")
        finally:
            process.kill()
            process.wait()
    if process.returncode == 0:
        return True
    if MEANWHILE in errors:
        return False
    raise ObjectsError(f"database {file.database}: schema_content, {told(errors)}. Nothing of it was imported")


def told(errors: str) -> str:
    """The line and the message; not what the file says there."""
    found = ERROR.search(errors)
    if not found:
        return "psql did not say why it ended"
    where = f"line {found['line']}: " if found["line"] else ""
    return where + found["text"][:SHOWN]
