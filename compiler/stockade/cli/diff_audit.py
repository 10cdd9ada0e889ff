"""The sides of `stockade diff` that an audit wrote: a host's facts, or a report on it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stockade.cli.output import Answer, Stop, json_document, text

if TYPE_CHECKING:
    from stockade.audit.drift import FactChange, RuleChange
    from stockade.audit.facts.fact import Facts
    from stockade.audit.report.model import Report
    from stockade.prove.policy_diff import PolicyDiff

_FACTS = {"schema", "kind", "collected", "facts"}
_REPORT = {"schema", "stockade", "results", "summary"}
_SHOWN = 10


def side(path: Path) -> Facts | Report | None:
    """What an audit wrote there, or None where it is something else. Stop where it is no whole document of ours."""
    from stockade.audit.facts.fact import LIMIT, FactsError, from_json
    from stockade.audit.report.read import ReportError, from_dict

    try:
        if not path.is_file() or path.stat().st_size > LIMIT:
            return None
        content = path.read_bytes()
    except OSError as error:
        raise Stop(f"{path}: {error.strerror}") from None
    if content.lstrip()[:1] != b"{":
        return None
    try:
        said: Any = json.loads(content)
    except (ValueError, RecursionError):
        return None
    try:
        if type(said) is dict and set(said) >= _FACTS:
            return from_json(content)
        return from_dict(said) if type(said) is dict and set(said) >= _REPORT else None
    except (FactsError, ReportError) as error:
        raise Stop(f"{path}: {error}") from None


def compare(paths: tuple[Path, Path], old: Facts | Report, new: Facts | Report, fail_on: str | None, form: str) -> int:
    """Writes what changed, and gives the exit code. Facts are compared one by one, and in what rules say of them."""
    from stockade.audit import drift
    from stockade.audit.report.model import Report

    if isinstance(old, Report) is not isinstance(new, Report):
        raise Stop(f"{paths[0]} and {paths[1]} have nothing in common: one has facts, the other verdicts on some")
    if form == "markdown":
        raise Stop(f"{paths[0]} and {paths[1]}: --format markdown is for two policy folders", Answer.USAGE)
    before, after = _judged(old), _judged(new)
    rules, about = drift.rules(before, after), list(drift.about(before, after))
    facts: tuple[FactChange, ...] = ()
    policy = None
    if not (isinstance(old, Report) or isinstance(new, Report)):
        facts, policy, about = drift.facts(old, new), _policy(paths, old, new), []
    same = not (facts or rules or about)
    worse = any(one.turn is drift.Turn.WORSE for one in rules) or drift.less_covered(before, after)
    worse = worse or (policy is not None and policy.widens)
    if form == "json":
        json_document(
            {
                "old": str(paths[0]),
                "new": str(paths[1]),
                "same": same,
                "worse": worse,
                "about": about,
                "facts": [one.as_dict() for one in facts],
                "policy": policy.as_dict() if policy else None,
                "rules": [one.as_dict() for one in rules],
            }
        )
    else:
        _text(paths, about, facts, policy, rules)
    return Answer.NO if (fail_on == "any" and not same) or (fail_on == "widen" and worse) else Answer.YES


def _judged(said: Facts | Report) -> Report:
    """The report itself; of facts, every shipped rule's verdict. What needs a bundle is undecided on both sides."""
    from stockade.audit.judge import judge
    from stockade.audit.report.model import Report
    from stockade.audit.rules.load import shipped

    return said if isinstance(said, Report) else judge(said, shipped(), profile="all", now=said.collected)


def _policy(paths: tuple[Path, Path], old: Facts, new: Facts) -> PolicyDiff | None:
    """What the policy that is loaded now decides otherwise than the one that was; None where it is the same or one is
    not known."""
    from stockade.audit.facts.selinux import unpacked
    from stockade.prove.policy_diff import diff
    from stockade.selinux.conditions import ConditionError
    from stockade.selinux.policydb_format import PolicydbError

    was, now = (facts.get("selinux.policy") for facts in (old, new))
    if not (was.known and now.known) or was.value == now.value:
        return None
    try:
        return diff(unpacked(was.value), unpacked(now.value))
    except (ValueError, TypeError, PolicydbError, ConditionError) as error:
        raise Stop(f"{paths[0]} and {paths[1]}: the loaded policies cannot be compared: {error}") from None


def _text(
    paths: tuple[Path, Path],
    about: Sequence[str],
    facts: Sequence[FactChange],
    policy: PolicyDiff | None,
    rules: Sequence[RuleChange],
) -> None:
    if not (about or facts or rules):
        text(f"{paths[0]} and {paths[1]} say the same")
        return
    for line in about:
        text(line)
    for rule in rules:
        text(f"{rule.turn:<8}{rule}")
        for sign, found in (("+", rule.more), ("-", rule.less)):
            for finding in found[:_SHOWN]:
                text(f"        {sign} {finding}")
            if len(found) > _SHOWN:
                text(f"        {sign} and {len(found) - _SHOWN} more (--format json has all)")
    for fact in facts:
        text(f"fact    {fact}")
    if policy:
        from stockade.prove.diff_text import lines

        for line in lines(policy):
            text(f"policy  {line}")
    turns = ", ".join(f"{count} {turn}" for turn, count in Counter(str(rule.turn) for rule in rules).items())
    text(f"{len(rules)} rules{f' ({turns})' if turns else ''}, {len(facts)} facts")
