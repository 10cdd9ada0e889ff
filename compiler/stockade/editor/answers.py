"""What an editor asks about a place in a file: what may stand there, what stands there, and where that was declared."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from stockade.editor import grammar
from stockade.editor.context import Context, Word, context_at, word_at
from stockade.editor.explain import explain, explain_word
from stockade.editor.names import Index, Kind, Name, fitting
from stockade.model.finding import Finding
from stockade.model.policy import Policy
from stockade.model.position import Position
from stockade.source.diagnostics import PolicyError
from stockade.source.layout import LayoutError, laid_out

_TOKEN = re.compile(r"\"[^\"]*\"|'[^']*'|[^\s,\[\]{}#]+")
_MEANT = re.compile(r"did you mean `([^`]+)`\?")


@dataclass(frozen=True, slots=True)
class Proposal:
    """One thing that may stand at a place; `is_key` when a colon follows it."""

    text: str
    detail: str
    about: str = ""
    is_key: bool = False


@dataclass(frozen=True, slots=True)
class Span:
    """Part of one line: columns from 0, in characters, the end not included."""

    line: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Repair:
    """What to write in place of a span."""

    span: Span
    text: str


def proposals(known: Index, file: str, text: str, line: int, column: int) -> tuple[Word | None, list[Proposal]]:
    """What may stand at a place, and the part of a word there that it takes the place of."""
    here = context_at(text, line, column)
    if here is None:
        return None, []
    kinds = grammar.kinds_of(file, text)
    found = {proposal.text: proposal for proposal in _proposed(known, kinds, here)}
    begun = Word(here.word, column - len(here.word), column)
    return begun, [found[key] for key in sorted(found)]


def _proposed(known: Index, kinds: tuple[str, ...], here: Context) -> Iterator[Proposal]:
    if here.is_key or not here.word.startswith("@"):
        inner = here if here.is_key else Context(here.path, True, here.word, here.beside)
        said = here.beside[-1] if here.is_key and here.beside else {}
        for key, about in grammar.keys(kinds, inner):
            if key not in said:
                yield Proposal(key, "key", about, is_key=True)
        yield from (_proposal(name, is_key=True) for name in fitting(known, inner))
    if not here.is_key:
        yield from (Proposal(word, here.key, explain_word(here.key, word)) for word in grammar.words(kinds, here))
        yield from (_proposal(name) for name in fitting(known, here))


def _proposal(name: Name, is_key: bool = False) -> Proposal:
    return Proposal(name.text, name.kind, name.why, is_key)


def pointed_at(known: Index, text: str, line: int, column: int) -> tuple[Word, Context, Name | None] | None:
    """The word at a place, the context that it stands in, and the name that it is there; None where no word is."""
    word = word_at(text, line, column)
    here = context_at(text, line, word.end) if word is not None else None
    if word is None or here is None:
        return None
    return word, here, next((name for name in _candidates(known, here) if name.text == word.text), None)


def _candidates(known: Index, here: Context) -> Iterator[Name]:
    """The names that a place uses, and those that it declares."""
    yield from fitting(known, here)
    here_is_declaration = here.is_key or (len(here.path) == 1 and here.path[0] in ("container", "action", "promise"))
    if here_is_declaration:
        yield from known.all()


def hover(known: Index, policy: Policy | None, file: str, text: str, line: int, column: int) -> str:
    """What the word at a place means, in Markdown; empty where there is nothing to say."""
    found = pointed_at(known, text, line, column)
    if found is None:
        return ""
    word, here, name = found
    if name is not None:
        return explain(name, policy)
    kinds = grammar.kinds_of(file, text)
    if here.is_key:
        about = explain_word(here.key, word.text) or grammar.described(kinds, (*here.path, word.text))
        return about if about.startswith("**") or not about else f"**{word.text}** · key\n\n{about}"
    return explain_word(here.key, word.text)


def declared_at(known: Index, text: str, line: int, column: int) -> Position | None:
    """Where the name at a place was declared, None for one that the policy does not declare."""
    found = pointed_at(known, text, line, column)
    return found[2].at if found is not None and found[2] is not None else None


def declarations(known: Index, file: str) -> list[Name]:
    """What a file declares, in the order of its lines; a label is part of its subject or object."""
    labels = (Kind.SUBJECT_LABEL, Kind.OBJECT_LABEL)
    found = {n.at: n for n in known.all() if n.at is not None and n.at.file == file and n.kind not in labels}
    return [name for _, name in sorted(found.items())]


def span(at: Position, text: str) -> Span:
    """The token that begins at a place, or one column of it where the line is shorter."""
    lines = text.split("\n")
    line = min(max(at.line - 1, 0), len(lines) - 1)
    start = min(max(at.column - 1, 0), len(lines[line]))
    token = _TOKEN.match(lines[line], start)
    end = token.end() - (token[0].endswith(":") and len(token[0]) > 1) if token else start + 1
    return Span(line, start, end)


def repair(finding: Finding, text: str) -> Repair | None:
    """The change that a finding's hint proposes, where what it names is what stands there; else None."""
    meant, named = _MEANT.search(finding.hint), re.search(r"`([^`]+)`", finding.message)
    if meant is None or named is None:
        return None
    where = span(finding.at, text)
    stands = text.split("\n")[where.line][where.start : where.end]
    if stands.strip("\"'") != named[1]:
        return None
    quote = stands[0] if stands[0] in "\"'" else ""
    return Repair(where, f"{quote}{meant[1]}{quote}")


def by_file(findings: Iterable[Finding]) -> dict[str, list[Finding]]:
    """Findings by the file that they are in."""
    found: dict[str, list[Finding]] = {}
    for finding in findings:
        found.setdefault(finding.at.file, []).append(finding)
    return found


def formatted(file: str, text: str) -> str | None:
    """A file as `stockade fmt` writes it; None where it has faults, and so stays as it is."""
    try:
        return laid_out(file, text.encode("utf-8")).decode("utf-8")
    except (PolicyError, LayoutError):
        return None
