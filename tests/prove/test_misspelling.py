"""Misspelling any name in any file by one letter fails the check, at the line of the name."""

from __future__ import annotations

import random
import string
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.prove.mutate import Edit, Path_, Source, check, lines_of, scalars

SHIPPED = Path(__file__).resolve().parents[2] / "policy"
SAMPLES = 100

FREE = {"why", "seen-in", "named", "at", "programs", "context-mounts", "aliases", "version", "source", "to", "try"}
"""Keys whose values are texts, paths and labels of the author's own: any other text would be as good."""


@pytest.fixture(scope="module")
def source() -> Source:
    return Source(SHIPPED)


def declared(path: Path_) -> bool:
    """Does this text give a name to something, so that another would be as good until somebody uses it?"""
    match path:
        case ("subjects" | "objects" | "sets" | "verbs" | "groups", _, "key"):
            return True
        case ("subjects" | "objects", _, "label") | ("policy", "name") | ("filesystems", _, "types", *_):
            return True
        case ("container",) | ("selinux", "domain") | ("promise",) | ("action",):
            return True
    return False


def free(path: Path_) -> bool:
    above = path[:-2] if path[-1] == "key" else path
    reason = path[:1] == ("widens",) and path[-1] != "key"
    return reason or any(part in FREE for part in above) or (above[:1] == ("objects",) and "mounts" in above)


def names(source: Source) -> Iterator[tuple[Path_, str, Edit]]:
    """Every name, with an edit that changes one letter of it into a name that is nowhere else."""
    draw = random.Random(4)
    every = {text for document in source.documents for _, text, _ in scalars(document)}
    for document in source.documents:
        for path, text, at in scalars(document):
            if free(path) or text.startswith("/") or not any(char in string.ascii_letters for char in text):
                continue
            line = source.line(at)[at.column - 1 :]
            written = next((w for w in (text, f'"{text}"') if line.startswith(w)), None)
            assert written is not None, f"{at}: {text!r} is written in some other way"
            while True:
                # A label keeps its ending: without it the name would be none, whether or not somebody uses it.
                index = draw.choice(
                    [i for i, char in enumerate(text.removesuffix("_t")) if char in string.ascii_letters]
                )
                letters = string.ascii_uppercase if text[index].isupper() else string.ascii_lowercase
                wrong = text[:index] + draw.choice(letters.replace(text[index], "")) + text[index + 1 :]
                if wrong not in every:
                    break
            yield path, text, Edit(at, written, written.replace(text, wrong), f"{text} as {wrong} at {at}")


def found_at(source: Source, edit: Edit, path: Path_) -> bool:
    """Whether the check of a mutant has a fault at its line, or misses the key at the entry that the key is in."""
    findings, _ = check(source.mutant(edit))
    missing = f"missing key `{edit.old}`"
    return any(
        finding.at.file == edit.at.file
        and (finding.at.line == edit.at.line or (path[-1] == "key" and missing in finding.message))
        for finding in findings
    )


def test_every_use_of_a_name(source: Source) -> None:
    """A sample of all; each alone, so that no fault can be found for another's sake."""
    uses = [(path, edit) for path, _, edit in names(source) if not declared(path)]
    chosen = random.Random(5).sample(uses, SAMPLES)
    missed = [edit.what for path, edit in chosen if not found_at(source, edit, path)]
    print(f"{SAMPLES} of {len(uses)} uses of names misspelled")
    assert missed == []
    files = {file.name.split("/")[0] for file in source.files}
    assert {edit.at.file.split("/")[0] for _, edit in chosen} | {"expectations"} == files


def test_every_declaration_of_a_name(source: Source) -> None:
    """Every subject, object, set, verb and group that is used: a line that uses it is at fault."""
    found = list(names(source))
    users: dict[str, set[tuple[str, int]]] = {}
    for path, text, edit in found:
        if not declared(path):
            users.setdefault(text, set()).add((edit.at.file, edit.at.line))
    tried, missed = 0, []
    for path, text, edit in found:
        used_as = f"@{text}" if path[0] == "groups" else text
        if len(path) == 3 and path[0] in ("subjects", "objects", "sets", "verbs", "groups") and used_as in users:
            findings, _ = check(source.mutant(edit))
            tried += 1
            if not users[used_as] & lines_of(findings):
                missed.append(edit.what)
    assert missed == []
    assert tried > 100
