"""Who may import whom: data walks from the source to the command line, and so do the imports."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "compiler/stockade"

TARGETS = {"selinux", "seccomp", "oci"}
ROOMS: dict[str, set[str]] = {
    "model": set(),
    "source": {"model"},
    **{target: {"model"} for target in TARGETS},
    "bundle": {"model", *TARGETS},
    "prove": {"model", "source", *TARGETS, "bundle"},
    **{reader: {"model", *TARGETS, "bundle"} for reader in ("enforce", "audit", "lab")},
}
"""Each room, and the rooms that it may import. Enforcing, auditing and the lab read a bundle, never the source."""
ROOMS["page"] = set()
ROOMS["audit"].add("page")
ROOMS["review"] = {"model", *TARGETS, "bundle", "prove", "page"}
ROOMS["learn"] = {"model", "source", "prove"}
ROOMS["importing"] = {"model", "source", "seccomp", "oci", "prove"}
ROOMS["editor"] = {"model", "source", "prove"}
ROOMS["cli"] = set(ROOMS)

THIRD_PARTY: dict[str, set[str]] = {
    "source": {"yaml", "jsonschema"},
    "selinux": {"setools"},
    "editor": {"yaml", "pygls", "lsprotocol"},
    "audit": {"yaml", "elftools"},
    "cli": {"click", "rich", "yaml", "setools"},
}
"""Packages beyond the standard library, for each room that may import any."""


def imported(tree: ast.AST, module: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """Line and absolute dotted name of all that a module imports, at any depth, import_module() included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join([*module[: len(module) - node.level + 1], *filter(None, [node.module])])
            start = base if node.level else str(node.module)
            yield from ((node.lineno, f"{start}.{name.name}") for name in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                yield node.lineno, node.args[0].value


def wrong_arrows(package: Path) -> list[str]:
    """Every import that walks against the data, as `file:line: reason`."""
    wrong = []
    for path in sorted(package.rglob("*.py")):
        place = path.relative_to(package.parent)
        folder = place.parts[:-1]
        room = place.parts[1] if len(place.parts) > 2 else ""
        if room and room not in ROOMS:
            wrong.append(f"{place}:1: {room} is no room of the house")
            continue
        allowed = ROOMS.get(room, set()) | {room}
        for line, name in imported(ast.parse(path.read_bytes()), folder):
            top, _, rest = name.partition(".")
            target = rest.split(".")[0]
            if top != "stockade":
                if top not in sys.stdlib_module_names and top not in THIRD_PARTY.get(room, set()):
                    wrong.append(f"{place}:{line}: {room or 'the package'} imports {top}")
            elif target in ROOMS and target not in allowed:
                wrong.append(f"{place}:{line}: {room or 'the package'} imports {target}")
    return wrong


def test_no_import_walks_against_the_data() -> None:
    assert wrong_arrows(PACKAGE) == []


def test_every_room_is_looked_at() -> None:
    present = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert present <= set(ROOMS)
    assert {"model", "source", "cli", *TARGETS} <= present


@pytest.mark.parametrize(
    ("place", "text", "reason"),
    [
        ("selinux/emit.py", "from stockade.seccomp import tree", "selinux imports seccomp"),
        ("selinux/emit.py", "from stockade import source", "selinux imports source"),
        ("selinux/emit.py", "import stockade.source.load as load", "selinux imports source"),
        ("selinux/emit.py", "from ..oci import spec", "selinux imports oci"),
        ("selinux/emit.py", "from .. import oci", "selinux imports oci"),
        ("selinux/deep/emit.py", "from ...oci import spec", "selinux imports oci"),
        ("model/names.py", "from stockade.source import load", "model imports source"),
        ("model/names.py", "import yaml", "model imports yaml"),
        ("model/names.py", "def f():\n    import click", "model imports click"),
        ("source/load.py", "from stockade.prove import promise", "source imports prove"),
        ("audit/judge.py", "from stockade.source import load", "audit imports source"),
        ("audit/judge.py", "from stockade.lab import boot", "audit imports lab"),
        ("enforce/wrap.py", "if TYPE_CHECKING:\n    from stockade.source.load import Tree", "enforce imports source"),
        ("lab/boot.py", "importlib.import_module('stockade.source.load')", "lab imports source"),
        ("bundle/read.py", "import jsonschema", "bundle imports jsonschema"),
        ("prove/all.py", "from stockade.cli import output", "prove imports cli"),
        ("__init__.py", "from stockade.model import names", "the package imports model"),
        ("attic/old.py", "", "attic is no room of the house"),
    ],
)
def test_a_wrong_import_is_found(tmp_path: Path, place: str, text: str, reason: str) -> None:
    path = tmp_path / "stockade" / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    (only,) = wrong_arrows(tmp_path / "stockade")
    assert only.endswith(reason)
    assert only.startswith(f"stockade/{place}:")


@pytest.mark.parametrize(
    ("place", "text"),
    [
        (
            "selinux/emit.py",
            "from stockade.model import access\nfrom . import lines\nfrom .lines import one\nimport setools",
        ),
        ("prove/all.py", "from stockade.source import load\nfrom stockade.bundle import read\nimport json, re"),
        ("lab/boot.py", "from ..bundle import read\nfrom stockade import __version__"),
        ("cli/can.py", "from stockade.prove import actions\nimport click"),
    ],
)
def test_a_right_import_passes(tmp_path: Path, place: str, text: str) -> None:
    path = tmp_path / "stockade" / place
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert wrong_arrows(tmp_path / "stockade") == []
