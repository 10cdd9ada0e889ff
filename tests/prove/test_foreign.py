"""Mutation of CIL that others wrote: names resolved as libsepol does, and what cannot be scored."""

from __future__ import annotations

from pathlib import Path

import pytest
from stockade.cli.main import main
from stockade.prove.foreign import Unscored, score
from stockade.selinux.cil_maps import class_maps

from tests.prove.policies import HEAD

MAP = (
    "(type a)(type b)(classpermission look)(classpermissionset look (file (not (write))))"
    "(classmap things (see change))(classmapping things see look)(classmapping things change (file (write)))"
)
SETS = "(typeattribute who)(typeattributeset who (a))(typeattribute rest)(typeattributeset rest (not (a)))"


def files(*more: str) -> list[tuple[str, bytes]]:
    return [("policy.cil", "\n".join([HEAD, MAP, SETS, *more]).encode())]


def survivors(*more: str, **words: str) -> set[tuple[str, str, str]]:
    return {(one.subject, one.verb, one.target) for one in score(files(*more), **words).survivors}


def test_what_is_given_is_not_tried_and_what_is_refused_does_not_survive() -> None:
    words = {"subjects": "who", "objects": "b"}
    assert survivors(**words) == {("a", "see", "b"), ("a", "change", "b")}
    assert survivors("(neverallow who b (file (write)))", **words) == {("a", "see", "b")}
    assert survivors("(neverallow a rest (things (see change)))", **words) == set()
    found = score(files("(allow a b (file (write)))"), subjects="who", objects="b")
    assert dict(found.tried) == {"see": 1}


def test_a_complement_does_not_take_in_what_is_made_to_ask() -> None:
    assert {t for _, _, t in survivors(subjects="who", objects="rest")} >= {"b"}
    assert not any("probe" in t for _, _, t in survivors(subjects="who", objects="rest"))


@pytest.mark.parametrize(
    ("more", "words", "why"),
    [
        ("", {"verbs": "thing"}, "no class map `thing` at the top level of the policy: there are things"),
        ("(typeattribute empty)", {"subjects": "empty"}, "no type is in `empty`"),
    ],
)
def test_what_cannot_be_scored(more: str, words: dict[str, str], why: str) -> None:
    with pytest.raises(Unscored, match=why):
        score(files(more), **words)


@pytest.mark.parametrize(
    ("text", "words", "code", "why"),
    [
        ("(nonsense)", (), 1, "policy.cil"),
        ("(neverallow a b (file (read)))(allow a b (file (read)))", (), 1, "neverallow"),
        ("", ("--subjects", "nobody"), 2, "no attribute and no type `nobody`"),
        ("", ("--verbs", "nothing"), 2, "no class map"),
        ("", ("--exact",), 2, "every widening of it is compiled anyway"),
    ],
)
def test_the_command_refuses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, words: tuple[str, ...], code: int, why: str
) -> None:
    (tmp_path / "policy.cil").write_bytes(files(text)[0][1])
    assert main(["check", "--mutate", str(tmp_path / "policy.cil"), *words]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert why in err


def test_options_of_cil_are_for_cil(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--subjects", "all_s"]) == 2
    assert "belong to --mutate of CIL" in capsys.readouterr().err


def test_class_maps_are_read_past_comments_strings_and_blocks() -> None:
    text = (
        b'; (classmap no (x))\n(classmap yes (a ; (b)\n c))(block in (classmap no (y)))(filecon "(classmap no" any ())'
    )
    assert class_maps([("x.cil", text)]) == {"yes": ("a", "c")}
