# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Render on the controller what the module of this name writes on the host, in one remote call."""

from __future__ import annotations

import base64
import datetime
import json
import os
import pwd
import time
import zlib
from collections.abc import Mapping
from typing import Any

from ansible import constants as C
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.shipshape.stack.plugins.module_utils._config_entries import source_problem

try:
    from ansible.template import trust_as_template  # ansible-core >= 2.19
except ImportError:
    trust_as_template = None  # before that every string was trusted


def clean(value: Any, omit: Any) -> Any:
    """`omit` inside lists: ansible-core < 2.19 leaves its placeholder there."""
    if isinstance(value, Mapping):
        return {key: clean(each, omit) for key, each in value.items() if omit is None or each != omit}
    if isinstance(value, (list, tuple)):
        return [clean(each, omit) for each in value if omit is None or each != omit]
    return value


def managed(source: str) -> Any:
    """The default of `ansible_managed`, as ansible.builtin.template makes it."""
    text = C.config.get_config_value("DEFAULT_MANAGED_STR").format(
        host="{{ template_host }}", uid="{{ template_uid }}", file="{{ template_path }}"
    )
    text = time.strftime(text, time.localtime(os.path.getmtime(source)))
    return trust_as_template(text) if trust_as_template else text


def template_vars(name: str, source: str, dest: str) -> dict[str, Any]:
    found = os.stat(source)
    try:
        owner: str | int = pwd.getpwuid(found.st_uid).pw_name
    except KeyError:
        owner = found.st_uid
    return {
        "template_host": os.uname()[1],
        "template_path": name,
        "template_mtime": datetime.datetime.fromtimestamp(found.st_mtime),
        "template_uid": owner,
        "template_run_date": datetime.datetime.now(),
        "template_destpath": dest,
        "template_fullpath": source,
    }


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        task_vars = task_vars or {}
        args = clean(dict(self._task.args), task_vars.get("omit"))
        contents: dict[str, str] = {}
        entries = args.get("files") or []
        if not isinstance(entries, list):
            raise AnsibleActionFail(f"files is a {type(entries).__name__}, not a list. Write its entries with dashes")
        args["files"] = [self._entry(number, entry, task_vars, contents) for number, entry in enumerate(entries)]
        if "payload" in args:
            raise AnsibleActionFail(
                "payload is filled in by this plugin. Give `content`, `template` or `src` in `files`"
            )
        if contents:
            args["payload"] = base64.b64encode(zlib.compress(json.dumps(contents).encode())).decode()
        try:
            return self._execute_module("shipshape.stack.config_files", module_args=args, task_vars=task_vars)
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)

    def _entry(self, number: int, entry: Any, task_vars: dict[str, Any], contents: dict[str, str]) -> dict[str, Any]:
        """The entry without its content, which goes into `contents`."""
        if not isinstance(entry, Mapping) or not entry.get("dest"):
            raise AnsibleActionFail(f"files[{number}] has no dest. Give every entry one")
        dest = str(entry["dest"])
        problem = source_problem(entry)
        if problem:
            raise AnsibleActionFail(f"files[{number}] ({dest}): {problem}")
        kept = {key: value for key, value in entry.items() if key not in ("vars", "content")}
        where = f"files[{number}] ({dest})"
        if entry.get("template") is not None:
            content = self._render(str(entry["template"]), dest, entry.get("vars") or {}, task_vars, where)
        elif entry.get("src") is not None:
            content = self._copy(str(entry["src"]), where)
        elif entry.get("content") is not None:
            text, kept["content"] = entry["content"], ""  # given, but elsewhere
            content = (text if isinstance(text, str) else json.dumps(text)).encode("utf-8", "surrogateescape")
        else:
            return kept
        contents[dest] = base64.b64encode(content).decode()
        return kept

    def _find(self, folder: str, name: str, where: str) -> str:
        try:
            return self._find_needle(folder, name)
        except AnsibleError as exc:
            raise AnsibleActionFail(f"{where}: {exc}") from exc

    def _copy(self, name: str, where: str) -> bytes:
        source = self._find("files", name, where)
        if os.path.isdir(source):
            raise AnsibleActionFail(f"{where}: src {source} is a directory. Declare its files one by one")
        return self._read(source)

    def _read(self, source: str) -> bytes:
        """Its bytes, decrypted if it is a vault."""
        real = self._loader.get_real_file(source)
        try:
            with open(real, "rb") as handle:
                return handle.read()
        finally:
            self._loader.cleanup_tmp_file(real)

    def _render(self, name: str, dest: str, extra: Any, task_vars: dict[str, Any], where: str) -> bytes:
        source = self._find("templates", name, where)
        roots = [*task_vars.get("ansible_search_path", []), self._loader.get_basedir(), os.path.dirname(source)]
        variables = task_vars.copy()
        variables.update(template_vars(name, source, dest))
        if trust_as_template is None or "ansible_managed" not in variables:
            variables["ansible_managed"] = managed(source)
        variables.update(extra)
        try:
            text = self._read(source).decode("utf-8")
            result = self._template(text, [path for root in roots for path in (f"{root}/templates", root)], variables)
        except UnicodeDecodeError as exc:
            raise AnsibleActionFail(
                f"{where}: template {source} is not UTF-8 ({exc}). Use src for binary files"
            ) from exc
        except AnsibleError as exc:
            raise AnsibleActionFail(f"{where}: template {source}: {exc}") from exc
        return ("" if result is None else str(result)).encode("utf-8", "surrogateescape")

    def _template(self, text: str, searchpath: list[str], variables: dict[str, Any]) -> Any:
        overrides = {"trim_blocks": True, "lstrip_blocks": False}
        if trust_as_template:
            overrides["newline_sequence"] = "\n"  # type: ignore[assignment]
            templar = self._templar.copy_with_new_env(searchpath=searchpath, available_variables=variables)
            return templar.template(trust_as_template(text), escape_backslashes=False, overrides=overrides)
        from ansible.template import AnsibleEnvironment  # before 2.19: keeps numbers in templates text

        templar = self._templar.copy_with_new_env(
            environment_class=AnsibleEnvironment,
            searchpath=searchpath,
            newline_sequence="\n",
            available_variables=variables,
        )
        return templar.do_template(text, preserve_trailing_newlines=True, escape_backslashes=False, overrides=overrides)
