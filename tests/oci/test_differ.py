"""Two runtime-spec documents that differ anywhere are told apart, at the place where they do."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stockade.oci.differ import differences

WEB = json.loads((Path(__file__).parents[2] / "profiles/containers/web/oci.json").read_text())


def paths(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for step, value in inner:
        yield (*path, step)
        yield from paths(value, (*path, step))


def without(path: tuple[Any, ...]) -> Any:
    changed = copy.deepcopy(WEB)
    node = changed
    for step in path[:-1]:
        node = node[step]
    del node[path[-1]]
    return changed


def test_the_same_is_the_same() -> None:
    assert differences(WEB, copy.deepcopy(WEB)) == []


def test_whatever_is_left_out_is_seen_from_both_sides() -> None:
    every = list(paths(WEB))
    for path in every:
        found, back = differences(WEB, without(path)), differences(without(path), WEB)
        assert found and len(found) == len(back), path
        assert all(one.path.startswith(str(path[0])) for one in found), path
        assert [(one.new, one.old) for one in back] == [(one.old, one.new) for one in found], path
    assert len(every) > 150


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ({"a": True}, {"a": 1}, ["a: true is now 1"]),
        ({"a": {"b": 1}}, {"a": {}}, ["a.b: 1 is gone"]),
        ({"caps": ["A", "B"]}, {"caps": ["B", "C"]}, ["caps: A is gone", "caps: C is new"]),
        ({"caps": ["A", "B"]}, {"caps": ["B", "A"]}, []),
        ({"args": ["A", "A"]}, {"args": ["A"]}, ['args: ["A", "A"] is now ["A"]']),
        (
            {"mounts": [{"destination": "/a", "options": ["ro"]}]},
            {"mounts": [{"destination": "/a", "options": ["rw"]}]},
            ["mounts./a.options: ro is gone", "mounts./a.options: rw is new"],
        ),
        (
            {"linux": {"resources": {"devices": [{"allow": False}, {"allow": True}]}}},
            {"linux": {"resources": {"devices": [{"allow": True}, {"allow": False}]}}},
            [
                'linux.resources.devices: [{"allow": false}, {"allow": true}] is now '
                '[{"allow": true}, {"allow": false}]'
            ],
        ),
        ({"linux": {"seccomp": {"a": 1}}}, {"linux": {"seccomp": {"a": 2}}}, []),
        (
            {"mounts": [{"destination": "/a"}, {"destination": "/a", "type": "bind"}]},
            {"mounts": [{"destination": "/a", "type": "bind"}]},
            ['mounts: [{"destination": "/a"}, {"destination": "/a", "type": "bind"}] is now '
             '[{"destination": "/a", "type": "bind"}]'],
        ),
    ],
)  # fmt: skip
def test_each_form(old: dict[str, Any], new: dict[str, Any], said: list[str]) -> None:
    assert [str(one) for one in differences(old, new)] == said
