# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the role certbot: what each certificate is in full, and what is refused of them.

Pure functions: no I/O and no Ansible imports. Options come without the prefix of the role.
"""

from __future__ import annotations

import ipaddress
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

DIRECTORIES = {
    "production": "https://acme-v02.api.letsencrypt.org/directory",
    "staging": "https://acme-staging-v02.api.letsencrypt.org/directory",
}
PROVIDERS = ("acme", "files", "self_signed")
CHALLENGES = ("webroot", "standalone", "dns")
KEY_TYPES = ("ecdsa", "rsa")
TARGETS = ("nginx", "postgresql", "redis", "valkey")
# As Debian 12 and 13 have them packaged, and that read their credentials from a file.
PLUGINS = (
    "cloudflare", "digitalocean", "dnsimple", "gandi", "gehirn", "google", "linode", "ovh", "rfc2136", "sakuracloud",
)  # fmt: skip
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?")
PATH = re.compile(r"/[^\s,#\"'=]*")
PRIVATE = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----")
PEM = re.compile(r"-----BEGIN [A-Z0-9 ]+-----")
DEFAULTS: dict[str, Any] = {
    "state": "present",
    "domains": [],
    "provider": "acme",
    "challenge": "",
    "dns_plugin": "",
    "dns_propagation_seconds": 60,
    "key_type": "",
    "profile": "",
    "certificate": "",
    "deploy": ["nginx"],
    "commands": [],
}
MAX_DOMAINS = 100  # Let's Encrypt's limit of names in one certificate


def directory(value: str) -> str:
    return DIRECTORIES.get(value, value)


def complete(entry: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """One certificate with everything that it leaves to the role's options."""
    given = {key: value for key, value in entry.items() if value is not None}
    found = {**DEFAULTS, **given}
    found["challenge"] = found["challenge"] or options["challenge"]
    found["key_type"] = found["key_type"] or options["key_type"]
    found["profile"] = found["profile"] or options["profile"]
    found["commands"] = [split(command) for command in found["commands"]]
    return found


def split(command: Any) -> list[str]:
    """Words of a command, which no shell sees."""
    return [str(word) for word in command] if isinstance(command, (list, tuple)) else shlex.split(str(command))


def certificates(options: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [complete(entry, options) for entry in options["certificates"]]


def from_sites(sites: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What the sites of nginx need: a certificate with all names of the sites that share it."""
    found: dict[str, list[str]] = {}
    for site in sites:
        name = (site.get("tls") or {}).get("certificate")
        if name:
            known = found.setdefault(name, [])
            known += [each for each in site.get("server_names") or [] if each not in known]
    return [{"name": name, "domains": domains} for name, domains in found.items()]


def deployment(options: Mapping[str, Any]) -> dict[str, Any]:
    """What the hook on the host has to know: who uses which of certbot's certificates."""
    wanted = [each for each in certificates(options) if each["state"] == "present" and each["provider"] == "acme"]
    return {"names": {each["name"]: {"targets": each["deploy"], "commands": each["commands"]} for each in wanted}}


def plugins(options: Mapping[str, Any]) -> list[str]:
    """The DNS plugins in use."""
    found = certificates(options)
    return sorted(
        {each["dns_plugin"] for each in found if (each["provider"], each["challenge"]) == ("acme", "dns")} - {""}
    )


def credentials_file(plugin: str) -> str:
    return f"/etc/letsencrypt/shipshape/dns-{plugin}.ini"


# --- what is refused --------------------------------------------------------------------------------------------------


def domain_problem(value: Any) -> str:
    """Why it is not a name that a certificate can have, or ''."""
    text = str(value)
    try:
        text.encode("ascii")
    except UnicodeEncodeError:
        return "is not ASCII: write it as xn--..."
    try:
        ipaddress.ip_address(text)
    except ValueError:
        pass
    else:
        return "is an address: write a name"
    if text != text.lower():
        return "has capital letters: write it in small ones"
    labels = text.split(".")
    if labels[0] == "*":
        labels = labels[1:]
    if len(text) > 253 or len(labels) < 2 or not all(map(LABEL.fullmatch, labels)):
        return "is not the full name of a host, such as www.example.org"
    return ""


def _bad_domains(where: str, cert: Mapping[str, Any]) -> Iterator[str]:
    domains = cert["domains"]
    if not domains:
        yield f"{where}.domains is empty: name at least one"
    if len(domains) > MAX_DOMAINS:
        yield f"{where}.domains has {len(domains)} names: one certificate takes {MAX_DOMAINS}, so make several"
    for number, each in enumerate(domains):
        problem = domain_problem(each)
        if problem:
            yield f"{where}.domains[{number}]: {each!r} {problem}"
        elif str(each).startswith("*.") and cert["provider"] == "acme" and cert["challenge"] != "dns":
            yield f"{where}.domains[{number}]: {each!r} is proven by challenge: dns alone"
        if each in domains[:number]:
            yield f"{where}.domains[{number}]: {each!r} is there twice"


def _choices(where: str, cert: Mapping[str, Any]) -> Iterator[str]:
    known = {"state": ("present", "absent"), "provider": PROVIDERS, "challenge": CHALLENGES, "key_type": KEY_TYPES}
    for key, allowed in known.items():
        if cert[key] not in allowed:
            yield f"{where}.{key}: {cert[key]!r} is none of {', '.join(allowed)}"
    for number, each in enumerate(cert["deploy"]):
        if each not in TARGETS:
            yield f"{where}.deploy[{number}]: {each!r} is none of {', '.join(TARGETS)}"


def _bad_acme(where: str, cert: Mapping[str, Any], options: Mapping[str, Any]) -> Iterator[str]:
    if not options["agree_terms"]:
        yield f"{where}: certbot_agree_terms is false: read the terms of the certificate authority, and agree to them"
    if cert["certificate"]:
        yield f"{where}.certificate: the provider acme makes one: leave it out, or write provider: files"
    if cert["profile"] and not re.fullmatch(r"[A-Za-z0-9_-]+", str(cert["profile"])):
        yield f"{where}.profile: {cert['profile']!r} is not the name of a profile, such as shortlived"
    if cert["challenge"] != "dns":
        return
    if cert["dns_plugin"] not in PLUGINS:
        yield f"{where}.dns_plugin: {cert['dns_plugin']!r} is none of {', '.join(PLUGINS)}"
    elif cert["dns_plugin"] not in options["dns_credentials"]:
        yield f"{where}.dns_plugin: certbot_dns_credentials has nothing for {cert['dns_plugin']}"
    if not 0 <= int(cert["dns_propagation_seconds"]) <= 3600:
        yield f"{where}.dns_propagation_seconds: {cert['dns_propagation_seconds']} is not 0 to 3600"


def _bad_files(where: str, cert: Mapping[str, Any], options: Mapping[str, Any]) -> Iterator[str]:
    given = {f"{where}.certificate": cert["certificate"], f"certbot_private_keys.{cert['name']}": ""}
    given[f"certbot_private_keys.{cert['name']}"] = options["private_keys"].get(cert["name"], "")
    for name, value in given.items():
        if not value:
            yield f"{name} is missing: give PEM text, or the absolute path of a file on the host"
        elif not PEM.match(str(value).strip()) and not PATH.fullmatch(str(value).strip()):
            # It may be a key, so it is not repeated.
            yield f"{name} is neither PEM text nor the absolute path of a file on the host"
    if PRIVATE.search(str(cert["certificate"])):
        yield f"{where}.certificate holds a private key, too: certbot_private_keys is its place, where no log shows it"


def _bad_commands(where: str, entry: Mapping[str, Any]) -> Iterator[str]:
    for number, command in enumerate(entry.get("commands") or []):
        try:
            words = split(command)
        except ValueError as exc:
            yield f"{where}.commands[{number}]: {command!r} cannot be split into words ({exc})"
            continue
        if not words or not words[0].startswith("/"):
            yield f"{where}.commands[{number}]: {command!r} does not begin with the path of a program"


def _bad_entry(where: str, entry: Any, options: Mapping[str, Any]) -> Iterator[str]:
    if not isinstance(entry, Mapping):
        yield f"{where}: {entry!r} is not a certificate: write its name and domains"
        return
    for key in sorted(set(map(str, entry)) - {"name", *DEFAULTS}):
        yield f"{where}.{key} is not known: write one of name, {', '.join(DEFAULTS)}"
    name = str(entry.get("name") or "")
    if not NAME.fullmatch(name) or ".." in name:
        yield f"{where}.name: {name!r} is not a name: write letters, digits, dots and dashes, such as www.example.org"
    wrong = [key for key in ("domains", "deploy", "commands") if not isinstance(entry.get(key) or [], (list, tuple))]
    for key in wrong:
        yield f"{where}.{key}: {entry[key]!r} is not a list"
    commands = [] if "commands" in wrong else list(_bad_commands(where, entry))
    yield from commands
    if wrong or commands:
        return
    cert = complete({**entry, "name": name}, options)
    yield from _choices(where, cert)
    if cert["state"] == "absent":
        return
    yield from _bad_domains(where, cert)
    if cert["provider"] == "acme":
        yield from _bad_acme(where, cert, options)
    elif cert["provider"] == "files":
        yield from _bad_files(where, cert, options)


def _bad_options(options: Mapping[str, Any]) -> Iterator[str]:
    if str(options["directory"]) not in DIRECTORIES and not re.fullmatch(r"https://[^\s\"']+", options["directory"]):
        yield f"certbot_directory: {options['directory']!r} is neither production, staging nor an https:// URL"
    if options["email"] and not re.fullmatch(r"[^\s@\"']+@[^\s@\"']+\.[^\s@\"']+", str(options["email"])):
        yield f"certbot_email: {options['email']!r} is not an address"
    for key in ("webroot", "ca_file"):
        value = str(options[key])
        if (value or key == "webroot") and (not PATH.fullmatch(value) or value == "/"):
            yield f"certbot_{key}: {value!r} is not an absolute path without spaces and quotes"
    for key, least in (("retry_seconds", 60), ("retry_max_seconds", 60), ("renew_before_days", 0)):
        if int(options[key]) < least:
            yield f"certbot_{key} is {options[key]}: give {least} or more"
    for key in ("private_keys", "dns_credentials"):
        value = options[key]
        if not isinstance(value, Mapping) or not all(isinstance(each, str) for each in value.values()):
            # Secrets are in there, so nothing of it is repeated.
            yield f"certbot_{key}: write a name and a text for each"


def _unused(options: Mapping[str, Any]) -> Iterator[str]:
    entries = [each for each in options["certificates"] if isinstance(each, Mapping)]
    for name in sorted(set(map(str, options["private_keys"])) - {str(each.get("name")) for each in entries}):
        yield f"certbot_private_keys: there is no certificate {name} in certbot_certificates"
    for name in sorted(set(map(str, options["dns_credentials"])) - set(PLUGINS)):
        yield f"certbot_dns_credentials: {name} is none of {', '.join(PLUGINS)}"


def problems(options: Mapping[str, Any]) -> list[str]:
    """What is refused, each with the path of the wrong value and what to do. No secret is in them."""
    found = list(_bad_options(options))
    if found:
        return found
    found += _unused(options)
    seen: dict[str, int] = {}
    for number, entry in enumerate(options["certificates"]):
        where = f"certbot_certificates[{number}]"
        found += _bad_entry(where, entry, options)
        name = str(entry.get("name")) if isinstance(entry, Mapping) else ""
        if name in seen:
            found.append(f"{where}.name: {name!r} is certbot_certificates[{seen[name]}], too: each needs its own")
        seen.setdefault(name, number)
    return list(dict.fromkeys(found))
