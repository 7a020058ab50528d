# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What programs say of a folder that is broken, as restic 0.18, borg 1.4 and pg_verifybackup 17 said it."""

from __future__ import annotations

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils import _verify_folder as folder
from ansible_collections.shipshape.stack.plugins.module_utils import _verify_repository as repository
from ansible_collections.shipshape.stack.plugins.module_utils._verify_formats import folder_kind


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("pack ac3b: unexpected file size: got 50000, expected 4001796 Load failed: file is too short", "TRUNCATED"),
        ("pack ac3b: does not exist The repository is damaged and must be repaired.", "FILES_MISSING"),
        ("error for tree d187c805: id d187c805 not found in repository", "FILES_MISSING"),
        ("pack ac3b contains 2 errors: [blob a28c failed: ciphertext verification failed", "DECODE_ERROR"),
        ("error: failed to load snapshot a53fa74d: LoadRaw(<snapshot/a53f>): invalid data returned", "DECODE_ERROR"),
        ("Data integrity error: Segment entry checksum mismatch [segment 2, offset 2000848]", "DECODE_ERROR"),
        ("Data integrity error: Segment entry data short read [segment 2, offset 8]: expected 200075", "TRUNCATED"),
        ("Index object count mismatch. ID: 1e13 rebuilt index: <not found>", "FILES_MISSING"),
        ("something that nobody has said before", "DECODE_ERROR"),
    ],
)
def test_what_repositories_say(said, name):
    assert repository.judged(said) == name


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ('pg_verifybackup: error: "base/1/1259" has size 8192 on disk but size 114688 in the manifest', "TRUNCATED"),
        ('pg_verifybackup: error: "base/1/1259" is present in the manifest but not on disk', "FILES_MISSING"),
        ("pg_waldump: error: could not find any WAL file", "FILES_MISSING"),
        ('pg_verifybackup: error: checksum mismatch for file "base/1/1259"', "DECODE_ERROR"),
    ],
)
def test_what_pg_verifybackup_says(said, name):
    assert [each for each, _message in folder.problems(said)] == [name]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:01:00.236526036Z", 60),
        ("1970-01-01T02:01:00.236526036+02:00", 60),
        ("1970-01-01T00:01:00+00:00", 60),
    ],
)
def test_moments_of_restic(text, seconds):
    assert repository.moment(text) == seconds


def test_moments_of_borg_are_local(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    repository.time.tzset()
    assert repository.moment("1970-01-01T00:01:00.000000") == 60


@pytest.mark.parametrize(
    ("names", "config", "kind"),
    [
        (["toc.dat", "3420.dat.gz"], b"", "pg_dir"),
        (["3420.dat.zst", "blobs.toc"], b"", "pg_dir"),
        (["backup_manifest", "PG_VERSION"], b"", "basebackup"),
        (["backup_manifest", "base.tar.gz"], b"", "basebackup"),
        (["config", "data", "index", "keys", "locks", "snapshots"], b"\x00\x01", "restic"),
        (["config", "data", "README"], b"[repository]\nversion = 1\n", "borg"),
        (["config", "data", "README"], b"[other]\n", ""),
        (["archive", "backup"], b"", "pgbackrest"),
        (["etc"], b"", ""),
        ([], b"", ""),
    ],
)
def test_a_folder_is_known_by_what_is_in_it(names, config, kind):
    assert folder_kind(names, config) == kind
