"""A container that is saved and brought back: saving is the runtime's, and what was saved does not come back unseen.

A restored process has the capabilities, filter and label with which it was saved; no specification says them. So every
spelling of `restore` is refused, before the runtime or CRIU is asked.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.enforce.containers import HARMLESS, LOOK, Site, identity, judge, runnable

FILE, IMAGE, NAME = "@file@", "@image@", "@name@"
RESTORES = [
    # As containerd's shim says it.
    ["restore", "--image-path", IMAGE, "--work-path", IMAGE, "--bundle", FILE, "--detach", "--pid-file", "/p", NAME],
    ["restore", "--bundle={FILE}", "--image-path={IMAGE}", NAME],
    ["restore", "-b", FILE, "-image-path", IMAGE, NAME],
    ["restore", NAME, "-b", FILE],
    ["restore", "--lsm-profile", "selinux:super_t", "--lsm-mount-context", "super_t", "--bundle", FILE, NAME],
    ["restore", "--help", "--bundle", FILE, NAME],
    ["--criu", "/bin/true", "restore", "--bundle", FILE, NAME],
    ["--criu=/bin/true", "--systemd-cgroup", "restore", "--bundle", FILE, NAME],
    ["restore"],
]


@pytest.mark.parametrize("arguments", RESTORES, ids=" ".join)
@pytest.mark.parametrize("which", ["runc", "crun"])
def test_nothing_is_restored(which: str, arguments: list[str], request: pytest.FixtureRequest, tmp_path: Path) -> None:
    site: Site = request.getfixturevalue(which)
    wide = json.dumps(runnable("true")).encode()
    folder = site.oci(wide)
    words = {FILE: str(folder), IMAGE: str(tmp_path), NAME: (name := identity())}
    given = [words.get(word, word).format(FILE=folder, IMAGE=tmp_path) for word in arguments]
    done = site.call(*given, cwd=folder)
    assert (done.returncode, done.stdout) == (1, "")
    why = "a restored process has the confinement with which it was saved, whatever the type says [always-confined]"
    assert site.reasons() == f"stockade: policy denied: type web: {why}"
    assert not (site.state / name).exists()
    assert (folder / "config.json").read_bytes() == wide
    assert list(tmp_path.iterdir()) == []


def test_saving_is_the_runtime_s_own_affair_and_changes_nothing(runc: Site, victim: str, tmp_path: Path) -> None:
    """What runc answers, which here lacks CRIU, is what is answered; and the container goes on as it was."""
    given = ["--root", str(runc.state), "checkpoint", "--leave-running", "--image-path", str(tmp_path), victim]
    ours = runc.bare(*given)
    theirs = subprocess.run([runc.runtime, *given], capture_output=True, text=True, timeout=60)
    assert (ours.returncode, ours.stdout, ours.stderr) == (theirs.returncode, theirs.stdout, theirs.stderr)
    assert ours.returncode == 0 or "criu" in ours.stderr.lower()
    judge(runc, runc.call("exec", victim, "sh", "-c", LOOK), HARMLESS)
