"""Where a repository is for rclone, what is a set in it, and which keys age takes."""

from __future__ import annotations

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils import _backup_rclone_remote as rclone
from ansible_collections.shipshape.stack.plugins.module_utils._backup_manifest import BackupError

KEY = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
NAME = "20261126T020000Z"
FOLDER = f"db1/daily/{NAME}"
REPOSITORIES = [
    ("/srv/x/", "/srv/x", {}),
    ("sftp:vault@nas:/sets", "shipshape:/sets", {"TYPE": "sftp", "HOST": "nas", "USER": "vault"}),
    ("sftp:nas:sets", "shipshape:sets", {"TYPE": "sftp", "HOST": "nas", "USER": None}),
    ("sftp://vault@nas:2222//sets", "shipshape:/sets", {"HOST": "nas", "PORT": "2222", "SHELL_TYPE": "none"}),
    ("s3:https://s3.example.com/b/p/", "shipshape:b/p", {"ENDPOINT": "https://s3.example.com", "PROVIDER": "Other"}),
    ("s3:http://10.0.0.1:9000/b", "shipshape:b", {"ENDPOINT": "http://10.0.0.1:9000", "REGION": None}),
    ("s3:s3.eu-west-1.amazonaws.com/b", "shipshape:b", {"PROVIDER": "AWS", "REGION": "eu-west-1"}),
    ("s3:s3.amazonaws.com/b", "shipshape:b", {"PROVIDER": "AWS", "REGION": None, "ENV_AUTH": "true"}),
]


@pytest.mark.parametrize(("repository", "root", "wanted"), REPOSITORIES)
def test_repositories_as_restic_writes_them(repository, root, wanted):
    found = rclone.remote(repository, {})
    assert found.root == root
    for key, value in wanted.items():
        assert found.environment.get(f"RCLONE_CONFIG_SHIPSHAPE_{key}") == value


@pytest.mark.parametrize("repository", ["b2:x", "s3:https://host", "s3:https://host/", "sftp:nas", "x", ""])
def test_what_is_no_repository(repository):
    with pytest.raises(BackupError, match="is no repository"):
        rclone.remote(repository, {})


def test_what_the_user_says_wins():
    found = rclone.remote("sftp:nas:/x", {"RCLONE_SFTP_KNOWN_HOSTS_FILE": "/k"}).environment
    assert "RCLONE_CONFIG_SHIPSHAPE_KNOWN_HOSTS_FILE" not in found
    # Otherwise no host would be checked.
    assert rclone.remote("sftp:nas:/x", {}).environment["RCLONE_CONFIG_SHIPSHAPE_KNOWN_HOSTS_FILE"]
    found = rclone.remote("s3:https://h/b", {"AWS_DEFAULT_REGION": "fr-1"}).environment
    assert found["RCLONE_CONFIG_SHIPSHAPE_REGION"] == "fr-1"


@pytest.mark.parametrize(
    ("paths", "sets", "halves"),
    [
        pytest.param([], [], (), id="nothing"),
        pytest.param([f"{FOLDER}/a", f"{FOLDER}/manifest.json"], [NAME], (), id="whole"),
        pytest.param([f"{FOLDER}/a.age", f"{FOLDER}/manifest.json.age"], [NAME], (), id="encrypted"),
        pytest.param([f"{FOLDER}/a.age"], [], (FOLDER,), id="no-manifest"),
        pytest.param([f"{FOLDER}/a", f"{FOLDER}/manifest.json.partial"], [], (FOLDER,), id="manifest-not-proven"),
        pytest.param(["db1/daily/notes/x", "README", f"{FOLDER}/deep/manifest.json"], [], (), id="somebody-else's"),
        pytest.param(["db1/daily/20261399T020000Z/manifest.json"], [], (), id="no-time"),
    ],
)
def test_a_manifest_makes_a_set(paths, sets, halves):
    found = rclone.listing(paths)
    assert list(found.sets) == sets
    assert found.halves == halves


def test_what_is_known_of_a_set():
    text = f"{rclone.place('db 1/x', 'daily', NAME)}/manifest.json.age"
    assert rclone.listing([text]).sets[NAME] == {
        "id": f"db%201%2Fx/daily/{NAME}",
        "hostname": "db 1/x",
        "schedule": "daily",
        "encrypted": True,
    }
    assert rclone.folder_of("..") == "%2E%2E"


@pytest.mark.parametrize(("size", "parts"), [(0, 1), (5 << 20, 1), (100 << 30, 9000), (4 << 40, 9000)])
def test_no_upload_has_too_many_parts(size, parts):
    part = rclone.part_size(size)
    assert part >= 5 << 20
    assert size <= part * parts
    assert part % (1 << 20) == 0


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (KEY, ""),
        (KEY.replace("ql3z", "ql3x"), "a public key of age"),
        (KEY[:-1], "a public key of age"),
        (KEY.upper(), "a public key of age"),
        ("ssh-ed25519 AAAA", "a public key of age"),
        ("", "a public key of age"),
    ],
)
def test_recipients(value, said):
    assert said in rclone.recipient_problem(value)
    assert bool(said) == bool(rclone.recipient_problem(value))


def test_a_secret_key_is_refused_and_not_shown():
    found = rclone.recipient_problem("AGE-SECRET-KEY-1QQQ")
    assert "is a secret key" in found
    assert "1QQQ" not in found
