"""What a type was given and did not use: found in a recording alone, written as `may-not`, and gone after a build."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from stockade.cli.main import main
from stockade.learn.edit import narrowed
from stockade.learn.records import Log
from stockade.learn.unused import granted, unused
from stockade.model.grants import grants
from stockade.model.seccomp import Action
from stockade.model.syscalls import ARCHITECTURES, numbers
from stockade.seccomp.emulate import run
from stockade.selinux.decisions import Decisions
from stockade.source.files import read_files
from stockade.source.load import build, load

from tests.source.policies import SHIPPED

from . import logs

TYPE = "container: shop\nextends: web\nwhy: sells\nmode: record\nselinux: {domain: shop_t}  # its own\n"
LOG = [
    logs.raw(1, ("shop_t", "data_t", "file", ("read", "open")), "s0"),
    logs.raw(2, ("shop_t", "shop_t", "process", ("fork",)), "s0"),
    logs.raw(3, ("container_t", "data_t", "file", ("write",)), "s0"),
]


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    folder = tmp_path / "policy"
    shutil.copytree(SHIPPED, folder)
    (folder / "containers/shop.yaml").write_text(TYPE)
    (tmp_path / "a.log").write_text("\n".join(LOG) + "\n")
    return folder


def learn(policy: Path, *more: str) -> int:
    return main(["learn", str(policy.parent / "a.log"), "--policy", str(policy), "--unused", *more])


def test_what_was_used_alone_is_left(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert learn(policy, "--type", "shop", "--format", "json") == 0
    said = json.loads(capsys.readouterr().out)["unused"]
    assert said["used"] == [{"may": "interact", "what": "self"}, {"may": "read", "what": "data"}]
    before = load(policy)
    whole = granted(before, before.containers["shop"])
    assert len(said["unused"]) == len(whole) - 2 > 100
    assert learn(policy, "--type", "shop", "--write") == 0
    text = (policy / "containers/shop.yaml").read_text()
    assert text.startswith(TYPE.partition("selinux")[0])
    after = load(policy)
    assert set(granted(after, after.containers["shop"])) == {("interact", "self"), ("read", "data")}
    assert set(grants(after.host)) <= set(grants(before.host))
    for label in ("web_t", "container_t"):
        kept = [{pair: access for pair, access in grants(p.host).items() if pair[0] == label} for p in (before, after)]
        assert kept[0] == kept[1]
    # Once more, and nothing is left to say.
    assert learn(policy, "--type", "shop", "--format", "json") == 0
    out = capsys.readouterr().out
    assert json.loads(out[out.index("{\n") :])["unused"]["mayNot"] == []


@pytest.mark.parametrize(
    "selinux",
    [
        "selinux: {domain: shop_t}\n",
        "selinux:\n  domain: shop_t\n",
        "selinux:\n  domain: shop_t  # its own\n  level: pair\nmode: record\n",
        "selinux:\n  may-not:\n    - {may: modify-blocks, what: objects, why: it never does}\n  domain: shop_t\n",
        "selinux:\n  domain: shop_t\n  may-not:\n"
        "    - may: modify-blocks\n      what: objects\n      why: it never does\n    # the end\n",
        "selinux:\n  domain: shop_t\n  may-not:\n  - {may: modify-blocks, what: objects, why: it never does}",
    ],
)
def test_every_style_of_writing_takes_it(policy: Path, selinux: str) -> None:
    mode = "" if "mode" in selinux else "mode: record\n"
    file = policy / "containers/shop.yaml"
    file.write_text(f"container: shop\nextends: web\nwhy: sells\n{mode}{selinux}")
    files, log = read_files(policy), Log()
    log.read("a.log", LOG)
    before = build(files)
    found = unused(before, before.containers["shop"], log)
    after = build(narrowed(files, found, "not used"))
    assert set(granted(after, after.containers["shop"])) == set(found.used)


@pytest.mark.parametrize(
    "selinux",
    [
        "selinux: {domain: shop_t,\n  level: pair}\n",
        "selinux:\n  {domain: shop_t}\n",
        "selinux: {domain: shop_t, may-not: [{may: modify-blocks, what: objects, why: it never does}]}\n",
    ],
)
def test_a_style_that_cannot_be_added_to_is_named(policy: Path, selinux: str) -> None:
    file = policy / "containers/shop.yaml"
    file.write_text(TYPE.partition("selinux")[0] + selinux)
    before = file.read_bytes()
    assert learn(policy, "--type", "shop", "--write") == 1
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("text", "log", "more", "code", "said"),
    [
        (TYPE, LOG, (), 2, "--unused needs --type"),
        (TYPE.replace("record", "complain"), LOG, ("--type", "shop"), 1, "does not record what it is allowed"),
        (TYPE, LOG[2:], ("--type", "shop"), 3, "no record of shop_t"),
        (TYPE, [*LOG, "[ 1.0] audit: audit_lost=3 audit_rate_limit=0"], ("--type", "shop"), 3, "may not be"),
        (TYPE, [*LOG, "kauditd_printk_skb: 12 callbacks suppressed"], ("--type", "shop"), 3, "may not be"),
        (TYPE, [*LOG, "type=AVC garbled"], ("--type", "shop"), 3, "may not be"),
    ],
)
def test_what_decides_nothing_changes_nothing(
    policy: Path,
    capsys: pytest.CaptureFixture[str],
    text: str,
    log: list[str],
    more: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    (policy / "containers/shop.yaml").write_text(text)
    (policy.parent / "a.log").write_text("\n".join(log) + "\n")
    assert learn(policy, "--write", *more) == code
    assert said in capsys.readouterr().err
    assert (policy / "containers/shop.yaml").read_text() == text


def test_a_type_that_records_is_built_without_rules_and_judged_with_them(
    policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    built = policy.parent / "built"
    assert main(["build", str(policy), "-o", str(built)]) == 1
    assert main(["build", str(policy), "-o", str(built), "--complain"]) == 0
    assert "`shop` records: what they would allow is logged too" in capsys.readouterr().err
    (binary,) = (built / "host").glob("policy.[0-9]*")
    with Decisions(binary.read_bytes()) as oracle:
        assert oracle.permissive == {"shop_t"}
        own = "system_u:system_r:shop_t:s0:c1,c2"
        for target in ("system_u:object_r:data_t:s0:c1,c2", "system_u:object_r:any_t:s0"):
            assert oracle.allowed(own, target, "file") == frozenset()
            assert oracle.allowed(own.replace("shop_t", "web_t"), target, "file")
    program = (built / "containers/shop/seccomp.x86_64.bpf").read_bytes()
    for call in ("read", "init_module", "socket"):
        verdict, _ = run(program, ARCHITECTURES["x86_64"].token, numbers("x86_64")[call], (0,) * 6)
        assert verdict.action is Action.LOG, call
    widens = 'widens: {capabilities: x, syscalls: x}\ncapabilities: [SYS_MODULE]\nsyscalls: {allow: ["@module-load"]}\n'
    (policy / "containers/shop.yaml").write_text(TYPE + widens)
    assert main(["check", str(policy), "--complain"]) == 1
    assert "breaks promise `modules-are-loaded-by-those-who-prepare-the-host`" in capsys.readouterr().err
