"""What nginx does when the role ran without a single variable, after a power cut."""

from __future__ import annotations

import contextlib
import socket
import ssl

import pytest
from scenario import until


@pytest.fixture(autouse=True)
def _as_root(host):
    with host.sudo():
        until(lambda: host.run("systemctl is-active nginx").stdout.strip() == "active", 20, "nginx, with the host")
        yield


def fetch(port, path):
    """On the host, without any tool that a minimal Debian lacks."""
    code = f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:{port}{path}').read().decode(), end='')"
    return f'python3 -c "{code}"'


def test_it_starts_with_the_host(host):
    assert host.service("nginx").is_enabled


def test_plain_requests_get_no_answer(address):
    with socket.create_connection((address, 80), timeout=5) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: anything.example.org\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(100) == b""


def test_no_certificate_is_shown(address):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection((address, 443), timeout=5) as connection, pytest.raises(ssl.SSLError):
        context.wrap_socket(connection, server_hostname="anything.example.org")


@pytest.mark.parametrize("port", [80, 443])
def test_ipv6_is_served_too(host, port):
    assert host.socket(f"tcp://:::{port}").is_listening


def test_the_status_is_for_the_host_alone(host, address):
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((address, 8081), timeout=5)
    assert "Active connections" in host.check_output(fetch(8081, "/stub_status"))


def test_the_workers_run_the_tree_that_is_linked(host):
    running = host.check_output(fetch(8081, "/generation")).strip()
    assert host.check_output("readlink /etc/nginx/nginx.conf").endswith(f"shipshape/{running}/nginx.conf")


def test_nginx_is_content_with_the_configuration(host):
    found = host.run("nginx -t")
    assert found.rc == 0
    assert "warn" not in found.stderr


def test_logs_belong_to_whom_the_system_s_rotation_gives_them(host):
    for name in ("access", "error"):
        log = host.file(f"/var/log/nginx/{name}.log")
        assert (log.user, log.group, log.mode) == ("www-data", "adm", 0o640)


def test_the_package_s_own_site_is_not_served(host):
    assert "sites-enabled" not in host.check_output("nginx -T 2>/dev/null")
