"""Recipes for shells, commits and pipelines do what the page says: the hook stops a commit, the jobs' commands run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from stockade.cli.group import COMMANDS

from .pages import ROOT, blocks

PAGE = {" ".join(block.words): block.text for block in blocks((ROOT / "docs/automation.md").read_text())}
HOOK, PRE_COMMIT, WORKFLOW = PAGE["sh hook"], yaml.safe_load(PAGE["text pre-commit"]), PAGE["text workflow"]
LOOSE = "why:  prints\ncontainer: press\nextends: web\n"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with the shipped policy committed, a `stockade` on PATH, and the hook."""
    found = tmp_path / "repository"
    shutil.copytree(ROOT / "policy", found / "policy")
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "stockade").write_text(f'#!/bin/sh\nexec {sys.executable} -m stockade.cli.main "$@"\n')
    (tools / "stockade").chmod(0o755)
    run(found, "git init -q -b main . && git add . && git commit -qm first")
    hook = found / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(HOOK)
    hook.chmod(0o755)
    return found


def run(folder: Path, line: str, **extra: str) -> subprocess.CompletedProcess[str]:
    """A line of shell as a pipeline runs it, away from the configuration of whoever runs the tests."""
    who = {f"GIT_{role}_{key}": "a@b" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    path = f"{folder.parent / 'bin'}:{os.environ['PATH']}"
    kept = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    clean = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "PYTHONPATH": str(ROOT / "compiler")}
    env = {**kept, **who, **clean, "PATH": path, **extra}
    return subprocess.run(["bash", "-ec", line], cwd=folder, env=env, capture_output=True, text=True, timeout=120)


def test_the_hook_stops_what_is_not_laid_out_and_lets_pass_what_is(repository: Path) -> None:
    press = repository / "policy/containers/press.yaml"
    press.write_text(LOOSE)
    commit = "git add . && git commit -qm press"
    refused = run(repository, commit)
    assert refused.returncode != 0 and "would change policy/containers/press.yaml" in refused.stderr
    assert run(repository, "stockade fmt policy").returncode == 0
    passed = run(repository, commit)
    assert passed.returncode == 0, passed.stderr
    assert "holds: 8 container types" in passed.stderr
    press.write_text(press.read_text() + "root: writable\n")
    assert "is wider than `web`" in run(repository, "git commit -qam wider").stderr
    assert run(repository, "git log --format=%s").stdout == "press\nfirst\n"


def test_the_frameworks_hooks_are_the_commands_of_the_hook() -> None:
    """And so are proven to run by the tests around this one; `fmt` gets the files that match."""
    hooks = {hook["id"]: hook for hook in PRE_COMMIT["repos"][0]["hooks"]}
    lines = [line for line in HOOK.splitlines() if line.startswith("stockade")]
    assert [hooks[name]["entry"] for name in ("stockade-check", "stockade-test")] == lines[1:]
    assert lines[0].startswith(hooks["stockade-fmt"]["entry"])
    assert [name for name, hook in hooks.items() if hook.get("pass_filenames", True)] == ["stockade-fmt"]


def test_the_frameworks_hook_lays_out_what_is_staged(repository: Path) -> None:
    """As the framework runs it: the entry, and behind it the staged files that match."""
    hook = PRE_COMMIT["repos"][0]["hooks"][0]
    press = repository / "policy/containers/press.yaml"
    press.write_text(LOOSE)
    (repository / "README.yaml").write_text("a:   b\n")
    run(repository, "git add .")
    staged = run(repository, "git diff --cached --name-only").stdout.split()
    matching = [name for name in staged if re.search(hook["files"], name)]
    assert matching == ["policy/containers/press.yaml"]
    ran = run(repository, shlex.join([*shlex.split(hook["entry"]), *matching]))
    assert ran.returncode == 0, ran.stderr
    assert press.read_text() != LOOSE


def test_the_pipelines_commands_run_and_stop_what_is_wider(repository: Path) -> None:
    job = yaml.safe_load(WORKFLOW)["jobs"]["policy"]
    steps = [step["run"] for step in job["steps"] if "run" in step and not step["run"].startswith("make ")]
    assert len(steps) == 5 and all(word in COMMANDS or "git" in word for word in (s.split()[1] for s in steps[:3]))
    run(repository, "git update-ref refs/remotes/origin/main main && git checkout -qb change")
    summary = repository.parent / "summary.md"
    env = {"GITHUB_BASE_REF": "main", "GITHUB_STEP_SUMMARY": str(summary)}
    results = [run(repository, step, **env) for step in steps]
    assert [result.returncode for result in results] == [0] * 5, results
    assert "<testsuite" in (repository / "tests.xml").read_text()
    web = repository / "policy/containers/web.yaml"
    web.write_text(web.read_text().replace("pids.max: 512", "pids.max: 600"))
    assert run(repository, steps[4], **env).returncode == 1
    assert "pids.max" in summary.read_text()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_what_a_shell_asks_is_answered(repository: Path, shell: str) -> None:
    """Each script asks `stockade` itself; the question is the one in the script, the answer in that shell's form."""
    script = run(repository, f"stockade completion {shell}").stdout
    assert f"_STOCKADE_COMPLETE={shell}_complete" in script
    asked = {"COMP_WORDS": "stockade matr", "COMP_CWORD": "matr" if shell == "fish" else "1"}
    said = run(repository, "stockade", _STOCKADE_COMPLETE=f"{shell}_complete", **asked).stdout
    assert said.replace("\n", ",").replace("\t", ",").startswith("plain,matrix")


def test_bash_completes(repository: Path) -> None:
    """The script in a real shell: commands, options and choices."""
    lines = 'eval "$(stockade completion bash)"\n'
    for words in ("stockade matr", "stockade build --comp", "stockade completion f"):
        count = len(words.split())
        lines += f"COMP_WORDS=({words}); COMP_CWORD={count - 1}; COMPREPLY=(); _stockade_completion stockade\n"
        lines += "echo ${COMPREPLY[@]}\n"
    assert run(repository, lines).stdout.splitlines() == ["matrix", "--complain", "fish"]
