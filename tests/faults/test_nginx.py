"""A site that goes on serving through every fault: refused, put back, killed, cut off, full."""

from __future__ import annotations

import json
import re
import shlex
from contextlib import contextmanager

import pytest

# All that nginx refuses, one by one; the scenarios of the role stand for it on every commit.
pytestmark = pytest.mark.nightly

INSTALL = (
    "apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -yqq --no-install-recommends nginx openssl curl"
    " >/dev/null 2>&1; systemctl enable --now --quiet nginx;"
    " echo 127.0.0.1 shop.example.org blog.example.org >>/etc/hosts"
)
ASK = "curl --silent --insecure --max-time 5 http://shop.example.org/ https://shop.example.org/"
# All that a refused change has to leave alone, and what is served.
LOOK = (
    "find /etc/nginx -type f -exec sha256sum {} + | sort; find /etc/nginx -printf '%p %M %u %g %l\\n' | sort;"
    " find /var/log/nginx /run/nginx.pid -printf '%p %M %u %g\\n' | sort; ls /run | grep shipshape || true;"
    f" systemctl is-active nginx || true; systemctl is-enabled nginx || true; {ASK} 2>&1 || true"
)


def site(name="shop", text="old", **keys):
    place = {"path": "/", "type": "return", "code": 200, "text": text}
    names = {"name": name, "server_names": [f"{name}.example.org"], "tls": {"certificate": name}, "http": "serve"}
    return {**names, "locations": [place], **keys}


def config(*sites, **keys):
    return {
        "limit_zones": [{"name": "calm", "rate": "900r/s"}],
        "sites": list(sites) or [site(limits=[{"zone": "calm", "burst": 900}])],
        **keys,
    }


BASE = config()
NEW = config(site(text="new"))


def task(given=None, **options):
    options = {"config": BASE if given is None else given, "reload_seconds": 20, **options}
    return {"shipshape.stack.nginx_config": options, "register": "done"}


def play(*tasks):
    return [{"hosts": "all", "become": True, "gather_facts": False, "tasks": list(tasks)}]


def snapshot(hosts):
    return hosts.shells(dict.fromkeys(hosts.names, LOOK))


def converge(hosts, given=None, *words, changes=None, **options):
    run = hosts.play(play(task(given, **options)), *words)
    assert run.code == 0, run.output
    if changes is not None:
        assert [run.changed(name) for name in hosts.names] == [changes] * 2, run.output
    return run


def answers(hosts):
    return hosts.shells(dict.fromkeys(hosts.names, ASK))


def waiting(condition, seconds=20):
    """The part of a script that waits for a condition, and fails where it does not come."""
    return f"timeout {seconds} sh -c {shlex.quote(f'until {condition}; do sleep 0.1; done')}"


# --- requests all the time --------------------------------------------------------------------------------------------

PROBER = """
import http.client, os, ssl, time
context = ssl._create_unverified_context()
made = [{made}]
count, begun, due = 0, time.monotonic(), 0.0
with open("/run/prober", "w", buffering=1) as said:
    while True:
        for make in made:
            try:
                connection = make()
                connection.request("GET", "/", headers={{"Host": "shop.example.org"}})
                answer = connection.getresponse()
                found = f"{{answer.status}} {{answer.read().decode()}}"
                connection.close()
            except Exception as exc:
                found = repr(exc)
            count += 1
            if found not in ("200 old", "200 new"):
                said.write(f"{{time.strftime('%H:%M:%S')}} request {{count}}: {{found}}\\n")
        with open("/run/prober.count~", "w") as file:
            file.write(str(count))
        os.replace("/run/prober.count~", "/run/prober.count")
        due += {pause}
        time.sleep(max(0.0, begun + due - time.monotonic()))
"""
PLAIN = 'lambda: http.client.HTTPConnection("127.0.0.1", timeout=10)'
ENCRYPTED = 'lambda: http.client.HTTPSConnection("shop.example.org", timeout=10, context=context)'


@contextmanager
def served(hosts, least=20, made=f"{PLAIN}, {ENCRYPTED}", pause=0.05):
    """Every request of the block, on a new connection each, is answered: old or new."""
    script = (
        f"cat >/root/prober.py <<'END'\n{PROBER.format(made=made, pause=pause)}\nEND\n"
        "rm -f /run/prober.count; systemd-run --quiet --unit=prober python3 /root/prober.py\n"
        + waiting("test -s /run/prober.count")
    )
    hosts.shells(dict.fromkeys(hosts.names, script))
    # Some more of them when all is done: what is left of it may come late.
    more = "export n=$(cat /run/prober.count); " + waiting("test $(cat /run/prober.count) -ge $((n + 20))")
    try:
        yield
        hosts.shells(dict.fromkeys(hosts.names, more))
    finally:
        said = hosts.shells(
            dict.fromkeys(hosts.names, "systemctl stop prober; cat /run/prober.count; echo; cat /run/prober")
        )
    for name, text in said.items():
        lines = text.splitlines()
        assert int(lines[0]) >= least, f"{name}: {text}"
        assert not [line for line in lines[1:] if line], f"{name}: {text}"


# --- a fresh host -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fresh(hosts):
    hosts.shells(dict.fromkeys(hosts.names, INSTALL))
    return hosts


def test_check_mode_on_a_fresh_host_leaves_nothing_behind(fresh):
    before = snapshot(fresh)
    run = converge(fresh, BASE, "--check", "--diff", changes=1)
    assert run.output.count("+# The role shipshape.stack.nginx wrote this") >= 2, run.output
    assert run.output.count("+a placeholder for the certificate shop") == 2, run.output
    bad = fresh.play(play(task(config(site(raw="bogus_directive on;")))), "--check")
    assert bad.code != 0
    assert bad.text.count('unknown directive "bogus_directive"') >= 2, bad.output
    assert snapshot(fresh) == before


def test_a_fresh_host_keeps_the_packages_configuration_where_ours_is_refused(fresh):
    """By the test, and by a port that only the reload finds taken."""
    before = snapshot(fresh)
    fresh.shells(dict.fromkeys(fresh.names, SQUAT))
    try:
        for raw in ("bogus_directive on;", ""):
            given = config(site(raw=raw), raw={"http": "" if raw else "server { listen 7778; }"})
            run = fresh.play(play(task(given)))
            assert run.code != 0
            assert run.text.count("Nginx is as it was.") >= 2, run.output
        assert run.text.count("The configuration that was there before is back and reloaded") >= 2, run.output
        after = snapshot(fresh)
        drop = re.compile(r"/etc/nginx/shipshape .*\n")  # the folder that the lock is on
        assert {name: drop.sub("", text) for name, text in after.items()} == before
    finally:
        fresh.shells(dict.fromkeys(fresh.names, UNSQUAT))


@pytest.fixture(scope="module")
def up(fresh):
    converge(fresh, changes=1)
    converge(fresh, changes=0)
    assert set(answers(fresh).values()) == {"oldold"}
    return fresh


def test_what_it_looks_like(up):
    script = (
        "readlink /etc/nginx/nginx.conf; stat -c '%U %G %a' /var/log/nginx/access.log /var/log/nginx/error.log;"
        " curl -s http://127.0.0.1:8081/generation; readlink /etc/nginx/shipshape/proven;"
        " ls /etc/nginx | grep '~' || true; test -f /etc/nginx/nginx.conf.distribution; systemctl is-enabled nginx"
    )
    for said in up.shells(dict.fromkeys(up.names, script)).values():
        link, first, second, answer, proven, enabled = said.splitlines()
        assert link == f"shipshape/{answer}/nginx.conf"
        assert proven == answer
        assert first == second == "www-data adm 640"
        assert enabled == "enabled"


# --- the fault table --------------------------------------------------------------------------------------------------

SQUATTER = """
import socket, time
kept = []
for port in (7777, 7778):
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.bind(("0.0.0.0", port))
    one.listen()
    kept.append(one)
time.sleep(9999)
"""
SQUAT = (
    f"cat >/root/squatter.py <<'END'\n{SQUATTER}\nEND\n"
    "systemd-run --quiet --unit=squatter python3 /root/squatter.py\n" + waiting("ss -Hltn sport = :7778 | grep -q .")
)
UNSQUAT = "systemctl stop squatter"
# Certificates that are no good: no chain, no key that can be read, another's key, a key that is none.
CERTIFICATES = """
cd /etc/nginx/tls
for name in lost unreadable mismatch corrupt; do
    cp -a shop $name
done
rm lost/placeholder/fullchain.pem
rm unreadable/placeholder/privkey.pem; mkdir unreadable/placeholder/privkey.pem
openssl ecparam -name prime256v1 -genkey -noout -out mismatch/placeholder/privkey.pem 2>/dev/null
head -c 200 /dev/zero >corrupt/placeholder/privkey.pem
"""


def own(name):
    return config(site(text="new"), site("blog", tls={"certificate": name}))


def raw(text, **keys):
    return config(site(text="new", raw=text), **keys)


PROXY = {"path": "/", "type": "proxy", "upstream": "app"}
FAULTS = {
    "syntax": (raw("gzip on\nserver_tokens off;"), "site shop, line"),
    "unknown-directive": (raw("bogus_directive on;"), "`bogus_directive on;`"),
    "certificate-missing": (
        raw("ssl_certificate /etc/nginx/no.pem;\nssl_certificate_key /etc/nginx/no.key;"),
        "site shop: nginx says: cannot load certificate",
    ),
    "certificate-lost": (own("lost"), "/etc/nginx/tls/lost/current leads to nothing"),
    "key-unreadable": (own("unreadable"), "where /etc/nginx/tls/unreadable/current leads to"),
    "key-of-another": (own("mismatch"), "where /etc/nginx/tls/mismatch/current leads to"),
    "key-corrupt": (own("corrupt"), "where /etc/nginx/tls/corrupt/current leads to"),
    "upstream-unresolvable": (
        config(site(locations=[PROXY]), upstreams=[{"name": "app", "servers": [{"address": "no.host.invalid:80"}]}]),
        "no.host.invalid does not resolve on this host",
    ),
    "port-taken": (config(site(ports={"http": 7777})), "0.0.0.0:7777 (tcp) is taken by python3 (pid"),
    "status-port-taken": (
        config(status={"listen": "127.0.0.1:7777"}),
        "127.0.0.1:7777 (tcp) is taken by python3 (pid",
    ),
    "port-taken-found-by-the-proof": (
        config(raw={"http": "server { listen 7778; }"}),
        "0.0.0.0:7778 (tcp) is taken by python3 (pid",
    ),
    "zone-in-memory": (
        config(
            site(text="new", limits=[{"zone": "calm", "burst": 900}]),
            limit_zones=[{"name": "calm", "rate": "900r/s", "key": "$server_name"}],
        ),
        "give it another name as well",
    ),
    "address-narrowed": (config(addresses=["127.0.0.1"]), "overlaps with another address that nginx itself has"),
    "default-server-twice": (
        config(raw={"http": "server { listen 80 default_server; }"}),
        "a duplicate default server for 0.0.0.0:80",
    ),
    "warning": (config(raw={"http": "server { listen 80; server_name shop.example.org; }"}), "warnings: accept"),
}
PUT_BACK = ("port-taken-found-by-the-proof", "zone-in-memory", "address-narrowed")

P0 = {"path": "/", "type": "return", "code": 204}
INPUTS = {
    "unknown-option": {"site": []},
    "unknown-key": config(site(server_name="x")),
    "no-names": config(site(server_names=[])),
    "not-a-name": config(site(server_names=["a b"])),
    "two-sites-of-one-name": config(site(), site()),
    "one-name-twice": config(site(), site("blog", server_names=["shop.example.org"])),
    "alias-without-slash": config(site(locations=[{"path": "/a/", "type": "static", "alias": "/srv/a"}])),
    "path-without-slash": config(site(locations=[{"path": "/a", "type": "static", "alias": "/srv/a/"}])),
    "prefix-of-a-regex": config(site(locations=[{**PROXY, "match": "regex", "path": "^/a/", "strip_prefix": True}])),
    "unknown-upstream": config(site(locations=[PROXY])),
    "unknown-type": config(site(locations=[{"path": "/", "type": "cgi"}])),
    "unknown-zone": config(site(locations=[{**P0, "limit": {"zone": "none"}}])),
    "path-twice": config(site(locations=[P0, P0])),
    "injection": config(site(server_names=["x; } server {"])),
    "injection-by-a-header": config(site(headers={"set": {"X-A": "a\nb"}})),
    "unbalanced": config(site(raw="location / {")),
    "preload": config(site(hsts={"preload": True, "max_age": 300})),
    "redirect-without-tls": config({**site(), "tls": None, "http": "redirect"}),
    "port": config(site(ports={"http": 70000})),
    "status-for-everybody": config(status={"listen": "0.0.0.0:8081"}),
    "log-elsewhere": config(log={"access": "/etc/passwd"}),
    "size": config(site(body={"max_size": "much"})),
}


@contextmanager
def obstacles(hosts):
    hosts.shells(dict.fromkeys(hosts.names, f"{SQUAT}; {CERTIFICATES}"))
    try:
        yield
    finally:
        gone = "cd /etc/nginx/tls; rm -rf lost unreadable mismatch corrupt"
        hosts.shells(dict.fromkeys(hosts.names, f"{UNSQUAT}; {gone}"))


SHOW = "{{ ansible_failed_result.msg }} {{ look.stdout }}"
SHOW_ALL = "{% for each in done.results %}<{{ each.item.key }}>{{ each.msg }} -</{{ each.item.key }}>{% endfor %}"


@pytest.fixture(scope="module")
def refused(up):
    """What is said of each, in one run, while the site is asked all the time; behind it what the host looks like."""
    look = {"ansible.builtin.shell": f"({LOOK}) | sha256sum", "register": "look", "changed_when": False}
    tasks: list[dict] = [look, {"ansible.builtin.debug": {"msg": "<before>{{ look.stdout }}</before>"}}]
    for case, (given, _words) in FAULTS.items():
        rescue = [look, {"ansible.builtin.debug": {"msg": f"<{case}>{SHOW}</{case}>"}}]
        tasks.append({"block": [task(given)], "rescue": rescue})
    inputs = {**task("{{ item.value }}"), "loop": "{{ inputs | dict2items }}", "ignore_errors": True}
    tasks += [inputs, look, {"ansible.builtin.debug": {"msg": f"{SHOW_ALL}<after>{{{{ look.stdout }}}}</after>"}}]
    with obstacles(up), served(up, least=200):
        run = up.play(play(*tasks), variables={"inputs": INPUTS})
    assert run.code == 0, run.output
    # The callback shows messages as JSON: with quotes and backslashes that nobody wrote.
    text = run.text.replace("\\", "")
    return {each: re.findall(f"<{each}>(.*?)</{each}>", text) for each in ("before", *FAULTS, *INPUTS, "after")}


@pytest.mark.parametrize("case", FAULTS)
def test_what_does_not_work_is_refused_and_nothing_is_touched(refused, case):
    said = refused[case]
    assert len(said) == 2, refused
    assert all(FAULTS[case][1] in text for text in said), said
    assert all(text.startswith("Nginx is as it was.") for text in said), said
    assert all(("is back, reloaded and proven" in text) == (case in PUT_BACK) for text in said), said
    assert sorted(text.split()[-2] for text in said) == sorted(text.split()[0] for text in refused["before"]), said


@pytest.mark.parametrize("case", INPUTS)
def test_bad_input_is_refused_and_nothing_is_touched(refused, case):
    said = refused[case]
    assert len(said) == 2, refused
    assert all(text.startswith("Nginx is as it was. nginx_") for text in said), said
    assert sorted(refused["after"]) == sorted(refused["before"])


def test_what_works_changes_what_is_served_and_loses_no_request(up):
    with served(up):
        run = converge(up, NEW, "--diff", changes=1)
        assert set(answers(up).values()) == {"newnew"}
        assert run.output.count("-        return 200 old;") >= 2, run.output
        assert "default.conf" not in run.output  # only what differs is shown
        converge(up, NEW, changes=0)
        # A site that is not declared any more is gone, and its file with it.
        converge(up, config(site(), site("blog")), changes=1)
        blog = "curl -s --insecure https://blog.example.org/"
        assert set(up.shells(dict.fromkeys(up.names, blog)).values()) == {"old"}
        converge(up, changes=1)
        assert set(up.shells(dict.fromkeys(up.names, f"{blog} || echo none")).values()) == {"none\n"}
    count = "ls -d /etc/nginx/shipshape/????????????????/ | wc -l; ls -A /etc/nginx/shipshape | grep '^[.]' || true"
    assert set(up.shells(dict.fromkeys(up.names, count)).values()) == {"2\n"}


FORGER = r"""
import http.client, time, urllib.parse
kept = open("/run/nginx.pid").read().strip()
line = f"2026/11/25 17:00:00 [emerg] {kept}#{kept}: forged"
while True:
    connection = http.client.HTTPConnection("shop.example.org", timeout=5)
    connection.request("GET", "/files/" + urllib.parse.quote(f"{line}\n{line}\n"))
    connection.getresponse().read()
    connection.close()
    time.sleep(0.02)
"""


def test_a_client_that_writes_emergencies_into_the_log_does_not_stop_a_change(up):
    """The path of a file that is not there stands decoded in the log."""
    files = {"path": "/files/", "type": "static", "alias": "/srv/"}
    base = site()["locations"]
    converge(up, config(site(locations=[*base, files])), changes=1)
    start = f"cat >/root/forger.py <<'END'\n{FORGER}\nEND\nsystemd-run --quiet --unit=forger python3 /root/forger.py"
    forged = waiting("grep -q '^2026/11/25 17:00:00 .emerg.' /var/log/nginx/error.log")
    up.shells(dict.fromkeys(up.names, f"{start}\n{forged}"))
    try:
        given = config(site(locations=[{**base[0], "text": "new"}, files]))
        converge(up, given, changes=1)
        assert set(answers(up).values()) == {"newnew"}
    finally:
        up.shells(dict.fromkeys(up.names, "systemctl stop forger"))
    converge(up, changes=1)


def test_a_site_whose_certificate_gets_another_name_goes_on_with_the_one_it_had(up):
    """As a placeholder would lock out whoever knows the site by HSTS."""
    real = (
        "cd /etc/nginx/tls/shop; cp -a placeholder 0123456789abcdef; rm 0123456789abcdef/placeholder.map;"
        " ln -sfn 0123456789abcdef current; systemctl reload nginx"
    )
    up.shells(dict.fromkeys(up.names, real))
    asked = "openssl s_client -connect 127.0.0.1:443 -servername shop.example.org </dev/null 2>/dev/null"
    look = f"{asked} | openssl x509 -noout -fingerprint"
    header = "curl --silent --insecure --head https://shop.example.org/ | grep -qi strict-transport-security"
    before = up.shells(dict.fromkeys(up.names, f"{waiting(header)}; {look}"))
    converge(up, config(site(tls={"certificate": "renamed"})), changes=1)
    assert up.shells(dict.fromkeys(up.names, look)) == before
    up.shells(dict.fromkeys(up.names, header))
    converge(up, config(site(tls={"certificate": "renamed"})), changes=0)
    up.shells(dict.fromkeys(up.names, "cd /etc/nginx/tls/shop; ln -sfn placeholder current; rm -r 0123456789abcdef"))
    converge(up, changes=1)


def test_a_new_warning_is_let_pass_where_it_is_accepted(up):
    given = FAULTS["warning"][0]
    run = converge(up, given, changes=1, warnings="accept")
    assert "conflicting server name" in run.text, run.output
    # It is not new any more.
    converge(up, {**given, "worker": {"connections": 2000}}, changes=1)
    converge(up, changes=1)


def test_a_file_that_was_changed_by_hand_is_put_right(up):
    """Also where nginx has loaded it already, under the name of its generation."""
    script = (
        "cd /etc/nginx/shipshape/$(readlink /etc/nginx/shipshape/proven);"
        " sed -i 's/return 200 old/return 200 new/' sites/shop.conf; touch sites/stray.conf; systemctl reload nginx; "
        + waiting(f"test $({ASK}) = newnew")
    )
    up.shells(dict.fromkeys(up.names, script))
    assert set(answers(up).values()) == {"newnew"}
    with served(up):
        run = converge(up, BASE, "--diff", "--check", changes=1)
        assert set(answers(up).values()) == {"newnew"}
        run = converge(up, BASE, "--diff", changes=1)
    assert run.output.count("+        return 200 old;") >= 2, run.output
    assert set(answers(up).values()) == {"oldold"}
    converge(up, changes=0)


def test_a_file_in_the_place_of_the_link_is_kept_aside(up):
    script = "cd /etc/nginx; rm nginx.conf; echo '# mine' | cat nginx.conf.distribution - >nginx.conf"
    up.shells(dict.fromkeys(up.names, script))
    converge(up, changes=1)
    converge(up, changes=0)
    look = "cd /etc/nginx; tail -1 *.replaced; grep -c mine nginx.conf.distribution || true; rm *.replaced"
    assert set(up.shells(dict.fromkeys(up.names, look)).values()) == {"# mine\n0\n"}


DOWN = {
    "stopped": "systemctl disable --now --quiet nginx",
    "killed": "kill -9 $(cat /run/nginx.pid); " + waiting("systemctl is-failed --quiet nginx"),
    "failed": (
        "systemctl stop nginx; python3 -m http.server 80 >/dev/null 2>&1 & p=$!; "
        + waiting("ss -Hltn sport = :80 | grep -q .")
        + ";"
        " systemctl start nginx 2>/dev/null || true; kill $p; systemctl is-failed nginx"
    ),
}


@pytest.mark.parametrize("how", DOWN)
def test_a_server_that_is_down_comes_up(up, how):
    up.shells(dict.fromkeys(up.names, DOWN[how]))
    run = up.play(play(task(), {"ansible.builtin.debug": {"msg": "<{{ done.started }} {{ done.reloaded }}>"}}))
    assert run.code == 0, run.output
    assert run.output.count("<True False>") == 2, run.output
    assert set(answers(up).values()) == {"oldold"}
    assert set(up.shells(dict.fromkeys(up.names, "systemctl is-enabled nginx")).values()) == {"enabled\n"}
    converge(up, changes=0)


# --- the module's own code, with stops at each of its seams -----------------------------------------------------------

DRIVER = """
import json, os, signal, sys, time
sys.path.insert(0, "/root/lib")
from ansible_collections.shipshape.stack.plugins.module_utils import _nginx_change as change
from ansible_collections.shipshape.stack.plugins.module_utils import _nginx_converge as work, _nginx_host as host
from ansible_collections.shipshape.stack.plugins.module_utils._config_apply import Tools
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_swap import SwapError
def hook(point):
    seen.append(point)
    if len(seen) == int(sys.argv[1]):
        os._exit(9)
    if [point] == sys.argv[3:4]:
        os.kill(os.getpid(), signal.SIGTERM)
def stop(number, frame):
    raise SwapError(f"Stopped by signal {number}")
seen, tools, began = [], Tools(hook=hook), time.monotonic()
for number in change.SIGNALS:
    signal.signal(number, stop)
make = lambda: work.wanted_of(json.loads(sys.argv[2]), host.version(tools))
try:
    result = work.ensure(make, tools, change.Options(seconds=10))
except (SwapError, OSError) as exc:
    sys.exit(f"refused: {change.tell(exc)}")
print(len(seen), result["changed"], round(1000 * (time.monotonic() - began)))
"""
EVERY_SEAM = """
set -u
run() { python3 /root/driver.py "$1" "$2" 2>&1; }
asked() {
    for _ in 1 2 3 4 5 6 7 8 9; do
        said=$(ASK) && case "$said" in oldold|newnew) return;; esac
        sleep 0.3
    done
    echo "$1: $said"
}
run 0 "$1" >/dev/null || { echo "the first run fails"; exit; }
sh -euc "$3"
seams=$(run 0 "$2" | cut -d' ' -f1)
for seam in $(seq "$seams"); do
    run 0 "$1" >/dev/null || echo "seam $seam: the way back fails"
    sh -euc "$3"
    run "$seam" "$2" >/dev/null && { echo "seam $seam was not reached"; exit; }
    [ "$4" = down ] || asked "seam $seam, killed"
    if [ "$4" = cut ]; then
        systemctl reset-failed nginx
        systemctl kill --signal=KILL nginx
        timeout 20 sh -c 'until systemctl is-failed --quiet nginx; do sleep 0.1; done'
        systemctl start nginx
        asked "seam $seam, power cut"
    fi
    said=$(run 0 "$2") || echo "seam $seam: the next run fails: $said"
    asked "seam $seam, converged"
    again=$(run 0 "$2" | cut -d' ' -f1,2)
    [ "$again" = "0 False" ] || echo "seam $seam: the run after that changes something: $again"
    left=$(ls -A /etc/nginx /etc/nginx/shipshape | grep -e '~' -e '^[.]new' -e unproven)
    [ -z "$left" ] || echo "seam $seam: left: $left"
done
echo "$seams seams"
"""


@pytest.fixture(scope="module")
def equipped(up):
    converge(up)
    up.bring_code("_config_*", "_nginx_*", "_certificate_*", "_run_command")
    scripts = {"driver.py": DRIVER, "seams.sh": EVERY_SEAM.replace("ASK", ASK)}
    write = "\n".join(f"cat >/root/{each} <<'END'\n{text}\nEND" for each, text in scripts.items())
    up.shells(dict.fromkeys(up.names, write))
    return up


HAND = "sed -i 's/return 200 old/return 200 new/' /etc/nginx/shipshape/$(readlink /etc/nginx/shipshape/proven)/sites/*"
# From, to, what comes between, and what is done after the kill.
KILLED = [
    pytest.param(BASE, NEW, "true", "cut", id="change"),
    pytest.param(BASE, BASE, HAND, "cut", id="changed-by-hand"),
    pytest.param(BASE, NEW, "systemctl stop nginx", "down", id="start"),
    pytest.param(
        BASE,
        NEW,
        "cd /etc/nginx; rm -r shipshape; mv nginx.conf.distribution nginx.conf; systemctl reload nginx; "
        + waiting("test -z $(curl --silent http://127.0.0.1:8081/generation)"),
        "down",
        id="take-over",
    ),
]


@pytest.mark.parametrize(("old", "new", "between", "after"), KILLED)
def test_killed_at_any_seam(equipped, old, new, between, after):
    script = shlex.join(["sh", "/root/seams.sh", json.dumps(old), json.dumps(new), between, after])
    said = equipped.shells(dict.fromkeys(equipped.names, script))
    for name in equipped.names:
        assert said[name].splitlines()[-1:] == said[name].splitlines(), said[name]
        assert int(said[name].split()[0]) > 5, said[name]


def test_a_signal_puts_back_now(equipped):
    converge(equipped)
    before = snapshot(equipped)
    with served(equipped):
        for point in ("tested", "swapped", "reloaded", "proven"):
            script = f"python3 /root/driver.py 0 '{json.dumps(NEW)}' {point} 2>&1 || true"
            for said in equipped.shells(dict.fromkeys(equipped.names, script)).values():
                assert "Stopped by signal 15" in said, said
                assert ("is back, reloaded and proven" in said) == (point in ("reloaded", "proven")), said
            assert snapshot(equipped) == before


FULL = """
set -u
look() { ( LOOK ) | sha256sum | cut -c1-64; }
run() { python3 /root/driver.py 0 "$1" 2>&1; }
mkdir -p /mnt/small
mount -t tmpfs -o size=3m,nr_inodes=9999 none /mnt/small
cp -a /etc/nginx/. /mnt/small
mount --bind /mnt/small /etc/nginx
tidy() {
    rm -f /etc/nginx/fill /etc/nginx/shipshape/previous
    mount -o remount,nr_inodes=9999 /mnt/small
    for folder in /etc/nginx/shipshape/????????????????; do
        [ "${folder##*/}" = "$(readlink /etc/nginx/shipshape/proven)" ] || rm -r "$folder"
    done
}
attempt() {
    if said=$(run "$2"); then
        done=$((done + 1))
        rm -f /etc/nginx/fill; mount -o remount,nr_inodes=9999 /mnt/small
        run "$1" >/dev/null || echo "$3: the way back fails"
    else
        refused=$((refused + 1))
        case "$said" in *"No space left on device: make room"*) ;; *) echo "$3: $said";; esac
    fi
    tidy
    [ "$(look)" = "$before" ] || { echo "$3: not as it was"; LOOK; exit; }
}
refused=0; done=0
run "$1" >/dev/null; tidy; before=$(look)
for room in 0 4 8 16 20 24 28; do
    dd if=/dev/zero of=/etc/nginx/fill bs=1k 2>/dev/null
    truncate -s -${room}k /etc/nginx/fill
    attempt "$1" "$2" "$room kB"
done
for room in $(seq 0 2 22); do
    mount -o remount,nr_inodes=$(($(df --output=iused /mnt/small | tail -1) + room)) /mnt/small
    attempt "$1" "$2" "$room files"
done
echo "$refused refused, $done done"
"""


def test_a_full_disk(equipped):
    converge(equipped)
    script = FULL.replace("LOOK", LOOK)
    script = f"cat >/root/full.sh <<'END'\n{script}\nEND\nsh /root/full.sh '{json.dumps(BASE)}' '{json.dumps(NEW)}'"
    try:
        with served(equipped):
            said = equipped.shells(dict.fromkeys(equipped.names, script))
    finally:
        clean = "umount /etc/nginx 2>/dev/null || true; umount /mnt/small 2>/dev/null || true"
        equipped.shells(dict.fromkeys(equipped.names, clean))
    for text in said.values():
        found = re.fullmatch(r"(\d+) refused, (\d+) done\n", text)
        assert found, text
        assert int(found[1]) >= 10, text
        assert int(found[2]) >= 2, text
    converge(equipped)


def test_what_it_costs(equipped):
    """Without Ansible around it: the release of an application calls it often."""
    script = "; ".join(
        f"python3 /root/driver.py 0 '{json.dumps(given)}'" for given in (NEW, NEW, NEW, BASE, BASE, NEW, BASE)
    )
    for name, said in equipped.shells(dict.fromkeys(equipped.names, script)).items():
        lines = [line.split() for line in said.splitlines()]
        took = {state: sorted(int(line[2]) for line in lines if line[1] == state) for state in ("True", "False")}
        print(f"\n{name}: changed {took['True']} ms, unchanged {took['False']} ms")
        assert took["False"][0] < 200, said
        assert took["True"][0] < 2000, said


def test_absent_gives_the_host_back(up):
    for changed in (1, 0):
        run = up.play(play({"shipshape.stack.nginx_config": {"state": "absent"}}))
        assert run.code == 0, run.output
        assert [run.changed(name) for name in up.names] == [changed] * 2, run.output
    look = (
        "systemctl is-active nginx || true; systemctl is-enabled nginx || true;"
        " ls /etc/nginx | grep -e ship -e tls -e '~' -e dist || true; dpkg --verify nginx-common nginx"
    )
    for said in up.shells(dict.fromkeys(up.names, look)).values():
        assert said.split() == ["inactive", "disabled"], said
    converge(up, changes=1)
