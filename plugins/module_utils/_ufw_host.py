# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ufw_ruleset asks of a host: ufw's files, its own writer of rules, its application profiles."""

from __future__ import annotations

import configparser
import glob
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from . import _ufw_load as kernel
from ._ufw_plan import AFTER, CONF, DEFAULTS, DIRECTIONS, TARGETS, USER, Policy, parse_applications, set_setting
from ._ufw_published import DOCKERS, block, interfaces_of, with_block, without_block
from ._ufw_rules import parse_rules, to_tuple

LOADER = "/var/lib/shipshape/ufw/load.py"
APPLICATIONS = "/etc/ufw/applications.d"
PYTHON = "/usr/bin/python3"  # the distribution's, which ufw's own library belongs to
# ufw reads its rules from the comment lines and writes them out for the kernel. Its checks are for a command that is
# set-uid; without them nothing is asked of the live firewall.
WRITER = """\
import gettext, sys
gettext.install("ufw")
import ufw.common
ufw.common.do_checks = False
from ufw.backend_iptables import UFWBackendIptables
backend = UFWBackendIptables(False, datadir=sys.argv[1])
backend.caps = {"limit": {"4": True, "6": True}}
backend._write_rules(v6=False)
if backend.use_ipv6():
    backend._write_rules(v6=True)
"""


def installed() -> bool:
    return os.path.exists(kernel.INIT) and os.path.exists(CONF)


def read_files() -> dict[str, str]:
    return {name: kernel.read(name) for name in (DEFAULTS, CONF, *USER.values(), *AFTER.values())}


def applications(folder: str = APPLICATIONS) -> dict[str, list[tuple[str, str]]]:
    """The profiles that C(ufw app list) shows."""
    found: dict[str, list[tuple[str, str]]] = {}
    for name in sorted(glob.glob(os.path.join(folder, "*"))):
        if os.path.isfile(name) and not name.endswith(
            (".dpkg-new", ".dpkg-old", ".dpkg-dist", ".rpmnew", ".rpmsave", "~")
        ):
            parser = configparser.RawConfigParser(strict=False)
            try:
                parser.read(name, encoding="utf-8")
            except (configparser.Error, UnicodeDecodeError):
                continue  # ufw skips it too
            found.update(parse_applications({section: parser[section] for section in parser.sections()}))
    return found


def route_to(client: str) -> tuple[str, str]:
    """The interface and the address that answers leave from, so that calls most likely come in there."""
    try:
        routes = json.loads(kernel.run(["ip", "-json", "route", "get", client]))
    except (kernel.LoadError, ValueError):
        return "", ""
    return (str(routes[0].get("dev", "")), str(routes[0].get("prefsrc", ""))) if routes else ("", "")


def plain_files(policy: Policy, files: Mapping[str, str], interfaces: Sequence[str] | None) -> dict[str, str]:
    """The settings and the section for Docker; what ufw writes itself comes from C(write_rules).

    Without C(interfaces) the section keeps those that it has.
    """
    defaults = set_setting(files[DEFAULTS], "IPV6", "yes")
    defaults = set_setting(defaults, "MANAGE_BUILTINS", "no")  # with yes each reload wipes the chains of others
    for direction, chain in DIRECTIONS.items():
        defaults = set_setting(defaults, f"DEFAULT_{chain}_POLICY", TARGETS[policy.defaults[direction]])
    conf = set_setting(files[CONF], "LOGLEVEL", policy.logging)
    conf = set_setting(conf, "ENABLED", "yes" if policy.enabled else "no")
    found = {DEFAULTS: defaults, CONF: conf}
    for v6, name in AFTER.items():
        names = interfaces or interfaces_of(files[name]) or DOCKERS
        section = block(policy.family(v6), names, policy.logging) if policy.published else ""
        found[name] = with_block(files[name], section, name) if section else without_block(files[name], name)
    return found


def write_rules(policy: Policy, texts: Mapping[str, str]) -> dict[str, str]:
    """user.rules and user6.rules as ufw itself writes them."""
    folder = tempfile.mkdtemp(prefix="shipshape-ufw-", dir="/run")
    try:
        wanted = {name: "\n".join([*map(to_tuple, policy.family(v6)), ""]) for v6, name in USER.items()}
        kernel.stage({**texts, **wanted}, folder)
        os.symlink(APPLICATIONS, f"{folder}{APPLICATIONS}")
        kernel.run([PYTHON, "-c", WRITER, folder])
        found = {}
        for v6, name in USER.items():
            found[name] = kernel.read(f"{folder}{name}")
            if [rule.key for rule in parse_rules(found[name], v6)] != [rule.key for rule in policy.family(v6)]:
                raise kernel.LoadError(f"ufw does not take all of the rules for {name}")
        return found
    finally:
        shutil.rmtree(folder)


def loader_text() -> str:
    """The program that the dead-man switch runs: the running module holds it inside its zip archive."""
    text: Any = kernel.__spec__.loader.get_source(kernel.__name__)  # type: ignore[union-attr]
    return text if isinstance(text, str) else text.decode("utf-8")


def keep_loader() -> list[str]:
    """Put that program where it is found without the collection; returns the command."""
    text = loader_text()
    if kernel.read(LOADER) != text:
        os.makedirs(os.path.dirname(LOADER), 0o700, exist_ok=True)
        with open(f"{LOADER}.tmp", "w", encoding="utf-8") as handle:
            handle.write(text)
            handle.flush()
            os.fsync(handle.fileno())
        os.rename(f"{LOADER}.tmp", LOADER)
    return [PYTHON, LOADER]
