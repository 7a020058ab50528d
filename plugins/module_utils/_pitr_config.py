# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Point in time recovery: what may be said of it, and the files of pgBackRest and PostgreSQL that follow.

Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Optional

from ._backup_keys import CRON

# pgBackRest looks for this file first; the package's own is /etc/pgbackrest.conf, which stays as it is.
CONFIG = "/etc/pgbackrest/pgbackrest.conf"
# After the role postgresql's own file, so that this one decides.
CONF = "conf.d/60-shipshape-pitr.conf"
HEADER = "# Written by shipshape.stack.backup_pitr: changes made here are lost."
SPOOL = "/var/spool/pgbackrest"
SEGMENT = 16 << 20
SIZE = re.compile(r"([0-9]+)(KiB|MiB|GiB|TiB)")
UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
OPTION = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
SECRET = re.compile(r"repo[0-9]+-.*(-pass|-key|-key-secret|-token)")
# Both are needed of s3, and others of other kinds, which pgBackRest asks for itself.
S3 = ("repo1-s3-bucket", "repo1-s3-endpoint", "repo1-s3-region")
LOCATION = (
    "repo1-type",
    "repo1-host",
    "repo1-s3-endpoint",
    "repo1-s3-bucket",
    "repo1-azure-container",
    "repo1-gcs-bucket",
)
DECIDED = {
    "stanza": "backup_host_name",
    "repo1-path": "backup_pitr_repository",
    "repo1-retention-full": "backup_pitr_days",
    "repo1-retention-full-type": "backup_pitr_days",
    "archive-push-queue-max": "backup_pitr_queue_max",
    "repo1-cipher-type": "backup_pitr_secrets",
}
# A differential backup each day, and two hours for it to be made.
MAX_AGE = 93600


def size(text: str) -> int:
    """Bytes, or 0 for what is no size."""
    found = SIZE.fullmatch(text)
    return int(found[1]) * UNITS[found[2]] if found else 0


def stanza(host: str) -> str:
    """What the cluster is called in the repository; it becomes a folder there."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", host).strip("-")


def component(components: Iterable[Mapping[str, Any]]) -> Optional[Mapping[str, Any]]:
    """The cluster: the first PostgreSQL among the components that is reached by its socket, so lies on this host."""
    for each in components:
        if each.get("type") == "postgresql" and each.get("host", "/").startswith("/"):
            return each
    return None


def config(options: Mapping[str, Any]) -> dict[str, Any]:
    """What the command needs to know; the rest it asks pgBackRest."""
    if not options.get("backup_pitr"):
        return {}
    found = component(options["backup_components"]) or {}
    return {
        "stanza": stanza(options["backup_host_name"]),
        "port": found.get("port", 5432),
        "repository": options["backup_pitr_repository"] if is_local(options["backup_pitr_settings"]) else "",
        "archive_timeout": options["backup_pitr_archive_timeout"],
        "queue_max": size(options["backup_pitr_queue_max"]),
    }


def is_local(settings: Mapping[str, Any]) -> bool:
    return settings.get("repo1-type", "posix") == "posix" and "repo1-host" not in settings


def problems(options: Mapping[str, Any]) -> list[str]:
    """All that is wrong with the options of the role, without any secret."""
    return list(_problems(options)) if options.get("backup_pitr") else []


def _problems(options: Mapping[str, Any]) -> Iterator[str]:
    settings, secrets = options["backup_pitr_settings"], options["backup_pitr_secrets"]
    if component(options["backup_components"]) is None:
        yield (
            "backup_pitr needs a component of the type postgresql that is reached by a socket on this host: add one to"
            " backup_components"
        )
    if not stanza(options["backup_host_name"]):
        yield f"backup_host_name is {options['backup_host_name']!r}: pgBackRest needs letters or digits in it"
    if not re.fullmatch(r"/[^\n]+", options["backup_pitr_repository"]):
        yield f"backup_pitr_repository is {options['backup_pitr_repository']!r}: a folder, which begins with /"
    if options["backup_pitr_days"] < 1:
        yield f"backup_pitr_days is {options['backup_pitr_days']}: at least 1"
    if not 10 <= options["backup_pitr_archive_timeout"] <= 3600:
        yield (
            f"backup_pitr_archive_timeout is {options['backup_pitr_archive_timeout']}: 10 to 3600 seconds. It is what a"
            " host that is lost may take along"
        )
    if size(options["backup_pitr_queue_max"]) < 4 * SEGMENT:
        yield f"backup_pitr_queue_max is {options['backup_pitr_queue_max']!r}: 64MiB or more, such as 1GiB"
    for name in ("full", "diff"):
        cron = options[f"backup_pitr_{name}"]
        if not CRON.fullmatch(cron):
            yield f"backup_pitr_{name} is {cron!r}: five fields as in crontab(5), such as '0 1 * * 0'"
    yield from _settings(settings)
    yield from _secrets(settings, secrets, options["backup_pitr_escrow"])


def _settings(settings: Mapping[str, Any]) -> Iterator[str]:
    for name, value in sorted(settings.items()):
        where = f"backup_pitr_settings.{name}"
        if SECRET.fullmatch(name):
            yield f"{where} is a secret: put it into backup_pitr_secrets"
        elif name.startswith("pg") and re.match(r"pg[0-9]", name):
            yield f"{where} is found out on the host: remove it"
        elif name in DECIDED:
            yield f"{where} is decided by {DECIDED[name]}: remove it"
        elif not OPTION.fullmatch(name):
            yield f"{where}: no option of pgBackRest looks like that; it is written as in its file, such as process-max"
        elif not isinstance(value, (str, int)) or "\n" in str(value):
            yield f"{where} must be a text, a number, true or false, in one line"
    if settings.get("repo1-type") == "s3":
        for name in S3:
            if not settings.get(name):
                yield f"backup_pitr_settings.{name} is missing: a repository in S3 needs it"


def _secrets(settings: Mapping[str, Any], secrets: Mapping[str, Any], escrow: str) -> Iterator[str]:
    for name, value in sorted(secrets.items()):
        if not SECRET.fullmatch(name):
            yield (
                f"backup_pitr_secrets.{name} is no secret of pgBackRest, such as repo1-cipher-pass or repo1-s3-key:"
                " put it into backup_pitr_settings"
            )
        elif not isinstance(value, str) or not value.strip() or "\n" in value:
            yield f"backup_pitr_secrets.{name} must be a text in one line, and not empty"
    if "repo1-cipher-pass" not in secrets and not is_local(settings):
        yield (
            "backup_pitr_secrets has no repo1-cipher-pass: a repository that is not a folder of this host has to be"
            " encrypted"
        )
    if "repo1-cipher-pass" in secrets and not escrow:
        yield (
            "backup_pitr_escrow is empty: say where a copy of repo1-cipher-pass is kept outside of this host. Without"
            " it the backups are lost together with the host"
        )


def shape(document: Any) -> Iterator[str]:
    """What is wrong with C(pitr) in backup.json."""
    kinds = {"stanza": str, "port": int, "repository": str, "archive_timeout": int, "queue_max": int}
    if document and set(document) != set(kinds):
        yield f"pitr must have {', '.join(sorted(kinds))}"
        return
    for name, value in document.items():
        if not isinstance(value, kinds[name]) or isinstance(value, bool):
            yield f"pitr.{name} is {value!r}: a {'text' if kinds[name] is str else 'whole number'} is needed"


def pgbackrest_conf(wish: Mapping[str, Any], data: str, socket: str, hidden: bool = False) -> str:
    """The file of pgBackRest; with C(hidden) as it may be shown."""
    settings = {**defaults(wish), **wish["settings"]}
    lines = [HEADER, "", "[global]", *(f"{name}={_value(value)}" for name, value in sorted(settings.items()))]
    lines += [f"{name}={'(hidden)' if hidden else value}" for name, value in sorted(wish["secrets"].items())]
    lines += ["", f"[{wish['stanza']}]", f"pg1-path={data}", f"pg1-port={wish['port']}", f"pg1-socket-path={socket}"]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    return ("y" if value else "n") if isinstance(value, bool) else str(value)


def defaults(wish: Mapping[str, Any]) -> dict[str, Any]:
    """Of these, what the user says otherwise wins."""
    found = {
        "repo1-path": wish["repository"],
        "repo1-retention-full-type": "time",
        "repo1-retention-full": wish["days"],
        "repo1-bundle": True,
        "compress-type": "zst",
        "process-max": 2,
        # Else a backup waits for a checkpoint that may be far.
        "start-fast": True,
        "archive-push-queue-max": size(wish["queue_max"]),
        "log-level-console": "warn",
        "log-level-file": "info",
    }
    if "repo1-cipher-pass" in wish["secrets"]:
        found["repo1-cipher-type"] = "aes-256-cbc"
    if not is_local(wish["settings"]):
        # Many segments over one connection; a folder is as fast without.
        found.update({"archive-async": True, "spool-path": SPOOL})
    return found


def location(wish: Mapping[str, Any]) -> str:
    """Which repository it is. In the cluster's file it says that there was a stanza in it."""
    parts = [wish["stanza"], wish["repository"]]
    parts += [str(wish["settings"][name]) for name in LOCATION if name in wish["settings"]]
    return f"# Repository: {' '.join(parts)}"


def postgresql_conf(wish: Mapping[str, Any]) -> str:
    name, archive_timeout = wish["stanza"], wish["archive_timeout"]
    return (
        f"{HEADER}\n{location(wish)}\narchive_mode = on\n"
        f"archive_command = 'pgbackrest --stanza={name} archive-push %p'\n"
        f"archive_timeout = {archive_timeout}\n"
    )


# For a server that may not be restarted yet: with an empty archive_command it would keep all of its WAL.
LEAVING = f"{HEADER}\narchive_mode = off\narchive_command = '/bin/true'\n"
