"""Servers of an upstream that change while clients ask every 20 ms: switched, refused, killed, ten at once."""

from __future__ import annotations

import json
import shlex
from contextlib import contextmanager

import pytest

from .conftest import Group
from .test_nginx import play, waiting

INSTALL = (
    "apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -yqq --no-install-recommends nginx openssl curl"
    " >/dev/null 2>&1"
)
# An application in three releases: each port says its own name, and the last one fails.
APP = """
import http.server, threading
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        name = {20001: "old", 20002: "new", 20003: "bad"}[self.server.server_port]
        self.send_response(500 if name == "bad" else 200)
        self.end_headers()
        self.wfile.write(name.encode())
    def log_message(self, *words):
        pass
servers = [http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler) for port in (20001, 20002, 20003)]
for each in servers:
    threading.Thread(target=each.serve_forever).start()
"""
PROBER = """
import http.client, os, time
count, begun = 0, time.monotonic()
with open("/run/prober", "w", buffering=1) as said:
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", timeout=10)
            connection.request("GET", "/", headers={"Host": "shop.example.org"})
            answer = connection.getresponse()
            found = f"{answer.status} {answer.read().decode()}"
            connection.close()
        except Exception as exc:
            found = repr(exc)
        count += 1
        if found not in ("200 old", "200 new"):
            said.write(f"{time.strftime('%H:%M:%S')} request {count}: {found}\\n")
        with open("/run/prober.count~", "w") as file:
            file.write(str(count))
        os.replace("/run/prober.count~", "/run/prober.count")
        time.sleep(max(0.0, begun + 0.02 * count - time.monotonic()))
"""
# The module's own code, to be killed at each of its seams, and called often without Ansible around it.
DRIVER = """
import json, os, sys
sys.path.insert(0, "/root/lib")
from ansible_collections.shipshape.stack.plugins.module_utils import _nginx_change as change
from ansible_collections.shipshape.stack.plugins.module_utils import _nginx_switch as work
from ansible_collections.shipshape.stack.plugins.module_utils._config_apply import Tools
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_upstream import Switch
def hook(point):
    if point == sys.argv[1]:
        os._exit(9)
result = work.run(Switch(**json.loads(sys.argv[2])), Tools(hook=hook), change.Options(), False)
print(result["changed"], result["generation"])
"""
ASK = "curl --silent --max-time 5 --header 'Host: shop.example.org' http://127.0.0.1/"
OLD, NEW, BAD = ({"address": f"127.0.0.1:{port}"} for port in (20001, 20002, 20003))
CONFIG = {
    "upstreams": [{"name": "shop-web", "dynamic": True}, {"name": "blog-web", "dynamic": True, "servers": [OLD]}],
    "includes": ["/etc/nginx/conf.d/*.conf"],
    "sites": [
        {
            "name": name,
            "server_names": [f"{name}.example.org"],
            "log": {"access": f"/var/log/nginx/{name}.log"},
            "locations": [{"path": "/", "type": "proxy", "upstream": f"{name}-web"}],
        }
        for name in ("shop", "blog")
    ],
}
CONVERGE = {"shipshape.stack.nginx_config": {"config": CONFIG}, "register": "done"}


def switch(*servers, owner="app1", **keys):
    given = {"name": "shop-web", "owner": owner, "servers": list(servers), **keys}
    return {"shipshape.stack.nginx_upstream": {k: v for k, v in given.items() if v is not None}, "register": "done"}


def expect(*conditions):
    return {"ansible.builtin.assert": {"that": list(conditions), "quiet": True}}


def asks(answer):
    """A request that gets an answer."""
    return {
        "ansible.builtin.command": ASK,
        "register": "asked",
        "changed_when": False,
        "failed_when": f"asked.stdout != '{answer}'",
    }


def refused(task, words):
    ignored = {**task, "ignore_errors": True}
    return [ignored, expect("done is failed", f"{json.dumps(words)} in done.msg", "'Nginx is as it was.' in done.msg")]


def runs(host, *tasks, words=()):
    run = host.play(play(*tasks), *words)
    assert run.code == 0, run.output
    return run


def driver(switch, seam=""):
    return shlex.join(["python3", "/root/driver.py", seam, json.dumps({"name": "shop-web", **switch})])


@pytest.fixture(scope="module")
def hosts(tmp_path_factory):
    group = Group("faults-nginx-upstream", tmp_path_factory.mktemp("f"), d13="trixie")
    yield group
    group.down()


@pytest.fixture(scope="module")
def up(hosts):
    checked = [CONVERGE, switch(OLD), expect("done is changed")]
    run = runs(hosts, *checked, words=["--check"])
    assert "Not foreseen: nginx is not installed yet" in run.text, run.output
    scripts = {"app.py": APP, "prober.py": PROBER, "driver.py": DRIVER}
    write = "\n".join(f"cat >/root/{name} <<'END'\n{text}\nEND" for name, text in scripts.items())
    started = waiting("test $(ss -Hltn sport ge :20001 sport le :20003 | wc -l) = 3")
    hosts.shell("d13", f"{INSTALL}\n{write}\nsystemd-run --quiet --unit=app python3 /root/app.py\n{started}")
    hosts.bring_code("_config_*", "_nginx_*", "_certificate_*", "_run_command")
    bad_gateway = {**asks("502"), "ansible.builtin.command": f"{ASK} -o /dev/null -w '%{{http_code}}'"}
    checked = {**switch(OLD), "check_mode": True}
    first = [CONVERGE, bad_gateway, checked, expect("done is changed"), bad_gateway, switch(OLD), asks("old")]
    runs(hosts, *first, CONVERGE, expect("done is not changed"))
    return hosts


@contextmanager
def served(host, least=50):
    """No request of the block fails, and none takes long; each is a connection of its own."""
    begin = "rm -f /run/prober.count; systemd-run --quiet --unit=prober python3 /root/prober.py\n"
    host.shell("d13", begin + waiting("test -s /run/prober.count"))
    more = "export n=$(cat /run/prober.count); " + waiting("test $(cat /run/prober.count) -ge $((n + 20))")
    try:
        yield
        host.shell("d13", more)
    finally:
        said = host.shell("d13", "systemctl stop prober; cat /run/prober.count; echo; cat /run/prober")
    lines = said.splitlines()
    assert int(lines[0]) >= least, said
    assert not [line for line in lines[1:] if line], said


def test_a_switch_loses_no_request_and_is_told(up):
    told = expect(
        "done is changed",
        "done.servers | map(attribute='address') | list == ['127.0.0.1:20002']",
        "done.mark is match('[0-9]+:[0-9]+$')",
        "done.diff | map(attribute='after_header') | sort == ['upstreams/shop-web.conf', 'upstreams/shop-web.json']",
    )
    two = expect("done is changed", "done.servers | length == 2")
    with served(up):
        runs(
            up,
            *[switch(NEW), told, asks("new"), switch(NEW), expect("done is not changed")],
            *[switch(OLD, owner="app2"), two, switch(owner="app1", servers=None, state="absent"), asks("old")],
            *[switch(owner="app1", servers=None, state="absent"), expect("done is not changed")],
            # The role changes nothing after it, and what it does change leaves the servers.
            *[CONVERGE, expect("done is not changed"), switch(NEW), asks("new")],
            {"shipshape.stack.nginx_config": {"config": {**CONFIG, "worker": {"connections": 2000}}}},
            *[switch(NEW), expect("done is not changed"), switch(owner="app2", servers=None, state="absent")],
            *[CONVERGE, asks("new"), CONVERGE, expect("done is not changed")],
            words=["--diff"],
        )


def test_what_does_not_work_is_refused_and_the_old_servers_serve(up):
    snippet = "/etc/nginx/conf.d/broken.conf"
    look = "find /etc/nginx -type f -exec sha256sum {} + | sort; readlink /etc/nginx/nginx.conf"
    before = up.shell("d13", look)
    write = {"ansible.builtin.copy": {"content": "bogus_directive on;\n", "dest": snippet, "mode": "0644"}}
    with served(up):
        runs(
            up,
            *refused(switch(OLD, name="shop-wb"), "no dynamic upstream shop-wb; it has blog-web, shop-web."),
            *refused(switch({"address": "no.host.invalid:80"}), "no.host.invalid does not resolve on this host"),
            *refused(switch({"addres": "127.0.0.1:1"}), "did you mean address?"),
            *refused(switch(OLD, owner="a b"), "owner: 'a b' is not the name of a host"),
            *refused(switch(NEW, owner="app2"), "servers[0].address: 127.0.0.1:20002 is one of app1's already"),
            *refused(switch(servers=None), "servers: they are missing"),
            *[write, *refused(switch(OLD), "unknown directive"), asks("new")],
            {"ansible.builtin.file": {"path": snippet, "state": "absent"}},
        )
    assert up.shell("d13", look) == before


def test_maintenance(up):
    head = {
        "ansible.builtin.command": f"{ASK} --head",
        "register": "asked",
        "changed_when": False,
        "failed_when": "' 503 ' not in asked.stdout or 'Retry-After: ' not in asked.stdout",
    }
    on, off = (switch(owner=None, servers=None, maintenance=value) for value in (True, False))
    blog = {**asks("old"), "ansible.builtin.command": ASK.replace("shop.example", "blog.example")}
    runs(
        up,
        *[on, expect("done is changed", "done.maintenance"), head, on, expect("done is not changed"), blog],
        *[CONVERGE, expect("done is not changed"), switch(OLD), head, off, asks("old"), off],
        *[expect("done is not changed"), switch(NEW), asks("new")],
    )


def test_what_the_servers_failed_at_since_a_mark(up):
    def info(**keys):
        given = {"name": "shop-web", "mark": "{{ marked.mark }}", **keys}
        return {"shipshape.stack.nginx_upstream_info": given, "register": "done"}

    more = {**asks("bad"), "loop": [1, 2, 3]}
    rotate = {"ansible.builtin.command": "logrotate --force /etc/logrotate.d/nginx", "changed_when": False}
    gone = {"address": "127.0.0.1:20009"}
    runs(
        up,
        *[{**switch(BAD), "register": "marked"}, more, rotate, more],
        *[info(), expect("done.requests == 6", "done.errors == {'127.0.0.1:20003': 6}")],
        expect("done.owners.app1[0].address == '127.0.0.1:20003'", "not done.maintenance"),
        *[info(servers=[NEW]), expect("done.requests == 0", "done.errors == {}")],
        # One that refuses the connection fails, whoever answers in its place.
        *[{**switch(gone, {**NEW, "backup": True}), "register": "marked"}, asks("new"), asks("new")],
        *[info(), expect("done.requests == 4", "done.errors == {'127.0.0.1:20009': 2}")],
        *[switch(NEW), info(mark=None), expect("done.errors is not defined")],
    )


SEAMS = ("staged", "tested", "swapped", "reloaded", "proven", "kept")


def test_a_killed_run_is_taken_back_or_finished_by_the_next(up):
    base = driver({"owner": "app1", "servers": [NEW]})
    killed = [driver({"owner": "app1", "servers": [OLD]}, seam) for seam in SEAMS]
    again = driver({"owner": "app1", "servers": [OLD]})
    steps = [
        f"{base} >/dev/null; {kill} && exit 1; {again} >/dev/null; test $({ASK}) = old; {again}" for kill in killed
    ]
    with served(up):
        said = up.shell("d13", "\n".join(steps))
        assert [line.split()[0] for line in said.splitlines()] == ["False"] * len(SEAMS), said
        # The role, too, goes on from the servers that were there before.
        up.shell("d13", f"{base}; {driver({'owner': 'app1', 'servers': [OLD]}, 'reloaded')} || true")
        runs(up, CONVERGE, asks("new"), CONVERGE, expect("done is not changed"))


def test_ten_switches_at_once_are_all_there(up):
    owners = [f"app{number}" for number in range(2, 12)]
    given = [{"owner": owner, "servers": [{"address": f"127.0.0.{owner[3:]}:20001", "down": True}]} for owner in owners]
    script = (
        "".join(f"{driver(each)} & " for each in given) + "wait; cat /etc/nginx/shipshape/*/upstreams/shop-web.json"
    )
    with served(up):
        said = up.shell("d13", script)
    assert said.count("True ") == len(owners), said
    live = json.loads(up.shell("d13", "cat $(dirname $(readlink -f /etc/nginx/nginx.conf))/upstreams/shop-web.json"))
    assert sorted(live["owners"]) == sorted(["app1", *owners])
