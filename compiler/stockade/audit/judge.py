"""Facts and rules to a report. Pure: the same facts, rules, waivers and time give the same report."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from stockade import __version__
from stockade.audit.derive import Compare, Deriver
from stockade.audit.facts.fact import Fact, Facts
from stockade.audit.report.model import Coverage, Evidence, HostIdentity, Report, Result, Status
from stockade.audit.rules.expression import Scope, Undetermined
from stockade.audit.rules.rule import Rule
from stockade.audit.waivers import Waiver, waived

SHOWN: Final = 400
"""Characters of a value that evidence shows; the facts have all of it."""


def judge(
    facts: Facts,
    rules: Sequence[Rule],
    *,
    profile: str = "",
    expected: Mapping[str, Fact] | None = None,
    compare: Compare | None = None,
    waivers: Sequence[Waiver] = (),
    bundle: str = "",
    now: int = 0,
) -> Report:
    """Every rule's verdict. `expected` are facts of the bundle and the release, `now` is in seconds since 1970."""
    deriver = Deriver(facts, expected, compare)
    host = identity(deriver)
    results = tuple(verdict(rule, deriver) for rule in rules)
    results, faults = waived(results, waivers, host, now)
    coverage = deriver.get("containers.coverage")
    return Report(
        profile,
        host,
        results,
        Coverage(
            *(coverage.value[key] for key in ("found", "judged")),
            *map(tuple, (coverage.value["ended"], coverage.value["unread"])),
        )
        if coverage.known
        else None,
        facts.collected,
        now,
        __version__,
        bundle,
        faults,
    )


def verdict(rule: Rule, deriver: Deriver) -> Result:
    """One rule's verdict."""
    scope = Scope(deriver.get)
    if deriver.facts.kind == "image" and not rule.image:
        return _result(rule, Status.NOT_APPLICABLE, "an image has no kernel to ask", scope)
    try:
        if rule.when and not rule.when.holds(scope):
            return _result(rule, Status.NOT_APPLICABLE, f"not so here: {rule.when.text}", scope)
        if rule.check is None:
            return _result(rule, Status.MANUAL, rule.manual, scope)
        if rule.check.holds(scope):
            return _result(rule, Status.PASS, _observed(scope), scope)
    except Undetermined as error:
        unknown = tuple(dict.fromkeys(scope.unknown))
        return _result(rule, Status.ERROR, str(error), scope, unknown if len(unknown) > 1 else ())
    text, broken = rule.check.broken(deriver.get)
    findings = tuple(_said(rule, witness) for witness in broken.witnesses)
    # What could not be told beside what was found: nobody who answers for the one answers for the other.
    unknown = tuple(f"not known: {one}" for one in dict.fromkeys(broken.unknown))
    findings += unknown
    message = f"{len(findings)} found" if len(findings) > 1 else findings[0] if findings else _observed(broken)
    wrong = [*broken.witnesses, *unknown] or [fact.value for _, fact in sorted(broken.read.items()) if fact.known]
    result = _result(rule, Status.FAIL, f"not {text}: {message}" if not findings else message, scope, findings)
    return _with_digest(result, wrong)


def _with_digest(result: Result, wrong: Any) -> Result:
    from dataclasses import replace

    said = json.dumps(wrong, sort_keys=True, default=str).encode()
    return replace(result, digest=hashlib.sha256(said).hexdigest())


def _result(rule: Rule, status: Status, message: str, scope: Scope, findings: tuple[str, ...] = ()) -> Result:
    return Result(
        rule.name,
        rule.title,
        rule.severity,
        rule.profiles,
        status,
        message,
        findings,
        tuple(_evidence(name, fact) for name, fact in sorted(scope.read.items())),
        rule.references,
        rule.why,
        rule.remediation,
        rule.impact,
    )


def _evidence(name: str, fact: Fact) -> Evidence:
    value = fact.value
    if fact.known:
        said = json.dumps(value, default=str)
        if len(said) > SHOWN:
            counted = f"{len(value)} " if isinstance(value, list | dict) else ""
            value = f"{counted}… {said[: SHOWN - 20]} …"
    return Evidence(name, fact.path, str(fact.outcome), value, fact.why)


def _observed(scope: Scope) -> str:
    """What was read, in one line."""
    said = []
    for name, fact in sorted(scope.read.items()):
        if not fact.known:
            said.append(f"{name} is {fact.outcome}")
        elif isinstance(fact.value, list | dict) and len(str(fact.value)) > 60:
            said.append(f"{name} has {len(fact.value)} entries")
        else:
            said.append(f"{name} is {json.dumps(fact.value, default=str)}")
    return ", ".join(said)


def _said(rule: Rule, witness: Any) -> str:
    """The line for one thing that broke a rule."""
    if rule.says and isinstance(witness, dict):
        try:
            return rule.says.format_map(witness)
        except (KeyError, IndexError, ValueError, AttributeError, TypeError):
            pass
    elif rule.says and "{}" in rule.says:
        return rule.says.replace("{}", str(witness))
    said = json.dumps(witness, default=str) if not isinstance(witness, str) else witness
    return said if len(said) <= SHOWN else f"{said[: SHOWN - 1]}…"


def identity(deriver: Deriver) -> HostIdentity:
    """Which host the facts are of."""

    def text(name: str) -> str:
        fact = deriver.get(name)
        return str(fact.value) if fact.known and isinstance(fact.value, str) else ""

    release = deriver.get("host.release")
    said = release.value if release.known and isinstance(release.value, dict) else {}
    return HostIdentity(
        deriver.facts.kind,
        text("kernel.hostname"),
        text("host.machine_id"),
        text("kernel.boot_id"),
        text("kernel.release"),
        str(said.get("PRETTY_NAME") or said.get("ID") or ""),
    )
