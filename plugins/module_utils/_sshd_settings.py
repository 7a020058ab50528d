# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sshd_config that a host shall have, from the role's options and what the host's OpenSSH can do.

Pure functions: no I/O and no Ansible imports. A settings dictionary maps a keyword of sshd_config(5) to its lines,
always a list, in the order in which they are written.
"""

from __future__ import annotations

import ipaddress
from typing import Any, Iterable

# The lists that ssh-audit 3.9 asks for in its built-in policies (Debian 12 v3, Debian 13 v1, Ubuntu 22.04 v6 and
# 24.04 v2), by the first OpenSSH version that they fit. What the host's OpenSSH does not have is left out.
_AEAD = [
    "chacha20-poly1305@openssh.com",
    "aes256-gcm@openssh.com",
    "aes256-ctr",
    "aes192-ctr",
    "aes128-gcm@openssh.com",
    "aes128-ctr",
]
_SHA256_FIRST = ["hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "umac-128-etm@openssh.com"]
_SHA512_FIRST = ["hmac-sha2-512-etm@openssh.com", "hmac-sha2-256-etm@openssh.com", "umac-128-etm@openssh.com"]
_SNTRUP = ["sntrup761x25519-sha512", "sntrup761x25519-sha512@openssh.com"]
_CURVE = ["curve25519-sha256", "curve25519-sha256@libssh.org"]
_GEX = "diffie-hellman-group-exchange-sha256"
_POLICY = [
    # Since 9.9 two post-quantum exchanges are at hand, and nothing else is offered.
    ((9, 9), {"kex": ["mlkem768x25519-sha256", *_SNTRUP], "ciphers": _AEAD, "macs": _SHA512_FIRST}),
    (
        (9, 6),
        {
            "kex": [_SNTRUP[1], *_CURVE, "diffie-hellman-group18-sha512", _GEX, "diffie-hellman-group16-sha512"],
            "ciphers": _AEAD,
            "macs": _SHA512_FIRST,
        },
    ),
    (
        (0, 0),
        {
            "kex": [*_SNTRUP, *_CURVE, "diffie-hellman-group16-sha512", "diffie-hellman-group18-sha512", _GEX],
            "ciphers": _AEAD,
            "macs": _SHA256_FIRST,
        },
    ),
]
# For clients of the last ten years: nothing that is known to be weak, but also exchanges that are not post-quantum
# and MACs that are not encrypt-then-mac.
_COMPATIBLE = {
    "kex": [
        "mlkem768x25519-sha256",
        *_SNTRUP,
        *_CURVE,
        "diffie-hellman-group16-sha512",
        "diffie-hellman-group18-sha512",
        _GEX,
        "diffie-hellman-group14-sha256",
    ],
    "ciphers": _AEAD,
    "macs": [*_SHA512_FIRST, "hmac-sha2-512", "hmac-sha2-256"],
}
_SIGNATURES = {
    "ed25519": ["ssh-ed25519", "ssh-ed25519-cert-v01@openssh.com"],
    "rsa": [
        "rsa-sha2-512",
        "rsa-sha2-256",
        "rsa-sha2-512-cert-v01@openssh.com",
        "rsa-sha2-256-cert-v01@openssh.com",
    ],
    "ecdsa": ["ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"],
}
# Keys of users do not depend on which host keys there are.
_USER_KEYS = [
    *_SIGNATURES["ed25519"],
    *_SIGNATURES["rsa"],
    "sk-ssh-ed25519@openssh.com",
    "sk-ssh-ed25519-cert-v01@openssh.com",
]

# Keywords whose value is an option of the role, as it is.
_CHOSEN = {
    "AddressFamily": "sshd_address_family",
    "ListenAddress": "sshd_listen_addresses",
    "PermitRootLogin": "sshd_permit_root_login",
    "PasswordAuthentication": "sshd_password_authentication",
    "KbdInteractiveAuthentication": "sshd_kbd_interactive_authentication",
    "AllowUsers": "sshd_allow_users",
    "AllowGroups": "sshd_allow_groups",
    "DenyUsers": "sshd_deny_users",
    "DenyGroups": "sshd_deny_groups",
    "LoginGraceTime": "sshd_login_grace_time",
    "MaxAuthTries": "sshd_max_auth_tries",
    "MaxSessions": "sshd_max_sessions",
    "MaxStartups": "sshd_max_startups",
    "ClientAliveInterval": "sshd_client_alive_interval",
    "ClientAliveCountMax": "sshd_client_alive_count_max",
    "AllowTcpForwarding": "sshd_allow_tcp_forwarding",
    "AllowAgentForwarding": "sshd_allow_agent_forwarding",
    "LogLevel": "sshd_log_level",
}
_FILES = {"Banner": "sshd_banner", "TrustedUserCAKeys": "sshd_trusted_user_ca_keys"}
# What hardly anybody wants otherwise; who does has the raw options.
_FIXED = {
    "PubkeyAuthentication": True,
    "PermitEmptyPasswords": False,
    "HostbasedAuthentication": False,
    "IgnoreRhosts": True,
    "GSSAPIAuthentication": False,
    "KerberosAuthentication": False,
    "UsePAM": True,
    "StrictModes": True,
    "PermitUserEnvironment": False,
    "TCPKeepAlive": False,
    "AllowStreamLocalForwarding": False,
    "GatewayPorts": False,
    "PermitTunnel": False,
    "X11Forwarding": False,
    "Compression": False,
    "UseDNS": False,
    "DebianBanner": False,
}

HOST_KEY_PATHS = {
    "ed25519": "/etc/ssh/ssh_host_ed25519_key",
    # A file of its own: the distribution's RSA key has 3072 bits, and a host key is not overwritten.
    "rsa": "/etc/ssh/ssh_host_rsa4096_key",
    "ecdsa": "/etc/ssh/ssh_host_ecdsa_key",
}


def version_tuple(version: str) -> tuple[int, int]:
    """C(9.2p1) as (9, 2)."""
    major, _dot, rest = version.partition(".")
    minor = "".join(character for character in rest.partition("p")[0] if character.isdigit())
    return int(major or 0), int(minor or 0)


def algorithms(profile: str, version: str, supported: dict[str, list[str]]) -> dict[str, list[str]]:
    """The profile's lists without what this OpenSSH does not have."""
    wanted = _COMPATIBLE
    if profile == "policy":
        wanted = next(lists for first, lists in _POLICY if version_tuple(version) >= first)
    return {kind: [name for name in names if name in supported[kind]] for kind, names in wanted.items()}


def exempt_addresses(networks: Iterable[str], controllers: Iterable[str]) -> list[str]:
    """The networks, and the controllers' own addresses where none of them covers it.

    An address is left out where a network covers it, so that two controllers write the same file.
    """
    names = list(dict.fromkeys(networks))
    for controller in controllers:
        if not covered(controller, names):
            names.append(str(_address(controller)))
    return names


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Without a zone; an IPv4 address may come in IPv6 notation."""
    found = ipaddress.ip_address(text.partition("%")[0])
    return getattr(found, "ipv4_mapped", None) or found


def covered(address: str, networks: Iterable[str]) -> bool:
    """Whether the address lies in one of the networks."""
    found = _address(address)
    parsed = (ipaddress.ip_network(network, strict=False) for network in networks)
    return any(found.version == network.version and found in network for network in parsed)


def _yes_no(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _lines(value: Any) -> list[str]:
    return [_yes_no(item) for item in value] if isinstance(value, (list, tuple)) else [_yes_no(value)]


def _key_settings(options: dict[str, Any], info: dict[str, Any]) -> dict[str, Any]:
    """Algorithms, host keys and the keys that users may have."""
    supported = info["algorithms"]
    chosen = algorithms(options["sshd_profile"], info["version"], supported)
    for kind in chosen:
        # A list that the user gives is taken as it is; preflight names what the host does not have.
        chosen[kind] = options[f"sshd_{kind}"] or chosen[kind]
    signatures = [name for key in options["sshd_host_keys"] for name in _SIGNATURES[key]]
    users = _USER_KEYS + ([] if options["sshd_profile"] == "policy" else _SIGNATURES["ecdsa"])
    settings: dict[str, Any] = {
        "HostKey": [HOST_KEY_PATHS[key] for key in options["sshd_host_keys"]],
        "KexAlgorithms": ",".join(chosen["kex"]),
        "Ciphers": ",".join(chosen["ciphers"]),
        "MACs": ",".join(chosen["macs"]),
        "HostKeyAlgorithms": ",".join(name for name in signatures if name in supported["host_key"]),
        "PubkeyAcceptedAlgorithms": ",".join(name for name in users if name in supported["host_key"]),
    }
    if version_tuple(info["version"]) >= (9, 1):
        # What BSI TR-02102-4 and NIST SP 800-57 ask of keys in use beyond 2030.
        settings["RequiredRSASize"] = 3072
    return settings


def build(options: dict[str, Any], info: dict[str, Any], extra_ports: Iterable[int] = ()) -> dict[str, list[str]]:
    """All settings, from the role's options (C(sshd_*)), the host's answers and ports to keep open for now."""
    settings: dict[str, Any] = {
        "Port": list(dict.fromkeys([*options["sshd_ports"], *extra_ports])),
        **_key_settings(options, info),
        **{keyword: options[option] for keyword, option in _CHOSEN.items()},
        **{keyword: options[option] or "none" for keyword, option in _FILES.items()},
        **_FIXED,
    }
    if version_tuple(info["version"]) >= (9, 8):
        controller = (info.get("connection") or {}).get("client")
        settings["PerSourcePenalties"] = True
        controllers = [*options["sshd_controller_addresses"], *([controller] if controller else [])]
        settings["PerSourcePenaltyExemptList"] = ",".join(exempt_addresses(options["sshd_admin_networks"], controllers))
    settings = _overridden(settings, options["sshd_config"])
    return {key: _lines(value) for key, value in settings.items() if value not in ("", [], None)}


def _overridden(settings: dict[str, Any], raw: dict[str, Any]) -> dict[str, Any]:
    """The raw options win over the named ones, whatever their spelling; null leaves a keyword to the distribution."""
    spelling = {key.lower(): key for key in settings}
    merged = dict(settings)
    for key, value in raw.items():
        merged[spelling.get(key.lower(), key)] = value
    return merged


def match_keywords(options: dict[str, Any]) -> list[str]:
    """Keywords that the Match blocks set."""
    return [key for block in options["sshd_match"] for key in block["settings"]]


def match_users(options: dict[str, Any]) -> list[str]:
    """Users that a Match block names by themselves: what it does for them can be read."""
    users = []
    for block in options["sshd_match"]:
        words = block["criteria"].split()
        if len(words) == 2 and words[0].lower() == "user" and not set(words[1]) & set("*?!,"):
            users.append(words[1])
    return users
