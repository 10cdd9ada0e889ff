"""Tests that run in the guest alone: elsewhere the kernel may not let anybody look at a process's namespaces.

`test_guest.py` runs them there.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .cri import CallError
from .daemon import Containerd
from .live import COMPILER, RUNTIMES, Pods, Process


@pytest.fixture
def daemon(programs: Path, tmp_path: Path) -> Iterator[Containerd]:
    with Containerd(programs, tmp_path, RUNTIMES) as running:
        yield running


def test_with_the_verify_hook_nothing_is_out_of_reach(daemon: Containerd, within_reach: Path, tmp_path: Path) -> None:
    """What NRI does not show, the hook reads on the host: the container starts only where all of it is the type's."""
    code = f"import sys; sys.path.insert(0, {str(COMPILER)!r}); from stockade.cli.main import main; sys.exit(main())"
    hook = tmp_path / "verify"
    words = f"hook verify --bundle {within_reach} --without selinux"
    hook.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{code}" {words}\n')
    hook.chmod(0o755)
    whole = json.loads((within_reach / "containers/ordinary/oci.json").read_text())
    bounding = {name.removeprefix("CAP_") for name in whole["process"]["capabilities"]["bounding"]}
    asked = {
        "capabilities": {"drop_capabilities": ["ALL"], "add_capabilities": sorted(bounding)},
        "no_new_privs": True,
        "readonly_rootfs": True,
        "masked_paths": whole["linux"]["maskedPaths"],
        "readonly_paths": whole["linux"]["readonlyPaths"],
        "seccomp": {"profile_type": 2, "localhost_ref": str(within_reach / "containers/ordinary/seccomp.json")},
    }
    pods = Pods(daemon)
    words = ("--accept-fail-open", "--verify-hook", str(hook))
    with Process(tmp_path, within_reach, daemon, *words) as held:
        assert held.wait("configured")["not_in_any_version"] == []
        with pytest.raises(CallError, match=r"stockade: process\.capabilities\.bounding: "):
            pods.start(pods.container(pods.run()))
        for missing in ("no_new_privs", "seccomp"):
            less = {key: value for key, value in asked.items() if key != missing}
            with pytest.raises(CallError, match="stockade: "):
                pods.start(pods.container(pods.run(), less))
        pid = pods.start(pods.container(pods.run(), asked))
        status = dict(
            line.split(":\t") for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line
        )
        assert (status["Seccomp"], status["NoNewPrivs"], status["CapBnd"]) == ("2", "1", status["CapEff"])
        assert int(status["CapBnd"], 16).bit_count() == len(bounding)
