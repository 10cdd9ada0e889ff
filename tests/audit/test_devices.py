"""Device rules of control groups: programs and lists that this kernel holds, and some that nobody should believe."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import struct
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stockade.audit.container_devices import Unfollowed, device_findings, run
from stockade.audit.facts import devices
from stockade.audit.facts.fact import Fact, Outcome
from stockade.audit.facts.host import Host
from stockade.audit.facts.mounts import mountinfo

ORDINARY = {"spec": json.loads((Path(__file__).parents[2] / "profiles/containers/ordinary/oci.json").read_text())}
LOAD, ATTACH, DEVICE = 5, 8, 15
CHARACTER, READ = 2, 2


def one(code: int, target: int = 0, source: int = 0, offset: int = 0, value: int = 0) -> bytes:
    return struct.pack("=BBhi", code, source << 4 | target, offset, value)


def program(*allowed: tuple[int, int]) -> bytes:
    """As runtimes write it: kind, access and numbers taken apart; one block for each device, which is allowed `r`."""
    parts = [
        one(0x61, 2, 1), one(0x54, 2, value=0xFFFF), one(0x61, 3, 1), one(0x74, 3, value=16),
        one(0x61, 4, 1, 4), one(0x61, 5, 1, 8),
    ]  # fmt: skip
    for major, minor in allowed:
        block = [
            one(0x55, 2, offset=7, value=CHARACTER),
            one(0xBC, 6, 3), one(0x54, 6, value=READ), one(0x5D, 6, 3, 4),
            one(0x55, 4, offset=3, value=major), one(0x55, 5, offset=2, value=minor),
            one(0xB4, 0, value=1), one(0x95),
        ]  # fmt: skip
        parts += block
    return b"".join([*parts, one(0xB4, 0, value=0), one(0x95)])


def found(live: dict[str, Any]) -> list[str]:
    return [said for *_, said in device_findings(live, ORDINARY)]


def place(kind: str, option: str = "") -> Path:
    """Where a hierarchy of control groups is mounted here."""
    mounts = mountinfo(Path("/proc/self/mountinfo").read_bytes())
    points = [said["point"] for said in mounts if said["type"] == kind and (not option or option in said["superblock"])]
    if not points:
        pytest.skip(f"no {kind} {option} is mounted on this machine")
    return Path(points[-1])


@contextlib.contextmanager
def group(above: Path) -> Iterator[Path]:
    folder = above / f"stockade-{uuid.uuid4().hex[:12]}"
    folder.mkdir()
    try:
        yield folder
    finally:
        folder.rmdir()


def load(content: bytes) -> int:
    held, licence = ctypes.create_string_buffer(content), ctypes.create_string_buffer(b"GPL")
    said = struct.pack(
        "=IIQQIIQ", DEVICE, len(content) // 8, ctypes.addressof(held), ctypes.addressof(licence), 0, 0, 0
    )
    return devices._bpf(LOAD, said)[0]


def attach(folder: Path, *contents: bytes) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for content in contents:
            loaded = load(content)
            # BPF_F_ALLOW_MULTI: each is in force beside the others.
            devices._bpf(ATTACH, struct.pack("=IIII", descriptor, loaded, devices._ATTACHED_TO_DEVICES, 2))
            os.close(loaded)
    finally:
        os.close(descriptor)


def collected(folder: Path, root: Path) -> Fact:
    """As a live host's, whose one hierarchy is the one that `folder` is in."""
    magic = {f"/{name}": number for name, number in (("proc", 0x9FA0), ("sys", 0x62656572))}
    with Host("/", "live", lambda descriptor: magic.get(os.readlink(f"/proc/self/fd/{descriptor}"), 0)) as host:  # noqa: PTH115
        descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY)
        host._anchors["/sys/fs/cgroup"] = (descriptor, "")
        return devices.collect(host, {"c": (str(folder).removeprefix(str(root)), "")}, [])


def test_what_this_kernel_holds_is_read_and_followed() -> None:
    root = place("cgroup2")
    with group(root) as folder:
        assert collected(folder, root).value == {"c": {"programs": []}}
        attach(folder, program((1, 3), (1, 5)))
        fact = collected(folder, root)
        ((content,),) = [said["programs"] for said in fact.value.values()]
        assert bytes.fromhex(content)[-8:] == one(0x95)
        assert found(fact.value["c"]) == []
        attach(folder, program((8, 0), (1, 3)))
        both = collected(folder, root).value["c"]
        assert len(both["programs"]) == 2
        # Each must allow: 8:0 is stopped by the first.
        assert found(both) == []
        assert found({"programs": [one_ for one_ in both["programs"] if one_ != content]}) == ["allows c 8:0 r"]


def test_a_list_of_this_kernel_is_read() -> None:
    root = place("cgroup", "devices")
    mounts = mountinfo(Path("/proc/self/mountinfo").read_bytes())
    with group(root) as folder:
        name = str(folder).removeprefix(str(root))
        for lines, wrong in (
            (["a"], ["allows b *:* r", "allows c *:* r"]),
            (["c 1:3 rwm", "c 136:* rw", "c *:* m"], []),
            (["b 8:16 r"], ["allows b 8:16 r"]),
        ):
            (folder / "devices.deny" if lines == ["a"] else folder / "devices.allow").touch()
            if lines != ["a"]:
                (folder / "devices.deny").write_text("a")
            for line in lines if lines != ["a"] else ():
                (folder / "devices.allow").write_text(line)
            with Host("/") as host:
                fact = devices.collect(host, {"c": ("", name)}, mounts)
            assert found(fact.value["c"]) == wrong


def test_no_program_and_one_that_says_yes_allow_everything() -> None:
    everything = ["allows b *:* r", "allows c *:* r"]
    assert sorted(found({"programs": []})) == everything
    assert sorted(found({"programs": [(one(0xB7, 0, value=1) + one(0x95)).hex()]})) == everything
    assert found({"programs": [(one(0xB7, 0, value=0) + one(0x95)).hex()]}) == []


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (one(0x85, value=1) + one(0x95), "without a number"),
        (one(0x05, offset=-1), "does not end"),
        (one(0x05, offset=9), "runs over"),
        (one(0x61, 2, 10, -4), "a load"),
        (one(0x61, 2, 1, 12), "a load"),
        (one(0x95), "without a number"),
        (one(0x18, 2) + one(0x00), "instruction"),
        (one(0x37, 0, value=3), "without a number|arithmetic"),
    ],
)
def test_what_cannot_be_followed_is_a_finding(content: bytes, why: str) -> None:
    with pytest.raises(Unfollowed, match=why):
        run(list(struct.iter_unpack("=BBhi", content)), (READ << 16 | CHARACTER, 1, 3))
    ((_, _, _, live),) = device_findings({"programs": [content.hex()]}, ORDINARY)
    assert "cannot be followed" in live


@pytest.mark.parametrize(
    "live", [{"list": ["c 1:3"]}, {"list": ["x 1:3 r"]}, {"programs": ["b7"]}, {"programs": ["zz"]}]
)
def test_noise_is_a_finding(live: dict[str, Any]) -> None:
    assert "cannot be followed" in found(live)[0]


def test_what_the_kernel_refuses_is_unreadable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuses(command: int, said: bytes) -> tuple[int, bytes]:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(devices, "_bpf", refuses)
    (tmp_path / "c").mkdir()
    fact = collected(tmp_path / "c", tmp_path)
    assert fact.outcome is Outcome.UNREADABLE
    assert "not permitted" in fact.why
