"""Every word of the shipped policy, pointed at: a name is found where it is used, and no place is an exception."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from stockade.editor import answers
from stockade.editor.context import context_at
from stockade.editor.names import Index, Kind, index
from stockade.model.finding import Finding
from stockade.model.policy import Policy
from stockade.model.position import Position
from stockade.source.load import SourceFile, read_files

from tests.source.policies import SHIPPED

WORD = re.compile(r"@?[A-Za-z_][A-Za-z0-9_.-]*")


@pytest.fixture(scope="module")
def files() -> list[SourceFile]:
    return read_files(SHIPPED)


@pytest.fixture(scope="module")
def known(files: list[SourceFile]) -> Index:
    return index(files)


def test_every_name_that_the_policy_declares_is_known(known: Index, policy: Policy) -> None:
    assert {name.text for name in known.of(Kind.SUBJECT)} == set(policy.host.subjects)
    assert {name.text for name in known.of(Kind.OBJECT)} == set(policy.host.objects)
    assert {name.text for name in known.of(Kind.SET)} == set(policy.host.sets)
    assert {name.text for name in known.of(Kind.VERB)} == set(policy.host.verbs)
    assert {name.text for name in known.of(Kind.TYPE)} == set(policy.containers)
    assert {name.text for name in known.of(Kind.ACTION)} == set(policy.actions)


def test_a_name_is_found_where_it_is_used_and_leads_to_its_declaration(known: Index, files: list[SourceFile]) -> None:
    """In rules, every subject, object, set and verb between the braces; the place is where the model says it is."""
    places = {(name.kind, name.text): name.at for name in known.all()}
    rules = next(file.data.decode() for file in files if file.name == "host/rules.yaml")
    seen = Counter[str]()
    for number, line in enumerate(rules.split("\n")):
        for key, value in re.findall(r"\b(who|what|may): (\[[^\]]*\]|[a-z-]+)", line):
            start = line.index(f"{key}: {value}") + len(key) + 2
            for word in WORD.finditer(value):
                at = answers.declared_at(known, rules, number, start + word.start() + 1)
                kinds = (Kind.VERB,) if key == "may" else (Kind.SUBJECT, Kind.OBJECT, Kind.SET)
                wanted = {places[kind, word[0]] for kind in kinds if (kind, word[0]) in places}
                if word[0] not in ("self", "subjects", "objects", "everything", "except", "of"):
                    assert wanted, (number, word[0])
                    assert at in wanted, (number, word[0], at)
                    seen[key] += 1
    assert min(seen["who"], seen["what"], seen["may"]) > 50


def test_no_place_in_any_file_is_an_exception(known: Index, policy: Policy, files: list[SourceFile]) -> None:
    said = 0
    for file in files:
        text = file.data.decode()
        lines = text.split("\n")
        for number in range(0, len(lines), 13):
            for column in {0, len(lines[number]) // 2, len(lines[number])}:
                answers.proposals(known, file.name, text, number, column)
                answers.declared_at(known, text, number, column)
                said += bool(answers.hover(known, policy, file.name, text, number, column))
    assert said > 100


def test_a_place_past_the_end_is_nowhere(known: Index) -> None:
    assert context_at("a: b", 7, 0) is None
    assert answers.proposals(known, "host/a.yaml", "a: b", 7, 0) == (None, [])


@pytest.mark.parametrize(
    ("message", "hint", "text", "wanted"),
    [
        ("unknown name `runtim`", "did you mean `runtime`?", "who: runtim", "runtime"),
        ("unknown group `@fil`", "did you mean `@file`?", 'who: "@fil"', '"@file"'),
        ("unknown name `other`", "did you mean `runtime`?", "who: runtim", None),
        ("unknown name `runtim`", "known: a, b", "who: runtim", None),
    ],
)
def test_a_repair_is_offered_only_for_what_stands_there(message: str, hint: str, text: str, wanted: str | None) -> None:
    found = answers.repair(Finding(Position("host/a.yaml", 1, 6), message, hint), text)
    assert (found.text if found else None) == wanted
