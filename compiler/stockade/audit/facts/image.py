"""Files of the host's image and configuration: what is installed, who may change it, and what it is set to."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterable
from typing import Any, Final

from stockade.audit.facts import parse
from stockade.audit.facts.fact import Fact
from stockade.audit.facts.host import Host, fault_of
from stockade.audit.facts.mounts import FIPS

PROGRAMS: Final = ("/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin")
"""Folders in which programs are looked for by name: a link there is a name of the program that it leads to."""
INVENTORY: Final = "/usr/share/bottlerocket/application-inventory.json"
_KEYS: Final = frozenset(
    "Name Publisher Version Release Epoch InstalledTime ApplicationType Architecture Url Summary".split()
)
FILES: Final = 200_000
"""Files of a root that are looked at; a root with more is malformed, for it is no host's image."""


def collect(host: Host) -> dict[str, Fact]:
    """os-release and the inventory of packages."""
    release = parse.parsed(host.read("/etc/os-release"), parse.assignments)
    if not release.known and release.outcome == "absent":
        release = parse.parsed(host.read("/usr/lib/os-release"), parse.assignments)
    return {"host.release": release, "image.inventory": parse.parsed(host.read(INVENTORY, 16 << 20), inventory)}


def inventory(content: bytes) -> list[dict[str, str]]:
    """The packages of an image: name, version, release."""
    said = json.loads(parse.text(content))
    if type(said) is not dict or set(said) != {"Content"} or type(said["Content"]) is not list or not said["Content"]:
        raise ValueError("not an inventory: an object whose Content is a list of packages")
    for one in said["Content"]:
        if type(one) is not dict or set(one) != _KEYS or not all(type(value) is str for value in one.values()):
            raise ValueError("a package is an object of the ten texts of an inventory")
    return [{"name": one["Name"], "version": one["Version"], "release": one["Release"]} for one in said["Content"]]


def walk(host: Host) -> Fact:
    """One walk over the root's own device, and the overlay of FIPS programs where there is one: setuid and setgid
    files, file capabilities, writable files, programs.

    The value has files (their number), setuid, capabilities, writable (by everybody; not links or sticky folders),
    programs ({path, kind, detail}: kind is elf, script or link, detail a script's interpreter or where a link leads).
    """
    root = host.open("/", os.O_RDONLY | os.O_DIRECTORY)
    if isinstance(root, Fact):
        return root
    found: dict[str, Any] = {"files": 0, "setuid": [], "capabilities": [], "writable": [], "programs": []}
    try:
        _folder(root, "", os.fstat(root).st_dev, found)
    except OSError as error:
        return fault_of(error, error.filename or "/")
    except ValueError as error:
        return Fact.malformed("/", str(error))
    finally:
        os.close(root)
    for value in found.values():
        if isinstance(value, list):
            value.sort(key=str)
    return Fact.of(found, "/")


def _folder(folder: int, path: str, device: int, found: dict[str, Any]) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            said = entry.stat(follow_symlinks=False)
            where = f"{path}/{entry.name}"
            if not path and entry.name in ("proc", "sys", "dev"):
                continue
            if said.st_dev != device and where not in FIPS:
                continue
            found["files"] += 1
            if found["files"] > FILES:
                raise ValueError(f"more than {FILES} files")
            mode = said.st_mode
            if stat.S_ISLNK(mode):
                if path in PROGRAMS:
                    target = os.readlink(entry.name, dir_fd=folder)
                    found["programs"].append({"path": where, "kind": "link", "detail": target})
                continue
            if mode & 0o002 and not (stat.S_ISDIR(mode) and mode & stat.S_ISVTX) and not stat.S_ISSOCK(mode):
                found["writable"].append(where)
            if stat.S_ISDIR(mode):
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
                below = os.open(entry.name, flags, dir_fd=folder)
                try:
                    _folder(below, where, said.st_dev, found)
                finally:
                    os.close(below)
            elif stat.S_ISREG(mode):
                if mode & 0o6000:
                    found["setuid"].append(where)
                if mode & 0o111:
                    _program(folder, entry.name, where, found)


def _program(folder: int, name: str, where: str, found: dict[str, Any]) -> None:
    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    try:
        try:
            if os.getxattr(file, "security.capability"):
                found["capabilities"].append(where)
        except OSError as error:
            if error.errno not in (errno.ENODATA, errno.EOPNOTSUPP):  # neither none, nor a file system without any
                raise
        head = os.pread(file, 256, 0)
        if head.startswith(b"#!"):
            words = head[2:].split(b"\n")[0].split()
            detail = (words[0] if words else b"").decode("utf-8", "backslashreplace")
            found["programs"].append({"path": where, "kind": "script", "detail": detail})
        elif head.startswith(b"\x7fELF"):
            from stockade.audit.facts.elf import hardening

            found["programs"].append({"path": where, "kind": "elf", "detail": hardening(file)})
    finally:
        os.close(file)


def modes(host: Host, paths: Iterable[str]) -> dict[str, Fact]:
    """Mode and owner of files: {mode, uid, gid}."""
    found = {}
    for path in paths:
        said = host.status(path)
        if said.known:
            status = said.value
            value = {"mode": status.st_mode & 0o7777, "uid": status.st_uid, "gid": status.st_gid}
            said = Fact.of(value, path)
        found[f"file:{path}"] = said
    return found
