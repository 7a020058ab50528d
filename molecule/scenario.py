"""What the tests of several scenarios do alike."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import tempfile
import time

ROOT = pathlib.Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])


def until(condition, seconds, what):
    """Wait for a condition, and say what was waited for when it does not come."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.3)


def run_playbook(path, *arguments):
    """Run a playbook on the hosts of the scenario."""
    argv = ["ansible-playbook", f"--inventory={os.environ['MOLECULE_INVENTORY_FILE']}", *arguments, str(path)]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)


def run_tasks(*tasks):
    """Run tasks as root on the hosts of the scenario."""
    with tempfile.NamedTemporaryFile("w", suffix=".yml", encoding="utf-8") as play:
        json.dump([{"hosts": "all", "become": True, "tasks": tasks}], play)
        play.flush()
        return run_playbook(play.name)


def mistake(role, options, reason):
    """A task that runs a role with a mistake, and fails unless the role refused it with the reason."""
    return {
        "name": "Refuse a mistake",
        "block": [
            {"ansible.builtin.include_role": {"name": f"shipshape.stack.{role}"}, "vars": options},
            {"ansible.builtin.fail": {"msg": "it was taken"}},
        ],
        "rescue": [
            {
                "ansible.builtin.assert": {
                    "that": "reason in ansible_failed_result | string",
                    "fail_msg": "{{ ansible_failed_result | string }}",
                },
                "vars": {"reason": reason},
            }
        ],
    }
