# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter postgresql_tuning."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.shipshape.stack.plugins.filter.postgresql_tuning import FilterModule
from ansible_collections.shipshape.stack.plugins.module_utils._postgresql_tuning import tune

MACHINE = {"memory_mb": 2048, "cpus": 2, "version": 17}
postgresql_tuning = FilterModule().filters()["postgresql_tuning"]


def test_the_answer_is_that_of_the_tuner():
    assert postgresql_tuning(MACHINE) == tune(MACHINE)


def test_a_bad_wish_is_an_error_of_the_filter():
    with pytest.raises(AnsibleFilterError, match="profile 'x' is not one of web, oltp, dw, mixed"):
        postgresql_tuning({**MACHINE, "profile": "x"})
