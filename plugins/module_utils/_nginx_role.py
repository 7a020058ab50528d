# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the options of the role nginx to the configuration of the module, and what is refused of them.

Pure functions: no I/O and no Ansible imports.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.shipshape.stack.plugins.module_utils import _nginx_model as model
from ansible_collections.shipshape.stack.plugins.module_utils._nginx_options import CONFIG

PREFIX = "nginx_"
# openssl makes the placeholders, and the unit's user and log folder come with the package.
PACKAGES = ("nginx", "openssl")
BROTLI = "libnginx-mod-http-brotli-filter"


def config(options: Mapping[str, Any]) -> dict[str, Any]:
    """The part of the options that is the configuration, without the role's prefix."""
    return {name: options[PREFIX + name] for name in CONFIG.fields if PREFIX + name in options}


def problems(options: Mapping[str, Any]) -> list[str]:
    """What the role refuses of its options, each with its path."""
    found = model.problems(config(options), PREFIX)
    seconds = options.get("nginx_reload_seconds", 1)
    if not 1 <= int(seconds) <= 3600:
        found.append(f"nginx_reload_seconds: {seconds} is not a number from 1 to 3600")
    return found


def packages(options: Mapping[str, Any]) -> list[str]:
    """What has to be installed for them."""
    sites = model.filled(config(options))["sites"]
    wanted = {each for site in sites for each in site["compression"]}
    wanted |= {each for site in sites for location in site["locations"] for each in location["compression"] or []}
    return [*PACKAGES, *([BROTLI] if "brotli" in wanted else [])]
