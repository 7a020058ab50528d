# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One transaction for a Redis server: its files and what it runs on change together, or neither does."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.shipshape.stack.plugins.module_utils import _redis_apply as live
from ansible_collections.shipshape.stack.plugins.module_utils import _redis_host as host
from ansible_collections.shipshape.stack.plugins.module_utils._config_apply import Tools, converge, predict
from ansible_collections.shipshape.stack.plugins.module_utils._config_entries import parse
from ansible_collections.shipshape.stack.plugins.module_utils._config_files import read_text
from ansible_collections.shipshape.stack.plugins.module_utils._config_restore import ConfigError
from ansible_collections.shipshape.stack.plugins.module_utils._redis_plan import (
    RedisError,
    StrandedError,
    read_file,
)
from ansible_collections.shipshape.stack.plugins.module_utils._redis_wish import (
    Changes,
    Wish,
    certificate_missing,
    find_changes,
    imagine,
    refuse,
    with_manager,
)

APPLY = ["apply"]


def request(wish: Wish, absent: bool = False) -> Any:
    folder = os.path.dirname(wish.flavour.drop_in)
    if absent:
        # With the certificate that the role makes by modules of its own.
        own = [*wish.files(), *(f"{wish.flavour.folder}/shipshape.{suffix}" for suffix in ("crt", "key"))]
        params = {"name": wish.flavour.name, "files": [{"dest": path, "state": "absent"} for path in own]}
        return parse(params, {}, host.user_id, host.group_id)
    return _request(wish, wish.files(), [{"dest": folder, "state": "directory", "mode": "0755"}], [APPLY])


def _request(
    wish: Wish,
    files: Mapping[str, tuple[str, str, str, bool]],
    folders: Sequence[dict[str, Any]],
    validate: Sequence[Any],
) -> Any:
    entries = [
        {"dest": path, "mode": mode, "group": group, "no_log": hidden, "content": text}
        for path, (text, mode, group, hidden) in files.items()
    ]
    contents = {path: file[0].encode() for path, file in files.items()}
    params = {"name": wish.flavour.name, "files": [*folders, *entries], "validate": list(validate)}
    return parse(params, contents, host.user_id, host.group_id)


@dataclass
class Transaction:
    """The running server's part of a change."""

    wish: Wish
    server: host.Server
    changes: Changes
    restarting: bool
    save: str  # the live save points, which a restart may need others of
    hook: Callable[[str], None]
    restarted: bool = False
    appended: bool = False

    def prepare(self) -> None:
        """What has to be on the disk before the new configuration is."""
        old, new = self.changes.settings.get("appendonly", ("", ""))
        if new == "yes":
            live.append_on(self.server, self.wish.persist_seconds)
            self.appended = True
        elif old == "yes":
            live.dump(self.server, self.wish.persist_seconds)
        self.hook("prepared")

    def run(self) -> None:
        """Between the new files and the moment from which they stand."""
        if self.restarting:
            self._restart()
        else:
            self._set(self._values(1), forward=True)
        self.hook("applied")
        rest = find_changes(self.wish, self.server, self.changes.image)
        left = [key for key in (*rest.settings, *rest.users) if self.restarting or key not in rest.restart]
        if left:
            raise RedisError(f"the running server did not take: {', '.join(left)}")

    def undo(self) -> None:
        """The running server as it was; its files are the old ones already."""
        if self.restarted:
            live.restart(self.wish.flavour, self.wish.passwords)
            return
        if self.restarting:
            self.server.ask("CLIENT", "UNPAUSE")
            live.set_live(self.server, {"save": self.save})
        else:
            values = self._values(0)
            back_on = values.pop("appendonly", "") == "yes"
            self._set(values, forward=False)
            if back_on:
                live.append_on(self.server, self.wish.persist_seconds)
        if self.appended:
            live.set_live(self.server, {"appendonly": "no"})

    def _values(self, side: int) -> dict[str, str]:
        skipped = {*self.changes.restart, *(["appendonly"] if self.appended else [])}
        return {key: pair[side] for key, pair in self.changes.settings.items() if key not in skipped}

    def _set(self, values: dict[str, str], forward: bool) -> None:
        live.set_users(self.server, self.changes.users, forward)
        live.set_live(self.server, values)

    def _restart(self) -> None:
        has_log = self.server.ask("CONFIG", "GET", "appendonly")[1] == "yes"
        keeps_log = has_log and "appendonly" not in self.changes.settings
        before = live.secure(self.server, keeps_log, self.wish.persist_seconds)
        self.hook("secured")
        self.restarted = True
        self.server = live.restart(self.wish.flavour, self.wish.passwords)
        live.prove_kept(self.server, before)


def with_apply(tools: Tools, apply: Callable[[], None]) -> Tools:
    """The transaction of files calls its validator while it can still take everything back: that is us."""

    def run(argv: Sequence[str]) -> tuple[int, str, str]:
        if list(argv) != APPLY:
            return tools.run(argv)
        apply()
        return 0, "", ""

    return replace(tools, run=run)


def write(wish: Wish, tools: Tools, apply: Callable[[], None], asked: Any = None) -> dict[str, Any]:
    result = converge(asked or request(wish), with_apply(tools, apply))
    if result["pending_files"]:
        converge(parse({"name": wish.flavour.name, "state": "confirmed"}, {}, host.user_id, host.group_id), tools)
    return result


def restarts(wish: Wish, changes: Changes) -> bool:
    drop_in = read_text(wish.flavour.drop_in) != wish.files()[wish.flavour.drop_in][0]
    return bool(changes.restart or drop_in) and (wish.may_restart or "aclfile" in changes.restart)


def change(wish: Wish, tools: Tools, server: host.Server, changes: Changes) -> tuple[dict[str, Any], bool]:
    """Apply it all; returns what the files' transaction says, and whether the server was restarted."""
    restarting = restarts(wish, changes)
    transaction = Transaction(wish, server, changes, restarting, server.ask("CONFIG", "GET", "save")[1], tools.hook)
    try:
        if changes or restarting:
            transaction.prepare()
        result = write(wish, tools, transaction.run)
        if wish.flavour.drop_in in result["changed_files"] and not restarting:
            host.systemctl("daemon-reload")
        if not result["changed_files"] and (changes or restarting):  # then nobody called the validator
            transaction.run()
    except BaseException as exc:
        try:
            transaction.undo()
        except (RedisError, ConfigError, host.redis.RedisError) as second:
            raise StrandedError(
                f"{wish.flavour.unit} has its old files again, but does not run on them as before: {second}."
                f" What led to it: {exc}"
            ) from exc
        raise
    return result, transaction.restarted


def _start(wish: Wish, tools: Tools) -> None:
    """With the files that its data were written under, and the manager's login, which may have been lost."""
    flavour, files = wish.flavour, wish.files()
    users = read_text(flavour.users_file)
    if users:
        files = {path: files[path] for path in (flavour.password_file, flavour.users_file)}
        files[flavour.users_file] = (with_manager(users, wish.users_text), *files[flavour.users_file][1:])
        write(wish, tools, lambda: None, _request(wish, files, [], []))
    host.systemctl("daemon-reload")
    host.systemctl("reset-failed", flavour.unit, check=False)
    host.systemctl("start", flavour.unit)


def bring_up(wish: Wish, tools: Tools) -> None:
    """Start a server that is down with the files that its data were written under: the rest is changed live."""
    flavour = wish.flavour
    try:
        _start(wish, tools)
        return
    except RedisError as exc:
        old = read_file(read_text(flavour.file) or read_text(flavour.package_file))
        folder, append = wish.directives["dir"][-1], wish.directives["appendonly"][-1]
        if old.get("appendonly", "no") != append and os.listdir(folder):
            raise RedisError(
                f"{exc}. There are data in {folder} that an appendonly {append} would not find: mend"
                f" {flavour.file if read_text(flavour.file) else flavour.package_file} until it starts"
            ) from exc

    def start() -> None:
        host.systemctl("daemon-reload")
        host.systemctl("restart", flavour.unit)

    write(wish, tools, start)


def told(files: dict[str, Any], changes: Changes, wish: Wish, restarted: bool) -> dict[str, Any]:
    settings = list(changes.settings) if restarted else changes.live
    return {
        "changed": bool(files["changed"] or settings or changes.users or restarted),
        "changed_settings": settings,
        "changed_users": list(changes.users),
        "changed_files": files["changed_files"],
        "restarted": restarted,
        "restart_needed": [] if restarted else list(changes.restart),
        "diff": [*files["diff"], *changes.told(wish.flavour.unit)],
    }


def foresee(wish: Wish, tools: Tools) -> dict[str, Any]:
    """What can be said in check mode where no server can be asked: earlier tasks would have brought what it takes."""
    up = os.path.exists(wish.flavour.program) and host.unit_is_up(wish.flavour.unit)
    return {**told(predict(request(wish), tools), Changes(), wish, not up), "changed": True}


def ensure(wish: Wish, tools: Tools, check_mode: bool) -> dict[str, Any]:
    """The server as it is wanted, running and enabled."""
    unit = wish.flavour.unit
    if check_mode and (host.redis is None or not os.path.exists(wish.flavour.program) or certificate_missing(wish)):
        return foresee(wish, tools)
    up, enabled = host.unit_is_up(unit), host.unit_state(unit).get("UnitFileState") == "enabled"
    if not up:
        imagine(wish, {})
        if check_mode:
            return told(predict(request(wish), tools), Changes(), wish, True)
        bring_up(wish, tools)
    server = host.connect(wish.flavour, wish.passwords)
    changes = find_changes(wish, server)
    refuse(wish, server, changes)
    if check_mode:
        result = told(predict(request(wish), tools), changes, wish, restarts(wish, changes))
    else:
        files, restarted = change(wish, tools, server, changes)
        result = told(files, changes, wish, restarted or not up)
        if not enabled:
            host.systemctl("enable", unit)
    return {**result, "changed": result["changed"] or not enabled}


def save_all(wish: Wish, tools: Tools, up: bool) -> None:
    """Bring every key to the dump. A server that is down has to be started for that where an append-only file has them.

    The dump is older then, or there is none, and the package's configuration reads nothing else.
    """
    flavour, folder = wish.flavour, host.log_folder(wish.flavour)
    if up:
        live.secure(host.connect(flavour, wish.passwords), False, wish.persist_seconds)
    elif folder:
        try:
            _start(wish, tools)
        except RedisError as exc:
            raise RedisError(
                f"{exc}. Its keys are in {folder}, which a server without {flavour.file} does not read, so they have to"
                f" go to the dump first. Mend what keeps it from starting, or move {folder} away if nobody needs them"
            ) from exc
        try:
            live.secure(host.connect(flavour, wish.passwords), False, wish.persist_seconds)
        except RedisError as exc:
            raise StrandedError(
                f"{flavour.unit} was down, and was started as its keys have to go to the dump before its files go."
                f" It runs now, and nothing was removed. {exc}"
            ) from exc


def remove(wish: Wish, tools: Tools, check_mode: bool) -> dict[str, Any]:
    """Neither server nor files; the data are on the disk, where a server with any configuration finds them."""
    flavour, state = wish.flavour, host.unit_state(wish.flavour.unit)
    up, enabled = host.unit_is_up(flavour.unit), state.get("UnitFileState") == "enabled"
    if check_mode:
        files = predict(request(wish, absent=True), tools)
    else:
        save_all(wish, tools, up)
        if host.unit_is_up(flavour.unit) or enabled:
            host.systemctl("disable", "--now", flavour.unit)
        files = write(wish, tools, lambda: None, request(wish, absent=True))
        host.systemctl("daemon-reload")
    result = told(files, Changes(), wish, False)
    return {**result, "changed": result["changed"] or up or enabled}
