# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Second schedulers are taken out of cron, and nothing else is."""

from __future__ import annotations

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils._certbot_cron import cleaned, script
from hypothesis import given
from hypothesis import strategies as st

BACKUP = "30 2 * * * /usr/local/bin/backup --all\n"
HEAD = "SHELL=/bin/sh\nPATH=/usr/bin:/bin\n\n# jobs\n"
DEBIAN = (
    "0 */12 * * * root test -x /usr/bin/certbot -a \\! -d /run/systemd/system &&"
    " perl -e 'sleep int(rand(43200))' && certbot -q renew --no-random-sleep-on-renew\n"
)
RENEWALS = [
    "0 3 * * * certbot renew --quiet\n",
    "0 3 * * * /usr/bin/certbot -q renew && systemctl reload nginx\n",
    "0 3 * * * root /usr/bin/certbot renew --post-hook 'systemctl reload nginx'\n",
    "0 0,12 * * * root python3 -c 'import random' && certbot-auto renew -q\n",
    "@daily letsencrypt renew\n",
    "*/5 * * * * root test -x /usr/bin/certbot && certbot renew\n",
]


@pytest.mark.parametrize("line", RENEWALS)
def test_a_renewal_goes_and_the_backup_stays(line):
    assert cleaned(HEAD + BACKUP + line) == HEAD + BACKUP
    assert cleaned(line + BACKUP) == BACKUP


@pytest.mark.parametrize("line", RENEWALS)
def test_a_table_with_nothing_else_goes(line):
    assert cleaned(HEAD + line) == ""
    assert cleaned(line) == ""


@pytest.mark.parametrize(
    "text",
    [
        "",
        BACKUP,
        HEAD,
        DEBIAN,
        HEAD + DEBIAN,
        "# 0 3 * * * certbot renew\n",
        "0 3 * * * /usr/local/bin/copy /etc/letsencrypt/renewal\n",
        "0 3 * * * tar -cf /backup/certbot.tar /etc/letsencrypt/renewal-hooks\n",
        "0 3 * * * /usr/local/bin/check-certbot.sh; /usr/bin/domain renew\n",
        "0 3 * * * certbot certificates\n",
    ],
)
def test_what_stays(text):
    assert cleaned(text) == text


LINES = st.lists(st.sampled_from([*RENEWALS, BACKUP, DEBIAN, "# note\n", "A=b\n", "\n"]), max_size=8)


@given(LINES)
def test_once_cleaned_it_is_clean(lines):
    text = cleaned("".join(lines))
    assert cleaned(text) == text
    assert text.count(BACKUP) == lines.count(BACKUP)
    assert not any(line in text for line in RENEWALS)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("#!/bin/sh\n# renew\nset -e\ncertbot renew -q\nexit 0\n", "renews"),
        ("#!/bin/sh\ncertbot renew -q\n/usr/local/bin/backup\n", "mixed"),
        ("#!/bin/sh\n/usr/local/bin/backup\n", ""),
        ("", ""),
    ],
)
def test_scripts(text, kind):
    assert script(text) == kind
