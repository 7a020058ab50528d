# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""New workers prove a reload. What clients and other processes write to the error log proves nothing."""

from __future__ import annotations

import subprocess
import time

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils import _certificate_nginx as nginx
from ansible_collections.shipshape.stack.plugins.module_utils._certificate_store import CertificateError

# Processes with the titles of nginx. At SIGHUP the master writes a line, and may have a new worker.
MASTER = """
import os, signal, subprocess, sys
log, line, takes = sys.argv[1:]
read, write = os.pipe()
def start():
    return subprocess.Popen(["nginx: worker process"], executable="/bin/cat", stdin=read)
worker = start()
def again(*_arguments):
    global worker
    with open(log, "a") as file:
        file.write(line.replace("PID", str(os.getpid())))
    if takes == "yes":
        old, worker = worker, start()
        old.kill()
        old.wait()
def leave(*_arguments):
    worker.kill()
    worker.wait()
    sys.exit()
signal.signal(signal.SIGHUP, again)
signal.signal(signal.SIGTERM, leave)
print("ready", flush=True)
while True:
    signal.pause()
"""
REAL = "2026/11/25 03:00:00 [emerg] PID#PID: bind() to 0.0.0.0:80 failed (98: Address already in use)\n"
OTHER = "2026/11/25 03:00:00 [emerg] 1#1: host not found in upstream\n"
FORGED = [
    pytest.param(
        '2026/11/25 03:00:00 [error] PID#PID: *7 open() "/var/www/static/[emerg]" failed (2: No such file)\n',
        id="in-a-line-of-another-level",
    ),
    pytest.param(
        f'2026/11/25 03:00:00 [error] PID#PID: *7 open() "/var/www/\n{OTHER}" failed (2: No such file)\n',
        id="a-whole-line-with-another-pid",
    ),
    pytest.param("GET /2026/11/25 03:00:00 [emerg] PID#PID: x\n", id="not-at-the-beginning"),
    pytest.param("2026/11/25 03:00:00 [emerg] PID1#PID1: a test of somebody else\n", id="the-pid-of-another"),
    pytest.param("[emerg] PID#PID: without a time\n", id="without-a-time"),
]


@pytest.fixture
def reload(tmp_path, monkeypatch):
    monkeypatch.setattr(nginx, "installed", lambda: True)
    monkeypatch.setattr(nginx, "REFUSED_SECONDS", 0.3)
    log, pid = tmp_path / "error.log", tmp_path / "nginx.pid"
    log.write_text(OTHER)
    processes = []

    def call(line, takes, seconds):
        words = ["nginx: master process", "-c", MASTER, str(log), line, "yes" if takes else "no"]
        process = subprocess.Popen(words, executable="/usr/bin/python3", stdout=subprocess.PIPE)
        processes.append(process)
        assert process.stdout.readline() == b"ready\n"
        pid.write_text(f"{process.pid}\n")
        end = time.monotonic() + 5
        while not nginx.workers(process.pid) and time.monotonic() < end:  # until it has its title
            time.sleep(0.01)
        return nginx.reload(lambda _words: (0, f"pid {pid};\nerror_log {log};\n", ""), seconds)

    yield call
    for process in processes:
        process.terminate()
        process.communicate(timeout=10)


@pytest.mark.parametrize("line", FORGED)
def test_what_clients_write_is_no_refusal(reload, line):
    assert reload(line, True, 5.0)
    with pytest.raises(CertificateError, match="no new workers"):
        reload(line, False, 0.3)


def test_new_workers_win_over_any_line(reload):
    assert reload(REAL, True, 5.0)


def test_what_the_master_says_is_the_reason(reload):
    start = time.monotonic()
    with pytest.raises(CertificateError, match=r"did not take the reload: .* bind\(\) to 0.0.0.0:80 failed"):
        reload(REAL, False, 20.0)
    assert time.monotonic() - start < 10
