"""What is decided, without a file system: every case also proves that a second plan is empty."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils._config_diff import diff, mask
from ansible_collections.shipshape.stack.plugins.module_utils._config_plan import State, Wanted, plan, purgeable

FILE = Wanted("/etc/app/a", "file", content=b"new\n", mode=0o644)
LINK = Wanted("/etc/app/a", "link", target="b")
FOLDER = Wanted("/etc/app/a", "directory", mode=0o755)
GONE = Wanted("/etc/app/a", "absent")
AS_FILE = State("file", mode=0o644, content=b"new\n", size=4)


def after(wanted: Wanted, now: State) -> State:
    """What carrying out a step leaves."""
    return State(
        wanted.kind, wanted.mode, wanted.uid or 0, wanted.gid or 0, wanted.content, len(wanted.content), wanted.target
    )


CASES = [
    pytest.param(FILE, AS_FILE, [], id="leaves-a-correct-file-alone"),
    pytest.param(FILE, State(), ["put"], id="creates"),
    pytest.param(FILE, replace(AS_FILE, content=b"old\n"), ["put"], id="content"),
    pytest.param(FILE, replace(AS_FILE, content=None, size=999999), ["put"], id="content-too-large-to-read"),
    pytest.param(FILE, replace(AS_FILE, mode=0o600), ["put"], id="mode"),
    pytest.param(FILE, replace(AS_FILE, uid=1), ["put"], id="owner"),
    pytest.param(FILE, replace(AS_FILE, gid=1), ["put"], id="group"),
    pytest.param(FILE, State("link", target="x"), ["put"], id="link-in-the-way-is-replaced"),
    pytest.param(replace(FILE, force=False), State("file", content=b"theirs"), [], id="force-false-leaves-a-file"),
    pytest.param(replace(FILE, force=False), State("link", target="x"), [], id="force-false-leaves-a-link"),
    pytest.param(replace(FILE, force=False), State(), ["put"], id="force-false-creates"),
    pytest.param(FILE, replace(AS_FILE, nlink=2, content=b"x"), ["put"], id="hard-link-in-a-safe-directory"),
    pytest.param(FILE, replace(AS_FILE, shared=True, content=b"x"), ["put"], id="plain-file-in-a-shared-directory"),
    pytest.param(LINK, State("link", target="b"), [], id="leaves-a-correct-link-alone"),
    pytest.param(LINK, State("link", target="c"), ["link"], id="link-target"),
    pytest.param(LINK, State("link", target="c", shared=True), ["link"], id="own-link-in-a-shared-directory"),
    pytest.param(LINK, AS_FILE, ["link"], id="file-becomes-link"),
    pytest.param(FOLDER, State("directory", mode=0o755), [], id="leaves-a-correct-directory-alone"),
    pytest.param(FOLDER, State(), ["mkdir"], id="makes-a-directory"),
    pytest.param(FOLDER, State("directory", mode=0o700), ["attributes"], id="directory-mode"),
    pytest.param(GONE, State(), [], id="is-absent"),
    pytest.param(GONE, State(parent=False), [], id="is-absent-with-its-directory"),
    pytest.param(GONE, State(parent=False, trouble="part is a file"), [], id="is-absent-below-a-file"),
    pytest.param(GONE, AS_FILE, ["remove"], id="removes-a-file"),
    pytest.param(GONE, State("link", target="x", shared=True), ["remove"], id="removes-a-link-itself"),
    pytest.param(GONE, State("directory"), ["remove"], id="removes-a-directory"),
]


@pytest.mark.parametrize(("wanted", "now", "actions"), CASES)
def test_plan(wanted, now, actions):
    decided = plan({wanted.dest: now}, [wanted])
    assert not decided.problems
    assert not decided.missing
    assert [step.action for step in decided.steps] == actions
    assert decided.changed_files == ([wanted.dest] if actions else [])
    assert bool(diff(decided)) == bool(actions)
    if actions:
        again = plan({wanted.dest: after(wanted, now)}, [wanted])
        assert not again.steps


REFUSED = [
    pytest.param(FILE, State("directory"), "a directory is in the way", id="directory-for-a-file"),
    pytest.param(LINK, State("directory"), "a directory is in the way", id="directory-for-a-link"),
    pytest.param(FOLDER, AS_FILE, "a file is in the way", id="file-for-a-directory"),
    pytest.param(FOLDER, State("link", target="x"), "a symbolic link is in the way", id="link-for-a-directory"),
    pytest.param(FILE, State("other"), "a device, socket or pipe", id="pipe"),
    pytest.param(GONE, State("other"), "a device, socket or pipe", id="pipe-is-not-removed"),
    pytest.param(FILE, State("link", target="/etc/shadow", shared=True), "/etc/shadow", id="planted-link"),
    pytest.param(FILE, replace(AS_FILE, nlink=2, shared=True), "hard links", id="planted-hard-link"),
    pytest.param(FILE, State(trouble="it cannot be read (x)"), "it cannot be read", id="trouble"),
]


@pytest.mark.parametrize(("wanted", "now", "message"), REFUSED)
def test_refused(wanted, now, message):
    decided = plan({wanted.dest: now}, [wanted])
    assert not decided.steps
    assert len(decided.problems) == 1
    assert message in decided.problems[0]
    assert decided.problems[0].startswith("/etc/app/a: ")


@pytest.mark.parametrize(
    ("wanted", "now", "message"),
    [
        pytest.param(replace(FILE, uid=None, owner="bob"), State(), "user 'bob'", id="user"),
        pytest.param(replace(FILE, gid=None, group="crew"), State(), "group 'crew'", id="group"),
        pytest.param(FILE, State(parent=False), "/etc/app does not exist", id="directory"),
    ],
)
def test_missing_is_a_predicted_change(wanted, now, message):
    decided = plan({wanted.dest: now}, [wanted])
    assert [step.action for step in decided.steps] == ["put"]
    assert message in decided.missing[0]


def test_a_declared_directory_is_not_missing():
    folder = Wanted("/etc/app", "directory", mode=0o755)
    decided = plan({"/etc/app": State(), "/etc/app/a": State(parent=False)}, [FILE, folder])
    assert not decided.missing
    assert [step.action for step in decided.steps] == ["mkdir", "put"]


def test_purge_spares_what_is_declared_and_removes_last():
    states = {"/d/keep": State(), "/d/old": AS_FILE}
    decided = plan(states, [replace(FILE, dest="/d/keep")], ["/d/old", "/d/keep"])
    assert [(step.action, step.dest) for step in decided.steps] == [("put", "/d/keep"), ("remove", "/d/old")]


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (["*"], ["a.conf", "b", "c~"]),
        (["*.conf"], ["a.conf"]),
        ([".*"], [".hidden"]),
        (["nothing"], []),
    ],
)
def test_purgeable(patterns, names):
    present = [
        "b",
        "a.conf",
        "c~",
        ".hidden",
        ".shipshape-1-0.old~",
        ".shipshape-1-0.new~",
        "b.77.2026-01-02@03:04:05~",
    ]
    assert purgeable(present, patterns) == names


def shown(wanted, now):
    return diff(plan({wanted.dest: now}, [wanted]))


def test_diff_of_text_and_mode():
    content, attributes = shown(FILE, State("file", mode=0o600, content=b"old\n", size=4))
    assert (content["before"], content["after"], content["after_header"]) == ("old\n", "new\n", "/etc/app/a")
    assert attributes["before"] == {"path": "/etc/app/a", "mode": "0600"}
    assert attributes["after"] == {"path": "/etc/app/a", "mode": "0644"}


def test_diff_of_another_owner_names_both():
    (attributes,) = shown(replace(FILE, uid=33, owner="www-data"), replace(AS_FILE, uid=1000))
    assert attributes["before"]["owner"] == 1000
    assert attributes["after"]["owner"] == "www-data"


def test_diff_hides_no_log_but_says_that_it_changed():
    (content,) = shown(replace(FILE, no_log=True), replace(AS_FILE, content=b"old\n"))
    assert content["before"] != content["after"]
    assert "old" not in content["before"]
    assert "new" not in content["after"].replace("hidden", "")


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"a\0b"])
def test_diff_of_binary(content):
    (shown_content, _attributes) = shown(replace(FILE, content=content), State())
    assert shown_content["after"].startswith(f"(binary, {len(content)} bytes, sha256 ")


def test_diff_of_large_is_short():
    (content, _attributes) = shown(replace(FILE, content=b"x" * 200_000), State())
    assert content["after"].startswith("(large, 200000 bytes, sha256 ")


def test_mask_takes_the_words_of_a_secret_out():
    text = mask(
        "line 3: bad option 'hunter2xyz' in requirepass", [b"requirepass hunter2xyz\nurl redis://u:pa55word@h/\n"]
    )
    assert "hunter2xyz" not in text
    assert "line 3" in text
    assert "pa55word" not in mask("cannot log in with pa55word", [b"redis://u:pa55word@h/"])
