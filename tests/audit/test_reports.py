"""What a report says in the formats of others, in what their schemas leave open."""

from __future__ import annotations

import json
from xml.etree import ElementTree

from stockade.audit.report.junit import junit
from stockade.audit.report.model import Coverage, HostIdentity, Report, Result, Status, Waived
from stockade.audit.report.prometheus import prometheus
from stockade.audit.report.sarif import sarif


def result(number: int, status: Status, **more: object) -> Result:
    waiver = Waived("ops", "known", "2030-01-01", "*") if status is Status.WAIVED else None
    severity = ("high", "medium", "low")[number % 3]
    fixed = {"references": {"cis-bottlerocket": f"1.{number}"}, "digest": "ab" * 32, "waiver": waiver, **more}
    return Result(f"rule-{number}", f"Title {number}", severity, ("all",), status, f"message {number}", **fixed)  # type: ignore[arg-type]


RESULTS = tuple(result(number, status) for number, status in enumerate(Status))
REPORT = Report("fortified", HostIdentity("live", "node-1"), RESULTS, Coverage(143, 141), 1, 2, "0.1.0")


def test_junit_counts_and_names_every_rule() -> None:
    root = ElementTree.fromstring(junit(REPORT))
    (suite,) = root
    assert {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")} == {
        "tests": "6",
        "failures": "1",
        "errors": "1",
        "skipped": "3",
    }
    tags = {str(case.get("name")).split(":")[0]: [child.tag for child in case] for case in suite}
    wanted = {"fail": ["failure"], "error": ["error"], "pass": []}
    assert tags == {one.rule: wanted.get(str(one.status), ["skipped"]) for one in RESULTS}


def test_sarif_has_a_rule_for_every_result_and_a_level_for_failures_alone() -> None:
    log = sarif(REPORT)
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert log["version"] == "2.1.0" and [rule["id"] for rule in rules] == [one.rule for one in RESULTS]
    for index, (one, said) in enumerate(zip(RESULTS, run["results"], strict=True)):
        assert said["ruleIndex"] == index and said["ruleId"] == one.rule
        failed = one.status in (Status.FAIL, Status.WAIVED)
        assert (said["kind"] == "fail") is failed and (said["level"] != "none") is failed
        assert ("suppressions" in said) is (one.status is Status.WAIVED)
    assert json.loads(json.dumps(log, allow_nan=False)) == log


def test_metrics_have_every_rule_and_every_count() -> None:
    text = prometheus(REPORT)
    assert text.count("stockade_audit_rule{") == 6 and text.endswith("\n")
    for status in Status:
        assert f'stockade_audit_rules{{status="{status}"}} 1\n' in text
    assert 'stockade_audit_containers{state="judged"} 141\n' in text and "stockade_audit_judged_seconds 2\n" in text
    names = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(names) == len(set(names)) == 4
