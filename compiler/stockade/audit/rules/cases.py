"""The cases of a rule: facts that differ from a genuine host's, and the verdict that must follow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stockade.audit.derive import Deriver
from stockade.audit.facts.catalogue import DERIVED
from stockade.audit.facts.fact import Fact, Facts, Outcome
from stockade.audit.judge import verdict
from stockade.audit.report.model import Result
from stockade.audit.rules.rule import Rule, RuleError


def changed(genuine: Facts, case: Mapping[str, Any]) -> Deriver:
    """A genuine host's facts with those of a case instead.

    A case says `absent`, `unreadable` or `malformed` of a fact, or gives its value; `+name` replaces members of a
    mapping, or adds to a list; `name|step|...` goes into a value: by key, by index, `*` for the only key, `key=text`
    for the entry of a list that has it, and `+` to add to a list. The value `gone` takes away what was there.
    """
    facts = {name: fact for name, fact in genuine.facts.items() if name not in DERIVED}
    expected = {name: fact for name, fact in genuine.facts.items() if name in DERIVED}
    for name, said in case.items():
        if "|" in name:
            name, *steps = name.split("|")
            before = (expected if name in DERIVED else facts)[name]
            fact = Fact.of(_patched(before.value, steps, said), before.path)
        elif type(said) is str and said in ("absent", "unreadable", "malformed"):
            fact = Fact(Outcome(said), None, "", "as the case says")
        elif name.startswith("+"):
            name = name[1:]
            before = facts[name].value
            fact = Fact.of({**before, **said} if isinstance(before, dict) else [*before, *said], facts[name].path)
        else:
            fact = Fact.of(said, facts[name].path if name in facts else "")
        (expected if name in DERIVED else facts)[name] = fact
    return Deriver(Facts(genuine.kind, facts, genuine.collected), expected)


def _patched(value: Any, steps: Sequence[str], said: Any) -> Any:
    """A copy of a value with one place in it changed."""
    if not steps:
        return said
    step, rest = steps[0], steps[1:]
    if isinstance(value, list):
        if step == "+":
            return [*value, said]
        key, equals, text = step.partition("=")
        at = next(n for n, one in enumerate(value) if one[key] == text) if equals else int(step)
        if said == "gone" and not rest:
            return [*value[:at], *value[at + 1 :]]
        return [*value[:at], _patched(value[at], rest, said), *value[at + 1 :]]
    key = next(iter(value)) if step == "*" else step
    if said == "gone" and not rest:
        return {name: one for name, one in value.items() if name != key}
    return {**value, key: _patched(value.get(key), rest, said)}


def judged(rule: Rule, cases: Mapping[str, Any], genuine: Facts) -> Iterator[tuple[str, Mapping[str, Any], Result]]:
    """Of each case the status that it must have, the case, and the result it has."""
    for wanted, examples in cases.items():
        for case in examples:
            yield wanted, case, verdict(rule, changed(genuine, case))


def proven(rule: Rule, cases: Mapping[str, Any], genuine: Facts) -> None:
    """RuleError where a case has another verdict than it must have."""
    for wanted, case, result in judged(rule, cases, genuine):
        if result.status != wanted:
            raise RuleError(f"{rule.name}: the case {dict(case)} is {result.status}, not {wanted}: {result.message}")
