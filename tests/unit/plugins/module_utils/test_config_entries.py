"""Mistakes in the task are named, all at once, with the value and what to do."""

from __future__ import annotations

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils._config_entries import argv, parse
from ansible_collections.shipshape.stack.plugins.module_utils._config_restore import ConfigError

GOOD = {"dest": "/etc/a", "content": "", "mode": "0644"}


def user(name):
    return {"root": 0, "www-data": 33}.get(name)


def parsed(*files, **more):
    return parse({"files": list(files), **more}, {entry.get("dest"): b"x" for entry in files}, user, user)


def test_defaults():
    request = parsed(GOOD)
    (wanted,) = request.wanted
    assert (wanted.kind, wanted.mode, wanted.uid, wanted.gid, wanted.content) == ("file", 0o644, 0, 0, b"x")
    assert not request.named
    assert request.name.startswith("files-")
    assert parsed(GOOD).name == request.name != parsed({**GOOD, "dest": "/etc/b"}).name


def test_other_kinds():
    link, folder, gone = parsed(
        {"dest": "/l", "link": "x"}, {"dest": "/d", "state": "directory"}, {"dest": "/g", "state": "absent"}
    ).wanted
    assert (link.kind, link.target) == ("link", "x")
    assert (folder.kind, folder.mode) == ("directory", 0o755)
    assert gone.kind == "absent"


@pytest.mark.parametrize("mode", ["644", "0644", "2755", "04755"])
def test_modes(mode):
    assert parsed({**GOOD, "mode": mode}).wanted[0].mode == int(mode, 8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mode": 420}, "mode 420 is not an octal string. Quote it"),
        ({"mode": "0689"}, "'0689'"),
        ({"mode": "u=rw"}, "'u=rw'"),
        ({"mode": None}, "`mode` is missing"),
        ({"dest": "etc/a"}, "'etc/a' is not an absolute path"),
        ({"dest": "/etc/../a"}, "not an absolute path without '..'"),
        ({"dest": "/etc/a/"}, "a '/' at the end"),
        ({"dest": None}, "absolute path"),
        ({"src": "x"}, "exactly one of template, content, src; given: content, src"),
        ({"content": None}, "given: none"),
        ({"state": "directory"}, "state: directory takes none of content"),
        ({"state": "link"}, "a link needs exactly one of link"),
        ({"validate": "visudo -cf"}, "has no %s"),
        ({"validate": "visudo 'oops %s"}, "cannot be split"),
    ],
)
def test_mistakes_in_an_entry(change, message):
    with pytest.raises(ConfigError, match=r"files\[0\] \(") as caught:
        parsed({**GOOD, **change})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"name": "SSH d"}, "name 'SSH d'"),
        ({"state": "confirmed"}, "`name` is missing"),
        ({"rollback": {"seconds": 5}}, "`name` is missing"),
        ({"name": "x", "rollback": {"seconds": 0}}, "rollback.seconds is 0"),
        ({"name": "x", "state": "confirmed", "validate": ["true"]}, "takes nothing but `name`"),
        ({"validate": [""]}, "validate is empty"),
        ({"purge": [{"path": "x"}]}, "purge: 'x'"),
    ],
)
def test_mistakes_in_the_task(params, message):
    with pytest.raises(ConfigError) as caught:
        parsed(**params)
    assert message in str(caught.value)


def test_every_mistake_in_one_message():
    with pytest.raises(ConfigError) as caught:
        parsed({**GOOD, "mode": 1}, {**GOOD, "dest": "x"}, name="?")
    assert str(caught.value).count(";") == 2


def test_two_entries_that_contradict():
    with pytest.raises(ConfigError, match="declared twice"):
        parsed(GOOD, GOOD)
    with pytest.raises(ConfigError, match="whose declared state is absent"):
        parsed({**GOOD, "dest": "/etc/d/a"}, {"dest": "/etc/d", "state": "absent"})


def test_content_that_never_came():
    with pytest.raises(ConfigError, match="action plugin"):
        parse({"files": [GOOD]}, {}, user, user)


def test_commands_have_no_shell():
    assert argv("sshd -t; rm x", "c") == ("sshd", "-t;", "rm", "x")
    assert argv(["a b", 1], "c") == ("a b", "1")
