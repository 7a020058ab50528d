"""What restic says, what passes through programs, and what goes from a target."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
import time

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils import _backup_restic as restic
from ansible_collections.shipshape.stack.plugins.module_utils._backup_host import MissingProgramError, OvertimeError
from ansible_collections.shipshape.stack.plugins.module_utils._backup_manifest import BackupError
from ansible_collections.shipshape.stack.plugins.module_utils._backup_pipe import EndedError, Programs, pump
from ansible_collections.shipshape.stack.plugins.module_utils._backup_target import Target, parse_environment

# Recorded from restic 0.18.
SAID = [
    ("Fatal: repository does not exist: unable to open config file: stat /x/config: no such file or directory", "gone"),
    ("Stat(<config/>) returned error, retrying after 1s: Stat: The specified bucket does not exist", "gone"),
    ("Fatal: failed to find snapshot: no matching ID found for prefix", "gone"),
    ('Fatal: cannot dump file: path "/etc/x" not found in snapshot', "gone"),
    ("Stat: The request signature we calculated does not match the signature you provided. Is there a repository", ""),
    ("Stat: The AWS Access Key Id you provided does not exist in our records.", ""),
    ("Fatal: config file already exists", "there"),
    ("Fatal: create repository at x failed: repository master key and config already initialized", "there"),
]


@pytest.mark.parametrize(("said", "means"), SAID)
def test_what_restic_means(said, means):
    assert bool(restic.GONE.search(said)) == (means == "gone")
    assert bool(restic.INITIALIZED.search(said)) == (means == "there")


def test_digests_of_an_archive():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in (("sets/x/a", b"one"), ("sets/x/b", b"")):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    whole = out.getvalue()
    assert restic.digests(io.BytesIO(whole)) == {
        "a": hashlib.sha256(b"one").hexdigest(),
        "b": hashlib.sha256(b"").hexdigest(),
    }
    assert "a" not in restic.digests(io.BytesIO(whole[:514]))
    assert restic.digests(io.BytesIO(b"")) == {}


def test_what_passes_is_hashed():
    with Programs("test", 10) as programs:
        first = programs.start(["printf", "hello"])
        second = programs.start(["cat"], stdin=subprocess.PIPE)
        assert pump(first.stdout, second.stdin) == hashlib.sha256(b"hello").hexdigest()
        second.stdin.close()
        assert second.stdout.read() == b"hello"
        programs.finish()


def test_a_program_that_fails_is_an_error_with_its_words():
    def run():
        with Programs("test", 10) as programs:
            programs.start(["sh", "-c", "echo oh no >&2; exit 7"])
            programs.finish()

    with pytest.raises(EndedError, match="sh ended with 7: oh no") as caught:
        run()
    assert caught.value.status == 7


def test_of_two_programs_the_one_that_stopped_reading_is_named():
    def run():
        with Programs("test", 10) as programs:
            first = programs.start(["yes"])
            second = programs.start(["sh", "-c", "echo full >&2; exit 1"], stdin=subprocess.PIPE)
            pump(first.stdout, second.stdin)

    with pytest.raises(EndedError, match="sh ended with 1: full"):
        run()


def test_a_program_without_an_end_is_ended():
    def run():
        with Programs("test", 1) as programs:
            pump(programs.start(["sh", "-c", "echo waiting >&2; sleep 60"]).stdout)
            programs.finish()

    begun = time.monotonic()
    with pytest.raises(OvertimeError, match=r"no end within 1 s.*waiting"):
        run()
    assert time.monotonic() - begun < 10


def test_a_program_that_is_not_there():
    with pytest.raises(MissingProgramError, match="install"), Programs("test", 1) as programs:
        programs.start(["no-such-program"])


def test_the_environment_of_a_target():
    assert parse_environment("# keys\nA_B=c=d\n\nE=\n", "/x") == {"A_B": "c=d", "E": ""}
    with pytest.raises(BackupError, match="/x:1 is not NAME=value"):
        parse_environment("export A=b", "/x")


class There(Target):
    """A target that says what it would remove."""

    def __init__(self, names, **keep):
        keys = dict.fromkeys(
            ("keep_last", "keep_hourly", "keep_daily", "keep_weekly", "keep_monthly", "keep_yearly"), 0
        )
        super().__init__({"name": "away", "timeout": 9, **keys, **keep}, "db1")
        self.there = {name: {"id": f"id of {name}", "schedule": schedule} for name, schedule in names}
        self.gone = []

    def snapshots(self, host):
        assert host == "db1"
        return self.there

    def remove(self, gone):
        self.gone = [each["id"] for each in gone]


DAYS = [f"202601{day:02}T020000Z" for day in range(1, 6)]
DAILY = [(day, "daily") for day in DAYS]


@pytest.mark.parametrize(
    ("names", "keep", "floor", "made", "gone"),
    [
        pytest.param(DAILY, {"keep_last": 2}, 0, DAYS[4], DAYS[:3], id="as-many-as-it-should"),
        pytest.param(DAILY, {"keep_last": 2}, 4, DAYS[4], DAYS[:1], id="not-below-the-floor"),
        pytest.param(DAILY, {"keep_last": 1}, 0, DAYS[0], DAYS[1:4], id="nor-what-was-just-made"),
        pytest.param([*DAILY, ("20260101T030000Z", "hourly")], {"keep_last": 9}, 0, DAYS[4], [], id="all"),
    ],
)
def test_what_goes_from_a_target(names, keep, floor, made, gone):
    target = There(names, **keep)
    assert target.forget(floor, made) == ""
    assert target.gone == [f"id of {name}" for name in gone]


def test_a_clock_that_was_wrong_removes_nothing():
    target = There([*DAILY, ("20991231T020000Z", "daily")], keep_last=1)
    assert "lies in the future" in target.forget(0, DAYS[4])
    assert target.gone == []
