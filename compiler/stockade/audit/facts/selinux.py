"""What selinuxfs says: the mode, the loaded policy, booleans, and the status page that counts every change."""

from __future__ import annotations

import base64
import hashlib
import mmap
import os
import re
import struct
import zlib
from typing import Any, Final

from stockade.audit.facts.fact import Fact
from stockade.audit.facts.host import Host
from stockade.audit.facts.parse import assignments, number, parsed

FOLDER: Final = "/sys/fs/selinux"
POLICY_LIMIT: Final = 64 << 20
MAGIC: Final = b"\x8c\xff\x7c\xf9"
"""What a policy for the kernel begins with."""
_TYPE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_STATUS: Final = struct.Struct("=5I")
_NUMBERS: Final = {
    "enforce": "enforce",
    "deny_unknown": "deny_unknown",
    "reject_unknown": "reject_unknown",
    "mls": "mls",
    "newest": "policyvers",
    "checkreqprot": "checkreqprot",
}


def collect(host: Host) -> dict[str, Fact]:
    """Every fact about SELinux, by name."""
    found = {f"selinux.{name}": parsed(host.read(f"{FOLDER}/{file}", 64), number) for name, file in _NUMBERS.items()}
    found["selinux.status"] = status(host)
    found["selinux.booleans"] = booleans(host)
    found["selinux.capabilities"] = capabilities(host)
    found["selinux.policy"] = policy(host)
    found["selinux.config"] = parsed(host.read("/etc/selinux/config", 1 << 16), assignments)
    found["selinux.file"] = file(host, found["selinux.config"], found["selinux.newest"])
    return found


def status(host: Host) -> Fact:
    """The status page: version, sequence, enforcing, policyload and deny_unknown, read while nobody writes it."""
    path = f"{FOLDER}/status"
    descriptor = host.open(path)
    if isinstance(descriptor, Fact):
        return descriptor
    try:
        try:
            with mmap.mmap(descriptor, mmap.PAGESIZE, prot=mmap.PROT_READ, flags=mmap.MAP_SHARED) as page:
                copies = [bytes(page[: _STATUS.size]) for _ in range(64)]
        except (OSError, ValueError):
            copies = [os.pread(descriptor, _STATUS.size, 0)]
    except OSError as error:
        return Fact.malformed(path, error.strerror or str(error))
    finally:
        os.close(descriptor)
    for before, after in zip(copies, copies[1:] or copies, strict=False):
        if len(before) < _STATUS.size:
            return Fact.malformed(path, f"{len(before)} bytes, and the page has {_STATUS.size} at least")
        names = ("version", "sequence", "enforcing", "policyload", "deny_unknown")
        said = dict(zip(names, _STATUS.unpack(before), strict=True))
        if before == after and not said["sequence"] % 2:
            return Fact.of(said, path) if said["version"] == 1 else Fact.malformed(path, f"version {said['version']}")
    return Fact.malformed(path, "is being written without end")


def booleans(host: Host) -> Fact:
    """Name to [the value in force, the value that a commit would bring]."""
    folder = f"{FOLDER}/booleans"
    names = host.names(folder)
    found: dict[str, list[int]] = {}
    for name in names.value or () if names.known else ():
        said = host.read(f"{folder}/{name}", 64)
        words = said.value.split() if said.known else []
        if len(words) != 2 or not all(word in (b"0", b"1") for word in words):
            return said if not said.known else Fact.malformed(said.path, "not two of 0 and 1")
        found[name] = [int(word) for word in words]
    return Fact.of(found, folder) if names.known else names


def capabilities(host: Host) -> Fact:
    """The names of the policy capabilities that are on, sorted."""
    folder = f"{FOLDER}/policy_capabilities"
    names = host.names(folder)
    if not names.known:
        return names
    found = []
    for name in names.value:
        said = parsed(host.read(f"{folder}/{name}", 64), number)
        if not said.known:
            return said
        if said.value:
            found.append(name)
    return Fact.of(found, folder)


def policy(host: Host) -> Fact:
    """The loaded policy: its SHA-256, its size and its bytes (zlib, base64), so that it can be judged elsewhere."""
    said = host.read(f"{FOLDER}/policy", POLICY_LIMIT)
    if not said.known:
        return said
    if not said.value.startswith(MAGIC):
        return Fact.malformed(said.path, "not a kernel policy")
    return Fact.of(packed(said.value), said.path)


def file(host: Host, config: Fact, newest: Fact) -> Fact:
    """The policy that the next start loads, as `policy` gives it: of the configured type's, the newest version that
    this kernel takes."""
    if not config.known or not newest.known:
        return config if not config.known else newest
    name = config.value.get("SELINUXTYPE", "targeted")
    if not _TYPE.fullmatch(name):
        return Fact.malformed(config.path, f"SELINUXTYPE={name[:60]!r} is no name of a folder")
    folder = f"/etc/selinux/{name}/policy"
    names = host.names(folder)
    if not names.known:
        return names
    versions = [int(one[7:]) for one in names.value if one.startswith("policy.") and one[7:].isdecimal()]
    taken = [version for version in versions if version <= newest.value]
    if not taken:
        return Fact.absent(folder, "no policy of a version that this kernel takes")
    said = host.read(f"{folder}/policy.{max(taken)}", POLICY_LIMIT)
    if said.known and not said.value.startswith(MAGIC):
        return Fact.malformed(said.path, "not a kernel policy")
    return Fact.of(packed(said.value), said.path) if said.known else said


def packed(content: bytes) -> dict[str, Any]:
    """Bytes as a document holds them."""
    return {
        "sha256": hashlib.sha256(content).hexdigest(),
        "size": len(content),
        "zlib": base64.b64encode(zlib.compress(content, 6)).decode(),
    }


def unpacked(said: Any) -> bytes:
    """The bytes of `packed`. ValueError where they are not what the digest says."""
    try:
        limit = int(said["size"])
        if not 0 <= limit <= POLICY_LIMIT:
            raise ValueError("of an impossible size")
        unpacker = zlib.decompressobj()
        content = unpacker.decompress(base64.b64decode(said["zlib"], validate=True), limit + 1)
        if hashlib.sha256(content).hexdigest() != said["sha256"]:
            raise ValueError("the bytes are not those of the digest")
        return content
    except (zlib.error, KeyError, TypeError) as error:
        raise ValueError(f"not packed bytes: {error}") from None
