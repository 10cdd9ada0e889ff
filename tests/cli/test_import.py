"""`stockade import seccomp`: the emitted type loads on the shipped policy and decides as the profile."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from stockade.cli.main import main
from stockade.importing.calls import Importer
from stockade.importing.container_text import container_text
from stockade.model.container import Sockets
from stockade.model.names import CAPABILITIES, FAMILIES
from stockade.model.position import Position
from stockade.model.seccomp import ALLOWED, Action, SyscallPolicy, Verdict
from stockade.model.syscalls import NATIVE, argument, arguments_of
from stockade.seccomp.judge import Place, PolicyJudge, places
from stockade.seccomp.profile import DOCKER_CAPS, read_profile
from stockade.seccomp.regions import Domain, witness
from stockade.source.diagnostics import Diagnostics
from stockade.source.load import load
from stockade.source.shape import check_shape
from stockade.source.syscalls import SyscallBuilder
from stockade.source.yaml import read_documents

from tests.seccomp.profiles import SHIPPED, arg, encoded, entry, profile, profiles

POLICY = Path(__file__).resolve().parents[2] / "policy"
QUIET = settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
CAPS = {"docker": "default", "none": "none", "all": "all"}


def as_the_kernel_reads(place: Place) -> Place:
    """The place with the upper halves of C int arguments zero: the kernel looks at none of those bits."""
    assert place.call is not None
    narrow = {
        5 + 2 * argument(place.call, name)[0]
        for name in arguments_of(place.call)
        if argument(place.call, name)[1] == 32
    }
    return place._replace(region=tuple(Domain(0, 0) if at in narrow else d for at, d in enumerate(place.region)))


def assert_equal(emitted: SyscallPolicy, meant: SyscallPolicy, archs: tuple[str, ...]) -> int:
    """Both answer every known call alike, as far as the kernel looks at arguments; the number of questions."""
    one, other = PolicyJudge(emitted, archs), PolicyJudge(meant, archs)
    asked = 0
    for arch in archs:
        for place in places(arch):
            if place.call is None:
                continue
            narrowed = as_the_kernel_reads(place)
            for part in one.parts(narrowed):
                for region in other.parts(narrowed._replace(region=part)):
                    words = witness(region)
                    got, expected = one.decide(place, words), other.decide(place, words)
                    assert got == expected, (place.call, words, got, expected)
                    asked += 1
    return asked


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(POLICY, tmp_path / "policy")
    return tmp_path / "policy"


@pytest.mark.parametrize("caps", CAPS)
def test_the_shipped_profile(folder: Path, caps: str, capfd: pytest.CaptureFixture[str]) -> None:
    path = folder / "containers/imported.yaml"
    code = main(
        [
            "import",
            "seccomp",
            "/usr/share/containers/seccomp.json",
            "--name",
            "imported",
            "--caps",
            CAPS[caps],
            "-o",
            str(path),
        ]
    )
    out, err = capfd.readouterr()
    assert (code, out) == (0, "")
    assert "`persona` is compared as the 32 bits that the kernel reads" in err
    found = load(folder).containers["imported"]
    held = {"docker": DOCKER_CAPS, "none": frozenset[str](), "all": frozenset(CAPABILITIES)}[caps]
    assert found.capabilities["bounding"] == held
    assert assert_equal(found.syscalls, read_profile(SHIPPED, NATIVE, held).policy, NATIVE) > 600
    text = path.read_text()
    assert text.count("choose") >= 8
    assert '"@file-io"' in text and "openat" not in text, "a whole group stands for its members"
    assert max(map(len, text.splitlines())) <= 120


def emitted(said: Any, archs: tuple[str, ...] = NATIVE) -> tuple[SyscallPolicy, list[str], str]:
    """The policy that comes back from what is written, the notes, and the text."""
    found = read_profile(encoded(said), archs)
    report = Diagnostics()
    (document,) = read_documents("groups.yaml", (POLICY / "containers/groups.yaml").read_bytes(), report)
    groups = {name: tuple(group["syscalls"]) for name, group in document["groups"].items()}
    importer = Importer(found, groups)
    text = container_text("x", archs, [], importer.syscalls(), importer.sockets())
    (body,) = read_documents("x.yaml", text.encode(), report)
    assert not check_shape("container", body, report)
    families = body["sockets"]["families"]
    sockets = Sockets(frozenset(FAMILIES if families == "all" else families), "why", Position("x", 1, 1))
    policy = SyscallBuilder(groups, report).build(body["syscalls"], sockets, "why", Position("x", 1, 1))
    report.raise_if_any()
    return policy, importer.notes, text


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (profile(), "families: []"),
        (profile(entry("read")), "allow: [read]"),
        (profile(entry("ioctl")), 'allow: ["@device-control"]'),
        (profile(entry("socket socketpair")), "families: all"),
        (
            profile(entry("socket socketpair", "ALLOW", arg(0, "EQ", 1)), entry("socket", "ALLOW", arg(0, "EQ", 10))),
            "families: [unix, inet6]",
        ),
        (profile(entry("socket"), entry("socketpair", "ALLOW", arg(0, "EQ", 1))), "call: socketpair"),
        (profile(entry("socket", "ALLOW", arg(0, "EQ", 2), arg(1, "MASKED_EQ", 15, 1))), "type: {mask: 8, is: 8}"),
        (profile(entry("clone", "ALLOW", arg(0, "MASKED_EQ", 0x10020000))), "flags: {none-of: [NEWNS, NEWUSER]}"),
        (profile(entry("clone", "ALLOW", arg(0, "MASKED_EQ", 3 << 20, 1 << 20))), "flags: {mask: 0x300000, is: 0x"),
        (profile(entry("unshare", "ALLOW", arg(0, "MASKED_EQ", 1 << 28, 1 << 28))), "flags: {all-of: [NEWUSER]}"),
        (profile(entry("ioctl", "ALLOW", arg(1, "NE", 0x5412))), "cmd: {not: [TIOCSTI]}"),
        (profile(entry("mmap", "ALLOW", arg(1, "LE", 1 << 30))), "length: {from: 0, to: 0x40000000}"),
        (profile(entry("mmap", "ALLOW", arg(1, "GE", 0))), "allow: [mmap]"),
        (profile(entry("mount bpf", "ERRNO", errnoRet=13), default="ALLOW"), "errno: EACCES"),
        (profile(entry("clone", "ERRNO", arg(0, "MASKED_EQ", 8, 8)), default="ALLOW"), "allow: all"),
        (profile(entry("socket", "ERRNO", arg(0, "EQ", 38), errnoRet=97)), "family: ALG, errno: EAFNOSUPPORT"),
        (profile(entry("mount", "ERRNO", errnoRet=38)), "errno: ENOSYS"),
        (profile(entry("read", "ERRNO", arg(0, "EQ", 3), errnoRet=9)), "arg0: 3, errno: EBADF"),
        (profile(entry("read", "ALLOW", arg(0, "GE", 7), arg(2, "LT", 1 << 33)), defaultErrnoRet=38), "denied: ENOSYS"),
    ],
)  # fmt: skip
def test_each_form(said: dict[str, Any], words: str) -> None:
    policy, _, text = emitted(said)
    assert words in text
    assert_equal(policy, read_profile(encoded(said), NATIVE).policy, NATIVE)


def plain(said: dict[str, Any]) -> dict[str, Any]:
    """A random profile with actions that the language has; every argument within 32 bits where the kernel reads 32."""
    used = {"ALLOW": "ALLOW", "LOG": "ALLOW"}
    entries = []
    for item in said["syscalls"]:
        action = used.get(item["action"].removeprefix("SCMP_ACT_"), "ERRNO")
        entries.append({**item, "action": f"SCMP_ACT_{action}"})
    default = said["defaultAction"].removeprefix("SCMP_ACT_")
    return {"defaultAction": f"SCMP_ACT_{used.get(default, 'ERRNO')}", "syscalls": entries}


@QUIET
@example(profile(entry("read", "ERRNO", arg(0, "LE", (1 << 64) - 1), arg(1, "NE", 0)), default="ALLOW"))
@given(profiles)
def test_random_profiles_come_back(said: dict[str, Any]) -> None:
    subject = plain(said)
    policy, notes, _ = emitted(subject)
    assume(not any(note.startswith("denied: sockets") or ("left out" in note and "bits" in note) for note in notes))
    meant = read_profile(encoded(subject), NATIVE).policy
    assert_equal(policy, meant, NATIVE)


@pytest.mark.parametrize(
    ("said", "note"),
    [
        (profile(default="KILL"), "EPERM instead of kill-thread, which cannot be said here: what no"),
        (profile(entry("socket", "LOG")), "EPERM instead of log, which cannot be said here: `socket`"),
        (profile(entry("read", "NOTIFY")), "EPERM instead of notify, which cannot be said here: `read`"),
        (profile(entry("socket", "ALLOW", arg(0, "LE", 7))), "denied: sockets of families without a name here: 0, 7"),
        (profile(entry("_llseek")), "left out: 1 calls that x86_64 and aarch64 do not have"),
        (profile(), "ENOSYS instead of errno 1 for calls that are not known yet"),
    ],
)  # fmt: skip
def test_what_cannot_be_said_is_told_and_never_wider(said: dict[str, Any], note: str) -> None:
    policy, notes, _ = emitted(said)
    assert any(one.startswith(note) for one in notes), notes
    meant = read_profile(encoded(said), NATIVE).policy
    one, other = PolicyJudge(policy, NATIVE), PolicyJudge(meant, NATIVE)
    for place in places("x86_64"):
        if place.call is None:
            continue
        narrowed = as_the_kernel_reads(place)
        for part in one.parts(narrowed):
            for region in other.parts(narrowed._replace(region=part)):
                words = witness(region)
                assert one.decide(place, words) != ALLOWED or other.decide(place, words) == ALLOWED
    assert policy.denied.action is Action.ERRNO and policy.unknown == Verdict(Action.ERRNO, 38)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["none.json"], 3, "No such file"), (["bad.json"], 3, "bad.json: $: not JSON"),
        (["ok.json", "--name", "No"], 2, "is no name"), (["ok.json", "--arch", "i386"], 3, "say --arch"),
        (["ok.json", "--policy", "nowhere"], 3, "no such folder"), (["x86.json"], 3, "say --arch"),
    ],
)  # fmt: skip
def test_what_goes_wrong(
    words: list[str],
    code: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.json").write_text("{")
    Path("ok.json").write_text(json.dumps(profile(entry("read"))))
    Path("x86.json").write_text(json.dumps(profile(entry("read"), architectures=["SCMP_ARCH_X86"])))
    assert main(["import", "seccomp", *words]) == code
    out, err = capfd.readouterr()
    assert out == "" and message in err and "Traceback" not in err


@pytest.mark.parametrize(
    ("action", "line"),
    [
        ("KILL_PROCESS", "{call: [read], action: kill-process, why: as in the imported profile}"),
        ("KILL", "{call: [read], action: kill-thread, why: as in the imported profile}"),
        ("TRAP", "{call: [read], action: trap, why: as in the imported profile}"),
        ("LOG", "{call: [read], action: log, why: as in the imported profile}"),
    ],
)
def test_an_action_comes_back_as_it_is(action: str, line: str) -> None:
    said = profile(entry("read", action))
    policy, notes, text = emitted(said)
    assert line in text and not any("read" in note for note in notes)
    assert_equal(policy, read_profile(encoded(said), NATIVE).policy, NATIVE)


def test_the_name_comes_from_the_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "9My Profile_v2.json"
    path.write_text(json.dumps(profile(entry("read"), architectures=["SCMP_ARCH_X86_64"])))
    assert main(["import", "seccomp", str(path)]) == 0
    out, _ = capfd.readouterr()
    assert "container: imported-9my-profile-v2\n" in out
    assert "architectures: [x86_64]\n" in out
