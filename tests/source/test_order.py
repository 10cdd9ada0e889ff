"""The order of files, keys and list entries never matters, nor does how a policy is cut into files."""

from __future__ import annotations

import random
from typing import Any

import pytest
from stockade.model.placeless import placeless
from stockade.source.load import build

from tests.source import policies
from tests.source.shuffle import dumped, plain, shuffled, tree


def model(files: policies.Files) -> Any:
    return placeless(build(policies.as_sources(files)))


@pytest.fixture(params=["base", "shipped"])
def files(request: pytest.FixtureRequest) -> policies.Files:
    found: policies.Files = request.getfixturevalue(request.param)
    return found


def test_writing_out_again_changes_nothing(files: policies.Files) -> None:
    assert model({name: dumped(documents) for name, documents in tree(files).items()}) == model(files)


@pytest.mark.parametrize("seed", range(4))
def test_order_never_matters(files: policies.Files, seed: int) -> None:
    dice = random.Random(seed)
    again: policies.Files = {}
    for index, (name, documents) in enumerate(tree(files).items()):
        folder = name.split("/")[0]
        again[f"{folder}/{dice.randrange(100):02d}-{index}.yaml"] = dumped(shuffled(documents, dice))
    names = list(again)
    dice.shuffle(names)
    assert model({name: again[name] for name in names}) == model(files)


def test_host_files_may_be_merged(files: policies.Files) -> None:
    whole: dict[str, Any] = {}
    for name, documents in tree(files).items():
        for document in documents if name.startswith("host/") else ():
            for key, value in document.items():
                if isinstance(value, list):
                    whole[key] = whole.get(key, []) + value
                else:
                    whole[key] = {**whole.get(key, {}), **value}
    merged = {name: data for name, data in files.items() if not name.startswith("host/")}
    assert model({**merged, "host/all.yaml": dumped([whole])}) == model(files)


def test_host_files_may_be_split(files: policies.Files) -> None:
    split = {name: data for name, data in files.items() if not name.startswith("host/")}
    for name, documents in tree(files).items():
        for document in documents if name.startswith("host/") else ():
            for key, value in document.items():
                entries = [[entry] for entry in value] if isinstance(value, list) else [{k: value[k]} for k in value]
                for entry in [value] if key == "policy" else entries:
                    split[f"host/{len(split)}.yaml"] = dumped([{key: entry}])
    assert len(split) > len(files)
    assert model(split) == model(files)


def test_all_documents_of_a_kind_may_share_a_file(files: policies.Files) -> None:
    joined: dict[str, list[Any]] = {}
    for name, documents in tree(files).items():
        joined.setdefault(name.split("/")[0], []).extend(documents)
    assert model({f"{folder}/all.yaml": dumped(documents) for folder, documents in joined.items()}) == model(files)


def test_the_comparison_sees_a_difference(base: policies.Files) -> None:
    other = policies.changed(base, {"containers/plain.yaml": {"swap": ["[CHOWN, KILL, NET_RAW]", "[CHOWN, KILL]"]}})
    assert model(other) != model(base)
    assert plain(tree(other)) != plain(tree(base))
