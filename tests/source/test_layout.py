"""The canonical layout: what it says stays, every comment stays, and it comes out of any order of keys alike."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stockade.model.placeless import placeless
from stockade.source import layout
from stockade.source.diagnostics import Diagnostics, PolicyError
from stockade.source.layout import LayoutError, laid_out, same
from stockade.source.layout_read import comments_of
from stockade.source.load import build
from stockade.source.yaml import read_documents

from tests.source import policies
from tests.source.shuffle import dumped, plain, shuffled, tree

SHIPPED = policies.files_of(policies.SHIPPED)
BASE = policies.files_of(policies.BASE)
PLANTABLE = [(name, data.decode()) for name, data in sorted({**SHIPPED, **BASE}.items()) if b">-" not in data]


def values(name: str, data: bytes) -> Any:
    report = Diagnostics()
    found = [plain(document) for document in read_documents(name, data, report)]
    assert report.found == []
    return found


def told(name: str, text: str) -> str:
    """A text laid out; what it says and its comments are compared by means of the test's own."""
    after = laid_out(name, text.encode())
    assert values(name, after) == values(name, text.encode())
    assert sorted(re.findall(r"#planted-\d+", after.decode())) == sorted(re.findall(r"#planted-\d+", text))
    assert laid_out(name, after) == after
    return after.decode()


@pytest.mark.parametrize("files", [SHIPPED, BASE], ids=["shipped", "base"])
def test_a_policy_laid_out_is_the_same_policy(files: policies.Files) -> None:
    after = {name: told(name, data.decode()).encode() for name, data in files.items()}
    assert placeless(build(policies.as_sources(after))) == placeless(build(policies.as_sources(files)))
    for name, data in files.items():
        assert sorted(comments_of(after[name].decode())) == sorted(comments_of(data.decode()))


def test_the_shipped_policy_is_laid_out() -> None:
    assert [name for name, data in SHIPPED.items() if laid_out(name, data) != data] == []


@pytest.mark.parametrize("seed", range(2))
def test_a_policy_in_another_order_is_the_same_laid_out(seed: int) -> None:
    dice = random.Random(seed)
    for name, documents in tree(SHIPPED).items():
        again = dumped(shuffled(documents, dice))
        assert values(name, laid_out(name, again)) == values(name, again)


def keys_shuffled(node: Any, dice: random.Random, known: tuple[str, ...]) -> Any:
    """The same with the keys in another order wherever the language gives them one: in mappings with a `why`."""
    if isinstance(node, list):
        return [keys_shuffled(item, dice, known) for item in node]
    if not isinstance(node, dict):
        return node
    items = [(key, keys_shuffled(value, dice, known)) for key, value in node.items()]
    if any(key in node for key in known):
        dice.shuffle(items)
    return dict(items)


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 1 << 30))
def test_the_order_of_keys_leaves_no_trace(seed: int) -> None:
    for name in ("containers/web.yaml", "host/rules.yaml", "promises/kernel.yaml", "expectations/containers.yaml"):
        documents = tree({name: SHIPPED[name]})[name]
        again = keys_shuffled(documents, random.Random(seed), ("who", "container", "domain", "promise", "expect"))
        assert laid_out(name, dumped(again)) == laid_out(name, dumped(documents))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.data_too_large])
@given(st.data())
def test_planted_comments_stay(data: st.DataObject) -> None:
    name, text = data.draw(st.sampled_from(PLANTABLE))
    lines = text.split("\n")[:60]
    while lines and not re.match(r"[a-z]|---|\Z", lines[-1]):  # cut where no list and no mapping is left open
        lines.pop()
    lines = lines[:-1] if lines and not lines[-1].startswith("#") else lines
    for number in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, max(len(lines) - 1, 0)))
        if data.draw(st.booleans()):
            lines.insert(at, " " * data.draw(st.integers(0, 8)) + f"#planted-{number}")
        elif lines and "#" not in lines[at]:
            lines[at] += f" #planted-{number}"
        if data.draw(st.booleans()):
            lines.insert(at, "")
    whole = "\n".join(lines)
    try:
        values(name, whole.encode())
    except AssertionError:  # cut in the middle of a document after all
        return
    told(name, whole)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            "subjects:\n  bus:       {label: bus_t, why: passes messages between host programs}\n"
            "  container: {label: container_t, why: containers that an orchestrator schedules}\n"
            f"  control:   {{label: control_t, why: {'word ' * 14}containers}} #planted-0\n",
            "subjects:\n  bus: {label: bus_t, why: passes messages between host programs}\n"
            "  container: {label: container_t, why: containers that an orchestrator schedules}\n"
            f"  control:  #planted-0\n    label: control_t\n    why: {'word ' * 14}containers\n",
        ),
        (
            "transitions:\n  - {who: runtime, runs: cni-program, becomes: container, level: none, why: network plugins "
            "are third-party programs} #planted-0\n",
            "transitions:\n  #planted-0\n  - who: runtime\n    runs: cni-program\n    becomes: container\n"
            "    level: none\n    why: network plugins are third-party programs\n",
        ),
        (
            'objects:\n  network-program:\n    why: "device nodes, kernel file systems, sockets and temporary '
            'files that need no protection of their own" #planted-0\n',
            "objects:\n  network-program:\n    why: device nodes, kernel file systems, sockets and temporary "
            "files that need no protection of their own  #planted-0\n",
        ),
    ],
    ids=["column", "entry", "folded"],
)
def test_what_a_comment_moves_may_move_more(text: str, wanted: str) -> None:
    """Each is laid out as itself after the second time alone: the comment makes its line too long."""
    assert told("host/subjects.yaml", text) == wanted


WORDS = st.one_of(
    st.sampled_from(
        ["yes", "on", "1.0", "0o17", "null", "~", "", "a: b", "a #b", "#", "-", "- x", "? x", "{", "[a", "@x"]
    ),
    st.sampled_from(
        ["12:30", "*x", "&x", "!x", "'", '"', "a\\b", "é", " x", "x ", "a  b", "x:", "%x", ",", "...", "---"]
    ),
    st.text(st.characters(codec="utf-8", min_codepoint=32, max_codepoint=0x2FF, exclude_categories=["Cc"])),
    st.lists(st.sampled_from(["word", "longer-word", "a:", "#b", "|"]), min_size=20, max_size=40).map(" ".join),
)
VALUES = st.recursive(
    st.one_of(WORDS, st.integers(-99, 1 << 40), st.booleans(), st.none(), st.sampled_from([0.5, 1e30, 1.5e-7])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS.filter(lambda w: w != "<<"), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=120, deadline=None)
@given(
    st.dictionaries(WORDS.filter(lambda w: w != "<<"), VALUES, min_size=1, max_size=4),
    st.sampled_from([True, False, None]),
    st.sampled_from([20, 80, 4096]),
    st.sampled_from([None, "'", '"', "|", ">"]),
)
def test_anything_that_can_be_read_keeps_its_values(value: Any, flow: bool | None, width: int, style: str) -> None:
    text = yaml.safe_dump(value, default_flow_style=flow, width=width, default_style=style, allow_unicode=True)
    report = Diagnostics()
    before = read_documents("host/any.yaml", text.encode(), report)
    if report.found:  # a tag, which a style of the dumper gives to numbers, or a character that nobody sees
        return
    after = read_documents("host/any.yaml", laid_out("host/any.yaml", text.encode()), report)
    assert same(before, after) and report.found == []


CASES = {
    "a trailing comment": ("policy:   {name:  a} #c\n", "policy: {name: a}  #c\n"),
    "a comment in a list on one line": ("rules: [a, # c\n b]\n", "rules:\n  - a  # c\n  - b\n"),
    "a comment behind a dash": ("rules:\n- # c\n  who: a\n", "rules:\n  # c\n  - who: a\n"),
    "a comment after the last of a list": (
        "rules:\n  - a\n  # c\nquiet: []\n",
        "rules:\n  - a\n  # c\nquiet: []\n",
    ),
    "quotes": ("quiet: ['a', b, 'yes', no, 'it''s']\n", 'quiet: ["a", b, "yes", "no", "it\'s"]\n'),
    "folded text": ("policy:\n  why: >\n    a\n    b\n", "policy:\n  why: a b\n"),
    "an anchor keeps the order of keys": (
        "rules:\n  - {why: &w x, who: a}\n  - {who: b, why: *w}\n",
        "rules:\n  - {why: &w x, who: a}\n  - {who: b, why: *w}\n",
    ),
    "blank lines": ("rules:\n\n\n  - a\n\n\n\n  # c\n  - b\n\n\n", "rules:\n  - a\n\n  # c\n  - b\n"),
    "the head": ("# a\n\n# b\nrules: [a]\n", "# a\n\n# b\nrules: [a]\n"),
    "two documents": ("rules: [a]\n# c\n--- # d\nrules: [b]\n", "rules: [a]\n# c\n---\n# d\nrules: [b]\n"),
    "a sign of its own": ("%YAML 1.2\n---\nrules: [a]\n...\n", "rules: [a]\n"),
    "numbers as they were spelled": ("policy: {categories: 0x400, version: '1.0'}\n", None),
    "keys": ("rules: [{why: x, what: b, may: c, who: a}]\n", "rules: [{who: a, may: c, what: b, why: x}]\n"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_comes_out(case: str) -> None:
    text, wanted = CASES[case]
    after = told("host/case.yaml", text)
    assert wanted is None or after == wanted, after


def test_long_lines_are_folded_and_opened() -> None:
    why = " ".join(["because"] * 30)
    after = told("host/case.yaml", f"rules:\n  - {{who: a, may: b, what: [{', '.join(['name'] * 40)}], why: {why}}}\n")
    assert max(map(len, after.splitlines())) <= layout.WIDTH
    assert "why: >-" in after


@pytest.mark.parametrize("broken", ["value", "comment", "unstable"])
def test_what_would_be_lost_is_noticed(monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    real = layout._text
    told: list[str] = []

    def text(*words: Any) -> str:
        found = real(*words)
        told.append(found)
        if broken == "value":
            return found.replace("true", "1")
        return found.replace("# c", "") if broken == "comment" else found + "\n" * len(told)

    monkeypatch.setattr(layout, "_text", text)
    with pytest.raises(LayoutError):
        laid_out("host/case.yaml", b"objects: {os: {default: true}} # c\n")


def test_what_cannot_be_read_is_left_alone() -> None:
    with pytest.raises(PolicyError) as refused:
        laid_out("host/case.yaml", b"rules: []\nrules: []\n")
    assert "given twice" in refused.value.render()
