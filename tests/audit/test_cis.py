"""The CIS benchmarks by their numbers: every check is there, with more than a hundred cases."""

from __future__ import annotations

from typing import Any

import pytest
from stockade.audit.facts.fact import Facts
from stockade.audit.judge import verdict
from stockade.audit.rules.cases import changed
from stockade.audit.rules.rule import Rule

BOTTLEROCKET = {
    "1.1.1.1": 2, "1.2.1": 1, "1.3.1": 1, "1.4.1": 1, "1.4.2": 1, "1.4.3": 1, "1.4.4": 2, "1.5.1": 1, "1.5.2": 2,
    "1.6": 1, "2.1.1.1": 1, "3.1.1": 2, "3.2.1": 2, "3.2.2": 2, "3.2.3": 2, "3.2.4": 2, "3.2.5": 1, "3.2.6": 1,
    "3.2.7": 1, "3.3.1": 2, "3.4.1.1": 2, "3.4.1.2": 2, "3.4.1.3": 1, "3.4.2.1": 2, "3.4.2.2": 2, "3.4.2.3": 1,
    "4.1.1.1": 1, "4.1.2": 1,
}  # fmt: skip
KUBERNETES = {*(f"4.1.{n}" for n in range(1, 11)), *(f"4.2.{n}" for n in range(1, 16)), "4.3.1"}
SETTING = "sysctl:kernel.randomize_va_space"
LINEAR = {
    "root.table": {"targets": [{"type": "linear", "start": 0, "length": 8, "parameters": "98:0 0", "status": ""}]}
}


def ids(rules: tuple[Rule, ...], source: str, profile: str) -> set[str]:
    return {one.references[source] for one in rules if profile in one.profiles and source in one.references}


def test_every_check_for_bottlerocket_is_there(rules: tuple[Rule, ...]) -> None:
    assert len(BOTTLEROCKET) == 28
    assert ids(rules, "cis-bottlerocket", "cis-bottlerocket-2") == set(BOTTLEROCKET)
    assert ids(rules, "cis-bottlerocket", "cis-bottlerocket-1") == {
        i for i, level in BOTTLEROCKET.items() if level == 1
    }
    names = {
        one.references["cis-bottlerocket"]: one.references["bloodhound"]
        for one in rules
        if "bloodhound" in one.references
    }
    for number, name in names.items():
        assert name == "br" + "".join(f"{int(part):02}" for part in (number.split(".") + ["0"] * 3)[:4])


def test_every_check_for_kubernetes_nodes_is_there(rules: tuple[Rule, ...]) -> None:
    assert ids(rules, "cis-kubernetes", "cis-kubernetes-node") == KUBERNETES


def test_every_recommendation_of_the_guide_has_a_rule(rules: tuple[Rule, ...]) -> None:
    mine = [one for one in rules if "security-guidance" in one.references]
    assert all("guidance" in one.profiles for one in mine)
    numbers = {number for one in mine for number in one.references["security-guidance"].split(", ")}
    assert numbers == {
        *(f"C{n}" for n in range(1, 5)),
        *(f"I{n}" for n in range(1, 10)),
        *(f"M{n}" for n in range(1, 4)),
    }


def test_more_than_a_hundred_cases(rules: tuple[Rule, ...], cases: dict[str, Any]) -> None:
    mine = [one for one in rules if "cis-bottlerocket" in one.references]
    counted = {one.name: sum(map(len, cases[one.name].values())) for one in mine}
    assert sum(counted.values()) >= 100
    assert all(counted[one.name] >= 3 for one in mine if one.check)


@pytest.mark.parametrize(
    ("rule", "case", "ours", "bloodhound", "why"),
    [
        ("root-verity-table", LINEAR, "fail", "PASS", "it reads words of the command line, and no table"),
        (
            "root-hash-on-command-line",
            {"kernel.command_line": [["root", "/dev/dm-0"]]},
            "fail",
            "PASS",
            "text after -- counts",
        ),
        (
            "root-verity-on-corruption",
            {"root.verity": {"options": {"ignore_corruption": None}}},
            "fail",
            "PASS",
            "the same",
        ),
        ("kernel-lockdown", {"kernel.lockdown": "confidentiality"}, "pass", "FAIL", "it wants the word integrity"),
        ("kernel-aslr", {SETTING: 20}, "fail", "PASS", "`= 2` is found in `= 20`"),
        ("kernel-aslr", {SETTING: "unreadable"}, "error", "SKIP", "a skipped check does not count"),
        ("selinux-enforcing", {"selinux.enforce": "unreadable"}, "error", "SKIP", "sestatus cannot run"),
        (
            "selinux-enforcing",
            {"selinux.enforce": "malformed"},
            "error",
            "PASS",
            "a tmpfs over selinuxfs with a 1 in it",
        ),
        (
            "network-no-redirects-sent",
            {"network.interfaces|ipv4|eth0|send_redirects": 1},
            "fail",
            "PASS",
            "only all and default",
        ),
        (
            "network-no-redirects-taken",
            {"network.interfaces|ipv6|eth0|accept_redirects": 1},
            "fail",
            "PASS",
            "the same",
        ),
        (
            "time-chrony",
            {"chrony.config": {"server": ["169.254.169.123"]}},
            "pass",
            "FAIL",
            "it knows pool and not server",
        ),
        ("time-chrony", {"chrony.config": {}}, "fail", "PASS", "a comment with the word pool counts"),
        ("time-chrony", {"chrony.config": "unreadable"}, "error", "PASS", "the second half decides alone"),
        ("journal-files-private", {"journal.files": "absent"}, "error", "PASS", "a missing folder passes"),
        (
            "journal-persistent",
            {"journald.config": {"Storage": "volatile"}},
            "fail",
            "PASS",
            "a later file overrides the one it reads",
        ),
        (
            "kernel-no-udf",
            {"+kernel.options": {"UDF_FS": "y"}},
            "fail",
            "PASS",
            "what is built in is in no list of modules",
        ),
        (
            "kubelet-streams-end",
            {"+kubelet.config": {"streamingConnectionIdleTimeout": "0s"}},
            "fail",
            "PASS",
            "no number, so absent",
        ),
        (
            "kubelet-certificate",
            {"+kubelet.config": {"tlsCertFile": "/a"}},
            "fail",
            "PASS",
            "half of the pair does not parse",
        ),
        ("kubelet-ciphers", {"+kubelet.config": {"tlsCipherSuites": []}}, "fail", "PASS", "an empty list is a subset"),
        (
            "kubelet-iptables",
            {"+kubelet.config": {"makeIPTablesUtilChains": "x"}},
            "error",
            "PASS",
            "what does not parse is absent",
        ),
    ],
)
def test_where_bloodhound_differs(
    rules: tuple[Rule, ...], genuine: Facts, rule: str, case: dict[str, Any], ours: str, bloodhound: str, why: str
) -> None:
    """`bloodhound` is what its published mechanism answers, and `why` the part of it that makes the difference."""
    (one,) = (one for one in rules if one.name == rule)
    assert verdict(one, changed(genuine, case)).status == ours
    assert {"PASS": "pass", "FAIL": "fail"}.get(bloodhound) != ours
