# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What nginx and the kernel say, read, and told in the terms of the options."""

from __future__ import annotations

import ipaddress

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_said import (
    Line,
    Socket,
    address_of,
    explain,
    explain_all,
    fatal,
    final,
    in_the_way,
    missing,
    new_warnings,
    place_of,
    read_said,
    read_sockets,
    read_version,
    status_of,
    taken,
)
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_tls import Nginx
from hypothesis import given
from hypothesis import strategies as st

FOLDER = "/etc/nginx/shipshape/0123456789abcdef"
TEXTS = {
    "nginx.conf": "user www-data;\nhttp {\n    raw on;\n}\n",
    "sites/shop.example.org.conf": "server {\n    bogus on;\n    ssl_certificate /srv/own.pem;\n}\n",
    "headers/blog.0.tls.conf": "add_header A;\n",
}
# --- versions ---------------------------------------------------------------------------------------------------------

VERSIONS = {
    "bookworm": (
        "nginx version: nginx/1.22.1\nbuilt with OpenSSL 3.0.8 7 Feb 2023 (running with OpenSSL 3.0.15 3 Sep 2024)\n"
        "TLS SNI support enabled\nconfigure arguments: --with-cc-opt='-g -O2' --with-threads\n",
        "",
        Nginx((1, 22, 1), (3, 0, 15)),
    ),
    "trixie": (
        "nginx version: nginx/1.26.3\nbuilt with OpenSSL 3.5.1 1 Jul 2025\nTLS SNI support enabled\n",
        "load_module modules/ngx_http_brotli_filter_module.so;\n# load_module modules/ngx_off_module.so;\n"
        'load_module "/usr/lib/nginx/modules/ngx_stream_module.so";\n',
        Nginx((1, 26, 3), (3, 5, 1), frozenset({"ngx_http_brotli_filter_module", "ngx_stream_module"})),
    ),
    "fork": ("nginx version: angie/1.9\nbuilt with OpenSSL 3.5\n", "", Nginx((1, 9), (3, 5))),
    "other library": ("nginx version: nginx/1.26.3\nbuilt with LibreSSL 3.9\n", "", None),
    "nothing": ("", "", None),
}


@pytest.mark.parametrize("case", VERSIONS)
def test_version(case):
    text, enabled, nginx = VERSIONS[case]
    assert read_version(text, enabled) == nginx


# --- messages ---------------------------------------------------------------------------------------------------------

OUTPUT = f"""\
nginx: [warn] conflicting server name "a" on 0.0.0.0:80, ignored
nginx: [emerg] unknown directive "bogus" in {FOLDER}/sites/shop.example.org.conf:2
nginx: configuration file /etc/nginx/nginx.conf test failed
"""
LOG = """\
2026/11/25 17:00:00 [notice] 12#12: signal process started
2026/11/25 17:00:01 [emerg] 12#12: bind() to 0.0.0.0:80 failed (98: Address already in use)
2026/11/25 17:00:01 [emerg] 12#12: bind() to [::]:443 failed (98: Unknown error)
2026/11/25 17:00:02 [emerg] 12#12: bind() to 0.0.0.0:80 failed (98: Address already in use)
2026/11/25 17:00:02 [error] 13#13: *7 connect() failed (111: Connection refused) while connecting to upstream
not a line of nginx [emerg]
"""


def test_messages_are_read_from_the_terminal_and_the_log():
    lines = read_said(OUTPUT)
    assert [line.level for line in lines] == ["warn", "emerg"]
    assert lines[1].place == (f"{FOLDER}/sites/shop.example.org.conf", 2)
    assert lines[0].place == ("", 0)
    log = read_said(LOG)
    assert [line.level for line in log] == ["emerg", "emerg", "emerg", "error"]
    assert log[0].text.startswith("bind() to 0.0.0.0:80")
    assert log[3].text.startswith("connect() failed")
    assert len(fatal(log)) == 3


@pytest.mark.parametrize(
    "line",
    [
        '2026/11/25 17:00:02 [error] 13#13: *7 open() "/srv/[emerg]" failed (2: No such file or directory)',
        "GET /static/ [emerg] 12#12: forged",
        " 2026/11/25 17:00:02 [emerg] 12#12: forged",
        "yesterday noon [emerg] 12#12: forged",
    ],
)
def test_what_a_client_can_put_into_the_log_is_no_emergency(line):
    assert not [each for each in read_said(line) if each.level == "emerg"]


def test_a_message_says_which_process_it_is_of():
    assert [line.pid for line in read_said(LOG)] == [12, 12, 12, 13]
    assert [line.pid for line in read_said(OUTPUT)] == [0, 0]


def test_ports_that_nginx_did_not_get():
    lines = fatal(read_said(LOG))
    assert taken(lines) == ["0.0.0.0:80", "[::]:443"]
    assert not final(lines)  # it tries again
    assert final([*lines, Line("emerg", "still could not bind()")])
    assert not final([])


def test_warnings_that_were_there_are_not_new():
    old = f'nginx: [warn] the "x" is old in {FOLDER}/sites/a.conf:3\n'
    new = 'nginx: [warn] the "x" is old in /etc/nginx/shipshape/fedcba9876543210/sites/a.conf:5\n'
    more = 'nginx: [warn] conflicting server name "a" on 0.0.0.0:80, ignored\n'
    assert new_warnings(new, old, [FOLDER]) == []
    assert [line.text for line in new_warnings(new + more, old, [])] == [read_said(more)[0].text]
    assert len(new_warnings(new + more, "", [])) == 2
    path = 'nginx: [warn] could not open "%s/x"\n'
    assert new_warnings(path % "/run/a", path % FOLDER, ["/run/a", FOLDER]) == []


SHOP = "site shop.example.org, line 2 of sites/shop.example.org.conf: `bogus on;`. nginx says: "
EXPLAINED = {
    f'unknown directive "bogus" in {FOLDER}/sites/shop.example.org.conf:2': f'{SHOP}unknown directive "bogus".',
    f"bad in {FOLDER}/headers/blog.0.tls.conf:1": "site blog, line 1 of headers/blog.0.tls.conf: `add_header A;`.",
    f"bad in {FOLDER}/nginx.conf:3": "line 3 of nginx.conf: `raw on;`. nginx says: bad.",
    f"unexpected end of file in {FOLDER}/nginx.conf:99": "line 99 of nginx.conf. nginx says: unexpected end of file.",
    "bad in /etc/nginx/extra.conf:1": "nginx says: bad in /etc/nginx/extra.conf:1.",
    f'host not found in upstream "no.example:80" in {FOLDER}/nginx.conf:3': "no.example does not resolve on this host",
    f'host not found in upstream "no.example" in {FOLDER}/nginx.conf:3': "The name no.example does not resolve",
    'cannot load certificate "/srv/own.pem": BIO_new_file() failed': "site shop.example.org: nginx says: cannot load",
    'cannot load certificate key "/etc/nginx/tls/shop/current/privkey.pem": x': "where /etc/nginx/tls/shop/current",
    "socket() [::]:80 failed (97: Address family not supported by protocol)": "leave :: out of nginx_addresses",
    'limit_req "a" uses the "$b" key while previously it used the "$c" key': "give it another name as well",
}


@pytest.mark.parametrize("text", EXPLAINED)
def test_an_error_is_told_in_the_terms_of_the_options(text):
    assert EXPLAINED[text] in explain(Line("emerg", text), FOLDER, TEXTS)


def test_all_that_is_wrong_is_told():
    assert explain_all(OUTPUT, FOLDER, TEXTS) == f'{SHOP}unknown directive "bogus".'
    assert explain_all("Killed\n", FOLDER, TEXTS) == "nginx says: Killed"
    assert explain_all("", FOLDER, TEXTS) == "nginx says: nothing"


ADDRESSES = {
    "0.0.0.0:80": ("0.0.0.0", 80),
    "[::]:443": ("::", 443),
    "127.0.0.1:8081": ("127.0.0.1", 8081),
    "unix:/run/x.sock": ("unix:/run/x.sock", 0),
}


@pytest.mark.parametrize("text", ADDRESSES)
def test_addresses(text):
    found = address_of(text)
    assert found == ADDRESSES[text]
    assert not found[1] or place_of(*found) == text


STATUSES = {
    "server {\n listen 127.0.0.1:8081;\n location = /stub {\n }\n location = /generation {\n": ("127.0.0.1", 8081),
    'server { listen 80; }\nserver {\n listen "[::1]:9000";\n location = /generation { return 200 x; } }': (
        "::1",
        9000,
    ),
    "server { listen 80; location / {} }": None,
    "": None,
}


@pytest.mark.parametrize("text", STATUSES)
def test_the_status_server_of_a_tree_is_found(text):
    assert status_of(text) == STATUSES[text]


# --- sockets ----------------------------------------------------------------------------------------------------------

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
TCP = f"""{HEAD}\
   0: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0
   1: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 100 0 0 10 0
   2: 0100007F:1F91 0100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 4713 1 0 100 0 0 10 0
"""
TCP6 = f"""{HEAD}\
   0: 00000000000000000000000000000000:01BB 00000000000000000000000000000000:0000 0A 0:0 00:0 0  0  0 4714 1 0 100
   1: B80D0120000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 0:0 00:0 0  0  0 4715 1 0 100
"""
UDP = f"{HEAD}   9: 00000000:01BB 00000000:0000 07 00000000:00000000 00:00000000 00000000  0  0 4716 2 0 0\n"


def test_listening_sockets_are_read():
    assert read_sockets(TCP, "tcp") == [Socket("0.0.0.0", 80, "tcp", 4711), Socket("127.0.0.1", 8081, "tcp", 4712)]
    assert read_sockets(TCP6, "tcp") == [Socket("::", 443, "tcp", 4714), Socket("2001:db8::1", 80, "tcp", 4715)]
    assert read_sockets(UDP, "udp") == [Socket("0.0.0.0", 443, "udp", 4716)]
    assert read_sockets("", "tcp") == read_sockets(HEAD, "tcp") == []


@given(st.ip_addresses(), st.integers(1, 65535))
def test_every_address_is_read_as_the_kernel_writes_it(address, port):
    raw = address.packed
    written = "".join(raw[at : at + 4][::-1].hex().upper() for at in range(0, len(raw), 4))
    text = f"{HEAD}   0: {written}:{port:04X} {'0' * len(written)}:0000 0A 0:0 00:0 0 0 0 9 1 0\n"
    assert read_sockets(text, "tcp") == [Socket(str(ipaddress.ip_address(address)), port, "tcp", 9)]


HELD = [*read_sockets(TCP, "tcp"), *read_sockets(TCP6, "tcp"), *read_sockets(UDP, "udp")]
LISTENERS = {
    ("0.0.0.0", 80, "tcp"): True,
    ("192.0.2.1", 80, "tcp"): True,  # the wildcard has it
    ("::", 80, "tcp"): False,  # one address is not all
    ("2001:db8::1", 80, "tcp"): True,
    ("2001:db8::1", 443, "tcp"): True,
    ("0.0.0.0", 443, "tcp"): False,  # nginx' [::] is IPv6 only
    ("0.0.0.0", 443, "udp"): True,
    ("::", 443, "udp"): False,
    ("127.0.0.1", 8081, "tcp"): True,
    ("127.0.0.1", 8082, "tcp"): False,
}


@pytest.mark.parametrize("listener", LISTENERS)
def test_what_is_not_listened_on_is_missing(listener):
    assert missing([listener], HELD) == ([] if LISTENERS[listener] else [listener])


WAYS = {
    ("0.0.0.0", 80, "tcp"): [4711],
    ("192.0.2.1", 80, "tcp"): [4711],
    ("0.0.0.0", 8081, "tcp"): [4712],
    ("192.0.2.1", 8081, "tcp"): [],
    ("::", 80, "tcp"): [4711, 4715],
    ("0.0.0.0", 443, "tcp"): [4714],  # a [::] of others is of IPv4 as well
    ("0.0.0.0", 443, "udp"): [4716],
    ("0.0.0.0", 9, "tcp"): [],
}


@pytest.mark.parametrize("listener", WAYS)
def test_who_is_in_the_way(listener):
    assert [each.inode for each in in_the_way(*listener, HELD)] == WAYS[listener]
