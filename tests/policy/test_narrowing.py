"""A domain that narrows another, and one that narrows that: each keeps what it does not give up, and nothing more."""

from __future__ import annotations

from pathlib import Path

from stockade.bundle.compile import compile_policy
from stockade.model.grants import grants
from stockade.prove.policy import artefact_faults, source_findings
from stockade.source.files import SourceFile, read_files
from stockade.source.load import build

SHIPPED = Path(__file__).resolve().parents[2] / "policy"
SITE = b"""
container: site
extends: web
why: A web server for one site.
selinux:
  domain: site_t
  may-not:
    - {may: connect, what: everything, why: it needs no backend}
"""


def test_a_type_may_narrow_one_that_narrows_another() -> None:
    policy = build([*read_files(SHIPPED), SourceFile("containers/site.yaml", SITE)])
    table = grants(policy.host)
    connect = policy.host.verbs["connect"].access
    for (subject, target), access in table.items():
        if subject == "web_t":
            own = table.get(("site_t", target), 0) | (table[("site_t", "site_t")] if target == "web_t" else 0)
            assert access & ~own & ~connect == 0, target
        if subject == "site_t":
            parent = table.get(("web_t", target), 0) | (table[("web_t", "web_t")] if target == "site_t" else 0)
            assert access & ~parent == 0, target
            assert access & connect == 0, target
    assert source_findings(policy, table) == []
    assert list(artefact_faults(policy, compile_policy(policy))) == []
