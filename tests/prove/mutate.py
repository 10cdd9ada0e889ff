"""Mutates the text of a policy at the places of its located tree, and asks what a check of the mutant finds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stockade.model.finding import Finding
from stockade.model.grants import grants
from stockade.model.policy import Policy
from stockade.model.position import Position
from stockade.prove.policy import source_findings
from stockade.source.diagnostics import Diagnostics, PolicyError
from stockade.source.files import SourceFile, read_files
from stockade.source.load import build
from stockade.source.yaml import Map, Seq, read_documents

Path_ = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Edit:
    """Text put in place of some characters of one line; lines keep their numbers."""

    at: Position
    old: str
    new: str
    what: str


class Source:
    """The files of a policy, and their documents with places."""

    def __init__(self, folder: Path) -> None:
        self.files = read_files(folder)
        report = Diagnostics()
        self.documents: list[Map] = [d for f in self.files for d in read_documents(f.name, f.data, report)]
        assert not report.found
        self.lines = {f.name: f.data.decode().splitlines() for f in self.files}

    def line(self, at: Position) -> str:
        return self.lines[at.file][at.line - 1]

    def text(self, at: Position) -> str:
        """The flow value or scalar that begins at a place, as it is written; it must end on the same line."""
        rest = self.line(at)[at.column - 1 :]
        if rest[0] in "[{":
            depth = 0
            for end, char in enumerate(rest):
                depth += (char in "[{") - (char in "]}")
                if depth == 0:
                    return rest[: end + 1]
            raise ValueError(f"{at}: the value ends on another line")
        if rest[0] in "\"'":
            return rest[: rest.index(rest[0], 1) + 1]
        ends = [rest.index(mark) for mark in (",", "}", "]", ":", " #") if mark in rest]
        return rest[: min([*ends, len(rest)])].rstrip()

    def mutant(self, *edits: Edit) -> list[SourceFile]:
        """The files with these edits made; two of them may share a line where they do not touch."""
        changed = {name: list(lines) for name, lines in self.lines.items()}
        for edit in sorted(edits, key=lambda e: (e.at.file, e.at.line, -e.at.column)):
            line = changed[edit.at.file][edit.at.line - 1]
            start = edit.at.column - 1
            assert line[start : start + len(edit.old)] == edit.old, edit
            changed[edit.at.file][edit.at.line - 1] = line[:start] + edit.new + line[start + len(edit.old) :]
        touched = {edit.at.file for edit in edits}
        return [
            replace(f, data=("\n".join(changed[f.name]) + "\n").encode()) if f.name in touched else f
            for f in self.files
        ]


def check(files: list[SourceFile]) -> tuple[list[Finding], Policy | None]:
    """What loading and the proofs on the source find; the policy where it could be loaded."""
    try:
        policy = build(files)
    except PolicyError as error:
        return list(error.diagnostics), None
    return source_findings(policy, grants(policy.host)), policy


def lines_of(findings: list[Finding]) -> set[tuple[str, int]]:
    return {(finding.at.file, finding.at.line) for finding in findings}


def scalars(value: Any, path: Path_ = ()) -> Iterator[tuple[Path_, str, Position]]:
    """(path, text, place) of every text in a tree, keys (their path ends in `key`) included."""
    if isinstance(value, Map):
        for key, inner in value.items():
            yield (*path, key, "key"), key, value.keys_at[key]
            if isinstance(inner, Map | Seq):
                yield from scalars(inner, (*path, key))
            elif isinstance(inner, str):
                yield (*path, key), inner, value.values_at[key]
    elif isinstance(value, Seq):
        for index, inner in enumerate(value):
            if isinstance(inner, Map | Seq):
                yield from scalars(inner, (*path, index))
            elif isinstance(inner, str):
                yield (*path, index), inner, value.items_at[index]
