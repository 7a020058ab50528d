"""What the firewall shall be: every case also proves that a second plan is empty."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils._ufw_plan import (
    CONF,
    DEFAULTS,
    USER,
    Policy,
    expand,
    merge,
    parse_applications,
    plan,
    read_policy,
    set_setting,
    setting,
)
from ansible_collections.shipshape.stack.plugins.module_utils._ufw_rules import Rule, RuleError, to_tuple
from hypothesis import given, settings
from hypothesis import strategies as st

DEBIAN = """\
# /etc/default/ufw
#

# Set to yes to apply rules to support IPv6
IPV6=yes

DEFAULT_INPUT_POLICY="DROP"
DEFAULT_OUTPUT_POLICY="ACCEPT"
DEFAULT_FORWARD_POLICY="REJECT"
MANAGE_BUILTINS=no
#IPT_MODULES="nf_conntrack_ftp"
"""


# --- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        pytest.param(DEBIAN, "IPV6", "yes", id="plain"),
        pytest.param(DEBIAN, "DEFAULT_INPUT_POLICY", "DROP", id="quoted"),
        pytest.param("A='x'\n", "A", "x", id="single-quotes"),
        pytest.param("A=x # why\n", "A", "x", id="remark"),
        pytest.param("A=x\nA=y\n", "A", "y", id="the-last-wins"),
        pytest.param("#A=x\n", "A", "", id="remarked-out"),
        pytest.param("AB=x\n", "A", "", id="another-key"),
        pytest.param("A=\n", "A", "", id="empty"),
        pytest.param("", "A", "", id="no-file"),
    ],
)
def test_setting(text, key, value):
    assert setting(text, key) == value


@pytest.mark.parametrize(
    ("text", "key", "value", "after"),
    [
        pytest.param("A=x\n", "A", "x", "A=x\n", id="untouched"),
        pytest.param("A='x' # why\n", "A", "x", "A='x' # why\n", id="untouched-whatever-the-quotes"),
        pytest.param("# a\nA=x\nB=y\n", "A", "z", "# a\nA=z\nB=y\n", id="in-its-place"),
        pytest.param("A=x\nA=y\n", "A", "z", "A=z\nA=z\n", id="each-line"),
        pytest.param("#A=x\n", "A", "z", "#A=x\nA=z\n", id="appended"),
        pytest.param("B=y", "A", "z", "B=y\nA=z\n", id="appended-after-a-last-line-without-end"),
        pytest.param("", "A", "z", "A=z\n", id="new-file"),
        pytest.param("", "DEFAULT_INPUT_POLICY", "DROP", 'DEFAULT_INPUT_POLICY="DROP"\n', id="policies-are-quoted"),
    ],
)
def test_set_setting(text, key, value, after):
    assert set_setting(text, key, value) == after
    assert set_setting(after, key, value) == after


LINE = st.sampled_from(["A=x", "A='y'", 'A="x"', "#A=x", "B=1", "", " A=x", "A=", "AA=x", "A=x y"])


@settings(deadline=None, max_examples=50)
@given(st.lists(LINE, max_size=6).map("\n".join), st.sampled_from(["x", "y", "z"]))
def test_a_set_setting_is_read_back(text, value):
    after = set_setting(text, "A", value)
    assert setting(after, "A") == value
    assert set_setting(after, "A", value) == after
    assert setting(after, "B") == setting(text, "B")


# --- reading ----------------------------------------------------------------------------------------------------------


def test_read_policy():
    four, six = Rule("allow", "tcp", "22"), Rule("allow", "tcp", "22", dst="::/0", src="::/0", v6=True)
    files = {
        DEFAULTS: DEBIAN,
        CONF: "ENABLED=Yes\nLOGLEVEL=Medium\n",
        USER[False]: f"{to_tuple(four)}\n",
        USER[True]: f"{to_tuple(six)}\n",
    }
    found = read_policy(files, True)
    assert found == Policy(
        True, "medium", {"incoming": "deny", "outgoing": "allow", "routed": "reject"}, (four, six), True
    )
    assert (found.family(False), found.family(True)) == ([four], [six])
    assert found.lines() == [
        "status: enabled",
        "logging: medium",
        "default incoming: deny",
        "default outgoing: allow",
        "default routed: reject",
        "published container ports obey the rules: yes",
        "IPv4 allow in proto tcp from any to any port 22",
        "IPv6 allow in proto tcp from any to any port 22",
    ]


def test_a_host_without_ufw_is_disabled():
    assert read_policy({}, False) == Policy(enabled=False, logging="off")
    assert read_policy({}, False).lines()[0] == "status: disabled"


@pytest.mark.parametrize(
    ("ports", "found"),
    [
        pytest.param("22/tcp", [("22", "tcp")], id="one"),
        pytest.param("80,443/tcp", [("80,443", "tcp")], id="list"),
        pytest.param("80,443/tcp|443/udp", [("80,443", "tcp"), ("443", "udp")], id="parts"),
        pytest.param("53 | 6000:6007/udp |", [("53", "any"), ("6000:6007", "udp")], id="no-protocol-and-spaces"),
        pytest.param("", None, id="empty"),
        pytest.param(None, None, id="missing"),
    ],
)
def test_parse_applications(ports, found):
    section = {"title": "x"} if ports is None else {"title": "x", "ports": ports}
    assert parse_applications({"App": section}) == ({"App": found} if found else {})


# --- planning ---------------------------------------------------------------------------------------------------------


def test_expand_keeps_the_order_and_drops_what_is_there():
    found = expand(
        [
            {"proto": "tcp", "to_port": "443", "family": "ipv4"},
            {"proto": "tcp", "to_port": "22", "from_ip": ["192.0.2.1", "192.0.2.1/32"], "comment": "first"},
            {"proto": "tcp", "to_port": "443", "comment": "again"},
        ],
        {},
    )
    assert [f"{'6' if rule.v6 else '4'} {rule}" for rule in found] == [
        "4 allow in proto tcp from any to any port 443 # shipshape",
        "4 allow in proto tcp from 192.0.2.1 to any port 22 # shipshape: first",
        "6 allow in proto tcp from any to any port 443 # shipshape: again",
    ]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"rule": "deny"}, id="action"),
        pytest.param({"log": "new"}, id="log"),
        pytest.param({"rule": "limit", "family": "ipv6"}, id="one-family"),
    ],
)
def test_a_contradiction_names_both(other):
    first = {"proto": "tcp", "to_port": "22"}
    with pytest.raises(RuleError, match="leave the other out") as failed:
        expand([first, {"to_port": "80"}, {**first, **other}], {})
    for said in str(failed.value).split("; "):
        assert re.findall(r"rules\[\d\]", said) == ["rules[2]", "rules[0]"]


def test_all_problems_come_at_once():
    with pytest.raises(RuleError) as failed:
        expand([{"to_port": "0"}, {}, {"from_ip": ["x"]}, {"rule": "deny"}, {"comment": "it's"}], {})
    said = str(failed.value).split("; ")
    assert [re.findall(r"rules\[(\d)\]", part)[0] for part in said] == ["0", "2", "3", "4"]
    assert "to_port '0' is not a port" in said[0]
    assert "from_ip 'x' is not an address" in said[1]
    assert "contradicts rules[1]" in said[2]
    assert "line break or a quote" in said[3]


OWN = "shipshape: x"
A, B, C, D = (Rule("allow", "tcp", str(port)) for port in (1, 2, 3, 4))
OWN_A, OWN_B, OWN_C = (replace(rule, comment=OWN) for rule in (A, B, C))
MERGED = [
    pytest.param([], [OWN_A, OWN_B], "own", [OWN_A, OWN_B], id="fresh"),
    pytest.param([OWN_A, OWN_B], [OWN_A, OWN_B], "own", [OWN_A, OWN_B], id="as-it-is"),
    pytest.param([OWN_A, OWN_B], [OWN_B, OWN_A], "own", [OWN_B, OWN_A], id="order"),
    pytest.param([C], [OWN_A], "own", [C, OWN_A], id="behind-what-others-have"),
    pytest.param([C, OWN_A, D], [OWN_A, OWN_B], "own", [C, OWN_A, OWN_B, D], id="where-it-stands"),
    pytest.param([C, OWN_B, D, OWN_A], [OWN_A, OWN_B], "own", [C, OWN_A, OWN_B, D], id="gathered-at-the-first"),
    pytest.param([OWN_A, C], [], "own", [C], id="own-rules-go"),
    pytest.param([OWN_A, C], [OWN_B], "own", [C, OWN_B], id="own-rules-give-way"),
    pytest.param([OWN_A, C], [OWN_B], "none", [OWN_A, C, OWN_B], id="none-keeps-own"),
    pytest.param([OWN_A, C], [OWN_B], "all", [OWN_B], id="all-takes-others"),
    pytest.param([OWN_A, C], [], "all", [], id="all-and-nothing-wanted"),
    pytest.param([C, A, D], [OWN_A], "own", [C, OWN_A, D], id="takes-over-a-rule-of-others"),
    pytest.param([replace(A, action="deny")], [OWN_A], "none", [OWN_A], id="replaces-the-action"),
    pytest.param([replace(A, log="log")], [OWN_A], "own", [OWN_A], id="replaces-the-logging"),
    pytest.param([replace(OWN_A, comment="shipshape: y")], [OWN_A], "own", [OWN_A], id="replaces-the-comment"),
]


@pytest.mark.parametrize(("current", "wanted", "purge", "after"), MERGED)
def test_merge(current, wanted, purge, after):
    assert merge(current, wanted, purge) == after
    assert merge(after, wanted, purge) == after


RULE = st.builds(
    Rule,
    action=st.sampled_from(["allow", "deny"]),
    proto=st.sampled_from(["tcp", "udp"]),
    dport=st.sampled_from(["1", "2", "3"]),
    comment=st.sampled_from(["", OWN, "theirs"]),
)
RULESETS = st.lists(RULE, max_size=6, unique_by=lambda rule: rule.key)


@settings(deadline=None, max_examples=100)
@given(RULESETS, RULESETS, st.sampled_from(["own", "all", "none"]))
def test_merge_obeys_its_laws(current, wanted, purge):
    wanted = [replace(rule, comment=OWN) for rule in wanted]
    after = merge(current, wanted, purge)
    keys = {rule.key for rule in wanted}
    assert merge(after, wanted, purge) == after
    assert len({rule.key for rule in after}) == len(after)
    start = after.index(wanted[0]) if wanted else 0
    assert after[start : start + len(wanted)] == wanted
    others = [rule for rule in after if rule.key not in keys]
    kept = {"own": lambda rule: not rule.own, "all": lambda _rule: False, "none": lambda _rule: True}[purge]
    assert others == [rule for rule in current if rule.key not in keys and kept(rule)]


CURRENT = Policy(
    enabled=True,
    logging="medium",
    defaults={"incoming": "reject", "outgoing": "allow", "routed": "deny"},
    rules=(A, OWN_B, replace(OWN_C, v6=True, src="::/0", dst="::/0")),
    published=True,
)
OWN_D = replace(D, comment="shipshape")
PLANNED = [
    pytest.param({}, CURRENT, id="nothing-given"),
    pytest.param(
        {"state": None, "default": None, "logging": None, "rules": None, "purge": "own", "published": None},
        CURRENT,
        id="as-the-module-says-nothing",
    ),
    pytest.param({"state": "enabled"}, CURRENT, id="state-as-it-is"),
    pytest.param({"state": "disabled"}, replace(CURRENT, enabled=False), id="state"),
    pytest.param({"logging": "off"}, replace(CURRENT, logging="off"), id="logging"),
    pytest.param({"published": False}, replace(CURRENT, published=False), id="published"),
    pytest.param(
        {"default": {"incoming": "deny", "outgoing": None, "routed": None}},
        replace(CURRENT, defaults={**CURRENT.defaults, "incoming": "deny"}),
        id="one-default",
    ),
    pytest.param({"rules": None, "purge": "all"}, CURRENT, id="purge-without-rules"),
    pytest.param({"rules": [], "purge": "all"}, replace(CURRENT, rules=()), id="no-rules"),
    pytest.param({"rules": []}, replace(CURRENT, rules=(A,)), id="own-is-the-default"),
    pytest.param(
        {"rules": [{"proto": "tcp", "to_port": "4", "family": "ipv4"}], "purge": "none"},
        replace(CURRENT, rules=(*CURRENT.rules[:2], OWN_D, CURRENT.rules[2])),
        id="a-rule-more",
    ),
]


@pytest.mark.parametrize(("request_", "after"), PLANNED)
def test_plan(request_, after):
    assert plan(CURRENT, request_, {}) == after
    assert plan(after, request_, {}) == after


def test_plan_knows_the_profiles_of_the_host():
    found = plan(Policy(), {"rules": [{"name": "Web", "family": "ipv4"}]}, {"Web": [("80", "tcp"), ("443", "udp")]})
    assert [(rule.dapp, rule.proto, rule.dport) for rule in found.rules] == [
        ("Web", "tcp", "80"),
        ("Web", "udp", "443"),
    ]
    assert plan(found, {}, {}) == found
