"""Which type a container is of: the operator's word decides, and what a pod says never makes it wider."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stockade.enforce.nri.judge import LoadError, load
from stockade.enforce.select import Facts, Selection, SelectionError, parse, standard

TYPES = ("narrow", "ordinary", "wide")
WIDTH = {name: width for width, name in enumerate(TYPES)}


def wider(one: str, other: str) -> list[str]:
    return [f"{one} may more"] if WIDTH[one] > WIDTH[other] else []


def selection(text: str) -> Selection:
    return parse(text, TYPES, wider)


WHOLE = """
default = "ordinary"
ask = ["narrow"]

[[rule]]
namespace = "shop-*"
image = "images.example/shop/*"
type = "narrow"

[[rule]]
handler = "databases"
type = "wide"
ask = ["ordinary"]

[[rule]]
namespace = "kube-system"
type = "wide"
widens = "what runs there runs the node"
"""


@pytest.mark.parametrize(
    ("facts", "chosen"),
    [
        (Facts(), "ordinary"),
        (Facts(asked="narrow"), "narrow"),
        (Facts(asked="ordinary"), "ordinary"),
        (Facts(handler="stockade-wide"), "wide"),
        (Facts(handler="stockade-narrow", asked="narrow"), "narrow"),
        (Facts(handler="runc"), "ordinary"),
        (Facts(namespace="shop-a", image="images.example/shop/web:1"), "narrow"),
        (Facts(namespace="shop-a", image="images.example/other:1"), "ordinary"),
        (Facts(namespace="SHOP-a", image="images.example/shop/web:1"), "ordinary"),
        (Facts(handler="databases"), "wide"),
        (Facts(handler="databases", asked="ordinary"), "ordinary"),
        (Facts(namespace="kube-system"), "wide"),
    ],
)
def test_what_is_chosen(facts: Facts, chosen: str) -> None:
    assert selection(WHOLE).choose(facts) == chosen


@pytest.mark.parametrize(
    "facts",
    [
        Facts(asked="wide"),
        Facts(asked="nothing"),
        Facts(handler="stockade-narrow", asked="ordinary"),
        Facts(handler="stockade-narrow", asked="wide"),
        Facts(handler="databases", asked="narrow"),
        Facts(namespace="shop-a", image="images.example/shop/web:1", asked="ordinary"),
        Facts(handler="stockade-nothing"),
        Facts(handler="stockade-"),
    ],
)
def test_what_nobody_may_ask_for(facts: Facts) -> None:
    with pytest.raises(SelectionError, match=r"asks for|names no container type"):
        selection(WHOLE).choose(facts)


def test_a_handler_is_not_left_by_asking() -> None:
    """What a pod may ask for is held to the default, and the handler's type may be narrower than that."""
    chosen = selection('default = "wide"\nask = ["ordinary"]')
    assert chosen.choose(Facts(asked="ordinary")) == "ordinary"
    with pytest.raises(SelectionError, match="may only have narrow"):
        chosen.choose(Facts(handler="stockade-narrow", asked="ordinary"))


@settings(deadline=None)
@given(
    default=st.sampled_from(TYPES),
    ask=st.lists(st.sampled_from(TYPES), max_size=2),
    rules=st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "*"]), st.sampled_from(TYPES), st.lists(st.sampled_from(TYPES), max_size=2)
        ),
        max_size=3,
    ),
    facts=st.builds(Facts, namespace=st.sampled_from("ab"), asked=st.sampled_from(["", *TYPES])),
)
def test_a_pod_never_widens(
    default: str, ask: list[str], rules: list[tuple[str, str, list[str]]], facts: Facts
) -> None:
    text = f'default = "{default}"\nask = {ask}\n'
    for namespace, name, may in rules:
        text += f'[[rule]]\nnamespace = "{namespace}"\ntype = "{name}"\nask = {may}\n'
    try:
        chosen = selection(text).choose(facts)
    except SelectionError:
        return
    assert not wider(chosen, default)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("default = ", "no TOML"),
        ('defualt = "ordinary"', "has the key `defualt`"),
        ('default = "none"', "'none' is no container type of the bundle: narrow, ordinary, wide"),
        ("default = 5", "`type` is no text"),
        ("ask = 5", "`ask` is no list"),
        ("ask = [5]", "`ask` is no list"),
        ('ask = ["none"]', "'none' is no container type"),
        ('ask = ["wide"]', "a pod could choose wide, which is wider than ordinary: wide may more"),
        ("rule = 5", r"write \[\[rule\]\]"),
        ('[[rule]]\nnamespace = "a"', "a rule without `type`"),
        ('[[rule]]\nnamespace = ""\ntype = "narrow"', "`namespace` is no text"),
        ('[[rule]]\nlabel = "a"\ntype = "narrow"', "has the key `label`"),
        ('[[rule]]\nimage = "a"\ntype = "wide"', "a pod could choose wide"),
        ('[[rule]]\ntype = "wide"', "a pod could choose wide"),
        (
            '[[rule]]\nhandler = "h"\ntype = "narrow"\nask = ["ordinary"]',
            "a pod could choose ordinary, which is wider than narrow",
        ),
        ('[[rule]]\nimage = "a"\ntype = "wide"\nwidens = ""', "`widens` is no text"),
    ],
)
def test_a_file_that_selects_nothing_with_certainty(text: str, reason: str) -> None:
    with pytest.raises(SelectionError, match=reason):
        selection(text)


def test_what_is_meant_to_be_wider_is_told() -> None:
    assert selection(WHOLE).widening() == ["wide: what runs there runs the node"]
    assert standard(TYPES).widening() == []
    with pytest.raises(SelectionError, match="'ordinary' is no container type"):
        standard(("web",))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('ask = ["web", "batch", "database"]', None),
        ('ask = ["admin"]', "a pod could choose admin, which is wider than ordinary"),
        ('ask = ["control"]', "no-api-socket"),
        ('ask = ["bootstrap"]', "a pod could choose bootstrap"),
        ('default = "batch"\nask = ["web"]', "linux.resources.pids.limit is 512, the type has 256"),
    ],
)
def test_the_shipped_types_are_compared_as_they_are_compiled(
    bundle: Path, tmp_path: Path, text: str, reason: str | None
) -> None:
    path = tmp_path / "select.toml"
    path.write_text(text)
    path.chmod(0o644)
    if reason is None:
        facts = {"annotations": {"io.stockade.type": "database"}}
        assert load(str(bundle), str(path)).select(facts, {}) == "database"
        return
    with pytest.raises(LoadError, match=reason):
        load(str(bundle), str(path))


def test_a_file_that_others_can_write_selects_nothing(bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "select.toml"
    path.write_text("")
    path.chmod(0o666)
    with pytest.raises(LoadError, match="writable by others"):
        load(str(bundle), str(path))
    with pytest.raises(LoadError, match="No such file"):
        load(str(bundle), str(tmp_path / "absent"))
