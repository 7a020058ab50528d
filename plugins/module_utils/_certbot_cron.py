# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Second schedulers of certbot, found in the texts of cron. Pure.

Debian renews by certbot.timer. Its own /etc/cron.d/certbot asks for systemd first and does nothing under it, so that
line stays. All other lines that renew are of guides that did not know the timer.
"""

from __future__ import annotations

import re

RENEWS = re.compile(r"\b(certbot|certbot-auto|letsencrypt|letsencrypt-auto)\b(?!\.)[^#;&|]*\brenew\b")
# Debian's own line.
GUARD = re.compile(r"-d\s+/run/systemd/system\b")
ASSIGNMENT = re.compile(r"^\s*[A-Za-z_][A-Za-z0-9_]*\s*=")
# What a script may hold besides the renewal, and still be about nothing else.
HARMLESS = re.compile(r"^\s*(#.*|set\s.*|export\s.*|PATH=.*|exit(\s+0)?|)\s*$")


def _renews(line: str) -> bool:
    return not line.lstrip().startswith("#") and bool(RENEWS.search(line)) and not GUARD.search(line)


def cleaned(text: str) -> str:
    """A crontab without its renewals; '' where nothing is left that cron would run."""
    lines = text.splitlines(keepends=True)
    if not any(map(_renews, lines)):
        return text
    kept = [line for line in lines if not _renews(line)]
    jobs = [line for line in kept if line.strip() and not line.lstrip().startswith("#") and not ASSIGNMENT.match(line)]
    return "".join(kept) if jobs else ""


def script(text: str) -> str:
    """'renews' for a script of cron.daily that does nothing else, 'mixed' for one that does more, or ''."""
    lines = text.splitlines()
    found = [line for line in lines if _renews(line)]
    if not found:
        return ""
    rest = [line for line in lines if line not in found and not HARMLESS.match(line)]
    return "mixed" if rest else "renews"
