"""Make shipshape.stack.* the checkout for plain pytest, whatever the checkout is called."""

from __future__ import annotations

import pathlib

import hypothesis
from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder

ROOT = pathlib.Path(__file__).resolve().parent.parent
LINK = ROOT / ".ansible/collections/ansible_collections/shipshape/stack"

LINK.parent.mkdir(parents=True, exist_ok=True)
if not LINK.is_symlink():
    LINK.symlink_to("../../../..")
_AnsibleCollectionFinder(paths=[str(ROOT / ".ansible/collections")])._install()

# A machine that does something else as well is slow, and no property is wrong for that.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")
