# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Second schedulers of certbot, found in the texts of cron. Pure.

Debian renews by certbot.timer. Its own /etc/cron.d/certbot asks for systemd first and does nothing under it, so that
line stays. What is taken out is a renewal and nothing else, word for word: a backup in front of it or a hook behind it
is work that the timer does not do. Whatever is not understood is left, for its owner to look at.
"""

from __future__ import annotations

import re

RENEWS = re.compile(r"\b(certbot|certbot-auto|letsencrypt|letsencrypt-auto)\b(?!\.)[^#;&|]*\brenew\b")
TRIES = re.compile(r"\s--dry-run\b")
# Debian's own line.
GUARD = re.compile(r"!\s+-d\s+/run/systemd/system\b")
ASSIGNMENT = re.compile(r"^\s*[A-Za-z_][A-Za-z0-9_]*\s*=")

# Words of a renewal that is nothing else. The options are those that only say how much to ask and to print.
_PATH = r"/[\w./-]+"
_TEST = rf"(?:test\s+-x\s+{_PATH}|\[\s+-x\s+{_PATH}\s+\])"
_NUMBER = r"(?:\d+[smh]?|\$\(\(\s*RANDOM\s*\\?%\s*\d+\s*\)\))"
_PERL = r"""perl\s+-e\s+(?:'sleep int\(rand\(\d+\)\);?'|"sleep int\(rand\(\d+\)\);?")"""
_PYTHON = (
    r"(?:/[\w./-]+/)?python[\d.]*\s+-c\s+'import random; ?import time; ?time\.sleep\(random\.random\(\) ?\* ?\d+\)'"
)
_BEFORE = rf"(?:(?:{_TEST}|sleep\s+{_NUMBER}|{_PERL}|{_PYTHON})\s*(?:&&|;)\s*)*"
_SETTINGS = r"(?:[A-Za-z_]\w*=[\w./:@,+-]*\s+)*"
_PROGRAM = r"(?:sudo\s+(?:-[nEH]\s+)*)?(?:/[\w./-]+/)?(?:certbot|letsencrypt)(?:-auto)?"
_OPTION = (
    r"(?:\s+(?:-q|-n|-t|-v+|--(?:quiet|text|verbose|non-interactive|noninteractive|agree-tos|no-self-upgrade|no-bootstrap"
    r"|no-eff-email|no-random-sleep-on-renew|force-renewal|keep-until-expiring|allow-subset-of-names)"
    r"|--cert-name[\s=][\w.*-]+))*"
)
_OUTPUT = r"(?:\s*(?:\d?>>?|&>>?)\s*(?:&\d|/[\w./-]+))*"
RENEWAL = re.compile(rf"{_BEFORE}{_SETTINGS}{_PROGRAM}{_OPTION}\s+renew{_OPTION}{_OUTPUT}\s*;?\s*")
WHEN = r"\s*(?:@[a-z]+|[\d*,/-]+\s+[\d*,/-]+\s+[\d*,/-]+\s+[\w*,/-]+\s+[\w*,/-]+)\s+"
# Tables of the system name who runs it.
USER = r"[a-z_][\w-]*\s+"
TIMED = {True: re.compile(rf"{WHEN}{USER}(.*)"), False: re.compile(rf"{WHEN}(.*)")}
# What a script may hold besides the renewal, and still be about nothing else.
HARMLESS = re.compile(
    rf"\s*(?:#.*|set\s[\w\s+-]*|(?:export\s+)?[A-Za-z_]\w*=[\w./:$\"{{}}-]*|exit(?:\s+0)?|{_TEST}\s*\|\|\s*exit(?:\s+0)?|)\s*"
)


def _renews(line: str) -> bool:
    found = not line.lstrip().startswith("#") and RENEWS.search(line) and not GUARD.search(line)
    return bool(found) and not TRIES.search(line)


def _only_renews(line: str, system: bool) -> bool:
    timed = TIMED[system].fullmatch(line.rstrip("\n"))
    return bool(timed and RENEWAL.fullmatch(timed[1])) and _renews(line)


def cleaned(text: str, system: bool) -> str:
    """A crontab without its renewals; '' where nothing is left but settings. `system`: with a column for the user."""
    lines = text.splitlines(keepends=True)
    kept = [line for line in lines if not _only_renews(line, system)]
    if kept == lines:
        return text
    return "".join(kept) if any(line.strip() and not ASSIGNMENT.match(line) for line in kept) else ""


def mixed(text: str, system: bool) -> list[int]:
    """Numbers of the lines that renew and do more."""
    lines = enumerate(text.splitlines(), 1)
    return [number for number, line in lines if _renews(line) and not _only_renews(line, system)]


def script(text: str) -> tuple[bool, list[int]]:
    """Whether a script of cron.daily renews and does nothing else; if it does more, its lines that renew."""
    lines = text.splitlines()
    found = [number for number, line in enumerate(lines, 1) if _renews(line)]
    only = all(HARMLESS.fullmatch(line) or RENEWAL.fullmatch(line.strip()) for line in lines)
    return bool(found) and only, [] if only else found
