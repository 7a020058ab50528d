"""postgresql_objects on real servers, PostgreSQL 15 and 17: who can do what, what stays secret, what is refused."""

from __future__ import annotations

import base64
import concurrent.futures
import json
import re

import pytest

from .conftest import until

# Forty plans against real servers; the scenarios of the role stand for it on every commit.
pytestmark = pytest.mark.nightly

INSTALL = (
    "apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -qqy --no-install-recommends"
    " postgresql python3-psycopg >/dev/null 2>&1"
)
PASSWORDS = {"shop": "s3cret'x\\y \"z", "clerk": "pässwörd-ﬁ", "report": "r3port-pass"}
STRANGER = "str4nger'\\pass"
ROLES = [
    {"name": "shop"},
    {"name": "clerk", "connection_limit": 5, "valid_until": "2090-01-01"},
    {"name": "report", "settings": {"statement_timeout": "30s", "search_path": 'public, "$user"'}},
    {"name": "stranger", "password": STRANGER},
]
SHOP = {
    "name": "shop",
    "owner": "shop",
    "locale": "C.UTF-8",
    "schemas": [{"name": "app"}],
    "readers": ["report"],
    "writers": ["clerk"],
    "settings": {"work_mem": "8MB", "jit": False},
    "extensions": ["pgcrypto", "uuid-ossp"],
}
ALL = {"roles": ROLES, "passwords": PASSWORDS, "databases": [SHOP]}


ONE = "cd /; runuser -u postgres -- psql -XtAc 'SELECT 1' || true"


class Servers:
    """Both hosts, and the module called on them."""

    def __init__(self, hosts):
        self.hosts, self.names = hosts, hosts.names

    def batch(self, calls, *words, on=None):
        """The results of each host, call by call; a message of a failure is a result, too."""
        tasks: list[dict] = []
        for number, params in enumerate(calls):
            call = {"shipshape.stack.postgresql_objects": params, "register": f"r{number}", "ignore_errors": True}
            shown = f"RESULT={{{{ inventory_hostname }}}}:{{{{ r{number} | to_json | b64encode }}}}="
            tasks += [{"name": "Call", **call}, {"name": "Show", "ansible.builtin.debug": {"msg": shown}}]
        python = {"ansible_python_interpreter": "/usr/bin/python3"}
        play = [{"hosts": on or "all", "gather_facts": False, "become": True, "vars": python, "tasks": tasks}]
        run = self.hosts.play(play, "--diff", *words)
        found: dict[str, list[dict]] = {name: [] for name in run.recap}
        for name, text in re.findall(r"RESULT=(\w+):([A-Za-z0-9+/=]+?)=+\W", run.output):
            found[name].append(json.loads(base64.b64decode(text + "=" * (-len(text) % 4))))
        assert {len(results) for results in found.values()} == {len(calls)}, run.output
        return found, run.output

    def play(self, params, *words, on=None):
        found, output = self.batch([params], *words, on=on)
        return {name: results[0] for name, results in found.items()}, output

    def call(self, params, *words, on=None):
        """It works, and a second call changes nothing."""
        found, output = self.batch([params] if "--check" in words else [params, params], *words, on=on)
        assert not [one["msg"] for results in found.values() for one in results if one.get("failed")], output
        for _first, *again in found.values():
            assert [one["steps"] for one in again] == [[] for _one in again], output
            assert not any(one["changed"] for one in again)
        return {name: results[0] for name, results in found.items()}

    def refused(self, params, *words, on=None):
        results, output = self.play(params, *words, on=on)
        assert all(one.get("failed") and not one["changed"] for one in results.values()), output
        return {name: one["msg"] for name, one in results.items()}

    def shells(self, script):
        return self.hosts.shells(dict.fromkeys(self.names, script))

    def sqls(self, statement, database="shop"):
        script = f"cd /; runuser -u postgres -- psql -XtA -v ON_ERROR_STOP=1 -d {database} <<'EOF'\n{statement}\nEOF"
        return {name: output.strip() for name, output in self.shells(script).items()}

    def ask(self, *questions, database="shop"):
        """Over TCP with a password, in one go: what each host printed for each role and statement, and what went wrong.

        A role of the form name/password does not use its own.
        """
        script = "export PGCONNECT_TIMEOUT=5\n"
        for who, statement in questions:
            role, _slash, other = who.partition("/")
            password = (other or {**PASSWORDS, "stranger": STRANGER}[role]).replace("'", "'\\''")
            script += (
                f"export PGPASSWORD='{password}'\n"
                f"psql -XtA -v ON_ERROR_STOP=1 -h 127.0.0.1 -U {role} -d {database} 2>&1 <<'EOF' || true\n{statement}\n"
                "EOF\necho '-- '\n"
            )
        found = {name: output.split("-- \n")[:-1] for name, output in self.shells(script).items()}
        return {name: [output.strip() for output in outputs] for name, outputs in found.items()}

    def expect(self, *cases, database="shop"):
        """Role, statement, and words that have to be in what comes; an answer without an error is given in full."""
        for name, answers in self.ask(
            *((who, statement) for who, statement, _words in cases), database=database
        ).items():
            for (who, statement, words), answer in zip(cases, answers, strict=True):
                fits = words in answer if "denied" in words or "failed" in words else words == answer
                assert fits, f"{who} on {name}: {statement}: {answer!r} instead of {words!r}"

    def state(self, name):
        """All that the module could change of the cluster as a whole."""
        listed = " ".join(f"-c '\\{word}'" for word in ("l", "ddp", "dp", "dn+", "dx", "drds"))
        script = f"cd /; runuser -u postgres -- pg_dumpall -g; runuser -u postgres -- psql -XtA {listed} shop"
        return re.sub(r"(?m)^\\(un)?restrict .*$", "", self.hosts.shell(name, script))


@pytest.fixture(scope="module")
def servers(hosts):
    found = Servers(hosts)
    # Nothing is installed: all is predicted, nothing fails.
    results = found.call(ALL, "--check")
    for one in results.values():
        assert "+ database shop: owner shop, UTF8" in one["steps"]
    assert all("python3-psycopg" in message for message in found.refused(ALL).values())
    found.shells(INSTALL)
    for script in (
        "runuser -u postgres -- psql -qc \"ALTER SYSTEM SET log_statement TO 'all'\"",
        "systemctl reload postgresql",
    ):
        found.shells(f"cd /; {script}")
    found.hosts.shell(
        "d13",
        "cd /; runuser -u postgres -- psql -qc 'ALTER SYSTEM SET shared_preload_libraries TO pg_stat_statements';"
        " systemctl restart postgresql",
    )
    until(lambda: "1" in found.hosts.shell("d13", ONE), 20, "PostgreSQL")
    found.hosts.shell("d13", "cd /; runuser -u postgres -- psql -qc 'CREATE EXTENSION pg_stat_statements'")
    return found


@pytest.fixture(scope="module")
def shop(servers):
    """As declared, from nothing; the first call is watched."""
    watch = (
        "import glob, time\n"
        "seen, end = set(), time.time() + 60\n"
        "while time.time() < end and not glob.glob('/run/enough'):\n"
        "    for name in glob.glob('/proc/[0-9]*/cmdline') + glob.glob('/proc/[0-9]*/environ'):\n"
        "        try: seen.add(open(name, 'rb').read())\n"
        "        except OSError: pass\n"
        "open('/root/seen', 'wb').write(b'\\n'.join(seen))\n"
    )
    packed = base64.b64encode(watch.encode()).decode()
    servers.shells(
        f"rm -f /run/enough; echo {packed} | base64 -d >/root/watch.py;"
        " systemd-run -q --unit=watch python3 /root/watch.py"
    )
    content = "CREATE TABLE public.first (id int); SELECT pg_sleep(2);"  # so that it is seen
    servers.call({**ALL, "databases": [{**SHOP, "schema_content": content}]})
    servers.shells("touch /run/enough; while systemctl is-active -q watch; do sleep 0.2; done")
    return servers


# --- who can do what --------------------------------------------------------------------------------------------------


def test_a_migration_is_readable_and_nobody_has_more_than_that(shop):
    migration = (
        "CREATE TABLE public.orders (id serial PRIMARY KEY, note text);"
        "CREATE TABLE app.items (id int GENERATED ALWAYS AS IDENTITY, note text);"
        "CREATE SCHEMA later; CREATE TABLE later.more (id serial, note text);"
    )
    done = "CREATE TABLE\nCREATE TABLE\nCREATE SCHEMA\nCREATE TABLE"
    cases = [("shop", migration, done)]
    for table in ("public.orders", "app.items", "later.more"):
        insert = f"INSERT INTO {table} (note) VALUES ('x')"
        cases += [
            ("clerk", insert, "INSERT 0 1"),
            ("report", f"SELECT count(*) FROM {table}", "1"),
            ("report", insert, "permission denied for table"),
            ("report", f"DELETE FROM {table}", "permission denied for table"),
            ("clerk", f"UPDATE {table} SET note = 'y'", "UPDATE 1"),
            ("clerk", f"TRUNCATE {table}", "permission denied for table"),
        ]
    for schema in ("public", "app", "later"):
        create = f"CREATE TABLE {schema}.mine (id int)"
        cases += [(role, create, "permission denied for schema") for role in ("clerk", "report")]
    cases += [
        ("clerk", "CREATE TEMPORARY TABLE mine (id int)", "permission denied to create temporary tables"),
        ("report", "SHOW statement_timeout", "30s"),
        ("report", "SHOW search_path", 'public, "$user"'),
        ("report", "SHOW work_mem", "8MB"),
    ]
    shop.expect(*cases)
    # What a superuser adds is caught up with.
    shop.sqls("CREATE TABLE app.by_hand (id int)")
    assert {len(result["steps"]) for result in shop.call(ALL).values()} == {2}
    shop.expect(("report", "SELECT count(*) FROM app.by_hand", "0"))


def test_strangers_and_wrong_passwords_stay_outside(shop):
    cases = [("stranger", "SELECT 1", 'permission denied for database "shop"')]
    for role in PASSWORDS:
        cases += [(role, "SELECT 1", "1"), (f"{role}/wr0ng", "SELECT 1", "password authentication failed")]
    shop.expect(*cases)
    shop.expect(("stranger", "SELECT 1", "1"), database="postgres")


def test_a_reader_that_is_not_declared_any_more_loses_that_and_nothing_else(shop):
    shop.sqls(
        "CREATE ROLE foreigner; GRANT SELECT ON public.first TO foreigner; GRANT TRUNCATE ON public.first TO clerk;"
        "GRANT CONNECT ON DATABASE shop TO foreigner"
    )
    results = shop.call({**ALL, "databases": [{**SHOP, "readers": [], "writers": ["report"]}]})
    assert all("- database shop: clerk may CONNECT" in one["steps"] for one in results.values())
    shop.expect(
        ("clerk", "SELECT 1", "permission denied for database"),
        ("shop", "CREATE TABLE public.secret (id int)", "CREATE TABLE"),
        ("report", "INSERT INTO public.first VALUES (1)", "INSERT 0 1"),
    )
    acls = "SELECT relacl::text FROM pg_class WHERE relname IN ('first', 'secret') ORDER BY relname"
    for found in shop.sqls(acls).values():
        first, secret = found.splitlines()
        assert "foreigner=r/shop" in first
        assert "clerk=D/shop" in first
        assert "clerk" not in secret
    shop.call(ALL)
    shop.expect(("report", "INSERT INTO public.first VALUES (1)", "permission denied"))
    kept = shop.sqls("SELECT has_database_privilege('foreigner', 'shop', 'CONNECT'); DROP OWNED BY foreigner")
    assert {found.splitlines()[0] for found in kept.values()} == {"t"}
    shop.sqls("DROP ROLE foreigner")


# --- secrets ----------------------------------------------------------------------------------------------------------


def test_no_password_is_in_a_log_or_an_argument(shop):
    for name in shop.names:
        # Its own words are found, so the others would be.
        log = shop.hosts.shell(name, "cat /var/log/postgresql/*; journalctl -o cat; tr '\\0' ' ' </root/seen")
        assert 'CREATE ROLE "clerk"' in log
        assert "psql -X -q" in log
        for word in ("s3cret", "pässwörd", "r3port", "str4nger", "SCRAM-SHA-256$"):
            lines = [line for line in log.splitlines() if word in line and "PGPASSWORD" not in line]
            assert lines == []
    query = "SELECT query FROM pg_stat_statements"
    seen = shop.hosts.shell("d13", f"cd /; runuser -u postgres -- psql -XtAc '{query}'")
    assert "ALTER ROLE" in seen
    assert "PASSWORD" not in seen


def test_other_passwords_are_replaced_and_fitting_ones_left(shop):
    stored = "SELECT rolname, rolpassword FROM pg_authid WHERE rolname IN ('shop', 'clerk', 'report') ORDER BY 1;"
    before = shop.sqls(stored)
    shop.call(ALL)
    assert shop.sqls(stored) == before
    md5 = "SET password_encryption = md5; ALTER ROLE report PASSWORD 'r3port-pass'; ALTER ROLE clerk PASSWORD 'x';"
    assert all(found.count("|md5") == 2 for found in shop.sqls(md5 + stored).values())
    assert {len(one["steps"]) for one in shop.call(ALL).values()} == {2}
    assert all(found.count("SCRAM-SHA-256$4096:") == 3 for found in shop.sqls(stored).values())
    shop.expect(("clerk", "SELECT 1", "1"), ("report", "SELECT 1", "1"))
    # What the server itself makes of a password fits, too, with letters that SASLprep changes.
    shop.sqls(f"ALTER ROLE clerk PASSWORD '{PASSWORDS['clerk']}'")
    assert not any(one["changed"] for one in shop.call(ALL).values())


# --- schema files -----------------------------------------------------------------------------------------------------

DUMP = """\
SET client_encoding = 'UTF8';
SELECT pg_catalog.set_config('search_path', '', false);
CREATE TABLE public.orders (id integer NOT NULL, note text);
ALTER TABLE public.orders OWNER TO shop;
COPY public.orders (id, note) FROM stdin;
1\tit's
2\t;COMMIT
\\.
CREATE FUNCTION public.one() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; END;
"""


def imports(content, **more):
    return {"roles": ROLES, "databases": [{**SHOP, "name": "imported", "schema_content": content, **more}]}


@pytest.fixture
def _none(shop):
    yield
    shop.play({"databases": [{"name": "imported", "state": "absent", "confirm_drop": "imported"}]})


ORDERS = "SELECT to_regclass('public.orders') IS NULL"


@pytest.mark.usefixtures("_none")
def test_a_schema_file_is_imported_once(shop):
    results = shop.call(imports(DUMP))
    assert all(one["imported"] == ["imported"] for one in results.values())
    shop.expect(("report", "SELECT count(*) FROM public.orders", "2"), database="imported")
    owner = "SELECT tableowner FROM pg_tables WHERE schemaname = 'public'; DROP TABLE public.orders"
    assert {found.splitlines()[0] for found in shop.sqls(owner, "imported").values()} == {"shop"}
    for one in shop.call(imports(DUMP + "-- more\n")).values():
        assert "imported: the schema file is another one" in " ".join(one["warnings"])
    assert set(shop.sqls(ORDERS, "imported").values()) == {"t"}


@pytest.mark.usefixtures("_none")
def test_a_database_with_tables_is_left_alone(shop):
    shop.call(imports(None))
    shop.expect(("shop", "CREATE TABLE public.own (id int)", "CREATE TABLE"), database="imported")
    for one in shop.call(imports(DUMP)).values():
        assert "imported has tables already" in " ".join(one["warnings"])
    assert set(shop.sqls(ORDERS, "imported").values()) == {"t"}


BROKEN = [
    pytest.param(
        "INSERT INTO public.orders VALUES (3, 'a secret';\n", 'line 10: syntax error at or near ";"', id="statement"
    ),
    pytest.param("SELECT 'open", "unterminated quoted string", id="quote"),
    pytest.param("COPY public.orders FROM stdin;\nx\tnot a number\n", "invalid input syntax", id="copy-without-end"),
    pytest.param("COMMIT;\nCREATE TABLE public.late (id int);\n", "take BEGIN, COMMIT", id="commit"),
    pytest.param("ROLLBACK;\nCREATE TABLE public.late (id int);\n", "take BEGIN, COMMIT", id="rollback"),
    pytest.param("\\connect postgres\nCREATE TABLE public.late (id int);\n", "take BEGIN, COMMIT", id="connect"),
    pytest.param("CREATE ROLE more;\n", "permission denied to create role", id="not-as-superuser"),
    pytest.param("\\nonsense\n", "invalid command", id="command"),
]


@pytest.fixture(scope="module")
def broken(shop):
    """Each file in a database of its own, and then the whole one in all of them."""
    names = [f"broken{number}" for number in range(len(BROKEN))]
    calls = [
        {"roles": ROLES, "databases": [{**SHOP, "name": name, "schema_content": DUMP + case.values[0]}]}
        for name, case in zip(names, BROKEN, strict=True)
    ]
    results, _output = shop.batch(calls)
    tables = "SELECT count(*) FROM pg_tables WHERE schemaname IN ('public', 'app')"
    script = "cd /; " + "".join(
        f'runuser -u postgres -- psql -XtA -d {name} -c "{tables}"; ' for name in [*names, "postgres"]
    )
    left = shop.shells(script)
    mended = shop.call({"roles": ROLES, "databases": [{**SHOP, "name": one, "schema_content": DUMP} for one in names]})
    shop.call({"databases": [{"name": one, "state": "absent", "confirm_drop": one} for one in names]})
    return results, left, mended


@pytest.mark.parametrize(("more", "words"), BROKEN)
def test_a_broken_schema_file_leaves_nothing(shop, broken, more, words):
    number = [case.values[0] for case in BROKEN].index(more)
    results, left, mended = broken
    for name in shop.names:
        assert results[name][number]["failed"]
        assert words in results[name][number]["msg"]
        assert "a secret" not in results[name][number]["msg"]
        assert left[name].split() == ["0"] * (len(BROKEN) + 1)
        assert f"broken{number}" in mended[name]["imported"]


VICTIMS = {"module": "kill -9 $module", "psql": "kill -9 $psql", "both": "kill -9 $module $psql"}


@pytest.mark.usefixtures("_none")
@pytest.mark.parametrize("victims", [{"d12": "module", "d13": "psql"}, {"d12": "both", "d13": "module"}], ids=str)
def test_a_killed_import_is_done_once(shop, victims):
    slow = imports(DUMP + "SELECT pg_sleep(10);\nINSERT INTO public.orders VALUES (3, 'last');\n")
    # Both by their numbers, as soon as the file is in the middle.
    wait = (
        "cd /; for _ in $(seq 200); do found=$(runuser -u postgres -- psql -XtAc"
        " \"SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(10)%'\");"
        ' [ "$found" = 1 ] && break; sleep 0.2; done; [ "$found" = 1 ];'
        " psql=$(pgrep -x -n psql); module=$(ps -o ppid= -p $psql)"
    )
    with concurrent.futures.ThreadPoolExecutor() as pool:
        run = pool.submit(shop.play, slow)
        shop.hosts.shells({name: f"{wait}; {VICTIMS[victim]}" for name, victim in victims.items()})
        results, output = run.result()
    assert all(one["failed"] for one in results.values()), output
    results = shop.call(slow)
    for name, victim in victims.items():
        # What goes on without its module is waited for, and not done twice.
        assert results[name]["imported"] == ([] if victim == "module" else ["imported"])
    shop.expect(("report", "SELECT count(*) FROM public.orders", "3"), database="imported")


# --- extensions -------------------------------------------------------------------------------------------------------


def test_extensions_work(shop):
    shop.expect(
        ("shop", "SELECT length(uuid_generate_v4()::text)", "36"),
        ("shop", "SELECT crypt('x', gen_salt('bf')) LIKE '$2a$%'", "t"),
    )
    wish = {**SHOP, "extensions": ["pg_stat_statements", {"name": "citext", "schema": "app", "version": "1.5"}]}
    shop.call({**ALL, "databases": [wish]}, on="d13")
    wish["extensions"][1]["version"] = "latest"
    results = shop.call({**ALL, "databases": [wish]}, on="d13")
    assert results["d13"]["steps"] == ["- database shop: extension citext 1.5, + database shop: extension citext 1.6"]
    used = "SELECT count(*) > 0 FROM pg_stat_statements; SELECT 'A'::app.citext OPERATOR(app.=) 'a'::app.citext;"
    assert (
        shop.hosts.shell("d13", f"cd /; runuser -u postgres -- psql -XtA shop <<'EOF'\n{used}\nEOF").split()
        == ["t"] * 2
    )


def test_an_extension_that_cannot_work_is_refused(shop):
    before = shop.state("d12")
    wish = {**SHOP, "owner": "stranger", "extensions": ["pg_stat_statements", "vector"]}
    message = shop.refused({**ALL, "databases": [wish]}, on="d12")["d12"]
    assert "works only if shared_preload_libraries has pg_stat_statements" in message
    assert "perhaps postgresql-15-pgvector" in message
    assert shop.state("d12") == before
    # The package and the setting may come with the same play.
    results = shop.call({**ALL, "databases": [wish]}, "--check", on="d12")
    assert "perhaps postgresql-15-pgvector" in " ".join(results["d12"]["warnings"])


# --- what goes, and what is refused -----------------------------------------------------------------------------------


def test_dropping_needs_a_confirmation(shop):
    params = {"roles": [*ROLES, {"name": "old"}], "databases": [{"name": "old", "owner": "old", "readers": ["report"]}]}
    shop.call(params)
    shop.sqls("CREATE TABLE public.t (id int); ALTER TABLE public.t OWNER TO old", "old")
    shop.sqls("GRANT SELECT ON public.first TO old; GRANT CREATE ON DATABASE shop TO old")
    drop, role = {"name": "old", "state": "absent"}, {"roles": [{"name": "old", "state": "absent"}]}
    calls = [{"databases": [drop]}, {"databases": [{**drop, "confirm_drop": "shop"}]}, role]
    results, output = shop.batch(calls)
    for unconfirmed, misspelt, owner in results.values():
        assert "add confirm_drop: old" in unconfirmed["msg"], output
        assert "add confirm_drop: old" in misspelt["msg"]
        assert "role old cannot be dropped: it owns database old" in owner["msg"]
    assert set(shop.sqls("SELECT count(*) FROM public.t", "old").values()) == {"0"}
    goes = {**role, "databases": [{**drop, "confirm_drop": "old"}]}
    predicted, found = shop.call(goes, "--check"), shop.call(goes)
    assert [one["steps"] for one in predicted.values()] == [found[name]["steps"] for name in predicted]
    left = (
        "SELECT rolname FROM pg_roles WHERE rolname = 'old' UNION SELECT datname FROM pg_database WHERE datname = 'old'"
    )
    assert set(shop.sqls(left).values()) == {""}


def test_another_owner_can_migrate_and_the_old_one_cannot(shop):
    roles = [*ROLES, {"name": "next"}]
    moved = {"name": "moved", "owner": "shop", "readers": ["report"]}
    shop.call({"roles": roles, "databases": [moved]})
    shop.call({"roles": roles, "databases": [{**moved, "owner": "next"}]})
    shop.sqls("SET ROLE next; CREATE TABLE public.t (id int)", "moved")
    shop.expect(
        ("shop", "SELECT 1", "permission denied for database"),
        ("report", "SELECT count(*) FROM public.t", "0"),
        database="moved",
    )
    gone = {"databases": [{"name": "moved", "state": "absent", "confirm_drop": "moved"}]}
    shop.call({**gone, "roles": [{"name": "next", "state": "absent"}]})


def test_memberships_are_exact(shop):
    roles = [{"name": "team", "login": False}, {"name": "member", "member_of": ["team", "pg_monitor"]}]
    shop.call({"roles": roles})
    # The same once more, by somebody else.
    shop.sqls("GRANT team TO shop WITH ADMIN OPTION; SET ROLE shop; GRANT team TO member")
    results = shop.call({"roles": [roles[0], {"name": "member", "member_of": ["pg_read_all_stats"]}]})
    assert all("- role member: member of team" in one["steps"] for one in results.values())
    groups = "SELECT string_agg(g.rolname, ' ') FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid"
    left = shop.sqls(f"{groups} WHERE m.member = 'member'::regrole; REVOKE team FROM shop")
    assert {found.splitlines()[0] for found in left.values()} == {"pg_read_all_stats"}
    shop.call({"roles": [{"name": one, "state": "absent"} for one in ("team", "member")]})


REFUSED = [
    pytest.param({"databases": [{**SHOP, "owner": "nobody"}]}, "names role nobody, which does not exist", id="owner"),
    pytest.param({"databases": [{**SHOP, "readers": ["nobody"]}]}, "names role nobody", id="reader"),
    pytest.param({"roles": [{"name": "new"}, {"name": "pg_new"}]}, "names that begin with pg_ belong", id="reserved"),
    pytest.param({"roles": [{"name": "new"}, {"name": "postgres"}]}, "works as: leave it out", id="own-role"),
    pytest.param({"roles": [{"name": "new"}, {"name": "new"}]}, "new is there 2 times", id="twice"),
    pytest.param({"databases": [{**SHOP, "encoding": "LATIN1"}]}, "has encoding UTF8, not LATIN1", id="encoding"),
    pytest.param({"databases": [{**SHOP, "locale": "C"}]}, "has lc_collate C.UTF-8, not C,", id="locale"),
    pytest.param({"databases": [{"name": "new", "encoding": "UTF9"}]}, "UTF9 is not an encoding", id="no-encoding"),
    pytest.param({"databases": [{"name": "new", "locale": "xx_YY"}]}, "has no locale xx_YY", id="no-locale"),
    pytest.param({"databases": [{"name": "new", "template": "x"}]}, "there is no template x", id="no-template"),
    pytest.param(
        {"roles": [{"name": "new", "settings": {"no_such": 1}}]}, "unrecognized configuration parameter", id="setting"
    ),
    pytest.param(
        {"roles": [{"name": "new", "settings": {"work_mem": "8 XB"}}]}, "invalid value for parameter", id="value"
    ),
    pytest.param(
        {"databases": [{**SHOP, "settings": {"shared_buffers": "1GB"}}]}, "only the whole server", id="server-setting"
    ),
    pytest.param({"roles": [{"name": "new", "valid_until": "soon"}]}, "valid_until is 'soon'", id="moment"),
    pytest.param({"passwords": {"shop": "two\nlines"}, "roles": ROLES}, "has a line break", id="password"),
    pytest.param(
        {"roles": [{"name": "a", "member_of": ["b"]}, {"name": "b", "member_of": ["a"]}]},
        "is a member of itself",
        id="cycle",
    ),
    pytest.param(
        {"roles": [{"name": "pgowner", "member_of": ["shop"]}, {"name": "shop", "member_of": ["pgowner"]}]},
        "is a member of itself",
        id="cycle-of-an-existing-role",
    ),
    pytest.param(
        {"databases": [{"name": "postgres", "state": "absent", "confirm_drop": "postgres"}]},
        "postgres cannot be dropped",
        id="postgres",
    ),
    pytest.param({"roles": [{"name": "shop", "state": "absent"}]}, "shop cannot be dropped", id="owner-goes"),
    pytest.param({"port": 5999, "roles": [{"name": "new"}]}, "no server listens on", id="port"),
    pytest.param({"login_user": "report", "roles": [{"name": "new"}]}, "cannot log in to", id="login"),
]


@pytest.fixture(scope="module")
def refused(shop):
    before = shop.state("d13")
    results, _output = shop.batch([case.values[0] for case in REFUSED], on="d13")
    return results["d13"], before == shop.state("d13")


@pytest.mark.parametrize(("params", "words"), REFUSED)
def test_what_cannot_be_is_refused_before_anything_changes(refused, params, words):
    results, untouched = refused
    result = results[[case.values[0] for case in REFUSED].index(params)]
    assert result["failed"]
    assert words in result["msg"]
    assert "two\nlines" not in result["msg"]
    assert untouched


def test_check_mode_changes_nothing_and_predicts_what_comes(shop):
    wish = {
        "roles": [*ROLES, {"name": "coming", "password": "x", "createdb": True}],
        "databases": [{**SHOP, "writers": ["coming"]}, {"name": "coming", "owner": "coming"}],
    }
    before = {name: shop.state(name) for name in shop.names}
    predicted = shop.call(wish, "--check")
    assert {name: shop.state(name) for name in shop.names} == before
    results = shop.call(wish)
    for name in shop.names:
        assert predicted[name]["steps"] == results[name]["steps"]
    gone = {"databases": [{"name": "coming", "state": "absent", "confirm_drop": "coming"}, SHOP]}
    shop.call({**gone, "roles": [*ROLES, {"name": "coming", "state": "absent"}]})


def test_a_stopped_server_is_no_reason_for_check_mode_to_fail(shop):
    with shop.hosts.broken("d12", "systemctl stop postgresql@15-main", "systemctl start postgresql@15-main"):
        assert shop.call(ALL, "--check", on="d12")["d12"]["changed"]
        assert "no server listens on" in shop.refused(ALL, on="d12")["d12"]
    until(lambda: "1" in shop.hosts.shell("d12", ONE), 20, "PostgreSQL")
    assert not shop.call(ALL, on="d12")["d12"]["changed"]
