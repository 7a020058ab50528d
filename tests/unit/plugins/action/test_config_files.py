"""What the action plugin sends to the host, and what it refuses before it sends anything."""

from __future__ import annotations

import base64
import json
import zlib
from unittest.mock import MagicMock

import pytest
from ansible.errors import AnsibleActionFail
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.shipshape.stack.plugins.action.config_files import ActionModule, clean


@pytest.fixture
def folder(tmp_path):
    for name in ("templates", "files"):
        (tmp_path / name).mkdir()
    return tmp_path


@pytest.fixture
def act(folder, monkeypatch):
    """Run the plugin with a role folder; returns the module's parameters and the contents that went with them."""

    def run(*files, **variables):
        sent = {}
        loader = DataLoader()
        loader.set_basedir(str(folder))
        task = MagicMock(args={"files": list(files)}, async_val=0, check_mode=False)
        task.get_search_path.return_value = [str(folder)]
        templar = Templar(loader=loader, variables=variables)
        plugin = ActionModule(task, MagicMock(), MagicMock(), loader, templar, MagicMock())
        monkeypatch.setattr(
            plugin, "_execute_module", lambda name, module_args, task_vars: sent.update(module_args) or {}
        )
        monkeypatch.setattr(plugin, "_remove_tmp_path", lambda path: None)
        plugin.run(None, {"ansible_search_path": [str(folder)], **variables})
        packed = json.loads(zlib.decompress(base64.b64decode(sent["payload"]))) if "payload" in sent else {}
        return sent, {dest: base64.b64decode(text) for dest, text in packed.items()}

    return run


def test_template(folder, act):
    (folder / "templates/a.j2").write_text(
        "{% for word in words %}\n  - {{ word }} {{ extra }}\n{% endfor %}\n"
        "# {{ ansible_managed }} {{ template_path }} {{ template_destpath }}\n{% include 'b.j2' %}\nend\n\n"
    )
    (folder / "templates/b.j2").write_text("included\n")
    sent, contents = act({"dest": "/a", "template": "a.j2", "vars": {"extra": "!"}, "mode": "0600"}, words=["x", "ÿ"])
    text = contents["/a"].decode()
    assert text == "  - x !\n  - ÿ !\n# Ansible managed a.j2 /a\nincludedend\n\n"
    assert sent["files"] == [{"dest": "/a", "template": "a.j2", "mode": "0600"}]


def test_sources(folder, act):
    binary = bytes(range(256))
    (folder / "files/bin").write_bytes(binary)
    sent, contents = act(
        {"dest": "/a", "content": "secret {{ not rendered again }}", "mode": "0600"},
        {"dest": "/b", "src": "bin"},
        {"dest": "/c", "content": {"k": [1]}},
        {"dest": "/d", "content": ""},
        {"dest": "/l", "link": "a"},
        {"dest": "/g", "state": "absent"},
    )
    assert contents == {
        "/a": b"secret {{ not rendered again }}",
        "/b": binary,
        "/c": b'{"k": [1]}',
        "/d": b"",
    }
    assert "secret" not in json.dumps(sent)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"template": "x"}, r"files\[0\] has no dest"),
        ({"dest": "/a"}, r"files\[0\] \(/a\): a file needs exactly one of template, content, src; given: none"),
        ({"dest": "/a", "template": "none.j2"}, r"files\[0\] \(/a\): .*none.j2"),
        ({"dest": "/a", "template": "undefined.j2"}, r"files\[0\] \(/a\): template .*undefined.j2: .*nowhere"),
        ({"dest": "/a", "template": "syntax.j2"}, r"files\[0\] \(/a\): template .*syntax.j2: "),
        ({"dest": "/a", "template": "latin.j2"}, "is not UTF-8"),
        ({"dest": "/a", "src": "sub"}, "is a directory"),
    ],
)
def test_refused(folder, act, entry, message):
    (folder / "templates/undefined.j2").write_text("{{ nowhere }}")
    (folder / "templates/syntax.j2").write_text("{% if %}")
    (folder / "templates/latin.j2").write_bytes(b"\xe4")
    (folder / "files/sub").mkdir()
    with pytest.raises(AnsibleActionFail, match=message):
        act(entry)


def test_omit_inside_lists():
    assert clean({"a": ["x", "OMIT"], "b": "OMIT", "c": {"d": "OMIT"}}, "OMIT") == {"a": ["x"], "c": {}}
    assert clean([{"a": 1}], None) == [{"a": 1}]
