"""The canonical layout of a policy file: what `stockade fmt` writes.

Keys stand in the order of the schemas, two spaces indent, quotes are double and stand wherever a reader of YAML could
take the word for something else, and text that is too long for its line is folded. Whether a collection stands on one
line is its author's choice as long as it fits. Names and list entries keep their order, which means nothing and tells a
reader something. What comes out is read again: the same values, the same comments, and the same layout once more.
"""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from typing import Any

import yaml

from stockade.source.diagnostics import Diagnostics, PolicyError
from stockade.source.layout_order import Place, of_document
from stockade.source.layout_read import Entry, Node, Page, comments_of, read_pages
from stockade.source.yaml import Map, read_documents, scalar

WIDTH = 120
_ROUNDS = 6
_resolve: Any = yaml.resolver.Resolver().resolve


class LayoutError(Exception):
    """A file that cannot be laid out without changing what it says; it stays as it is."""


def laid_out(name: str, data: bytes) -> bytes:
    """A policy file in the canonical layout; `name` is relative to the policy folder.

    Raises PolicyError where the file cannot be read, LayoutError where what was written is not what was read.
    """
    report = Diagnostics()
    before = read_documents(name, data, report)
    if report.found:
        raise PolicyError(report.found, report.texts)
    text = report.texts[name].replace("\r\n", "\n")
    after = _settled(name, text, before)
    again = Diagnostics()
    if not same(before, read_documents(name, after.encode(), again)) or again.found:
        raise LayoutError(f"{name}: laid out it would mean something else")
    if Counter(comments_of(text)) != Counter(comments_of(after)):
        raise LayoutError(f"{name}: a comment would be lost")
    return after.encode()


def _settled(name: str, text: str, documents: list[Map]) -> str:
    """The layout that is laid out as itself.

    A comment that makes its line too long moves what it stands by, and from its new place may move more: a column of
    values whose longest is gone, an entry that has a line of its own now.
    """
    for _ in range(_ROUNDS):
        before, text = text, _text(name, text, documents)
        if text == before:
            return text
    raise LayoutError(f"{name}: its layout does not settle")


def same(one: Any, other: Any) -> bool:
    """Whether two values of a policy are equal: keys in any order, and never a number for a truth value."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other) or one != one


def _text(name: str, text: str, documents: list[Map]) -> str:
    lines: list[str] = []
    for number, (page, document) in enumerate(zip(read_pages(text), documents, strict=True)):
        if number:
            lines.append("---")
        lines += _trimmed(page.head)
        lines += _page(page, of_document(name, document))
    return "\n".join(lines) + "\n"


def _page(page: Page, place: Place) -> list[str]:
    if page.anchors:  # an alias must stand after what it names
        place = Place(())
    if page.root.flow and page.root.entries:
        page.root.opened = True
    return _block(page.root, 0, place)


def _trimmed(lines: list[str]) -> list[str]:
    """Comments with at most one blank line before any of them."""
    found: list[str] = []
    for line in lines:
        if line or not found or found[-1]:
            found.append(line)
    return found


def _block(node: Node, indent: int, place: Place) -> list[str]:
    """The lines of a collection, each entry on lines of its own, at an indentation in spaces."""
    lines: list[str] = []
    margin = " " * indent
    entries = sorted(node.entries, key=lambda entry: place.rank(entry.key)) if node.kind == "map" else node.entries
    place = place.among([entry.key for entry in node.entries]) if node.kind == "map" else place
    width = _aligned(node)
    for number, entry in enumerate(entries):
        inner = place.below(entry.key) if node.kind == "map" else place.item()
        hoisted = _hoisted(entry, inner)
        above = _trimmed([*entry.before, *hoisted])
        while number == 0 and above and not above[0]:
            above.pop(0)
        lines += [margin + line if line else "" for line in above]
        lead = margin + (_key(entry.key, False) + ":" if node.kind == "map" else "-")
        lines += _entry(entry, lead.ljust(width + indent), indent, inner, node.kind == "map")
    lines += [margin + line if line else "" for line in _trimmed(node.foot)]
    return lines


def _hoisted(entry: Entry, place: Place) -> list[str]:
    """Comments above the first line of a list's item that is a mapping: they go above its dash."""
    if entry.key or _one_line(entry.value) or not entry.value.entries or entry.value.anchor:
        return []
    inner = entry.value
    if inner.kind == "map":
        ranks = place.among([each.key for each in inner.entries])
        first = min(inner.entries, key=lambda each: ranks.rank(each.key))
        found, first.before = [line for line in first.before if line], []
        return found
    first = inner.entries[0]
    found, first.before = [line for line in first.before if line], []
    return [*found, *_hoisted(first, place.item())]


def _entry(entry: Entry, lead: str, indent: int, place: Place, keyed: bool) -> list[str]:
    """The lines of an entry after its key or dash."""
    node, behind = entry.value, f"  {entry.behind}" if entry.behind else ""
    anchor = f" &{node.anchor}" if node.anchor else ""
    if _one_line(node):
        line = f"{lead}{anchor} {_flow(node, False, place)}{behind}"
        if len(line) <= WIDTH or not node.entries:
            return _folded(node, line, f"{lead}{anchor}", behind, indent)
        if node.kind == "list" and all(not item.value.entries for item in node.entries):
            return _filled(node, f"{lead}{anchor} [", f"]{behind}", indent + 2, place)
    inner = _block(node, indent + 2, place)
    if keyed or anchor or behind or not inner[0].strip().strip("#"):
        return [f"{lead.rstrip()}{anchor}{behind}", *inner]
    return [f"{lead} {inner[0].lstrip()}", *inner[1:]]


def _folded(node: Node, line: str, lead: str, behind: str, indent: int) -> list[str]:
    """A line, or the text on it folded over several where it is too long."""
    if len(line) <= WIDTH or not node.text or " ".join(node.word.split()) != node.word or " " not in node.word:
        return [line]
    words = textwrap.wrap(node.word, WIDTH - indent - 2, break_long_words=False, break_on_hyphens=False)
    return [f"{lead.rstrip()} >-{behind}", *(f"{' ' * (indent + 2)}{row}" for row in words)]


def _filled(node: Node, lead: str, end: str, indent: int, place: Place) -> list[str]:
    """A list of words on as few lines as it takes."""
    lines = [lead]
    for number, item in enumerate(node.entries):
        last = number + 1 == len(node.entries)
        word = _flow(item.value, True, place.item()) + (end if last else ",")
        glue = "" if lines[-1].endswith("[") else " "
        if len(lines[-1]) + len(glue) + len(word) > WIDTH and glue:
            lines.append(" " * indent + word)
        else:
            lines[-1] += glue + word
    return lines


def _one_line(node: Node) -> bool:
    """Whether a value stands on one line: scalars, and collections that their author wrote so."""
    if node.kind in ("word", "alias") or not (node.entries or node.foot):
        return True
    return node.flow and not node.opened


def _aligned(node: Node) -> int:
    """The width of the keys of a mapping whose values are all mappings on one line, so a table; else 0."""
    if node.kind != "map" or len(node.entries) < 2:
        return 0
    values = [entry.value for entry in node.entries]
    if any(v.kind != "map" or not v.entries or not _one_line(v) or v.anchor for v in values):
        return 0
    return max(len(_key(entry.key, False)) + 1 for entry in node.entries)


def _flow(node: Node, inside: bool, place: Place) -> str:
    """A value on one line."""
    anchor = f"&{node.anchor} " if node.anchor and inside else ""
    if node.kind == "alias":
        return node.word
    if node.kind == "word":
        return anchor + (_spelled(node.word, inside, node.quoted) if node.text else node.word)
    if node.kind == "list":
        return f"{anchor}[{', '.join(_flow(entry.value, True, place.item()) for entry in node.entries)}]"
    place = place.among([entry.key for entry in node.entries])
    entries = sorted(node.entries, key=lambda entry: place.rank(entry.key))
    pairs = (f"{_key(e.key, True)}: {_flow(e.value, True, place.below(e.key))}" for e in entries)
    return f"{anchor}{{{', '.join(pairs)}}}"


def _spelled(word: str, inside: bool, quoted: bool = False) -> str:
    """Text as a plain scalar, or in quotes where they stood or it could be taken for something else."""
    # What YAML 1.1 has for a truth value or a number is quoted, for many an editor reads it so. (No key of ours is a
    # value: `on` stays.)
    plain = not quoted and _resolve(yaml.ScalarNode, word, (True, False)) == "tag:yaml.org,2002:str"
    return _key(word, inside) if plain else json.dumps(word, ensure_ascii=False)


def _key(word: str, inside: bool) -> str:
    return word if _plain(word, inside) else json.dumps(word, ensure_ascii=False)


def _plain(word: str, inside: bool) -> bool:
    if not word or word != word.strip() or scalar(word) != word or not isinstance(scalar(word), str):
        return False
    if word[0] in "-?:,[]{}#&*!|>'\"%@`=" or word.endswith(":") or word.startswith(("---", "...")):
        return False
    return not (": " in word or " #" in word or (inside and any(c in ",[]{}" for c in word)))
