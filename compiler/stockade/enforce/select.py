"""Which type a container is of: what the operator wrote decides, and nothing that a pod says makes it wider.

The operator's file is TOML:

    default = "ordinary"            # a container about which nothing else is said
    ask = ["web", "batch"]          # types that a pod may choose by the annotation io.stockade.type

    [[rule]]                        # the first rule of which every given key matches; shell patterns
    handler = "stockade-database"
    namespace = "shop-*"
    image = "images.example/postgres:*"
    type = "database"
    ask = []

Namespace, annotation and image are the pod's own words. A type that only such words choose must not be wider than the
default; where it is meant to be, the rule says `widens = "why"`, which every report repeats. A runtime handler is the
operator's word: it stands in the RuntimeClass, and who may use that is decided elsewhere.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Collection, Mapping
from typing import Any

from stockade.enforce.choose import ANNOTATION, HANDLER, Facts, Rule, Selection, SelectionError

__all__ = ["ANNOTATION", "HANDLER", "Facts", "Rule", "Selection", "SelectionError", "parse", "standard"]

DEFAULT = "ordinary"
_KEYS = ("handler", "namespace", "image")


def parse(text: str, types: Collection[str], wider: Callable[[str, str], list[str]]) -> Selection:
    """The selection that a file says; raises SelectionError.

    `types` are those of the bundle. `wider` says in which ways the first of two types is wider than the second.
    """
    try:
        said = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SelectionError(f"no TOML: {error}") from error
    _known(said, {"default", "ask", "rule"}, "the file")
    default = _rule({key: said[key] for key in ("ask",) if key in said} | {"type": said.get("default", DEFAULT)}, types)
    entries = said.get("rule", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise SelectionError("`rule` is no list of tables: write [[rule]]")
    rules = [_rule(entry, types) for entry in entries]
    for rule in (default, *rules):
        by_operator = any(key == "handler" for key, _ in rule.patterns)
        base = rule.type if by_operator or rule.widens else default.type
        for name in {rule.type, *rule.ask}:
            if name != base and not rule.widens and (reasons := wider(name, base)):
                raise SelectionError(
                    f"a pod could choose {name}, which is wider than {base}: {'; '.join(reasons[:3])} "
                    '(match a handler as well, or say widens = "why")'
                )
    return Selection(rules, default, types)


def standard(types: Collection[str], default: str = DEFAULT) -> Selection:
    """The selection without a file: by runtime handler, or else the default, and a pod asks for nothing."""
    return Selection((), _rule({"type": default}, types), types)


def _rule(said: Mapping[str, Any], types: Collection[str]) -> Rule:
    _known(said, {*_KEYS, "type", "ask", "widens"}, "a rule")
    for key in (*_KEYS, "type", "widens"):
        if key in said and (not isinstance(said[key], str) or not said[key]):
            raise SelectionError(f"`{key}` is no text")
    ask = said.get("ask", [])
    if not isinstance(ask, list) or not all(isinstance(name, str) for name in ask):
        raise SelectionError("`ask` is no list of container types")
    if "type" not in said:
        raise SelectionError("a rule without `type`")
    for name in (said["type"], *ask):
        if name not in types:
            raise SelectionError(f"{name!r} is no container type of the bundle: {', '.join(sorted(types))}")
    patterns = tuple((key, said[key]) for key in _KEYS if key in said)
    return Rule(patterns, said["type"], ask, said.get("widens", ""))


def _known(said: Mapping[str, Any], keys: set[str], what: str) -> None:
    for key in said:
        if key not in keys:
            raise SelectionError(f"{what} has the key `{key}`, which means nothing: {', '.join(sorted(keys))}")
