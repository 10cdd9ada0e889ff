"""runc puts instructions of its own before a filter, or starts nothing: exactly where `explain --runtime runc` says so.

Needs root, runc and a static busybox, as tests/oci/test_runtimes.py does; deselect with -m 'not runtime'.
"""

from __future__ import annotations

import json
import re
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest
from stockade.model.syscalls import NAMES
from stockade.seccomp.honour import Kind, installed_libseccomp, unhonoured
from stockade.seccomp.profile import DOCKER_CAPS, NEWEST, read_profile

from tests.oci.test_runtimes import able, bundle
from tests.seccomp.kernel import ARCH
from tests.seccomp.profiles import encoded, entry, profile

__all__ = ["able", "bundle"]
pytestmark = [
    pytest.mark.runtime,
    pytest.mark.skipif(ARCH != "x86_64", reason="the profiles are those of an x86_64 host"),
]
THREE = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
ALL = entry(" ".join(sorted(NAMES)))
SAID = {
    "all three": profile(ALL, architectures=THREE),
    "one": profile(ALL, architectures=THREE[:1]),
    "mapped nowhere": profile(ALL),
    "only read": profile(entry("read"), architectures=THREE[:1]),
    "trace": profile(ALL, architectures=THREE[:1], default="TRACE"),
    "log": profile(ALL, architectures=THREE[:1], default="LOG"),
    "kill": profile(ALL, architectures=THREE[:1], default="KILL_PROCESS"),
    "big-endian": profile(ALL, architectures=[THREE[0], "SCMP_ARCH_S390X"]),
    "not runc's": profile(ALL, architectures=[THREE[0], "SCMP_ARCH_PARISC"]),
}


@pytest.mark.parametrize("name", SAID)
def test_runc_is_as_we_say(name: str, bundle: Path) -> None:
    config = json.loads((bundle / "base.json").read_text())
    config["process"] |= {"terminal": False, "args": ["/bin/busybox", "true"]}
    config["linux"]["seccomp"] = SAID[name]
    (bundle / "config.json").write_text(json.dumps(config))
    container = f"stockade-{uuid.uuid4().hex[:12]}"
    command = ["runc", "--debug", "--root", str(bundle / "runc"), "run", "--bundle", str(bundle), container]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stderr
    stub, _, _ = said.partition("original filter")
    # The numbers above which the instructions before the filter answer ENOSYS.
    above = {int(number) for number in re.findall(r"j(?:gt|le) #(\d+)", stub)}
    found = expected(SAID[name])
    refused = "unable to init seccomp" in said or "is not a valid arch" in said
    assert any(one.fatal for one in found) == refused, said[-600:]
    if not refused:
        assert stub != said
        newer = [one.message for one in found if one.kind is Kind.NEWER]
        numbers = re.findall(r"(0x[0-9a-f]+|\d+) on", newer[0]) if newer else []
        assert above == {int(number, 0) for number in numbers}


def expected(said: dict[str, Any]) -> list[Any]:
    installed = installed_libseccomp()
    assert installed is not None
    read = read_profile(encoded(said), ("x86_64",))
    return unhonoured(read, "x86_64", "runc", DOCKER_CAPS, NEWEST, installed[1])
