# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All certificates of a host: look, refuse or decide, then one after the other, each for itself."""

from __future__ import annotations

import datetime
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ansible_collections.shipshape.stack.plugins.module_utils import _certbot_host as host
from ansible_collections.shipshape.stack.plugins.module_utils import _certbot_model as model
from ansible_collections.shipshape.stack.plugins.module_utils import _certbot_plan as planning
from ansible_collections.shipshape.stack.plugins.module_utils import _certbot_renewal as renewal
from ansible_collections.shipshape.stack.plugins.module_utils import _certbot_x509 as x509
from ansible_collections.shipshape.stack.plugins.module_utils import _certificate_deploy as deployment
from ansible_collections.shipshape.stack.plugins.module_utils import _certificate_hook as hook
from ansible_collections.shipshape.stack.plugins.module_utils import _certificate_store as store
from ansible_collections.shipshape.stack.plugins.module_utils._certbot_report import Report, describe, line
from ansible_collections.shipshape.stack.plugins.module_utils._config_files import read_text

ROOTS = "/etc/ssl/certs/ca-certificates.crt"


class Work:
    """One run over the declared certificates."""

    def __init__(self, options: Mapping[str, Any], check_mode: bool, world: deployment.World) -> None:
        self.options, self.check_mode, self.world, self.now = options, check_mode, world, time.time()
        self.certs = model.certificates(options)
        hook_path = options["hook"] if os.access(options["hook"], os.X_OK) else ""
        self.policy = planning.Policy(
            model.directory(options["directory"]), options["webroot"], options["retry_seconds"],
            options["retry_max_seconds"], options["renew_before_days"], options["ignore_backoff"], hook_path,
        )  # fmt: skip
        self.arguments = planning.Arguments(options["email"], host.version(), hook_path, self.policy)
        self.environment = {"REQUESTS_CA_BUNDLE": options["ca_file"]} if options["ca_file"] else {}
        self.report = Report()
        self.attempts_file = os.path.join(world.state, "attempts.json")
        self.attempts = deployment.read_json(self.attempts_file)
        if not self.attempts and os.path.exists(self.attempts_file) and host.read(self.attempts_file).strip() != b"{}":
            self.report.warnings.append(
                f"{self.attempts_file} is broken and taken for empty, so names that failed are tried now: remove it"
            )

    def present(self) -> list[dict[str, Any]]:
        return [cert for cert in self.certs if cert["state"] == "present"]

    # --- refusing, before anything is changed ---

    def given(self) -> dict[str, store.Pair]:
        """Certificates of the provider files, each proven to be of use."""
        pairs, problems = {}, [found for found in map(self.arguments.problem, self.present()) if found]
        roots = host.read(ROOTS) + (host.read(self.options["ca_file"]) if self.options["ca_file"] else b"")
        for cert in self.present():
            if cert["provider"] != "files":
                continue
            name = cert["name"]
            try:
                chain, key = self._content(cert["certificate"]), self._content(self.options["private_keys"][name])
            except OSError as exc:
                # In check mode, an earlier task would have written it.
                if not (self.check_mode and isinstance(exc, FileNotFoundError)):
                    problems.append(f"{name}: {exc.filename}: {exc.strerror}")
                continue
            if x509.available():
                found = x509.given_problems(chain, key, cert["domains"], roots, self.now)
                problems += [f"{name}: {problem}" for problem in found]
            pairs[name] = store.Pair(chain, key)
        if problems:
            raise store.CertificateError(f"Nothing was changed. {'; '.join(problems)}")
        return pairs

    @staticmethod
    def _content(value: str) -> bytes:
        text = value.strip()
        if not text.startswith("/"):
            return f"{text}\n".encode()
        with open(text, "rb") as file:
            return file.read()

    # --- the host as a whole ---

    def schedulers(self) -> None:
        tables, mixed = host.second_schedulers() if self.options["remove_crons"] else ([], [])
        for table in tables:
            self.report.show(table.path, table.old, table.new)
            if not self.check_mode:
                table.apply()
        self.report.warnings += [
            f"{place} renews certificates and does more, so it is left: take the renewal out, as {host.TIMER} does it;"
            " what is to run with a new certificate goes to `commands` of its entry"
            for place in mixed
        ]
        if host.timer_is_off():
            self.report.show(host.TIMER, "off\n", "on\n")
            if not self.check_mode:
                host.switch_timer_on()

    def placeholders(self) -> None:
        """So that nginx can start, and serve the challenges, before there is any certificate."""
        for cert in self.present():
            name, root = cert["name"], self.world.nginx_root
            if deployment.NGINX not in cert["deploy"] or store.target(name, root):
                continue
            self.report.show(store.current(name, root), "", f"{store.PLACEHOLDER}\n")
            if not self.check_mode:
                with store.lock(self.world.lock):
                    store.ensure_placeholder(name, self.world.run, root)

    # --- one certificate ---

    def withdraw(self, cert: Mapping[str, Any]) -> None:
        name, lineage = cert["name"], host.lineage(cert["name"])
        own = os.path.join(self.world.state, "self_signed", name)
        served = store.has_own(name, self.world.nginx_root)
        if lineage is None and not os.path.isdir(own) and not served:
            return
        self.report.show(name, line(lineage.leaf.domains, lineage.server) if lineage and lineage.leaf else "one\n", "")
        self.report.removed.append(name)
        if self.check_mode:
            return
        deployment.withdraw(name, deployment.Spec(), self.world)
        shutil.rmtree(own, ignore_errors=True)
        if lineage and not lineage.configuration:
            host.set_aside(name)
        elif lineage:
            rc, text = host.call(["certbot", "delete", "--non-interactive", "--cert-name", name], self.environment)
            if rc:
                raise store.CertificateError(f"certbot did not delete it: {host.reason(text)}")

    def acme(self, cert: Mapping[str, Any]) -> None:
        name, lineage = cert["name"], host.lineage(cert["name"])
        action = planning.decide(cert, lineage, self.attempt(name), self.policy, self.now)
        if action.verb == "wait":
            when = datetime.datetime.fromtimestamp(self.attempt(name).next_try, datetime.timezone.utc)
            self.report.waiting[name] = f"{action.reason}; not tried again before {when:%Y-%m-%d %H:%M} UTC"
        if action.verb == "issue":
            before = line(lineage.leaf.domains, lineage.server) if lineage and lineage.leaf else ""
            self.report.show(name, before, line(cert["domains"], self.policy.server))
            self.report.issued.append(name)
            if not self.check_mode and not self._issue(cert, action):
                self.report.issued.remove(name)
        if self.check_mode and action.verb == "issue":
            return
        self._settle(cert, action.verb == "keep" or name in self.report.issued)
        if name in self.report.issued and name not in self.report.failed and name not in self.report.deployed:
            self.report.deployed.append(name)  # the hook did it

    def attempt(self, name: str) -> planning.Attempt:
        return planning.Attempt.of(self.attempts.get(name))

    def _issue(self, cert: Mapping[str, Any], action: planning.Action) -> bool:
        name = cert["name"]
        if action.broken:
            self.report.warnings.append(f"{name}: {action.reason}; what it left is in {host.set_aside(name)}")
        if cert["challenge"] == "webroot":
            os.makedirs(self.policy.webroot, mode=0o755, exist_ok=True)
        rc, text = host.call(self.arguments.issue(cert, action.force), self.environment)
        if rc == 0:
            again = planning.decide(cert, host.lineage(name), planning.Attempt(), self.policy, self.now)
            rc, text = (0, "") if again.verb == "keep" else (1, f"certbot said yes, and now {again.reason}")
        if rc and host.busy(text):  # nothing that the authority counts
            self.report.failed[name] = (
                f"{name}: another certbot runs for more than {host.BUSY_SECONDS} s: try again later"
            )
            return False
        if rc == 0:
            self.attempts.pop(name, None)
        else:
            key = planning.request_key(cert, self.policy)
            found = planning.after_failure(self.attempt(name), key, host.reason(text), self.now, self.policy)
            self.attempts[name] = asdict(found)
            self.report.failed[name] = (
                f"{name}: {found.reason}; failed {found.failures} times in a row, next try in"
                f" {(found.next_try - self.now) / 3600:.1f} h (sooner: certbot_ignore_backoff)"
            )
        deployment.write_json(self.attempts_file, self.attempts)
        return rc == 0

    def _settle(self, cert: Mapping[str, Any], as_declared: bool) -> None:
        """The next renewal as it should go, and the certificate with its services."""
        name, lineage = cert["name"], host.lineage(cert["name"])
        if lineage is None or lineage.leaf is None:
            return
        if as_declared:
            text = planning.configured(cert, lineage, self.policy)
            if text != lineage.configuration:
                self.report.show(host.configuration_path(name), lineage.configuration, text)
                if not self.check_mode:
                    host.replace(host.configuration_path(name), text)
        self.deploy(cert, hook.read_pair(os.path.join(host.ETC, "live", name), lineage.server))

    def self_signed(self, cert: Mapping[str, Any]) -> None:
        name = cert["name"]
        own = os.path.join(self.world.state, "self_signed", name)
        leaf = x509.leaf(host.read(os.path.join(own, store.CHAIN))) if x509.available() else None
        if planning.self_signed_due(cert, leaf, self.now):
            before = line(leaf.domains, "this host") if leaf else ""
            self.report.show(name, before, line(cert["domains"], "this host"))
            self.report.issued.append(name)
            if self.check_mode:
                return
            os.makedirs(os.path.dirname(own), mode=0o700, exist_ok=True)
            made = tempfile.mkdtemp(dir=os.path.dirname(own))
            store.sign(made, name, cert["domains"], planning.SELF_SIGNED_DAYS, self.world.run)
            shutil.rmtree(own, ignore_errors=True)
            os.rename(made, own)
        self.deploy(cert, hook.read_pair(own))

    def files(self, cert: Mapping[str, Any], pair: store.Pair | None) -> None:
        if pair:
            self.deploy(cert, pair)
        else:
            self.report.show(cert["name"], "", line(cert["domains"], "files"))

    def deploy(self, cert: Mapping[str, Any], pair: store.Pair) -> None:
        name, spec = cert["name"], deployment.Spec.of({"targets": cert["deploy"], "commands": cert["commands"]})
        left = deployment.pending(name, pair.identity, spec, self.world)
        if left and self.check_mode:
            self.report.show(f"{name}: services", "", "".join(f"{each}\n" for each in left))
            self.report.deployed.append(name)
        elif left:
            done, problems = deployment.deploy(name, pair, spec, self.world)
            if done:
                self.report.show(f"{name}: services", "", "".join(f"{each}\n" for each in done))
                self.report.deployed.append(name)
            if problems:
                self.report.failed[name] = "; ".join([*filter(None, [self.report.failed.get(name)]), *problems])


def ensure(options: Mapping[str, Any], check_mode: bool, world: deployment.World) -> Report:
    work = Work(options, check_mode, world)
    pairs = work.given()
    work.schedulers()
    work.placeholders()
    report = work.report
    for cert in sorted(work.certs, key=lambda each: bool(each["state"] == "present")):
        name = cert["name"]
        try:
            if cert["state"] == "absent":
                work.withdraw(cert)
            elif cert["provider"] == "acme":
                work.acme(cert)
            elif cert["provider"] == "files":
                work.files(cert, pairs.get(name))
            else:
                work.self_signed(cert)
        except store.CertificateError as exc:
            report.failed[name] = f"{name}: {exc}"
        except OSError as exc:
            report.failed[name] = f"{name}: {exc.filename or ''}: {exc.strerror}"
    # With another provider now, the old one would go on being renewed.
    by_certbot = {cert["name"] for cert in work.certs if cert["provider"] == "acme"}
    report.undeclared = [name for name in host.lineage_names() if name not in by_certbot]
    if report.undeclared:
        report.warnings.append(
            f"certbot has certificates that are not declared: {', '.join(report.undeclared)}. It goes on renewing them,"
            " and no service is told. An entry with `state: absent` removes one"
        )
    describe(report, work.present(), world)
    return report


def leave(options: Mapping[str, Any], check_mode: bool) -> Report:
    """The hook goes: a renewal configuration that names it would keep certbot from renewing."""
    report = Report()
    for name in host.lineage_names():
        path = host.configuration_path(name)
        old = read_text(path)
        if renewal.parse(old).get(renewal.PARAMETERS, {}).get("renew_hook") != options["hook"]:
            continue
        new = renewal.set_values(old, renewal.PARAMETERS, {"renew_hook": None})
        report.show(path, old, new)
        if not check_mode:
            host.replace(path, new)
    return report
