# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be seen before the other tests log in with these passwords themselves."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.usefixtures("as_root")

SECRETS = {"shop": "shop-Secret-1", "reader": "reader-Secret-1", "faraway": "far-Secret-1", "boss": "boss-Secret-1"}


def test_no_secret_is_left_anywhere(host):
    """Neither in logs nor in files, apart from the client's own password file of these tests."""
    for secret in SECRETS.values():
        pattern = f"{secret[:-1]}[{secret[-1]}]"  # a search is logged, too, and shall not find itself
        places = "/etc /var/log /run/log /var/lib/shipshape /var/lib/postgresql /srv/shop /tmp /root/.ansible"
        assert host.run(f"grep --recursive --files-with-matches --text '{pattern}' {places}").stdout == ""
