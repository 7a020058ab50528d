"""config_files on real hosts: old files intact or the run completed, never a mix."""

from __future__ import annotations

import base64
import json
import re
import subprocess

import pytest

from .conftest import Group, Run, until

HOST = "d13"
A, B = "/etc/cfg/a", "/etc/cfg/b"


def tasks(*params: dict) -> list[dict]:
    """One task per set of parameters; the result of the last one is shown in a form that no callback wraps."""
    steps: list[dict] = [
        {"name": f"Call {number}", "shipshape.stack.config_files": each, "register": f"r{number}"}
        for number, each in enumerate(params)
    ]
    shown = f"{{{{ r{len(params) - 1} | to_json | b64encode }}}}"
    steps.append({"name": "Show", "ansible.builtin.debug": {"msg": f"RESULT={shown}="}})
    python = {"ansible_python_interpreter": "/usr/bin/python3"}  # known, so not looked for in every run
    return [{"hosts": HOST, "gather_facts": False, "become": True, "vars": python, "tasks": steps}]


def result(run: Run) -> dict:
    found = re.search(r"RESULT=([A-Za-z0-9+/=]+?)=+\W", run.output)
    assert found, run.output
    text = found.group(1)
    return json.loads(base64.b64decode(text + "=" * (-len(text) % 4)))


def file(dest: str, content: str, **more) -> dict:
    return {"dest": dest, "content": content, "mode": "0644", **more}


def pair(content: str, **more) -> dict:
    return {"name": "pair", "files": [file(A, content), file(B, content)], **more}


def content(hosts: Group) -> str:
    return hosts.shell(HOST, f"cat {A} {B}")


@pytest.fixture(autouse=True)
def _fresh(hosts):
    hosts.shell(
        HOST,
        f"systemctl stop 'shipshape-rollback-*' || true; rm -rf /var/lib/shipshape /etc/cfg; mkdir /etc/cfg;"
        f" printf old > {A}; printf old > {B}; touch -d 2020-01-01 {A} {B}",
    )


def leftovers(hosts: Group) -> str:
    script = "find /etc/cfg -name '.shipshape*'; ls /etc/systemd/system | grep shipshape- || true"
    return hosts.shell(HOST, f"{script}; ls /var/lib/shipshape/*").replace("pair", "").strip()


def hanging(hosts: Group, play: list[dict], seconds: str) -> subprocess.Popen:
    """Start a run whose validator hangs, and wait until it does."""
    process = hosts.start(play)
    until(lambda: hosts.shell(HOST, f"pgrep -fx 'sleep {seconds}' || true"), 20, "the validator runs")
    return process


def kill_module(hosts: Group, seconds: str) -> None:
    """kill -9 for the module, which is the parent of the validator that hangs; and for that one."""
    hosts.shell(HOST, f"child=$(pgrep -fx 'sleep {seconds}'); kill -9 $(ps -o ppid= $child) $child")


def test_converges_and_again(hosts):
    wanted = {
        "files": [
            {"dest": "/etc/cfg/sub", "state": "directory"},
            file("/etc/cfg/sub/secret", "hunter2xyz\n", no_log=True, mode="0600"),
            {"dest": "/etc/cfg/link", "link": "sub/secret"},
            file(A, "x\n", validate="grep x %s", backup=True),
            {"dest": B, "state": "absent"},
        ],
        "purge": [{"path": "/etc/cfg", "patterns": ["*.conf"]}],
        "validate": ["test -e /etc/cfg/link"],
    }
    hosts.shell(HOST, "touch /etc/cfg/stale.conf")
    fresh = hosts.play(tasks(wanted), "--check", "--diff")
    assert fresh.code == 0, fresh.output
    assert content(hosts) == "oldold"
    done = hosts.play(tasks(wanted), "--diff", "-vvv")
    assert done.code == 0, done.output
    assert result(done)["changed_files"] == result(fresh)["changed_files"]
    assert len(result(done)["changed_files"]) == 6
    secret = base64.b64encode(b"hunter2xyz\n").decode().rstrip("=")
    assert "hunter2xyz" not in done.output.replace(json.dumps(wanted), "")
    assert secret not in done.output
    again = hosts.play(tasks(wanted), "--diff")
    assert not result(again)["changed"]
    assert "---" not in again.output


def test_validation_fails(hosts):
    run = hosts.play(tasks(pair("new", validate=["sh -c 'cat /etc/cfg/a; exit 4'"])))
    assert run.code != 0
    assert "refuses the new configuration (rc 4): new" in run.text
    assert hosts.shell(HOST, f"cat {A} {B}; stat -c %y {A}").startswith("oldold2020-01-01")
    assert leftovers(hosts) == ""


def test_full_disk(hosts):
    hosts.shell(HOST, "mount -t tmpfs -o size=64k none /etc/cfg; printf old > /etc/cfg/a; printf old > /etc/cfg/b")
    try:
        run = hosts.play(tasks({"files": [file(A, "new"), file(B, "n" * 100_000)]}))
        assert "No space left on device" in run.text
        assert content(hosts) == "oldold"
        # Full to the last byte while the validator runs, and then it refuses: putting back needs no space.
        fill = "dd if=/dev/zero of=/etc/cfg/fill bs=1k 2>/dev/null; exit 5"
        run = hosts.play(tasks(pair("new", validate=[["sh", "-c", fill]])))
        assert "(rc 5)" in run.text
        assert content(hosts) == "oldold"
        assert hosts.shell(HOST, "find /etc/cfg -name '.ship*'") == ""
    finally:
        hosts.shell(HOST, "umount /etc/cfg")


@pytest.mark.parametrize("where", ["temp", "written", "power"])
def test_killed(hosts, where):
    new = pair("new")
    hang = pair("new", validate=["sleep 987"])
    if where == "temp":
        hang = pair("new")
        hang["files"][1]["validate"] = "sh -c 'exec sleep 987' %s"
    process = hanging(hosts, tasks(hang), "987")
    assert content(hosts) == ("oldold" if where == "temp" else "newnew")
    if where == "power":
        process.kill()
        hosts._tool("kill", HOST)
        hosts.restart(HOST)
    else:
        kill_module(hosts, "987")
    process.communicate()
    check = hosts.play(tasks(new), "--check")
    assert "to be recovered first" in result(check)["msg"]
    run = result(hosts.play(tasks(new)))
    assert run["recovered"]
    assert run["changed_files"] == run["pending_files"] == [A, B]
    assert content(hosts) == "newnew"
    assert leftovers(hosts) == ""


def test_killed_before_the_handlers(hosts):
    done = result(hosts.play(tasks(pair("new"), pair("new"))))
    assert (done["changed"], done["changed_files"], done["pending_files"]) == (True, [], [A, B])
    confirmed = {"name": "pair", "state": "confirmed"}
    done = result(hosts.play(tasks(confirmed, confirmed, pair("new"))))
    assert not done["changed"]


def test_attacks_and_obstacles(hosts):
    hosts.shell(
        HOST,
        "cd /etc/cfg; mkdir -m 777 open; ln -s /etc/shadow open/link; ln /etc/cfg/b open/hard; mkdir dir; touch fixed;"
        " chattr +i fixed || rm fixed",
    )
    immutable = hosts.shell(HOST, "ls /etc/cfg").find("fixed") >= 0
    entries = [file(f"/etc/cfg/{name}", "new") for name in ("a", "open/link", "open/hard", "dir", "none/x")]
    run = hosts.play(tasks({"files": [*entries, file("/etc/cfg/who", "x", owner="nobodyhere")]}))
    for part in ("to /etc/shadow", "hard links", "a directory is in the way", "/etc/cfg/none does not", "nobodyhere"):
        assert part in run.text
    if immutable:
        run = hosts.play(tasks({"files": [file(A, "new"), file("/etc/cfg/fixed", "new")]}))
        hosts.shell(HOST, "chattr -i /etc/cfg/fixed")
        assert "it is immutable" in run.text
    assert content(hosts) == "oldold"


def test_two_at_once(hosts):
    first = hanging(hosts, tasks(pair("first", validate=["sleep 3.5"])), "3.5")
    second = hosts.play(tasks(pair("second", validate=["grep -q second /etc/cfg/a /etc/cfg/b"])))
    out = first.communicate()[0]
    assert first.returncode == second.code == 0, out + second.output
    assert content(hosts) == "secondsecond"


def test_dead_man_switch(hosts):
    rollback = {"seconds": 4, "command": "touch /etc/cfg/reloaded"}
    armed = result(hosts.play(tasks(pair("new", rollback=rollback))))
    assert armed["rollback_armed"]
    assert content(hosts) == "newnew"
    until(lambda: hosts.shell(HOST, "ls /etc/cfg").find("reloaded") >= 0, 10, "the switch fires")
    until(lambda: leftovers(hosts) == ".rolled_back", 5, "it cleans up")
    assert content(hosts) == "oldold"
    assert "old state restored" in hosts.shell(HOST, "journalctl -u shipshape-rollback-pair --no-pager")
    late = hosts.play(tasks({"name": "pair", "state": "confirmed"}))
    assert "too late, the old files are back" in late.text


def test_dead_man_switch_after_a_power_cut(hosts):
    hosts.play(tasks(pair("new", rollback={"seconds": 6})))
    hosts._tool("kill", HOST)
    hosts.restart(HOST)
    until(lambda: content(hosts) == "oldold", 20, "the switch fires behind the restart")
    until(lambda: leftovers(hosts) == ".rolled_back", 5, "it cleans up")


def test_confirmed_cancels(hosts):
    confirmed = {"name": "pair", "state": "confirmed"}
    run = hosts.play(tasks(pair("new", rollback={"seconds": 3}), confirmed))
    assert result(run)["changed"], run.output
    assert leftovers(hosts) == ""
    # No unit is left that could still fire, and the files are the new ones.
    assert hosts.shell(HOST, "systemctl list-units --all 'shipshape-rollback-*' --no-legend --plain") == ""
    assert content(hosts) == "newnew"


def test_old_state_at_once(hosts):
    hosts.play(tasks(pair("new", rollback={"seconds": 300})))
    hosts.shell(HOST, "systemctl start shipshape-rollback-pair.service")
    assert content(hosts) == "oldold"
    units = "systemctl list-units --all 'shipshape-rollback-*' --no-legend --plain"
    until(lambda: hosts.shell(HOST, units) == "", 10, "the timer is gone too")
