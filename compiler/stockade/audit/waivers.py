"""Waivers: a rule that fails, and somebody who answers for it until a day. The rule is judged all the same."""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

from stockade.audit.report.model import HostIdentity, Result, Status, Waived

_KEYS: Final = {"rule", "owner", "reason", "expires", "scope", "pinned"}
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")


class WaiverError(Exception):
    """A file of waivers that does not load; the text says which entry, and why."""


@dataclass(frozen=True, slots=True)
class Waiver:
    """`expires` is the last day (UTC) on which it counts; `scope` a pattern of host names or machine ids; `pinned` the
    digest of what was found wrong when it was accepted."""

    rule: str
    owner: str
    reason: str
    expires: date
    scope: str
    pinned: str


def load(said: Any) -> tuple[Waiver, ...]:
    """Waivers from a document: a list of rule, owner, reason, expires, scope and pinned, all of them needed."""
    if type(said) is not list:
        raise WaiverError("a list of waivers")
    found = []
    for at, one in enumerate(said, 1):
        if type(one) is not dict:
            raise WaiverError(f"waiver {at}: a mapping")
        if wrong := sorted(map(str, set(one) ^ _KEYS)):
            missing = "needs" if wrong[0] in _KEYS else "has no"
            raise WaiverError(f"waiver {at}: {missing} key `{wrong[0]}`")
        texts = {key: str(one[key]) if isinstance(one[key], date) else one[key] for key in _KEYS}
        if empty := sorted(key for key, value in texts.items() if type(value) is not str or not value.strip()):
            raise WaiverError(f"waiver {at}: {empty[0]}: a text")
        if not _DAY.fullmatch(texts["expires"]):
            raise WaiverError(f"waiver {at}: expires: a day such as 2027-01-31")
        if not re.fullmatch(r"[0-9a-f]{64}", texts["pinned"]):
            raise WaiverError(f"waiver {at}: pinned: the digest that the report gives for the rule")
        try:
            day = date.fromisoformat(texts["expires"])
        except ValueError as error:
            raise WaiverError(f"waiver {at}: expires: {error}") from None
        found.append(Waiver(texts["rule"], texts["owner"], texts["reason"], day, texts["scope"], texts["pinned"]))
    return tuple(found)


def end(results: Sequence[Result]) -> float:
    """When the first of the waivers that count among these no longer does, in seconds since 1970; inf for none."""
    days = [date.fromisoformat(one.waiver.expires) for one in results if one.waiver]
    after = (datetime.combine(day, time(), UTC) + timedelta(days=1) for day in days if day < date.max)
    return min((moment.timestamp() for moment in after), default=math.inf)


def waived(
    results: tuple[Result, ...], waivers: Sequence[Waiver], host: HostIdentity, now: int
) -> tuple[tuple[Result, ...], tuple[str, ...]]:
    """Results with the waivers of this host applied, and the waivers that match no rule as faults.

    Only a failure can be waived, never what could not be determined.
    """
    names = {one.rule for one in results}
    faults = tuple(
        f"a waiver for `{one.rule}`, and no such rule was judged" for one in waivers if one.rule not in names
    )
    return tuple(_apply(one, waivers, host, now) for one in results), faults


def _apply(result: Result, waivers: Sequence[Waiver], host: HostIdentity, now: int) -> Result:
    if result.status is not Status.FAIL:
        return result
    today = datetime.fromtimestamp(now, UTC).date()
    refused = []
    for one in waivers:
        if one.rule != result.rule:
            continue
        if not any(name and fnmatch.fnmatchcase(name, one.scope) for name in (host.name, host.machine_id)):
            continue
        if today > one.expires:
            refused.append(f"the waiver of {one.owner} expired on {one.expires}")
        elif one.pinned != result.digest:
            refused.append(f"the waiver of {one.owner} was for something else ({one.pinned[:12]}…)")
        else:
            waiver = Waived(one.owner, one.reason, one.expires.isoformat(), one.scope)
            return replace(result, status=Status.WAIVED, waiver=waiver)
    return replace(result, message="; ".join([result.message, *refused])) if refused else result
