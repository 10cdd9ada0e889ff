"""The table of a container type's keys tells what must be said, and what a key that is left out stands for."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache

import pytest
from stockade.model.container import ContainerType
from stockade.source.diagnostics import PolicyError
from stockade.source.load import SourceFile, build, read_files

from .pages import ROOT

ROWS = re.findall(
    r"^\| `([a-z-]+)` \| [^|]* \| ([^|]*) \| [^|]* \|$", (ROOT / "docs/containers.md").read_text(), re.MULTILINE
)
REQUIRED = [key for key, left_out in ROWS if left_out == "*required*"]
DEFAULTS = [(key, left_out.strip("`")) for key, left_out in ROWS if left_out.startswith("`")]
NOTHING = [key for key, left_out in ROWS if left_out == "none" and key != "extends"]

MINIMAL = {
    "container": "least",
    "why": "It says no more than it must.",
    "selinux": "{process: container_t, files: data_t}",
    "capabilities": "[]",
    "syscalls": "{}",
    "sockets": "{families: [], why: none}",
    "namespaces": "{new: [mount, pid, network, ipc, uts, cgroup]}",
    "root": "read-only",
    "no-new-privileges": "true",
}


@cache
def shipped() -> tuple[SourceFile, ...]:
    return tuple(read_files(ROOT / "policy"))


def least(keys: dict[str, str]) -> ContainerType:
    """The type with these keys, as the shipped policy has it beside its own; without its places."""
    text = "".join(f"{key}: {value}\n" for key, value in keys.items())
    policy = build([*shipped(), SourceFile("containers/least.yaml", text.encode())])
    return replace(policy.containers["least"], places={})


def test_the_table_is_read() -> None:
    assert len(ROWS) == 21 and {"mask", "devices"} <= dict(DEFAULTS).keys() and {"tmpfs", "sysctls"} <= set(NOTHING)


def test_no_other_key_is_required() -> None:
    assert MINIMAL.keys() == set(REQUIRED)
    assert least(MINIMAL).no_new_privileges


@pytest.mark.parametrize("key", REQUIRED)
def test_a_required_key_is_required(key: str) -> None:
    with pytest.raises(PolicyError) as found:
        least({name: value for name, value in MINIMAL.items() if name != key})
    assert f"`{key}`" in found.value.render()


@pytest.mark.parametrize(("key", "value"), DEFAULTS)
def test_a_default_is_what_leaving_it_out_means(key: str, value: str) -> None:
    assert least({**MINIMAL, key: f'"{value}"'}) == least(MINIMAL)
    assert least({**MINIMAL, key: "all" if key == "devices" else "none"}) != least(MINIMAL)


@pytest.mark.parametrize("key", NOTHING)
def test_nothing_is_what_leaving_it_out_means(key: str) -> None:
    assert least({**MINIMAL, key: "{}" if key == "sysctls" else "[]"}) == least(MINIMAL)
