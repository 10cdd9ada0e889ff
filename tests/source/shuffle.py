"""Writes documents out again in another order, and strips a model of everything that only says where."""

from __future__ import annotations

import random
from typing import Any

import yaml

from tests.source import policies


class _Dumper(yaml.CSafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))


def dumped(documents: list[Any]) -> bytes:
    """Documents as bytes that read as the same: every text in quotes, so that nothing depends on plain scalars."""
    return yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, allow_unicode=True).encode()


def plain(node: Any) -> Any:
    """A located tree as plain lists and dictionaries."""
    if isinstance(node, dict):
        return {key: plain(value) for key, value in node.items()}
    return [plain(value) for value in node] if isinstance(node, list) else node


def shuffled(node: Any, dice: random.Random) -> Any:
    """The same with keys and list entries in another order; no list of the language has an order."""
    if isinstance(node, dict):
        items = list(node.items())
        dice.shuffle(items)
        return {key: shuffled(value, dice) for key, value in items}
    if isinstance(node, list):
        entries = [shuffled(value, dice) for value in node]
        dice.shuffle(entries)
        return entries
    return node


def tree(files: policies.Files) -> dict[str, list[Any]]:
    """File -> its documents as plain data."""
    from stockade.source.diagnostics import Diagnostics
    from stockade.source.yaml import read_documents

    report = Diagnostics()
    found = {name: [plain(doc) for doc in read_documents(name, data, report)] for name, data in files.items()}
    assert report.found == []
    return found
