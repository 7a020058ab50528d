"""site.yml when things go wrong: unfit hosts, killed runs, power cuts, and what its output may not say."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

import pytest

from .conftest import ROOT

# Whole runs of site.yml, killed and repeated; the scenario site_default stands for it on every commit.
pytestmark = pytest.mark.nightly

SITE = "playbooks/site.yml"
# "correct horse", as mkpasswd would have written it.
HASH = "$6$saltsalt$hRM5XZ86KXEw9UOmjigeVqFgULtFB2sgpC9lXQDfMib3Zgw7mEiUvBJI2EplzfAqxL5Vvwp2scFtv/uamSo5z0"


def written(hosts, name):
    return hosts.shell(name, "find /etc -newer /etc/hostname -name '*shipshape*' | sort")


def unchanged(hosts, run):
    return run.code == 0 and all(run.changed(name) == 0 for name in hosts.names)


def test_preflight_lists_everything_that_is_wrong_and_changes_nothing(hosts):
    run = hosts.play(
        SITE,
        variables={
            "stack_requirements": {"all": {"memory_mb": 9_000_000, "disk_mb": 1}},
            "stack_supported_systems": {"Debian": ["11"]},
            "stack_clock_tolerance": -1,
            "sshd_portz": [22],
            "stack_admin_network": [],
        },
    )
    assert run.code != 0
    for words in (
        "Debian 12",
        "is not supported (stack_supported_systems)",
        "MiB of memory, and its groups need 9000000",
        "the controller's (stack_clock_tolerance",
        "sshd_portz is not an option: did you mean sshd_ports?",
        "stack_admin_network is not an option: did you mean stack_admin_networks?",
    ):
        assert words in run.text
    assert all(run.changed(name) == 0 for name in hosts.names)
    assert [written(hosts, name) for name in hosts.names] == ["", ""]


def test_one_unfit_host_stops_the_run_for_all(hosts):
    run = hosts.play(SITE, variables={"stack_supported_systems": {"Debian": ["13"]}})
    assert run.code != 0
    assert [written(hosts, name) for name in hosts.names] == ["", ""]


@pytest.mark.parametrize(
    "marker",
    [
        pytest.param("TASK [shipshape.stack.baseline : present | Write the files]", id="files-being-written"),
        pytest.param("TASK [shipshape.stack.sshd : activate | Log in anew", id="sshd-reloaded-and-not-confirmed"),
        pytest.param("RUNNING HANDLER [shipshape.stack.baseline", id="handlers-not-run"),
    ],
)
def test_killed_run(hosts, marker):
    hosts.play_killed_at(SITE, marker, "--diff")
    assert all(hosts.can_log_in(name) for name in hosts.names)


def test_the_next_run_converges_and_catches_up_with_the_lost_handlers(hosts):
    run = hosts.play(SITE)
    assert run.code == 0, run.output
    for name in hosts.names:
        assert hosts.shell(name, "cat /proc/sys/net/ipv4/conf/all/accept_redirects") == "0\n"
        assert hosts.shell(name, "find /var/lib/shipshape/config_files -name '*.json'") == ""
    assert unchanged(hosts, hosts.play(SITE))


def test_a_power_cut_changes_nothing(hosts):
    hosts.restart()
    again = hosts.play(SITE, "-e", "stack_serial=1")
    assert unchanged(hosts, again), again.output
    assert all("passwordauthentication no" in hosts.shell(name, "sshd -T") for name in hosts.names)


def test_tags_and_limit_reach_one_role_on_one_host(hosts):
    run = hosts.play(SITE, "--tags", "sshd", "--limit", "d13")
    assert run.code == 0
    assert list(run.recap) == ["d13"]
    assert "TASK [shipshape.stack.baseline : present" not in run.output


def test_an_inventory_s_group_vars_all_wins_over_the_wiring(hosts, tmp_path):
    (tmp_path / "group_vars/all").mkdir(parents=True)
    (tmp_path / "group_vars/all/sshd.yml").write_text("sshd_ports: [22, 2022]\n")
    (tmp_path / "hosts.yml").write_text((hosts.state / "inventory.yml").read_text())
    run = hosts.play(SITE, "-i", str(tmp_path), "--check", "--diff", "--tags", "sshd")
    assert run.code == 0, run.output
    assert "+Port 2022" in run.output


def test_no_secret_is_in_the_output_or_the_journal(hosts):
    secrets = {"baseline_admin_password_hashes": {"bob": HASH}}
    admins = {"baseline_admins": [{"name": "bob", "authorized_keys": [hosts.public_key], "sudo": "password"}]}
    output = hosts.play(SITE, "-vvv", "--diff", variables={**secrets, **admins})
    assert output.code == 0, output.output
    assert "bob" in output.output
    # What follows is the part of the hash that an attacker would work on.
    assert HASH.rpartition("$")[2] not in output.output
    for name in hosts.names:
        assert HASH in hosts.shell(name, "cat /etc/shadow")
        assert HASH.rpartition("$")[2] not in hosts.shell(
            name, "journalctl --no-pager; cat /var/log/auth.log /var/log/syslog"
        )


def test_runs_under_ansible_runner_without_a_prompt(hosts, tmp_path):
    done = subprocess.run(
        [
            str(pathlib.Path(sys.executable).with_name("ansible-runner")),
            "run", str(tmp_path), "--project-dir", str(ROOT), "--playbook", SITE,
            "--inventory", str(hosts.state / "inventory.yml"), "--json", "--ident", "site",
        ],
        capture_output=True, text=True, check=False, cwd=ROOT, env=hosts.environment(), stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    (stats,) = [event["event_data"] for event in events if event["event"] == "playbook_on_stats"]
    assert set(stats["ok"]) == set(hosts.names)
    assert not stats["failures"]


def test_a_fleet_of_which_one_host_has_moved_its_port(hosts):
    variables = {"stack_ssh_ports": [2222]}
    first = hosts.play(SITE, "--limit", "d12", variables=variables)
    assert first.code == 0, first.output
    both = hosts.play(SITE, variables=variables)
    assert both.code == 0, both.output
    assert all(hosts.can_log_in(name, port=2222) for name in hosts.names)
    assert unchanged(hosts, hosts.play(SITE, variables=variables))
    moved = hosts.folder / "moved.yml"
    moved.write_text(json.dumps({"all": {"hosts": {name: {"ansible_port": 2222} for name in hosts.names}}}))
    assert hosts.play(SITE, "-i", str(moved), "--tags", "sshd").code == 0
    assert all(hosts.can_log_in(name, port=22) for name in hosts.names)


def test_a_debian_without_python3_apt(hosts):
    hosts.shell("d13", "apt-get remove --yes --quiet python3-apt >/dev/null 2>&1")
    run = hosts.play(SITE, "--limit", "d13")
    assert run.code == 0, run.output
    assert "install ok installed" in hosts.shell("d13", "dpkg-query -W -f '${Status}' unattended-upgrades")
