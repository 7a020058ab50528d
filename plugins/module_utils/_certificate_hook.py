# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What certbot calls when it has a new certificate; also by hand: `50-shipshape NAME...`.

certbot calls it once for each certificate, and takes no notice of how that went. So certbot.service has it look after
each renewal for what is still to be brought to its services: `50-shipshape --pending`.
Standard library only, and no controller: this is what runs at each renewal.
"""

from __future__ import annotations

import os
import sys
import syslog
from collections.abc import Mapping, Sequence

from . import _certificate_store as store
from ._certificate_deploy import Spec, World, behind, deploy, read_json

CONFIG = "/etc/letsencrypt/shipshape/deploy.json"
LIVE = "/etc/letsencrypt/live"
PENDING = "--pending"
# Let's Encrypt signs its test certificates with names like "(STAGING) Pretend Pear X1".
STAGING = ("acme-staging",)


def read_pair(lineage: str, server: str = "") -> store.Pair:
    return store.Pair.read(lineage, any(word in server for word in STAGING))


def server_of(name: str, folder: str) -> str:
    """Who signed it, as certbot remembers."""
    try:
        with open(os.path.join(folder, f"{name}.conf"), encoding="utf-8") as file:
            lines = [line.partition("=") for line in file]
    except FileNotFoundError:
        return ""
    return next((value.strip() for key, _equals, value in lines if key.strip() == "server"), "")


def names(arguments: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    lineage = environment.get("RENEWED_LINEAGE", "")
    return list(arguments) or ([os.path.basename(lineage.rstrip("/"))] if lineage else [])


def say(text: str, bad: bool = False) -> None:
    (sys.stderr if bad else sys.stdout).write(f"{text}\n")
    syslog.openlog("shipshape-certificates", syslog.LOG_PID, syslog.LOG_DAEMON)
    syslog.syslog(syslog.LOG_ERR if bad else syslog.LOG_INFO, text)


def serve(name: str, spec: Spec, world: World, live: str, pending: bool) -> bool:
    """One certificate, to all of its services; whether they all took it."""
    try:
        pair = read_pair(os.path.join(live, name), server_of(name, os.path.join(os.path.dirname(live), "renewal")))
        if pending and not behind(name, pair.identity, spec, world):
            return True
        done, problems = deploy(name, pair, spec, world)
    except (OSError, store.CertificateError) as exc:
        done, problems = [], [f"{name}: {exc}"]
    for problem in problems:
        say(problem, bad=True)
    if done:
        say(f"{name}: {', '.join(done)} took the new certificate")
    return not problems


def main(arguments: Sequence[str], world: World | None = None, config: str = CONFIG, live: str = LIVE) -> int:
    """0, 1 where a service refused, 3 where it was called wrongly."""
    declared, pending = read_json(config).get("names", {}), list(arguments) == [PENDING]
    if pending:  # what was not issued yet has nothing to bring
        wanted = sorted(name for name in declared if os.path.exists(os.path.join(live, name, store.CHAIN)))
    else:
        wanted = names(arguments, os.environ)
    if not pending and not wanted:
        say("name the certificates to bring to their services, or let certbot call this", bad=True)
        return 3
    for name in sorted(set(wanted) - set(declared)):
        say(f"{name} is not declared: nothing is done for it")
    known = [name for name in wanted if name in declared]
    results = [serve(name, Spec.of(declared[name]), world or World(), live, pending) for name in known]
    return 0 if all(results) else 1
