"""The files of a bundle that a launcher was made for, and no others: owned by root, unchanged to the last bit."""

from __future__ import annotations

import os
import stat

from stockade.enforce.profile import Profile
from stockade.enforce.refusal import CONFINED, refuse

try:  # hashlib loads OpenSSL, which takes longer than all the rest; later interpreters have no such module
    from _sha256 import sha256  # type: ignore[import-not-found,unused-ignore]
except ImportError:
    from hashlib import sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

LIMIT = 4 << 20


def read_profile(
    bundle: str, name: str, digests: tuple[str, str], defaults: Collection[str], owner: int = 0
) -> Profile:
    """A type's profile from a bundle, where its two files have these digests. Raises Refused saying what is wrong."""
    folder = f"{bundle}/containers/{name}"
    trusted(folder, owner)
    files = ("oci.json", "seccomp.json")
    oci, seccomp = (_content(f"{folder}/{file}", digest, owner) for file, digest in zip(files, digests, strict=True))
    profile = Profile.from_files(oci, seccomp, defaults)
    if profile.name != name:
        raise refuse(CONFINED, f"{folder} is of type {profile.name}")
    return profile


def digest_of(content: bytes) -> str:
    """The SHA-256 of some bytes, in hexadecimal digits."""
    return str(sha256(content).hexdigest())


def trusted(path: str, owner: int) -> None:
    """Refuse a folder that others than its owner could change, or could put another in the place of."""
    if not path.startswith("/"):
        raise refuse(CONFINED, f"{path}: not an absolute path")
    place = ""
    for part in ["", *filter(None, path.split("/"))]:
        place = f"{place.rstrip('/')}/{part}"
        try:
            found = os.lstat(place)
        except OSError as error:
            raise refuse(CONFINED, f"{place}: {error.strerror}") from None
        if not stat.S_ISDIR(found.st_mode):
            raise refuse(CONFINED, f"{place}: not a folder")
        if found.st_uid not in (0, owner):
            raise refuse(CONFINED, f"{place}: belongs to the user {found.st_uid}")
        # In a sticky folder nobody replaces what is another's; what lies in it is looked at next.
        if found.st_mode & 0o022 and (not found.st_mode & stat.S_ISVTX or place == path):
            raise refuse(CONFINED, f"{place}: others may write to it")


def _content(path: str, digest: str, owner: int) -> bytes:
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise refuse(CONFINED, f"{path}: {error.strerror}") from None
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode) or found.st_uid not in (0, owner) or found.st_mode & 0o022:
            raise refuse(CONFINED, f"{path}: not a file that its owner alone may write to")
        parts, left = [], LIMIT
        while left > 0 and (part := os.read(file, left)):
            parts.append(part)
            left -= len(part)
    finally:
        os.close(file)
    content = b"".join(parts)
    if digest_of(content) != digest:
        raise refuse(CONFINED, f"{path}: changed since the launcher was installed")
    return content
