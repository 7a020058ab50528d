# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a database is counted when it is dumped, and again when the dump was restored.

Pure: the questions only. Whoever makes a manifest and whoever checks one ask the same.
"""

from __future__ import annotations

# What an extension brought along is not dumped, and the server's own is in every database.
OURS = """
  n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_toast%'
  AND n.nspname NOT LIKE 'pg\\_temp\\_%' AND c.relpersistence <> 't'
  AND NOT EXISTS (SELECT FROM pg_depend d
    WHERE d.objid = c.oid AND d.classid = 'pg_class'::regclass AND d.deptype = 'e')
"""
# Tables that hold rows themselves. Rows of an unlogged one are dumped, too.
TABLES = f"""
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND {OURS} ORDER BY 1, 2
"""  # noqa: S608
# An index that was not finished is not dumped, so it does not count.
SCHEMA = f"""
WITH ours AS (SELECT c.oid, c.relkind FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {OURS})
SELECT json_build_object(
  'tables', (SELECT count(*) FROM ours WHERE relkind IN ('r', 'p')),
  'columns', (SELECT count(*) FROM pg_attribute JOIN ours ON ours.oid = attrelid
    WHERE relkind IN ('r', 'p') AND attnum > 0 AND NOT attisdropped),
  'indexes', (SELECT count(*) FROM pg_index i JOIN ours ON ours.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
    WHERE i.indisready AND (i.indisvalid OR t.relkind = 'p')),
  'constraints', (SELECT count(*) FROM pg_constraint JOIN ours ON ours.oid = conrelid WHERE contype <> 'n'),
  'sequences', (SELECT count(*) FROM ours WHERE relkind = 'S'),
  'views', (SELECT count(*) FROM ours WHERE relkind IN ('v', 'm')),
  'extensions', (SELECT coalesce(json_agg(extname ORDER BY extname), '[]') FROM pg_extension))
"""  # noqa: S608
# Where tools of migrations keep what the schema is at; the first table that is there answers.
REVISIONS = (
    ("alembic_version", "SELECT string_agg(version_num, ',' ORDER BY version_num) FROM public.alembic_version"),
    ("schema_migrations", "SELECT max(version) FROM public.schema_migrations"),
    ("django_migrations", "SELECT max(id) FROM public.django_migrations"),
    ("flyway_schema_history", "SELECT max(installed_rank) FROM public.flyway_schema_history"),
    ("revisions", "SELECT max(revision) FROM public.revisions"),
)


def quoted(name: str) -> str:
    """A name as SQL takes it."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as SQL takes it, whatever standard_conforming_strings is."""
    doubled = text.replace("'", "''")
    return f"'{doubled}'" if "\\" not in text else "E'" + doubled.replace("\\", "\\\\") + "'"
