# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters over the options of the role certbot."""

from __future__ import annotations

from ansible_collections.shipshape.stack.plugins.module_utils import _certbot_model as model

PREFIX = "certbot_"


def _bare(options):
    return {name[len(PREFIX) :]: value for name, value in options.items()}


class FilterModule:
    """The filters by name."""

    def filters(self):
        return {
            "certbot_deployment": lambda options: model.deployment(_bare(options)),
            "certbot_dns_plugins": lambda options: model.plugins(_bare(options)),
            "certbot_from_sites": model.from_sites,
            "certbot_problems": lambda options: model.problems(_bare(options)),
        }
