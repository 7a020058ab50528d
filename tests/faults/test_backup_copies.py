"""A copy is one that came back whole. Whatever the network, the provider or the disk does: told, exit status 1, nothing
pruned, nothing half listed, and the next run is fine. S3 is moto's server, SFTP is the host's own sshd."""

from __future__ import annotations

import json
import time

import pytest

from .conftest import Group, until
from .s3 import PORT_ON_HOST, S3

SETS = "/var/backups/shipshape/sets"
BASE = {
    "host": "db1",
    "components": [
        # Larger than the parts of an upload, and not to be made smaller.
        {"name": "data", "type": "command", "argv": ["sh", "-c", "head -c 6000000 /dev/urandom"]},
        {"name": "etc", "type": "files", "paths": ["/etc/ssh"]},
    ],
    "schedules": {"daily": {"cron": "0 2 * * *", "keep_last": 2}},
}
SETUP = """
export DEBIAN_FRONTEND=noninteractive; apt-get update -qq
apt-get install -yqq --no-install-recommends restic rclone age openssh-client >/dev/null 2>&1
umask 077; mkdir -p /etc/shipshape /root/.ssh; useradd --create-home vault; install -d -o vault -m 700 /home/vault/.ssh
ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519
install -o vault -m 600 /root/.ssh/id_ed25519.pub /home/vault/.ssh/authorized_keys
ssh-keyscan 127.0.0.1 >/root/.ssh/known_hosts 2>/dev/null
age-keygen -o /root/identity 2>/dev/null; age-keygen -o /root/other 2>/dev/null
echo hunter-two >/etc/shipshape/copy.password
"""
ENVIRONMENT = "/etc/shipshape/copy.environment"


def restic(repository, **more):
    return {"name": "away", "repository": repository, "password_file": "/etc/shipshape/copy.password",
            "environment_file": ENVIRONMENT, "escrow": "the safe", "keep_last": 9, "timeout": 60, **more}  # fmt: skip


def rclone(repository, key, **more):
    recipients = [key] if key else []
    return {"name": "away", "tool": "rclone", "repository": repository, "age_recipients": recipients,
            "environment_file": ENVIRONMENT, "escrow": "the safe", "keep_last": 9, "timeout": 60, **more}  # fmt: skip


class Host:
    def __init__(self, group: Group, s3: S3) -> None:
        self.group, self.s3, self.buckets = group, s3, 0
        self.shell(SETUP)
        self.key = self.shell("age-keygen -y /root/identity").strip()
        self.secret()

    def shell(self, script: str) -> str:
        return self.group.shell("h", script)

    def secret(self, secret: str = "", more: str = "") -> None:
        lines = f"AWS_ACCESS_KEY_ID={self.s3.key}\nAWS_SECRET_ACCESS_KEY={secret or self.s3.secret}\n{more}"
        self.shell(f"umask 077; cat >{ENVIRONMENT} <<'END'\n{lines}\nEND")

    def configure(self, *copies, **more) -> None:
        text = json.dumps({**BASE, "copies": list(copies), **more})
        self.shell(f"umask 077; cat >/etc/shipshape/backup.json <<'END'\n{text}\nEND")

    def bucket(self) -> tuple[str, str]:
        self.buckets += 1
        name = f"bucket-{self.buckets}"
        return name, f"s3:http://127.0.0.1:{PORT_ON_HOST}/{name}/of/shop"

    def fresh(self) -> None:
        """A host that has made nothing yet."""
        self.secret()
        self.shell(f"rm -rf {SETS} /var/lib/shipshape /home/vault/sets /srv/copies")

    def command(self, words: str) -> tuple[int, str]:
        rc, _newline, said = self.shell(
            f"shipshape backup {words} >/tmp/out 2>&1 && rc=0 || rc=$?; echo $rc; cat /tmp/out"
        ).partition("\n")
        return int(rc), " ".join(said.split())

    def sets(self) -> list[str]:
        return self.shell(f"ls -A {SETS}").split()

    def fine(self) -> str:
        rc, said = self.command("run --schedule daily")
        assert rc == 0, said
        assert "COPIES_BELOW" not in said
        assert [name for name in self.sets() if not name.endswith("Z")] == []
        return said.split()[-1]

    def fails(self) -> str:
        """What a failed run said; it made its set, and removed none, here or there."""
        before = self.sets()
        rc, said = self.command("run --schedule daily")
        assert rc == 1, said
        assert set(before) < set(self.sets())
        return said

    def listed(self) -> list[str]:
        rc, said = self.command("list --target away --json")
        return [each["id"] for each in json.loads(said)] if rc == 0 else []


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    group = Group("faults-backup-copies", tmp_path_factory.mktemp("f"), h="trixie")
    s3 = S3()
    try:
        group.bring_command()
        s3.reach(str(group.state / "ssh_config"), "h")
        yield Host(group, s3)
    finally:
        s3.down()
        group.down()


@pytest.fixture(scope="module", params=["restic", "rclone"])
def on_s3(host, request):
    """A target of each tool in a bucket of its own, with good sets in it."""
    host.fresh()
    bucket, repository = host.bucket()

    def configure(**more):
        make = restic(repository) if request.param == "restic" else rclone(repository, host.key)
        host.configure({**make, **more}, copies_min=2)

    configure()
    host.fine()
    configure.bucket, configure.encrypted = bucket, request.param == "rclone"
    return configure


TARGETS = {
    "restic to S3": lambda host: restic(host.bucket()[1]),
    "rclone to S3": lambda host: rclone(host.bucket()[1], host.key),
    "restic to SFTP": lambda _host: restic("sftp:vault@127.0.0.1:/home/vault/sets"),
    "rclone to SFTP": lambda host: rclone("sftp:vault@127.0.0.1:/home/vault/sets", host.key),
    "rclone to a folder": lambda _host: rclone("/srv/copies", ""),
}


@pytest.mark.parametrize("kind", TARGETS)
def test_a_set_comes_back_byte_for_byte(host, kind):
    host.fresh()
    copy = TARGETS[kind](host)
    host.configure(copy, copies_min=2)
    name = host.fine()
    assert host.listed() == [name]
    sums = f"cd {SETS}/{name}; sha256sum *"
    before = host.shell(sums)
    assert "command-data" in before
    host.shell(f"rm -r {SETS}/{name}")
    identity = "--identity /root/identity" if copy.get("age_recipients") else ""
    if identity:
        for wrong, said_of_it in (
            ("", "give --identity FILE"),
            ("--identity /root/other", "/root/other does not open"),
        ):
            rc, said = host.command(f"fetch {name} {wrong}")
            assert rc == 1
            assert said_of_it in said
            assert "the safe" in said
            assert host.sets() == []
    rc, said = host.command(f"fetch {name} {identity}")
    assert rc == 0, said
    assert host.shell(sums) == before
    assert host.shell(f"find {SETS}/{name} -perm /077") == ""
    # Whatever was remembered of the copy is still good for a look.
    rc, said = host.command("verify --level checksum")
    assert rc == 0, said


def test_what_goes_elsewhere_is_encrypted_and_what_stays_is_private(host):
    host.fresh()
    bucket, repository = host.bucket()
    host.configure(rclone(repository, host.key), {**rclone("/srv/copies", ""), "name": "beside"}, copies_min=3)
    name = host.fine()
    files = [f"of/shop/db1/daily/{name}/{file}.age" for file in ("command-data", "files-etc.tar.gz", "manifest.json")]
    assert host.s3.keys(bucket) == files
    for key in files:
        assert host.s3.client.get_object(Bucket=bucket, Key=key)["Body"].read(21) == b"age-encryption.org/v1"
    assert host.shell("find /srv/copies -perm /077") == ""
    # No secret among the arguments of programs, nor in the journal.
    seen = host.shell(
        "journalctl -t shipshape-backup --no-pager; cat /var/lib/shipshape/backup/* /etc/shipshape/backup.json"
    )
    assert host.s3.secret not in seen


def test_a_target_that_answers_500_for_a_while(on_s3, host):
    before = host.listed()
    with host.s3.proxy.fault("500", count=2):
        rc, said = host.command("run --schedule daily")
    # Tried again or failed, but never half.
    assert rc == 0 or "500" in said, said
    assert len(host.listed()) == len(before) + (rc == 0)
    host.fine()


FAULTS = {
    "500": ("InternalError", "internal error", "no end within"),
    "hang": ("no end within",),
    "cut": ("EOF", "reset", "closed", "no end within"),
}


# A cut differs little from a hang: both end when the time does.
@pytest.mark.parametrize("fault", ["500", "hang", pytest.param("cut", marks=pytest.mark.nightly)])
def test_a_target_that_fails_for_good(on_s3, host, fault):
    on_s3(timeout=5)
    before, begun = host.listed(), time.monotonic()
    with host.s3.proxy.fault(fault, methods=("PUT", "POST") if fault == "cut" else ("GET", "HEAD", "PUT", "POST")):
        said = host.fails()
    assert time.monotonic() - begun < 25
    assert any(words in said for words in FAULTS[fault]), said
    assert "COPIES_BELOW" in said
    on_s3()
    assert [*before, host.fine()] == host.listed()


def test_bytes_that_change_on_their_way_back_are_no_copy(on_s3, host):
    on_s3(timeout=5)
    with host.s3.proxy.fault("corrupt", methods=("GET",)):
        host.fails()
    on_s3()
    # The repository of restic has a snapshot by then, and this host knows of no copy.
    host.fine()
    rc, said = host.command("verify --level checksum")
    assert rc == 0, said


def test_an_upload_that_is_killed_leaves_no_half_set(on_s3, host):
    before = host.listed()
    proxy = host.s3.proxy
    with proxy.fault("hang", methods=("PUT", "POST")):
        host.shell("setsid sh -c 'exec shipshape backup run --schedule daily' >/dev/null 2>&1 & echo $! >/tmp/pid")
        until(lambda: proxy.served >= 1, 30, "the upload has begun")
        host.shell(f"kill -9 $(cat /tmp/pid); rm -r {SETS}/$(ls {SETS} | tail -1)")
    # What is listed is whole: restic outlives its caller, and may finish what it was asked for.
    for name in set(host.listed()) - set(before):
        rc, said = host.command(f"fetch {name} --identity /root/identity" if on_s3.encrypted else f"fetch {name}")
        assert rc == 0, said
    name = host.fine()
    assert host.listed()[-1] == name
    rc, said = host.command("verify --level checksum")
    assert rc == 0, said


def test_the_target_keeps_its_own_number_of_sets(on_s3, host):
    while len(host.listed()) < 3:
        host.fine()
    on_s3(keep_last=2)
    name = host.fine()
    assert len(host.listed()) == 2
    assert host.listed()[-1] == name
    on_s3()


def test_a_flipped_byte_on_the_target_is_found(on_s3, host):
    rc, said = host.command("verify --level checksum")
    assert rc == 0, said

    def size(key):
        return host.s3.client.head_object(Bucket=on_s3.bucket, Key=key)["ContentLength"]

    newest = host.sets()[-1]
    keys = [key for key in host.s3.keys(on_s3.bucket) if "/data/" in key or f"{newest}/command-data" in key]
    flipped = [key for key in keys if size(key) > 100000]
    for key in flipped:
        host.s3.flip(on_s3.bucket, key)
    rc, said = host.command("verify --level checksum")
    assert rc == 1, said
    assert "OFFSITE_DIFFERS" in said
    assert "COPIES_BELOW" in said
    # Without the look at the copies the set is what it was.
    rc, said = host.command("verify --level checksum --no-copies")
    assert rc == 0, said
    for key in flipped:
        host.s3.flip(on_s3.bucket, key)
    host.fine()


def test_a_wrong_secret_key(on_s3, host):
    on_s3(timeout=6)
    host.secret("nonsense")
    newest = host.sets()[-1]
    said = host.fails()
    assert "signature" in said
    assert "OFFSITE_MISSING" not in said
    # Not looked at is not wrong, and not passed either.
    rc, said = host.command(f"verify --level checksum --set {newest}")
    assert rc == 2, said
    assert "NOT_READABLE" in said
    host.secret()
    on_s3()
    host.fine()


def test_a_bucket_that_held_copies_and_is_gone(on_s3, host):
    on_s3(timeout=6)
    host.s3.drop(on_s3.bucket)
    rc, said = host.command("verify --level checksum")
    assert rc == 1, said
    assert "OFFSITE_MISSING" in said
    assert "OFFSITE_MISSING" in host.fails()
    # Not made again behind anybody's back; under another name it begins anew.
    assert on_s3.bucket not in [each["Name"] for each in host.s3.client.list_buckets()["Buckets"]]
    on_s3(name="anew")
    host.fine()


def test_three_places_or_it_is_told(host):
    host.fresh()
    away = rclone(host.bucket()[1], host.key)
    other = {**restic("sftp:vault@127.0.0.1:/home/vault/sets"), "name": "other"}
    host.configure(away, other, copies_min=3)
    host.fine()
    host.configure(away, {**other, "timeout": 8}, copies_min=3)
    host.shell("mv /home/vault/sets /home/vault/away")
    said = host.fails()
    assert "is in 2 place(s), and 3 are wanted" in said
    host.shell("mv /home/vault/away /home/vault/sets")
    host.configure(away, other, copies_min=3)
    host.fine()


def test_another_host_is_not_taken_for_the_right_one(host):
    host.fresh()
    host.configure(rclone("sftp:vault@127.0.0.1:/home/vault/sets", host.key), copies_min=2)
    host.shell("cd /root/.ssh; mv known_hosts right; ssh-keygen -q -t ed25519 -N '' -f /tmp/another"
               "; echo 127.0.0.1 $(cat /tmp/another.pub) >known_hosts")  # fmt: skip
    host.secret(more="RCLONE_LOW_LEVEL_RETRIES=1")
    rc, said = host.command("run --schedule daily")
    host.shell("mv /root/.ssh/right /root/.ssh/known_hosts")
    assert rc == 1, said
    assert "knownhosts" in said
    host.fine()
