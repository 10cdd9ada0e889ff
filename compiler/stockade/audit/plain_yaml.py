"""YAML of an operator or of the host that is judged, as plain data: what would exhaust the reader is refused first."""

from __future__ import annotations

from typing import Any, Final

DEEPEST: Final = 64
"""Levels of nesting. The reader calls itself for each, in C: text of a few kilobytes could end the process."""


def read(text: str) -> Any:
    """The one document of `text`. yaml.YAMLError says what is wrong, too deep nesting and aliases included.

    An alias makes a few lines stand for more than any memory holds once somebody writes them out.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    depth = 0
    for event in yaml.parse(text, Loader=loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        alias = isinstance(event, yaml.AliasEvent)
        if alias or depth > DEEPEST:
            line = event.start_mark.line + 1 if event.start_mark else "?"
            why = "an alias; write what it stands for" if alias else f"nested deeper than {DEEPEST} levels"
            raise yaml.YAMLError(f"line {line}: {why}")
    try:
        return yaml.load(text, loader)
    except ValueError as error:  # a day that no calendar has, a number of thousands of digits
        raise yaml.YAMLError(str(error)) from None
