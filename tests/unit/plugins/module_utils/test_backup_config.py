"""What the configuration of backups may say, and what the role makes of its options."""

from __future__ import annotations

import copy
import json

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils import _backup_config as config
from ansible_collections.shipshape.stack.plugins.module_utils import _backup_options as options

KEY = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
GOOD = {
    "host": "db1",
    "components": [
        {"name": "postgresql", "type": "postgresql"},
        {"name": "redis", "type": "redis", "schedules": ["hourly", "daily"]},
        {"name": "etc", "type": "files", "paths": ["/etc/nginx"], "optional": True},
    ],
    "schedules": {"daily": {"cron": "0 2 * * *", "keep_daily": 30}, "hourly": {"cron": "@hourly", "keep_hourly": 48}},
    "copies": [
        {"name": "away", "repository": "/srv/x", "password_file": "/x", "escrow": "the safe", "keep_weekly": 52},
        {
            "name": "bucket",
            "tool": "rclone",
            "repository": "s3:https://s3.example.com/b",
            "age_recipients": [KEY],
            "escrow": "the safe",
            "keep_weekly": 52,
        },
    ],
    "copies_min": 2,
}
WRONG = [
    (("components", 0, "type"), "mysql", "components[0].type is 'mysql'"),
    (("components", 0, "prot"), 1, "components[0].prot is not an option"),
    (("components", 0, "port"), "5432", "components[0].port must be a whole number"),
    (("components", 0, "name"), "Main DB", "components[0].name is 'Main DB'"),
    (("components", 1, "name"), "postgresql", "two of them are called 'postgresql'"),
    (("components", 1, "schedules"), ["yearly"], "redis names the schedule 'yearly'"),
    (("components", 2, "paths"), ["etc"], "the path 'etc' must begin with /"),
    (("components", 2, "paths"), [], "nothing to back up"),
    (("components", 2, "on_request"), "yes", "components[2].on_request must be true or false"),
    (("components", 0, "on_request"), True, "components[0].on_request is not an option"),
    (("schedules", "daily", "cron"), "daily", "schedules.daily.cron is 'daily'"),
    (("schedules", "daily"), {"cron": "0 2 * * *"}, "schedules.daily keeps nothing"),
    (("schedules", "manual"), {"cron": "0 2 * * *", "keep_last": 1}, "schedules.manual"),
    (("copies", 0, "escrow"), "", "lost together with the host"),
    (("copies", 0, "repository"), "b2:x", "copies[0].repository is 'b2:x'"),
    (("copies", 0, "repository"), "s3:https://key:secret@host/b", "has a password in it"),
    (("copies", 0, "tool"), "rsync", "copies[0].tool is 'rsync': there are restic, rclone"),
    (("copies", 0, "password_file"), "", "copies[0].password_file is missing"),
    (("copies", 0, "age_recipients"), [KEY], "copies[0].age_recipients is for rclone"),
    (("copies", 1, "password_file"), "/x", "copies[1].password_file has no use with rclone"),
    (("copies", 1, "age_recipients"), [], "rclone encrypts nothing, and s3:https://s3.example.com/b is elsewhere"),
    (("copies", 1, "age_recipients"), [KEY, "age1x"], "copies[1].age_recipients[1] is 'age1x'"),
    (("copies", 1, "age_recipients"), KEY, "copies[1].age_recipients must be a list of texts"),
    (("copies", 1, "repository"), "s3:https://s3.example.com", "is no repository"),
    (("copies_min",), 4, "copies_min is 4"),
    (("copies", 0, "offsite"), "yes", "copies[0].offsite must be true or false"),
    (("notify",), {"on": "never"}, "notify.on is 'never'"),
    (("drill",), {"cron": "weekly"}, "drill.cron is 'weekly'"),
    (("drill",), {"level": "restored"}, "drill.level is 'restored'"),
    (("drill",), {"source": "beside"}, "drill.source is 'beside'"),
    # Its second copy is encrypted for a key that is elsewhere.
    (("drill",), {"source": "bucket"}, "drill.source is bucket, which is encrypted"),
    (("drill",), {"ignore": [{"id": "RPO_EXCEEDED"}]}, "drill.ignore has"),
    (("drill",), {"ignore": [{"id": "RPO_EXCEEDED", "reason": " "}]}, "the reason why that does not count"),
    (("schedules", "daily", "verify"), "restored", "schedules.daily.verify is 'restored'"),
    (("drill",), {"when": "x"}, "drill.when is not an option"),
    (("host",), 5, "host must be a text"),
]


@pytest.mark.parametrize(("path", "value", "said"), WRONG)
def test_what_is_wrong_is_said(path, value, said):
    document = copy.deepcopy(GOOD)
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert said in "\n".join(config.problems(document))
    with pytest.raises(config.BackupError):
        config.read(json.dumps(document))


def test_defaults_are_filled_in():
    found = config.read(json.dumps(GOOD))
    assert found["components"][0]["port"] == 5432
    assert found["schedules"]["daily"]["keep_weekly"] == 0
    assert found["folder"] == "/var/backups/shipshape"
    assert config.read(json.dumps(found)) == found


@pytest.mark.parametrize(
    "drill",
    [
        {},
        {"cron": ""},
        {"ignore": [{"id": "SEQUENCE_BEHIND", "reason": "ids are its own"}]},
        {"source": "away", "level": "rows"},
        {"source": "here"},
    ],
)
def test_drills_that_are_allowed(drill):
    assert config.problems({**GOOD, "drill": drill}) == []


WEEKLY, HOURLY, LATER = "20261101T020000Z", "20261126T020000Z", "20261126T030000Z"


@pytest.mark.parametrize(
    ("sets", "wanted"),
    [
        ({}, ""),
        ({WEEKLY: "daily", HOURLY: "hourly"}, WEEKLY),
        ({WEEKLY: "daily", HOURLY: "daily", LATER: "hourly"}, HOURLY),
        ({WEEKLY: "daily", HOURLY: "manual"}, HOURLY),
        ({HOURLY: "hourly", LATER: "hourly"}, LATER),
        # Of a schedule that this host does not have.
        ({HOURLY: "monthly"}, HOURLY),
    ],
)
def test_the_latest_set_is_one_that_has_everything(sets, wanted):
    assert config.latest(config.normal(GOOD), {name: {"schedule": each} for name, each in sets.items()}) == wanted


@pytest.mark.parametrize(("offsite", "wrong"), [(None, False), (True, False), (False, True)])
def test_one_of_three_places_is_elsewhere(offsite, wrong):
    document = copy.deepcopy({**GOOD, "copies_min": 3})
    if offsite is not None:
        document["copies"][1]["offsite"] = offsite
    assert bool(config.problems(document)) == wrong
    assert not config.problems({**document, "copies_min": 2})


def test_a_folder_needs_no_key():
    document = copy.deepcopy(GOOD)
    document["copies"][1] |= {"repository": "/mnt/disk", "age_recipients": []}
    assert config.problems(document) == []


def test_which_parts_a_schedule_has():
    found = config.normal(GOOD)

    def names(schedule):
        return [each["name"] for each in config.components_of(found, schedule)]

    assert names("daily") == names("manual") == names("safety") == ["postgresql", "redis", "etc"]
    assert names("hourly") == ["redis"]
    assert [each["name"] for each in config.copies_of(found, "manual")] == ["away", "bucket"]
    assert config.copies_of(found, "hourly") == config.copies_of(found, "safety") == []


ROLE = {
    "backup_state": "present",
    "backup_components": GOOD["components"],
    "backup_schedules": {**GOOD["schedules"], "weekly": {"cron": "0 3 * * 0", "keep_weekly": 8}},
    "backup_min_verified": 2,
    "backup_copies": [{"name": "away", "repository": "/srv/x", "escrow": "the safe", "keep_weekly": 52}],
    "backup_copy_passwords": {"away": "hunter-two"},
    "backup_copy_environments": {},
    "backup_copies_min": 2,
    "backup_apps": [],
    "backup_notify": {},
    "backup_drill": {},
    "backup_host_name": "db1",
    "backup_folder": "/var/backups/shipshape",
    "backup_rto_seconds": 3600,
    "backup_rpo_seconds": 86400,
}


def test_what_the_role_writes_is_what_the_command_reads():
    assert options.problems(ROLE) == []
    found = config.read(json.dumps(options.config(ROLE)))
    # Nothing has it, so cron would fail by it each week.
    assert "weekly" not in found["schedules"]
    assert "hunter-two" not in json.dumps(found)
    assert found["copies"][0]["password_file"] == "/etc/shipshape/backup/away.password"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"backup_copy_passwords": {}}, "backup_copy_passwords has no away"),
        ({"backup_copy_passwords": {"away": "hunter-two", "old": "hunter-two"}}, "backup_copy_passwords.old"),
        ({"backup_copies": [{**ROLE["backup_copies"][0], "schedules": ["x"]}]}, "names the schedule 'x'"),
        ({"backup_copies_min": 5}, "backup_copies_min is 5"),
    ],
)
def test_what_the_role_refuses(change, said):
    found = "\n".join(options.problems({**ROLE, **change}))
    assert said in found
    assert "hunter-two" not in found
    assert options.problems({**ROLE, **change, "backup_state": "absent"}) == []


BUCKET = {k: v for k, v in GOOD["copies"][1].items() if k != "password_file"}


def test_a_copy_by_rclone_has_no_password():
    both = {**ROLE, "backup_copies": [*ROLE["backup_copies"], BUCKET]}
    assert options.problems(both) == []
    found = config.read(json.dumps(options.config(both)))["copies"][1]
    assert (found["password_file"], found["age_recipients"]) == ("", [KEY])
    assert options.secret_files("bucket", {}, {}, "/s") == []
    passwords = {"away": "hunter-two", "bucket": "hunter-two"}
    assert "backup_copy_passwords.bucket has no use" in "".join(
        options.problems({**both, "backup_copy_passwords": passwords})
    )


def test_files_of_secrets():
    files = options.secret_files("away", {"away": "hunter-two"}, {"away": {"AWS_ACCESS_KEY_ID": "x"}}, "/s")
    assert [(each["dest"], each["content"], each["mode"], each["no_log"]) for each in files] == [
        ("/s/away.password", "hunter-two\n", "0600", True),
        ("/s/away.environment", "AWS_ACCESS_KEY_ID=x\n", "0600", True),
    ]
