# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter option_defaults."""

from __future__ import annotations


def option_defaults(options, name):
    """The defaults of the keys of one option of type dict; a key without a default is not among them."""
    keys = options[name]["options"]
    return {key: each["default"] for key, each in keys.items() if "default" in each}


class FilterModule:
    """The filters by name."""

    def filters(self):
        return {"option_defaults": option_defaults}
