#!/usr/bin/python
# Copyright: (c) 2026, The shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_verify
short_description: Prove that a backup can be restored
version_added: 0.1.0
author:
  - The shipshape.stack maintainers (@shipshape)
description:
  - Looks at a backup set, or at any dump or base backup of PostgreSQL, RDB file of Redis, SQLite database, tar archive
    or repository of restic, borg or pgBackRest, whoever made it, up to the O(level) that is asked for.
  - There are three verdicts. A check that could not be made (no program, no room, no time) is never a success.
  - Restores go into a server of their own with the same major version, on a private socket, which is removed in any
    case. Nothing else is touched.
options:
  path:
    description:
      - A file, a folder that holds a set (with C(manifest.json)), a folder that is one artefact (of C(pg_dump -Fd) or
        C(pg_basebackup), a repository), or a pattern of them.
    type: path
    required: true
  select:
    description:
      - Which of the files that a pattern in O(path) matches. V(newest) is the last by name, as a copy has another time.
    type: str
    choices: [newest, all]
    default: newest
  type:
    description:
      - What the artefact has to be. V(auto) takes whatever it is found to be.
    type: str
    choices:
      - auto
      - pg_custom
      - pg_plain
      - pg_tar
      - pg_globals
      - redis_rdb
      - sqlite
      - tar
      - output
      - pg_dir
      - basebackup
      - restic
      - borg
      - pgbackrest
    default: auto
  level:
    description:
      - How far to prove it. Each level holds those before it; a kind that ends earlier is proven to its own last level.
      - V(exists) age, size, permissions. V(checksum) SHA-256 and copies. V(structure) headers, names, owners. V(decode)
        every byte. V(restore) into a server of its own. V(schema), V(rows) against the manifest. V(queries) the
        O(checks). V(integrity) indexes by amcheck, sequences, collations.
    type: str
    choices: [exists, checksum, structure, decode, restore, schema, rows, queries, integrity]
    default: decode
  max_age:
    description:
      - Seconds; V(0) is any age. The age of a set is what its name says, that of a file its time of change.
    type: int
    default: 0
  min_size:
    description:
      - Bytes.
    type: int
    default: 0
  size_tolerance:
    description:
      - Per cent by which an artefact of a set may differ from the median of the seven before it; V(0) does not compare.
    type: int
    default: 0
  checksum:
    description:
      - The SHA-256 that the file has to have. Artefacts of a set have theirs in the manifest. That of a folder is
        of the lines that C(sha256sum) prints of its files, by name, from within.
    type: str
    default: ""
  copies:
    description:
      - Where the same bytes have to be, as mounted on this host. Each is read and compared.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: A file, or a folder with a file of the same name in it.
        type: path
        required: true
  min_copies:
    description:
      - In how many places it has to be, this one included.
    type: int
    default: 1
  globals_path:
    description:
      - The output of C(pg_dumpall --globals-only) of the same server. Owners that it lacks are found.
    type: path
    default: ""
  manifest:
    description:
      - The manifest of the set that a single file comes from.
    type: path
    default: ""
  expected_database:
    description:
      - The database that it has to be a dump of.
    type: str
    default: ""
  expected_version:
    description:
      - The version of the server that it has to be of; only the major version counts.
    type: str
    default: ""
  allow_empty:
    description:
      - A database without any table is right.
    type: bool
    default: false
  group_readable:
    description:
      - The group of the file may read it.
    type: bool
    default: false
  contains:
    description:
      - Members that a tar archive has to have.
    type: list
    elements: str
    default: []
  decrypt:
    description:
      - How what is encrypted is opened. Name the escrowed key, as the host's own is lost with the host.
    type: dict
    default: {}
    suboptions:
      identity_file:
        description: The file with the key of age on this host.
        type: path
      password_file:
        description: The file with the password of a repository on this host. It never stands in an argument.
        type: path
  read_percent:
    description:
      - How much of the data of a repository of restic V(decode) reads, chosen at random. Less than V(100) is a sample;
        daily samples read all of it in time.
    type: int
    default: 100
  work_dir:
    description:
      - Where the scratch server lives. A tmpfs is as good.
    type: path
    default: /var/lib/shipshape/verify
  timeout:
    description:
      - Seconds for one artefact, all levels together.
    type: int
    default: 3600
  checks:
    description:
      - Questions to the restored database. Their answers are compared and never returned. One that nobody was asked
        is a finding, too.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: What it is called in findings.
        type: str
        required: true
      query:
        description: One SELECT that returns one value; it runs in a transaction that is read only.
        type: str
        required: true
      expect:
        description: The value, as text.
        type: str
      max_age:
        description: Seconds; the value is a time, and may not be older.
        type: int
      database:
        description: The database that is asked, where there are several; each is asked without.
        type: str
        default: ""
  row_tolerance:
    description:
      - Per cent of rows that may be missing. More than there were are never a finding.
    type: int
    default: 0
  amcheck:
    description:
      - Whether V(integrity) reads all B-tree indexes.
    type: bool
    default: true
  rto_budget:
    description:
      - Seconds that the restore may take; V(0) is any time.
    type: int
    default: 0
  history_path:
    description:
      - A line of JSON is added to this file for each verification, and the last 400 are kept; in check mode nothing is
        written. A file that cannot be written is a warning, and changes no verdict.
    type: path
    default: ""
  metrics_path:
    description:
      - The newest line of each series (a path, or C(set) for all sets) of O(history_path) is written to this file for
        the textfile collector of C(node_exporter). Without a history it is only that of this verification.
    type: path
    default: ""
  ignore:
    description:
      - Findings that do not count here. They are returned all the same.
    type: list
    elements: dict
    default: []
    suboptions:
      id:
        description: The finding.
        type: str
        required: true
      reason:
        description: Why, for whoever reads it in a year.
        type: str
        required: true
  fail_on:
    description:
      - Verdicts that fail the task.
    type: list
    elements: str
    choices: [failed, unverified]
    default: [failed, unverified]
attributes:
  check_mode:
    support: full
    description: Everything up to V(decode) is done. Restores are not, and what they would show is V(unverified).
  diff_mode:
    support: none
    description: Nothing is changed.
seealso:
  - module: shipshape.stack.backup_info
"""

EXAMPLES = r"""
- name: Prove last night's dump, as far as its last byte
  shipshape.stack.backup_verify:
    path: /var/backups/shop/shop-*.sql.gz
    max_age: 90000

- name: Restore the newest dump and ask it what the app would
  shipshape.stack.backup_verify:
    path: /var/backups/shop/shop-*.dump
    level: queries
    globals_path: /var/backups/shop/globals.sql
    checks:
      - {name: an administrator is there, query: SELECT count(*) > 0 FROM users WHERE admin, expect: "True"}
      - {name: orders are fresh, query: SELECT max(created_at) FROM orders, max_age: 86400}

- name: Read a twentieth of a repository, with the escrowed password, and tell Prometheus
  shipshape.stack.backup_verify:
    path: /srv/restic
    decrypt: {password_file: /root/escrow/restic}
    read_percent: 5
    max_age: 90000
    history_path: /var/log/verified.jsonl
    metrics_path: /var/lib/prometheus/node-exporter/shipshape_restic.prom

- name: A set of the role backup, with everything that its manifest knows
  shipshape.stack.backup_verify:
    path: /var/backups/shipshape/sets/20261126T020000Z
    level: integrity
"""

RETURN = r"""
verdict:
  description: The worst of all artefacts, C(passed), C(failed) or C(unverified).
  returned: always
  type: str
  sample: passed
level_requested:
  description: The level that was asked for.
  returned: always
  type: str
artefacts:
  description: What was found, by artefact.
  returned: always
  type: list
  elements: dict
  contains:
    path: {description: The file., type: str, returned: always}
    verdict: {description: Of this file., type: str, returned: always}
    level_reached: {description: The last level below everything that was found., type: str, returned: always}
    findings:
      description: What is wrong, with C(id), C(severity), C(level), C(message) and C(hint).
      type: list
      elements: dict
      returned: always
    durations: {description: Seconds by level., type: dict, returned: always}
    sha256: {description: Of the file as it is., type: str, returned: from checksum on}
rto_seconds:
  description: What the restores took.
  returned: always
  type: float
rpo_seconds:
  description: The age of the data.
  returned: always
  type: float
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.shipshape.stack.plugins.module_utils._backup_manifest import BackupError
from ansible_collections.shipshape.stack.plugins.module_utils._verify_engine import problems, verify, warnings
from ansible_collections.shipshape.stack.plugins.module_utils._verify_model import PASSED, UNVERIFIED, at_least
from ansible_collections.shipshape.stack.plugins.module_utils._verify_options import ARGUMENT_SPEC


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    wanted = {**module.params, "decrypt": module.params["decrypt"] or {}}
    fail_on, path = wanted.pop("fail_on"), wanted.pop("path")
    if module.check_mode:
        wanted |= {"history_path": "", "metrics_path": ""}
    cut = module.check_mode and not at_least(wanted["level"], "decode")
    try:
        report = verify(path, {**wanted, "level": "decode"} if cut else wanted)
    except BackupError as exc:
        module.fail_json(msg=str(exc))
    if cut:
        report["level_requested"] = wanted["level"]
        report["verdict"] = UNVERIFIED if report["verdict"] == PASSED else report["verdict"]
    said = problems(report)
    for each in warnings(report):
        module.warn(each)
    del report["warnings"]
    if report["verdict"] in fail_on and not (cut and report["verdict"] == UNVERIFIED):
        module.fail_json(msg=f"{path}: {report['verdict']}. {'. '.join(said)}", **report)
    module.exit_json(changed=False, **report)


if __name__ == "__main__":
    main()
