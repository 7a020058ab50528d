# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Be another user for a while, where a server asks the system who calls. Standard library only."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Optional


@contextmanager
def acting_as(account: Optional[pwd.struct_passwd]) -> Iterator[None]:
    """Peer authentication looks at the effective user of whoever connects."""
    if account is None or os.geteuid() != 0:
        yield
        return
    group = os.getegid()
    os.setegid(account.pw_gid)
    os.seteuid(account.pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
