# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file of settings, and what a running server makes of it."""

from __future__ import annotations

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils._postgresql_conf import (
    ConfError,
    Live,
    Machine,
    Verdict,
    complaint,
    conf_text,
    culprits,
    judge,
    merge,
    parse_conf,
    steady,
)
from hypothesis import given
from hypothesis import strategies as st

OURS = "/etc/postgresql/17/main/conf.d/50-shipshape.conf"
MACHINE = Machine(2048, 2, "ssd", 10000)
TEXTS = st.text(st.characters(exclude_characters="\n\r\0", exclude_categories=["Cs", "Zl", "Zp", "Cc"]), max_size=30)
NAMES = st.from_regex(r"[a-z_]{1,8}(\.[a-z_]{1,8})?", fullmatch=True)


@given(st.dictionaries(NAMES, TEXTS, max_size=5))
def test_what_is_written_is_read_again(settings):
    written = {name: {"value": value, "why": "as it is"} for name, value in settings.items()}
    text = conf_text(written, "# head", MACHINE)
    assert parse_conf(text) == settings
    assert conf_text(merge({}, parse_conf(text)), "", None) == conf_text(merge({}, settings), "", None)


@pytest.mark.parametrize(
    ("given_value", "text"),
    [(True, "on"), (False, "off"), (5, "5"), (0.9, "0.9"), ("500ms", "500ms"), (["a", "b"], "a, b"), ("it's", "it''s")],
)
def test_values(given_value, text):
    assert f"\nx = '{text}'\n" in conf_text(merge({}, {"x": given_value}), "#", None)


def test_given_settings_win_and_null_leaves_one_to_postgresql():
    tuned = {"work_mem": {"value": "4MB", "why": "small"}, "jit": {"value": "off", "why": "web"}}
    assert merge(tuned, {"WORK_MEM": "8MB", "jit": None}) == {"work_mem": {"value": "8MB", "why": ""}}
    assert tuned["work_mem"]["value"] == "4MB"


@pytest.mark.parametrize("settings", [{"a b": 1}, {"x": "a\nb"}, {"x": "a\0"}, {"": 1}, {"a.b.c": 1}])
def test_refused(settings):
    with pytest.raises(ConfError):
        merge({}, settings)


STEADY = [
    pytest.param(Machine(2050, 2, "ssd", 9000), Machine(2048, 2, "ssd", 10000), id="noise"),
    pytest.param(Machine(2048, 4, "ssd", 10000), Machine(2048, 4, "ssd", 10000), id="cpus"),
    pytest.param(Machine(4096, 2, "ssd", 10000), Machine(4096, 2, "ssd", 10000), id="more-memory"),
    pytest.param(Machine(1024, 2, "ssd", 10000), Machine(1024, 2, "ssd", 10000), id="less-memory"),
    pytest.param(Machine(2048, 2, "ssd", 4000), Machine(2048, 2, "ssd", 4000), id="disk-nearly-full"),
    pytest.param(Machine(2048, 2, "ssd", 0), Machine(2048, 2, "ssd", 0), id="disk-full"),
    pytest.param(Machine(2048, 2, "hdd", 10000), Machine(2048, 2, "hdd", 10000), id="other-disk"),
    pytest.param(Machine(2048, 2, "unknown", 10000), Machine(2048, 2, "ssd", 10000), id="disk-not-told-this-time"),
]


@pytest.mark.parametrize(("now", "taken"), STEADY)
def test_steady(now, taken):
    text = conf_text({}, "# head", MACHINE)
    assert steady(text, now) == taken
    # What is taken is recorded, and stays.
    assert steady(conf_text({}, "# head", taken), taken) == taken
    assert steady("", now) == now


def live(setting, unit=None, vartype="integer", context="sighup", pending=False):
    return Live(setting, unit, vartype, context, pending)


JUDGED = [
    pytest.param({"work_mem": "4MB"}, {"work_mem": live("4096", "kB")}, {}, Verdict(), id="same-in-another-unit"),
    pytest.param({"work_mem": "8MB"}, {"work_mem": live("4096", "kB")}, {}, Verdict(reload=("work_mem",)), id="reload"),
    pytest.param(
        {"max_connections": "50"},
        {"max_connections": live("100", context="postmaster")},
        {},
        Verdict(restart=("max_connections",)),
        id="restart",
    ),
    pytest.param(
        {"max_connections": "50"},
        {"max_connections": live("100", context="postmaster", pending=True)},
        {},
        Verdict(restart=("max_connections",)),
        id="pending",
    ),
    pytest.param(
        {},
        {"max_connections": live("50", context="postmaster", pending=True), "port": live("1", pending=True)},
        {},
        Verdict(restart=("max_connections",)),
        id="gone-from-the-file-and-pending",
    ),
    pytest.param(
        {"work_mem": "8MB"},
        {"work_mem": live("4096", "kB")},
        {"work_mem": "/var/lib/postgresql/17/main/postgresql.auto.conf"},
        Verdict(shadowed=("work_mem",)),
        id="shadowed",
    ),
    pytest.param({"work_mem": "4MB"}, {"work_mem": live("4096", "kB")}, {"work_mem": OURS}, Verdict(), id="ours-wins"),
    pytest.param({"library.setting": "1"}, {}, {}, Verdict(), id="of-a-library-that-is-not-loaded-yet"),
    pytest.param(
        {"wal_buffers": "-1"}, {"wal_buffers": live("512", "8kB", context="postmaster")}, {}, Verdict(), id="computed"
    ),
    pytest.param({"timezone": "UTC"}, {"timezone": live(None, vartype="string")}, {}, Verdict(), id="of-this-session"),
]


@pytest.mark.parametrize(("wanted", "running", "winners", "verdict"), JUDGED)
def test_judge(wanted, running, winners, verdict):
    assert judge(wanted, ["max_connections"], running, winners, OURS) == verdict


BLAMED = [
    pytest.param('unrecognized configuration parameter "max_conections"', ["max_conections"], id="name"),
    pytest.param('could not access file "nosuch": No such file', ["shared_preload_libraries"], id="value-of-a-list"),
    pytest.param("could not map anonymous memory ... reducing max_conections", ["huge_pages"], id="memory"),
    pytest.param("something else", [], id="none"),
]


@pytest.mark.parametrize(("message", "names"), BLAMED)
def test_culprits(message, names):
    settings = {"max_conections": "5", "shared_preload_libraries": "pg_stat_statements, nosuch", "huge_pages": "on"}
    assert culprits(message, settings) == names


def test_complaint_leaves_out_what_is_no_fault():
    said = "\n".join(
        [
            "2026-11-25 13:00:00.123 UTC [42] LOG:  starting PostgreSQL 17",
            '2026-11-25 13:00:00.123 UTC [42] LOG:  invalid connection type "hots"',
            "2026-11-25 13:00:00.124 UTC [42] FATAL:  could not load /x/pg_hba.conf",
            "2026-11-25 13:00:00.125 UTC [42] LOG:  database system is shut down",
        ]
    )
    assert complaint(said) == 'invalid connection type "hots" FATAL: could not load /x/pg_hba.conf'
    assert complaint("just a line") == "just a line"
    assert complaint("") == ""
