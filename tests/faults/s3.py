"""S3 for a test host: moto's server, which checks signatures, behind a proxy that fails as networks and servers do."""

from __future__ import annotations

import http.client
import subprocess
import threading
import time
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import create_server

import boto3

from .conftest import until

PORT_ON_HOST = 9000
ERROR = b"<Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>"
REGION = "us-east-1"
# The first of them S3 does not send where a bucket keeps no versions, and moto does, and then knows no such version.
HOP = ("x-amz-version-id", "connection", "transfer-encoding", "content-length", "keep-alive", "date", "server")


class Proxy(ThreadingHTTPServer):
    """Forwards, but for as many requests as the fault takes."""

    daemon_threads = True

    def __init__(self, upstream: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.upstream, self.lock, self.released = upstream, threading.Lock(), threading.Event()
        self.kind, self.left, self.methods, self.served = "", 0, (), 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def take(self, method: str) -> str:
        with self.lock:
            if not self.left or method not in self.methods:
                return ""
            self.left -= 1
            self.served += 1
            return self.kind

    @contextmanager
    def fault(self, kind: str, count: int = 10**9, methods: tuple[str, ...] = ("GET", "HEAD", "PUT", "POST", "DELETE")):
        self.kind, self.left, self.methods, self.served = kind, count, methods, 0
        self.released.clear()
        try:
            yield
        finally:
            self.left = 0
            self.released.set()
        assert self.served, f"the fault {kind} was never met"

    def handle_error(self, request, client_address) -> None:
        """A client that has gone is part of the tests."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def log_message(self, *_words) -> None:
        """Nothing."""

    def relay(self) -> None:
        kind = self.server.take(self.command)
        length = int(self.headers.get("Content-Length") or 0)
        if kind == "cut" and self.command in ("PUT", "POST"):
            self.rfile.read(length // 2)
            self.close_connection = True
            return
        body = self.rfile.read(length)
        if kind == "hang":
            self.server.released.wait()
            self.close_connection = True
            return
        status, headers, content = (500, [], ERROR) if kind == "500" else self.forward(body)
        if kind == "corrupt" and status in (200, 206) and content:
            middle = len(content) // 2
            content = content[:middle] + bytes([content[middle] ^ 0x55]) + content[middle + 1 :]
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in HOP:
                self.send_header(name, value)
        size = next((v for n, v in headers if n.lower() == "content-length"), "0")
        self.send_header("Content-Length", size if self.command == "HEAD" and kind != "500" else str(len(content)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if kind == "cut":
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
            return
        self.wfile.write(content)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = relay

    def forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.upstream, timeout=60)
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in ("connection", "expect"):
                connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        found = answer.status, answer.getheaders(), answer.read()
        connection.close()
        return found


class S3:
    """`key` and `secret` are those of an account; whoever has others is refused."""

    def __init__(self) -> None:
        with create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.server = subprocess.Popen(
            ["moto_server", "-H", "127.0.0.1", "-p", str(self.port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.proxy, self.tunnel = Proxy(self.port), None
        until(lambda: self._post("reset-auth", b"1000000"), 60, "moto's server answers")
        iam = self._client("iam", "root", "root")
        iam.create_user(UserName="shop")
        policy = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}'
        iam.put_user_policy(UserName="shop", PolicyName="all", PolicyDocument=policy)
        account = iam.create_access_key(UserName="shop")["AccessKey"]
        self.key, self.secret = account["AccessKeyId"], account["SecretAccessKey"]
        self._post("reset-auth", b"0")
        self.client = self._client("s3", self.key, self.secret)

    def _post(self, what: str, body: bytes) -> bool:
        try:
            headers = {"Content-Type": "text/plain"}  # what is called a form would be taken for one
            request = urllib.request.Request(f"http://127.0.0.1:{self.port}/moto-api/{what}", body, headers)
            return urllib.request.urlopen(request, timeout=5).status == 200
        except OSError:
            return False

    def _client(self, service: str, key: str, secret: str):
        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=f"http://127.0.0.1:{self.port}",
            aws_access_key_id=key,
            aws_secret_access_key=secret,
        )

    def reach(self, config: str, name: str) -> None:
        """The proxy is 127.0.0.1:9000 on the host."""
        where = f"{PORT_ON_HOST}:127.0.0.1:{self.proxy.server_port}"
        options = ["-o", "BatchMode=yes", "-o", "ExitOnForwardFailure=yes", "-o", "ControlPath=none"]
        self.tunnel = subprocess.Popen(["ssh", "-F", config, *options, "-N", "-R", where, name])
        time.sleep(1)
        assert self.tunnel.poll() is None

    def keys(self, bucket: str) -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return [each["Key"] for page in pages for each in page.get("Contents", [])]

    def flip(self, bucket: str, key: str) -> None:
        content = bytearray(self.client.get_object(Bucket=bucket, Key=key)["Body"].read())
        content[len(content) // 2] ^= 0x55
        self.client.put_object(Bucket=bucket, Key=key, Body=bytes(content))

    def drop(self, bucket: str) -> None:
        for key in self.keys(bucket):
            self.client.delete_object(Bucket=bucket, Key=key)
        self.client.delete_bucket(Bucket=bucket)

    def down(self) -> None:
        self.proxy.shutdown()
        for process in (self.tunnel, self.server):
            if process:
                process.terminate()
                process.wait()
