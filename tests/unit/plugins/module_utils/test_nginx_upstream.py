# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Upstreams whose servers change between two runs of the role."""

from __future__ import annotations

import json

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_render import (
    certificates,
    listeners,
    logs,
    render,
)
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_swap import SwapError
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_tls import Nginx
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_upstream import (
    Switch,
    UnknownError,
    changed,
    names,
    read,
    serving,
    wanted_of,
)
from hypothesis import given
from hypothesis import strategies as st
from nginx_reader import read as directives

NGINX = Nginx((1, 26, 3), (3, 5, 1))
ONE, TWO = {"address": "192.0.2.1:80"}, {"address": "192.0.2.2:80"}
NOBODY = ["127.0.0.1:1", "max_fails=0", "down"]


def config(*servers, dynamic=True, **keys):
    place = {"path": "/", "type": "proxy", "upstream": "app"}
    return {
        "upstreams": [{"name": "app", "servers": list(servers), "dynamic": dynamic, **keys}],
        "sites": [{"name": "shop", "server_names": ["a.org"], "locations": [place], "tls": {"certificate": "a"}}],
    }


def tree(*servers, **keys):
    return render(config(*servers, **keys), NGINX)


def switched(files, *servers, owner="app1", **keys):
    return changed(files, Switch("app", owner, list(servers), **keys))[1]


def lines(files, name="server"):
    """The servers of the upstream, as nginx reads them by the tree's own includes."""
    tops = directives(files["nginx.conf"], files)
    upstream = next(each for top in tops for each in top.all("upstream") if each.words == ["app"])
    return upstream.own(name)


def addresses(files):
    return [words[0] for words in lines(files)]


def test_only_dynamic_upstreams_add_files():
    added = tree(ONE).keys() - tree(ONE, dynamic=False).keys()
    assert added == {"served.json", "upstreams/app.conf", "upstreams/app.json"}
    assert lines(tree(ONE)) == lines(tree(ONE, dynamic=False))


def test_what_is_served_is_known_from_the_files_alone():
    wanted, known = config(ONE), wanted_of(tree(ONE))
    assert known.listeners == tuple(listeners(wanted, NGINX))
    assert ("127.0.0.1", 8082, "tcp") in known.listeners
    assert known.status == ("127.0.0.1", 8081)
    assert known.certificates == tuple(certificates(wanted)) == ("a",)
    assert known.logs == tuple(logs(wanted))
    assert known.files == tree(ONE)
    assert ("127.0.0.1", 8082, "tcp") not in listeners(config(ONE, dynamic=False), NGINX)


STEPS = {
    "none yet": ([], [NOBODY]),
    "one": ([("app1", [ONE])], [["192.0.2.1:80", "max_fails=0"]]),
    "two owners": (
        [("b", [TWO]), ("a", [{**ONE, "weight": 3}])],
        [["192.0.2.1:80", "max_fails=0", "weight=3"], ["192.0.2.2:80", "max_fails=0"]],
    ),
    "another instead": ([("a", [ONE]), ("a", [TWO])], [["192.0.2.2:80", "max_fails=0"]]),
    "one goes": ([("a", [ONE]), ("b", [TWO]), ("a", None)], [["192.0.2.2:80", "max_fails=0"]]),
    "the last goes": ([("a", [ONE]), ("a", None)], [NOBODY]),
    "an owner of none": ([("a", [ONE]), ("a", [])], [NOBODY]),
    "all down": ([("a", [{**ONE, "down": True}])], [["192.0.2.1:80", "max_fails=0", "down"]]),
    "only a backup": ([("a", [{**ONE, "backup": True}])], [["192.0.2.1:80", "max_fails=0", "backup"], NOBODY]),
    "address of one that left": ([("a", [ONE]), ("a", None), ("b", [ONE])], [["192.0.2.1:80", "max_fails=0"]]),
}


@pytest.mark.parametrize("case", STEPS)
def test_servers(case):
    steps, found = STEPS[case]
    files = tree()
    for owner, servers in steps:
        files = changed(files, Switch("app", owner, servers))[1]
    assert lines(files) == found
    assert render(config(), NGINX, files) == files


def test_servers_of_the_options_count_until_the_first_switch():
    files = tree(ONE)
    assert addresses(files) == ["192.0.2.1:80"]
    assert addresses(render(config(TWO), NGINX, files)) == ["192.0.2.2:80"]
    # To take away what is not there is no switch.
    assert changed(files, Switch("app", "app1"))[1] == files
    files = switched(files, TWO)
    assert addresses(files) == ["192.0.2.2:80"]
    assert render(config(ONE), NGINX, files) == files
    assert addresses(render(config(ONE), NGINX, changed(files, Switch("app", "app1"))[1])) == ["127.0.0.1:1"]


def test_the_role_changes_the_rest_and_forgets_what_is_not_wanted():
    files = switched(tree(balance="least_conn"), ONE)
    assert lines(files, "least_conn") == [[]]
    after = render(config(keepalive=7), NGINX, files)
    assert addresses(after) == ["192.0.2.1:80"]
    assert lines(after, "least_conn") == []
    assert lines(after, "keepalive") == [["7"]]
    assert addresses(render(config(TWO, dynamic=False), NGINX, files)) == ["192.0.2.2:80"]
    assert names(render({}, NGINX, files)) == []


def test_maintenance_is_a_server_of_the_tree():
    files = changed(switched(tree(), ONE), Switch("app", maintenance=True))[1]
    assert lines(files) == [["127.0.0.1:8082", "max_fails=0"]]
    assert render(config(), NGINX, files) == files
    # Unset leaves it as it is, and what was switched meanwhile serves after it.
    files = switched(files, TWO)
    assert addresses(files) == ["127.0.0.1:8082"]
    record, files = changed(files, Switch("app", maintenance=False))
    assert addresses(files) == ["192.0.2.2:80"]
    assert [each["address"] for each in serving(record)] == ["192.0.2.2:80"]
    tops = directives(files["nginx.conf"], files)
    server = next(each for top in tops for each in top.all("server") if ["127.0.0.1:8082"] in each.own("listen"))
    assert server.own("return")[0][0] == "503"
    assert ["Retry-After", "60", "always"] in server.own("add_header")


def test_where_maintenance_is_elsewhere():
    wanted = {**config(ONE), "status": {"maintenance": "[::1]:8090"}}
    files = changed(render(wanted, NGINX), Switch("app", maintenance=True))[1]
    assert addresses(files) == ["[::1]:8090"]
    assert ("::1", 8090, "tcp") in wanted_of(files).listeners


SERVERS = st.lists(
    st.builds(
        lambda number, weight, down: {"address": f"192.0.2.{number}:80", "weight": weight, "down": down},
        st.integers(1, 250), st.integers(1, 9), st.booleans(),
    ),
    max_size=4, unique_by=lambda server: server["address"],
)  # fmt: skip
SWITCHES = st.lists(
    st.builds(Switch, st.just("app"), st.sampled_from([None, "a", "b"]), SERVERS, st.sampled_from([None, True, False]))
)


@given(SWITCHES)
def test_a_switch_twice_is_one_and_the_role_keeps_each(switches):
    files = tree(ONE)
    for switch in switches:
        try:
            after = changed(files, switch)[1]
        except SwapError as exc:
            assert "already" in str(exc)  # noqa: PT017 - drawn addresses may be the other owner's
            continue
        assert changed(after, switch)[1] == after
        assert render(config(ONE), NGINX, after) == after
        others = {path for path in files if files[path] != after[path]}
        assert others <= {"upstreams/app.conf", "upstreams/app.json"}
        files = after


REFUSED = {
    "unknown": (Switch("ap", "a", [ONE]), "name: nginx here has no dynamic upstream ap; it has app. Give it"),
    "twice": (Switch("app", "a", [ONE, ONE]), "servers[1].address: 192.0.2.1:80 is there twice"),
    "of another": (Switch("app", "a", [TWO]), "servers[0].address: 192.0.2.2:80 is one of other's already"),
    "backup": (Switch("app", "a", [{**ONE, "backup": True}]), "servers[0].backup: nginx has none with balance: random"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    switch, message = REFUSED[case]
    assert switch.problems() == []
    files = switched(tree(balance="random"), TWO, owner="other")
    with pytest.raises(SwapError) as caught:
        changed(files, switch)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("files", [{}, {"nginx.conf": "user www-data;\n"}, render(config(ONE, dynamic=False), NGINX)])
def test_no_upstream_at_all(files):
    with pytest.raises(UnknownError, match=r"it has none at all\. Give it dynamic: true in nginx_upstreams, and run"):
        read(files, "app")


INVALID = {
    "name": (Switch("App"), "name: 'App' is not a name"),
    "owner": (Switch("app", "a b", []), "owner: 'a b' is not the name of a host"),
    "placeholder of the tree": (Switch("app", "@ID@", []), "owner: '@ID@' is not the name of a host"),
    "key": (Switch("app", "a", [{"addres": "a:1"}]), "servers[0].addres: there is no such key: did you mean address?"),
    "address": (Switch("app", "a", [{"address": "a:1; }"}]), "servers[0].address: 'a:1; }' is not unix:"),
    "weight": (Switch("app", "a", [{**ONE, "weight": 0}]), "servers[0].weight: 0 is not a number from 1"),
}


@pytest.mark.parametrize("case", INVALID)
def test_invalid(case):
    switch, message = INVALID[case]
    assert switch.problems()[0].startswith(message)


def test_numbers_as_texts_are_fine():
    switch = Switch("app", "app-1.example.org", [{**ONE, "weight": "2", "down": "no"}])
    assert switch.problems() == []
    assert lines(changed(tree(), switch)[1]) == [["192.0.2.1:80", "max_fails=0", "weight=2"]]


def test_a_key_that_is_new_since_has_its_default():
    files = switched(tree(), ONE)
    record = json.loads(files["upstreams/app.json"])
    del record["keepalive"], record["owners"]["app1"][0]["max_conns"]
    files["upstreams/app.json"] = json.dumps(record)
    found = read(files, "app")
    assert found["keepalive"] == 32
    assert found["owners"]["app1"][0]["max_conns"] == 0


BROKEN = {
    "empty": ("", "it is no JSON."),
    "cut off": ('{"name": "app", ', "it is no JSON."),
    "too deep": ("[" * 100_000, "it is no JSON."),
    "a list": ("[]", "it is no JSON object."),
    "nothing": ("{}", "name: it is missing, and required."),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_record_that_is_broken_is_said(case):
    text, problem = BROKEN[case]
    files = {**switched(tree(), ONE), "upstreams/app.json": text}
    for act in (lambda: switched(files, TWO), lambda: render(config(), NGINX, files)):
        with pytest.raises(SwapError) as caught:
            act()
        assert str(caught.value).startswith(f"upstreams/app.json of the live tree is not as it was written: {problem}")
        assert "Put it right, or take that of the generation before, /etc/nginx/shipshape/previous" in str(caught.value)


# Where in the record, what somebody writes there, and what is said.
EDITED = {
    "weight": ("owners.app1.0.weight", "abc", "owners.app1[0].weight: 'abc' is not a number from 1"),
    "weight 0": ("owners.app1.0.weight", 0, "owners.app1[0].weight: 0 is not a number from 1"),
    "address": ("owners.app1.0.address", "a:80; } {", "owners.app1[0].address: 'a:80; } {' is not unix:"),
    "no address": ("owners.app1.0.address", None, "owners.app1[0].address: it is missing"),
    "key": ("owners.app1.0.wieght", 1, "owners.app1[0].wieght: there is no such key: did you mean weight?"),
    "servers": ("owners.app1", "192.0.2.1:80", "owners.app1: '192.0.2.1:80' is not a list"),
    "owner": ("owners.a b", [], "owners (a name): 'a b' is not the name of a host"),
    "owners": ("owners", [], "owners: [] is not a mapping of owners"),
    "balance": ("balance", "fair", "balance: 'fair' is not one of round_robin"),
    "keepalive": ("keepalive", "many", "keepalive: 'many' is not a number from 0"),
    "maintenance": ("maintenance", "later", "maintenance: 'later' is not true or false"),
    "name": ("name", "blog", "name: blog is not app"),
    "logs": ("logs", ["/etc/shadow"], "logs[0]: '/etc/shadow' is not 'off' or /var/log/nginx/"),
}


def edited(text, place, value):
    record = json.loads(text)
    *way, last = place.split(".")
    at = record
    for key in way:
        at = at[int(key) if isinstance(at, list) else key]
    at[last] = value
    return json.dumps(record)


@pytest.mark.parametrize("case", EDITED)
def test_a_value_that_a_hand_left_in_a_record_is_said(case):
    place, value, problem = EDITED[case]
    files = switched(tree(), ONE)
    files["upstreams/app.json"] = edited(files["upstreams/app.json"], place, value)
    for act in (lambda: switched(files, TWO, owner="app2"), lambda: render(config(), NGINX, files)):
        with pytest.raises(SwapError) as caught:
            act()
        assert f"is not as it was written: {problem}" in str(caught.value)


def test_a_record_without_owners_is_not_one_before_the_first_switch():
    files = switched(tree(), ONE)
    record = json.loads(files["upstreams/app.json"])
    del record["owners"]
    with pytest.raises(SwapError, match="owners: 'missing' is not a mapping of owners"):
        read({**files, "upstreams/app.json": json.dumps(record)}, "app")


def test_servers_that_a_hand_gave_are_kept():
    files = switched(tree(), ONE)
    text = edited(files["upstreams/app.json"], "owners.app1.0.weight", "7")
    text = edited(text, "maintenance", "no")
    after = render(config(), NGINX, {**files, "upstreams/app.json": text})
    assert lines(after) == [["192.0.2.1:80", "max_fails=0", "weight=7"]]
    assert render(config(), NGINX, after) == after


@pytest.mark.parametrize(
    ("place", "value", "problem"),
    [
        ("listeners", [["127.0.0.1", 80]], "listeners are not [address, port, protocol] each"),
        ("listeners", None, "listeners are not [address, port, protocol] each"),
        ("status", "8081", "status: '8081' is not an address and a port"),
        ("maintenance", None, "maintenance: it is missing"),
        ("certificates", ["../x"], "certificates[0]: '../x' is not the name of a certificate"),
    ],
)
def test_the_role_mends_what_is_served(place, value, problem):
    files = switched(tree(), ONE)
    broken = {**files, "served.json": edited(files["served.json"], place, value)}
    with pytest.raises(SwapError) as caught:
        wanted_of(switched(broken, TWO))
    assert str(caught.value).startswith(f"served.json of the live tree is not as it was written: {problem}")
    assert str(caught.value).endswith("Run site.yml, which writes it anew")
    assert render(config(), NGINX, broken) == files


@pytest.mark.parametrize(
    ("log", "found"),
    [
        ({}, ["/var/log/nginx/access.log"]),
        ({"access": "/var/log/nginx/shop.log"}, ["/var/log/nginx/shop.log"]),
        ({"format": "combined"}, []),
        ({"access": "off"}, []),
    ],
)
def test_logs_that_say_who_was_asked(log, found):
    wanted = config(ONE)
    wanted["sites"][0]["log"] = log
    assert read(render(wanted, NGINX), "app")["logs"] == found
