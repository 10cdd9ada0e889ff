"""`stockade diff` in sentences: every kind of change of a container type is said, with its line and its direction."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from stockade.cli.main import main

SHIPPED = Path(__file__).resolve().parents[2] / "policy"

WEB = [
    ("[NET_BIND_SERVICE, SETGID, SETUID]", "[NET_BIND_SERVICE, NET_RAW, SETUID]"),
    ("families: [unix, inet, inet6]", "families: [unix, inet, packet]"),
    ('    - "@sandbox"', '    - "@sandbox"\n    - "@bpf"'),
    ("memory.max: 1GiB", "memory.max: 3GiB"),
    ("size: 64MiB", "size: 32MiB"),
]


def diff(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = main(["diff", *map(str, words)])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped policy with a change of `web` in every layer, and a wider rule of the host."""
    folder = tmp_path_factory.mktemp("words") / "policy"
    shutil.copytree(SHIPPED, folder)
    web, rules = folder / "containers/web.yaml", folder / "host/rules.yaml"
    text = web.read_text()
    for old, new in WEB:
        assert old in text
        text = text.replace(old, new)
    web.write_text(text)
    rules.write_text(
        rules.read_text().replace("{who: api-users, may: [modify,", "{who: [api-users, control], may: [modify,")
    )
    return folder


def line(folder: Path, file: str, words: str) -> int:
    """The number of the first line that has these words."""
    return next(n for n, text in enumerate((folder / file).read_text().split("\n"), 1) if words in text)


def test_every_change_is_a_sentence_with_its_line(capsys: pytest.CaptureFixture[str], changed: Path) -> None:
    code, out, err = diff(capsys, SHIPPED, changed, "--format", "words", "--fail-on", "widen")
    assert (code, err) == (1, "")
    at = {key: line(changed, "containers/web.yaml", f"{key}:") for key in ("sockets", "capabilities", "cgroup")}
    bpf = line(changed, "containers/web.yaml", "@bpf")
    for said in (
        f"widens: `web` may now call `bpf`: allow, was errno 1 (syscalls: `@bpf` at containers/web.yaml:{bpf})",
        f"widens: `web` may now open raw packet sockets (sockets at containers/web.yaml:{at['sockets']})",
        f"`web` may now use the capability `NET_RAW` (capabilities at containers/web.yaml:{at['capabilities']})",
        "widens: `web` is wider in `cgroup`: memory.max is 3221225472, where the old one has 1073741824 (cgroup at "
        f"containers/web.yaml:{at['cgroup']}; before",
        "widens: `control` may now `modify` and `modify-blocks` `private` (selinux: rule at host/rules.yaml:",
        "narrows: `web` may no longer open IPv6 sockets",
        "narrows: `web` may no longer use the capability `SETGID`",
        "narrows: `web` is narrower in `tmpfs`: before, /tmp may grow to 67108864",
    ):
        assert said in out
    assert "socket(" not in out, "the families say it already"


def test_the_reverse_turns_every_direction_round(capsys: pytest.CaptureFixture[str], changed: Path) -> None:
    one = json.loads(diff(capsys, SHIPPED, changed, "--format", "json")[1])["sentences"]
    other = json.loads(diff(capsys, changed, SHIPPED, "--format", "json")[1])["sentences"]
    turned = {"widens": "narrows", "narrows": "widens"}
    assert sorted((turned[s["effect"]], s["who"]) for s in one) == sorted((s["effect"], s["who"]) for s in other)
    assert {s["effect"] for s in one} == set(turned)


def test_markdown_is_a_heading_a_count_and_lists(capsys: pytest.CaptureFixture[str], changed: Path) -> None:
    lines = diff(capsys, SHIPPED, changed, "--format", "markdown")[1].splitlines()
    assert lines[0] == "## Change of policy" and lines[2].startswith("**5 wider**, **")
    wider, narrower = lines.index("### Wider"), lines.index("### Narrower")
    assert sum(text.startswith("- ") for text in lines[wider:narrower]) == 5


def test_the_same_policy_has_nothing_to_say(capsys: pytest.CaptureFixture[str]) -> None:
    assert diff(capsys, SHIPPED, SHIPPED, "--format", "words", "--fail-on", "any") == (
        0,
        "Both policies allow the same.\n",
        "",
    )


def test_a_limit_alone_is_a_widening_in_every_format(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = tmp_path / "policy"
    shutil.copytree(SHIPPED, folder)
    web = folder / "containers/web.yaml"
    web.write_text(web.read_text().replace("pids.max: 512", "pids.max: 1024"))
    code, out, _ = diff(capsys, SHIPPED, folder, "--fail-on", "widen")
    assert code == 1
    assert out.startswith("`web` is wider in `cgroup`: pids.max is 1024, where the old one has 512")


def test_only_folders_have_words(capsys: pytest.CaptureFixture[str], bundle: Path) -> None:
    for sides in ((SHIPPED, bundle), (bundle / "containers/web/seccomp.json",) * 2):
        code, out, err = diff(capsys, *sides, "--format", "markdown")
        assert (code, out) == (2, "") and "is for two policy folders" in err
