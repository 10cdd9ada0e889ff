"""A rule of an audit: what must hold, when it applies, why, and what to do; and its shape as data."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from stockade.audit.rules.expression import Expression, ExpressionError, compiled

PROFILES: Final = ("fortified", "cis-bottlerocket-1", "cis-bottlerocket-2", "cis-kubernetes-node", "guidance")
SEVERITIES: Final = ("high", "medium", "low")
_NAME: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_TEXTS: Final = ("title", "severity", "why", "remediation")
_KEYS: Final = {
    "rule",
    *_TEXTS,
    "profiles",
    "check",
    "manual",
    "when",
    "impact",
    "says",
    "references",
    "image",
    "cases",
}


class RuleError(Exception):
    """A rule that does not load; the text names it and what is wrong."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    `check` is None for a rule that a person judges, and `manual` then says how. `when` says where it applies; `image`
    whether an unpacked image can be judged by it. `says` is a line for each thing that broke it. `references` has
    ids of others by the name of their source.
    """

    name: str
    title: str
    severity: str
    profiles: tuple[str, ...]
    check: Expression | None
    manual: str
    when: Expression | None
    why: str
    remediation: str
    impact: str
    says: str
    references: Mapping[str, str]
    image: bool

    @property
    def facts(self) -> frozenset[str]:
        """The facts that it names."""
        return frozenset().union(*(one.facts for one in (self.check, self.when) if one))


def rule(said: Any, known: Collection[str], cases: bool = True) -> Rule:
    """A rule from its data. With `cases`, one that nothing is known to break does not load."""
    if type(said) is not dict:
        raise RuleError("a rule is a mapping")
    name = said.get("rule")
    if type(name) is not str or not _NAME.fullmatch(name):
        raise RuleError(f"rule: a name of small letters, digits and dashes, not {name!r}")
    try:
        return _rule(name, said, known, cases)
    except (RuleError, ExpressionError) as error:
        raise RuleError(f"{name}: {error}") from None


def _rule(name: str, said: Mapping[str, Any], known: Collection[str], cases: bool) -> Rule:
    if unknown := sorted(map(str, set(said) - _KEYS)):
        raise RuleError(f"no key `{unknown[0]}`")
    texts = {key: said.get(key) for key in _TEXTS}
    for key, value in texts.items():
        if type(value) is not str or not value.strip():
            raise RuleError(f"{key}: a text")
    if said["severity"] not in SEVERITIES:
        raise RuleError(f"severity: one of {', '.join(SEVERITIES)}")
    profiles = said.get("profiles")
    if type(profiles) is not list or not profiles or not set(map(str, profiles)) <= set(PROFILES):
        raise RuleError(f"profiles: some of {', '.join(PROFILES)}")
    if ("check" in said) == ("manual" in said):
        raise RuleError("one of check and manual")
    for key in ("check", "manual", "when", "impact", "says"):
        if type(said.get(key, "")) is not str:
            raise RuleError(f"{key}: a text")
    references = said.get("references", {})
    if type(references) is not dict or not all(type(one) is str for pair in references.items() for one in pair):
        raise RuleError("references: ids in quotes by their source")
    if type(said.get("image", False)) is not bool:
        raise RuleError("image: true or false")
    if cases and "check" in said:
        _cases(said.get("cases"))
    return Rule(
        name,
        _text(said["title"]),
        said["severity"],
        tuple(profiles),
        compiled(said["check"], known) if "check" in said else None,
        _text(said.get("manual", "")),
        compiled(said["when"], known) if "when" in said else None,
        _text(said["why"]),
        _text(said["remediation"]),
        _text(said.get("impact", "")),
        said.get("says", "").strip(),
        dict(references),
        said.get("image", False),
    )


def _cases(cases: Any) -> None:
    if type(cases) is not dict or not set(cases) <= {"pass", "fail", "error", "not-applicable"}:
        raise RuleError("cases: lists of facts under pass, fail, error and not-applicable")
    for kind, examples in cases.items():
        if type(examples) is not list or not all(type(one) is dict for one in examples):
            raise RuleError(f"cases: {kind}: a list of facts that differ from the genuine host's")
    if not cases.get("fail"):
        raise RuleError("cases: no failing case, so nothing is known to break it")
    if not cases.get("pass"):
        raise RuleError("cases: no passing case")


def _text(said: str) -> str:
    return " ".join(said.split())
