"""What the page of a bundle says, held against the source and libsepol rather than against what it was made from."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from stockade.bundle.manifest import BundleError
from stockade.bundle.read import read
from stockade.cli.main import main
from stockade.model.access import mask
from stockade.model.policy import Policy
from stockade.model.promise import ActionPromise, LabelPromise
from stockade.model.syscalls import numbers
from stockade.page.heat import Mark
from stockade.prove.channels import READ, STORED, WRITE
from stockade.review import access, calls, flows, promises
from stockade.review.gather import Review, gather
from stockade.review.page import page, summary
from stockade.seccomp.explain import explain
from stockade.selinux.libsepol import Decisions

from .conftest import SHIPPED


def test_letters_say_what_the_rules_of_the_source_give(
    review: Review, table: Mapping[tuple[str, str], int], policy: Policy
) -> None:
    writes = sum(mask(c, perms) for c, perms in WRITE.items())
    reads = sum(mask(c, perms - {"execute"}) for c, perms in READ.items())
    host = policy.host
    seen = set()
    for subject in host.subject_labels:
        for target in host.subject_labels | host.object_labels:
            given = table.get((subject, target), 0)
            vectors = review.table.given(subject).get(target, {})
            letters = access.strength(vectors).letters
            assert ("w" in letters, "r" in letters) == (bool(given & writes), bool(given & reads)), (subject, target)
            assert bool(letters) == bool(given), (subject, target)
            assert access.access_of(vectors) == given
            seen.add(letters)
    assert {"·", "+", "rx", "rxw", "rxw+"} <= seen


def test_a_verb_is_named_where_all_of_it_is_given(review: Review, policy: Policy) -> None:
    modify = policy.host.verbs["modify"]
    assert modify in access.verbs_of(review, modify.access)
    assert access.verbs_of(review, modify.access & ~mask("file", ["write"])) == []


def test_groups_of_calls_count_what_the_source_allows(review: Review, policy: Policy) -> None:
    assert review.source is not None
    rows = {row.name: row.values for row in calls.rows(review, [(name,) for name in review.matrix.types])}
    assert rows.keys() == {f"@{name}" for name in review.source.groups}
    for column, name in enumerate(review.matrix.types):
        said = explain(policy.containers[name].syscalls)
        argued = {sentence.partition(":")[0] for sentence, _ in said.conditional}
        for group, members in review.source.groups.items():
            there = numbers("x86_64").keys() & set(members)
            mark = rows[f"@{group}"][column]
            assert isinstance(mark, Mark)
            always, some = len(there & set(said.allowed)), len(there & argued)
            expected = f"{always}{'?' * bool(some)}" if always else f"{some}?" if some else "–"
            assert mark.text == expected, (name, group)


def test_edges_of_the_picture_are_what_libsepol_allows(review: Review) -> None:
    domains = sorted(set(review.domains.values()))
    things = ["data_t", "any_t", "private_t", "secret_t", "os_t"]
    with Decisions(review.bundle.bytes(review.kernel_policy)) as oracle:
        for channel in (READ, WRITE):
            found = flows.edges(review, domains, things, channel)
            for label in things:
                having = {
                    domain
                    for domain in domains
                    for c in STORED
                    if oracle.allowed(f"system_u:system_r:{domain}:s0", f"system_u:object_r:{label}:s0", c)
                    & (channel[c] - {"execute"})
                }
                assert found.get(label, frozenset()) == having, label


def test_a_broken_promise_is_called_broken(review: Review, policy: Policy) -> None:
    assert review.source is not None
    given = promises.grants(review)
    assert all(promises.kept(review, one, given) for one in policy.promises.values())
    told = next(p for p in policy.promises.values() if isinstance(p, LabelPromise))
    tried = next(p for p in policy.promises.values() if isinstance(p, ActionPromise))
    web = policy.host.rules[0]
    false = {
        "a": replace(told, name="a", who=web.who, what=web.what, access=web.access),
        "b": replace(tried, name="b", layers=9),
    }
    wrong = replace(review, source=replace(review.source, policy=replace(policy, promises=false)))
    assert not any(promises.kept(wrong, one, given) for one in false.values())
    said = promises.promises(wrong).text
    assert said.count("broken") == 2 and "kept" not in said
    assert ("0/2", "promises kept by what was compiled") in summary(wrong)


def test_a_type_that_complains_is_said_to_hold_nothing(review: Review, html: Path) -> None:
    web = review.specs["web"]
    specs = {**review.specs, "web": {**web, "annotations": {**web["annotations"], "io.stockade.mode": "complain"}}}
    said = page(replace(review, specs=specs)).decode()
    assert "web: tried out, in mode complain" in said and said.count("complains: SELinux and seccomp") == 1
    assert "complain" not in html.read_text()


def test_the_same_bytes_every_time(review: Review, html: Path) -> None:
    assert page(review) == html.read_bytes()


def test_a_page_without_its_source_says_labels(reviewed: Path, html: Path) -> None:
    bare = page(gather(read(reviewed), None)).decode()
    assert "without source" in bare and "web_t" in bare and "promises kept" not in bare
    assert "host/rules.yaml" in html.read_text() and "host/rules.yaml" not in bare


def test_a_changed_bundle_has_no_page(reviewed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(reviewed, copy)
    (copy / "containers/web/summary.md").write_text("changed")
    with pytest.raises(BundleError, match=r"summary\.md: changed"):
        gather(read(copy), None)
    target = tmp_path / "r.html"
    target.write_text("before")
    assert main(["report", str(copy), "-o", str(target)]) == 3
    assert target.read_text() == "before"
    assert "summary.md: changed" in capsys.readouterr().err


def test_another_policy_is_refused(
    bundle: Path, reviewed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "r.html"
    assert main(["report", str(bundle), "--policy", str(SHIPPED), "-o", str(target)]) == 1
    assert "its digest is another" in capsys.readouterr().err
    assert main(["report", str(tmp_path), "-o", str(target)]) == 3
    assert "no bundle" in capsys.readouterr().err
    assert main(["report", str(reviewed), "-o", str(tmp_path / "no" / "r.html")]) == 3
    assert "No such file" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_facts_of_a_host_have_the_audits_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts, one, two = (tmp_path / name for name in ("host.json", "one.html", "two.html"))
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    assert main(["audit", "--root", str(root), "--collect", "-o", str(facts)]) == 0
    answer = main(["audit", "--facts", str(facts), "--format", "html", "-o", str(two)])
    assert main(["report", str(facts), "-o", str(one)]) == answer
    judged = re.compile(r"Judged [^<]* by")
    assert judged.sub("", one.read_text()) == judged.sub("", two.read_text())
    assert "Audit of" in one.read_text()
    assert main(["report", str(facts), "--policy", str(SHIPPED)]) == 2
    facts.write_text("{}")
    one.unlink()
    assert main(["report", str(facts), "-o", str(one)]) == 3 and not one.exists()
