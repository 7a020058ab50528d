#!/usr/bin/python
# Copyright: (c) 2026, The shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: health_check
author: The shipshape.stack maintainers (@shipshape)
version_added: 0.1.0
short_description: Probe a host and its services, all at once
description:
  - Runs many typed checks at the same time and says healthy, degraded or unhealthy for each and for the whole.
  - Everything in the request is validated before the first probe runs.
  - The command C(shipshape health) runs the same checks from the same code, without a controller.
  - Where a default depends on the type of check it is named in the description. The guide is C(docs/health.md).
attributes:
  check_mode: {support: full, description: Probes only read. They run in check mode too.}
  diff_mode: {support: none, description: Nothing is changed.}
  idempotent: {support: full, description: Nothing is changed.}
  platform: {support: full, description: Linux., platforms: linux}
options:
  checks:
    description: What to probe. Options that do not belong to the O(checks[].type) are refused.
    type: list
    elements: dict
    required: true
    suboptions:
      name: {type: str, required: true, description: 'What the check is called in results. Names are unique.'}
      type:
        description:
          - V(http), V(tls), V(tcp), V(postgres), V(redis), V(systemd) and V(command) ask services.
          - V(postgres) needs C(python3-psycopg) on the host, V(redis) (which asks Valkey too) C(python3-redis).
          - V(disk), V(memory), V(load) and V(restart) measure the host. They are asked once, as waiting mends nothing.
          - V(time) asks the kernel whether the clock is synchronised.
          - V(restart) finds what runs old code after an upgrade, by systemd unit, and whether a reboot is due.
        type: str
        required: true
        choices: [http, tls, tcp, postgres, redis, systemd, disk, memory, load, command, time, restart]
      timeout: {type: float, description: Seconds that one attempt may take. 5 by default.}
      attempts: {type: int, description: 'Attempts of this check, instead of the O(attempts) of the call.'}
      connect_timeout:
        description: (http, tls, tcp, postgres, redis) Seconds to connect, instead of O(connect_timeout) of the call.
        type: float
      url: {type: str, description: '(http, required) The address. User name and password in it are never shown.'}
      method: {type: str, description: (http) The method. V(GET) by default.}
      status_code: {type: list, elements: int, description: '(http) Statuses that are right. V([200]) by default.'}
      json:
        description:
          - (http) Conditions on fields of a JSON body, by dotted path (V(checks.database), V(queues[0].length)).
          - A condition is the expected value, or operators (C(eq), C(ne), C(lt), C(le), C(gt), C(ge), C(in), C(regex),
            C(exists)) with their operands.
        type: dict
      degraded:
        description:
          - (http) Conditions as in O(checks[].json) that make the check degraded where they hold.
          - A field that is degraded is not held against O(checks[].json) too.
        type: dict
      body_regex: {type: str, description: (http) A regular expression that the body must match somewhere.}
      headers: {type: dict, description: (http) Headers to send. Their values are never shown.}
      expect_headers:
        description:
          - (http) Conditions on headers of the answer, as in O(checks[].json) but without paths and numbers.
          - C(exists) with V(false) wants a header not to be there. One that comes twice is joined by a comma.
        type: dict
      host_header:
        description: (http) The host to ask for, instead of the one in the URL. TLS uses it too.
        type: str
      resolve_to: {type: str, description: '(http) Connect to this address, whatever the name in the URL resolves to.'}
      degraded_ms: {type: int, description: (http) An answer that takes as many milliseconds is degraded.}
      validate_certs:
        description: (http, redis) Whether the certificate must be trusted. V(true) by default.
        type: bool
      ca_path:
        description:
          - (http, tls, postgres, redis) File of the authorities that are trusted for this check.
          - For postgres O(checks[].sslmode) must be one that verifies, for redis O(checks[].tls) true.
        type: path
      cert_min_days: {type: float, description: '(http, tls) A certificate with fewer days left is unhealthy.'}
      cert_warn_days:
        description:
          - (http, tls) A certificate with fewer days left is degraded.
          - For tls a quarter of its time by default, and 21 days at most.
        type: float
      server_name:
        description:
          - (tls) The name that the server is asked for.
          - The first of O(checks[].names) by default that is not a wildcard, else O(checks[].host).
        type: str
      names:
        description:
          - (tls) Names and addresses that the certificate has to cover. A wildcard has to be in it as it is.
          - The O(checks[].server_name) by default; none with O(checks[].unverified).
        type: list
        elements: str
      unverified:
        description: (tls) Why the chain need not be trusted, such as a placeholder. Without a reason it has to be.
        type: str
      min_protocol:
        description: (tls) The oldest protocol that is good enough. V(TLSv1.2) by default.
        type: str
        choices: [TLSv1, TLSv1.1, TLSv1.2, TLSv1.3]
      refuse_older:
        description: (tls) Whether the server has to refuse what is older than that. V(false) by default.
        type: bool
      host:
        description:
          - (tls, tcp, postgres, redis) The host. V(127.0.0.1) by default.
          - For postgres also the directory of a socket, V(/var/run/postgresql) by default.
        type: str
      port:
        description: (tls, tcp, postgres, redis; tcp requires it) The port. 443, 5432 and 6379 by default.
        type: int
      send: {type: str, description: (tcp) Text to send first.}
      expect:
        description:
          - (tcp, postgres) A regular expression that what the server says must match.
          - For postgres that is the first value that the O(checks[].query) brings.
        type: str
      unix_socket: {type: path, description: '(redis) The socket, instead of host and port.'}
      user:
        description:
          - (postgres, redis) The user to log in as. V(postgres) by default for postgres; the default user for redis.
          - Over its socket PostgreSQL lets root in as V(postgres) only where C(pg_ident.conf) maps it.
        type: str
      password_file:
        description: (postgres, redis) File that holds the password, as its only line. Without it none is sent.
        type: path
      database: {type: str, description: (postgres) The database. V(postgres) by default.}
      sslmode:
        description: (postgres) Whether TLS is used over the network and what is verified. V(prefer) by default.
        type: str
        choices: [disable, prefer, require, verify-ca, verify-full]
      tls: {type: bool, description: (redis) Whether the server speaks TLS. V(false) by default.}
      client_cert: {type: path, description: '(postgres, redis) File of the certificate to log in with.'}
      client_key: {type: path, description: '(postgres, redis) File of the key of O(checks[].client_cert).'}
      role:
        description: (postgres, redis) What the server must be. Either by default.
        type: str
        choices: [primary, replica]
      query: {type: str, description: '(postgres) One statement that must succeed. It runs in a read-only transaction.'}
      unit: {type: str, description: '(systemd) A unit. Without a suffix it is a service.'}
      units: {type: list, elements: str, description: (systemd) Units.}
      failed: {type: bool, description: (systemd) Whether any failed unit of the host makes the check unhealthy.}
      ignore:
        description: (systemd, restart) Units that do not count. Patterns for systemd.
        type: list
        elements: str
      active_state:
        description: (systemd) States that are right. V([active, reloading]) by default.
        type: list
        elements: str
      sub_state: {type: list, elements: str, description: (systemd) Substates that are right. Any by default.}
      enabled: {type: bool, description: (systemd) Whether the units must be enabled.}
      max_restarts: {type: int, description: (systemd) A unit that systemd had to restart more often is degraded.}
      path: {type: path, description: (disk) Any path on the file system. V(/) by default.}
      degraded_percent:
        description:
          - (disk, memory, postgres, redis) Use from which on it is degraded. 80 by default, 85 for memory.
          - Of connections for postgres. For redis of C(maxmemory), or of the host's memory where there is none.
        type: float
      unhealthy_percent:
        description: (disk, memory, postgres, redis) Use from which on it is unhealthy. 95 by default, 90 for disk.
        type: float
      degraded_transaction_seconds:
        description: (postgres) Age of the oldest transaction from which on it is degraded. 3600 by default.
        type: float
      unhealthy_transaction_seconds:
        description: (postgres) Age of the oldest transaction from which on it is unhealthy. 86400 by default.
        type: float
      degraded_wraparound_percent:
        description: (postgres) Share of the transaction IDs used up from which on it is degraded. 40 by default.
        type: float
      unhealthy_wraparound_percent:
        description: (postgres) Share of the transaction IDs used up from which on it is unhealthy. 75 by default.
        type: float
      degraded_lag_seconds:
        description: (postgres) Lag of a replica from which on it is degraded, and so is its primary. 60 by default.
        type: float
      unhealthy_lag_seconds:
        description: (postgres) Lag of a replica from which on it is unhealthy, and so is its primary. 3600 by default.
        type: float
      degraded_slot_mib:
        description: (postgres) MiB of WAL that a replication slot keeps from which on it is degraded. 1024 by default.
        type: float
      unhealthy_slot_mib:
        description: (postgres) MiB of WAL that a slot keeps from which on it is unhealthy. Never by default.
        type: float
      degraded_save_seconds:
        description: (redis) Age of changes that are not saved from which on it is degraded. Never by default.
        type: float
      unhealthy_save_seconds:
        description: (redis) Age of changes that are not saved from which on it is unhealthy. Never by default.
        type: float
      degraded_per_cpu: {type: float, description: (load) Load per CPU from which on it is degraded. 2 by default.}
      unhealthy_per_cpu:
        description: (load) Load per CPU from which on it is unhealthy. Never by default.
        type: float
      command:
        description:
          - (command, required) Program and arguments as a list, or as text that is split as in a shell. No shell runs.
          - It must only read, as it runs in check mode too.
        type: raw
      expect_rc: {type: list, elements: int, description: '(command) Exit statuses that are right. V([0]) by default.'}
      degraded_rc: {type: list, elements: int, description: (command) Exit statuses that mean degraded.}
      stdout_regex: {type: str, description: (command) A regular expression that the output must match somewhere.}
      max_offset_seconds:
        description: (time) A clock that is known to be off by more is unhealthy. 1 by default.
        type: float
      container:
        description:
          - (time) What a clock that is not synchronised means inside a container, where nobody can mend it.
          - V(skipped) by default.
        type: str
        choices: [skipped, degraded]
  mode:
    description: Whether all checks count, or one healthy check is enough. V(any) ends with the first that is healthy.
    type: str
    choices: [all, any]
    default: all
  timeout:
    description: Seconds that the whole call may take.
    type: float
    default: 30.0
  interval:
    description: Seconds between the attempts of a check.
    type: float
    default: 1.0
  attempts:
    description: Attempts of each check. Without it, as many as the O(timeout) allows.
    type: int
  connect_timeout:
    description: Seconds to connect, for checks that do not say. Without it, the timeout of the check.
    type: float
  consecutive_successes:
    description: Good answers in a row that a check needs.
    type: int
    default: 1
  degraded_ok:
    description: Names of checks that may be degraded without the whole being degraded.
    type: list
    elements: str
  fail:
    description: Whether the task fails when the whole is as bad as O(fail_on).
    type: bool
    default: true
  fail_on:
    description:
      - From which status on the task fails.
      - What would fail the task is retried. With V(unhealthy) a degraded answer is an answer and is not waited out.
    type: str
    choices: [unhealthy, degraded]
    default: unhealthy
seealso:
  - plugin: shipshape.stack.health_table
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Gate a new release on three good answers in a row
  shipshape.stack.health_check:
    checks:
      - name: web
        type: http
        url: http://127.0.0.1:5000/health
        json: {status: healthy, checks.database: healthy, queue.length: {lt: 100}}
        degraded: {status: degraded}
    consecutive_successes: 3
    timeout: 60

- name: Probe the host, and go on whatever is found
  shipshape.stack.health_check:
    checks:
      - {name: ssh, type: tcp, port: 22, expect: ^SSH-2.0}
      - {name: units, type: systemd, failed: true}
      - {name: root disk, type: disk, path: /, degraded_percent: 80, unhealthy_percent: 90}
      - {name: memory, type: memory}
      - {name: clock, type: time}
      - {name: mail queue, type: command, command: [mailq], stdout_regex: is empty}
      - {name: old code, type: restart}
      - {name: database, type: postgres, database: app, query: SELECT count(*) FROM users, expect: "^[1-9]"}
      - {name: queue, type: redis, user: monitor, password_file: /etc/shipshape/redis-monitor, role: primary}
    attempts: 1
    fail: false
  register: health

- name: Ask one instance behind the load balancer by the public name, certificate included
  shipshape.stack.health_check:
    checks:
      - name: vendor on app1
        type: http
        url: https://vendor.example.com/health
        resolve_to: 192.0.2.7
        cert_min_days: 3
        cert_warn_days: 14
        expect_headers: {Strict-Transport-Security: {regex: "^max-age=[1-9]"}, Server: nginx}
      - name: certificate
        type: tls
        host: 192.0.2.7
        names: [vendor.example.com, www.vendor.example.com]
        refuse_older: true
    degraded_ok: [vendor on app1]
"""

RETURN = r"""
status:
  description: The worst status of the checks that count, or the best with O(mode=any).
  returned: when the request is valid
  type: str
  sample: healthy
checks:
  description: What was found, in the order of the request.
  returned: when the request is valid
  type: list
  elements: dict
  contains:
    name: {type: str, description: Name of the check., sample: web}
    type: {type: str, description: Type of the check., sample: http}
    status:
      description: V(healthy), V(degraded), V(unhealthy), or V(skipped) for what does not apply here.
      type: str
      sample: healthy
    elapsed_ms: {type: int, description: Time that the last attempt took., sample: 12}
    attempts: {type: int, description: Attempts that were made., sample: 1}
    detail: {type: str, description: 'What was found and, where it is wrong, what was wanted.', sample: HTTP 200}
    http_status: {type: int, description: '(http) The status of the answer.', sample: 200}
    json:
      description:
        - (http) Values of the fields that were asked for. (restart) Units and reasons.
        - (tls, postgres, redis) What was measured.
      type: dict
      sample: {status: healthy}
elapsed:
  description: Seconds that the call took.
  returned: when the request is valid
  type: float
  sample: 0.021
attempts:
  description: The most attempts that one check needed.
  returned: when the request is valid
  type: int
  sample: 1
first_healthy_after:
  description:
    - Seconds until the whole was healthy for the first time, not counting O(consecutive_successes).
    - Null if it never was.
  returned: when the request is valid
  type: float
  sample: 0.02
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.shipshape.stack.plugins.module_utils._health_engine import failure, run
from ansible_collections.shipshape.stack.plugins.module_utils._health_plan import argument_spec, read_plan
from ansible_collections.shipshape.stack.plugins.module_utils._health_spec import HealthError
from ansible_collections.shipshape.stack.plugins.module_utils._probe_http import credentials, harmless
from ansible_collections.shipshape.stack.plugins.module_utils._probe_registry import REGISTRY


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(REGISTRY), supports_check_mode=True)
    # Ansible blanks the values of headers wherever they turn up; one like "1" would blank the numbers of the report.
    module.no_log_values -= harmless(module.params["checks"])
    module.no_log_values |= credentials(module.params["checks"])
    try:
        plan = read_plan(module.params, REGISTRY)
    except HealthError as exc:
        module.fail_json(msg=f"{exc}")
    report = run(plan)
    message = failure(plan, report)
    if message and plan.fail:
        module.fail_json(msg=message, **report)
    module.exit_json(changed=False, **report)


if __name__ == "__main__":
    main()
