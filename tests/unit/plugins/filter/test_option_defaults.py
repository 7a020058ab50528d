# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Defaults of the keys of an option."""

from __future__ import annotations

from ansible_collections.shipshape.stack.plugins.filter.option_defaults import option_defaults


def test_keys_without_default_are_left_out():
    options = {"web_tls": {"type": "dict", "options": {"port": {"default": 443}, "off": {"default": False}, "key": {}}}}
    assert option_defaults(options, "web_tls") == {"port": 443, "off": False}
