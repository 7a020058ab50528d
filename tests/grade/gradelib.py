"""What the graders share: hosts over ssh, and root on them."""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys

# Another grader, or the host's own daily updates, may hold apt's locks, and apt does not wait for all of them.
APT = """
patiently() {
    tries=20
    until "$@" >&2; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || return 1
        sleep 3
    done
}
index() {
    ls /var/lib/apt/lists/*Packages* >/dev/null 2>&1 || patiently apt-get update -qq
}
"""


class GradeError(Exception):
    """A host could not be graded, which is no grade at all."""


def host_arguments(description: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "hosts", nargs="+", metavar="[USER@]HOST", help="as ssh takes it; sudo has to ask for no password"
    )
    parser.add_argument("-F", dest="config", metavar="FILE", help="another configuration file for ssh")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    return parser


def endpoint_arguments(description: str | None) -> argparse.ArgumentParser:
    """For graders that ask a server from outside, as nmap does."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sites", nargs="+", type=endpoint, metavar="NAME[:PORT]", help="443 is the port without one")
    parser.add_argument("--ip", default="", metavar="ADDRESS", help="ask this address, whatever the names resolve to")
    parser.add_argument("--via", default="", metavar="COMMAND", help="run it elsewhere, as 'ssh admin@neighbour'")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    return parser


def endpoint(text: str) -> tuple[str, int]:
    name, _colon, port = text.partition(":")
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", name):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME or NAME:PORT; for an address see --ip")
    return name, int(port or 443)


def elsewhere(via: str, script: str, *words: str) -> str:
    """Run a shell script here, or behind a command such as ssh, and return what it printed."""
    # ssh hands its words to a shell once more.
    argv = [*shlex.split(via), "sh", "-eus", "--", *(map(shlex.quote, words) if via else words)]
    try:
        done = subprocess.run(argv, input=script, capture_output=True, text=True, check=False)
    except FileNotFoundError as exc:
        raise GradeError(f"{exc.filename} is missing") from exc
    if done.returncode:
        raise GradeError((done.stderr or done.stdout).strip()[-2000:])
    return done.stdout


def as_root(host: str, script: str, *words: str, config: str | None = None) -> str:
    """Run a shell script as root on a host, with mounts of its own, and return what it printed."""
    options = ["-F", config] if config else []
    remote = shlex.join(["sudo", "-n", "unshare", "--mount", "sh", "-eus", "--", *words])
    argv = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", *options, host, remote]
    done = subprocess.run(argv, input=APT + script, capture_output=True, text=True, check=False)
    if done.returncode:
        raise GradeError(f"{host}: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout


def fail(error: Exception) -> int:
    print(error, file=sys.stderr)
    return 2
