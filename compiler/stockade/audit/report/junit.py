"""A report as JUnit XML: one suite a profile, one case a rule, as every pipeline shows it."""

from __future__ import annotations

from xml.etree import ElementTree

from stockade.audit.report.model import Report, Result, Status

_TAGS = {Status.FAIL: "failure", Status.ERROR: "error"}
_SKIPPED = (Status.NOT_APPLICABLE, Status.MANUAL, Status.WAIVED)


def junit(report: Report) -> str:
    """The document. A failure that is waived, and what is a person's to judge, are skipped and say why."""
    counts = {"tests": len(report.results), "failures": report.count(Status.FAIL), "errors": report.count(Status.ERROR)}
    counts["skipped"] = sum(report.count(status) for status in _SKIPPED)
    about = {key: str(value) for key, value in counts.items()}
    root = ElementTree.Element("testsuites", {"name": "stockade", **about})
    host = _plain(report.host.name or report.host.machine_id or report.host.kind)
    suite = ElementTree.SubElement(root, "testsuite", {"name": report.profile, "hostname": host, **about})
    for one in report.results:
        case = ElementTree.SubElement(suite, "testcase", classname=report.profile, name=f"{one.rule}: {one.title}")
        if one.status in _TAGS:
            ElementTree.SubElement(case, _TAGS[one.status], message=_plain(one.message)).text = _plain(_body(one))
        elif one.status in _SKIPPED:
            ElementTree.SubElement(case, "skipped", message=_plain(f"{one.status}: {one.message}"))
    ElementTree.indent(root)
    return ElementTree.tostring(root, "unicode", xml_declaration=True) + "\n"


def _body(one: Result) -> str:
    return "\n".join([*one.findings, f"why: {one.why}", f"do: {one.remediation}"])


def _plain(text: str) -> str:
    """Without what XML has no character for; a host's words are not to be trusted."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)
