# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Second schedulers are taken out of cron, and nothing else is."""

from __future__ import annotations

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils._certbot_cron import cleaned, mixed, script
from hypothesis import given
from hypothesis import strategies as st

BACKUP = "30 2 * * * root /usr/local/bin/backup --all\n"
SETTINGS = "SHELL=/bin/sh\nPATH=/usr/bin:/bin\n\n"
HEAD = f"{SETTINGS}# jobs\n"
DEBIAN = (
    "0 */12 * * * root test -x /usr/bin/certbot -a \\! -d /run/systemd/system &&"
    " perl -e 'sleep int(rand(43200))' && certbot -q renew --no-random-sleep-on-renew\n"
)
COMMANDS = [
    "certbot renew",
    "certbot renew --quiet",
    "/usr/bin/certbot -q renew --no-random-sleep-on-renew",
    "/snap/bin/certbot renew -n --cert-name shop.example.org",
    "certbot-auto renew -q --no-self-upgrade",
    "letsencrypt renew",
    "sudo -n certbot renew -q",
    "LC_ALL=C REQUESTS_CA_BUNDLE=/etc/ca.pem certbot renew",
    "test -x /usr/bin/certbot && certbot renew -q",
    "[ -x /usr/bin/certbot ] && certbot renew -q",
    "sleep 300; certbot renew",
    "sleep $((RANDOM \\% 3600)) && certbot renew -q",
    "test -x /usr/bin/certbot && perl -e 'sleep int(rand(43200))' && certbot -q renew",
    "python3 -c 'import random; import time; time.sleep(random.random() * 3600)' && certbot renew -q",
    "certbot renew >/dev/null 2>&1",
    "certbot renew >> /var/log/renew.log 2>&1",
    "certbot renew &>/dev/null;",
]
# Each does something that nobody else would do then.
MORE = [
    "/opt/backup && certbot renew",
    "/opt/backup && certbot renew --post-hook 'systemctl reload nginx'",
    "/opt/backup; certbot renew",
    "/opt/backup & certbot renew",
    "certbot renew --post-hook 'systemctl reload nginx'",
    "certbot renew --deploy-hook /opt/tell",
    "certbot renew --pre-hook=/opt/stop --quiet",
    "certbot renew --config-dir /srv/letsencrypt",
    "certbot -c /srv/cli.ini renew",
    "certbot renew -q && systemctl reload nginx",
    "certbot renew -q || /opt/alarm",
    "certbot renew | mail -s renewed admin@example.org",
    "certbot renew >$(/opt/log)",
    "X=$(/opt/backup) certbot renew",
    "sleep $(/opt/backup) && certbot renew",
    "perl -e 'system q(/opt/backup)' && certbot renew",
    "flock -n /run/renew certbot renew",
    "sh -c 'certbot renew; /opt/backup'",
    "certbot renew `/opt/options`",
]
NONE = [
    "/usr/local/bin/copy /etc/letsencrypt/renewal",
    "tar -cf /backup/certbot.tar /etc/letsencrypt/renewal-hooks",
    "/usr/local/bin/check-certbot.sh; /usr/bin/domain renew",
    "certbot certificates",
    "certbot renew --dry-run",
]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("when", ["0 3 * * *", "*/5 0,12 1-7 jan mon-fri", "@daily"])
def test_a_renewal_goes_and_nothing_else_does(command, when):
    system, own = f"{when} root {command}\n", f"{when} {command}\n"
    assert cleaned(HEAD + BACKUP + system, True) == HEAD + BACKUP
    assert cleaned(system + BACKUP, True) == BACKUP
    assert cleaned(own + BACKUP, False) == BACKUP
    assert mixed(own, False) == mixed(system, True) == []
    assert cleaned(HEAD + own, False) == HEAD  # with notes of its owner
    assert cleaned(SETTINGS + own, False) == cleaned(system, True) == ""


@pytest.mark.parametrize("command", MORE)
def test_what_does_more_stays_and_is_named(command):
    for text, system in ((f"{HEAD}0 3 * * * root {command}\n", True), (f"{HEAD}0 3 * * * {command}\n", False)):
        assert cleaned(text, system) == text
        assert mixed(text, system) == [5]
    assert script(f"#!/bin/sh\n{command}\n") == (False, [2])


@pytest.mark.parametrize(
    "text",
    [
        "",
        HEAD,
        BACKUP,
        DEBIAN,
        HEAD + DEBIAN,
        "# 0 3 * * * root certbot renew\n",
        *map("0 3 * * * root {}\n".format, NONE),
    ],
)
def test_what_stays_without_a_word(text):
    assert cleaned(text, True) == text
    assert mixed(text, True) == []


def test_the_user_is_no_command_and_a_command_is_no_user():
    line = "0 3 * * * backup certbot renew\n"
    assert cleaned(line, True) == ""
    assert cleaned(line, False) == line
    assert mixed(line, False) == [1]


def test_a_test_for_systemd_that_holds_is_no_guard():
    line = "0 3 * * * root test -d /run/systemd/system && certbot renew\n"
    assert cleaned(line, True) == line
    assert mixed(line, True) == [1]


JOBS = [f"0 3 * * * root {command}\n" for command in COMMANDS]
KEPT = [*(f"0 3 * * * root {command}\n" for command in MORE), BACKUP, DEBIAN, "# note\n"]


@given(st.lists(st.sampled_from([*JOBS, *KEPT, "A=b\n", "\n"]), max_size=8))
def test_once_cleaned_it_is_clean(lines):
    text = cleaned("".join(lines), True)
    assert cleaned(text, True) == text
    found = text.splitlines(keepends=True)
    assert [line for line in found if line in KEPT] == [line for line in lines if line in KEPT]
    assert not set(JOBS) & set(found)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("#!/bin/sh\n# renew\nset -e\ncertbot renew -q\nexit 0\n", (True, [])),
        ("#!/bin/sh\nexport PATH=$PATH:/snap/bin\ntest -x /usr/bin/certbot || exit 0\n  certbot renew\n", (True, [])),
        ("#!/bin/sh\ncertbot renew -q\n/usr/local/bin/backup\n", (False, [2])),
        ("#!/bin/sh\nset -e; /opt/backup\ncertbot renew -q\n", (False, [3])),
        ("#!/bin/sh\nA=$(/opt/backup)\ncertbot renew -q\n", (False, [3])),
        ("#!/bin/sh\nexport A=b; /opt/backup\ncertbot renew -q\n", (False, [3])),
        ("#!/bin/sh\ncertbot renew \\\n  --post-hook /opt/tell\n", (False, [2])),
        ("#!/bin/sh\n/usr/local/bin/backup\n", (False, [])),
        ("#!/bin/sh\n# certbot renew\n", (False, [])),
        ("", (False, [])),
    ],
)
def test_scripts(text, found):
    assert script(text) == found
