"""The launcher that chooses the type, and what launchers remember of the containers that they decided on."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stockade.enforce.choose import Facts, Selection, _fits, restored
from stockade.enforce.decided import Decided
from stockade.enforce.install import InstallError
from stockade.enforce.refusal import Refused
from stockade.enforce.select import parse

from tests.enforce.conftest import installed
from tests.enforce.containers import Site, identity, limits, runnable, seen

RULES = """
default = "ordinary"
ask = ["web"]

[[rule]]
namespace = "jobs-??-*"
image = "*/batch[0-9]:*"
type = "batch"
"""
NOTES = "io.kubernetes.cri."
STATUS = ["/bin/cat", "/proc/self/status"]


@pytest.fixture(scope="module")
def site(bundle: Path, tmp_path_factory: pytest.TempPathFactory, place: Path) -> Site:
    folder = tmp_path_factory.mktemp("chosen")
    rules = folder / "select.toml"
    rules.write_text(RULES)
    rules.chmod(0o644)
    return installed(folder, bundle, "runc", select=str(rules))


def spec_of(notes: dict[str, str], command: str = "exec sleep 600") -> dict[str, Any]:
    spec = runnable(command)
    spec["annotations"] |= notes
    return spec


@pytest.fixture
def container(site: Site) -> Iterator[str]:
    """The name of a container for which the launcher chose `web`, which its pod asked for."""
    name = identity()
    folder = site.oci(spec_of({"io.stockade.type": "web"}))
    with Path(os.devnull).open("r+b") as nothing:
        given = {"capture_output": False, "stdin": nothing, "stdout": nothing, "stderr": nothing}
        done = site.call("run", "--detach", "--bundle", str(folder), name, name="", **given)
    assert done.returncode == 0, site.reasons()
    yield name
    assert site.call("delete", "--force", name, name="").returncode == 0


@pytest.mark.parametrize(
    ("notes", "kind"),
    [
        ({}, "ordinary"),
        ({"io.stockade.type": "web"}, "web"),
        ({f"{NOTES}sandbox-namespace": "jobs-eu-1", f"{NOTES}image-name": "images.example/batch7:2"}, "batch"),
        ({f"{NOTES}sandbox-namespace": "jobs-1", f"{NOTES}image-name": "images.example/batch7:2"}, "ordinary"),
    ],
)
def test_the_launcher_chooses_by_the_operator_s_rules(notes: dict[str, str], kind: str, site: Site) -> None:
    folder = site.oci(spec_of(notes, "grep -E '^(Cap|NoNew|Seccomp:)' /proc/self/status"))
    done = site.call("run", "--bundle", str(folder), identity(), name="")
    assert done.returncode == 0, done.stderr
    held = {"ordinary": 0x480 | 1, "web": 0x480, "batch": 0}
    assert int(seen(done.stdout)["CapBnd"], 16) == held[kind], done.stdout
    confined = json.loads((folder / "config.json").read_text())
    assert confined["annotations"]["io.stockade.type"] == kind


@pytest.mark.parametrize(
    ("notes", "why"),
    [
        ({"io.stockade.type": "admin"}, "asks for 'admin', and this pod may only have ordinary, web"),
        ({"io.stockade.type": "nothing"}, "asks for 'nothing'"),
        (
            {
                "io.stockade.type": "web",
                f"{NOTES}sandbox-namespace": "jobs-eu-1",
                f"{NOTES}image-name": "images.example/batch7:2",
            },
            "may only have batch",
        ),
    ],
)
def test_what_a_pod_may_not_ask_for_is_refused(notes: dict[str, str], why: str, site: Site) -> None:
    name = identity()
    done = site.call("run", "--bundle", str(site.oci(spec_of(notes))), name, name="")
    assert done.returncode == 1 and why in done.stderr
    assert site.reasons().startswith("stockade: policy denied: type not chosen: ")


def test_what_is_added_and_changed_later_is_of_the_type_that_was_decided(site: Site, container: str) -> None:
    done = site.call("exec", "--cap", "CAP_CHOWN", container, *STATUS, name="")
    assert done.returncode == 1 and "type web: the capability CAP_CHOWN" in site.reasons()
    done = site.call("exec", container, *STATUS, name="")
    assert done.returncode == 0 and int(seen(done.stdout)["CapEff"], 16) & ~0x480 == 0
    assert site.call("update", "--pids-limit", "100000", container, name="").returncode == 0
    assert limits(container)["pids"] == 512


@pytest.mark.parametrize("verb", ["exec", "update"])
def test_the_launcher_of_another_type_changes_nothing(verb: str, site: Site, container: str) -> None:
    words = {"exec": [container, "/bin/true"], "update": ["--pids-limit", "4000", container]}
    assert site.call(verb, *words[verb], name="admin").returncode == 1
    assert f"the container {container} is of the type web" in site.reasons()
    assert limits(container)["pids"] == 512


def test_a_container_that_nobody_decided_on(site: Site) -> None:
    assert site.call("exec", "unknown", "/bin/true", name="").returncode == 1
    assert "no launcher decided of which type the container unknown is" in site.reasons()


def test_a_second_container_of_the_name_changes_nothing(site: Site, container: str) -> None:
    done = site.call("create", "--bundle", str(site.oci(spec_of({}))), container, name="")
    assert done.returncode == 1
    assert site.call("exec", "--cap", "CAP_CHOWN", container, *STATUS, name="").returncode == 1
    assert "type web: the capability" in site.reasons()


def verdict(site: Site, folder: Path, name: str) -> subprocess.CompletedProcess[str]:
    hook = json.loads((site.folder / "prefix/share/stockade/verify-hook.json").read_text())["createRuntime"][0]
    state = json.dumps({"ociVersion": "1.0.2", "id": name, "status": "creating", "pid": 1, "bundle": str(folder)})
    return subprocess.run([hook["path"], *hook["args"][1:]], input=state, capture_output=True, text=True, timeout=30)


def test_the_hook_believes_the_launcher_and_not_the_annotation(site: Site) -> None:
    name, folder = identity(), site.oci(spec_of({}))
    site.call("create", "--bundle", str(folder), "--console-socket", "/nonexistent", name, name="batch")
    assert verdict(site, folder, name).returncode == 0
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"io.stockade.type":"batch"', '"io.stockade.type":"ordinary"'))
    done = verdict(site, folder, name)
    assert done.returncode == 1 and "says ordinary, and the launcher decided batch" in done.stderr
    done = verdict(site, site.oci(spec_of({"io.stockade.type": "ordinary"})), name)
    assert done.returncode == 1 and "no launcher decided" in done.stderr


def test_decisions_are_swept_with_their_bundles(tmp_path: Path) -> None:
    kept, bundle = Decided(str(tmp_path / "decided")), tmp_path / "bundle"
    bundle.mkdir()
    (tmp_path / "other").mkdir()
    kept.remember("/state", "a", str(bundle), "web")
    assert (kept.of("/state", "a"), kept.of("/elsewhere", "a"), kept.of("/state", "b")) == ("web", None, None)
    assert kept.with_bundle("a", str(bundle)) == "web"
    (tmp_path / f"decided/.{os.getpid()}").symlink_to("left behind")
    bundle.rmdir()
    kept.remember("/state", "b", str(tmp_path / "other"), "batch")
    assert kept.of("/state", "a") is None
    assert len(list((tmp_path / "decided").iterdir())) == 1


@pytest.mark.parametrize("mode", [0o777, 0o770])
def test_a_folder_that_others_write_to_is_no_memory(mode: int, tmp_path: Path) -> None:
    kept = Decided(str(tmp_path / "decided"))
    kept.remember("/state", "a", str(tmp_path), "web")
    (tmp_path / "decided").chmod(mode)
    for ask in (
        lambda: kept.of("/state", "a"),
        lambda: kept.with_bundle("a", str(tmp_path)),
        lambda: kept.remember("/state", "b", str(tmp_path), "web"),
    ):
        with pytest.raises(Refused, match="its owner alone may write to"):
            ask()


def test_a_decision_that_cannot_be_kept_starts_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Refused, match="cannot be kept"):
        Decided(str(tmp_path / "file/decided")).remember("/state", "a", str(tmp_path), "web")
    with pytest.raises(Refused, match="of the name 'a b'"):
        Decided(str(tmp_path / "decided")).remember("/state", "a b", str(tmp_path), "web")


def test_rules_that_choose_nothing_with_certainty_are_not_installed(bundle: Path, tmp_path: Path, place: Path) -> None:
    rules = tmp_path / "select.toml"
    rules.write_text('ask = ["admin"]')
    rules.chmod(0o644)
    with pytest.raises(InstallError, match="a pod could choose admin, which is wider than ordinary"):
        installed(tmp_path, bundle, "runc", select=str(rules))
    assert not (tmp_path / "prefix/bin").exists()


@given(text=st.text("ab*?[]-", max_size=6), pattern=st.text("ab*?[]-", max_size=6))
def test_a_pattern_means_what_it_means_to_everybody(text: str, pattern: str) -> None:
    from fnmatch import fnmatchcase

    assert _fits(text, pattern) == fnmatchcase(text, pattern)


def test_rules_survive_the_way_into_the_launcher() -> None:
    types = ("ordinary", "web", "batch")
    whole: Selection = parse(RULES, types, lambda one, other: [])
    again = restored(json.loads(json.dumps(whole.plain())), types)
    for facts in (Facts(), Facts(asked="web"), Facts(namespace="jobs-eu-1", image="x/batch1:2"), Facts("stockade-web")):
        assert again.choose(facts) == whole.choose(facts)
