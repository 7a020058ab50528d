# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what is wanted of a cluster to files: work them out, try them, write them, and have the server run with them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, Optional

from . import _machine_limits as limits
from . import _postgresql_cluster as server
from . import _postgresql_scratch as scratch
from ._config_apply import Tools, converge, predict, recover
from ._config_entries import Request, parse
from ._config_files import read_text
from ._config_restore import ConfigError
from ._postgresql_activate import CERTIFICATES, CONF, Wanted, ask, serve, take_back, transaction
from ._postgresql_cluster import Cluster
from ._postgresql_conf import Machine, conf_text, merge, parse_conf, steady, text_of
from ._postgresql_hba import hba_text, ident_text
from ._postgresql_tuning import tune

HEADER = "# Written by shipshape.stack.postgresql_config: changes made here are lost."
# A checkpoint, a restart and what is proven after it, each in its own time; only a run that was killed waits for it.
GUARD_EXTRA_SECONDS = 120
STARTS = re.compile(r"^auto\b", re.MULTILINE)  # with the host
EMPTY: dict[str, Any] = {
    "created": False,
    "port": 0,
    "changed_files": [],
    "started": False,
    "reloaded": False,
    "restarted": False,
    "restart_needed": [],
    "shadowed": [],
    "memory": {},
    "settings": {},
    "warnings": [],
}


def measure(cluster: Cluster) -> Machine:
    """What there is for everybody, and what the unit may take of it."""
    return Machine(
        limits.memory_mb(None),
        limits.cpus(cluster.unit),
        limits.disk_kind(cluster.data),
        room_mb(os.path.realpath(f"{cluster.data}/pg_wal")),
    )


def room_mb(folder: str) -> int:
    """What is free for WAL, or WAL already: without that it would be moved by the WAL itself."""
    with os.scandir(folder) as entries:
        taken = sum(entry.stat().st_size for entry in entries if entry.is_file())
    return limits.free_mb(folder) + taken // 1024**2


def limit_mb(cluster: Cluster, machine: Machine) -> Optional[int]:
    """The unit's own limit: from its cgroup where it runs, from systemd where it is yet to; None for none."""
    asked = ["systemctl", "show", "--property=MemoryMax", "--value", cluster.unit]
    shown = server.run(asked, "systemctl show").strip()
    limit = min(limits.memory_mb(cluster.unit), int(shown) // 1024**2 if shown.isdigit() else machine.memory_mb)
    return limit if limit < machine.memory_mb else None


def wishes(params: Mapping[str, Any], cluster: Cluster, machine: Machine) -> dict[str, Any]:
    standby = cluster.standby
    return {
        "memory_mb": machine.memory_mb,
        "limit_mb": limit_mb(cluster, machine),
        "cpus": machine.cpus,
        "disk": machine.disk,
        "wal_free_mb": machine.wal_free_mb,
        "version": cluster.version,
        "role": "standby" if standby else "primary",
        "primary": server.primary_values(cluster) if standby else {},
        "profile": params["profile"],
        "connections": params["connections"],
        "claims_mb": params["claims_mb"],
        "share_mb": params["memory_mb"],
        "overrides": {name: text_of(value) for name, value in params["settings"].items() if value is not None},
    }


def work_out(params: Mapping[str, Any], cluster: Cluster) -> Wanted:
    conf = f"{cluster.folder}/{CONF}"
    old = read_text(conf)
    machine = steady(old, measure(cluster))
    tuned: dict[str, Any] = {"settings": {}, "memory": {}, "warnings": []}
    if params["tuning"] == "auto":
        tuned = tune(wishes(params, cluster, machine))
    settings = merge(tuned["settings"], params["settings"])
    texts = {conf: conf_text(settings, HEADER, machine if params["tuning"] == "auto" else None)}
    if params["hba"] is not None:
        texts[f"{cluster.folder}/pg_hba.conf"] = hba_text(params["hba"], HEADER)
        texts[f"{cluster.folder}/pg_ident.conf"] = ident_text(params["ident"], HEADER)
    return Wanted(
        texts,
        {name: setting["value"] for name, setting in settings.items()},
        parse_conf(old),
        machine,
        tuned["memory"],
        tuple(tuned["warnings"]),
    )


def request(params: Mapping[str, Any], cluster: Cluster, wanted: Wanted) -> Request:
    """The files as a transaction; a timer on the host takes it back should this run never come to its end."""
    files = [{"dest": f"{cluster.folder}/conf.d", "state": "directory", "mode": "0755"}]
    texts = dict(wanted.texts)
    if not STARTS.search(read_text(f"{cluster.folder}/start.conf")):
        texts[f"{cluster.folder}/start.conf"] = f"{HEADER}\nauto\n"
    files += [
        {"dest": path, "content": text, "mode": "0640", "owner": "postgres", "group": "postgres"}
        for path, text in texts.items()
    ]
    asked = {
        "name": transaction(cluster),
        "files": files,
        "rollback": {
            "seconds": 2 * params["restart_timeout"] + GUARD_EXTRA_SECONDS,
            "command": ["systemctl", "restart", cluster.unit],
        },
    }
    contents = {path: text.encode("utf-8", "surrogateescape") for path, text in texts.items()}
    owner = os.stat(cluster.data)

    def user(name: str) -> int:
        return owner.st_uid if name == server.OWNER else 0

    def group(name: str) -> int:
        return owner.st_gid if name == server.OWNER else 0

    return parse(asked, contents, user, group)


def describe(verdict: Mapping[str, Any], wanted: Wanted, policy: str) -> list[str]:
    found = list(wanted.warnings)
    if verdict["shadowed"]:
        found.append(
            f"{', '.join(verdict['shadowed'])}: decided by ALTER SYSTEM or by another file, not by this task. Remove"
            " that with ALTER SYSTEM RESET, or from the file"
        )
    if verdict["restart_needed"] and policy == "never":
        found.append(f"{', '.join(verdict['restart_needed'])}: in effect after a restart of the server only")
    return found


def reconcile(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    tools = Tools()
    recovered = [] if check_mode else recover(tools)
    hba_text(params["hba"] or [{"type": "local"}], "")  # refused before a cluster is made
    if server.library_missing():
        if check_mode:  # an earlier task would have installed it
            return {**EMPTY, "changed": True}
        raise ConfigError(server.library_missing())
    cluster, created = server.find(params["version"], params["cluster"]), False
    if cluster is None:
        refuse_port(params, None)
        if check_mode:
            return {**EMPTY, "changed": True, "created": True, "started": True}
        require_packages(params["version"])
        cluster = server.create(
            params["version"], params["cluster"], params["data_directory"], params["initdb_options"]
        )
        created = True
    refuse_port(params, cluster)
    wanted = work_out(params, cluster)
    asked = request(params, cluster, wanted)
    found = predict(asked, tools)
    if found["changed_files"] and not (check_mode and certificate_missing(wanted)):
        most = limit_mb(cluster, wanted.machine) or wanted.machine.memory_mb
        scratch.check(cluster, wanted.texts, wanted.settings, most)
    if check_mode:
        verdict = foresee(cluster, wanted, found, params["restart"])
    else:
        found = converge(asked, tools)
        verdict = land(params, cluster, wanted, tools, found)
    done = any(verdict[key] for key in ("started", "reloaded", "restarted"))
    return {
        **verdict,
        "changed": bool(found["changed_files"] or created or done or recovered),
        "changed_files": found["changed_files"],
        "created": created,
        "port": (cluster.address() or ("", 0))[1],
        "memory": wanted.memory,
        "settings": wanted.settings,
        "diff": found["diff"],
        "warnings": describe(verdict, wanted, params["restart"]),
    }


def land(
    params: Mapping[str, Any], cluster: Cluster, wanted: Wanted, tools: Tools, found: Mapping[str, Any]
) -> dict[str, Any]:
    try:
        verdict = serve(params, cluster, wanted, bool(found["pending_files"]))
    except ConfigError as exc:
        if found["pending_files"]:
            raise take_back(cluster, tools, params["restart_timeout"], exc) from exc
        raise
    if found["pending_files"]:
        converge(parse({"name": transaction(cluster), "state": "confirmed"}, {}, int, int), tools)
    return verdict


def foresee(cluster: Cluster, wanted: Wanted, found: Mapping[str, Any], policy: str) -> dict[str, Any]:
    """What serve() would do."""
    if not server.answers(cluster):
        return {**EMPTY, "started": True}
    verdict, newer = ask(cluster, wanted)
    restarts = bool(verdict.restart) and policy == "auto"
    reloads = bool(found["pending_files"] or newer or verdict.reload)
    told = {"reloaded": reloads, "restarted": restarts}
    return {**EMPTY, **told, "restart_needed": list(verdict.restart), "shadowed": list(verdict.shadowed)}


def certificate_missing(wanted: Wanted) -> bool:
    """An earlier task would have made it, had this not been check mode."""
    paths = [wanted.settings.get(name) for name in CERTIFICATES]
    return any(path and path.startswith("/") and not os.path.exists(path) for path in paths)


def require_packages(version: int) -> None:
    if not os.path.exists(f"/usr/lib/postgresql/{version}/bin/postgres"):
        raise ConfigError(f"PostgreSQL {version} is not installed: install the package postgresql-{version} first")


def refuse_port(params: Mapping[str, Any], own: Optional[Cluster]) -> None:
    """Another cluster that runs on the port wanted, such as the old version after an upgrade of the system."""
    port = str(params["settings"].get("port", 5432))
    for each in server.clusters():
        if own and (str(each["version"]), each["cluster"]) == (str(own.version), own.name):
            continue
        if each["running"] and each["port"] == port:
            raise ConfigError(
                f"port {port} is in use by the cluster {each['version']}/{each['cluster']}. Upgrade that one with"
                f" pg_upgradecluster {each['version']} {each['cluster']}, or set another port"
            )
