"""Certificates of a real ACME server: what goes wrong leaves the old one serving, and is said once."""

from __future__ import annotations

import pytest

from .conftest import ROOT, until

# An authority of its own and renewals; the scenarios of the role stand for it on every commit.
pytestmark = pytest.mark.nightly

ASK = {"ansible.builtin.package_facts": {}}
INCLUDE = {"ansible.builtin.include_role": {"name": "shipshape.stack.certbot"}}
ROLE = [{"hosts": "all", "become": True, "gather_facts": False, "tasks": [ASK, INCLUDE]}]
LONG, SHORT = "https://127.0.0.1:14000/dir", "https://127.0.0.1:14001/dir"
SHOP = {"name": "shop", "domains": ["shop.example.org"], "commands": [["/bin/sh", "-c", "echo run >>/root/runs"]]}
BASE = {"certbot_agree_terms": True, "certbot_directory": LONG, "certbot_ca_file": "/etc/pebble/ca.pem"}
# As somebody writes it by hand: without the role nginx.
SITE = """\
server { listen 80 default_server; location /.well-known/acme-challenge/ { root /var/www/acme; } }
server {
  listen 443 ssl default_server;
  ssl_certificate /etc/nginx/tls/shop/current/fullchain.pem;
  ssl_certificate_key /etc/nginx/tls/shop/current/privkey.pem;
  location / { return 200 "ok\\n"; }
}
"""
WEB = f"""
DEBIAN_FRONTEND=noninteractive apt-get install -yqq --no-install-recommends nginx >/dev/null 2>&1
rm /etc/nginx/sites-enabled/default
cat >/etc/nginx/conf.d/shop.conf <<'END'
{SITE}END
# What the role nginx does where there is no certificate yet.
cat >/root/placeholder.py <<'END'
import sys
sys.path.insert(0, "/usr/local/lib/shipshape")
from certificates import _certificate_deploy, _certificate_store
_certificate_store.ensure_placeholder("shop", _certificate_deploy.run_command)
END
python3 /root/placeholder.py
systemctl restart nginx
"""
CRONS = """
printf '30 2 * * * /usr/local/bin/backup\\n0 3 * * * certbot renew -q >/dev/null\\n' | crontab -
printf '0 5 31 2 * root certbot renew --post-hook /opt/tell\\n' >/etc/cron.d/tell
printf 'PATH=/usr/bin\\n0 4 * * * root certbot renew\\n' >/etc/cron.d/renew
printf '#!/bin/sh\\ncertbot renew -q\\n' >/etc/cron.daily/certbot; chmod 755 /etc/cron.daily/certbot
systemctl disable --now certbot.timer 2>/dev/null || true
"""
SHOWN = (
    "openssl s_client -connect 127.0.0.1:443 -servername shop.example.org </dev/null 2>/dev/null | openssl x509 -noout"
)


def shown(hosts, name, what="-fingerprint -sha256"):
    """The certificate that nginx serves."""
    return hosts.shell(name, f"{SHOWN} {what}").strip()


def all_shown(hosts):
    return hosts.shells(dict.fromkeys(hosts.names, f"{SHOWN} -fingerprint -sha256"))


def each(hosts, script):
    return hosts.shells(dict.fromkeys(hosts.names, script))


def run(hosts, *certificates, **changed):
    variables = {f"certbot_{key}": value for key, value in changed.items()}
    return hosts.play(ROLE, "--diff", variables={**BASE, "certbot_certificates": list(certificates), **variables})


def fine(hosts, *certificates, changes=None, **changed):
    done = run(hosts, *certificates, **changed)
    assert done.code == 0, done.output
    if changes is not None:
        assert [done.changed(name) for name in hosts.names] == [changes] * len(hosts.names), done.output
    return done


@pytest.fixture(scope="module")
def served(hosts):
    """A host that serves a certificate of pebble's."""
    assert hosts.play(str(ROOT / "molecule/shared/acme.yml")).code == 0
    assert fine(hosts).code == 0
    each(hosts, WEB + CRONS)
    first = fine(hosts, SHOP)
    assert "0 3 * * * certbot renew -q" in first.output  # shown before it is taken out
    assert "/etc/cron.d/tell:1 renews certificates and does more, so it is left" in first.text
    fine(hosts, SHOP, changes=0)
    return hosts


def test_the_timer_is_the_only_scheduler(served):
    script = (
        "crontab -l; ls -d /etc/cron.d/[crt]e* /etc/cron.daily/certbot 2>/dev/null || true;"
        " systemctl is-enabled certbot.timer; systemctl is-active certbot.timer; dpkg --verify certbot"
    )
    for said in each(served, f"{script} || true").values():
        assert said.splitlines() == [
            "30 2 * * * /usr/local/bin/backup", "/etc/cron.d/certbot", "/etc/cron.d/tell", "enabled", "active",
        ]  # fmt: skip


def test_the_timer_renews_and_the_hook_runs_once(served):
    before = all_shown(served)
    runs = each(served, "wc -l </root/runs")
    assert set(runs.values()) == {"1\n"}
    # As the timer does it, with the drop-in that trusts the private authority.
    due = "sed -i '1i renew_before_expiry = 100 days' /etc/letsencrypt/renewal/shop.conf"
    each(served, f"{due}; systemctl start certbot.service")
    after = all_shown(served)
    assert all(before[name] != after[name] for name in served.names)
    assert set(each(served, "wc -l </root/runs").values()) == {"2\n"}
    fine(served, SHOP, changes=1)  # its 30 days again
    fine(served, SHOP, changes=0)


def test_an_added_domain_reissues_once(served):
    more = {**SHOP, "domains": ["www.shop.example.org", "shop.example.org"]}
    fine(served, more)
    before = all_shown(served)
    for name in served.names:
        names = shown(served, name, "-ext subjectAltName").split()
        assert {"DNS:shop.example.org", "DNS:www.shop.example.org"} == {each.strip(",") for each in names[-2:]}
    fine(served, {**more, "domains": more["domains"][::-1]}, changes=0)
    # How it is renewed is no reason.
    fine(served, {**more, "key_type": "rsa", "challenge": "standalone"}, changes=1)
    assert all_shown(served) == before
    fine(served, SHOP)
    for name in served.names:
        assert "www" not in shown(served, name, "-ext subjectAltName")


def test_a_name_that_fails_is_not_tried_at_each_run(served):
    bad = {"name": "bad", "domains": ["bad.example.org"]}
    good = {"name": "good", "domains": ["good.example.org"]}
    before = all_shown(served)
    each(served, "echo bad.example.org >/etc/pebble/refused")
    first = run(served, SHOP, bad, good)
    assert first.code != 0
    assert "bad: bad.example.org: " in first.text, first.output
    assert "failed 1 times in a row, next try in 1.0 h" in first.text
    asked = "test -e /etc/letsencrypt/live/good/fullchain.pem; journalctl -u pebble -o cat | grep -c order-plz"
    orders = each(served, asked)
    again = fine(served, SHOP, bad, good, changes=0)
    assert "bad: bad.example.org: " in again.text
    assert "not tried again before" in again.text
    assert each(served, asked) == orders
    assert all_shown(served) == before
    each(served, "rm /etc/pebble/refused")
    fine(served, SHOP, bad, good, changes=0)
    fine(served, SHOP, bad, good, changes=1, ignore_backoff=True)
    # Declared absent, they go, and nginx would serve a placeholder for them.
    gone = [{"name": name, "state": "absent"} for name in ("bad", "good")]
    fine(served, SHOP, *gone)
    for said in each(served, "ls /etc/letsencrypt/renewal; readlink /etc/nginx/tls/good/current").values():
        assert said.split() == ["shop.conf", "placeholder"]
    fine(served, SHOP, *gone, changes=0)


def test_another_authority_replaces_it_and_six_days_are_not_renewed_at_each_run(served):
    before = all_shown(served)
    fine(served, SHOP, directory=SHORT)
    after = all_shown(served)
    assert all(before[name] != after[name] for name in served.names)
    fine(served, SHOP, directory=SHORT, changes=0)
    for name in served.names:
        assert "server = https://127.0.0.1:14001/dir" in served.shell(name, "cat /etc/letsencrypt/renewal/shop.conf")
        served.shell(name, f"{SHOWN} -checkend {5 * 86400} >/dev/null && ! {SHOWN} -checkend {7 * 86400} >/dev/null")
    each(
        served,
        "for _ in 1 2 3; do REQUESTS_CA_BUNDLE=/etc/pebble/ca.pem certbot renew -q --no-random-sleep-on-renew; done",
    )
    assert all_shown(served) == after
    fine(served, SHOP)


# With what certbot brings along.
MAKE = """
import datetime, pathlib
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

home, now, day = pathlib.Path("/root/given"), datetime.datetime.utcnow(), datetime.timedelta(days=1)
home.mkdir(exist_ok=True)
keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("root", "middle", "leaf")}

def name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

def certificate(subject, issuer, end):
    names = x509.SubjectAlternativeName([x509.DNSName("given.example.org")])
    made = x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name(issuer))
    made = made.public_key(keys[subject].public_key()).serial_number(x509.random_serial_number())
    made = made.not_valid_before(now - 9 * day).not_valid_after(now + end * day).add_extension(names, False)
    return made.sign(keys[issuer], hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

root, middle, leaf = (certificate(*words, 30) for words in (("root",) * 2, ("middle", "root"), ("leaf", "middle")))
(home / "chain.pem").write_bytes(leaf + middle + root)
(home / "short.pem").write_bytes(leaf)
(home / "expired.pem").write_bytes(certificate("leaf", "middle", -2) + middle + root)
form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
for each, key in keys.items():
    (home / f"{each}.key").write_bytes(key.private_bytes(*form))
"""


def given(name, chain="chain.pem", domain="given.example.org"):
    path = f"/root/given/{chain}"
    return {"name": name, "provider": "files", "domains": [domain], "certificate": path, "deploy": ["nginx"]}


def test_a_given_certificate_is_proven_before_anything_changes(served):
    each(served, f"python3 -W ignore - <<'END'\n{MAKE}END")
    keys = {"ok": "leaf", "wrong": "root", "old": "leaf", "short": "leaf", "names": "leaf"}
    certificates = [given("ok"), given("wrong"), given("old", "expired.pem"), given("short", "short.pem")]
    certificates.append(given("names", domain="other.example.org"))
    paths = {name: f"/root/given/{key}.key" for name, key in keys.items()}
    before = each(served, "ls -R /etc/nginx/tls")
    done = run(served, SHOP, *certificates, private_keys=paths)
    assert done.code != 0
    for words in (
        "wrong: the key belongs to another certificate",
        "old: CN=leaf expired on ",
        "short: the chain is incomplete: it ends with CN=leaf",
        "names: it does not cover other.example.org",
    ):
        assert words in done.text, done.output
    assert "ok: " not in done.text.partition("Nothing was changed")[2]
    assert each(served, "ls -R /etc/nginx/tls") == before
    own = {"name": "own", "provider": "self_signed", "domains": ["own.example.org"]}
    fine(served, SHOP, own, certificates[0], changes=1, private_keys={"ok": paths["ok"]})
    fine(served, SHOP, own, certificates[0], changes=0, private_keys={"ok": paths["ok"]})
    for said in each(served, "cmp /etc/nginx/tls/ok/current/fullchain.pem /root/given/chain.pem && echo same").values():
        assert said == "same\n"


RENEW = (
    "REQUESTS_CA_BUNDLE=/etc/pebble/ca.pem certbot renew --force-renewal --no-random-sleep-on-renew --cert-name shop"
)
FAULTS = [
    pytest.param(
        "echo 'nonsense;' >/etc/nginx/conf.d/broken.conf",
        "rm /etc/nginx/conf.d/broken.conf",
        'unknown directive "nonsense"',
        id="configuration-that-nginx-refuses",
    ),
    pytest.param(
        "cp -a /etc/nginx/tls/shop /root/kept; mount -t tmpfs -o size=96k,mode=0755 none /etc/nginx/tls/shop;"
        " cp -a /root/kept/. /etc/nginx/tls/shop; cat /dev/zero >/etc/nginx/tls/shop/full 2>/dev/null || true",
        "umount /etc/nginx/tls/shop; rm -r /root/kept",
        "No space left on device",
        id="full-disk",
    ),
]


@pytest.mark.parametrize(("fault", "mend", "words"), FAULTS)
def test_the_old_certificate_serves_on_until_it_is_mended(served, fault, mend, words):
    before = all_shown(served)
    each(served, fault)
    try:
        for said in each(served, f"{RENEW} 2>&1 || true").values():
            assert words in said
            assert "the old certificate goes on being served" in said.lower()
        done = run(served, SHOP)
        assert done.code != 0
        assert words in done.text
        for said in each(served, "systemctl start certbot.service || systemctl is-failed certbot.service").values():
            assert said == "failed\n"
        # Not even a restart could bring in what was not proven, or is half written.
        file = "openssl x509 -noout -fingerprint -sha256 -in /etc/nginx/tls/shop/current/fullchain.pem"
        assert each(served, file) == before
    finally:
        each(served, mend)
    assert all_shown(served) == before
    each(served, "systemctl start certbot.service")  # the next tick of the timer, without a controller
    after = all_shown(served)
    assert all(before[name] != after[name] for name in served.names)
    fine(served, SHOP, changes=0)


def test_a_run_that_was_killed_between_issue_and_flip_is_caught_up_with(served):
    before = all_shown(served)
    # The hook waits for a lock that somebody holds; then everything is killed by its number.
    hold = "systemd-run --quiet --unit=holder flock /etc/nginx/shipshape sleep 300"
    each(served, f"{hold}; systemd-run --quiet --unit=renewal sh -c '{RENEW}'")
    waiting = "cat $(systemctl show --value --property=ControlGroup renewal | sed 's,^,/sys/fs/cgroup,')/cgroup.procs"
    hook = f"for p in $({waiting}); do tr '\\0' ' ' </proc/$p/cmdline; done | grep -c certificate_hook || true"
    for name in served.names:
        until(lambda: int(served.shell(name, hook)), 60, f"the hook on {name}")  # noqa: B023
    each(served, "systemctl kill --signal=KILL renewal; systemctl stop holder")
    assert all_shown(served) == before
    fine(served, SHOP, changes=1)
    after = all_shown(served)
    assert all(before[name] != after[name] for name in served.names)


def test_what_a_kill_left_half_issued_is_moved_aside(served):
    each(served, "rm /etc/letsencrypt/renewal/shop.conf; touch /etc/letsencrypt/renewal/shop.conf")
    done = fine(served, SHOP)
    assert "a killed run left it half-way; what it left is in /var/lib/shipshape/certbot/set_aside/shop-" in done.text
    fine(served, SHOP, changes=0)
    assert set(each(served, "ls /etc/letsencrypt/renewal").values()) == {"shop.conf\n"}


SERVERS = """
DEBIAN_FRONTEND=noninteractive apt-get install -yqq --no-install-recommends postgresql redis-server >/dev/null 2>&1
"""
USE = """
conf=$(echo /etc/postgresql/*/main/conf.d)
printf "ssl = on\\nssl_cert_file = '%s/fullchain.pem'\\nssl_key_file = '%s/privkey.pem'\\n" \
    /etc/postgresql/tls/shop/current /etc/postgresql/tls/shop/current >$conf/tls.conf
systemctl restart postgresql
"""
REDIS = {
    "redis_tls": True,
    "redis_tls_certificate": "/etc/redis/tls/shop/current/fullchain.pem",
    "redis_tls_key": "/etc/redis/tls/shop/current/privkey.pem",
}
FACTS = {"gather_facts": True, "gather_subset": ["!all", "!min", "distribution", "hardware", "network"]}
ASKED = "openssl s_client -connect 127.0.0.1:{} </dev/null 2>/dev/null | openssl x509 -noout -fingerprint -sha256;"
LOOK = (
    ASKED.format("5432 -starttls postgres") + ASKED.format("6380")
    + "systemctl show --value --property=MainPID redis-server 'postgresql@*-main'"
)  # fmt: skip


def test_databases_show_a_renewed_certificate_without_a_restart(served):
    served.shell("d13", SERVERS)
    cert = {**SHOP, "deploy": ["nginx", "postgresql", "redis"]}
    variables = {**BASE, "certbot_certificates": [cert]}
    assert served.play(ROLE, "--limit", "d13", variables=variables).code == 0
    served.shell("d13", USE)
    role = [{"hosts": "d13", "become": True, **FACTS, "roles": ["shipshape.stack.redis"]}]
    done = served.play(role, variables=REDIS)
    assert done.code == 0, done.output
    before, first = shown(served, "d13"), served.shell("d13", LOOK)
    assert first.count(before) == 2
    served.shell("d13", RENEW)
    after = shown(served, "d13")
    assert after != before
    # With the numbers of the processes, which are the same.
    assert served.shell("d13", LOOK) == first.replace(before, after)
    keys = "stat -L -c '%U %G %a' /etc/postgresql/tls/shop/current/privkey.pem /etc/redis/tls/shop/current/privkey.pem"
    assert served.shell("d13", keys).splitlines() == ["postgres postgres 600", "root redis 640"]
    again = served.play(ROLE, "--limit", "d13", variables=variables)
    assert again.changed("d13") == 0, again.output


def test_check_mode_issues_nothing(served):
    before = all_shown(served)
    variables = {**BASE, "certbot_certificates": [{**SHOP, "domains": ["new.example.org"]}]}
    done = served.play(ROLE, "--check", "--diff", variables=variables)
    assert done.code == 0, done.output
    assert "new.example.org from https://127.0.0.1:14000/dir" in done.text
    assert all_shown(served) == before


def test_absent_leaves_renewals_that_work(served):
    before = all_shown(served)
    gone = run(served, SHOP, state="absent")
    assert gone.code == 0, gone.output
    look = (
        "find /etc/letsencrypt /etc/systemd/system/certbot* /usr/local/lib/shipshape/* -name '*shipshape*' 2>/dev/null"
        " || true;"
        " grep renew_hook /etc/letsencrypt/renewal/shop.conf || true"
    )
    assert set(each(served, look).values()) == {""}
    each(served, f"{RENEW} -q")
    assert all_shown(served) == before
    again = run(served, SHOP, state="absent")
    assert [again.changed(name) for name in again.recap] == [0, 0]
