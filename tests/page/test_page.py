"""The page kit: escaped by construction, nothing but itself let in, the same bytes every time."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest
from stockade.page.document import Section, document, stylesheet
from stockade.page.heat import Row, heat, legend
from stockade.page.markup import VOID, Html, element, joined
from stockade.page.parts import badge, disclosure, facts, share, table

HOSTILE = """<script>alert(1)</script>" onload='x' &amp; \x00\x1b[31m \u202eevil \ud800"""


class Tree(HTMLParser):
    """Checks that every element is closed where it must be; keeps tags, attributes and text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.said = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"<{tag}> has an attribute twice"
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID | {"meta"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.said += data


def everything(text: str) -> bytes:
    """A page that has this text in every place that takes any."""
    rows = [Row(text, (0, 9), text, anchor="row"), Row("other", (1, 2), badge("bad", text))]
    body = [
        text,
        table([text, "second"], [(text, badge("good", text))], label=text, stacked=True),
        table(["first", text], [(text, text)], label=text, name="wide"),
        disclosure(text, facts([(text, text)]), unfolded=True),
        heat((text, "b"), [(text, rows), ("nobody", [])]),
        legend((text, "one", "more")),
        element("p", text, title=text, data_label=text, aria_label=text),
        share(3, 4),
    ]
    return document(text, [Section("first", text, body, note=text), Section("second", "b", None)], lead=text, foot=text)


def test_hostile_text_stays_text() -> None:
    plain, hostile = Tree(everything("word").decode()), Tree(everything(HOSTILE).decode())
    assert [tag for tag, _ in plain.tags] == [tag for tag, _ in hostile.tags]
    assert [set(attributes) for _, attributes in plain.tags] == [set(attributes) for _, attributes in hostile.tags]
    spelled = HOSTILE.replace("\x00\x1b", "\\x00\\x1b").replace("\u202e", "\\u202e").replace("\ud800", "\\ud800")
    assert spelled in hostile.said
    assert spelled in {attributes.get("title") for _, attributes in hostile.tags}


def test_the_page_lets_in_nothing_but_its_own_style() -> None:
    page = everything("word").decode()
    style = page[page.index("<style>") + 7 : page.index("</style>")]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert style == stylesheet()
    assert not re.search(r"url\(|@import|https?:", style)
    tags = {tag for tag, _ in Tree(page).tags}
    assert not tags & {"script", "iframe", "img", "link", "object", "embed", "form", "base"}
    assert page.index("charset") < 100 and page.index("Content-Security-Policy") < page.index("<style>")


def test_links_lead_to_places_of_the_page_that_are_there() -> None:
    tags = Tree(everything("word").decode()).tags
    anchors = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(set(anchors)) == len(anchors)
    links = [str(attributes["href"]) for _, attributes in tags if "href" in attributes]
    assert links == ["#content", "#first", "#second"]
    named = [attributes["aria-labelledby"] for _, attributes in tags if "aria-labelledby" in attributes]
    assert {link[1:] for link in links} | set(named) <= set(anchors)


@pytest.mark.parametrize(
    ("tag", "attributes", "reason"),
    [
        ("script", {}, "<script> is no element"),
        ("style", {}, "<style> is no element"),
        ("p", {"onclick": "x"}, "onclick is no attribute"),
        ("p", {"style": "x"}, "style is no attribute"),
        ("p", {"src": "x"}, "src is no attribute"),
        ("p", {"data-x y": "x"}, "is no attribute"),
        ("a", {"href": "javascript:alert(1)"}, "only https"),
        ("a", {"href": "http://example.org/"}, "only https"),
        ("a", {"href": " #x"}, "only https"),
    ],
)
def test_what_no_page_may_have_is_refused(tag: str, attributes: dict[str, str], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        element(tag, **attributes)


def test_faults_of_a_caller_are_refused() -> None:
    with pytest.raises(ValueError, match="anchors of their own"):
        document("t", [Section("a", "A", None), Section("a", "B", None)])
    with pytest.raises(ValueError, match="anchors of their own"):
        document("t", [Section("Not one", "A", None)])
    with pytest.raises(ValueError, match="1 fields under 2"):
        table(["a", "b"], [("x",)], label="short")
    with pytest.raises(ValueError, match="1 numbers under 2"):
        heat(("a", "b"), [("g", [Row("r", (1,), None)])])
    with pytest.raises(ValueError, match="holds nothing"):
        element("br", "x")


def test_elements() -> None:
    assert element("p", "a", None, 1, ["b", element("em", "c")], class_="x", hidden_=None, open=True).text == (
        '<p class="x" open>a1b<em>c</em></p>'
    )
    assert joined("<", Html("<b>")).text == "&lt;<b>"
    with pytest.raises(TypeError):
        _ = "a" + element("p")  # type: ignore[operator]
    assert 'width="75"' in share(3, 4).text and "3 of 4" in share(3, 4).text
    assert 'width="100"' in share(5, 4).text and 'width="100"' in share(0, 0).text


def test_no_meaning_hangs_on_a_colour() -> None:
    assert Tree(badge("bad", "fail").text).said == "✗ fail"
    said = Tree(heat(("web", "db"), [("g", [Row("mount", (0, 9), "why")])]).text).said
    assert "mountweb 0db 9why" in said


def test_the_same_bytes_every_time() -> None:
    assert everything("word") == everything("word")
