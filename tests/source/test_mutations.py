"""Whatever is done to a right policy, it loads or is refused with places that exist; a misspelled name never loads."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from stockade.model.classes import CLASSES
from stockade.model.names import CAPABILITIES, FAMILIES, NAMESPACES
from stockade.model.syscalls import NAMES
from stockade.source.diagnostics import PolicyError
from stockade.source.load import build
from stockade.source.units import ERRNO

from tests.source import policies
from tests.source.shuffle import dumped, tree


@functools.cache
def start(which: str) -> dict[str, list[Any]]:
    return tree(policies.files_of({"base": policies.BASE, "shipped": policies.SHIPPED}[which]))


@functools.cache
def written(which: str) -> policies.Files:
    return {name: dumped(documents) for name, documents in start(which).items()}


@functools.cache
def known(which: str) -> frozenset[str]:
    """Every name that stands for something: a misspelling may hit one."""
    found = {str(step) for documents in start(which).values() for path in nodes(documents) for step in path}
    found |= {str(at(documents, path)) for documents in start(which).values() for path in nodes(documents)}
    return frozenset(found | NAMES | set(ERRNO) | set(CLASSES))


def check(files: policies.Files) -> PolicyError | None:
    """Load; None when it loads, and otherwise the error, after a look at every place that it names."""
    try:
        build(policies.as_sources(files))
    except PolicyError as error:
        assert error.diagnostics
        for fault in error.diagnostics:
            assert fault.message and "\n" not in fault.message + fault.hint
            if fault.at.file in files:
                lines = files[fault.at.file].decode("utf-8", "replace").split("\n")
                assert 1 <= fault.at.line <= len(lines), fault
                assert 1 <= fault.at.column <= len(lines[fault.at.line - 1]) + 1, fault
            else:
                assert (fault.at.line, fault.at.column) == (1, 1), fault
        assert error.render().count("\n") >= len(error.diagnostics) - 1
        return error
    return None


def nodes(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path, *(found for key, value in inner for found in nodes(value, (*path, key)))]


def at(node: Any, path: tuple[Any, ...]) -> Any:
    return functools.reduce(lambda found, step: found[step], path, node)


def edited(node: Any, path: tuple[Any, ...], edit: Any) -> Any:
    if not path:
        return edit(node)
    copy = dict(node) if isinstance(node, dict) else list(node)
    copy[path[0]] = edited(node[path[0]], path[1:], edit)
    return copy


JUNK: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text('abz_-@/.* é\\"{}[]:#&!|>%,?0', max_size=6)
    | st.sampled_from(
        ["self", "all", "subjects", "@files", "kernel", "container_t", "512MiB", "/", "/a/../b", "x" * 300]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["why", "except", "of", "a"]), inner),
    max_leaves=6,
)


def mutated(data: st.DataObject, node: Any) -> Any:
    path = data.draw(st.sampled_from(nodes(node)))
    target = at(node, path)
    kinds = ["replace", "borrow"]
    if isinstance(target, dict | list) and target:
        kinds += ["delete", "delete", "double", "insert"]
    match data.draw(st.sampled_from(kinds)):
        case "replace":
            junk = data.draw(JUNK)
            return edited(node, path, lambda _: junk)
        case "borrow":
            other = at(node, data.draw(st.sampled_from(nodes(node))))
            return edited(node, path, lambda _: other)
        case "delete":
            key = data.draw(st.sampled_from(list(target) if isinstance(target, dict) else range(len(target))))
            if isinstance(target, dict):
                return edited(node, path, lambda found: {k: v for k, v in found.items() if k != key})
            return edited(node, path, lambda found: [v for index, v in enumerate(found) if index != key])
        case "double" if isinstance(target, list):
            return edited(node, path, lambda found: [*found, found[0]])
        case _:
            junk = data.draw(JUNK)
            key = data.draw(st.text("abc-_ ", min_size=1, max_size=4))
            return edited(node, path, lambda f: {**f, key: junk} if isinstance(f, dict) else [junk, *f])


@pytest.mark.parametrize("which", ["base", "shipped"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_a_mutated_policy_loads_or_is_refused(which: str, data: st.DataObject) -> None:
    files = dict(written(which))
    for _ in range(data.draw(st.integers(1, 3))):
        name = data.draw(st.sampled_from(sorted(files)))
        documents = start(which)[name]
        index = data.draw(st.integers(0, len(documents) - 1))
        changed = mutated(data, documents[index])
        files[name] = dumped([*documents[:index], changed, *documents[index + 1 :]])
    check(files)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_mutated_bytes_load_or_are_refused(data: st.DataObject) -> None:
    files = policies.files_of(policies.BASE)
    name = data.draw(st.sampled_from(sorted(files)))
    start_at = data.draw(st.integers(0, len(files[name])))
    end = data.draw(st.integers(start_at, min(len(files[name]), start_at + 20)))
    junk = data.draw(
        st.binary(max_size=4)
        | st.text(max_size=3).map(str.encode)
        | st.sampled_from(
            [b"&a ", b"*a", b"[", b"]", b"{", b"}", b"- ", b": ", b"\n", b"---\n", b"'", b'"', b"|\n", b"!x "]
        )
    )
    files[name] = files[name][:start_at] + junk + files[name][end:]
    check(files)


CLOSED = {*CAPABILITIES, *FAMILIES, *NAMESPACES}


def names(node: Any, path: tuple[Any, ...] = (), key: str = "") -> list[tuple[Any, ...]]:
    """The paths of all texts that name something declared elsewhere, or something of the kernel's."""
    if isinstance(node, dict):
        return [found for k, v in node.items() for found in names(v, (*path, k), k)]
    if isinstance(node, list):
        return [found for i, v in enumerate(node) for found in names(v, (*path, i), key)]
    if not isinstance(node, str):
        return []
    known = key in {"who", "what", "may", "of", "except", "runs", "becomes", "in", "members", "call", "allow"}
    known = known or key in {"container", "action", "extends", "process", "files", "errno", "syscall", "capability"}
    known = known or key in {"classes", "target", "default-container", "labels-from", "host-namespace", "root", "level"}
    return [path] if (known and len(path) > 1) or node in CLOSED else []


ASKED = ("may", "may-not", "level")


@pytest.mark.parametrize("which", ["base", "shipped"])
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_a_misspelled_name_never_loads(which: str, data: st.DataObject) -> None:
    places = [(name, path) for name, documents in start(which).items() for path in names(documents) if len(path) > 2]
    # What an expectation asks is understood by the proofs, and misspelled in their tests.
    places = [(name, path) for name, path in places if path[1] not in ASKED or not name.startswith("expectations/")]
    name, path = data.draw(st.sampled_from(places))
    documents = start(which)[name]
    text = at(documents, path)
    spot = data.draw(st.integers(0, len(text) - 1))
    wrong = data.draw(st.sampled_from([text[:spot] + text[spot + 1 :], text[:spot] + "q" + text[spot:], text + "x"]))
    assume(wrong not in known(which))
    files = dict(written(which))
    files[name] = dumped(edited(documents, path, lambda _: wrong))
    error = check(files)
    assert error is not None, (name, path, text, wrong)
    assert any(fault.at.file == name for fault in error.diagnostics)
