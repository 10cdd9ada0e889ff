"""The matrix: a bundle answers as its source does, alternatives count as they should, and faults are faults."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from stockade.bundle.actions import PATH, catalogue, to_json
from stockade.bundle.compile import Compiled
from stockade.bundle.manifest import BundleError
from stockade.bundle.read import Bundle, read
from stockade.bundle.write import Artefact, write
from stockade.model.action import Layer
from stockade.model.policy import Policy
from stockade.prove.actions import Answer, Verdict
from stockade.prove.matrix import Matrix, bundle_matrix, policy_matrix
from stockade.selinux.libsepol import Decisions


def bundle_of(folder: Path, artefacts: tuple[Artefact, ...]) -> Bundle:
    names = {"policy_name": "p", "policy_version": "1", "source_digest": "0" * 64, "compiler_digest": "0" * 64}
    write(folder, artefacts, **names)
    return read(folder)


@pytest.fixture(scope="module")
def built(compiled: Compiled, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return bundle_of(tmp_path_factory.mktemp("bundle") / "b", compiled.artefacts)


@pytest.fixture(scope="module")
def matrix(policy: Policy, compiled: Compiled) -> Matrix:
    with Decisions(compiled.kernel_policy) as oracle:
        return policy_matrix(policy, oracle)


def test_a_bundle_answers_as_its_source(policy: Policy, compiled: Compiled, built: Bundle, matrix: Matrix) -> None:
    with Decisions(compiled.kernel_policy) as oracle:
        other = bundle_matrix(built, oracle)
    assert other.types == matrix.types
    assert other.actions == matrix.actions
    for key, verdict in matrix.verdicts.items():
        said = [[(a.layer, a.given) for a in way] for way in verdict.ways]
        assert [[(a.layer, a.given) for a in way] for way in other.verdicts[key].ways] == said, key


def test_what_was_written_is_read_back(policy: Policy, built: Bundle) -> None:
    known = catalogue(built)
    assert known.actions == policy.actions
    assert known.subjects == policy.host.subject_labels
    assert known.categories == policy.host.categories


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"stockade-actions/1"', '"stockade-actions/2"', "this program reads"),
        ('"noLimit"', '"noLimits"', "a need of no known kind"),
        ('"native"', '"foreign"', "not a catalogue of actions"),
        ('"sys_module"', '"sys_modul"', "not a catalogue of actions"),
    ],
)
def test_a_catalogue_of_another_form_is_refused(policy: Policy, tmp_path: Path, old: str, new: str, said: str) -> None:
    text = to_json(policy).decode().replace('"cap_userns": [', '"capability": [\n "sys_module",', 1)
    assert old in text
    changed = Artefact(PATH, text.replace(old, new, 1).encode(), "application/json")
    with pytest.raises(BundleError, match=said):
        catalogue(bundle_of(tmp_path / "b", (changed,)))


def test_the_file_is_json_in_the_kernels_words(built: Bundle) -> None:
    document = json.loads(built.bytes(PATH))
    ways = document["actions"]["load-kernel-module"]["ways"]
    assert {"capability": "SYS_MODULE", "own": False} in ways[0]
    assert len(ways) == 2


def answer(layer: Layer, given: bool) -> Answer:
    return Answer(layer, given, "")


def test_an_action_is_held_by_its_weakest_way() -> None:
    seccomp, caps = answer(Layer.SECCOMP, False), answer(Layer.CAPABILITIES, False)
    verdict = Verdict(((seccomp, caps), (seccomp, answer(Layer.CAPABILITIES, True))))
    assert verdict.stopping == (Layer.SECCOMP,)
    assert verdict.without([Layer.SECCOMP])
    assert not verdict.without([Layer.CAPABILITIES])
    # Two ways, each held by another layer: either of the two broken is enough.
    verdict = Verdict(((seccomp,), (caps,)))
    assert len(verdict.stopping) == 1
    assert verdict.without([Layer.SECCOMP]) and verdict.without([Layer.CAPABILITIES])


def test_no_answer_is_no_yes() -> None:
    assert not Verdict(((),)).allowed
