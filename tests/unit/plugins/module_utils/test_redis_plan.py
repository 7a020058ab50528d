# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Redis server is told, what has to change, and what its keys would not survive."""

from __future__ import annotations

import hashlib

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils._redis_plan import (
    Flavour,
    RedisError,
    canonical,
    dangers,
    keyspace,
    merged,
    own_values,
    policy_problem,
    primary,
    read_file,
    render,
    rules_of,
    scratch_problem,
    setting_changes,
    shown,
    shown_setting,
    text_of,
    user_changes,
    users_text,
)
from hypothesis import given
from hypothesis import strategies as st

REDIS = Flavour("redis")
DIGEST = hashlib.sha256(b"a long password").hexdigest()
COMMANDS = st.lists(st.sampled_from(["-keys", "-sort", "-flushall", "-migrate", "-restore"]), unique=True)
NAMES = st.sampled_from(
    ["maxmemory", "hz", "timeout", "maxmemory-policy", "replica-priority", "list-max-listpack-size"]
)
VALUES = st.dictionaries(NAMES, st.text("abc019 ", max_size=4))


@pytest.mark.parametrize(
    ("value", "expected"),
    [(True, "yes"), (False, "no"), (7, "7"), ("1gb", "1gb"), ("", '""'), (None, '""')],
)
def test_text_of(value, expected):
    assert text_of(value) == expected


def test_what_is_given_wins_and_a_list_is_several_lines():
    found = render(merged(REDIS, {"Port": 0, "client-output-buffer-limit": ["normal 0 0 0", "pubsub 1mb 1mb 60"]}))
    assert "\nport 0\n" in found
    assert "port 6379" not in found
    assert "client-output-buffer-limit normal 0 0 0\nclient-output-buffer-limit pubsub 1mb 1mb 60\n" in found
    assert "aclfile /etc/redis/shipshape.acl\n" in found


@pytest.mark.parametrize(
    "settings", [{"maxmemory": "1gb\nrequirepass x"}, {"maxmemory 1gb\nport": 0}, {"": 1}, {"save": ["1 1", "2\r2"]}]
)
def test_a_second_line_cannot_be_smuggled_in(settings):
    with pytest.raises(RedisError):
        merged(REDIS, settings)


def test_valkey_has_places_of_its_own():
    valkey = Flavour("valkey")
    assert valkey.unit == "valkey-server.service"
    assert all("redis" not in text for text in valkey.settings.values())
    assert "ExecStart=/usr/bin/valkey-server /etc/valkey/shipshape.conf " in valkey.drop_in_text("/srv/data")
    assert "ReadWritePaths=-/srv/data\n" in valkey.drop_in_text("/srv/data")


def test_read_file():
    text = '# port 1\n\nport 6380\nrequirepass "a b"\nbind 127.0.0.1 -::1\nport 6381\n'
    assert read_file(text) == {"port": "6381", "requirepass": "a b", "bind": "127.0.0.1 -::1"}


@pytest.mark.parametrize(
    ("given_save", "expected"),
    [("900 1 300 10", "900 1 300 10"), ("", ""), (["900 1", "300 10"], "900 1 300 10")],
)
def test_own_values(given_save, expected):
    found = own_values(merged(REDIS, {"save": given_save, "appendonly": True, "port": 0}))
    assert (found["save"], found["appendonly"], found["port"]) == (expected, "yes", "0")


# --- users ------------------------------------------------------------------------------------------------------------


def test_users_without_a_password_are_off_and_passwords_are_digests():
    users = [{"name": "default", "rules": ["~*"]}, {"name": "shop", "rules": ["~shop:*", "+@all"]}]
    found = users_text(users, {"shop": "a long password"})
    assert found == f"user default off\nuser shop on #{DIGEST} ~shop:* +@all\n"
    assert "password" not in found
    assert DIGEST not in shown(found)


@given(COMMANDS.flatmap(lambda commands: st.tuples(st.just(commands), st.permutations(commands))))
def test_the_order_of_commands_does_not_count(orders):
    lines = [f"user a on {' '.join(['+@all', *words])} (~x {' '.join(['-@all', *words])})" for words in orders]
    assert canonical(lines[0]) == canonical(lines[1])
    assert user_changes([lines[0]], [lines[1]]) == {}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("user a on +@all -@dangerous", "user a on -@dangerous +@all"),
        ("user a on ~x +@all", "user a on ~y +@all"),
        ("user a on #1 +@all", "user a on #2 +@all"),
        ("user a on +@all", "user a off +@all"),
        ("user a on -@all +get (~x +set)", "user a on -@all +get +set (~x)"),
    ],
)
def test_what_counts_of_a_user(old, new):
    assert user_changes([old], [new]) == {"a": (old, new)}
    assert user_changes([new], [new]) == {}


def test_users_come_and_go():
    assert user_changes(["user a on"], ["user b on"]) == {"a": ("user a on", ""), "b": ("", "user b on")}


def test_a_selector_is_one_rule():
    assert rules_of("user a on #1 ~* (~x:* resetchannels -@all +get) (~y:*)") == [
        "on", "#1", "~*", "(~x:* resetchannels -@all +get)", "(~y:*)",
    ]  # fmt: skip


# --- settings ---------------------------------------------------------------------------------------------------------


@given(VALUES, VALUES)
def test_a_second_plan_is_empty(live, wanted):
    changes = setting_changes(live, wanted)
    after = {**live, **{key: new for key, (_old, new) in changes.items()}}
    assert setting_changes(after, wanted) == {}
    assert all(live[key] == old and wanted[key] == new for key, (old, new) in changes.items())


def test_each_directive_is_changed_once_under_its_present_name():
    live = {
        "slave-priority": "100",
        "replica-priority": "100",
        "list-max-ziplist-size": "1",
        "list-max-listpack-size": "1",
    }
    wanted = dict.fromkeys(live, "7")
    assert list(setting_changes(live, wanted)) == ["list-max-listpack-size", "replica-priority"]
    assert primary("lua-time-limit") == "busy-reply-threshold"


def test_no_password_of_before_is_shown_or_taken_away():
    assert setting_changes({"requirepass": "old"}, {"requirepass": ""}) == {}
    assert shown_setting("masterauth", "old") == "masterauth ********"
    assert shown_setting("masterauth", "") == "masterauth "
    assert shown_setting("port", "6379") == "port 6379"


def test_what_the_unit_says_is_compared_only_where_somebody_asked():
    assert setting_changes({"maxclients": "10000"}, {"maxclients": "99"}) == {}
    assert setting_changes({"maxclients": "10000"}, {"maxclients": "99"}, ["maxclients"]) == {
        "maxclients": ("10000", "99")
    }


def test_keyspace():
    info = {"db0": "keys=3,expires=1,avg_ttl=0", "db11": "keys=2,expires=0,avg_ttl=0,subexpiry=0", "role": "master"}
    assert keyspace(info) == {0: (3, 1), 11: (2, 0)}


@pytest.mark.parametrize(
    ("changes", "databases", "limit", "word"),
    [
        ({"dir": ("/var/lib/redis", "/srv")}, {0: (5, 0)}, 0, "dir /srv: the server has 5 keys"),
        ({"dir": ("/var/lib/redis", "/srv")}, {}, 0, ""),
        ({"appenddirname": ("a", "b")}, {0: (5, 0)}, 0, "appenddirname b"),
        ({"databases": ("16", "4")}, {4: (1, 0)}, 0, "databases 4: there are keys in database 4"),
        ({"databases": ("16", "4")}, {3: (1, 0)}, 0, ""),
        ({"databases": ("16", "32")}, {3: (1, 0)}, 0, ""),
        ({"maxmemory": ("0", "999")}, {0: (5, 0)}, 999, "maxmemory 999: the server uses 1000 bytes"),
        ({"maxmemory": ("0", "999")}, {0: (5, 0)}, 0, ""),
        ({"maxmemory": ("0", "1000")}, {0: (5, 0)}, 1000, ""),
        ({"maxmemory": ("999", "0")}, {0: (5, 0)}, 0, ""),
        ({"maxmemory-policy": ("noeviction", "allkeys-lru")}, {0: (5, 0)}, 999, "maxmemory 999"),
        ({"maxmemory-policy": ("allkeys-lru", "noeviction")}, {0: (5, 0)}, 999, ""),
        ({"hz": ("10", "20")}, {0: (5, 0)}, 999, ""),
    ],
)
def test_dangers(changes, databases, limit, word):
    found = "; ".join(dangers(changes, databases, 1000, limit))
    assert found.startswith(word) if word else found == ""


@pytest.mark.parametrize(
    ("policy", "purpose", "refused"),
    [
        ("allkeys-lru", "queue", True),
        ("volatile-ttl", "store", True),
        ("allkeys-lru", "cache", False),
        ("noeviction", "queue", False),
    ],
)
def test_policy_problem(policy, purpose, refused):
    assert (policy in policy_problem(policy, purpose)) is refused


BAD_NAME = """
*** FATAL CONFIG FILE ERROR (Redis 7.0.15) ***
Reading the configuration file, at line 3
>>> 'maxmemoryy 1gb'
Bad directive or wrong number of arguments
"""
BAD_KEY = """\
12:M 25 Nov 2026 13:16:31.927 # WARNING Memory overcommit must be enabled!
12:M 25 Nov 2026 13:16:31.927 # Failed to load private key: /etc/x.key: error:8000000D:Permission denied
12:M 25 Nov 2026 13:16:31.927 # Failed to configure TLS. Check logs for more info.
"""


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (BAD_NAME, "'maxmemoryy 1gb': Bad directive or wrong number of arguments"),
        (
            BAD_KEY,
            "Failed to load private key: /etc/x.key: error:8000000D:Permission denied;"
            " Failed to configure TLS. Check logs for more info.",
        ),
        ("", "it ended without a word"),
    ],
)
def test_scratch_problem(output, expected):
    assert scratch_problem(output) == expected
