"""crun runs containers with our filters: raw ones through its annotation, and its own of the same profile.

Needs root, crun and a static busybox, as tests/oci/test_runtimes.py does; deselect with -m 'not runtime'.
"""

from __future__ import annotations

import base64
import json
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest
from stockade.seccomp.cbpf import compile_filter
from stockade.seccomp.profile import read_profile

from tests.oci.test_runtimes import HYBRID, UNIFIED, able, bundle
from tests.seccomp.kernel import ARCH
from tests.seccomp.profiles import SHIPPED, arg, encoded, entry, profile

__all__ = ["able", "bundle"]
pytestmark = pytest.mark.runtime
# Errors that no file system gives, so that whoever sees one knows who gave it.
NO_CSI, NO_ANODE = 50, 55
SAID = profile(
    entry("mkdir mkdirat", "ERRNO", errnoRet=NO_CSI),
    entry("socket", "ERRNO", arg(0, "EQ", 38), errnoRet=NO_ANODE),
    # Two tests of one argument: for runtimes any of them will do, so no mode is left that passes.
    entry("chmod fchmodat", "ERRNO", arg(1, "GE", 0), arg(1, "LE", 0), errnoRet=NO_ANODE),
    default="ALLOW",
)
LOOK = "mkdir /tmp/x; chmod 700 /bin; grep Seccomp: /proc/self/status"


def crun(bundle: Path, **changes: Any) -> str:
    config = json.loads((bundle / "base.json").read_text())
    config["process"] |= {"terminal": False, "args": ["/bin/busybox", "sh", "-c", LOOK]}
    config["root"]["readonly"] = False
    config["linux"].pop("seccomp", None)
    config["linux"] |= changes.get("linux", {})
    config["annotations"] = changes.get("annotations", {})
    (bundle / "config.json").write_text(json.dumps(config))
    (bundle / "rootfs/tmp/x").rmdir() if (bundle / "rootfs/tmp/x").exists() else None
    name = f"stockade-{uuid.uuid4().hex[:12]}"
    command = ["crun", "--root", str(bundle / "crun"), "run", "--bundle", str(bundle), name]
    if not UNIFIED:
        command = ["unshare", "--mount", "sh", "-c", HYBRID, "sh", *command]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr


@pytest.fixture(scope="module", autouse=True)
def applets(bundle: Path) -> None:
    for applet in ("mkdir", "chmod", "grep"):
        (bundle / "rootfs/bin" / applet).symlink_to("busybox")


def raw(data: bytes) -> dict[str, Any]:
    program = compile_filter(read_profile(data, (ARCH,)).policy, ARCH)
    return {"annotations": {"run.oci.seccomp_bpf_data": base64.b64encode(program).decode()}}


def test_without_a_filter(bundle: Path) -> None:
    said = crun(bundle)
    assert said.split() == ["Seccomp:", "0"], said


def test_our_raw_filter_answers_in_the_container(bundle: Path) -> None:
    said = crun(bundle, **raw(encoded(SAID)))
    assert "mkdir: can't create directory '/tmp/x': No CSI structure available" in said
    assert "chmod: /bin: No anode" in said
    assert "Seccomp:\t2" in said


def test_crun_itself_makes_the_same_of_the_profile(bundle: Path) -> None:
    assert crun(bundle, linux={"seccomp": SAID}) == crun(bundle, **raw(encoded(SAID)))


@pytest.mark.parametrize("place", [5, 6])
def test_crun_reads_six_tests(bundle: Path, place: int) -> None:
    """Seven tests, one of which passes for the mode of LOOK: the seventh is never asked."""
    tests = [arg(1, "EQ", 0o700 if at == place else 0o7000 + at) for at in range(7)]
    said = profile(entry("chmod fchmodat", "ERRNO", *tests, errnoRet=NO_ANODE), default="ALLOW")
    named = profile(*({**item, "names": ["chmod"]} for item in said["syscalls"]), default="ALLOW")
    said = crun(bundle, linux={"seccomp": named})
    assert "Seccomp:\t2" in said
    assert ("chmod: /bin: No anode" in said) == (place < 6)


def test_a_container_lives_under_the_shipped_profile(bundle: Path) -> None:
    said = crun(bundle, **raw(SHIPPED))
    assert said.split() == ["Seccomp:", "2"], said
