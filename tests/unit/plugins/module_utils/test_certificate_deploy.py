# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the folder of a certificate to the services that use it: flipped, proven, or put back."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import replace

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils import _certificate_store as store
from ansible_collections.shipshape.stack.plugins.module_utils._certificate_deploy import (
    Spec,
    World,
    behind,
    deploy,
    pending,
    read_json,
    run_command,
    withdraw,
    write_json,
)
from ansible_collections.shipshape.stack.plugins.module_utils._certificate_hook import main
from ansible_collections.shipshape.stack.plugins.module_utils._certificate_services import Service

ONE, TWO = store.Pair(b"chain 1", b"key 1"), store.Pair(b"chain 2", b"key 2")


class Server:
    """Stands for nginx: takes what `current` leads to, or refuses."""

    def __init__(self, root):
        self.root, self.served, self.reloads, self.refuses = root, b"", 0, set()

    def __call__(self, _run):
        chain = open(os.path.join(store.current("shop", self.root), store.CHAIN), "rb").read()  # noqa: SIM115
        if chain in self.refuses:
            raise store.CertificateError("`nginx -t` refuses: [emerg] no")
        self.served, self.reloads = chain, self.reloads + 1
        return True


@pytest.fixture
def server(tmp_path):
    return Server(str(tmp_path / "tls"))


@pytest.fixture
def world(tmp_path, server, monkeypatch):
    monkeypatch.setattr(os, "fchown", lambda *_words: None)
    monkeypatch.setattr(os, "chown", lambda *_words: None)
    (tmp_path / "redis").mkdir()
    return World(
        nginx_root=str(tmp_path / "tls"),
        lock=str(tmp_path / "lock"),
        state=str(tmp_path / "state"),
        reload_nginx=server,
        services={name: Service(str(tmp_path / name / "tls"), lambda *_words: True) for name in ("redis", "valkey")},
    )


def placeholder(world):
    store.ensure_placeholder("shop", run_command, world.nginx_root)


def test_a_placeholder_is_made_once(world):
    root = world.nginx_root
    assert store.ensure_placeholder("shop", run_command, root)
    assert not store.ensure_placeholder("shop", run_command, root)
    assert store.is_placeholder("shop", root)
    folder = os.path.join(store.folder("shop", root), store.PLACEHOLDER)
    assert sorted(os.listdir(folder)) == [store.CHAIN, store.MAP_FILE, store.KEY]
    assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
    assert stat.S_IMODE(os.stat(os.path.join(folder, store.KEY)).st_mode) == 0o600


def test_a_link_that_leads_nowhere_gets_a_placeholder(world):
    placeholder(world)
    os.unlink(store.current("shop", world.nginx_root))
    os.symlink("gone", store.current("shop", world.nginx_root))
    assert store.ensure_placeholder("shop", run_command, world.nginx_root)
    assert store.is_placeholder("shop", world.nginx_root)


def test_a_certificate_is_deployed_once(world, server):
    placeholder(world)
    assert deploy("shop", ONE, Spec(), world) == (["nginx"], [])
    assert server.served == ONE.chain
    assert pending("shop", ONE.identity, Spec(), world) == []
    assert deploy("shop", ONE, Spec(), world) == ([], [])
    assert server.reloads == 1
    folder = os.path.join(store.folder("shop", world.nginx_root), ONE.identity)
    assert sorted(os.listdir(folder)) == [store.CHAIN, store.KEY]
    assert stat.S_IMODE(os.stat(os.path.join(folder, store.KEY)).st_mode) == 0o600


def test_what_no_browser_trusts_withholds_hsts(world):
    deploy("shop", store.Pair(b"chain 3", b"key", True), Spec(), world)
    assert os.path.exists(os.path.join(store.current("shop", world.nginx_root), store.MAP_FILE))


def test_the_one_before_is_kept_and_older_ones_are_not(world):
    placeholder(world)
    pairs = [store.Pair(b"chain %d" % number, b"key") for number in range(4)]
    for pair in pairs:
        assert deploy("shop", pair, Spec(), world)[1] == []
    found = sorted(os.listdir(store.folder("shop", world.nginx_root)))
    assert found == sorted([pairs[2].identity, pairs[3].identity, "current", store.PLACEHOLDER])


def test_a_refusal_puts_the_old_one_back(world, server):
    deploy("shop", ONE, Spec(), world)
    server.refuses = {TWO.chain}
    done, problems = deploy("shop", TWO, Spec(), world)
    assert done == []
    assert "shop: nginx: the old certificate goes on being served. `nginx -t` refuses: [emerg] no" in problems[0]
    assert store.target("shop", world.nginx_root) == ONE.identity
    assert server.served == ONE.chain
    assert pending("shop", TWO.identity, Spec(), world) == ["nginx"]
    server.refuses = set()
    assert deploy("shop", TWO, Spec(), world) == (["nginx"], [])


def test_a_kill_between_flip_and_reload_is_caught_up_with(world, server):
    deploy("shop", ONE, Spec(), world)

    def killed(_run):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        deploy("shop", TWO, Spec(), World(**{**vars(world), "reload_nginx": killed}))
    assert pending("shop", TWO.identity, Spec(), world) == ["nginx"]
    # Killed for good, with no time to put anything back:
    store.point("shop", TWO.identity, world.nginx_root)
    assert pending("shop", TWO.identity, Spec(), world) == ["nginx"]
    assert deploy("shop", TWO, Spec(), world) == (["nginx"], [])
    assert server.served == TWO.chain


def test_a_full_disk_leaves_the_old_one(world, monkeypatch):
    deploy("shop", ONE, Spec(), world)
    before = sorted(os.listdir(store.folder("shop", world.nginx_root)))

    def full(_handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    done, problems = deploy("shop", TWO, Spec(), world)
    assert done == []
    assert "No space left on device. The old certificate goes on being served" in problems[0]
    assert sorted(os.listdir(store.folder("shop", world.nginx_root))) == before
    assert store.target("shop", world.nginx_root) == ONE.identity


def test_one_that_refuses_does_not_keep_the_others_from_theirs(world, server):
    placeholder(world)
    server.refuses = {ONE.chain}
    spec = Spec(("nginx", "redis"), (("false",), ("true",)))
    done, problems = deploy("shop", ONE, spec, world)
    assert done == ["redis", "command true"]
    assert len(problems) == 2
    assert "`false` failed (rc 1)" in problems[1]
    assert pending("shop", ONE.identity, spec, world) == ["nginx", "command false"]
    assert store.target("shop", world.services["redis"].root) == ONE.identity


def test_a_service_that_the_host_does_not_have_is_waited_for(world, tmp_path):
    spec = Spec(("valkey",))
    assert deploy("shop", ONE, spec, world) == ([], [])
    (tmp_path / "valkey").mkdir()
    assert deploy("shop", ONE, spec, world) == (["valkey"], [])


def test_commands_are_run_once_for_each_certificate(world, tmp_path):
    log = tmp_path / "log"
    spec = Spec((), (("sh", "-c", f"echo run >>{log}"),))
    for pair in (ONE, ONE, TWO, TWO):
        assert deploy("shop", pair, spec, world)[1] == []
    assert log.read_text() == "run\nrun\n"


def borrow(world):
    """As nginx_config does it."""
    home = store.folder("shop", world.nginx_root)
    os.makedirs(os.path.join(home, store.BORROWED))
    for name, content in ((store.CHAIN, b"chain of another"), (store.KEY, b"key of another")):
        with open(os.path.join(home, store.BORROWED, name), "wb") as file:
            file.write(content)
    store.point("shop", store.BORROWED, world.nginx_root)
    return home


def test_what_is_borrowed_goes_with_the_first_of_its_own(world, server):
    home = borrow(world)
    assert not store.has_own("shop", world.nginx_root)
    assert not store.ensure_placeholder("shop", run_command, world.nginx_root)
    assert pending("shop", ONE.identity, Spec(), world) == ["nginx"]
    assert deploy("shop", ONE, Spec(), world) == (["nginx"], [])
    assert server.served == ONE.chain
    assert store.has_own("shop", world.nginx_root)
    assert sorted(os.listdir(home)) == sorted([ONE.identity, "current"])


def test_what_is_borrowed_is_served_while_nginx_refuses_its_own(world, server):
    home = borrow(world)
    server.refuses = {ONE.chain}
    assert deploy("shop", ONE, Spec(), world)[0] == []
    assert store.target("shop", world.nginx_root) == store.BORROWED
    assert server.served == b"chain of another"
    store.prune("shop", [], world.nginx_root)
    assert os.listdir(os.path.join(home, store.BORROWED))
    # What the record says was before somebody took the folder away.
    write_json(world.record, {"shop": {"nginx": ONE.identity}})
    assert behind("shop", ONE.identity, Spec(), world)
    server.refuses = set()
    assert deploy("shop", ONE, Spec(), world) == (["nginx"], [])


def test_what_is_borrowed_is_not_withdrawn(world, server):
    borrow(world)
    assert not withdraw("shop", Spec(), world)
    assert store.target("shop", world.nginx_root) == store.BORROWED
    assert server.reloads == 0


def test_a_copy_that_its_server_refuses_is_led_back(world):
    spec, root = Spec(("redis",)), world.services["redis"].root
    assert deploy("shop", ONE, spec, world) == (["redis"], [])

    def refuse(*_words):
        raise store.CertificateError("redis did not take the certificate: it says: ERR")

    refusing = replace(world, services={"redis": Service(root, refuse)})
    assert "it says: ERR" in deploy("shop", TWO, spec, refusing)[1][0]
    assert store.target("shop", root) == ONE.identity
    assert pending("shop", TWO.identity, spec, world) == ["redis"]
    assert deploy("shop", TWO, spec, world) == (["redis"], [])
    assert store.target("shop", root) == TWO.identity


@pytest.mark.parametrize("record", [{"shop": "no"}, {"shop": ["nginx"]}, {"shop": None}])
def test_a_record_of_another_form_is_none(world, record):
    write_json(world.record, {**record, "other": {"nginx": "x"}})
    assert deploy("shop", ONE, Spec(), world) == (["nginx"], [])
    assert read_json(world.record) == {"shop": {"nginx": ONE.identity}, "other": {"nginx": "x"}}


def test_back_to_the_placeholder(world, server):
    deploy("shop", ONE, Spec(), world)
    assert withdraw("shop", Spec(), world)
    assert store.is_placeholder("shop", world.nginx_root)
    assert server.reloads == 2
    assert not withdraw("shop", Spec(), world)
    assert deploy("shop", ONE, Spec(), world) == (["nginx"], [])


def test_a_refused_way_back_changes_nothing(world, server):
    deploy("shop", ONE, Spec(), world)

    def refuse(_run):
        raise store.CertificateError("no")

    with pytest.raises(store.CertificateError):
        withdraw("shop", Spec(), World(**{**vars(world), "reload_nginx": refuse}))
    assert store.target("shop", world.nginx_root) == ONE.identity


def test_one_at_a_time(tmp_path):
    path = str(tmp_path / "lock")
    with store.lock(path):
        second = store.lock(path, 0.2)
        with pytest.raises(store.CertificateError, match="another run holds the lock"):
            second.__enter__()
    with store.lock(path, 0.2):
        pass


@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_a_record_that_was_cut_short_is_none(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text)
    assert read_json(str(path)) == {}
    write_json(str(path), {"a": 1})
    assert read_json(str(path)) == {"a": 1}
    assert os.listdir(tmp_path) == ["x.json"]


# --- the hook ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def lineage(tmp_path):
    for name in ("shop", "other"):
        (tmp_path / "live" / name).mkdir(parents=True)
        (tmp_path / "live" / name / store.CHAIN).write_bytes(ONE.chain)
        (tmp_path / "live" / name / store.KEY).write_bytes(ONE.key)
    (tmp_path / "renewal").mkdir()
    write_json(str(tmp_path / "deploy.json"), {"names": {"shop": {"targets": ["nginx"], "commands": []}}})
    return tmp_path


def call(lineage, world, *arguments):
    return main(arguments, world, str(lineage / "deploy.json"), str(lineage / "live"))


def test_the_hook_as_certbot_calls_it(lineage, world, server, monkeypatch):
    placeholder(world)
    monkeypatch.setenv("RENEWED_LINEAGE", str(lineage / "live/shop"))
    assert call(lineage, world) == 0
    assert server.served == ONE.chain
    assert call(lineage, world) == 0
    assert server.reloads == 1


def test_the_hook_leaves_what_is_not_declared_alone(lineage, world, capsys):
    assert call(lineage, world, "other") == 0
    assert "not declared" in capsys.readouterr().out
    assert not os.path.exists(store.folder("other", world.nginx_root))


def test_the_hook_says_what_failed(lineage, world, server, capsys):
    placeholder(world)
    server.refuses = {ONE.chain}
    assert call(lineage, world, "shop") == 1
    assert "refuses: [emerg] no" in capsys.readouterr().err
    (lineage / "live/shop" / store.KEY).unlink()
    assert call(lineage, world, "shop") == 1


def test_the_hook_withholds_hsts_from_certificates_of_staging(lineage, world):
    url = "https://acme-staging-v02.api.letsencrypt.org/directory"
    (lineage / "renewal/shop.conf").write_text(f"[renewalparams]\nserver = {url}\n")
    assert call(lineage, world, "shop") == 0
    assert os.path.exists(os.path.join(store.current("shop", world.nginx_root), store.MAP_FILE))


def test_the_hook_without_a_name(lineage, world, monkeypatch):
    monkeypatch.delenv("RENEWED_LINEAGE", raising=False)
    assert call(lineage, world) == 3


def test_the_timer_brings_what_a_hook_could_not(lineage, world, server, capsys):
    placeholder(world)
    server.refuses = {ONE.chain}
    assert call(lineage, world, "shop") == 1
    assert call(lineage, world, "--pending") == 1  # and so the unit fails
    assert "refuses: [emerg] no" in capsys.readouterr().err
    server.refuses, server.reloads = set(), 0
    assert call(lineage, world, "--pending") == 0
    assert server.served == ONE.chain
    assert call(lineage, world, "--pending") == 0
    assert server.reloads == 1
    assert not os.path.exists(store.folder("other", world.nginx_root))


def test_the_timer_leaves_what_was_led_back_by_hand(lineage, world, server):
    deploy("shop", TWO, Spec(), world)
    deploy("shop", ONE, Spec(), world)
    store.point("shop", TWO.identity, world.nginx_root)
    assert call(lineage, world, "--pending") == 0
    assert store.target("shop", world.nginx_root) == TWO.identity
    (lineage / "live/shop" / store.CHAIN).write_bytes(b"chain 3")
    assert call(lineage, world, "--pending") == 0
    assert server.served == b"chain 3"


def test_the_timer_goes_on_to_the_next_name(lineage, world, server):
    commands = {name: {"targets": [], "commands": [[word]]} for name, word in (("other", "false"), ("shop", "true"))}
    write_json(str(lineage / "deploy.json"), {"names": {**commands, "not-issued": commands["shop"]}})
    assert call(lineage, world, "--pending") == 1
    assert read_json(world.record) == {"shop": {"command true": ONE.identity}}
