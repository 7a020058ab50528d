"""What the tuner writes is what a real server reads: PostgreSQL 15 on Debian 12, 17 on Debian 13."""

from __future__ import annotations

import itertools
import json
import shlex

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils._postgresql_tuning import tune
from ansible_collections.shipshape.stack.plugins.module_utils._postgresql_units import equal

from .conftest import ROOT

# The tuner's numbers change with PostgreSQL's releases; its formulas have unit tests.
pytestmark = pytest.mark.nightly

KNOWN = json.loads((ROOT / "tests/unit/plugins/fixtures/pg_settings.json").read_text(encoding="utf-8"))
VERSIONS = {"d12": 15, "d13": 17}
NAMES = list(VERSIONS)
PRIMARY = {
    "max_connections": 150,
    "max_worker_processes": 20,
    "max_wal_senders": 12,
    "max_prepared_transactions": 10,
    "max_locks_per_transaction": 128,
}
INSTALL = """
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -qq -y --no-install-recommends postgresql >/dev/null
runuser -u postgres -- /usr/lib/postgresql/*/bin/initdb -D /tmp/scratch >/dev/null
"""
# Runs as postgres: each file of settings is asked for each of its parameters, by the server itself.
ASK = r"""
import glob, json, subprocess, sys
server = glob.glob("/usr/lib/postgresql/*/bin/postgres")[0]
answers = {}
for case, settings in json.load(sys.stdin).items():
    path = f"/tmp/scratch/{case}.conf"
    with open(path, "w") as file:
        file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
    answers[case] = {}
    for name in [*settings, "shared_memory_size"]:
        done = subprocess.run([server, "-D", "/tmp/scratch", "-c", f"config_file={path}", "-C", name],
                              capture_output=True, text=True)
        answers[case][name] = done.stdout.strip() if done.returncode == 0 else done.stderr
print(json.dumps(answers))
"""
# A real start with one of these files, and what pg_settings says then.
BOOT = r"""
bin=$(dirname /usr/lib/postgresql/*/bin/postgres)
run() { runuser -u postgres -- "$@"; }
start="-c config_file=/tmp/scratch/boot.conf -c listen_addresses= -c unix_socket_directories=/tmp/scratch"
run "$bin/pg_ctl" -s -w -D /tmp/scratch -l /tmp/scratch/log -o "$start" start || { cat /tmp/scratch/log; exit 1; }
run "$bin/psql" -X -At -h /tmp/scratch -d postgres -c "
  select json_build_object('settings', (select json_object_agg(name, array[setting, unit, vartype]) from pg_settings),
                           'errors', (select count(*) from pg_file_settings where error is not null))"
run "$bin/pg_ctl" -s -w -D /tmp/scratch -m fast stop
"""


@pytest.fixture(scope="module")
def servers(hosts):
    hosts.shells(dict.fromkeys(NAMES, INSTALL))
    return hosts


def ask(servers, name, cases):
    """All cases in one call: what the server prints for each parameter of each case, or its error."""
    script = f"cd /tmp; runuser -u postgres -- python3 -c {shlex.quote(ASK)} <<'END'\n{json.dumps(cases)}\nEND"
    return json.loads(servers.shell(name, script))


def differences(version, settings, answers):
    """Every parameter that the server refuses, or reads as something else."""
    return [
        f"{name} = {value}: {answers[name]}"
        for name, value in settings.items()
        if not equal(value, answers[name], KNOWN[str(version)][name]["unit"], KNOWN[str(version)][name]["vartype"])
    ]


def machines(version):
    """A spread over memory, CPUs and kinds of work, on disks of all kinds; and a standby."""
    sizes = [(512, 1), (2048, 2), (16384, 8), (262144, 64)]
    disks = itertools.cycle(["ssd", "nvme", "hdd", "unknown"])
    found = {}
    for (memory, cpus), profile in itertools.product(sizes, ["web", "oltp", "dw", "mixed"]):
        found[f"{profile}{memory}"] = {"memory_mb": memory, "cpus": cpus, "profile": profile, "disk": next(disks)}
    found["standby"] = {"memory_mb": 4096, "cpus": 4, "role": "standby", "primary": PRIMARY, "wal_free_mb": 300}
    return {case: tune({**wishes, "version": version}) for case, wishes in found.items()}


def texts(answer):
    return {name: entry["value"] for name, entry in answer["settings"].items()}


@pytest.mark.parametrize("name", NAMES)
def test_the_server_takes_every_value_and_reads_it_as_it_is_meant(servers, name):
    tuned = machines(VERSIONS[name])
    answers = ask(servers, name, {case: texts(answer) for case, answer in tuned.items()})
    assert len(answers) == 17
    for case, answer in tuned.items():
        assert differences(VERSIONS[name], texts(answer), answers[case]) == [], case
        # All shared memory, as the server itself works it out, is within what the tuner counts for it.
        counted = answer["memory"]["shared_buffers_mb"] + answer["memory"]["server_mb"]
        assert int(answers[case]["shared_memory_size"]) <= counted, case


@pytest.mark.parametrize("name", NAMES)
def test_a_server_starts_with_it_and_a_second_look_finds_no_difference(servers, name):
    wanted = texts(tune({"memory_mb": 1024, "cpus": 2, "version": VERSIONS[name], "disk": "ssd", "wal_free_mb": 9000}))
    ask(servers, name, {"boot": wanted})
    found = json.loads(servers.shell(name, BOOT))
    assert found["errors"] == 0
    assert [key for key, value in wanted.items() if not equal(value, *found["settings"][key])] == []
    # The comparison sees a difference, too.
    assert not equal("1MB", *found["settings"]["shared_buffers"])


@pytest.mark.parametrize("name", NAMES)
def test_the_check_itself_finds_what_is_wrong(servers, name):
    wrong = {
        "name": {"work_mem": "8MB", "wrok_mem": "8MB"},
        "unit": {"work_mem": "8mb"},
        "range": {"max_connections": "0"},
        "choice": {"wal_compression": "lzma"},
        "other": {"work_mem": "8MB", "maintenance_work_mem": "64MB"},
    }
    answers = ask(servers, name, wrong)
    for case, said in [
        ("name", 'unrecognized configuration parameter "wrok_mem"'),
        ("unit", 'invalid value for parameter "work_mem": "8mb"'),
        ("range", "max_connections"),
        ("choice", 'invalid value for parameter "wal_compression": "lzma"'),
    ]:
        known = {key: value for key, value in wrong[case].items() if key in KNOWN["15"]}
        found = differences(VERSIONS[name], known, answers[case])
        assert len(found) == len(known), case
        assert all(said in line for line in found), found
    assert differences(VERSIONS[name], {**wrong["other"], "work_mem": "9MB"}, answers["other"]) == [
        "work_mem = 9MB: 8192"
    ]
