"""A model of a cluster that reads the SQL of steps: what PostgreSQL does with each statement, as far as plans look."""

from __future__ import annotations

import re
from dataclasses import replace

from ansible_collections.shipshape.stack.plugins.module_utils._postgresql_model import (
    DATABASE_OWNER,
    FLAGS,
    Catalog,
    Extension,
    Relation,
    Role,
    Schema,
)

NAME = r'"((?:[^"]|"")+)"'
VALUE = r"(E?'(?:[^']|'')*')"
WHO = r'(PUBLIC|"(?:[^"]|"")+")'
KINDS = {"TABLES": "table", "SEQUENCES": "sequence", "SCHEMAS": "schema"}


def plain(quoted):
    return "" if quoted == "PUBLIC" else quoted[1:-1].replace('""', '"')


def value(quoted):
    text = quoted.removeprefix("E")[1:-1].replace("''", "'")
    return text.replace("\\\\", "\\") if quoted.startswith("E") else text


class Cluster:
    def __init__(self, catalog: Catalog) -> None:
        self.version, self.catalog = catalog.version, catalog
        self.roles, self.databases = dict(catalog.roles), dict(catalog.databases)
        self.mentioned = set(catalog.mentioned)

    def run(self, steps) -> Catalog:
        for step in steps:
            for sql in step.sql.split("; ") if not step.sql.startswith("DO ") else [step.sql.rpartition("; ")[2]]:
                self._statement(step.database, sql)
            if step.script is not None:
                self._import(step.database, step.owner)
        return replace(
            self.catalog, roles=self.roles, databases=self.databases, mentioned=frozenset(self.mentioned), owned=()
        )

    def _statement(self, database, sql):
        rules = {
            rf"CREATE ROLE {NAME} WITH (.*)": self._create_role,
            rf"ALTER ROLE {NAME} WITH (.*)": self._alter_role,
            rf"ALTER (ROLE|DATABASE) {NAME} SET (\S+) TO (.*)": self._set,
            rf"ALTER (ROLE|DATABASE) {NAME} RESET (\S+)": self._reset,
            rf"(GRANT|REVOKE) {NAME} (?:TO|FROM) {NAME}(?: GRANTED BY {NAME})?": self._member,
            rf"DROP ROLE {NAME}": self.roles.pop,
            rf"DROP DATABASE {NAME}": self.databases.pop,
            rf"CREATE DATABASE {NAME} OWNER {NAME} ENCODING {VALUE}(.*)": self._create_database,
            rf"ALTER DATABASE {NAME} OWNER TO {NAME}": self._own_database,
            rf"ALTER DATABASE {NAME} CONNECTION LIMIT (-?\d+)": self._limit_database,
            rf"CREATE SCHEMA {NAME} AUTHORIZATION {NAME}": lambda *words: self._create_schema(database, *words),
            rf"ALTER SCHEMA {NAME} OWNER TO {NAME}": lambda *words: self._own_schema(database, *words),
            rf"CREATE EXTENSION {NAME}(?: SCHEMA {NAME})?(?: VERSION {VALUE})? CASCADE": (
                lambda *words: self._create_extension(database, *words)
            ),
            rf"ALTER EXTENSION {NAME} UPDATE TO {VALUE}": lambda name, to: self._extension(
                database, name, version=value(to)
            ),
            rf"ALTER EXTENSION {NAME} SET SCHEMA {NAME}": lambda name, to: self._extension(database, name, schema=to),
            rf"(GRANT|REVOKE) (.*) ON (DATABASE|SCHEMA|TABLE|SEQUENCE) (.*) (?:TO|FROM) {WHO}": (
                lambda *words: self._grant(database, *words)
            ),
            rf"ALTER DEFAULT PRIVILEGES FOR ROLE {NAME} (GRANT|REVOKE) (.*) ON (\w+) (?:TO|FROM) {NAME}": (
                lambda *words: self._default(database, *words)
            ),
            rf"DROP OWNED BY {NAME}": lambda name: self.mentioned.discard((name, database)),
            r"SET LOCAL search_path TO (public|pg_catalog)": lambda _path: None,
        }
        for pattern, effect in rules.items():
            found = re.fullmatch(pattern, sql, re.DOTALL)
            if found:
                # What is still within its quotes is read by plain().
                effect(*(part if not part or part[0] == '"' else part.replace('""', '"') for part in found.groups()))
                return
        raise AssertionError(f"no such statement: {sql}")

    def _create_role(self, name, words):
        assert name not in self.roles
        self.roles[name] = Role(name, frozenset(flag for flag in FLAGS if flag.upper() in words.split()))

    def _alter_role(self, name, words):
        role = self.roles[name]
        limit, until = re.fullmatch(r"CONNECTION LIMIT (-?\d+)", words), re.fullmatch(f"VALID UNTIL {VALUE}", words)
        password = re.fullmatch(f"PASSWORD {VALUE}", words)
        if limit:
            role = replace(role, connection_limit=int(limit[1]))
        elif until:
            role = replace(role, valid_until=value(until[1]).removesuffix("+00"))
        elif password:
            role = replace(role, verifier=value(password[1]))
        elif words.startswith("NO"):
            role = replace(role, flags=role.flags - {words[2:].lower()})
        else:
            role = replace(role, flags=role.flags | {words.lower()})
        self.roles[name] = role

    def _owner_of_settings(self, kind, name):
        return self.roles if kind == "ROLE" else self.databases, name

    def _set(self, kind, name, setting, values):
        place, name = self._owner_of_settings(kind, name)
        parts = [value(part) for part in re.findall(VALUE, values)]
        stored = ", ".join(f'"{part}"' for part in parts) if "search_path" in setting else parts[0]
        place[name] = replace(place[name], settings={**place[name].settings, setting.replace('"', ""): stored})

    def _reset(self, kind, name, setting):
        place, name = self._owner_of_settings(kind, name)
        rest = {key: one for key, one in place[name].settings.items() if key != setting.replace('"', "")}
        place[name] = replace(place[name], settings=rest)

    def _member(self, verb, group, name, grantor):
        role = self.roles[name]
        assert group in self.roles
        if verb == "GRANT":
            role = replace(role, member_of=role.member_of | {(group, "postgres")})
        elif self.version >= 160000:
            assert (group, grantor) in role.member_of
            role = replace(role, member_of=role.member_of - {(group, grantor)})
        else:
            assert grantor is None
            role = replace(role, member_of=frozenset(one for one in role.member_of if one[0] != group))
        self.roles[name] = role

    def _create_database(self, name, owner, encoding, words):
        assert owner in self.roles
        assert "TEMPLATE" in words
        self.databases[name] = replace(self.catalog.fresh(name, owner), encoding=value(encoding))

    def _own_database(self, name, owner):
        database = self.databases[name]
        self.databases[name] = replace(database, owner=owner, acl=self._moved(database.acl, database.owner, owner))

    @staticmethod
    def _moved(acl, old, new):
        return frozenset((new if role == old else role, privilege) for role, privilege in acl)

    def _limit_database(self, name, limit):
        self.databases[name] = replace(self.databases[name], connection_limit=int(limit))

    def _schema(self, database, name, schema):
        have = self.databases[database]
        self.databases[database] = replace(have, schemas={**have.schemas, name: schema})

    def _create_schema(self, database, name, owner):
        assert name not in self.databases[database].schemas
        acl = {
            (who, right)
            for by, kind, who, right in self.databases[database].defaults
            if (by, kind) == (owner, "schema")
        }
        self._schema(database, name, Schema(owner, frozenset(acl)))

    def _own_schema(self, database, name, owner):
        old = self.databases[database].schemas[name]
        self._schema(database, name, Schema(owner, self._moved(old.acl, old.owner, owner)))

    def _create_extension(self, database, name, schema, version):
        have = self.databases[database]
        assert name not in have.extensions
        new = Extension(value(version) if version else self.catalog.available[name].default, schema or "public")
        self.databases[database] = replace(have, extensions={**have.extensions, name: new})

    def _extension(self, database, name, **more):
        have = self.databases[database]
        new = replace(have.extensions[name], **more)
        self.databases[database] = replace(have, extensions={**have.extensions, name: new})

    def _grant(self, database, verb, privileges, kind, names, who):
        have = self.databases[database]
        pairs = {(plain(who), privilege) for privilege in privileges.split(", ")}

        def change(acl):
            assert bool(pairs & acl) == (verb == "REVOKE"), f"nothing to {verb}: {pairs} in {acl}"
            return acl | pairs if verb == "GRANT" else acl - pairs

        targets = [tuple(map(plain, re.findall(r'"(?:[^"]|"")+"', one))) for one in names.split(", ")]
        if kind == "DATABASE":
            assert targets == [(database,)]
            self.databases[database] = replace(have, acl=change(have.acl))
        elif kind == "SCHEMA":
            schema = have.schemas[targets[0][0]]
            self._schema(database, targets[0][0], replace(schema, acl=change(schema.acl)))
        else:
            relations = [
                replace(one, acl=change(one.acl)) if (one.schema, one.name) in targets else one
                for one in have.relations
            ]
            self.databases[database] = replace(have, relations=tuple(relations))

    def _default(self, database, creator, verb, privileges, kinds, who):
        have = self.databases[database]
        rows = {(creator, KINDS[kinds], who, privilege) for privilege in privileges.split(", ")}
        defaults = have.defaults | rows if verb == "GRANT" else have.defaults - rows
        assert defaults != have.defaults
        self.databases[database] = replace(have, defaults=defaults)

    def _import(self, database, owner):
        self.create_tables(database, owner, [(name, f"imported_{name}") for name in ("public",)])

    def create_tables(self, database, owner, names):
        """The next migration: default privileges count."""
        have = self.databases[database]
        new = []
        for schema, name in names:
            for kind in ("table", "sequence"):
                acl = {(who, right) for by, what, who, right in have.defaults if (by, what) == (owner, kind)}
                new.append(Relation(schema, f"{name}_{kind}", kind, owner, frozenset(acl)))
        self.databases[database] = replace(have, relations=(*have.relations, *new))


def effective_owner(database, schema):
    owner = database.schemas[schema].owner
    return database.owner if owner == DATABASE_OWNER else owner
