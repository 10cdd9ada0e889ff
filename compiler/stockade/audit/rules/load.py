"""Rules from documents: the shipped ones, which travel in the package, and an operator's own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Final

from stockade.audit.facts.catalogue import KNOWN
from stockade.audit.plain_yaml import read
from stockade.audit.rules.rule import PROFILES, Rule, RuleError, rule

SHIPPED: Final = "rules.json"
"""Made of policy/audit by `python -m stockade.audit.rules`: no YAML is parsed where a host is judged."""


def shipped() -> tuple[Rule, ...]:
    """The rules that travel in the package."""
    content = files("stockade.audit").joinpath(SHIPPED).read_bytes()
    return tuple(rule(one, KNOWN, cases=False) for one in json.loads(content))


def read_yaml(text: str) -> list[Any]:
    """The rules of a YAML document, as data; RuleError where it is no list."""
    import yaml

    try:
        said = read(text)
    except yaml.YAMLError as error:
        raise RuleError(f"not YAML: {' '.join(str(error).split())}") from None
    if type(said) is not list:
        raise RuleError("a document of rules is a list")
    return said


def load(documents: Sequence[tuple[str, str]]) -> tuple[Rule, ...]:
    """Rules of (name, YAML text) documents, each with its cases. RuleError names the document and the rule."""
    found: dict[str, Rule] = {}
    for name, text in documents:
        try:
            for said in read_yaml(text):
                one = rule(said, KNOWN)
                if one.name in found:
                    raise RuleError(f"{one.name}: two rules of that name")
                found[one.name] = one
        except RuleError as error:
            raise RuleError(f"{name}: {error}") from None
    return tuple(found.values())


def packed(documents: Sequence[tuple[str, str]]) -> str:
    """The document that travels in the package: the rules without their cases, in order of the documents' names."""
    load(documents)
    rules = [
        {key: value for key, value in said.items() if key != "cases"}
        for _, text in sorted(documents)
        for said in read_yaml(text)
    ]
    lines = ",\n".join(json.dumps(one, ensure_ascii=False, sort_keys=True) for one in rules)
    return f"[\n{lines}\n]\n"


def chosen(rules: Sequence[Rule], profile: str) -> tuple[Rule, ...]:
    """The rules of a profile; all of them for `all`. RuleError where there is no such profile."""
    if profile == "all":
        return tuple(rules)
    if profile not in PROFILES:
        raise RuleError(f"no profile `{profile}`: {', '.join(PROFILES)} or all")
    return tuple(one for one in rules if profile in one.profiles)
