"""Certificates as a client sees them, before and while they are renewed."""

from __future__ import annotations

import json
import shlex

import pytest
from scenario import until

pytestmark = pytest.mark.usefixtures("as_root")

ETC = "/etc/letsencrypt"
SHOWN = "openssl s_client -connect 127.0.0.1:443 -servername {} </dev/null 2>/dev/null | openssl x509 -noout {}"
FETCH = "curl -sS --cacert /etc/pebble/roots.pem --resolve {0}:443:127.0.0.1 -D- https://{0}/"
# New connections without a pause, as clients come; what fails is counted and shown.
CLIENT = """
import json, os, socket, ssl, sys, time
context = ssl.create_default_context(cafile="/etc/pebble/roots.pem")
done, failed, serials, after = 0, [], set(), 0
while not os.path.exists("/tmp/stop"):
    try:
        with socket.create_connection(("127.0.0.1", 443), 5) as raw, \\
                context.wrap_socket(raw, server_hostname="shop.example.org") as link:
            link.sendall(b"GET / HTTP/1.1\\r\\nHost: shop.example.org\\r\\nConnection: close\\r\\n\\r\\n")
            answer = b"".join(iter(lambda: link.recv(4096), b""))
            assert answer.startswith(b"HTTP/1.1 200"), answer
            serials.add(link.getpeercert()["serialNumber"])
            done += 1
            after += len(serials) == 2
            if after == 50:
                open("/tmp/enough", "w").close()
    except (OSError, AssertionError) as exc:
        failed.append(repr(exc))
print(json.dumps({"done": done, "failed": failed, "serials": sorted(serials)}))
"""


def shown(host, what, name="shop.example.org"):
    return host.check_output(SHOWN.format(name, what))


@pytest.mark.parametrize("name", ["shop.example.org", "www.shop.example.org"])
def test_a_client_that_trusts_the_authority_gets_an_answer_after_a_power_cut(host, name):
    answer = host.check_output(FETCH.format(name))
    assert answer.startswith("HTTP/")
    assert "200" in answer.splitlines()[0]
    # With the placeholder it was withheld, by the same virtual host.
    assert "strict-transport-security: max-age=300" in answer.lower()


def test_options_reach_the_certificate_and_its_renewal(host):
    assert "id-ecPublicKey" in shown(host, "-text")
    assert "DNS:shop.example.org, DNS:www.shop.example.org" in shown(host, "-ext subjectAltName")
    text = host.file(f"{ETC}/renewal/shop.conf").content_string
    for line in (
        "renew_before_expiry = 20 days",
        "server = https://127.0.0.1:14000/dir",
        "webroot_path = /var/www/acme,",
        f"renew_hook = {ETC}/renewal-hooks/deploy/50-shipshape",
    ):
        assert line in text.splitlines()
    drop_in = host.check_output("systemctl show certbot.service --property=Environment")
    assert "REQUESTS_CA_BUNDLE=/etc/pebble/ca.pem" in drop_in


@pytest.mark.parametrize(
    ("name", "source"), [("given", "/root/given"), ("own", "/var/lib/shipshape/certbot/self_signed/own")]
)
def test_other_providers(host, name, source):
    for file in ("fullchain.pem", "privkey.pem"):
        assert host.run(f"cmp /etc/nginx/tls/{name}/current/{file} {source}/{file}").rc == 0
    assert host.file(f"/etc/nginx/tls/{name}/current/privkey.pem").mode == 0o600


def test_keys_are_root_s_alone(host):
    keys = host.check_output(
        "find -L /etc/nginx/tls /var/lib/shipshape -name 'privkey.pem' -perm /077 2>/dev/null; true"
    )
    assert keys == ""


def test_no_secret_is_where_somebody_could_read_it(host):
    assert not host.file(f"{ETC}/shipshape/dns-rfc2136.ini").exists  # no certificate needs it
    assert "hunter2" not in host.check_output(
        "journalctl --no-pager; cat /var/log/letsencrypt/* /proc/[0-9]*/cmdline | tr '\\0' ' '"
    )


def test_a_forced_renewal_loses_no_request_and_runs_the_hook_once(host):
    assert host.check_output("wc -l </var/log/renewed") == "1"
    # The power cut took pebble's memory of accounts; a real authority has a better one.
    host.check_output(
        f"rm -r {ETC}/accounts; sed -i '/^account =/d' {ETC}/renewal/shop.conf;"
        " REQUESTS_CA_BUNDLE=/etc/pebble/ca.pem certbot register -n --agree-tos --register-unsafely-without-email"
        " --server https://127.0.0.1:14000/dir"
    )
    before = shown(host, "-serial")
    host.check_output("rm -f /tmp/stop /tmp/enough")
    client = (
        f"systemd-run --quiet --unit=client --property=StandardOutput=file:/tmp/client python3 -c {shlex.quote(CLIENT)}"
    )
    host.check_output(client)
    renew = "certbot renew --force-renewal --no-random-sleep-on-renew -q"
    try:
        host.check_output(f"REQUESTS_CA_BUNDLE=/etc/pebble/ca.pem {renew}")
        until(lambda: host.file("/tmp/enough").exists, 20, "requests that saw the new certificate")
    finally:
        host.check_output("touch /tmp/stop")
    until(lambda: host.run("systemctl is-active client").rc != 0, 20, "the end of the client")
    found = json.loads(host.file("/tmp/client").content_string)
    print(f"\n{found['done']} new connections while it was renewed, {len(found['failed'])} failed")
    assert found["failed"] == []
    assert found["done"] > 100
    assert len(found["serials"]) == 2
    assert shown(host, "-serial") != before
    assert host.check_output("wc -l </var/log/renewed") == "2"
    assert "took the new certificate" in host.check_output("journalctl -t shipshape-certificates -o cat | tail -1")
