"""The files of a host: application profiles, and the settings that are written."""

from __future__ import annotations

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils._ufw_host import applications, loader_text, plain_files
from ansible_collections.shipshape.stack.plugins.module_utils._ufw_plan import (
    AFTER,
    CONF,
    DEFAULTS,
    DIRECTIONS,
    TARGETS,
    USER,
    Policy,
    read_policy,
)
from ansible_collections.shipshape.stack.plugins.module_utils._ufw_published import BEGIN, END
from ansible_collections.shipshape.stack.plugins.module_utils._ufw_rules import Rule, RuleError, to_tuple
from hypothesis import given, settings
from hypothesis import strategies as st

OPENSSH = "[OpenSSH]\ntitle=Secure shell server\ndescription=OpenSSH is free.\nports=22/tcp\n"


@pytest.mark.parametrize(
    ("files", "found"),
    [
        pytest.param({}, {}, id="none"),
        pytest.param({"openssh-server": OPENSSH}, {"OpenSSH": [("22", "tcp")]}, id="debians"),
        pytest.param(
            {"web": "[WWW]\nports=80/tcp\n\n[WWW Full]\nports=80,443/tcp|443/udp\n"},
            {"WWW": [("80", "tcp")], "WWW Full": [("80,443", "tcp"), ("443", "udp")]},
            id="several-in-a-file",
        ),
        pytest.param({"dns": "[DNS]\nports=53\n"}, {"DNS": [("53", "any")]}, id="both-protocols"),
        pytest.param(
            {"a": "[A]\nports=1/tcp\n", "b": "[A]\nports=2/tcp\n"}, {"A": [("2", "tcp")]}, id="last-file-wins"
        ),
        pytest.param({"odd": "no section\n", "openssh": OPENSSH}, {"OpenSSH": [("22", "tcp")]}, id="damaged-file"),
        pytest.param({"odd": b"\xff\xfe\n", "openssh": OPENSSH}, {"OpenSSH": [("22", "tcp")]}, id="not-utf-8"),
        pytest.param(
            {"x": "[X]\ntitle=100%\ndescription=%(home)s\nports=1/tcp\n"}, {"X": [("1", "tcp")]}, id="percent"
        ),
        pytest.param({"x": "[X]\ntitle=nothing\n"}, {}, id="without-ports"),
        pytest.param(
            {"x.dpkg-old": OPENSSH, "x.dpkg-dist": OPENSSH, "x~": OPENSSH, ".x": OPENSSH}, {}, id="left-overs"
        ),
        pytest.param({"x.rpmnew": OPENSSH, "x.dpkg-new": OPENSSH}, {}, id="left-overs-of-an-upgrade"),
    ],
)
def test_applications(tmp_path, files, found):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    (tmp_path / "folder").mkdir()
    assert applications(str(tmp_path)) == found


def test_no_folder_no_profiles(tmp_path):
    assert applications(str(tmp_path / "none")) == {}


FILES = {
    DEFAULTS: (
        "# /etc/default/ufw\nIPV6=no\n"
        + "".join(f'DEFAULT_{chain}_POLICY="ACCEPT"\n' for chain in DIRECTIONS.values())
        + "MANAGE_BUILTINS=yes\nIPT_SYSCTL=/etc/ufw/sysctl.conf\n"
    ),
    CONF: "# /etc/ufw/ufw.conf\nENABLED=no\n\nLOGLEVEL=low\n",
    AFTER[False]: "*filter\n-A ufw-after-input -j ACCEPT\nCOMMIT\n",
    AFTER[True]: "*filter\nCOMMIT\n",
    USER[False]: "",
    USER[True]: "",
}
RULES = (Rule("allow", "tcp", "80"), Rule("deny", src="::/0", dst="::/0", v6=True))


def test_plain_files():
    policy = Policy(True, "medium", {"incoming": "deny", "outgoing": "allow", "routed": "reject"}, RULES, True)
    found = plain_files(policy, FILES, ["docker0"])
    assert found[DEFAULTS] == (
        '# /etc/default/ufw\nIPV6=yes\nDEFAULT_INPUT_POLICY="DROP"\nDEFAULT_OUTPUT_POLICY="ACCEPT"\n'
        'DEFAULT_FORWARD_POLICY="REJECT"\nMANAGE_BUILTINS=no\nIPT_SYSCTL=/etc/ufw/sysctl.conf\n'
    )
    assert found[CONF] == "# /etc/ufw/ufw.conf\nENABLED=yes\n\nLOGLEVEL=medium\n"
    for v6, name in AFTER.items():
        assert found[name].startswith(FILES[name] + BEGIN)
        assert found[name].endswith(f"{END}\n")
        assert ("--ctorigdstport 80" in found[name]) != v6
        assert "-o docker0 -j DROP" in found[name]
    assert plain_files(policy, {**FILES, **found}, ["docker0"]) == found
    gone = plain_files(Policy(), {**FILES, **found}, ["docker0"])
    assert {name: gone[name] for name in AFTER.values()} == {name: FILES[name] for name in AFTER.values()}


def test_files_that_are_right_are_not_touched():
    policy = Policy(True, "low")
    right = plain_files(policy, FILES, [])
    odd = {name: text.replace("ENABLED=yes", "ENABLED='yes' # mine") for name, text in right.items()}
    assert plain_files(policy, odd, []) == odd


def test_a_host_without_files_gets_them_all():
    found = plain_files(Policy(True, published=True), dict.fromkeys(FILES, ""), ["docker0"])
    assert read_policy(found, True) == Policy(True, published=True)


def test_interfaces_that_are_left_out_stay_as_they_are():
    policy = Policy(True, "low", rules=RULES, published=True)
    first = plain_files(policy, FILES, None)
    assert first == plain_files(policy, FILES, ["docker0", "br-+"])
    own = plain_files(policy, FILES, ["docker0", "mybr0"])
    assert own != first
    assert plain_files(policy, {**FILES, **own}, None) == own
    assert plain_files(policy, {**FILES, **own}, ["docker0", "br-+"]) == first


def test_a_file_whose_section_has_lost_its_end_is_named():
    damaged = plain_files(Policy(True, published=True), FILES, None)[AFTER[True]].replace(END, "")
    for published in (True, False):
        with pytest.raises(RuleError, match=f"^{AFTER[True]} has the line"):
            plain_files(Policy(True, published=published), {**FILES, AFTER[True]: damaged}, None)


POLICIES = st.builds(
    Policy,
    enabled=st.booleans(),
    logging=st.sampled_from(["off", "low", "medium", "high", "full"]),
    defaults=st.fixed_dictionaries({name: st.sampled_from(list(TARGETS)) for name in DIRECTIONS}),
    rules=st.sampled_from([(), RULES, RULES[:1]]),
    published=st.booleans(),
)


@settings(deadline=None, max_examples=75)
@given(POLICIES, POLICIES, st.sampled_from([["docker0"], ["docker0", "br-+"], []]))
def test_what_is_written_is_what_is_read(policy, before, interfaces):
    files = {**FILES, **plain_files(before, FILES, interfaces)}
    files.update(plain_files(policy, files, interfaces))
    files.update({name: "\n".join(map(to_tuple, policy.family(v6))) for v6, name in USER.items()})
    assert read_policy(files, any(BEGIN in files[name] for name in AFTER.values())) == policy
    assert plain_files(policy, files, interfaces) == {name: files[name] for name in plain_files(policy, files, [])}


def test_the_dead_man_switch_gets_the_program_as_it_is():
    assert "def load() -> bool:" in loader_text()
    compile(loader_text(), "load.py", "exec")
