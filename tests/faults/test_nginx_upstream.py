"""Servers of an upstream that change while clients ask every 20 ms: switched, refused, killed, twenty at once."""

from __future__ import annotations

import json
import shlex

import pytest

from .conftest import Group
from .test_nginx import PLAIN, play, waiting
from .test_nginx import served as all_the_time

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
# The modules' own code, to be killed at each of its seams, and called often without Ansible around it.
DRIVER = """
import http.client, json, os, sys
sys.path.insert(0, "/root/lib")
from ansible_collections.shipshape.stack.plugins.module_utils import _nginx_change as change
from ansible_collections.shipshape.stack.plugins.module_utils import _nginx_converge as roles
from ansible_collections.shipshape.stack.plugins.module_utils import _nginx_host as host
from ansible_collections.shipshape.stack.plugins.module_utils import _nginx_switch as work
from ansible_collections.shipshape.stack.plugins.module_utils._config_apply import Tools
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_swap import SwapError
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_upstream import Switch
def hook(point):
    if point == sys.argv[1]:
        os._exit(9)
tools = Tools(hook=hook)
def ask(site, method="GET", path="/", size=0, headers={}):
    connection = http.client.HTTPConnection("127.0.0.1", timeout=10)
    connection.request(method, path, b"x" * size, headers={"Host": f"{site}.example.org", **headers})
    answer = connection.getresponse()
    return [answer.status, answer.read().decode().strip(), answer.getheader("Retry-After")]
def step(kind, given):
    if kind == "ask":
        return ask(**given)
    if kind == "info":
        return work.look("shop-web", given["mark"] or mark, given["servers"])
    if kind == "shell":
        return os.system(given)
    try:
        if kind == "config":
            return roles.ensure(lambda: roles.wanted_of(given, host.version(tools)), tools, change.Options())
        return work.run(Switch(**{"name": "shop-web", **given}), tools, change.Options(), False)
    except SwapError as exc:
        return {"refused": str(exc)}
made, mark = [], None
for kind, given in json.loads(sys.argv[2]):
    made.append(step(kind, given))
    if kind == "switch":
        mark = made[-1].get("mark")
print(json.dumps(made))
"""
OLD, NEW, BAD = ({"address": f"127.0.0.1:{port}"} for port in (20001, 20002, 20003))
CONFIG = {
    "upstreams": [{"name": "shop-web", "dynamic": True}, {"name": "blog-web", "dynamic": True, "servers": [OLD]}],
    "includes": ["/etc/nginx/conf.d/*.conf"],
    "sites": [
        {
            "name": name,
            "server_names": [f"{name}.example.org"],
            "log": {"access": f"/var/log/nginx/{name}.log"},
            "locations": [
                {"path": "/", "type": "proxy", "upstream": f"{name}-web"},
                {"path": "/ws/", "type": "proxy", "upstream": f"{name}-web", "websocket": True},
            ],
        }
        for name in ("shop", "blog")
    ],
}
CONVERGE = {"shipshape.stack.nginx_config": {"config": CONFIG}}


def play_switch(*servers, **keys):
    return {"shipshape.stack.nginx_upstream": {"name": "shop-web", "owner": "app1", "servers": list(servers), **keys}}


def info(**keys):
    return {"shipshape.stack.nginx_upstream_info": {"name": "shop-web", **keys}}


def told(task, *conditions, **keys):
    """A task, and what has to be true of its result."""
    seen = {"ansible.builtin.assert": {"that": [each if " " in each else f"done is {each}" for each in conditions]}}
    return [{**task, "register": "done", **keys}, seen]


def switch(*servers, owner="app1"):
    return ["switch", {"owner": owner, "servers": list(servers)}]


def absent(owner):
    return ["switch", {"owner": owner}]


def maintenance(value):
    return ["switch", {"maintenance": value}]


def ask(site="shop", **keys):
    return ["ask", {"site": site, **keys}]


ROLE = ["config", CONFIG]


def driver(*steps, seam=""):
    return shlex.join(["python3", "/root/driver.py", seam, json.dumps(steps)])


def drive(host, *steps):
    """Each step with what came of it: whether something changed, an answer, or what was refused."""
    found = json.loads(host.shell("d13", driver(*steps)))
    short = [each.get("refused", each.get("changed", each)) if isinstance(each, dict) else each for each in found]
    return [each[1] if isinstance(each, list) and each[0] == 200 else each for each in short]


@pytest.fixture(scope="module")
def hosts(tmp_path_factory):
    group = Group("faults-nginx-upstream", tmp_path_factory.mktemp("f"), d13="trixie")
    yield group
    group.down()


@pytest.fixture(scope="module")
def up(hosts):
    run = hosts.play(play(*told(CONVERGE, "changed"), *told(play_switch(OLD), "changed")), "--check")
    assert run.code == 0, run.output
    assert "Not foreseen: nginx is not installed yet" in run.text, run.output
    scripts = {"app.py": APP, "driver.py": DRIVER}
    write = "\n".join(f"cat >/root/{name} <<'END'\n{text}\nEND" for name, text in scripts.items())
    started = waiting("test $(ss -Hltn sport ge :20001 sport le :20003 | wc -l) = 3")
    hosts.shell("d13", f"{INSTALL}\n{write}\nsystemd-run --quiet --unit=app python3 /root/app.py\n{started}")
    hosts.bring_code("_config_*", "_nginx_*", "_certificate_*", "_run_command")
    said = drive(hosts, ROLE, ask(), ask("blog"), switch(OLD), ask(), ROLE)
    assert said[0] is True
    assert said[1][0] == 502
    assert said[2:] == ["old", True, "old", False]
    return hosts


def served(host):
    """No request of the block fails, with one each 20 ms."""
    return all_the_time(host, least=50, made=PLAIN, pause=0.02)


def test_the_modules(up):
    paths = "done.diff | map(attribute='after_header') | sort == ['upstreams/shop-web.conf', 'upstreams/shop-web.json']"
    served_by = "done.servers | map(attribute='address') | list == ['127.0.0.1:20002']"
    unknown = "'no dynamic upstream shop-wb; it has blog-web, shop-web.' in done.msg"
    tasks = [
        *told(play_switch(NEW), "changed", check_mode=True),
        *told(play_switch(NEW), "changed", paths, served_by, "done.mark is match('[0-9]+:[0-9]+$')"),
        *told(play_switch(NEW), "done is not changed"),
        *told(info(mark="1:0"), "done.owners.app1 | length == 1", "done.errors == {}", "not done.maintenance"),
        *told(play_switch(OLD, name="shop-wb"), "failed", unknown, ignore_errors=True),
        *told(play_switch(OLD, name="shop-wb"), "changed", check_mode=True),
        *told(play_switch({"addres": "127.0.0.1:1"}), "failed", "'mean address?' in done.msg", ignore_errors=True),
        *told(play_switch(state="absent"), "failed", "'and no servers' in done.msg", ignore_errors=True),
    ]
    with served(up):
        run = up.play(play(*tasks), "--diff")
    assert run.code == 0, run.output
    assert drive(up, ask()) == ["new"]


def test_a_switch_loses_no_request_and_the_role_keeps_it(up):
    other = ["config", {**CONFIG, "worker": {"connections": 2000}}]
    with served(up):
        said = drive(
            up,
            *[switch(OLD), ask(), switch(OLD), switch(NEW, owner="app2"), absent("app1"), ask(), absent("app1")],
            *[ROLE, switch(OLD), other, switch(OLD), absent("app2"), ask(), ROLE, ask(), ROLE],
        )
    assert said == [
        *[True, "old", False, True, True, "new", False],
        *[False, True, True, False, True, "old", True, "old", False],
    ]


def test_what_does_not_work_is_refused_and_the_old_servers_serve(up):
    look = "find /etc/nginx -type f -exec sha256sum {} + | sort; readlink /etc/nginx/nginx.conf"
    drive(up, switch(NEW))
    before = up.shell("d13", look)
    snippet = "/etc/nginx/conf.d/broken.conf"
    with served(up):
        said = drive(
            up,
            *[switch({"address": "no.host.invalid:80"}), switch(NEW, owner="app2"), switch(NEW, NEW)],
            *[["shell", f"echo 'bogus_directive on;' >{snippet}"], switch(OLD), ask(), ["shell", f"rm {snippet}"]],
        )
    words = [
        "no.host.invalid does not resolve on this host",
        "servers[0].address: 127.0.0.1:20002 is one of app1's already",
        "servers[1].address: 127.0.0.1:20002 is there twice",
    ]
    assert all(word in text for word, text in zip(words, said[:3], strict=True)), said
    assert 'unknown directive "bogus_directive"' in said[4], said
    assert said[5] == "new"
    assert up.shell("d13", look) == before


def test_a_record_that_a_hand_spoilt_is_refused_and_not_forgotten(up):
    live = "$(dirname $(readlink -f /etc/nginx/nginx.conf))/upstreams/shop-web.json"
    spoil = ["shell", f"cp {live} /root/kept && sed -i s/20002/twenty/ {live} && cp {live} /root/spoilt"]
    compare, mend = ["shell", f"cmp {live} /root/spoilt"], ["shell", f"cp /root/kept {live}"]
    with served(up):
        said = drive(up, switch(NEW), spoil, switch(OLD), ROLE, ask(), compare, mend, ROLE, ask())
    problem = (
        "upstreams/shop-web.json of the live tree is not as it was written: owners.app1[0].address: '127.0.0.1:twe"
    )
    assert said[2].startswith(problem), said
    assert said[3].startswith(problem), said
    assert said[4:] == ["new", 0, 0, False, "new"]


def test_maintenance(up):
    websocket = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    said = drive(
        up,
        *[switch(NEW), maintenance(True), ask(), ask(path="/ws/", headers=websocket)],
        ask(method="POST", path="/orders", size=900_000),
        *[maintenance(True), ask("blog"), ROLE, switch(OLD), ask(), maintenance(False), ask(), maintenance(False)],
    )
    page = said[2]
    assert page[0] == 503
    assert "Maintenance" in page[1]
    assert page[2] == "60"
    assert said[1:] == [True, page, page, page, False, "old", False, True, page, True, "old", False]


def test_what_the_servers_failed_at_since_a_mark(up):
    gone = {"address": "127.0.0.1:20009"}
    # nginx writes its line when the answer is out already.
    now, more = ["info", {"mark": None, "servers": []}], [*[ask()] * 3, ["shell", "sleep 0.3"]]
    rotate = ["shell", "logrotate --force /etc/logrotate.d/nginx"]
    of_new = ["info", {"mark": None, "servers": [NEW["address"]]}]
    # One that refuses the connection fails, whoever answers in its place.
    steps = [
        switch(BAD),
        *more,
        rotate,
        *more,
        now,
        of_new,
        switch(gone, {**NEW, "backup": True}),
        *more,
        now,
        switch(NEW),
    ]
    said = [each for each in drive(up, *steps) if isinstance(each, dict)]
    assert [(each["requests"], each["errors"]) for each in said] == [
        (6, {"127.0.0.1:20003": 6}),
        (0, {}),
        (6, {"127.0.0.1:20009": 3}),
    ]


SEAMS = ("staged", "tested", "swapped", "reloaded", "proven", "kept")


def test_a_killed_run_is_taken_back_or_finished_by_the_next(up):
    again = driver(switch(OLD), ask(), switch(OLD))
    killed = [
        f"{driver(switch(NEW))} >/dev/null; {driver(switch(OLD), seam=seam)} && exit 1; {again}" for seam in SEAMS
    ]
    with served(up):
        said = up.shell("d13", "\n".join(killed)).splitlines()
        found = [[json.loads(line)[1][1], json.loads(line)[2]["changed"]] for line in said]
        assert found == [["old", False]] * len(SEAMS), said
        # The role, too, goes on from the servers that were there before.
        up.shell("d13", f"{driver(switch(NEW))}; {driver(switch(OLD), seam='reloaded')} || true")
        assert drive(up, ROLE, ask(), ROLE)[1:] == ["new", False]


def test_twenty_switches_at_once_are_all_there(up):
    owners = [f"app{number}" for number in range(2, 22)]
    servers = {owner: {"address": f"127.0.0.{owner[3:]}:20001", "down": True} for owner in owners}
    runs = "".join(f"{driver(switch(server, owner=owner))} & " for owner, server in servers.items())
    with served(up):
        said = up.shell("d13", f"{runs} wait")
    assert [json.loads(line)[0]["changed"] for line in said.splitlines()] == [True] * len(owners), said
    live = json.loads(up.shell("d13", "cat $(dirname $(readlink -f /etc/nginx/nginx.conf))/upstreams/shop-web.json"))
    assert sorted(live["owners"]) == sorted(["app1", *owners])
