"""Every fault that a policy can have is refused, with exactly these words at exactly this place."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from stockade.model.promise import LabelPromise
from stockade.source.diagnostics import PolicyError
from stockade.source.load import build

from tests.source import policies


def cases() -> list[Any]:
    found = []
    for file in sorted((policies.HERE / "must_fail").glob("*.yaml")):
        for case in yaml.safe_load_all(file.read_text("utf-8")):
            found.append(pytest.param(case["change"], case["expect"], id=f"{file.stem}: {case['case']}"))
    return found


def test_the_base_policy_is_right(base: policies.Files) -> None:
    policy = build(policies.as_sources(base))
    assert sorted(policy.containers) == ["plain", "tight"]
    assert sorted(policy.actions) == ["load-module", "new-user-namespace"]
    assert len([p for p in policy.promises.values() if not getattr(p, "own", None)]) == 4
    assert {p.own for p in policy.promises.values() if isinstance(p, LabelPromise)} == {None, "tight"}


@pytest.mark.parametrize(("change", "expect"), cases())
def test_a_wrong_policy_is_refused(base: policies.Files, change: dict[str, Any], expect: str) -> None:
    files = policies.changed(base, change)
    with pytest.raises(PolicyError) as caught:
        build(policies.as_sources(files))
    assert caught.value.render() + "\n" == expect
    backwards = dict(reversed(files.items()))
    with pytest.raises(PolicyError) as again:
        build(policies.as_sources(backwards))
    assert again.value.diagnostics == caught.value.diagnostics


def test_every_case_has_a_name_of_its_own() -> None:
    names = [case.id for case in cases()]
    assert len(names) == len(set(names)) > 300
