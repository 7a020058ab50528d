# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the options of point in time recovery may say, and the files that follow from them."""

from __future__ import annotations

import json

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils import _backup_config, _backup_options
from ansible_collections.shipshape.stack.plugins.module_utils import _pitr_config as pitr

POSTGRESQL = {"name": "postgresql", "type": "postgresql"}
S3 = {
    "repo1-type": "s3",
    "repo1-s3-bucket": "wal",
    "repo1-s3-endpoint": "s3.example.com",
    "repo1-s3-region": "eu-1",
    "process-max": 4,
}
GOOD = {
    "backup_state": "present",
    "backup_components": [POSTGRESQL],
    "backup_schedules": {"daily": {"cron": "0 2 * * *", "keep_daily": 30}},
    "backup_min_verified": 2,
    "backup_copies": [],
    "backup_copy_passwords": {},
    "backup_copy_environments": {},
    "backup_copies_min": 1,
    "backup_apps": [],
    "backup_notify": {},
    "backup_drill": {},
    "backup_host_name": "db1.example.com",
    "backup_folder": "/var/backups/shipshape",
    "backup_rto_seconds": 3600,
    "backup_rpo_seconds": 86400,
    "backup_pitr": True,
    "backup_pitr_repository": "/srv/wal",
    "backup_pitr_settings": {},
    "backup_pitr_secrets": {},
    "backup_pitr_escrow": "",
    "backup_pitr_days": 7,
    "backup_pitr_archive_timeout": 300,
    "backup_pitr_queue_max": "1GiB",
    "backup_pitr_full": "0 1 * * 0",
    "backup_pitr_diff": "0 1 * * 1-6",
    "backup_pitr_restart": "auto",
}
SECRET = {"repo1-cipher-pass": "hunter-two", "repo1-s3-key": "AKIA", "repo1-s3-key-secret": "hunter-three"}
FINE = [
    {},
    {"backup_pitr_secrets": {"repo1-cipher-pass": "x"}, "backup_pitr_escrow": "the safe"},
    {"backup_pitr_settings": S3, "backup_pitr_secrets": SECRET, "backup_pitr_escrow": "the safe"},
    {"backup_pitr_archive_timeout": 3600},
    {"backup_pitr_queue_max": "64MiB"},
    {"backup_pitr_full": "@weekly"},
    {"backup_pitr_days": 1},
    {"backup_components": [{**POSTGRESQL, "host": "192.0.2.7"}, {**POSTGRESQL, "name": "own", "port": 5433}]},
    {"backup_pitr": False, "backup_pitr_days": 0, "backup_components": []},
]
WRONG = [
    ({"backup_components": []}, "backup_pitr needs a component of the type postgresql"),
    ({"backup_components": [{**POSTGRESQL, "host": "192.0.2.7"}]}, "reached by a socket on this host"),
    ({"backup_host_name": "..."}, "backup_host_name is '...'"),
    ({"backup_pitr_repository": "srv/wal"}, "backup_pitr_repository is 'srv/wal'"),
    ({"backup_pitr_days": 0}, "backup_pitr_days is 0"),
    ({"backup_pitr_archive_timeout": 0}, "backup_pitr_archive_timeout is 0"),
    ({"backup_pitr_archive_timeout": 7200}, "backup_pitr_archive_timeout is 7200"),
    ({"backup_pitr_queue_max": "1GB"}, "backup_pitr_queue_max is '1GB'"),
    ({"backup_pitr_queue_max": "32MiB"}, "backup_pitr_queue_max is '32MiB'"),
    ({"backup_pitr_full": "weekly"}, "backup_pitr_full is 'weekly'"),
    ({"backup_pitr_diff": "0 1 * *"}, "backup_pitr_diff is '0 1 * *'"),
    ({"backup_pitr_settings": {"repo1-s3-key": "hunter-two"}}, "repo1-s3-key is a secret"),
    ({"backup_pitr_settings": {"pg1-path": "/x"}}, "pg1-path is found out on the host"),
    ({"backup_pitr_settings": {"repo1-retention-full": 2}}, "is decided by backup_pitr_days"),
    ({"backup_pitr_settings": {"process_max": 2}}, "process_max: no option of pgBackRest looks like that"),
    ({"backup_pitr_settings": {"process-max": [2]}}, "process-max must be a text"),
    ({"backup_pitr_settings": {"log-path": "/x\n[evil]"}}, "log-path must be a text"),
    ({"backup_pitr_settings": {"repo1-type": "s3"}}, "repo1-s3-bucket is missing"),
    ({"backup_pitr_settings": S3}, "has no repo1-cipher-pass"),
    ({"backup_pitr_settings": {"repo1-host": "x"}}, "has no repo1-cipher-pass"),
    ({"backup_pitr_secrets": {"repo1-cipher-pass": "hunter-two"}}, "backup_pitr_escrow is empty"),
    ({"backup_pitr_secrets": {"process-max": "2"}}, "backup_pitr_secrets.process-max is no secret"),
    ({"backup_pitr_secrets": {"repo1-cipher-pass": ""}, "backup_pitr_escrow": "x"}, "and not empty"),
    ({"backup_pitr_secrets": {"repo1-cipher-pass": "hunter-two\nx=y"}, "backup_pitr_escrow": "x"}, "in one line"),
]


@pytest.mark.parametrize("change", FINE)
def test_what_is_right_is_taken(change):
    assert _backup_options.problems({**GOOD, **change}) == []


@pytest.mark.parametrize(("change", "said"), WRONG)
def test_what_is_wrong_is_said_without_secrets(change, said):
    found = "\n".join(_backup_options.problems({**GOOD, **change}))
    assert said in found
    assert "hunter" not in found
    assert _backup_options.problems({**GOOD, **change, "backup_state": "absent"}) == []


def test_the_command_gets_what_it_needs_and_no_secret():
    document = _backup_options.config({**GOOD, "backup_pitr_settings": S3, "backup_pitr_secrets": SECRET})
    found = _backup_config.read(json.dumps(document))["pitr"]
    assert found == {
        "stanza": "db1-example-com",
        "port": 5432,
        "repository": "",
        "archive_timeout": 300,
        "queue_max": 1 << 30,
    }
    assert "hunter" not in json.dumps(document)
    assert _backup_config.read(json.dumps(_backup_options.config({**GOOD, "backup_pitr": False})))["pitr"] == {}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"stanza": 5}, "pitr.stanza is 5"),
        ({"port": True}, "pitr.port is True"),
        ({"more": 1}, "pitr must have"),
    ],
)
def test_what_the_command_refuses(change, said):
    document = _backup_options.config(GOOD)
    document["pitr"].update(change)
    with pytest.raises(_backup_config.BackupError, match=said):
        _backup_config.read(json.dumps(document))


WISH = {
    "stanza": "db1",
    "port": 5433,
    "repository": "/wal",
    "days": 7,
    "queue_max": "64MiB",
    "settings": {},
    "secrets": {},
}


def conf(**changes):
    text = pitr.pgbackrest_conf({**WISH, **changes}, "/data", "/run/pg", hidden=changes.pop("hidden", False))
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line), text


def test_the_file_of_pgbackrest():
    found, text = conf()
    assert found["repo1-retention-full"] == "7"
    assert found["repo1-retention-full-type"] == "time"
    assert found["archive-push-queue-max"] == "67108864"
    assert (found["pg1-path"], found["pg1-port"], found["pg1-socket-path"]) == ("/data", "5433", "/run/pg")
    assert "repo1-cipher-type" not in found
    assert "archive-async" not in found
    assert text.index("[global]") < text.index("[db1]") < text.index("pg1-path")


def test_the_user_s_own_settings_win_and_a_bucket_is_asynchronous():
    found, _text = conf(settings={**S3, "start-fast": False, "compress-type": "lz4"}, secrets=SECRET)
    assert (found["start-fast"], found["compress-type"], found["process-max"]) == ("n", "lz4", "4")
    assert (found["archive-async"], found["repo1-cipher-type"]) == ("y", "aes-256-cbc")
    assert found["repo1-cipher-pass"] == "hunter-two"


def test_what_is_shown_has_no_secret():
    text = pitr.pgbackrest_conf({**WISH, "secrets": SECRET}, "/data", "/run/pg", hidden=True)
    assert "hunter" not in text
    assert "repo1-s3-key-secret=(hidden)" in text


def test_which_repository_it_is_is_in_the_file_of_the_cluster():
    wish = {**WISH, "archive_timeout": 300}
    there = pitr.postgresql_conf(wish)
    assert pitr.location(wish) in there.splitlines()
    assert pitr.location({**wish, "archive_timeout": 60, "days": 3, "secrets": SECRET}) in there.splitlines()
    for change in ({"stanza": "db2"}, {"repository": "/other"}, {"settings": S3}):
        assert pitr.location({**wish, **change}) not in there.splitlines()
    assert "archive_command = 'pgbackrest --stanza=db1 archive-push %p'" in there
