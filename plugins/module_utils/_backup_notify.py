# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell people and their monitoring how a run went: a webhook, mail, and a URL that expects to be called.

A run is not worse for a message that did not arrive, so that is told of, and changes no exit status.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

SECONDS = 10
SENDMAIL = "/usr/sbin/sendmail"


def message(host: str, schedule: str, report: Mapping[str, Any]) -> dict[str, Any]:
    """What is sent: no path of a secret, no output but the errors'."""
    state = "ok" if report["ok"] else "FAILED"
    lines = [f"backup {schedule} on {host}: {state}", *report["errors"]]
    lines += [f"{each['id']}: {each['message']}" for each in report["found"]]
    return {"host": host, "schedule": schedule, "ok": report["ok"], "set": report["name"], "text": "\n".join(lines)}


def tell(notify: Mapping[str, str], content: Mapping[str, Any]) -> Iterator[str]:
    """What did not arrive, and why."""
    if notify["ping"]:
        # As dead man's switches have it: a call is a sign of life, and one with /fail is an alarm at once.
        yield from _call("ping", notify["ping"] if content["ok"] else f"{notify['ping'].rstrip('/')}/fail", None)
    if content["ok"] and notify["on"] == "failure":
        return
    if notify["webhook"]:
        yield from _call("webhook", notify["webhook"], json.dumps(content).encode())
    if notify["mail"]:
        yield from _mail(notify["mail"], content)


def _call(what: str, url: str, data: bytes | None) -> Iterator[str]:
    if not url.startswith(("http://", "https://")):
        yield f"{what}: the URL must begin with http:// or https://"
        return
    request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"})  # noqa: S310
    try:
        with urllib.request.build_opener().open(request, timeout=SECONDS):
            pass
    except (OSError, ValueError, http.client.HTTPException) as exc:
        # The URL is a secret of many services.
        yield f"{what}: it was not told: {exc.code if isinstance(exc, urllib.error.HTTPError) else type(exc).__name__}"


def _mail(to: str, content: Mapping[str, Any]) -> Iterator[str]:
    if not Path(SENDMAIL).exists():
        yield f"mail: {SENDMAIL} is missing: install a mail server, or take notify.mail out"
        return
    subject, _newline, body = str(content["text"]).partition("\n")
    text = f"To: {to}\nSubject: {subject}\n\n{subject}\n{body}\n"
    try:
        done = subprocess.run([SENDMAIL, "-t"], input=text, text=True, check=False, timeout=60, capture_output=True)
    except (OSError, subprocess.TimeoutExpired) as exc:
        yield f"mail: it was not sent: {exc}"
        return
    if done.returncode:
        yield f"mail: it was not sent: {' '.join(done.stderr.split())[:300]}"
