"""JUnit XML, which every pipeline shows: cases in their suites, counted, whatever it was that was asked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal
from xml.etree import ElementTree

from stockade.plain import plain

Outcome = Literal["passed", "failure", "error", "skipped"]

_COUNTED: Final = (("failures", "failure"), ("errors", "error"), ("skipped", "skipped"))


@dataclass(frozen=True, slots=True)
class Case:
    """One question and what became of it.

    `message` is one line on an outcome that is not passed, `body` the lines below it. `file` and `line` are where the
    question was asked, empty and 0 where it is in no file.
    """

    suite: str
    name: str
    outcome: Outcome = "passed"
    message: str = ""
    body: str = ""
    file: str = ""
    line: int = 0


def junit(cases: Iterable[Case], hostname: str = "") -> str:
    """The document: a suite for each name in the order of first sight, each with its counts, and all of them summed."""
    root = ElementTree.Element("testsuites", name="stockade")
    suites: dict[str, ElementTree.Element] = {}
    for one in cases:
        if one.suite not in suites:
            about = {"name": plain(one.suite), **({"hostname": plain(hostname)} if hostname else {})}
            suites[one.suite] = ElementTree.SubElement(root, "testsuite", about)
        place = {"file": plain(one.file), "line": str(one.line)} if one.file else {}
        named = {"classname": plain(one.suite), "name": plain(one.name), **place}
        case = ElementTree.SubElement(suites[one.suite], "testcase", named)
        if one.outcome != "passed":
            what = ElementTree.SubElement(case, one.outcome, message=plain(one.message))
            what.text = plain(one.body) or None
    for element in (root, *suites.values()):
        element.set("tests", str(len(list(element.iter("testcase")))))
        for key, tag in _COUNTED:
            element.set(key, str(len(list(element.iter(tag)))))
    ElementTree.indent(root)
    return ElementTree.tostring(root, "unicode", xml_declaration=True) + "\n"
