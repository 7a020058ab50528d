"""Every option of the role shows in what nginx really answers."""

from __future__ import annotations

import json
import pathlib

import pytest
import yaml
from scenario import until

SCENARIO = pathlib.Path(__file__).resolve().parents[1]
SPECS = pathlib.Path(__file__).resolve().parents[3] / "roles/nginx/meta/argument_specs.yml"
SHOP = "https://shop.example.org"
STRICT = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains; preload",
    "X-Robots-Tag": 'none; "all"',
    "Permissions-Policy": "",
    "Server": "nginx",
}


@pytest.fixture(autouse=True)
def _up(host):
    until(lambda: host.run("systemctl is-active nginx backend").stdout.split() == ["active"] * 2, 20, "services")


def _keys(options, values, found):
    """Which keys of the specification the scenario gives, at any depth."""
    for each in values if isinstance(values, list) else [values]:
        for name, value in each.items():
            found.add(name)
            below = options.get(name, {}).get("options")
            if below:
                _keys(below, value, found)
    return found


def _known(options):
    return set(options) | {name for each in options.values() for name in _known(each.get("options", {}))}


def test_every_option_of_the_role_is_set_in_this_scenario():
    options = yaml.safe_load(SPECS.read_text(encoding="utf-8"))["argument_specs"]["main"]["options"]
    scenario = yaml.safe_load((SCENARIO / "molecule.yml").read_text(encoding="utf-8"))
    given = scenario["provisioner"]["inventory"]["group_vars"]["all"]
    assert _known(options) - _keys(options, given, set()) == set()


# --- headers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/", 200, []),
        ("/status/301", 301, []),
        ("/status/304", 304, []),
        ("/status/404", 404, []),
        ("/status/500", 500, []),
        ("/old", 308, []),
        ("/plain/app.js", 200, []),
        ("/plain/app.js", 206, ["-H", "Range: bytes=0-9"]),
        ("/plain/app.js", 304, ["-H", "If-None-Match: *"]),
        ("/plain/nowhere", 404, []),
        ("/plain/empty/", 403, []),
        ("/plain/empty", 301, []),
        ("/inside/", 403, []),
        ("/api/exact", 200, []),
        ("/gone/", 410, []),
        ("/raw", 418, []),
        ("/dead/", 502, []),
        ("/", 413, ["-H", "Content-Length: 2000000", "-d", "x"]),
        ("/plain/../../etc/passwd", 400, []),
    ],
)
def test_every_answer_has_every_header_once(ask, path, status, words):
    answer = ask(SHOP + path, "--http1.1", *words)
    assert answer.status == status
    assert {name: answer.header(name) for name in STRICT} == STRICT
    assert "frame-ancestors 'none'" in answer.header("Content-Security-Policy")


def test_who_asks_too_often_gets_429_and_every_header(ask):
    answers = [ask(f"{SHOP}/login", "-H", "X-Test: often") for _each in range(2)]
    assert [each.status for each in answers] == [200, 429]
    assert {name: answers[1].header(name) for name in STRICT} == STRICT


def test_connections_are_counted(host):
    one = f"curl -sk -o /dev/null -w '%{{http_code}} ' --resolve shop.example.org:443:127.0.0.1 {SHOP}/few/slow"
    assert sorted(host.check_output(f"{one} & {one}; wait").split()) == ["200", "429"]


def test_a_location_adds_to_the_headers_and_keeps_the_rest(ask):
    answer = ask(f"{SHOP}/static/app.js")
    assert answer.header("X-Robots-Tag") == "all"
    assert answer.header("X-Frame-Options") == "DENY"
    assert answer.header("Cache-Control") == "public, max-age=31536000, immutable"
    missing = ask(f"{SHOP}/static/nowhere.js")
    assert (missing.status, missing.header("Cache-Control")) == (404, "")


@pytest.mark.parametrize(
    ("path", "expected"), [("/plain/app.js", "public, max-age=3600"), ("/socket/", "no-store"), ("/", "private")]
)
def test_cache_control_is_there_once(ask, path, expected):
    assert ask(SHOP + path).header("Cache-Control") == expected


def test_hsts_waits_until_there_is_a_certificate(ask):
    answer = ask("https://pages.example.org:8443/")
    assert (answer.status, answer.header("Strict-Transport-Security")) == (200, "")
    assert answer.header("X-Frame-Options") == "SAMEORIGIN"


@pytest.mark.parametrize(
    "url", ["http://pages.example.org:8080/", "http://plain.example.org/", "http://shop.example.org/"]
)
def test_hsts_is_not_sent_without_tls(ask, url):
    assert ask(url).header("Strict-Transport-Security") == ""


def test_a_site_may_have_no_headers(ask):
    answer = ask("http://plain.example.org/")
    assert answer.header("X-Content-Type-Options") == ""
    assert answer.header("X-Frame-Options") == "ALLOWALL", "the application's own"


# --- names and ports --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["shop.example.org", "www.shop.example.org", "any.shop.example.org"])
def test_http_leads_to_https_of_the_same_name(ask, name):
    answer = ask(f"http://{name}/a?b=c")
    assert (answer.status, answer.header("Location")) == (301, f"https://{name}/a?b=c")


@pytest.mark.parametrize("name", ["www.shop.example.org", "any.shop.example.org"])
def test_other_names_lead_to_the_canonical_one(ask, name):
    answer = ask(f"https://{name}/a?b=c")
    assert (answer.status, answer.header("Location")) == (301, "https://shop.example.org/a?b=c")


@pytest.mark.parametrize(
    "url", ["http://unknown.example.org/", "https://unknown.example.org/", "https://unknown.example.org:8443/"]
)
def test_unknown_names_get_no_answer(ask, url):
    assert ask(url).status == 0


def test_a_name_inside_tls_that_is_no_site_gets_no_answer(ask):
    assert ask(f"{SHOP}/", "-H", "Host: unknown.example.org").status == 0


@pytest.mark.parametrize("url", [f"{SHOP}/", "http://plain.example.org/", "https://pages.example.org:8443/"])
def test_ipv6(ask, url):
    assert ask(url, inside="[::1]").status == 200


@pytest.mark.parametrize(
    "url",
    [
        "http://shop.example.org",
        "http://any.shop.example.org",
        "http://pages.example.org:8080",
        "http://plain.example.org",
    ],
)
def test_challenges_are_answered_everywhere(ask, url):
    answer = ask(f"{url}/.well-known/acme-challenge/token")
    assert (answer.status, answer.body) == (200, "the challenge")


def test_http_2_where_it_is_wanted(host):
    told = "curl -sk -o /dev/null -w '%{http_version}' --resolve "
    assert host.check_output(f"{told} shop.example.org:443:127.0.0.1 {SHOP}/") == "2"
    assert host.check_output(f"{told} pages.example.org:8443:127.0.0.1 https://pages.example.org:8443/") == "1.1"


@pytest.mark.parametrize(
    ("port", "option", "works"),
    [(443, "tls1_2", True), (443, "tls1_3", True), (443, "tls1_1", False), (8443, "tls1_2", False)],
)
def test_protocols(host, port, option, works):
    name = "shop" if port == 443 else "pages"
    command = f"echo | openssl s_client -connect 127.0.0.1:{port} -servername {name}.example.org -{option}"
    assert (host.run(f"{command} -cipher ALL:@SECLEVEL=0").rc == 0) == works


def test_the_hybrid_group_where_the_library_has_it(host):
    if "debian13" in host.backend.get_pytest_id():
        command = "echo | openssl s_client -connect 127.0.0.1:443 -servername shop.example.org"
        assert "X25519MLKEM768" in host.check_output(command)


# --- locations --------------------------------------------------------------------------------------------------------


def test_what_reaches_the_application(ask, here):
    answer = ask(
        f"{SHOP}/a/b?c=%20d", "-H", "X-Forwarded-For: 203.0.113.1", "-H", "Forwarded: for=x", "-H", "Proxy: evil"
    )
    assert answer.told["path"] == "/a/b?c=%20d"
    expected = {
        "Host": "shop.example.org",
        "X-Real-IP": here,
        "X-Forwarded-For": here,
        "X-Forwarded-Host": "shop.example.org",
        "X-Forwarded-Port": "443",
        "X-Forwarded-Proto": "https",
        "Forwarded": None,
        "Proxy": None,
        "X-Forwarded-Prefix": None,
        "Connection": None,
    }
    assert {name: answer.sent(name) for name in expected} == expected
    assert len(answer.sent("X-Request-ID")) == 32


def test_a_prefix_is_stripped(ask):
    answer = ask(f"{SHOP}/api/v1?x=1")
    assert answer.told["path"] == "/v1?x=1"
    assert answer.sent("X-Forwarded-Prefix") == "/api"
    assert (answer.sent("X-Extra"), answer.sent("Host")) == ("1; 2", "inner")


def test_an_exact_path_wins(ask):
    answer = ask(f"{SHOP}/api/exact")
    assert (answer.body, answer.header("Content-Type")) == ("exactly; {this}\n", "text/x-test")
    assert ask(f"{SHOP}/api/exact/").told["path"] == "/exact/"


def test_a_regular_expression(ask):
    assert ask(f"{SHOP}/v42/x").told["path"] == "/v42/x"


def test_websockets_and_plain_requests_of_one_location(host, ask):
    code = (
        "import socket, ssl; c = ssl._create_unverified_context(); s = socket.create_connection(('127.0.0.1', 443)); "
        "t = c.wrap_socket(s, server_hostname='shop.example.org'); "
        "t.sendall(b'GET /ws/ HTTP/1.1\\r\\nHost: shop.example.org\\r\\nConnection: keep-alive, Upgrade\\r\\n"
        "Upgrade: WebSocket\\r\\n\\r\\n'); head = t.recv(999); t.sendall(b'hello'); print(head.split()[1], t.recv(99))"
    )
    assert host.check_output("python3 -c %s", code) == "b'101' b'HELLO'"
    plain = ask(f"{SHOP}/ws/")
    assert (plain.sent("Connection"), plain.sent("Upgrade")) == (None, None)
    assert ask(f"{SHOP}/ws/", "--http1.1", "-H", "Upgrade: h2c", "-H", "Connection: Upgrade").sent("Upgrade") is None


@pytest.mark.parametrize(("path", "kept"), [("/ws/", True), ("/", True), ("/socket/", False)])
def test_connections_to_the_application_are_kept(ask, path, kept):
    """Two workers keep theirs by themselves, so a third request meets one of them again."""
    counts = [ask(SHOP + path).told["requests"] for _each in range(3)]
    assert (max(counts) > 1) == kept


@pytest.mark.parametrize(("path", "port"), [("/socket/x", 0), ("/spare/x", 9002), ("/moving/x", 9001), ("/x", 9001)])
def test_upstreams(ask, path, port):
    assert ask(SHOP + path).told["port"] == port


def test_a_dead_upstream_is_asked_again_each_time(host, ask):
    assert [ask(f"{SHOP}/dead/").status for _each in range(3)] == [502] * 3
    assert "no live upstreams" not in host.file("/var/log/nginx/error.log").content_string


def test_an_upstream_with_tls(ask):
    assert ask(f"{SHOP}/secure/x").told["path"] == "/x"


def test_a_body_that_is_too_large(ask):
    assert ask(f"{SHOP}/", "-d", "x" * 2000).status == 200
    assert ask(f"{SHOP}/", "-H", "Content-Length: 2000000", "-d", "x", "--http1.1").status == 413


@pytest.mark.parametrize("path", ["/static../secret", "/static/../secret", "/static/%2e%2e/secret", "/static/.env"])
def test_nothing_beside_the_files_is_served(ask, path):
    answer = ask(SHOP + path)
    # What lies elsewhere is the application's business.
    assert answer.status == 403 or answer.told["path"] == path


def test_files(ask):
    assert ask(f"{SHOP}/robots.txt").body == "the robots"
    assert ask("https://pages.example.org:8443/any/page").body == "the index"
    assert ask("https://pages.example.org:8443/static/app.js").status == 200
    assert ask(f"{SHOP}/plain/").body.startswith("// a long script")


@pytest.mark.parametrize(
    ("path", "accepted", "expected"),
    [
        ("/static/app.js", "gzip", "gzip"),
        ("/static/app.js", "gzip, br", "br"),
        ("/", "gzip", "gzip"),
        ("/plain/app.js", "gzip, br", ""),
        ("/robots.txt", "gzip", ""),
    ],
)
def test_compression(ask, path, accepted, expected):
    assert (
        ask(SHOP + path, "-I", "-X", "GET", "-H", f"Accept-Encoding: {accepted}").header("Content-Encoding") == expected
    )


def test_the_client_s_address_is_believed_from_the_declared_proxy_alone(ask):
    words = ("-H", "X-Client: 203.0.113.7")
    assert ask(f"{SHOP}/", "--interface", "127.0.0.9", *words, inside="127.0.0.1").sent("X-Real-IP") == "203.0.113.7"
    assert ask(f"{SHOP}/", "--interface", "127.0.0.8", *words, inside="127.0.0.1").sent("X-Real-IP") == "127.0.0.8"


# --- log, status, package ---------------------------------------------------------------------------------------------


def test_the_log_is_json(host, ask):
    sent = ask(f"{SHOP}/logged?x=%22", "-A", 'an "agent"\\').sent("X-Request-ID")
    lines = [json.loads(line) for line in host.file("/var/log/nginx/shop.log").content_string.splitlines()]
    (mine,) = [line for line in lines if line["request_id"] == sent]
    assert mine["uri"] == "/logged?x=%22"
    assert mine["user_agent"] == 'an "agent"\\'
    assert (mine["status"], mine["host"], mine["upstream_addr"]) == (200, "shop.example.org", "127.0.0.1:9001")
    assert isinstance(mine["request_time"], float)
    assert float(mine["upstream_response_time"]) >= 0


def test_other_sites_log_elsewhere(host, ask):
    ask("http://plain.example.org/combined")
    assert '"GET /combined HTTP/1.1" 200' in host.file("/var/log/nginx/all.log").content_string


@pytest.mark.parametrize("name", ["all", "shop", "error"])
def test_logs_are_rotated_and_written_on(host, ask, name):
    host.check_output("logrotate -f /etc/logrotate.d/nginx")
    ask(f"{SHOP}/after"), ask("http://plain.example.org/after")
    log = host.file(f"/var/log/nginx/{name}.log")
    assert (log.user, log.group, log.mode) == ("www-data", "adm", 0o640)
    if name != "error":
        until(lambda: "/after" in host.file(log.path).content_string, 5, "a line in the new log")


def test_the_maintenance_page_is_of_this_host_alone(host, ask):
    head = host.check_output("curl -gsi http://[::1]:8089/any").replace("\r", "")
    assert head.startswith("HTTP/1.1 503 ")
    assert "\nRetry-After: 60\n" in head
    assert ask("http://shop.example.org:8089/").status == 0


def test_the_status(host):
    assert "Active connections" in host.check_output("curl -gs http://[::1]:8088/counters")
    running = host.check_output("curl -gs http://[::1]:8088/generation")
    assert f"shipshape/{running}/nginx.conf" in host.check_output("readlink /etc/nginx/nginx.conf")


def test_nothing_is_left_to_warn_of(host):
    found = host.run("nginx -t")
    assert found.rc == 0
    assert "warn" not in found.stderr


def test_worker_settings(host):
    whole = host.check_output("nginx -T 2>/dev/null")
    for directive in ("worker_processes 2", "worker_connections 1024", "worker_rlimit_nofile 8192", "send_timeout 30s"):
        assert f"{directive};" in whole
    assert host.check_output("ps -C nginx -o args=").count("worker process") == 2
