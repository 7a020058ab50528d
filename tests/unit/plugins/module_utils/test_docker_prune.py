# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the timer removes, and what it leaves alone."""

from __future__ import annotations

import datetime

import pytest
from ansible_collections.shipshape.stack.plugins.module_utils._docker_prune import KINDS, plan, seconds
from hypothesis import given
from hypothesis import strategies as st

NOW = 1_800_000_000.0
HOUR = 3600
NEVER = "0001-01-01T00:00:00Z"
APP = {"stack.shipshape.app": "shop"}


def text(age_hours):
    moment = datetime.datetime.fromtimestamp(NOW - age_hours * HOUR, datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.123456789Z")


def container(name, status="exited", created=1000, finished=1000, labels=None, image="used", networks=()):
    return {
        "Id": name,
        "Image": image,
        "Created": text(created),
        "State": {"Status": status, "FinishedAt": text(finished) if finished is not None else NEVER},
        "Config": {"Labels": labels},
        "NetworkSettings": {"Networks": {each: {"NetworkID": f"id-{each}"} for each in networks}},
    }


def image(name, tags=(), tagged=1000, labels=None, digests=()):
    return {
        "Id": name,
        "RepoTags": list(tags),
        "RepoDigests": list(digests),
        "Config": {"Labels": labels},
        "Metadata": {"LastTagTime": text(tagged) if tagged is not None else NEVER},
    }


def network(name, labels=None, containers=None, created=1000, **more):
    made = {"Id": f"id-{name}", "Name": name, "Labels": labels, "Containers": containers, "Created": text(created)}
    return {**made, **more}


def host(containers=(), images=(), networks=()):
    return {"containers": list(containers), "images": list(images), "networks": list(networks)}


def removed(found, unused=None, hours=168, kinds=("containers", "images", "networks")):
    """What goes, where all has been seen without a use for long."""
    names = [*(each["Id"] for kind in ("images", "networks") for each in found[kind])]
    seen = dict.fromkeys(names, NOW - 1000 * HOUR) if unused is None else unused
    return [argv[-1] for argv in plan(found, kinds, seen, NOW, hours).commands]


@pytest.mark.parametrize(
    ("thing", "gone"),
    [
        (container("c"), True),
        (container("c", status="created", finished=None), True),
        (container("c", status="dead"), True),
        (container("c", status="running"), False),
        (container("c", status="paused"), False),
        (container("c", status="restarting"), False),
        # Old, but it ran until an hour ago.
        (container("c", finished=1), False),
        (container("c", status="created", created=1, finished=None), False),
        (container("c", labels=APP), False),
        (container("c", labels={"stack.shipshape.keep": ""}), False),
        (container("c", labels={"other": "x"}), True),
    ],
)
def test_containers(thing, gone):
    assert removed(host([thing])) == (["c"] if gone else [])


@pytest.mark.parametrize(
    ("thing", "gone"),
    [
        (image("i", ["web:1"]), ["web:1"]),
        (image("i", ["web:1", "web:2"], digests=["web@sha256:1"]), ["web:1", "web:2", "web@sha256:1"]),
        (image("i"), ["i"]),
        (image("i", ["<none>:<none>"], digests=["<none>@<none>"]), ["i"]),
        (image("i", tagged=None), ["i"]),
        # Pulled or named an hour ago, however old it is.
        (image("i", ["web:1"], tagged=1), []),
        (image("i", ["shipshape/shop/web:1"]), []),
        (image("i", ["web:1", "shipshape/shop/web:1"]), []),
        (image("i", ["web:1"], labels=APP), []),
        (image("used", ["web:1"]), []),
    ],
)
def test_images(thing, gone):
    assert removed(host([container("c", status="running")], [thing])) == gone


@pytest.mark.parametrize(
    ("thing", "gone"),
    [
        (network("n"), True),
        (network("n", labels=APP), False),
        (network("n", containers={"c": {}}), False),
        (network("n", created=1), False),
        (network("n", Ingress=True), False),
        (network("attached"), False),
        *((network(name), False) for name in ("bridge", "host", "none")),
    ],
)
def test_networks(thing, gone):
    # The container is stopped, and could not start without its network.
    others = [container("c", finished=1, networks=["attached"])]
    assert removed(host(others, networks=[thing])) == ([thing["Id"]] if gone else [])


def test_an_image_without_any_time_is_only_remembered_at_first():
    found = host(images=[image("i", tagged=None)])
    first = plan(found, KINDS, {}, NOW, 168)
    assert [argv[1] for argv in first.commands] == ["builder"]
    assert first.unused == {"i": NOW}
    later = plan(found, KINDS, first.unused, NOW + 167 * HOUR, 168)
    assert [argv[1] for argv in later.commands] == ["builder"]
    assert [argv[1] for argv in plan(found, KINDS, later.unused, NOW + 168 * HOUR, 168).commands] == [
        "image",
        "builder",
    ]


def test_a_use_in_between_starts_the_time_again():
    thing = image("used", tagged=None)
    first = plan(host(images=[thing]), KINDS, {}, NOW, 168)
    used = plan(host([container("c", status="running")], [thing]), KINDS, first.unused, NOW + 100 * HOUR, 168)
    assert used.unused == {}
    assert plan(host(images=[thing]), KINDS, used.unused, NOW + 200 * HOUR, 168).unused == {"used": NOW + 200 * HOUR}


def test_the_image_of_a_container_that_goes_goes_with_it():
    assert removed(host([container("c", image="i")], [image("i", ["web:1"])])) == ["c", "web:1"]


def test_only_the_kinds_that_are_named():
    everything = host([container("c")], [image("i")], [network("n")])
    assert removed(everything, kinds=["networks"]) == ["id-n"]
    assert removed(everything, kinds=["build-cache"]) == ["until=168h"]


LABELS = st.sampled_from([None, {}, APP, {"x": "y"}, {"stack.shipshape.keep": "1"}])
AGES = st.integers(0, 2000)
STATES = st.sampled_from(["created", "running", "paused", "exited", "dead"])
CONTAINERS = st.lists(
    st.builds(container, st.uuids().map(str), STATES, AGES, AGES, LABELS, st.sampled_from(["i1", "i2"])), max_size=5
)
TAGS = st.lists(st.sampled_from(["web:1", "shipshape/shop/web:1"]), unique=True)
IMAGES = st.lists(st.builds(image, st.sampled_from(["i1", "i2", "i3"]), TAGS, AGES, LABELS), max_size=4)


@given(CONTAINERS, IMAGES, st.integers(1, 500))
def test_no_volume_and_nothing_of_an_app_ever_goes(containers, images, hours):
    found = host(containers, images)
    done = plan(found, KINDS, {each["Id"]: 0.0 for each in images}, NOW, hours)
    for argv in done.commands:
        assert argv[1] in ("container", "image", "network", "builder")
        assert not {"--volumes", "-v", "--force", "-f"} & set(argv) or argv[1] == "builder"
    busy = ("running", "paused")
    gone = {argv[-1] for argv in done.commands if argv[1] == "container"}
    kept = [each for each in containers if each["Config"]["Labels"] == APP or each["State"]["Status"] in busy]
    assert not gone & {each["Id"] for each in kept}
    used = {each["Image"] for each in containers if each["Id"] not in gone}
    free = [each for each in images if each["Id"] not in used and each["Config"]["Labels"] != APP]
    names = {name for each in free if "shipshape/shop/web:1" not in each["RepoTags"] for name in each["RepoTags"]}
    assert {argv[-1] for argv in done.commands if argv[1] == "image"} <= names | {each["Id"] for each in free}
    # What is removed leaves nothing for a second time.
    left = [each for each in containers if each["Id"] not in gone]
    again = plan(host(left, []), ["containers"], {}, NOW, hours)
    assert again.commands == []


@pytest.mark.parametrize(
    ("given_text", "wanted"),
    [
        ("1970-01-01T01:00:00Z", 0.0),
        (NEVER, 0.0),
        ("", 0.0),
        (None, 0.0),
        ("2026-11-25T22:00:00Z", 1795644000.0),
        ("2026-11-25T22:00:00.123456789Z", 1795644000.0),
        ("2026-11-25T23:00:00.123456789+01:00", 1795644000.0),
    ],
)
def test_times(given_text, wanted):
    assert seconds(given_text) == wanted
