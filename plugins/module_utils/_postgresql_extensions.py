# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Extensions of one database: what is created or updated, and what cannot work.

Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

from ._postgresql_model import Catalog, Database, Step, WantedDatabase, WantedExtension
from ._postgresql_sql import ident, literal

LATEST = "latest"
# CREATE EXTENSION takes these without the library too, and then every use of them fails; or it fails at once.
PRELOAD = (
    "pg_stat_statements",
    "pg_cron",
    "pg_qualstats",
    "pg_stat_kcache",
    "pg_wait_sampling",
    "pgaudit",
    "pg_squeeze",
    "pglogical",
    "citus",
    "timescaledb",
)
# Debian's packages, where the name does not follow from the extension's.
PACKAGES = {
    "vector": "postgresql-{0}-pgvector",
    "postgis": "postgresql-{0}-postgis-3",
    "pgaudit": "postgresql-{0}-pgaudit",
    "pglogical": "postgresql-{0}-pglogical",
    "plpython3u": "postgresql-plpython3-{0}",
    "plperl": "postgresql-plperl-{0}",
    "plperlu": "postgresql-plperl-{0}",
    "pltcl": "postgresql-pltcl-{0}",
    "pltclu": "postgresql-pltcl-{0}",
    "pg_qualstats": "postgresql-{0}-pg-qualstats",
    "pg_stat_kcache": "postgresql-{0}-pg-stat-kcache",
    "pg_wait_sampling": "postgresql-{0}-pg-wait-sampling",
}


def package(extension: str, version: int) -> str:
    """Which Debian package probably has it."""
    known = PACKAGES.get(extension)
    name = extension[3:] if extension.startswith("pg_") else extension
    return (known or "postgresql-{0}-" + name.replace("_", "-")).format(version // 10000)


def extension_steps(have: Database, wish: WantedDatabase, catalog: Catalog) -> list[Step]:
    steps = []
    for extension in wish.extensions:
        line = f"database {wish.name}: extension {extension.name}"
        now = have.extensions.get(extension.name)
        if now is None:
            sql = _create(extension)
            steps.append(Step(wish.name, sql, after=line + (f" {extension.version}" if extension.version else "")))
            continue
        target = extension.version
        if target == LATEST:
            target = catalog.available[extension.name].default if extension.name in catalog.available else None
        if target and target != now.version:
            sql = f"ALTER EXTENSION {ident(extension.name)} UPDATE TO {literal(target)}"
            steps.append(Step(wish.name, sql, f"{line} {now.version}", f"{line} {target}"))
        if extension.schema and extension.schema != now.schema:
            sql = f"ALTER EXTENSION {ident(extension.name)} SET SCHEMA {ident(extension.schema)}"
            steps.append(Step(wish.name, sql, f"{line} in {now.schema}", f"{line} in {extension.schema}"))
    return steps


def _create(extension: WantedExtension) -> str:
    schema = f" SCHEMA {ident(extension.schema)}" if extension.schema else ""
    version = f" VERSION {literal(extension.version)}" if extension.version not in (None, LATEST) else ""
    create = f"CREATE EXTENSION {ident(extension.name)}{schema}{version} CASCADE"
    if schema:
        return create
    # Where its control file names no schema, it lands in the first one of the path.
    return f"SET LOCAL search_path TO public; {create}; SET LOCAL search_path TO pg_catalog"


def extension_problems(have: Database | None, wish: WantedDatabase, catalog: Catalog) -> list[str]:
    problems = []
    for extension in wish.extensions:
        where = f"database {wish.name}: extension {extension.name}"
        now = have.extensions.get(extension.name) if have else None
        offer = catalog.available.get(extension.name)
        if now is None and offer is None:
            guess = package(extension.name, catalog.version)
            problems.append(f"{where} is not on this host: install its package, perhaps {guess}")
            continue
        if now is None and extension.name in PRELOAD and extension.name not in catalog.preloaded:
            problems.append(
                f"{where} works only if shared_preload_libraries has {extension.name} when the server starts:"
                " add it there and restart PostgreSQL first"
            )
        version = extension.version
        if version and version != LATEST and offer and version not in offer.versions:
            known = ", ".join(sorted(offer.versions))
            problems.append(f"{where} has no version {version}: give one of {known}, or latest")
        if extension.schema and now and now.schema != extension.schema and not now.relocatable:
            problems.append(
                f"{where} is in schema {now.schema} and cannot be moved to {extension.schema}: leave its schema out"
            )
        schemas = {*(have.schemas if have else ("public",)), *wish.schemas, "public", "pg_catalog"}
        if extension.schema and extension.schema not in schemas:
            problems.append(f"{where} needs schema {extension.schema}: add it to schemas")
    return problems
