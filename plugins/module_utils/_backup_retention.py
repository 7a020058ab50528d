# Copyright (c) the shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backup sets go: grandfather, father, son, above a floor of sets that were verified.

Pure functions: no I/O and no Ansible imports. The order is that of the names, which are times: a copied or touched
folder has another mtime, and whoever counts by that deletes the wrong one.
"""

from __future__ import annotations

from calendar import timegm
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from time import gmtime, struct_time

from ._backup_manifest import began

# By a clock that was wrong when the set was made, or is wrong now.
FUTURE_SECONDS = 3600.0
LAST = "keep_last"


def _week(when: struct_time) -> tuple[int, ...]:
    """Weeks begin on Monday; counted through, as the years of weeks are not those of days."""
    return ((_days(when) - when.tm_wday) // 7,)


def _days(when: struct_time) -> int:
    return timegm(when) // 86400 - 4  # 1970-01-05 was the first Monday


PERIODS: dict[str, Callable[[struct_time], tuple[int, ...]]] = {
    "keep_hourly": lambda when: (when.tm_year, when.tm_yday, when.tm_hour),
    "keep_daily": lambda when: (when.tm_year, when.tm_yday),
    "keep_weekly": _week,
    "keep_monthly": lambda when: (when.tm_year, when.tm_mon),
    "keep_yearly": lambda when: (when.tm_year,),
}


@dataclass(frozen=True)
class Known:
    """A set that is complete: its id, the schedule that it is of, and what a verification said of it."""

    name: str
    schedule: str
    verified: bool = False
    failed: bool = False


@dataclass(frozen=True)
class Plan:
    keep: Mapping[str, tuple[str, ...]]
    remove: tuple[str, ...] = ()
    refused: str = ""


def plan(
    sets: Iterable[Known],
    policies: Mapping[str, Mapping[str, int]],
    floor: int,
    now: float,
    run_ok: bool = True,
    protected: Sequence[str] = (),
) -> Plan:
    """What to keep and why, and what to remove. A schedule without a policy keeps everything."""
    known = sorted(set(sets), key=lambda each: each.name, reverse=True)
    ahead = [each.name for each in known if began(each.name) > now + FUTURE_SECONDS]
    refused = ""
    if not run_ok:
        refused = "the run failed, so nothing is removed"
    elif ahead:
        refused = f"{ahead[0]} lies in the future, so a clock is or was wrong, and nothing is removed: set the clock"
    reasons: dict[str, list[str]] = {each.name: [] for each in known}
    for schedule in {each.schedule for each in known}:
        own = [each for each in known if each.schedule == schedule]
        _reasons(own, policies.get(schedule), floor, reasons)
        # One that is known to be broken stays for as long as any, and takes no good one's place.
        good = [each for each in own if not each.failed]
        if good != own:
            _reasons(good, policies.get(schedule), floor, reasons)
    for name in protected:
        reasons.get(name, []).append("just made or in use")
    gone = tuple(sorted(name for name, why in reasons.items() if not why))
    if refused:
        return Plan({name: tuple(why) or (refused,) for name, why in reasons.items()}, (), refused)
    return Plan({name: tuple(why) for name, why in reasons.items() if why}, gone)


def _reasons(
    newest_first: Sequence[Known], policy: Mapping[str, int] | None, floor: int, reasons: dict[str, list[str]]
) -> None:
    if not policy or not any(policy.get(key) for key in (LAST, *PERIODS)):
        for each in newest_first:
            reasons[each.name].append("no policy")
        return
    for each in newest_first[: policy.get(LAST, 0)]:
        reasons[each.name].append(LAST)
    for key, period in PERIODS.items():
        left, seen = policy.get(key, 0), set[tuple[int, ...]]()
        for each in newest_first:
            bucket = period(gmtime(began(each.name)))
            if len(seen) >= left:
                break
            if bucket not in seen:
                seen.add(bucket)
                reasons[each.name].append(key)
    # What nobody has seen restored is no reason to part with what was.
    for each in [each for each in newest_first if each.verified][:floor]:
        reasons[each.name].append("floor of verified sets")
