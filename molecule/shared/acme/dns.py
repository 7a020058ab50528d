"""Answers every name with this host's own address; names in /etc/pebble/refused do not exist.

Debian 12 has pebble without its test server, so this is what stands in for it: standard library, loopback only.
"""

from __future__ import annotations

import pathlib
import socket
import struct

PORT = 8053
REFUSED = pathlib.Path("/etc/pebble/refused")
IPV4, NO_SUCH_NAME = 1, 3


def own_address() -> str:
    """The address that the host has on the network, asked each time: a restart may give it another one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return probe.getsockname()[0]


def question(packet: bytes) -> tuple[str, int, int]:
    """The name, its type, and where the question ends."""
    labels, at = [], 12
    while packet[at]:
        labels.append(packet[at + 1 : at + 1 + packet[at]].decode("ascii", "replace").lower())
        at += 1 + packet[at]
    return ".".join(labels), struct.unpack("!H", packet[at + 1 : at + 3])[0], at + 5


def answer(packet: bytes) -> bytes:
    name, kind, end = question(packet)
    refused = name in (REFUSED.read_text(encoding="utf-8").split() if REFUSED.exists() else [])
    found = kind == IPV4 and not refused
    head = packet[:2] + struct.pack("!HHHHH", 0x8580 | (NO_SUCH_NAME if refused else 0), 1, int(found), 0, 0)
    record = b"\xc0\x0c" + struct.pack("!HHIH", IPV4, 1, 0, 4) + socket.inet_aton(own_address())
    return head + packet[12:end] + (record if found else b"")


def main() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", PORT))
        while True:
            packet, client = server.recvfrom(4096)
            try:
                server.sendto(answer(packet), client)
            except (IndexError, struct.error):
                continue  # not a question


if __name__ == "__main__":
    main()
