# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: command_files
short_description: The files of the host command shipshape
version_added: 0.1.0
author:
  - The shipshape.stack maintainers (@shipshape)
description:
  - Returns the paths, on the controller, of all files that the command C(shipshape) needs on a host. Internal to the
    roles of this collection which bring it there.
options: {}
"""

EXAMPLES = r"""
- name: Say what the command is made of
  ansible.builtin.debug:
    msg: "{{ query('shipshape.stack.command_files') }}"
"""

RETURN = r"""
_raw:
  description: Paths, sorted.
  type: list
  elements: path
"""

from pathlib import Path

from ansible.plugins.lookup import LookupBase
from ansible_collections.shipshape.stack.plugins.module_utils import _command_files


class LookupModule(LookupBase):
    """What Ansible calls."""

    def run(self, terms, variables=None, **kwargs):
        return _command_files.command_files(Path(_command_files.__file__).parent)
