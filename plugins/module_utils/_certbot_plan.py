# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What to do for each certificate, from what is declared and what the host has. Pure.

A certificate is issued where there is none, where its names are others than declared, or where another authority signed
it. Nothing else does that: each issue counts for the limits of the authority.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.shipshape.stack.plugins.module_utils import _certbot_renewal as renewal
from ansible_collections.shipshape.stack.plugins.module_utils._certbot_model import DIRECTORIES, credentials_file

SELF_SIGNED_DAYS = 365
SELF_SIGNED_LEFT = 30
LAST = 253402300800  # the year 10000: no date comes after it


@dataclass(frozen=True)
class Leaf:
    """What the x509 itself says."""

    domains: frozenset[str]
    not_before: float
    not_after: float
    issuer: str = ""
    self_signed: bool = False

    @property
    def lifetime(self) -> float:
        return self.not_after - self.not_before


@dataclass(frozen=True)
class Lineage:
    """One of certbot's certificates; without a leaf where a killed run left it half-way."""

    leaf: Leaf | None
    server: str = ""
    configuration: str = ""


@dataclass(frozen=True)
class Attempt:
    """Failures in a row for one request."""

    failures: int = 0
    next_try: float = 0.0
    reason: str = ""
    request: str = ""

    @classmethod
    def of(cls, data: Any) -> Attempt:
        """What was written down; what another version wrote and this one does not know is passed over."""
        if not isinstance(data, Mapping):
            return cls()
        failures, next_try = (
            value if isinstance(value, (int, float)) and 0 <= value < LAST else 0
            for value in (data.get("failures"), data.get("next_try"))
        )
        reason, request = (value if isinstance(value, str) else "" for value in map(data.get, ("reason", "request")))
        return cls(int(failures), float(next_try), reason, request)


@dataclass(frozen=True)
class Action:
    """issue, keep, wait, or clear and issue; with the reason that a user reads."""

    name: str
    verb: str
    reason: str = ""
    force: bool = False
    configuration: str = ""  # the renewal configuration as it should be, where it is another one
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    broken: bool = False


@dataclass(frozen=True)
class Policy:
    server: str
    webroot: str
    retry_seconds: int = 3600
    retry_max_seconds: int = 86400
    renew_before_days: int = 0
    ignore_backoff: bool = False
    hook: str = ""


def request_key(cert: Mapping[str, Any], policy: Policy) -> str:
    """What an attempt was about: another request is a new chance."""
    keys = ("challenge", "dns_plugin", "key_type", "profile")
    parts = [sorted(cert["domains"]), policy.server, policy.webroot, *(cert[key] for key in keys)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def after_failure(old: Attempt, key: str, reason: str, now: float, policy: Policy) -> Attempt:
    failures = (old.failures if old.request == key else 0) + 1
    wait = min(policy.retry_max_seconds, policy.retry_seconds * 2 ** min(failures - 1, 20))
    return Attempt(failures, now + wait, reason, key)


def parameters(cert: Mapping[str, Any], policy: Policy) -> dict[str, str | None]:
    """How the next renewal goes. Changing it reissues nothing."""
    found: dict[str, str | None] = {"key_type": cert["key_type"], "renew_hook": policy.hook or None}
    found["webroot_path"] = None
    if cert["challenge"] == "dns":
        plugin = cert["dns_plugin"]
        found["authenticator"] = f"dns-{plugin}"
        found[f"dns_{plugin}_credentials"] = credentials_file(plugin)
        found[f"dns_{plugin}_propagation_seconds"] = str(cert["dns_propagation_seconds"])
    else:
        found["authenticator"] = cert["challenge"]
    if cert["challenge"] == "webroot":
        found["webroot_path"] = f"{policy.webroot},"
    found["preferred_profile"] = cert["profile"] or None
    return found


def configured(cert: Mapping[str, Any], lineage: Lineage, policy: Policy) -> str:
    """The renewal configuration as it should be."""
    webroots = dict.fromkeys(cert["domains"], policy.webroot) if cert["challenge"] == "webroot" else {}
    before = None
    if lineage.leaf:
        before = renewal.lifetime_before(lineage.leaf.lifetime, policy.renew_before_days)
    return renewal.wanted(lineage.configuration, parameters(cert, policy), webroots, before)


def environment_of(server: str) -> str:
    return next((name for name, url in DIRECTORIES.items() if url == server), server)


def _cause(cert: Mapping[str, Any], lineage: Lineage | None, policy: Policy) -> Action:
    name, wanted = cert["name"], frozenset(cert["domains"])
    if lineage is None:
        return Action(name, "issue", "there is none", added=tuple(sorted(wanted)))
    if lineage.leaf is None:
        return Action(name, "issue", "a killed run left it half-way", added=tuple(sorted(wanted)), broken=True)
    added, removed = wanted - lineage.leaf.domains, lineage.leaf.domains - wanted
    if lineage.server != policy.server:
        reason = f"it is from {environment_of(lineage.server)}, and {environment_of(policy.server)} is declared"
        return Action(name, "issue", reason, True, added=tuple(sorted(added)), removed=tuple(sorted(removed)))
    if added or removed:
        parts = [f"{word} {', '.join(sorted(some))}" for word, some in (("with", added), ("without", removed)) if some]
        return Action(name, "issue", f"declared {' and '.join(parts)}", added=tuple(added), removed=tuple(removed))
    return Action(name, "keep")


def decide(cert: Mapping[str, Any], lineage: Lineage | None, attempt: Attempt, policy: Policy, now: float) -> Action:
    """For a certificate of the provider acme."""
    action = _cause(cert, lineage, policy)
    if action.verb == "keep" and lineage:
        text = configured(cert, lineage, policy)
        return Action(cert["name"], "keep", configuration=text if text != lineage.configuration else "")
    known = attempt.request == request_key(cert, policy)
    if known and now < attempt.next_try and not policy.ignore_backoff:
        return Action(cert["name"], "wait", attempt.reason, action.force, "", action.added, action.removed)
    return action


def self_signed_due(cert: Mapping[str, Any], leaf: Leaf | None, now: float) -> bool:
    """Whether to sign a new one: none, other names, or about to run out."""
    if leaf is None or not leaf.self_signed or leaf.domains != frozenset(cert["domains"]):
        return True
    return leaf.not_after - now < SELF_SIGNED_LEFT * renewal.DAY


@dataclass(frozen=True)
class Arguments:
    """The command line of certbot: no secret is in it."""

    email: str
    version: tuple[int, ...]
    hook: str
    policy: Policy

    def issue(self, cert: Mapping[str, Any], force: bool) -> list[str]:
        words = ["certbot", "certonly", "--non-interactive", "--agree-tos", "--cert-name", cert["name"]]
        words += ["--email", self.email, "--no-eff-email"] if self.email else ["--register-unsafely-without-email"]
        words += ["--server", self.policy.server, "--key-type", cert["key_type"], "--deploy-hook", self.hook]
        words += ["--renew-with-new-domains", *self._challenge(cert)]
        if force:
            words += ["--force-renewal", "--break-my-certs"]
        if cert["profile"]:
            words += ["--preferred-profile", cert["profile"]]
        return words + [word for domain in cert["domains"] for word in ("--domain", domain)]

    def _challenge(self, cert: Mapping[str, Any]) -> Sequence[str]:
        if cert["challenge"] == "webroot":
            return ["--webroot", "--webroot-path", self.policy.webroot]
        if cert["challenge"] == "standalone":
            return ["--standalone"]
        plugin = cert["dns_plugin"]
        words = [f"--dns-{plugin}", f"--dns-{plugin}-propagation-seconds", str(cert["dns_propagation_seconds"])]
        return [*words, f"--dns-{plugin}-credentials", credentials_file(plugin)]

    def problem(self, cert: Mapping[str, Any]) -> str:
        """What this certbot cannot do."""
        if cert["profile"] and self.version and self.version < (4, 0):
            known = ".".join(map(str, self.version))
            return f"{cert['name']}: profile: certbot {known} knows none, 4.0 does: leave it out on this host"
        return ""
