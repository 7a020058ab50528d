# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters over apps: what is wrong with them, and what each role has to know of them."""

from __future__ import annotations

from ansible_collections.shipshape.stack.plugins.module_utils import _app_data as data
from ansible_collections.shipshape.stack.plugins.module_utils import _app_edge as edge
from ansible_collections.shipshape.stack.plugins.module_utils._app_checks import site_checks
from ansible_collections.shipshape.stack.plugins.module_utils._app_model import normal, split_secrets
from ansible_collections.shipshape.stack.plugins.module_utils._app_problems import app_problems
from ansible_collections.shipshape.stack.plugins.module_utils._app_stack_role import problems as app_stack_problems


def split(app):
    """An app and its secrets, by name."""
    left, secrets = split_secrets(app)
    return {"app": left, "secrets": secrets}


class FilterModule:
    """The filters by name."""

    def filters(self):
        return {
            "app_backups": data.backups,
            "app_checks": site_checks,
            "app_connected": data.connected,
            "app_databases": data.databases,
            "app_environment": data.environment,
            "app_limit_zones": edge.limit_zones,
            "app_memory_claims": data.memory_claims,
            "app_model": normal,
            "app_problems": app_problems,
            "app_redis_passwords": data.redis_passwords,
            "app_redis_users": data.redis_users,
            "app_role_passwords": data.role_passwords,
            "app_roles": data.roles,
            "app_sites": edge.sites,
            "app_split": split,
            "app_stack_problems": app_stack_problems,
            "app_upstreams": edge.upstreams,
        }
