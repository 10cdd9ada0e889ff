"""Building the shipped policy by the command line: the same bytes wherever it lies, all of it, nothing else."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stockade.cache import cache_folder
from stockade.model.names import CAPABILITIES, FAMILIES
from stockade.model.policy import Policy
from stockade.model.seccomp import Action
from stockade.model.syscalls import numbers
from stockade.seccomp.semantics import decide

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "policy"
TYPES = ("admin", "batch", "bootstrap", "control", "database", "ordinary", "web")
HOST = (
    "host/actions.json", "host/container_labels.json", "host/file_contexts", "host/lxc_contexts",
    "host/mount_contexts", "host/policy.31", "host/policy.cil", "host/tmpfiles.conf",
)  # fmt: skip
PER_TYPE = (
    "oci.json", "seccomp.aarch64.bpf", "seccomp.json", "seccomp.x86_64.bpf", "selinux.cil", "selinux.fc", "selinux.pp",
    "selinux.te", "summary.md",
)  # fmt: skip
MEGABYTE = 1 << 20


def stockade(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "compiler"), "NO_COLOR": "1", "LC_ALL": "C.UTF-8"}
    command = [sys.executable, "-m", "stockade.cli.main", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False)


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def copied(target: Path, *, backwards: bool = False) -> Path:
    """A copy of the shipped policy whose files were made in the order of their names, or against it."""
    names = sorted((path.relative_to(SHIPPED) for path in SHIPPED.rglob("*.yaml")), reverse=backwards)
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(SHIPPED / name, target / name)
    return target


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped policy, built from where it lies."""
    folder = tmp_path_factory.mktemp("build")
    done = stockade("build", SHIPPED, "-o", folder / "bundle", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "bundle"


def test_a_bundle_holds_what_it_should(built: Path) -> None:
    wanted = {*HOST, "manifest.json"} | {f"containers/{name}/{file}" for name in TYPES for file in PER_TYPE}
    assert tree(built).keys() == wanted
    assert all(content for content in tree(built).values())


def test_what_a_build_of_the_tests_remembers_is_not_kept_for_whoever_runs_them(tmp_path: Path) -> None:
    policy = copied(tmp_path / "policy")
    with (policy / "host/rules.yaml").open("a") as file:
        file.write(f"# {uuid.uuid4()}\n")  # a source that nobody has built
    assert stockade("build", policy, "-o", tmp_path / "bundle", cwd=tmp_path).returncode == 0
    name = f"{hashlib.sha256((tmp_path / 'bundle/manifest.json').read_bytes()).hexdigest()}.json"
    ours, theirs = cache_folder("builds"), cache_folder("lab").resolve().parent / "builds"
    assert cache_folder("lab").is_symlink() and theirs.parent.name == "stockade"
    assert (ours / name).is_file() and not (theirs / name).exists()


def test_the_manifest_tells_every_file(built: Path) -> None:
    manifest, files = json.loads((built / "manifest.json").read_text()), tree(built)
    listed = {entry["path"]: entry for entry in manifest["files"]}
    assert listed.keys() == files.keys() - {"manifest.json"}
    for name, entry in listed.items():
        assert entry["size"] == len(files[name])
        assert entry["sha256"] == hashlib.sha256(files[name]).hexdigest()


def test_copies_elsewhere_give_the_same_bytes(built: Path, tmp_path: Path) -> None:
    for place, backwards in (("a", False), ("another/folder with spaces", True)):
        (tmp_path / place).mkdir(parents=True)
        policy = copied(tmp_path / place / "policy", backwards=backwards)
        done = stockade("build", policy, "-o", "out", "--jobs", "1" if backwards else "4", cwd=tmp_path / place)
        assert done.returncode == 0, done.stderr
        assert tree(tmp_path / place / "out") == tree(built)


def _without_places(content: bytes) -> list[str]:
    """The lines of a text without the places that it names, in one order."""
    text = re.sub(r"\n[;#] {3}", " ", content.decode())
    text = re.sub(r"[a-z-]+/[a-z-]+\.yaml:\d+", "PLACE", text)
    text = re.sub(r"\b[a-z_]+_\d+(?=_|\b)", "NAME", text)  # permissions that are named after their rule's place
    return sorted(" ".join(line.split()) for line in text.splitlines())


def test_a_split_host_is_the_same_policy(built: Path, tmp_path: Path) -> None:
    """Rules in two files, subjects and objects in one: what the kernel gets is the same, to the byte."""
    policy = copied(tmp_path / "policy")
    rules = (policy / "host/rules.yaml").read_text().splitlines(keepends=True)
    start, end = rules.index("  # Processes.\n"), rules.index("quiet:\n")
    (policy / "host/rules.yaml").write_text("".join([*rules[:start], *rules[end:]]))
    (policy / "host/a-first.yaml").write_text("".join(["rules:\n", *rules[start:end]]))
    subjects = (policy / "host/subjects.yaml").read_text()
    (policy / "host/subjects.yaml").unlink()
    with (policy / "host/objects.yaml").open("a") as file:
        file.write(subjects)
    done = stockade("build", policy, "-o", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    mine, theirs = tree(built), tree(tmp_path / "out")
    assert mine.keys() == theirs.keys()
    for name in mine.keys() - {"manifest.json"}:
        if name.endswith((".bpf", ".json", ".31", "_contexts")):
            assert mine[name] == theirs[name], name
        elif not name.endswith(".pp"):
            assert _without_places(mine[name]) == _without_places(theirs[name]), name


def test_profiles_are_what_the_policy_compiles_to(built: Path) -> None:
    """`profiles/` is for reviewers of a change: it must show the change. `make profiles` renews it.

    It has no manifest, which names the compiler and so would change with every line of code.
    """
    shown, compiled = tree(ROOT / "profiles"), tree(built)
    assert shown.keys() == compiled.keys() - {"manifest.json"}
    assert [name for name, content in shown.items() if content != compiled[name]] == []


MEASURE = """
import os, subprocess, sys
process = subprocess.Popen([sys.executable, "-m", "stockade.cli.main", *sys.argv[1:]], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(status, usage.ru_maxrss)
"""
"""Starts a command from a process that is small itself: the kernel counts what the starting process had."""


def test_a_build_needs_little_memory(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "compiler")}
    command = [sys.executable, "-c", MEASURE, "build", str(SHIPPED), "-o", "out"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    status, kibibytes = map(int, done.stdout.split())
    assert status == 0, done.stderr
    print(f"{kibibytes // 1024} MiB at most")
    assert 10 * MEGABYTE < kibibytes * 1024 < 200 * MEGABYTE


def test_what_has_not_changed_is_not_compiled(built: Path, tmp_path: Path) -> None:
    """The second build does without the toolchain, and says so; a file that was tampered with is built again."""
    out = tmp_path / "out"
    shutil.copytree(built, out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    done = stockade("build", SHIPPED, "-o", out, "--format", "json", cwd=tmp_path)
    assert (done.returncode, json.loads(done.stdout)["changed"]) == (0, False)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    probe = (
        "import sys\nfrom stockade.cli.main import main\nsys.argv[1:] = sys.argv[1:]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "bad = [m for m in sys.modules if m.startswith(('setools', 'yaml', 'jsonschema', 'stockade.seccomp.'))]\n"
        "assert not bad, bad\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "compiler")}
    command = [sys.executable, "-c", probe, "build", str(SHIPPED), "-o", str(out)]
    quick = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert quick.returncode == 0, quick.stderr
    assert "up to date" in quick.stdout
    (out / "host/file_contexts").write_text("/.*\tsystem_u:object_r:any_t:s0\n")
    done = stockade("build", SHIPPED, "-o", out, "--format", "json", cwd=tmp_path)
    assert (done.returncode, json.loads(done.stdout)["changed"]) == (0, True)
    assert tree(out) == tree(built)


def test_a_failing_build_leaves_the_old_bundle(built: Path, tmp_path: Path) -> None:
    out, policy = tmp_path / "out", copied(tmp_path / "policy")
    shutil.copytree(built, out)
    rules = policy / "host/rules.yaml"
    rules.write_text(
        rules.read_text().replace("{who: api-users, may: [modify", "{who: [api-users, clock], may: [modify")
    )
    done = stockade("build", policy, "-o", out, "--format", "json", cwd=tmp_path)
    report = json.loads(done.stdout)
    assert (done.returncode, report["holds"]) == (1, False)
    assert {finding["message"].split("`")[1] for finding in report["findings"]} == {"only-the-api-changes-settings"}
    assert {Path(finding["file"]).name for finding in report["findings"]} == {"rules.yaml"}
    assert tree(out) == tree(built)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "policy"]


def test_only_some_types(built: Path, tmp_path: Path) -> None:
    done = stockade("build", SHIPPED, "-o", "out", "--type", "web", "--type", "batch", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found, whole = tree(tmp_path / "out"), tree(built)
    assert found.keys() == {*HOST, "manifest.json"} | {
        f"containers/{n}/{f}" for n in ("web", "batch") for f in PER_TYPE
    }
    assert all(content == whole[name] for name, content in found.items() if name != "manifest.json")


def test_json_is_one_document(built: Path, tmp_path: Path) -> None:
    done = stockade("build", SHIPPED, "-o", "out", "--format", "json", "--force", cwd=tmp_path)
    report = json.loads(done.stdout)
    assert done.returncode == 0
    assert report["changed"] is True
    assert {entry["path"]: entry["sha256"] for entry in report["files"]} == {
        name: hashlib.sha256(content).hexdigest() for name, content in tree(built).items() if name != "manifest.json"
    }
    checked = stockade("check", SHIPPED, "--format", "json", cwd=tmp_path)
    assert json.loads(checked.stdout)["holds"] is True
    assert json.loads(checked.stdout)["containers"] == list(TYPES)


def _broken(policy: Path) -> None:
    (policy / "host/rules.yaml").write_text("rules: [\n")


def _unreadable(policy: Path) -> None:
    (policy / "host/rules.yaml").unlink()
    (policy / "host/rules.yaml").symlink_to("nowhere.yaml")


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["check", "policy"], 0),
        (["check", "broken"], 1),
        (["build", "broken", "-o", "out"], 1),
        (["build", "policy", "--nonsense"], 2),
        (["build", "policy", "--target", "other"], 2),
        (["build", "policy", "-o", "out", "--type", "wbe"], 2),
        (["check", "policy", "--jobs", "0"], 2),
        (["check", "no-such-folder"], 3),
        (["check", "unreadable"], 3),
        (["build", "policy", "-o", "policy"], 3),
    ],
)
def test_exit_codes(tmp_path: Path, arguments: list[str], answer: int) -> None:
    copied(tmp_path / "policy")
    _broken(copied(tmp_path / "broken"))
    _unreadable(copied(tmp_path / "unreadable"))
    before = tree(tmp_path / "policy")
    done = stockade(*arguments, cwd=tmp_path)
    assert done.returncode == answer, done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert bool(done.stderr) == (answer != 0)
    assert tree(tmp_path / "policy") == before
    assert not (tmp_path / "out").exists()


def _section(text: str, title: str) -> list[str]:
    found = re.search(rf"^## {re.escape(title)}\n\n(.*?)(?=\n## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found is not None, title
    return found[1].strip().splitlines()


def _listed(lines: list[str], start: str) -> list[str]:
    (line,) = (line for line in lines if line.startswith(f"- {start}"))
    words = line.removeprefix(f"- {start}").partition(";")[0].strip()
    return [] if words == "none" else [word.strip(" `") for word in words.split(",")]


def _always(policy: Policy, name: str) -> Iterator[str]:
    """Calls that pass whatever their arguments, on every architecture that has them."""
    container = policy.containers[name]
    conditional = {rule.call for rule in container.syscalls.rules if rule.conditions}
    for call in {call for arch in container.architectures for call in numbers(arch)} - conditional:
        having = [arch for arch in container.architectures if call in numbers(arch)]
        verdicts = [decide(container.syscalls, arch, numbers(arch)[call], (0,) * 6) for arch in having]
        if all(verdict.action is Action.ALLOW for verdict in verdicts):
            yield call


@pytest.mark.parametrize("name", TYPES)
def test_every_number_of_a_summary(policy: Policy, built: Path, name: str) -> None:
    """Held against the artefacts beside it; its places against the source."""
    folder = built / "containers" / name
    text = (folder / "summary.md").read_text()
    spec: dict[str, Any] = json.loads((folder / "oci.json").read_text())
    container = policy.containers[name]
    held = _listed(_section(text, "Capabilities"), "held:")
    assert sorted(f"CAP_{word}" for word in held) == sorted(spec["process"]["capabilities"]["bounding"])
    assert sorted([*held, *_listed(_section(text, "Capabilities"), "never:")]) == sorted(CAPABILITIES)
    families = _listed(_section(text, "Sockets"), "families:")
    assert sorted([*families, *_listed(_section(text, "Sockets"), "never:")]) == sorted(FAMILIES)
    (always,) = (line for line in _section(text, "System calls") if line.startswith("- always:"))
    assert int(re.findall(r"\d+", always)[0]) == len(list(_always(policy, name)))
    limits = dict(re.findall(r"^- `([a-z.]+)`: (.+)$", "\n".join(_section(text, "Limits")), re.MULTILINE))
    assert limits.keys() == {*container.cgroup, *container.rlimits}
    resources = spec["linux"]["resources"]
    assert int(limits["memory.max"]) == resources["memory"]["limit"]
    assert int(limits["pids.max"]) == resources["pids"]["limit"]
    assert int(limits["memory.swap.max"]) == resources["memory"]["swap"] - resources["memory"]["limit"]
    if "cpu.max" in limits:
        assert [int(n) for n in re.findall(r"\d+", limits["cpu.max"])] == [
            resources["cpu"]["quota"],
            resources["cpu"]["period"],
        ]
    for limit in spec["process"]["rlimits"]:
        said = limits[limit["type"].removeprefix("RLIMIT_").lower()]
        assert said == f"{limit['soft']} soft, {limit['hard']} hard"
    assert _listed(_section(text, "Files"), "masked:") == sorted(spec["linux"]["maskedPaths"])
    assert _listed(_section(text, "Files"), "read-only:") == sorted(spec["linux"]["readonlyPaths"])
    assert _listed(_section(text, "Namespaces"), "of its own:") == sorted(
        n["type"] for n in spec["linux"]["namespaces"]
    )
    for line in _section(text, "What its label may do"):
        place = re.search(r"\(`([^`]+):(\d+)`\)$", line)
        assert place is not None, line
        why = line[: place.start()].partition(": ")[2].strip()
        lines = (SHIPPED / place[1]).read_text().splitlines()[int(place[2]) - 1 :][:6]
        assert " ".join(why.split()[:4]) in " ".join(lines), line
    kept = {line.removeprefix("- ").partition(":")[0] for line in _section(text, "What is promised of it")}
    assert kept <= policy.promises.keys()
    assert len(kept) == len(_section(text, "What is promised of it"))
