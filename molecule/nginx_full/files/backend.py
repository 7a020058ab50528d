"""An application that tells what reached it, on two ports and a socket, with websockets and careless headers."""

import http.server
import itertools
import json
import os
import socket
import threading
import time

CONNECTIONS = itertools.count(1)
SOCKET = "/run/backend/app.sock"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        super().setup()
        self.number, self.requests = next(CONNECTIONS), 0

    def address_string(self):
        return "-"

    def do_GET(self):
        self.requests += 1
        if self.headers.get("Upgrade") == "websocket" and self.headers.get("Connection") == "upgrade":
            self.connection.sendall(b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
            self.connection.sendall(self.connection.recv(100).upper())
            self.close_connection = True
            return
        length = int(self.headers.get("Content-Length") or 0)
        while length:
            length -= len(self.rfile.read(min(length, 65536)))
        if self.path.endswith("/slow"):
            time.sleep(2)
        code = int(self.path.rpartition("/status/")[2]) if "/status/" in self.path else 200
        body = b"" if code in (204, 304) else self.told()
        self.send_response(code)
        for name, value in {
            "Cache-Control": "private",
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Strict-Transport-Security": "max-age=1",
            "X-Frame-Options": "ALLOWALL",
            "x-powered-by": "a test",
        }.items():
            self.send_header(name, value)
        if code == 301:
            self.send_header("Location", "/elsewhere")
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def told(self):
        told = {
            "path": self.path,
            "port": self.server.server_port,
            "connection": self.number,
            "requests": self.requests,
            "headers": [[name.lower(), value] for name, value in self.headers.items()],
            "filler": "x" * 2000,
        }
        return json.dumps(told).encode()

    def log_message(self, *_words):
        pass


class Unix(http.server.ThreadingHTTPServer):
    address_family = socket.AF_UNIX

    def server_bind(self):
        if os.path.exists(SOCKET):
            os.unlink(SOCKET)
        self.socket.bind(SOCKET)
        os.chmod(SOCKET, 0o666)
        self.server_name, self.server_port = "unix", 0


servers = [http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler) for port in (9001, 9002)]
servers.append(Unix(SOCKET, Handler))
for each in servers:
    threading.Thread(target=each.serve_forever).start()
