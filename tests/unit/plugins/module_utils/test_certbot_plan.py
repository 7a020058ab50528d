# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a certificate is issued, and when it is not."""

from __future__ import annotations

from dataclasses import asdict

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils._certbot_model import DIRECTORIES, complete
from ansible_collections.shipshape.stack.plugins.module_utils._certbot_plan import (
    Arguments,
    Attempt,
    Leaf,
    Lineage,
    Policy,
    after_failure,
    configured,
    decide,
    request_key,
    self_signed_due,
)
from ansible_collections.shipshape.stack.plugins.module_utils._certbot_renewal import DAY, parse
from hypothesis import given
from hypothesis import strategies as st

NOW = 1_800_000_000.0
DEFAULTS = {"challenge": "webroot", "key_type": "ecdsa", "profile": ""}
POLICY = Policy(DIRECTORIES["production"], "/var/www/acme", hook="/hook")
CERT = complete({"name": "shop", "domains": ["a.org", "b.org"]}, DEFAULTS)


def lineage(domains=("a.org", "b.org"), server=POLICY.server, days=90.0, cert=CERT, policy=POLICY):
    leaf = Leaf(frozenset(domains), NOW, NOW + days * DAY, "CN=R11")
    bare = Lineage(leaf, server, f"version = 4.0.0\n[renewalparams]\nserver = {server}\n")
    return Lineage(leaf, server, configured(cert, bare, policy))


@pytest.mark.parametrize(
    ("found", "verb", "words", "force"),
    [
        (None, "issue", "there is none", False),
        (lineage(), "keep", "", False),
        (lineage(("b.org", "a.org")), "keep", "", False),
        (lineage(("a.org",)), "issue", "with b.org", False),
        (lineage(("a.org", "b.org", "c.org")), "issue", "without c.org", False),
        (lineage(("a.org", "c.org")), "issue", "with b.org and without c.org", False),
        (lineage(server=DIRECTORIES["staging"]), "issue", "it is from staging, and production is declared", True),
        (lineage(server="https://ca.example.org/dir"), "issue", "it is from https://ca.example.org/dir", True),
        (Lineage(None), "issue", "a killed run left it half-way", False),
        # Renewing is the timer's.
        (lineage(days=1), "keep", "", False),
        (lineage(days=-5), "keep", "", False),
    ],
)
def test_reasons(found, verb, words, force):
    action = decide(CERT, found, Attempt(), POLICY, NOW)
    assert (action.verb, action.force) == (verb, force)
    assert words in action.reason
    assert decide(CERT, lineage(), Attempt(), POLICY, NOW).verb == "keep"  # what it leads to is kept


@pytest.mark.parametrize(
    "changed",
    [
        {"challenge": "standalone"},
        {"key_type": "rsa"},
        {"profile": "tlsserver"},
        {"deploy": []},
        {"commands": [["/x"]]},
    ],
)
def test_nothing_else_reissues(changed):
    cert = {**CERT, **changed}
    found = lineage()
    action = decide(cert, found, Attempt(), POLICY, NOW)
    assert action.verb == "keep"
    settled = Lineage(found.leaf, found.server, action.configuration or found.configuration)
    assert decide(cert, settled, Attempt(), POLICY, NOW).configuration == ""


@given(st.sets(st.sampled_from(["a.org", "b.org", "c.org", "d.org"]), min_size=1), st.permutations(CERT["domains"]))
def test_issued_exactly_where_the_names_differ(domains, order):
    action = decide({**CERT, "domains": order}, lineage(domains), Attempt(), POLICY, NOW)
    assert (action.verb == "keep") is (domains == {"a.org", "b.org"})
    assert set(action.added) == {"a.org", "b.org"} - domains
    assert set(action.removed) == domains - {"a.org", "b.org"}


@pytest.mark.parametrize(
    ("challenge", "found"),
    [
        ("webroot", {"authenticator": "webroot", "webroot_path": "/var/www/acme,"}),
        ("standalone", {"authenticator": "standalone"}),
        (
            "dns",
            {
                "authenticator": "dns-cloudflare",
                "dns_cloudflare_credentials": "/etc/letsencrypt/shipshape/dns-cloudflare.ini",
                "dns_cloudflare_propagation_seconds": "60",
            },
        ),
    ],
)
def test_how_the_next_renewal_goes(challenge, found):
    cert = {**CERT, "challenge": challenge, "dns_plugin": "cloudflare"}
    sections = parse(configured(cert, lineage(), POLICY))
    assert found.items() <= sections["renewalparams"].items()
    assert ("webroot_map" in sections) is (challenge == "webroot")


def test_a_certificate_of_six_days_is_not_due_at_each_run():
    assert parse(lineage(days=6).configuration)[""]["renew_before_expiry"] == "3 days"
    # and back again, when it has a long life
    long = Lineage(lineage().leaf, POLICY.server, lineage(days=6).configuration)
    assert "renew_before_expiry" not in parse(configured(CERT, long, POLICY))[""]


# --- back-off ---------------------------------------------------------------------------------------------------------


def failed(times, policy=POLICY, cert=CERT):
    attempt = Attempt()
    for _time in range(times):
        attempt = after_failure(attempt, request_key(cert, policy), "no such name", NOW, policy)
    return attempt


@pytest.mark.parametrize(
    ("times", "seconds"), [(1, 3600), (2, 7200), (3, 14400), (5, 57600), (6, 86400), (50, 86400), (5000, 86400)]
)
def test_waits_double_up_to_a_day(times, seconds):
    attempt = failed(times)
    assert attempt.next_try - NOW == seconds
    assert attempt.failures == times
    assert decide(CERT, None, attempt, POLICY, NOW + seconds - 1).verb == "wait"
    assert decide(CERT, None, attempt, POLICY, NOW + seconds).verb == "issue"


def test_what_waits_says_why():
    assert decide(CERT, None, failed(1), POLICY, NOW + 1).reason == "no such name"


@pytest.mark.parametrize(
    "changed", [{"domains": ["a.org"]}, {"challenge": "standalone"}, {"key_type": "rsa"}, {"profile": "x"}]
)
def test_another_request_is_a_new_chance(changed):
    cert = {**CERT, **changed}
    assert decide(cert, None, failed(3), POLICY, NOW + 1).verb == "issue"
    assert after_failure(failed(3), request_key(cert, POLICY), "", NOW, POLICY).failures == 1


def test_the_order_of_names_is_not_another_request():
    cert = {**CERT, "domains": CERT["domains"][::-1]}
    assert decide(cert, None, failed(3), POLICY, NOW + 1).verb == "wait"


@given(st.integers(1, 40))
def test_what_was_written_down_is_read_again(count):
    assert Attempt.of(asdict(failed(count))) == failed(count)
    assert Attempt.of({**asdict(failed(count)), "since": 1}) == failed(count)


@pytest.mark.parametrize("data", [None, "x", [], {}, {"since": 1}, {"failures": "3", "next_try": [], "reason": 1}])
def test_what_is_no_attempt_is_none(data):
    assert Attempt.of(data) == Attempt()


@pytest.mark.parametrize("when", [-1.0, float("nan"), float("inf"), 1e300])
def test_a_time_that_no_clock_shows_is_none(when):
    assert Attempt.of({"failures": 2, "next_try": when}) == Attempt(2)


def test_the_user_may_ask_for_a_try_at_once():
    policy = Policy(POLICY.server, POLICY.webroot, ignore_backoff=True)
    assert decide(CERT, None, failed(3), policy, NOW + 1).verb == "issue"


def test_what_is_there_and_right_never_waits():
    assert decide(CERT, lineage(), failed(3), POLICY, NOW + 1).verb == "keep"


# --- self-signed ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("leaf", "due"),
    [
        (None, True),
        (Leaf(frozenset(["a.org", "b.org"]), NOW, NOW + 365 * DAY, "CN=shop", True), False),
        (Leaf(frozenset(["a.org"]), NOW, NOW + 365 * DAY, "CN=shop", True), True),
        (Leaf(frozenset(["a.org", "b.org"]), NOW, NOW + 29 * DAY, "CN=shop", True), True),
        (Leaf(frozenset(["a.org", "b.org"]), NOW, NOW + 365 * DAY, "CN=R11", False), True),
    ],
)
def test_self_signed(leaf, due):
    assert self_signed_due(CERT, leaf, NOW) is due


# --- the command line -------------------------------------------------------------------------------------------------


def words(cert=CERT, force=False, email="", hook="/hook"):
    return Arguments(email, (4, 0, 0), hook, POLICY).issue(cert, force)


def test_the_command_line():
    assert words(email="a@example.org") == [
        "certbot", "certonly", "--non-interactive", "--agree-tos", "--cert-name", "shop", "--email", "a@example.org",
        "--no-eff-email",
        "--server", POLICY.server, "--key-type", "ecdsa", "--deploy-hook", "/hook", "--renew-with-new-domains",
        "--webroot", "--webroot-path", "/var/www/acme", "--domain", "a.org", "--domain", "b.org",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "force", "found"),
    [
        ({}, True, ["--force-renewal", "--break-my-certs"]),
        ({"challenge": "standalone"}, False, ["--standalone"]),
        ({"profile": "shortlived"}, False, ["--preferred-profile", "shortlived"]),
        ({"challenge": "dns", "dns_plugin": "ovh"}, False, ["--dns-ovh", "--dns-ovh-propagation-seconds", "60"]),
    ],
)
def test_more_of_the_command_line(changed, force, found):
    line = words({**CERT, **changed}, force)
    assert " ".join(found) in " ".join(line)
    assert ("--webroot" in line) is ("challenge" not in changed)


@pytest.mark.parametrize(("version", "fine"), [((2, 1, 0), False), ((3, 3, 0), False), ((4, 0, 0), True), ((), True)])
def test_a_profile_needs_certbot_4(version, fine):
    arguments = Arguments("", version, "", POLICY)
    assert (arguments.problem({**CERT, "profile": "shortlived"}) == "") is fine
    assert arguments.problem(CERT) == ""
