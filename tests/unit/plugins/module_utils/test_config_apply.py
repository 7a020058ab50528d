"""Whole transactions on real files: applied, refused, killed at every seam, attacked, and put back."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pathlib
import resource
import shutil
import signal
import stat
import subprocess
import sys
import tempfile

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils import _config_restore as restore_program
from ansible_collections.shipshape.stack.plugins.module_utils._config_apply import (
    CommandError,
    Tools,
    converge,
    predict,
    run_command,
)
from ansible_collections.shipshape.stack.plugins.module_utils._config_entries import parse
from ansible_collections.shipshape.stack.plugins.module_utils._config_restore import ConfigError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
ME = {"owner": str(os.geteuid()), "group": str(os.getegid())}


def file(dest, content="new\n", mode="0644", **more):
    return {"dest": str(dest), "content": content, "mode": mode, **ME, **more}


class World:
    """A tree of files, and a journal and units of its own."""

    def __init__(self, base: pathlib.Path) -> None:
        self.base, self.tree = base, base / "etc"
        self.journals, self.units = base / "state/config_files", base / "units"
        self.tree.mkdir(mode=0o755)
        self.units.mkdir()
        self.commands: list[list[str]] = []

    def run(self, argv):
        if argv[0] != "systemctl":
            return run_command(argv)
        self.commands.append(list(argv))
        return 0, "", ""

    def tools(self, **more):
        more = {"run": self.run, "wait": 0.3, **more}
        return Tools(root=str(self.journals), units=str(self.units), booted=str(self.base), **more)

    def request(self, *files, **more):
        contents = {each["dest"]: bytes(each["content"], "utf-8") for each in files if "content" in each}
        return parse({"files": list(files), **more}, contents, self.number, self.number)

    @staticmethod
    def number(name):
        return int(name) if name.isdigit() else {"root": 0}.get(name)

    def apply(self, *files, hook=None, **more):
        return converge(self.request(*files, **more), self.tools(**({"hook": hook} if hook else {})))

    def check(self, *files, **more):
        return predict(self.request(*files, **more), self.tools())

    def shot(self):
        """Everything that must be the same again. Directories change their mtime when an entry comes and goes."""
        return {str(path.relative_to(self.tree)): self._shot(path) for path in sorted(self.tree.rglob("*"))}

    @staticmethod
    def _shot(path):
        found = path.lstat()
        common = (stat.S_IFMT(found.st_mode), stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid)
        if path.is_symlink():
            return (*common, os.readlink(path))
        return common if path.is_dir() else (*common, path.read_bytes(), found.st_mtime_ns, found.st_nlink)

    def leftovers(self):
        return [*self.tree.rglob(".shipshape-*"), *self.journals.glob("*/*.json")]


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def mixed(world):
    """One of each kind of change; returns the entries and the rest of the request."""
    tree = world.tree
    (tree / "changed").write_text("old\n")
    os.utime(tree / "changed", ns=(1, 1_000_000_000))
    (tree / "mode").write_text("new\n")
    (tree / "mode").chmod(0o600)
    (tree / "relinked").symlink_to("changed")
    (tree / "was_link").symlink_to("mode")
    (tree / "was_file").write_text("a file\n")
    (tree / "gone").write_text("bye\n")
    (tree / "gone_dir/sub").mkdir(parents=True)
    (tree / "gone_dir/sub/f").write_text("deep\n")
    (tree / "dir").mkdir(mode=0o700)
    (tree / "dir").chmod(0o700)
    (tree / "purged").mkdir()
    (tree / "purged/stale.conf").write_text("stale\n")
    (tree / "purged/mine.txt").write_text("stays\n")
    (tree / "same").write_text("new\n")
    (tree / "same").chmod(0o644)
    entries = [
        file(tree / "changed", backup=True),
        file(tree / "mode"),
        file(tree / "new"),
        {"dest": str(tree / "relinked"), "link": "mode"},
        file(tree / "was_link"),
        {"dest": str(tree / "was_file"), "link": "mode"},
        {"dest": str(tree / "gone"), "state": "absent"},
        {"dest": str(tree / "gone_dir"), "state": "absent"},
        {"dest": str(tree / "dir"), "state": "directory", "mode": "0750", **ME},
        {"dest": str(tree / "fresh"), "state": "directory", **ME},
        {"dest": str(tree / "fresh/below"), "state": "directory", **ME},
        file(tree / "fresh/below/f"),
        file(tree / "same"),
    ]
    return entries, {"purge": [{"path": str(tree / "purged"), "patterns": ["*.conf"]}], "validate": ["true"]}


# --- the ordinary way -------------------------------------------------------------------------------------------------


def test_one_of_each_and_again(world):
    entries, more = mixed(world)
    predicted = world.check(*entries, **more)
    before = world.shot()
    assert world.shot() == before
    assert not world.journals.exists()
    done = world.apply(*entries, **more)
    assert done["changed_files"] == predicted["changed_files"]
    assert [each["after"] for each in done["diff"]] == [each["after"] for each in predicted["diff"]]
    assert str(world.tree / "same") not in done["changed_files"]
    assert str(world.tree / "purged/stale.conf") in done["changed_files"]
    after = world.shot()
    assert after["changed"][4] == b"new\n"
    assert after["fresh/below/f"][1] == 0o644
    assert "gone" not in after
    assert "gone_dir" not in after
    assert after["relinked"][4] == "mode"
    assert after["purged/mine.txt"] == before["purged/mine.txt"]
    (backup,) = done["backup_files"]
    assert pathlib.Path(backup).read_text() == "old\n"
    again = world.apply(*entries, **more)
    assert (again["changed"], again["changed_files"], again["pending_files"], again["diff"]) == (False, [], [], [])
    assert world.shot() == after
    assert not world.leftovers()


def test_nothing_to_do_writes_no_journal(world):
    (world.tree / "a").write_text("new\n")
    (world.tree / "a").chmod(0o644)
    result = world.apply(file(world.tree / "a"), name="x")
    assert not result["changed"]
    assert list(world.journals.iterdir()) == []


@root_only
def test_owner_and_setuid(world):
    world.apply({**file(world.tree / "a", mode="4750"), "owner": "12", "group": "34"})
    found = (world.tree / "a").stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (12, 34, 0o4750)


def test_per_file_validate_sees_the_new_content_before_the_swap(world):
    dest = world.tree / "a"
    dest.write_text("old\n")
    script = f'test "$(cat $0)" = new && test "$(cat {dest})" = old'
    world.apply(file(dest, validate=["sh", "-c", script, "%s"]))
    assert dest.read_text() == "new\n"
    with pytest.raises(CommandError, match=f"{dest}: .* refuses"):
        world.apply(file(dest, "third\n", validate="grep new %s"))
    assert dest.read_text() == "new\n"
    assert not world.leftovers()


# --- pending ----------------------------------------------------------------------------------------------------------


def test_named_stays_pending_until_confirmed(world):
    a, b = file(world.tree / "a"), file(world.tree / "b")
    assert world.apply(a, name="x")["pending_files"] == [a["dest"]]
    again = world.apply(a, name="x")
    assert (again["changed"], again["changed_files"], again["pending_files"]) == (True, [], [a["dest"]])
    assert world.check(a, name="x")["changed"]
    assert world.apply(a, b, name="x")["pending_files"] == [a["dest"], b["dest"]]
    assert world.apply(a, b, name="other")["pending_files"] == []
    assert world.check(name="x", state="confirmed")["changed"]
    assert world.apply(name="x", state="confirmed")["changed"]
    assert not world.apply(name="x", state="confirmed")["changed"]
    assert not world.apply(a, b, name="x")["changed"]
    assert not world.leftovers()


# --- failure ----------------------------------------------------------------------------------------------------------


def test_validation_puts_everything_back(world):
    entries, more = mixed(world)
    before = world.shot()
    more["validate"] = ["true", ["sh", "-c", f"cat {world.tree}/changed; echo no >&2; exit 3"]]
    with pytest.raises(CommandError) as caught:
        world.apply(*entries, **more)
    assert "(rc 3): new no" in str(caught.value)
    assert caught.value.result == {"cmd": more["validate"][1], "rc": 3, "stdout": "new\n", "stderr": "no\n"}
    assert world.shot() == before
    assert not world.leftovers()


def test_validation_output_without_secrets(world):
    with pytest.raises(CommandError) as caught:
        world.apply(
            file(world.tree / "a", "pass hunter2xyz\n", no_log=True), validate=[f"grep -H nope {world.tree}/a x"]
        )
    assert "hunter2xyz" not in str(caught.value)
    with pytest.raises(CommandError) as caught:
        world.apply(
            file(world.tree / "a", "pass hunter2xyz\n", no_log=True), validate=[f"sh -c 'cat {world.tree}/a; exit 1'"]
        )
    assert "hunter2xyz" not in str(caught.value) + json.dumps(caught.value.result)


def test_a_command_that_is_not_there(world):
    with pytest.raises(CommandError, match="rc 127"):
        world.apply(file(world.tree / "a"), validate=["/no/such/program"])
    assert world.shot() == {}


def seams(world, entries, more, **extra):
    """Every point where a run can be interrupted, found by running it once elsewhere."""
    points: list[str] = []
    converge(world.request(*entries, **more), world.tools(hook=points.append, **extra))
    return points


@pytest.fixture(scope="module")
def all_seams(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("seams"))
    entries, more = mixed(world)
    return len(seams(world, entries, {**more, "name": "x", "rollback": {"seconds": 9, "command": "true"}}))


class Stop:
    """A hook that does something at the n-th point."""

    def __init__(self, number, act) -> None:
        self.left, self.act = number, act

    def __call__(self, point):
        self.left -= 1
        if self.left < 0:
            self.act(point)


def no_space(_point):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_any_step_may_fail(tmp_path, all_seams):
    for number in range(all_seams - 1):  # the last one is behind the commit
        (tmp_path / str(number)).mkdir()
        world = World(tmp_path / str(number))
        entries, more = mixed(world)
        before = world.shot()
        with pytest.raises(OSError, match="No space"):
            world.apply(
                *entries, **more, name="x", rollback={"seconds": 9, "command": "true"}, hook=Stop(number, no_space)
            )
        assert world.shot() == before, number
        assert not world.leftovers(), number
        assert list(world.units.iterdir()) == [], number


def killed(world, request, hook):
    """Run it in a process that dies on the spot."""
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            converge(request, world.tools(hook=hook))
        os._exit(0)
    return os.waitpid(child, 0)[1]


@pytest.mark.parametrize("name", ["x", None])
def test_killed_at_any_point(tmp_path, all_seams, name):
    for number in range(all_seams - 1):
        (tmp_path / str(number)).mkdir()
        world = World(tmp_path / str(number))
        entries, more = mixed(world)
        before, request = world.shot(), world.request(*entries, **more, name=name)

        def die(point):
            os.kill(os.getpid(), signal.SIGKILL)

        killed(world, request, Stop(number, die))
        half, pending = world.shot(), world.check(*entries, **more, name=name)
        assert pending["changed"] or number == all_seams - 2
        assert world.shot() == half
        # An empty request under another name: whoever comes next puts it back.
        recovery = world.apply(name="other")
        if name and number == all_seams - 2:  # behind the commit
            assert not recovery["recovered"]
            assert world.apply(*entries, **more, name=name)["pending_files"]
        else:
            assert recovery["recovered"], number
            assert recovery["changed"]
            assert world.shot() == before, number
        world.apply(*entries, **more, name=name)
        assert not [left for left in world.leftovers() if left.name != "pending.json"]
        assert not world.check(*entries, **more)["changed_files"]


def test_killed_while_putting_back(world):
    entries, more = mixed(world)
    before = world.shot()
    killed(world, world.request(*entries, **more), Stop(25, lambda point: os._exit(9)))
    (journal,) = world.journals.glob("*/writing.json")
    records = json.loads(journal.read_text())["records"]
    restore_program.restore(records[5:])
    restore_program.restore(records[8:])
    assert world.apply(name="other")["recovered"]
    assert world.shot() == before


def test_killed_run_is_told_in_check_mode(world):
    entries, more = mixed(world)
    killed(world, world.request(*entries, **more), Stop(20, lambda point: os._exit(9)))
    half = world.shot()
    told = world.check(*entries, **more)
    assert told["changed"]
    assert "to be recovered" in told["msg"]
    assert world.shot() == half


def test_full_disk(world):
    """A real refusal by the kernel, in the middle of writing the second file."""
    big, small = world.tree / "big", world.tree / "small"
    small.write_text("old\n")
    before = world.shot()
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
        try:
            world.apply(file(small), file(big, "x" * 100_000))
        except OSError as exc:
            os._exit(7 if exc.errno == errno.EFBIG else 8)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert world.shot() == before
    assert not world.leftovers()


def test_two_at_once(world):
    a = world.tree / "a"
    ready, go = os.pipe(), os.pipe()

    def hold(point):
        if point == "begin":
            os.write(ready[1], b"x")
            os.read(go[0], 1)

    child = os.fork()
    if child == 0:
        world.apply(file(a, "first\n"), hook=hold)
        os._exit(0)
    os.read(ready[0], 1)
    with pytest.raises(ConfigError, match="another run holds the lock"):
        world.apply(file(a, "second\n"))
    assert not a.exists()
    os.write(go[1], b"x")
    converge(world.request(file(a, "second\n")), world.tools(wait=10))
    os.waitpid(child, 0)
    assert a.read_text() == "second\n"


# --- what is refused before anything changes --------------------------------------------------------------------------


def refused(world, *files, **more):
    before = world.shot()
    with pytest.raises(ConfigError, match="nothing was changed: ") as caught:
        world.apply(file(world.tree / "first"), *files, **more)
    assert world.shot() == before
    assert not world.leftovers()
    return str(caught.value)


def test_all_that_is_missing_in_one_message(world):
    entries = [file(world.tree / "no/a", owner="nobodyhere"), file(world.tree / "b", group="nocrew")]
    message = refused(world, *entries)
    assert "user 'nobodyhere'" in message
    assert "group 'nocrew'" in message
    assert f"the directory {world.tree}/no does not exist" in message
    assert len(world.check(*entries)["changed_files"]) == 2


def test_directory_in_the_way(world):
    (world.tree / "d").mkdir()
    assert "a directory is in the way" in refused(world, file(world.tree / "d"))


def test_pipe_in_the_way_does_not_hang(world):
    os.mkfifo(world.tree / "p")
    with pytest.raises(ConfigError, match="device, socket or pipe"):
        world.apply(file(world.tree / "p"))


def test_file_in_the_path(world):
    (world.tree / "f").write_text("")
    assert "not a directory" in refused(world, file(world.tree / "f/a"))


def shared(path):
    path.mkdir()
    path.chmod(0o777)
    return path


def test_planted_link_in_a_shared_directory(world):
    secret = world.tree / "secret"
    secret.write_text("s")
    (shared(world.tree / "d") / "a").symlink_to(secret)
    assert f"a symbolic link (to {secret})" in refused(world, file(world.tree / "d/a"))


def test_planted_hard_link_in_a_shared_directory(world):
    (world.tree / "secret").write_text("s")
    os.link(world.tree / "secret", shared(world.tree / "d") / "a")
    assert "hard links" in refused(world, file(world.tree / "d/a"))


def test_planted_directory_link(world):
    (world.tree / "real").mkdir()
    (shared(world.tree / "d") / "sub").symlink_to(world.tree / "real")
    assert "'sub' in it is a symbolic link" in refused(world, file(world.tree / "d/sub/a"))
    # Also deeper: whoever may rename the directory above chooses what is below.
    (world.tree / "d/own").mkdir()
    (world.tree / "d/own/sub").symlink_to(world.tree / "real")
    assert "is a symbolic link" in refused(world, file(world.tree / "d/own/sub/a"))


def test_link_in_a_safe_directory_is_replaced_not_followed(world):
    other = world.tree / "other"
    other.write_text("theirs\n")
    (world.tree / "a").symlink_to(other)
    world.apply(file(world.tree / "a"))
    assert not (world.tree / "a").is_symlink()
    assert other.read_text() == "theirs\n"


def test_directory_link_in_a_safe_directory_is_followed(world):
    (world.tree / "real").mkdir()
    (world.tree / "alias").symlink_to("real")
    (world.tree / "far").symlink_to(world.tree / "alias")
    world.apply(file(world.tree / "far/a"))
    assert (world.tree / "real/a").read_text() == "new\n"


def test_links_in_a_circle(world):
    (world.tree / "x").symlink_to("y")
    (world.tree / "y").symlink_to("x")
    assert "too many symbolic links" in refused(world, file(world.tree / "x/a"))


def test_shared_directory_is_fine_without_a_trap(world):
    (shared(world.tree / "d") / "a").write_text("old")
    world.apply(file(world.tree / "d/a"), {"dest": str(world.tree / "d/l"), "link": "a"})
    assert (world.tree / "d/a").read_text() == "new\n"


@root_only
def test_immutable_file(world):
    (world.tree / "a").write_text("old\n")
    if subprocess.run(["chattr", "+i", world.tree / "a"], check=False, capture_output=True).returncode:
        pytest.skip("no immutable files here")
    try:
        assert "it is immutable" in refused(world, file(world.tree / "a"))
    finally:
        subprocess.run(["chattr", "-i", world.tree / "a"], check=True)


def test_purge_of_what_is_no_directory(world):
    (world.tree / "f").write_text("")
    with pytest.raises(ConfigError, match="cannot be listed"):
        world.apply(purge=[{"path": str(world.tree / "f")}])
    assert not world.apply(purge=[{"path": str(world.tree / "missing")}])["changed"]


# --- the dead-man switch ----------------------------------------------------------------------------------------------

ROLLBACK = {"name": "x", "rollback": {"seconds": 9, "command": "true"}}


def fire(world):
    """What the timer does: the program that lies beside the journal, without the collection."""
    folder = world.journals / "x"
    text = (folder / "restore.py").read_text().replace('"/etc/systemd/system"', repr(str(world.units)))
    (folder / "restore.py").write_text(text)
    path = world.base / "bin"
    path.mkdir(exist_ok=True)
    (path / "systemctl").write_text("#!/bin/sh\n")
    (path / "systemctl").chmod(0o755)
    argv = [sys.executable, "-I", str(folder / "restore.py")]
    return subprocess.run(argv, check=True, capture_output=True, text=True, env={"PATH": f"{path}:/usr/bin:/bin"})


def test_armed_before_the_first_file_is_replaced(world):
    dest = world.tree / "a"
    dest.write_text("old\n")

    def look(point):
        if point == "armed":
            assert dest.read_text() == "old\n"
            assert (world.units / "shipshape-rollback-x.timer").exists()

    assert world.apply(file(dest), **ROLLBACK, hook=look)["rollback_armed"]
    timer = (world.units / "shipshape-rollback-x.timer").read_text()
    assert "OnActiveSec=9\n" in timer
    assert "WantedBy=timers.target" in timer
    assert ["systemctl", "enable", "--now", "shipshape-rollback-x.timer"] in world.commands
    service = (world.units / "shipshape-rollback-x.service").read_text()
    assert f"{world.journals}/x/restore.py" in service


def test_nothing_changes_nothing_is_armed(world):
    world.apply(file(world.tree / "a"))
    assert not world.apply(file(world.tree / "a"), **ROLLBACK)["rollback_armed"]
    assert world.commands == []


def test_fires(world):
    entries, more = mixed(world)
    before = world.shot()
    del more["validate"]
    marker = world.base / "ran"
    rollback = {"seconds": 9, "command": ["touch", str(marker)]}
    world.apply(*entries, **more, name="x", rollback=rollback)
    assert world.shot() != before
    told = fire(world)
    assert "old state restored; touch" in told.stdout
    (backup,) = [name for name in before if "~" in name] or [None]
    assert backup is None
    assert world.shot() == before
    assert marker.exists()
    assert list(world.units.iterdir()) == []
    assert not (world.journals / "x").exists()
    assert "not confirmed (9 s)" in (world.journals / "x.rolled_back").read_text()
    with pytest.raises(ConfigError, match="too late, the old files are back"):
        world.apply(name="x", state="confirmed")
    assert world.apply(*entries, **more, name="x")["changed_files"]
    assert not (world.journals / "x.rolled_back").exists()


def test_fires_back_to_the_last_confirmed_state(world):
    dest, second = world.tree / "a", world.tree / "b"
    dest.write_text("confirmed\n")
    before = world.shot()
    world.apply(file(dest, "one\n"), **ROLLBACK)
    world.apply(file(dest, "two\n"), file(second), **ROLLBACK)
    world.apply(file(dest, "three\n"), file(second), name="x")
    with pytest.raises(CommandError):
        world.apply(file(dest, "four\n"), name="x", validate=["false"])
    assert dest.read_text() == "three\n"
    assert len(list(world.tree.glob(".shipshape-*"))) == 1
    fire(world)
    assert world.shot() == before


def test_fires_on_a_killed_run(world):
    entries, more = mixed(world)
    before = world.shot()
    killed(world, world.request(*entries, **more, **ROLLBACK), Stop(25, lambda point: os._exit(9)))
    assert world.shot() != before
    fire(world)
    assert world.shot() == before
    assert not world.leftovers()


def test_confirmed_cancels(world):
    world.apply(file(world.tree / "a"), **ROLLBACK)
    assert world.apply(name="x", state="confirmed")["changed"]
    assert list(world.units.iterdir()) == []
    assert not (world.journals / "x").exists()
    assert not world.leftovers()


def test_recovery_by_anyone_takes_the_timer_too(world):
    killed(world, world.request(file(world.tree / "a"), **ROLLBACK), Stop(3, lambda point: os._exit(9)))
    assert len(list(world.units.iterdir())) == 2
    world.apply(name="other")
    assert list(world.units.iterdir()) == []


def test_pending_call_starts_the_time_again(world):
    world.apply(file(world.tree / "a"), **ROLLBACK)
    world.commands.clear()
    again = world.apply(file(world.tree / "a"), **ROLLBACK)
    assert again["rollback_armed"]
    assert again["changed"]
    assert ["systemctl", "enable", "--now", "shipshape-rollback-x.timer"] in world.commands


def test_timer_that_cannot_start_changes_nothing(world):
    def broken(argv):
        return (1, "", "no bus") if "--now" in argv else (0, "", "")

    with pytest.raises(ConfigError, match="no bus"):
        converge(world.request(file(world.tree / "a"), **ROLLBACK), world.tools(run=broken))
    assert world.shot() == {}
    assert list(world.units.iterdir()) == []


def test_without_systemd(world):
    tools = Tools(root=str(world.journals), units=str(world.units), booted=str(world.base / "none"))
    with pytest.raises(ConfigError, match="needs a running systemd"):
        converge(world.request(file(world.tree / "a"), **ROLLBACK), tools)
    assert world.shot() == {}


# --- any tree, any wish -----------------------------------------------------------------------------------------------

NAMES = ["a", "b", "d", "d/a", "d/b"]
CONTENT = st.sampled_from(["", "one\n", "two\n", "\x01"])
MODES = st.sampled_from(["0600", "0644", "0755"])
PRESENT = st.one_of(
    st.none(), st.tuples(st.just("file"), CONTENT, MODES), st.tuples(st.just("link"), st.sampled_from(["a", "gone"]))
)
WISH = st.one_of(
    st.none(),
    st.tuples(st.just("absent")),
    st.tuples(st.just("file"), CONTENT, MODES),
    st.tuples(st.just("link"), st.sampled_from(["a", "b"])),
    st.tuples(st.just("directory"), MODES),
)


def build(world, tree):
    for name in NAMES:
        path, what = world.tree / name, tree[name]
        if what is None or not path.parent.is_dir():
            continue
        if name == "d":
            path.mkdir()
        elif what[0] == "link":
            path.symlink_to(what[1])
        else:
            path.write_text(what[1])
            path.chmod(int(what[2], 8))


def entry(path, wish):
    if wish[0] == "file":
        return file(path, wish[1], wish[2])
    extra = {"link": {"link": wish[-1]}, "directory": {"mode": wish[-1], **ME}}.get(wish[0], {})
    return {"dest": str(path), "state": wish[0], **extra}


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    tree=st.fixed_dictionaries(dict.fromkeys(NAMES, PRESENT)),
    wishes=st.fixed_dictionaries(dict.fromkeys(NAMES, WISH)),
    purge=st.booleans(),
    point=st.integers(0, 30),
    how=st.sampled_from(["fail", "kill"]),
)
def test_all_or_nothing(tree, wishes, purge, point, how):
    base = pathlib.Path(tempfile.mkdtemp())
    try:
        world = World(base)
        build(world, tree)
        before = world.shot()
        more = {"purge": [{"path": str(world.tree)}]} if purge else {}
        try:
            request = world.request(*(entry(world.tree / name, wish) for name, wish in wishes.items() if wish), **more)
            if how == "kill":
                killed(world, request, Stop(point, lambda _point: os._exit(9)))
            else:
                with contextlib.suppress(OSError):
                    converge(request, world.tools(hook=Stop(point, no_space)))
            converge(world.request(name="other"), world.tools())
            done = predict(request, world.tools())["changed_files"] == []
            assert done or world.shot() == before
            converge(request, world.tools())
        except ConfigError:
            assert world.shot() == before  # refused: then nothing at all has happened
        else:
            assert predict(request, world.tools())["changed_files"] == []
        assert not world.leftovers()
    finally:
        shutil.rmtree(base)
