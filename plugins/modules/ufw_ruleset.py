#!/usr/bin/python
# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ufw_ruleset
short_description: The whole firewall of a host as one ruleset of ufw
version_added: 0.1.0
author:
  - The shipshape.stack maintainers (@shipshape)
description:
  - All rules, default policies and the logging level in one task and one remote call, compared with what ufw has and
    with what the kernel has loaded.
  - Refuses, before anything is changed, a policy that would shut out the SSH connection that it came in on, and names
    the rule to add. A rule that ufw or the kernel does not take is refused before anything is changed, too.
  - The kernel gets the new rules in one transaction for each family, with no moment without protection. If anything
    fails, files and kernel are as they were; a run that is killed is put back by the next one, or by O(rollback).
  - Ports that Docker publishes obey the same rules, for IPv4 and IPv6, although Docker by itself opens them to all.
attributes:
  check_mode:
    support: full
    description: Predicts every rule, and refuses what a run would refuse. A host without ufw is no reason to fail.
  diff_mode:
    support: full
    description: One line for each setting and each rule.
  idempotent:
    support: full
    description: Reports a change only if a file or the loaded ruleset changes, or an earlier change is unconfirmed.
  platform:
    support: full
    platforms: debian
    description: ufw 0.36 with iptables, nf_tables or legacy.
options:
  state:
    description:
      - V(enabled) loads the rules, now and at boot. V(disabled) lets everything pass, published container ports too.
      - V(confirmed) takes no other parameter; it cancels the dead-man switch and ends the pending state.
      - Without it the firewall stays as it is, on or off.
    type: str
    choices: [enabled, disabled, confirmed]
  default:
    description: What happens to packets that no rule matches. A direction that is left out stays as it is.
    type: dict
    suboptions:
      incoming: {description: To this host., type: str, choices: [allow, deny, reject]}
      outgoing: {description: From this host., type: str, choices: [allow, deny, reject]}
      routed: {description: Through this host., type: str, choices: [allow, deny, reject]}
  logging:
    description: What is logged; C(man ufw) describes the levels. Left out, it stays as it is.
    type: str
    choices: ["off", low, medium, high, full]
  rules:
    description:
      - Rules in the order in which they are tried; the first that fits decides. Left out, the rules stay as they are.
      - Each is marked by a comment that starts with C(shipshape). A rule that ufw has already for the same packets is
        replaced.
    type: list
    elements: dict
    suboptions:
      rule: {description: What to do., type: str, choices: [allow, deny, reject, limit], default: allow}
      direction: {description: To this host or from it., type: str, choices: [in, out], default: in}
      route: {description: For packets that this host forwards., type: bool, default: false}
      proto:
        description: Protocol. V(any) with one port stands for TCP and UDP.
        type: str
        choices: [any, tcp, udp, ipv6, esp, ah, igmp, gre, vrrp]
        default: any
      from_ip: {description: Addresses or networks (CIDR); one rule each. Anywhere if empty., type: list, elements: str}
      from_port: {description: Source port., type: str}
      to_ip: {description: Addresses or networks (CIDR) that were called; one rule each., type: list, elements: str}
      to_port: {description: "Port, list C(80,443) or range C(6000:6007).", type: str}
      name: {description: Application profile of C(/etc/ufw/applications.d) instead of a port., type: str}
      interface: {description: Network interface that the packet comes in on (or goes out on)., type: str}
      interface_in: {description: The one that a forwarded packet comes in on., type: str}
      interface_out: {description: The one that it goes out on., type: str}
      family: {description: Both families or one., type: str, choices: [both, ipv4, ipv6], default: both}
      log: {description: Log V(new) connections or V(all) packets that fit., type: str, choices: [new, all]}
      comment: {description: What it is for., type: str}
  purge:
    description:
      - Which rules go that O(rules) does not have. V(own) are those with our mark, V(all) are everybody's.
      - Rules of others that stay are in RV(foreign_rules).
    type: str
    choices: [own, all, none]
    default: own
  published:
    description:
      - Whether ports that Docker publishes obey the rules (chain C(DOCKER-USER)). A rule is written as if the container
        were a service of the host, with the published port. Left out, it stays as it is.
      - What no rule allows is dropped, whatever O(default.incoming) is. O(rules[].log) logs new connections only.
    type: bool
  docker_interfaces:
    description: >-
      Interfaces of Docker's networks; a V(+) at the end stands for any ending. Left out, they stay as they are; the
      first time they are C(docker0) and C(br-+).
    type: list
    elements: str
  ssh_ports:
    description: Further ports on which logins from the address of this connection must stay allowed.
    type: list
    elements: int
    default: []
  keep_connection:
    description: >-
      Whether the port that this connection came in on must stay allowed. V(false) if sshd is about to leave it.
    type: bool
    default: true
  controllers:
    description: Further addresses from which logins must stay allowed, over IPv4 or IPv6.
    type: list
    elements: str
    default: []
  rollback:
    description:
      - Seconds (10 to 3600) after which the host itself puts the old firewall back, unless O(state=confirmed) comes
        first, even if it was rebooted or the controller is gone. Without it a change stands at once.
    type: int
notes:
  - IPv6 is always filtered (C(IPV6=yes)); use O(rules[].family) for rules of one family.
  - C(before.rules), C(after.rules) and the hooks keep what an administrator put there. C(before.init) and C(after.init)
    are run in the network namespace, too, as rules may name what they make. Check mode does not run them; where there
    are any it does not ask the kernel.
seealso:
  - module: community.general.ufw
"""

EXAMPLES = r"""
- name: Declare the firewall
  shipshape.stack.ufw_ruleset:
    state: enabled
    default: {incoming: deny, outgoing: allow, routed: deny}
    logging: low
    published: true
    rules:
      - {rule: limit, proto: tcp, to_port: 22, from_ip: [192.0.2.0/24, "2001:db8::/32"], comment: administrators}
      - {rule: allow, proto: tcp, to_port: "80,443", comment: web}
      - {rule: allow, proto: tcp, to_port: 5432, from_ip: [198.51.100.7], comment: PostgreSQL for app1}
    rollback: 120

- name: Keep the change once a new login has worked
  shipshape.stack.ufw_ruleset:
    state: confirmed

- name: Open one port more and leave all else alone
  shipshape.stack.ufw_ruleset:
    rules: [{rule: allow, proto: tcp, to_port: 2222}]
    purge: none
"""

RETURN = r"""
rules:
  description: The ruleset after the call, as people read it.
  returned: success
  type: list
  elements: str
  sample: ["IPv4 allow in proto tcp from any to any port 22 # shipshape: ssh"]
foreign_rules:
  description: Those of them that are not ours.
  returned: success
  type: list
  elements: str
  sample: []
in_front:
  description: Rules of others that let packets past the firewall, as they stand before it. They are warned of and stay.
  returned: success
  type: list
  elements: str
  sample: ["iptables -A INPUT -s 192.0.2.7/32 -j ACCEPT"]
reloaded:
  description: The kernel had something else than the files say.
  returned: success
  type: bool
  sample: false
rollback_armed:
  description: The dead-man switch is running.
  returned: success
  type: bool
  sample: true
"""

import os
import signal
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.shipshape.stack.plugins.module_utils import _ufw_host as host
from ansible_collections.shipshape.stack.plugins.module_utils import _ufw_load as kernel
from ansible_collections.shipshape.stack.plugins.module_utils._config_apply import Tools, converge, predict, recover
from ansible_collections.shipshape.stack.plugins.module_utils._config_entries import parse
from ansible_collections.shipshape.stack.plugins.module_utils._config_restore import ConfigError
from ansible_collections.shipshape.stack.plugins.module_utils._sshd_host import connection
from ansible_collections.shipshape.stack.plugins.module_utils._ufw_front import in_front
from ansible_collections.shipshape.stack.plugins.module_utils._ufw_lockout import lockout, logins
from ansible_collections.shipshape.stack.plugins.module_utils._ufw_options import ARGUMENT_SPEC, check
from ansible_collections.shipshape.stack.plugins.module_utils._ufw_plan import (
    AFTER,
    AnyProfile,
    Policy,
    plan,
    read_policy,
)
from ansible_collections.shipshape.stack.plugins.module_utils._ufw_published import BEGIN
from ansible_collections.shipshape.stack.plugins.module_utils._ufw_rules import RuleError

TRANSACTION = "ufw"
MODES = {host.DEFAULTS: "0644", host.CONF: "0644"}


def root(_name: str) -> int:
    return 0


def request(texts: dict[str, str], rollback: int | None, command: list[str]) -> Any:
    """The transaction: rules first and the switch that turns them on last, should a power cut come in between."""
    order = sorted(texts, key=lambda name: (name == host.CONF, name == host.DEFAULTS, name))
    files = [{"dest": name, "mode": MODES.get(name, "0640"), "content": texts[name]} for name in order]
    params = {
        "name": TRANSACTION,
        "files": files,
        "validate": [command],
        "rollback": {"seconds": rollback, "command": command} if rollback else None,
    }
    contents = {name: text.encode("utf-8", "surrogateescape") for name, text in texts.items()}
    return parse(params, contents, root, root)


def confirm(tools: Tools, act: Any = converge) -> dict[str, Any]:
    result = act(parse({"name": TRANSACTION, "state": "confirmed"}, {}, root, root), tools)
    return {"changed": result["changed"], "rollback_armed": False}


def told(wanted: Policy, current: Policy) -> dict[str, Any]:
    families = [(6 if rule.v6 else 4, rule) for rule in wanted.rules]
    lines = ["\n".join([*each.lines(), ""]) for each in (current, wanted)]
    return {
        "rules": [f"IPv{family} {rule}" for family, rule in families],
        "foreign_rules": [f"IPv{family} {rule}" for family, rule in families if not rule.own],
        "diff": {"before_header": "ufw", "after_header": "ufw", "before": lines[0], "after": lines[1]},
    }


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, stop)
    try:
        result = reconcile(module)
    except RuleError as exc:
        module.fail_json(msg=f"The firewall was not changed. {exc}")
    except (ConfigError, kernel.LoadError) as exc:
        module.fail_json(msg=f"The firewall is as it was. {exc}")
    except OSError as exc:
        hint = "" if os.geteuid() == 0 else ". Run it with become: true"
        module.fail_json(msg=f"The firewall is as it was. {exc.filename or ''}: {exc.strerror}{hint}")
    if not module._diff:
        result.pop("diff", None)
    module.exit_json(**result)


def stop(number: int, _frame: Any) -> None:
    raise ConfigError(f"Stopped by signal {number}.")


def reconcile(module: AnsibleModule) -> dict[str, Any]:
    params, tools = module.params, Tools()
    check(params)
    if params["state"] == "confirmed":
        if module.check_mode:
            return confirm(tools, predict)
        kernel.release()
        return confirm(tools)
    present = host.installed()
    if not present and not module.check_mode:
        raise RuleError("ufw is not installed: install the package ufw first")
    recovered = [] if module.check_mode else recover(tools)
    files = host.read_files()
    current = read_policy(files, any(BEGIN in files[name] for name in AFTER.values()))
    wanted = plan(current, params, host.applications() if present else AnyProfile())
    problems = lockout(wanted, logins(connection(os.getpid()), params, host.route_to))
    if problems:
        raise RuleError("; ".join(problems))
    result = {**told(wanted, current), "in_front": [], "reloaded": False, "rollback_armed": False}
    if wanted.rules and not wanted.enabled:
        module.warn("the firewall is disabled, so these rules are not in force: give state: enabled")
    if not present:
        return {**result, "changed": wanted != current}
    texts = host.plain_files(wanted, files, params["docker_interfaces"])
    if wanted.rules != current.rules or wanted.logging != current.logging or wanted.defaults != current.defaults:
        texts.update(host.write_rules(wanted, texts))
    result |= apply(module, tools, texts, {name for name in texts if texts[name] != files[name]})
    if result["in_front"]:
        module.warn(f"these rules stand in front of ufw's and let packets past them: {'; '.join(result['in_front'])}")
    return {**result, "changed": result["changed"] or bool(recovered)}


def apply(module: AnsibleModule, tools: Tools, texts: dict[str, str], different: set[str]) -> dict[str, Any]:
    judge = not (module.check_mode and kernel.hooked())  # to ask the kernel would be to run the hooks
    if different and judge:  # the kernel's opinion, while nothing is changed yet
        kernel.wanted_tables(texts)
    live = kernel.live_tables()
    drift = not different and not kernel.in_force(judge, live)
    if module.check_mode:
        found = predict(request(texts, module.params["rollback"], ["/bin/true"]), tools)
        return {"changed": found["changed"] or drift, "reloaded": bool(different) or drift, "in_front": in_front(live)}
    kernel.release()  # not after the load: that would cut a connection off that nothing came in on since, this one too
    found = converge(request(texts, module.params["rollback"], host.keep_loader()), tools)
    reloaded = kernel.load() if drift else bool(found["changed_files"])
    if found["pending_files"] and not module.params["rollback"]:
        found = {**found, **confirm(tools)}
    told_of = in_front(kernel.live_tables() if reloaded else live)
    changed = found["changed"] or reloaded
    return {"changed": changed, "reloaded": reloaded, "in_front": told_of, "rollback_armed": found["rollback_armed"]}


if __name__ == "__main__":
    main()
