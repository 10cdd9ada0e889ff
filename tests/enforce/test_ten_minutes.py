"""The manual's way from a stock containerd to enforced types and back: its commands, as they are written, do that."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from stockade.model.names import CAPABILITIES

from tests.enforce.conftest import TYPES, containerd, profile_of
from tests.enforce.containers import seen

HERE = Path(__file__).resolve().parent
PAGE = (HERE.parents[1] / "docs/enforcing.md").read_text()
COMMANDS = re.findall(r"^```sh\n(.+?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def found(place: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    if Path("/sys/fs/selinux/enforce").exists():
        pytest.fail("this machine has SELinux: the guest tests cover it", pytrace=False)
    work = tmp_path_factory.mktemp("minutes")
    (work / "programs").mkdir()
    given = {
        "work": str(work),
        "programs": str(containerd(work / "programs", "bookworm")),
        # As the page says for a host without SELinux.
        "blocks": [COMMANDS[0].rstrip() + " --without selinux", *COMMANDS[1:]],
    }
    # With processes of its own, too, for the launcher must see which namespaces the first has.
    command = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"]
    # The first is a shell, which buries what others leave behind.
    command += ["sh", "-c", '"$0" "$1"; exit $?', sys.executable, str(HERE / "ten_minutes.py")]
    ran = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, timeout=240)
    assert ran.returncode == 0, ran.stderr[-4000:]
    return dict(json.loads(ran.stdout))


def confined(status: str) -> bool:
    lines = seen(status)
    most = sum(1 << CAPABILITIES[name.removeprefix("CAP_")] for name in profile_of("web").capabilities["bounding"])
    return int(lines["CapBnd"], 16) & ~most == 0 and (lines["NoNewPrivs"], lines["Seccomp"]) == ("1", "2")


def test_a_container_of_ctr_is_confined_at_once(found: dict[str, Any]) -> None:
    assert confined(found["run"])
    assert not confined(found["before"]["status"])


def test_containerd_knows_each_type_and_all_that_it_knew(found: dict[str, Any]) -> None:
    assert len(re.findall(r'BinaryName = "/opt/stockade/bin/stockade-', found["told"])) == len(TYPES)
    cri = tomllib.loads(found["dump"])["plugins"]["io.containerd.grpc.v1.cri"]
    assert sorted(cri["containerd"]["runtimes"]) == sorted(["runc", *(f"stockade-{name}" for name in TYPES)])
    assert cri["restrict_oom_score_adj"] and cri["cni"]["bin_dir"] == "/opt/none"
    assert cri["containerd"]["default_runtime_name"] == "runc"


def test_a_pod_has_the_type_that_it_names_and_in_the_end_every_pod_has_one(found: dict[str, Any]) -> None:
    assert found["web"]["type"] == "web" and confined(found["web"]["status"])
    assert found["plain"]["type"] == "" and seen(found["plain"]["status"])["Seccomp"] == "0"
    assert found["ordinary"]["type"] == "ordinary" and seen(found["ordinary"]["status"])["Seccomp"] == "2"


def test_a_refused_pod_is_told_why(found: dict[str, Any]) -> None:
    assert "policy denied: type web: it asks for the host's" in found["shared"]
    assert "[no-host-namespaces]" in found["shared"] and "network" in found["shared"]


def test_backing_out_leaves_what_runs_and_nothing_else(found: dict[str, Any]) -> None:
    assert found["config"] and found["alive"] and found["kept"] and found["removed"]
    assert found["again"]["type"] == "" and seen(found["again"]["status"])["Seccomp"] == "0"
    assert "stockade-web" in found["gone"]
