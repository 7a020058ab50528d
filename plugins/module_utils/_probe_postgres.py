# Copyright: (c) 2026, The shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The probe `postgres`: a login, connections, old transactions, transaction IDs, replication.

It talks to libpq through psycopg's own `pq` layer, one step at a time: connect() and execute() know no timeout that
holds for TLS, login and queries together, and they wait for a server that accepts and then says nothing.
"""

from __future__ import annotations

import json
import re
import select
import time
from collections.abc import Iterable, Mapping
from typing import Any, Optional

from ._health_spec import (
    DEGRADED,
    UNHEALTHY,
    Option,
    Outcome,
    Probe,
    choice,
    excerpt,
    number,
    path_name,
    percent,
    port,
    regex,
    seconds,
    text,
)
from ._probe_database import (
    PRIMARY,
    REPLICA,
    ROLES,
    Broken,
    Finding,
    age,
    limits_agree,
    measure,
    missing,
    read_password,
    verdict,
    wrong_role,
)

VERIFYING = ("verify-ca", "verify-full")
# Transaction IDs come round after as many; the server refuses to write a little earlier.
ALL_IDS = 2**31
ELAPSED = number(0, 10**9, "a number of seconds")
AMOUNT = number(0, 10**9, "a number of MiB")
OPTIONS = {
    "host": Option(text(), "/var/run/postgresql"),
    "port": Option(port(), 5432),
    "user": Option(text(), "postgres"),
    "password_file": Option(path_name()),
    "database": Option(text(), "postgres"),
    "sslmode": Option(choice("disable", "prefer", "require", *VERIFYING), "prefer"),
    "ca_path": Option(path_name()),
    "client_cert": Option(path_name()),
    "client_key": Option(path_name()),
    "connect_timeout": Option(seconds()),
    "role": Option(choice(*ROLES)),
    "query": Option(text()),
    "expect": Option(regex()),
    "degraded_percent": Option(percent(), 80.0),
    "unhealthy_percent": Option(percent(), 95.0),
    "degraded_transaction_seconds": Option(ELAPSED, 3600.0),
    "unhealthy_transaction_seconds": Option(ELAPSED, 86400.0),
    "degraded_wraparound_percent": Option(percent(), 40.0),
    "unhealthy_wraparound_percent": Option(percent(), 75.0),
    "degraded_lag_seconds": Option(ELAPSED, 60.0),
    "unhealthy_lag_seconds": Option(ELAPSED, 3600.0),
    "degraded_slot_mib": Option(AMOUNT, 1024.0),
    "unhealthy_slot_mib": Option(AMOUNT),
}
LIMITS = ("percent", "transaction_seconds", "wraparound_percent", "lag_seconds", "slot_mib")

# One question for everything, without a right that every user has not: what somebody else does is null then.
# It counts sessions of clients only, and not its own, as workers take no place of max_connections.
# A replica that has replayed all that it has received is not behind, however long ago the last transaction was.
STATISTICS = """
WITH sessions AS (
  SELECT pid, state, datname, xact_start FROM pg_stat_activity
  WHERE usesysid IS NOT NULL AND datid IS NOT NULL AND pid <> pg_backend_pid()
    AND coalesce(backend_type, 'client backend') = 'client backend'
), transactions AS (
  SELECT xact_start AS began, format('%s in %s, pid %s', state, datname, pid) AS who
  FROM sessions WHERE xact_start IS NOT NULL
  UNION ALL SELECT prepared, format('prepared as %s in %s', gid, database) FROM pg_prepared_xacts
), place AS (
  SELECT pg_is_in_recovery() AS replica,
    CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END AS lsn
)
SELECT json_build_object(
  'version', split_part(current_setting('server_version'), ' ', 1),
  'replica', replica,
  'sees_all', pg_has_role('pg_read_all_stats', 'usage'),
  'connections', (SELECT count(*) FROM sessions),
  'connections_limit', current_setting('max_connections')::int
    - current_setting('superuser_reserved_connections')::int
    - coalesce(current_setting('reserved_connections', true)::int, 0),
  'transaction', (SELECT json_build_object('seconds', extract(epoch FROM clock_timestamp() - began), 'who', who)
    FROM transactions ORDER BY began LIMIT 1),
  'ids_used', (SELECT max(greatest(age(datfrozenxid), mxid_age(datminmxid))) FROM pg_database),
  'streaming', EXISTS (SELECT FROM pg_stat_wal_receiver),
  'replicas', (SELECT count(*) FROM pg_stat_replication),
  'lag_seconds', CASE
    WHEN NOT replica THEN (SELECT max(extract(epoch FROM replay_lag)) FROM pg_stat_replication)
    WHEN lsn = pg_last_wal_replay_lsn() AND EXISTS (SELECT FROM pg_stat_wal_receiver) THEN 0
    ELSE extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) END,
  'slots', (SELECT coalesce(json_agg(json_build_object('name', slot_name, 'lost', wal_status = 'lost',
    'mib', pg_wal_lsn_diff(lsn, restart_lsn) / 1048576)), '[]') FROM pg_replication_slots)
) FROM place
"""


def _agree(options: Mapping[str, Any], path: str) -> Iterable[str]:
    yield from limits_agree(LIMITS, options, path)
    if options["ca_path"] and options["sslmode"] not in VERIFYING:
        yield f"{path}.ca_path: sslmode {options['sslmode']} trusts any certificate; use {' or '.join(VERIFYING)}"
    if bool(options["client_cert"]) != bool(options["client_key"]):
        yield f"{path}.client_cert: client_cert and client_key need each other"
    if options["expect"] and not options["query"]:
        yield f"{path}.expect: there is no query whose result could be compared"


def evaluate(seen: Mapping[str, Any], answer: Optional[str], options: Mapping[str, Any]) -> Outcome:
    """Judge what the server says of itself, and the first value that the query brought."""
    role = REPLICA if seen["replica"] else PRIMARY
    used, limit = seen["connections"], max(1, seen["connections_limit"])
    connections = f"{used} of {limit} connections used"
    spent = 100 * seen["ids_used"] / ALL_IDS
    findings = [
        *wrong_role(role, options["role"]),
        *measure(100 * used / limit, "percent", f"{connections} ({100 * used / limit:.0f}%)", options),
        *_oldest(seen["transaction"], options),
        *measure(spent, "wraparound_percent", f"{spent:.0f}% of the transaction IDs used up", options),
        *_replication(seen, options),
        *_slots(seen["slots"], options),
        *_answer(answer, options),
    ]
    fine = [connections]
    if seen["replica"] or seen["replicas"]:
        lag = "unknown" if seen["lag_seconds"] is None else age(seen["lag_seconds"])
        fine += [f"lag {lag}" if seen["replica"] else f"replicas: {seen['replicas']}, lag {lag}"]
    if not seen["sees_all"]:
        fine += [f"transactions of others not seen (grant pg_read_all_stats to {options['user']})"]
    return verdict(f"PostgreSQL {seen['version']} {role}", findings, ", ".join(fine), seen)


def _oldest(transaction: Optional[Mapping[str, Any]], options: Mapping[str, Any]) -> Iterable[Finding]:
    if transaction:
        said = f"a transaction is open for {age(transaction['seconds'])} ({transaction['who']})"
        yield from measure(transaction["seconds"], "transaction_seconds", said, options)


def _replication(seen: Mapping[str, Any], options: Mapping[str, Any]) -> Iterable[Finding]:
    if seen["replica"] and not seen["streaming"]:
        yield DEGRADED, "nothing streams from a primary"
    if seen["lag_seconds"] is not None:
        who = "" if seen["replica"] else "a replica is "
        yield from measure(seen["lag_seconds"], "lag_seconds", f"{who}{age(seen['lag_seconds'])} behind", options)


def _slots(slots: Iterable[Mapping[str, Any]], options: Mapping[str, Any]) -> Iterable[Finding]:
    for slot in slots:
        if slot["lost"]:
            yield DEGRADED, f"slot {slot['name']} has lost its WAL: its replica must be made anew"
        elif slot["mib"] is not None:
            yield from measure(slot["mib"], "slot_mib", f"slot {slot['name']} keeps {slot['mib']:.0f} MiB", options)


def _answer(answer: Optional[str], options: Mapping[str, Any]) -> Iterable[Finding]:
    if options["expect"] and not re.search(options["expect"], answer or ""):
        said = "nothing" if answer is None else repr(excerpt(answer))
        yield UNHEALTHY, f"the query brought {said}, wanted text like {options['expect']!r}"


# -- The conversation ----------------------------------------------------------------------------------------


class _Session:
    """One connection of libpq that never waits beyond its deadline."""

    def __init__(self, pq: Any, conninfo: bytes, deadline: float) -> None:
        self._pq, self._deadline = pq, deadline
        self._libpq = pq.PGconn.connect_start(conninfo)
        state = pq.PollingStatus.FAILED if self._libpq.status == pq.ConnStatus.BAD else pq.PollingStatus.WRITING
        while state in (pq.PollingStatus.READING, pq.PollingStatus.WRITING):
            self._wait(select.POLLIN if state == pq.PollingStatus.READING else select.POLLOUT)
            state = self._libpq.connect_poll()
        if state != pq.PollingStatus.OK:
            raise self._broken()

    def until(self, deadline: float) -> None:
        self._deadline = deadline

    def ask(self, sql: str) -> Optional[str]:
        """The first value of the answer to one statement; None where there is none or it is null."""
        self._libpq.send_query_params(sql.encode(), None)
        value = None
        while True:
            while self._libpq.is_busy():
                self._wait(select.POLLIN)
                self._libpq.consume_input()
            result = self._libpq.get_result()
            if result is None:
                return value
            if result.status not in (self._pq.ExecStatus.TUPLES_OK, self._pq.ExecStatus.COMMAND_OK):
                raise self._broken(result)
            if result.ntuples and result.nfields:
                cell = result.get_value(0, 0)
                value = None if cell is None else cell.decode("utf-8", "replace")

    def close(self) -> None:
        self._libpq.finish()

    def _wait(self, event: int) -> None:
        poll = select.poll()
        poll.register(self._libpq.socket, event)
        left = self._deadline - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            raise TimeoutError

    def _broken(self, of: Any = None) -> Broken:
        return Broken((of or self._libpq).error_message.decode("utf-8", "replace").strip())


def _conninfo(options: Mapping[str, Any]) -> dict[str, Any]:
    """What would come from the environment or a home is named too: the instance that is meant is the one asked."""
    return {
        "host": options["host"],
        "hostaddr": "",
        "port": options["port"],
        "user": options["user"],
        "dbname": options["database"],
        "password": read_password(options),
        "passfile": "/dev/null/none",  # A device would be warned of.
        "options": "",
        "sslmode": options["sslmode"],
        "sslrootcert": options["ca_path"],
        "sslcert": options["client_cert"],
        "sslkey": options["client_key"],
        "application_name": "shipshape health",
        "client_encoding": "UTF8",
    }


def _talk(pq: Any, conninfo: str, options: Mapping[str, Any], timeout: float) -> Outcome:
    began = time.monotonic()
    session = _Session(pq, conninfo.encode(), began + min(options["connect_timeout"] or timeout, timeout))
    try:
        session.until(began + timeout)
        session.ask("BEGIN READ ONLY")
        # Nothing of ours runs on where nobody waits any more.
        session.ask(f"SET LOCAL statement_timeout = {round(timeout * 1000) + 1000}")
        seen = json.loads(session.ask(STATISTICS) or "{}")
        return evaluate(seen, session.ask(options["query"]) if options["query"] else None, options)
    finally:
        session.close()


def _run(options: Mapping[str, Any], timeout: float) -> Outcome:
    try:
        from psycopg import Error, pq
        from psycopg.conninfo import make_conninfo
    except ImportError:
        return missing("python3-psycopg", "psycopg")
    try:
        conninfo = make_conninfo(**{key: value for key, value in _conninfo(options).items() if value is not None})
        return _talk(pq, conninfo, options, timeout)
    except (Broken, Error) as exc:
        return Outcome(UNHEALTHY, str(exc))


PROBE = Probe(OPTIONS, _run, agree=_agree)
