#!/usr/bin/python
# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: certbot_certificates
short_description: All certificates of a host, issued by certbot, given, or signed by itself, and with their services
version_added: 0.1.0
author:
  - The shipshape.stack maintainers (@shipshape)
description:
  - All certificates in one task and one remote call. What is there is read from the certificates themselves and from
    certbot's renewal configuration, never from what certbot prints.
  - A certificate is issued where there is none, where its names are others than declared, or where another directory
    signed it. Nothing else does that. How the next renewal goes is changed in place.
  - Each certificate is brought to its services. nginx is tested, reloaded and seen to have new workers; Redis and
    Valkey answer whether they took it; else they have the old one again. PostgreSQL is told to reload, and not asked.
  - A name that cannot be issued does not keep the others from it, and is not tried again at each run.
  - Debian's C(certbot.timer) is switched on and stays the only scheduler.
requirements:
  - certbot
  - python3-cryptography, which certbot itself needs
attributes:
  check_mode:
    support: full
    description: Nothing is issued, and a host without certbot is no reason to fail.
  diff_mode:
    support: full
    description: Names, authorities, renewal configurations, services, and lines of cron. No key is shown.
  idempotent:
    support: full
    description: Reports a change only if a certificate, a service's copy, a configuration or a scheduler changes.
  platform:
    support: full
    platforms: debian
    description: certbot 2.1 and 4.0, with systemd.
options:
  state:
    description: V(absent) takes O(hook) out of certbot's renewal configurations. Certificates stay.
    type: str
    choices: [present, absent]
    default: present
  certificates:
    description: The certificates. Others of certbot's are left alone, and named in RV(undeclared).
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: "Its name, and that of its folder below C(/etc/nginx/tls).", type: str, required: true}
      state:
        description: V(absent) has certbot delete it, and nginx serve a placeholder.
        type: str
        choices: [present, absent]
        default: present
      domains: {description: Names that it is for., type: list, elements: str, default: []}
      provider:
        description: Who makes it. V(files) are given, V(self_signed) is for tests.
        type: str
        choices: [acme, files, self_signed]
        default: acme
      challenge: {description: "As O(challenge), for this one.", type: str}
      dns_plugin: {description: "Plugin of certbot for the challenge V(dns), such as V(cloudflare).", type: str}
      dns_propagation_seconds: {description: Seconds until all name servers know., type: int, default: 60}
      key_type: {description: "As O(key_type), for this one.", type: str}
      profile: {description: "As O(profile), for this one.", type: str}
      certificate:
        description: "For V(files): the chain, the server's first, as PEM text or as a path on the host."
        type: str
      deploy:
        description: Services that use it.
        type: list
        elements: str
        choices: [nginx, postgresql, redis, valkey]
        default: [nginx]
      commands:
        description: Commands to run when there is a new one, each a text or a list of words. No shell sees them.
        type: list
        elements: raw
        default: []
  private_keys:
    description: For the provider V(files), the key of each certificate by name, as PEM text or as a path on the host.
    type: dict
    default: {}
  email: {description: Address for the account., type: str, default: ""}
  agree_terms: {description: Whether you agree to the terms of the authority., type: bool, default: false}
  directory: {description: "V(production) and V(staging) are Let's Encrypt's.", type: str, default: production}
  ca_file: {description: Path on the host of what a private ACME server is trusted by., type: str, default: ""}
  challenge: {description: "V(webroot), V(standalone) or V(dns).", type: str, default: webroot}
  key_type: {description: "V(ecdsa) or V(rsa).", type: str, default: ecdsa}
  profile: {description: "A profile of the authority, such as V(shortlived).", type: str, default: ""}
  webroot: {description: Where a web server serves the challenges from., type: str, default: /var/www/acme}
  hook: {description: The hook., type: str, default: /etc/letsencrypt/renewal-hooks/deploy/50-shipshape}
  retry_seconds: {description: Wait after a first failure; it doubles with each., type: int, default: 3600}
  retry_max_seconds: {description: Longest wait., type: int, default: 86400}
  ignore_backoff: {description: Whether to try now what has to wait., type: bool, default: false}
  renew_before_days: {description: Days before the end to renew at; V(0) goes by the lifetime., type: int, default: 0}
  remove_crons: {description: Whether to take what only runs C(certbot renew) from cron., type: bool, default: true}
"""

EXAMPLES = r"""
- name: Have certificates
  shipshape.stack.certbot_certificates:
    email: admin@example.org
    agree_terms: true
    certificates:
      - {name: shop, domains: [shop.example.org, www.shop.example.org]}
      - {name: db, domains: [db.example.org], deploy: [postgresql], challenge: standalone}
"""

RETURN = r"""
issued: {description: Certificates that were issued., returned: always, type: list, elements: str, sample: [shop]}
deployed: {description: Certificates that services took., returned: always, type: list, elements: str, sample: [shop]}
removed: {description: Certificates that were removed., returned: always, type: list, elements: str, sample: []}
waiting: {description: Why a certificate is not tried now., returned: always, type: dict, sample: {}}
undeclared: {description: Other certificates of certbot's., returned: always, type: list, elements: str, sample: [old]}
certificates:
  description: What is served for each name.
  returned: always
  type: dict
  sample:
    shop: {domains: [shop.example.org], issuer: CN=R11, not_after: "2027-01-01T00:00:00+00:00", placeholder: false}
"""

import os
import signal
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.shipshape.stack.plugins.module_utils import _certbot_converge as work
from ansible_collections.shipshape.stack.plugins.module_utils import _certbot_host as host
from ansible_collections.shipshape.stack.plugins.module_utils import _certbot_x509 as x509
from ansible_collections.shipshape.stack.plugins.module_utils._certbot_model import PLUGINS, problems
from ansible_collections.shipshape.stack.plugins.module_utils._certificate_deploy import World
from ansible_collections.shipshape.stack.plugins.module_utils._certificate_store import CertificateError

STATE: dict[str, Any] = {"type": "str", "choices": ["present", "absent"], "default": "present"}
CERTIFICATE_SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "state": STATE,
    "domains": {"type": "list", "elements": "str", "default": []},
    "provider": {"type": "str", "choices": ["acme", "files", "self_signed"], "default": "acme"},
    **{key: {"type": "str"} for key in ("challenge", "dns_plugin", "profile", "certificate")},
    "key_type": {"type": "str", "no_log": False},
    "dns_propagation_seconds": {"type": "int", "default": 60},
    "deploy": {
        "type": "list", "elements": "str", "default": ["nginx"], "choices": ["nginx", "postgresql", "redis", "valkey"],
    },
    "commands": {"type": "list", "elements": "raw", "default": []},
}  # fmt: skip
ARGUMENT_SPEC: dict[str, Any] = {
    "state": STATE,
    "certificates": {"type": "list", "elements": "dict", "default": [], "options": CERTIFICATE_SPEC},
    "private_keys": {"type": "dict", "default": {}, "no_log": True},
    "email": {"type": "str", "default": ""},
    "agree_terms": {"type": "bool", "default": False},
    "directory": {"type": "str", "default": "production"},
    "ca_file": {"type": "str", "default": ""},
    "challenge": {"type": "str", "default": "webroot"},
    "key_type": {"type": "str", "default": "ecdsa", "no_log": False},
    "profile": {"type": "str", "default": ""},
    "webroot": {"type": "str", "default": "/var/www/acme"},
    "hook": {"type": "str", "default": "/etc/letsencrypt/renewal-hooks/deploy/50-shipshape"},
    "retry_seconds": {"type": "int", "default": 3600},
    "retry_max_seconds": {"type": "int", "default": 86400},
    "ignore_backoff": {"type": "bool", "default": False},
    "renew_before_days": {"type": "int", "default": 0},
    "remove_crons": {"type": "bool", "default": True},
}


class Stopped(Exception):
    """Not one of a certificate's errors: the next certificate has no turn any more."""


def stop(number: int, _frame: Any) -> None:
    raise Stopped(f"Stopped by signal {number}. Run it again: it goes on from there.")


def reconcile(module: AnsibleModule) -> work.Report:
    if module.params["state"] == "absent":
        return work.leave(module.params, module.check_mode)
    # Their credentials are files on the host, which the role writes.
    found = problems({**module.params, "dns_credentials": dict.fromkeys(PLUGINS, "")})
    if found:
        raise CertificateError("Nothing was changed. " + "; ".join(found))
    if not module.check_mode and not host.installed():
        raise CertificateError("certbot is not installed: install the package certbot first")
    if not module.check_mode and not x509.available():
        module.fail_json(msg=missing_required_lib("cryptography") + " Install python3-cryptography.")
    return work.ensure(module.params, module.check_mode, World())


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, stop)
    try:
        report = reconcile(module)
    except (CertificateError, Stopped) as exc:
        module.fail_json(msg=str(exc))
    except OSError as exc:
        hint = "" if os.geteuid() == 0 else ". Run it with become: true"
        module.fail_json(msg=f"{exc.filename or ''}: {exc.strerror}{hint}")
    for warning in [*report.warnings, *(f"{name}: {text}" for name, text in report.waiting.items())]:
        module.warn(warning)
    keys = ("changed", "issued", "deployed", "removed", "waiting", "undeclared", "certificates")
    result = {key: getattr(report, key) for key in keys}
    if module._diff:
        result["diff"] = report.diff
    if report.failed:
        module.fail_json(msg=" ".join(report.failed.values()), **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
