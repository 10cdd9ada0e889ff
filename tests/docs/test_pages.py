"""What the manual shows is so: its YAML loads, its commands answer as it says, its documents have that shape."""

from __future__ import annotations

import io
import json
import re
import shlex
import shutil
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from stockade.cli.main import main
from stockade.source.diagnostics import PolicyError
from stockade.source.load import load

from .pages import PAGES, ROOT, Block, blocks, commands, links, pattern

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


class Shell:
    """Where a page's commands run: a folder with a copy of the shipped policy."""

    def __init__(self, folder: Path) -> None:
        self.policy = folder / "policy"
        shutil.copytree(ROOT / "policy", self.policy)
        self.status = 0

    def run(self, line: str) -> str:
        """The whole answer to a command line; what is no command of ours is not run, and says nothing."""
        program, *words = shlex.split(line)
        if line == "echo $?":
            return f"{self.status}\n"
        if program != "stockade":
            return ""
        if words[:2] == ["init", "policy"]:
            shutil.rmtree(self.policy)  # the page makes its own
        said = io.StringIO()
        with redirect_stdout(said), redirect_stderr(said):
            self.status = main(words)
        return said.getvalue()


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(tmp_path)
    return Shell(tmp_path)


def write(shell: Shell, block: Block) -> None:
    """Put a YAML block into the policy, and see that the policy loads, or not where the block says `refused`."""
    assert block.file, "a YAML block names its `file=` or is a container type"
    (shell.policy / block.file).write_text(block.text)
    if "refused" not in block.words:
        load(shell.policy)
        return
    with pytest.raises(PolicyError):
        load(shell.policy)


def console(shell: Shell, block: Block) -> None:
    """Run the commands of a block, and compare answers and exit codes; a code that nobody asks for is 0."""
    steps = commands(block)
    asked = [step.line == "echo $?" for step in steps[1:]] + [False]
    for step, code_follows in zip(steps, asked, strict=True):
        said = shell.run(step.line)
        assert pattern(step.answer).fullmatch(said), f"$ {step.line}\n{said}"
        if not code_follows and step.line != "echo $?":
            assert shell.status == 0, f"$ {step.line}\nends with {shell.status}, which nobody asks for"


def document(shell: Shell, block: Block) -> None:
    """Run the command behind the fence; the block has the same keys and kinds of value as its answer."""
    said = shell.run(" ".join(block.words[1:]))
    alike(json.loads(block.text), json.loads(said.partition("\nstockade: ")[0].partition("\nproven: ")[0]), "$")


def alike(shown: object, given: object, place: str) -> None:
    assert type(shown) is type(given), place
    if isinstance(shown, dict) and isinstance(given, dict):
        assert list(shown) == list(given), place
        for key in shown:
            alike(shown[key], given[key], f"{place}.{key}")
    elif isinstance(shown, list) and isinstance(given, list) and shown:
        assert given, place
        alike(shown[0], given[0], f"{place}[0]")


SHOWN: dict[str, Callable[[Shell, Block], None]] = {"yaml": write, "console": console, "json": document}


@pages
def test_what_a_page_shows_is_so(page: Path, shell: Shell) -> None:
    for block in blocks(page.read_text()):
        if block.kind in SHOWN:
            try:
                SHOWN[block.kind](shell, block)
            except (AssertionError, PolicyError) as error:
                said = error.render() if isinstance(error, PolicyError) else error
                pytest.fail(f"{page.name}:{block.line}: {said}", pytrace=False)


@pages
def test_links_lead_somewhere(page: Path) -> None:
    inside = [link.partition("#")[0] for link in links(page.read_text()) if "://" not in link]
    assert [link for link in inside if not (page.parent / link).exists()] == []


def test_readme_and_pages_lead_to_every_page() -> None:
    linked = {(page.parent / link.partition("#")[0]).resolve() for page in PAGES for link in links(page.read_text())}
    assert set(PAGES[1:]) <= linked


PLACES = (ROOT, ROOT / "compiler/stockade")
SPANS = re.findall(r"`([a-z_./*]+(?:\.py|/))`", "".join(page.read_text() for page in PAGES if page.name != "README.md"))


@pytest.mark.parametrize("name", sorted({name for name in SPANS if "/" in name.rstrip("/")}))
def test_a_module_or_folder_that_is_named_exists(name: str) -> None:
    assert name.startswith("build/") or any(any(place.glob(name.rstrip("/"))) for place in PLACES)


def test_a_make_target_that_is_named_exists() -> None:
    named = set(re.findall(r"`make ([a-z]+)`", "".join(page.read_text() for page in PAGES)))
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert "test" in named and named <= targets


@pages
def test_a_page_is_read_in_one_sitting(page: Path) -> None:
    if page.name == "reference.md":  # is looked things up in, and generated
        return
    assert len(page.read_text().splitlines()) <= 270


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("```yaml file=containers/a.yaml\ncontainer: a\nextends: nothing\nwhy: x\n```\n", "unknown container type"),
        ("```yaml file=containers/a.yaml refused\ncontainer: a\nextends: web\nwhy: x\n```\n", "DID NOT RAISE"),
        ("```yaml\nkey: value\n```\n", "names its `file=`"),
        ("```console\n$ stockade --version\nstockade 9\n```\n", "stockade 0"),
        ("```console\n$ stockade --version\n```\n", "stockade 0"),
        ("```console\n$ stockade fly\n...\n```\n", "stockade fly"),
        ("```console\n$ stockade --version\n...\n$ echo $?\n1\n```\n", "echo"),
        ('```json stockade can web SYS_ADMIN --format json\n{"who": "web"}\n```\n', "$"),
    ],
)
def test_what_is_not_so_is_noticed(text: str, fault: str, shell: Shell) -> None:
    (block,) = blocks(text)
    with pytest.raises((AssertionError, PolicyError, pytest.fail.Exception)) as found:
        SHOWN[block.kind](shell, block)
    assert fault in (found.value.render() if isinstance(found.value, PolicyError) else str(found.value))
