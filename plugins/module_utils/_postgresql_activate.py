# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From files that are in place to a server that runs with them: reload or restart it, prove it, or take them back."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from . import _postgresql_cluster as server
from ._config_apply import Tools
from ._config_restore import ConfigError
from ._postgresql_cluster import Cluster
from ._postgresql_conf import Machine, Verdict, judge

CONF = "conf.d/50-shipshape.conf"
RELOAD_SECONDS = 15.0
CERTIFICATES = ("ssl_cert_file", "ssl_key_file", "ssl_ca_file")


@dataclass(frozen=True)
class Wanted:
    """The files as they shall be, and what is in them."""

    texts: dict[str, str]
    settings: dict[str, str]
    before: dict[str, str]
    machine: Machine
    memory: dict[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def transaction(cluster: Cluster) -> str:
    return f"postgresql-{cluster.version}-{cluster.name}".lower()


def ask(cluster: Cluster, wanted: Wanted) -> tuple[Verdict, bool]:
    """What the running server has left to do, and whether a certificate is newer than what it read."""
    address = cluster.address()
    if address is None:
        raise ConfigError(f"{cluster.unit} does not run: {server.last_words(cluster)}")
    with server.session(*address) as connection:
        live, winners, loaded = server.read_live(connection)
    verdict = judge(wanted.settings, wanted.before, live, winners, f"{cluster.folder}/{CONF}")
    keys = [wanted.settings.get(name, "") for name in CERTIFICATES]
    return verdict, any(os.path.exists(path) and os.stat(path).st_mtime > loaded for path in keys if path)


def serving(cluster: Cluster) -> tuple[str, int]:
    """The addresses and the port that the server runs with."""
    address = cluster.address()
    if address is None:
        raise ConfigError(f"{cluster.unit} does not run")
    with server.session(*address) as connection:
        return str(connection.execute("SHOW listen_addresses").fetchone()[0]), address[1]


def reload(cluster: Cluster, wanted: Wanted) -> Verdict:
    """Read the files anew, until the server shows their values."""
    address = cluster.address()
    if address is None:
        raise ConfigError(f"{cluster.unit} does not run")
    with server.session(*address) as connection:
        *_live, loaded = server.read_live(connection)
        connection.execute("SELECT pg_reload_conf()")
        found = Verdict()

        def done() -> bool:
            nonlocal found
            live, winners, now = server.read_live(connection)
            found = judge(wanted.settings, wanted.before, live, winners, f"{cluster.folder}/{CONF}")
            return now > loaded and not found.reload

        if not server.wait(done, RELOAD_SECONDS):
            raise ConfigError(f"the server did not take {', '.join(found.reload) or 'the files'} at a reload")
    return found


def restart(cluster: Cluster, wanted: Wanted, seconds: int) -> Verdict:
    address = cluster.address()
    if address:
        with server.session(*address) as connection:
            # While clients are served: what is left for the stop is short.
            connection.execute(f"SET statement_timeout = '{seconds}s'")
            connection.execute("CHECKPOINT")
    server.systemctl("restart", cluster, seconds)
    verdict, _newer = ask(cluster, wanted)
    if verdict.restart or verdict.reload:
        raise ConfigError(f"restarted, but it does not run with {', '.join(verdict.restart + verdict.reload)}")
    return verdict


def serve(params: Mapping[str, Any], cluster: Cluster, wanted: Wanted, fresh: bool) -> dict[str, Any]:
    """Bring the server to what its files say. `fresh`: they changed, or nobody confirmed that they were taken."""
    done = {"started": False, "reloaded": False, "restarted": False}
    if not server.answers(cluster):
        server.systemctl("start", cluster, params["restart_timeout"])
        done["started"] = True
    verdict, newer = ask(cluster, wanted)
    if not done["started"] and (fresh or newer or verdict.reload):
        verdict = reload(cluster, wanted)
        done["reloaded"] = True
    if verdict.restart and params["restart"] == "auto":
        verdict = restart(cluster, wanted, params["restart_timeout"])
        done["restarted"] = True
    silent = server.deaf(*serving(cluster))
    if silent:
        raise ConfigError(f"it does not answer on {', '.join(silent)}: another program has the port there")
    return {**done, "restart_needed": list(verdict.restart), "shadowed": list(verdict.shadowed)}


def take_back(cluster: Cluster, tools: Tools, seconds: int, cause: ConfigError) -> ConfigError:
    """The old files, and a server that runs with them."""
    unit = f"shipshape-rollback-{transaction(cluster)}.service"
    tools.run(["systemctl", "start", unit])
    if server.wait(lambda: server.answers(cluster), seconds):
        return ConfigError(f"The old files are back and the server answers. {cause}")
    return ConfigError(
        f"The old files are back, but {cluster.unit} does not answer: {server.last_words(cluster)} {cause}"
    )
