"""The probe `tls` and the headers of `http` against real nginx, well and broken, as the command and as the module ask.

One server with a port for each fault; each fault stands beside the same thing in order.
"""

from __future__ import annotations

import pytest

from .health import probed, reported

# Two authorities, one below the other, and certificates with the dates that a test wants.
AUTHORITY = """
mkdir -p /etc/nginx/test
cd /etc/nginx/test
cat > ca.cnf <<'CONFIG'
[ca]
default_ca = test
[test]
database = index.txt
new_certs_dir = .
rand_serial = yes
default_md = sha256
policy = any
unique_subject = no
copy_extensions = copy
[any]
commonName = supplied
CONFIG
: > index.txt
key() {
    openssl req "$@" -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes 2>/dev/null
}
# sign NAME BY BEGIN END
sign() {
    openssl ca -batch -notext -config ca.cnf -cert $2.pem -keyfile $2.key -in $1.csr -out $1.pem \\
        -startdate $3 -enddate $4 2>/dev/null
    cat $1.pem sub.pem > $1-full.pem
}
at() {
    date -u -d "$1" +%Y%m%d%H%M%SZ
}
ca='-addext basicConstraints=critical,CA:true -addext keyUsage=critical,keyCertSign'
key -x509 -days 90 -keyout root.key -out root.pem -subj '/CN=Harbour root' $ca
key -new -keyout sub.key -out sub.csr -subj '/CN=Harbour CA' $ca
sign sub root $(at -1hour) $(at +80days)
for name in good soon over; do
    key -new -keyout $name.key -out $name.csr -subj /CN=shop \\
        -addext 'subjectAltName=DNS:shop.example.com,DNS:*.shop.example.com'
done
sign good sub $(at -1hour) $(at +60days)
sign soon sub $(at -80days) $(at +10days)
sign over sub $(at -10days) $(at -2days)
key -x509 -days 3 -keyout self.key -out self.pem -subj /CN=shop
"""
# Where the port 8448 leads is changed by a test, as certbot changes it.
SERVE = f"""
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends nginx openssl ca-certificates >/dev/null 2>&1
{AUTHORITY}
mkdir current
ln -s ../self.pem current/chain.pem
ln -s ../self.key current/key.key
rm /etc/nginx/sites-enabled/default
# server PORT CHAIN KEY DIRECTIVES
server() {{
    echo "server {{
        listen 127.0.0.1:$1 ssl;
        server_name shop.example.com *.shop.example.com;
        ssl_certificate /etc/nginx/test/$2.pem;
        ssl_certificate_key /etc/nginx/test/$3.key;
        $4
        location / {{ return 200 fine; }}
    }}"
}}
old='ssl_ciphers DEFAULT:@SECLEVEL=0; ssl_protocols'
{{
    server 8441 good-full good 'add_header X-Content-Type-Options nosniff; add_header Set-Cookie "s=sesame99; Secure";'
    echo 'server {{ listen 127.0.0.1:8441 ssl default_server; ssl_reject_handshake on; }}'
    server 8442 good good ''
    server 8443 soon-full soon ''
    server 8444 over-full over ''
    server 8445 good-full good "$old TLSv1;"
    server 8446 good-full good "$old TLSv1 TLSv1.1 TLSv1.2 TLSv1.3;"
    echo 'server {{ listen 127.0.0.1:8447; return 200 plain; }}'
    server 8448 current/chain current/key ''
}} > /etc/nginx/conf.d/test.conf
# Debian 12 names the old protocols, too.
sed -i 's/ssl_protocols .*/ssl_protocols TLSv1.2 TLSv1.3;/' /etc/nginx/nginx.conf
systemctl restart nginx
"""
ROOT_CA = "/etc/nginx/test/root.pem"
SITE = {"type": "tls", "timeout": 3, "server_name": "shop.example.com", "ca_path": ROOT_CA}
NAMES = ["shop.example.com", "www.shop.example.com"]
PLACEHOLDER = {**SITE, "port": 8448, "ca_path": None}
REASON = {"unverified": "not ours yet"}
PAGE = {
    "type": "http",
    "timeout": 3,
    "url": "https://shop.example.com:8441/",
    "resolve_to": "127.0.0.1",
    "ca_path": ROOT_CA,
}
# What is asked, the state, and what has to be said.
CASES = [
    ({**SITE, "port": 8441, "names": NAMES, "refuse_older": True}, "healthy", "TLSv1.3, shop.example.com and 1 more"),
    ({**SITE, "port": 8441, "min_protocol": "TLSv1.3"}, "healthy", ", by Harbour CA"),
    ({**SITE, "port": 8441, "ca_path": None}, "unhealthy", "is not known here: serve the whole chain"),
    (
        {**SITE, "port": 8441, "names": [*NAMES, "a.www.shop.example.com", "example.com"]},
        "unhealthy",
        "does not cover a.www.shop.example.com, example.com: it has shop.example.com, *.shop.example.com; get one",
    ),
    (
        {**SITE, "port": 8441, "server_name": "other.example.com"},
        "unhealthy",
        "127.0.0.1:8441 serves no site called other.example.com",
    ),
    ({**SITE, "port": 8442}, "unhealthy", "the issuer of shop, Harbour CA, is not known here: serve the whole chain"),
    ({**SITE, "port": 8443}, "degraded", ", in 10.0 days, wanted 21: renew it, and find out why nothing has"),
    ({**SITE, "port": 8443, "cert_warn_days": 9}, "healthy", "(10.0 days)"),
    ({**SITE, "port": 8443, "cert_min_days": 11}, "unhealthy", ", in 10.0 days, wanted 11: renew it"),
    ({**SITE, "port": 8444}, "unhealthy", " UTC, 2.0 days ago: renew it, and find out why nothing has"),
    ({**SITE, "port": 8444, "ca_path": None, **REASON}, "unhealthy", " UTC, 2.0 days ago: renew it"),
    ({**SITE, "port": 8445}, "unhealthy", "127.0.0.1:8445 speaks TLSv1 at best, wanted TLSv1.2 or newer"),
    ({**SITE, "port": 8445, "min_protocol": "TLSv1"}, "healthy", "TLSv1, shop.example.com"),
    ({**SITE, "port": 8446}, "healthy", "TLSv1.3, shop.example.com"),
    ({**SITE, "port": 8446, "refuse_older": True}, "unhealthy", "TLSv1.1 is accepted, wanted nothing older than TLSv1"),
    ({**SITE, "port": 8447}, "unhealthy", "127.0.0.1:8447 does not speak TLS ("),
    ({**SITE, "port": 22}, "unhealthy", "127.0.0.1:22 does not speak TLS ("),
    ({**SITE, "port": 8449}, "unhealthy", "127.0.0.1:8449: Connection refused"),
    (PLACEHOLDER, "unhealthy", "the certificate (shop) signs itself, as a placeholder does"),
    ({**PLACEHOLDER, **REASON}, "healthy", "not verified (signs itself): not ours yet"),
    ({**PLACEHOLDER, **REASON, "names": NAMES}, "unhealthy", "it has no name (its subject, shop, is none)"),
    ({**PLACEHOLDER, "ca_path": "/etc/nginx/test/self.pem"}, "unhealthy", "does not cover shop.example.com"),
    ({**PAGE, "expect_headers": {"X-Content-Type-Options": "nosniff"}}, "healthy", "HTTP 200"),
    (
        {**PAGE, "expect_headers": {"X-Frame-Options": "DENY", "Server": {"exists": False}}},
        "unhealthy",
        "header X-Frame-Options is missing, wanted 'DENY'; header Server is 'nginx",
    ),
    (
        {**PAGE, "expect_headers": {"Set-Cookie": {"regex": "HttpOnly"}}},
        "unhealthy",
        "header Set-Cookie is 's=***; Secure', wanted text like 'HttpOnly'",
    ),
]
# Flips the links, reloads, and waits until the old workers are gone.
FLIP = """
cd /etc/nginx/test/current
ln -sf ../{0}.pem chain.pem
ln -sf ../{1}.key key.key
before=$(pgrep -f 'nginx: worker process$')
systemctl reload nginx
for pid in $before; do
    timeout 10 tail --pid=$pid -s 0.1 -f /dev/null
done
"""
TRUST = """
cp /etc/nginx/test/root.pem /usr/local/share/ca-certificates/test.crt
update-ca-certificates >/dev/null 2>&1
"""
both = pytest.mark.parametrize("name", ["d12", "d13"])


@pytest.fixture(scope="module")
def served(hosts):
    """nginx on both hosts, and what was found: of one call for each."""
    hosts.bring_command()
    hosts.shells(dict.fromkeys(hosts.names, SERVE))
    hosts.found = {name: reported(hosts, name, *(check for check, _status, _said in CASES)) for name in hosts.names}
    return hosts


def ask(hosts, name, check):
    row = reported(hosts, name, check)[0][0]
    return row["status"], row["detail"]


@both
@pytest.mark.parametrize("case", range(len(CASES)))
def test_found_and_not_found(served, name, case):
    _check, status, said = CASES[case]
    row = served.found[name][0][case]
    assert said in row["detail"], row
    assert row["status"] == status, row


@both
def test_no_cookie_is_shown(served, name):
    assert "s=***" in served.found[name][1]
    assert "sesame99" not in served.found[name][1]


def test_the_module_says_the_same(served):
    headers = {"X-Content-Type-Options": "nosniff", "X-None": {"exists": False}}
    checks = [
        {**SITE, "name": "tls", "port": 8441, "names": NAMES},
        {**PAGE, "name": "page", "expect_headers": headers},
    ]
    run = probed(served, *checks)
    assert run.output.count("TLSv1.3, shop.example.com and 1 more, until") == 2


@both
def test_from_the_placeholder_to_the_certificate(served, name):
    """As certbot's hook does it: a link is flipped, nginx reloads, and the check follows."""
    strict = {**PLACEHOLDER, "ca_path": ROOT_CA, "names": NAMES}
    assert ask(served, name, strict)[0] == "unhealthy"
    with served.broken(name, FLIP.format("good-full", "good"), FLIP.format("self", "self")):
        assert ask(served, name, strict)[0] == "healthy"
        detail = ask(served, name, {**PLACEHOLDER, **REASON})[1]
        assert detail.endswith("not verified (unable to get local issuer certificate): not ours yet")
        # As soon as the host trusts the authority, the reason is over, and nothing has to be named.
        served.shell(name, TRUST)
        assert ask(served, name, {**PLACEHOLDER, **REASON})[1].endswith("trusted: unverified can be left away")
        assert ask(served, name, {**PLACEHOLDER, "names": NAMES})[0] == "healthy"
    assert ask(served, name, strict)[0] == "unhealthy"


@both
def test_stopped(served, name):
    check = {**SITE, "port": 8441}
    with served.broken(name, "systemctl stop nginx", "systemctl start nginx"):
        assert ask(served, name, check) == ("unhealthy", "127.0.0.1:8441: Connection refused")
    assert ask(served, name, check)[0] == "healthy"


@both
def test_frozen(served, name):
    """The kernel still accepts connections, and nobody greets."""
    check = {**SITE, "port": 8441, "timeout": 1}
    with served.broken(name, "systemctl kill -s STOP nginx", "systemctl kill -s CONT nginx"):
        assert ask(served, name, check) == ("unhealthy", "no answer within 1 s")
    assert ask(served, name, check)[0] == "healthy"
