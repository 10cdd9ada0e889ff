"""`mode: complain`: only on demand, said loudly, in every artefact, counted as no layer; nobody else is loosened."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from stockade.bundle.compile import compile_policy
from stockade.cli.main import main
from stockade.model.seccomp import Action
from stockade.model.syscalls import ARCHITECTURES, numbers
from stockade.prove.policy import artefact_faults
from stockade.seccomp.emulate import run
from stockade.selinux.policydb import read
from stockade.source.diagnostics import PolicyError
from stockade.source.load import load

SHIPPED = Path(__file__).resolve().parents[2] / "policy"
TYPE = "container: shop\nextends: web\nwhy: sells\nmode: complain\nselinux: {domain: shop_t}\n"


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("complain") / "policy"
    shutil.copytree(SHIPPED, folder)
    (folder / "containers/shop.yaml").write_text(TYPE)
    return folder


@pytest.fixture(scope="module")
def bundle(policy: Path) -> Path:
    assert main(["build", str(policy), "-o", str(policy.parent / "built"), "--complain"]) == 0
    return policy.parent / "built"


def test_it_is_refused_unasked(policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", str(policy), "-o", str(tmp_path / "built")]) == 1
    assert "containers/shop.yaml:4:1: `shop` complains" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_that_stands_is_no_leave(
    policy: Path, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (bundle / "manifest.json").read_bytes()
    assert main(["build", str(policy), "-o", str(bundle)]) == 1
    assert (bundle / "manifest.json").read_bytes() == before
    capsys.readouterr()
    assert main(["build", str(policy), "-o", str(bundle), "--complain"]) == 0
    said = capsys.readouterr()
    assert "is up to date" in said.out
    assert "`shop` COMPLAINS" in said.err


def test_every_artefact_says_so_and_no_other_type_is_loosened(bundle: Path) -> None:
    assert json.loads((bundle / "manifest.json").read_text())["complaining"] == ["shop"]
    assert "**It complains.**" in (bundle / "containers/shop/summary.md").read_text()
    assert "permissive shop_t;" in (bundle / "containers/shop/selinux.te").read_text()
    (kernel_policy,) = (bundle / "host").glob("policy.[0-9]*")
    assert read(kernel_policy.read_bytes()).permissive == {"shop_t"}
    profile = json.loads((bundle / "containers/shop/seccomp.json").read_text())
    assert {entry["action"] for entry in profile["syscalls"]} == {"SCMP_ACT_ALLOW", "SCMP_ACT_LOG"}
    for name, wanted in (("shop", Action.LOG), ("web", Action.ERRNO)):
        for arch in ("x86_64", "aarch64"):
            program = (bundle / f"containers/{name}/seccomp.{arch}.bpf").read_bytes()
            token = ARCHITECTURES[arch].token
            for call in ("init_module", "clone3", "bpf"):
                assert run(program, token, numbers(arch)[call], (0,) * 6)[0].action is wanted, (name, call)
            assert run(program, token, numbers(arch)["read"], (0,) * 6)[0].action is Action.ALLOW
    notes = {p.parent.name: json.loads(p.read_text())["annotations"] for p in bundle.glob("containers/*/oci.json")}
    assert {name for name, said in notes.items() if "io.stockade.mode" in said} == {"shop"}


@pytest.mark.parametrize("side", ["policy", "bundle"])
def test_the_two_layers_count_as_stopping_nothing(
    policy: Path, bundle: Path, side: str, capsys: pytest.CaptureFixture[str]
) -> None:
    place = str({"policy": policy, "bundle": bundle}[side])
    assert main(["can", "shop", "load-kernel-module", place, "--format", "json"]) == 1
    assert json.loads(capsys.readouterr().out)["stoppedBy"] == ["capabilities"]
    assert main(["can", "web", "load-kernel-module", place, "--format", "json"]) == 1
    assert len(json.loads(capsys.readouterr().out)["stoppedBy"]) == 3
    for question in ("mount", "file.write:private_t"):
        assert main(["can", "shop", question, place]) == 0
        assert main(["can", "web", question, place]) == 1


def test_the_build_names_the_promises_that_rest(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(policy), "--complain", "--format", "json"]) == 0
    said = capsys.readouterr()
    suspended = json.loads(said.out)["complaining"]["shop"]
    assert "modules-are-loaded-by-those-who-prepare-the-host" in suspended  # two layers, of which one is left
    assert "only-starters-run-secrets" in suspended  # its label's
    assert f"{len(suspended)} promises do not hold of it meanwhile" in said.err


def test_what_it_would_break_enforcing_is_still_refused(
    policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "policy"
    shutil.copytree(policy, folder)
    widens = "widens: {capabilities: x, syscalls: x}\ncapabilities: [SYS_MODULE]\n"
    (folder / "containers/shop.yaml").write_text(TYPE + widens + 'syscalls: {allow: ["@module-load"]}\n')
    assert main(["check", str(folder), "--complain"]) == 1
    assert "breaks promise `modules-are-loaded-by-those-who-prepare-the-host`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("container: shop\nextends: web\nwhy: sells\nmode: complain\n", "its label `web_t` is not its own"),
        (TYPE + "---\ncontainer: till\nextends: shop\nwhy: counts\n", "`till` has the label `shop_t` too"),
        (TYPE.replace("complain", "whine"), "unknown value `whine`"),
    ],
)
def test_who_cannot_complain(policy: Path, tmp_path: Path, text: str, fault: str) -> None:
    folder = tmp_path / "policy"
    shutil.copytree(policy, folder)
    (folder / "containers/shop.yaml").write_text(text)
    with pytest.raises(PolicyError) as refused:
        load(folder)
    assert fault in refused.value.render()


def test_a_child_does_not_complain_for_its_parent(policy: Path, tmp_path: Path) -> None:
    folder = tmp_path / "policy"
    shutil.copytree(policy, folder)
    (folder / "containers/till.yaml").write_text(
        "container: till\nextends: shop\nwhy: counts\nselinux: {domain: till_t}\n"
    )
    types = load(folder).containers
    assert (types["shop"].complains, types["till"].complains) == (True, False)
    assert types["till"].answered == types["till"].syscalls


@pytest.mark.parametrize("mode", ["complain", "record", "enforce"])
def test_nobody_is_asked_about_the_calls_of_a_type_that_complains(mode: str, policy: Path, tmp_path: Path) -> None:
    """A runtime would wait for an agent that no call is ever handed to."""
    folder = tmp_path / "policy"
    shutil.copytree(policy, folder)
    asked = "syscalls: {deny: [{call: swapon, action: notify, why: asked}], listener: /run/agent.sock}\n"
    text = TYPE.replace("complain", mode) + "widens: {syscalls: an agent decides}\n" + asked
    (folder / "containers/shop.yaml").write_text(text)
    compiled = compile_policy(load(folder))
    assert compiled.profiles["shop"].get("listenerPath") == ("/run/agent.sock" if mode == "enforce" else None)
    actions = {entry["action"] for entry in compiled.profiles["shop"]["syscalls"]}
    assert ("SCMP_ACT_NOTIFY" in actions) is (mode == "enforce")
    assert list(artefact_faults(load(folder), compiled)) == []
