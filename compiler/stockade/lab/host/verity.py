"""dm-verity: the hash tree of an image, its root hash, and the table by which the kernel checks each block."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

BLOCK = 4096
_DIGEST = 32
# Fixed, so that the same image has the same root hash. A salt hides nothing here: it keeps this tree apart from others.
SALT = hashlib.sha256(b"stockade lab root").digest()


@dataclass(frozen=True, slots=True)
class Verity:
    """An image of `blocks` blocks of 4096 bytes, the hash tree right behind it; `root_hash` is hexadecimal SHA-256."""

    blocks: int
    root_hash: str

    @property
    def sectors(self) -> int:
        """Its size in the kernel's sectors of 512 bytes."""
        return self.blocks * BLOCK // 512

    def table(self, device: str) -> str:
        """The verity target's parameters for image and tree on one `device`."""
        return (
            f"1 {device} {device} {BLOCK} {BLOCK} {self.blocks} {self.blocks} sha256 {self.root_hash} {SALT.hex()} "
            "1 restart_on_corruption"
        )


def seal(image: BinaryIO) -> Verity:
    """Append the hash tree to `image`, which is open for reading and writing and a whole number of blocks long."""
    size = image.seek(0, 2)
    if not size or size % BLOCK:
        raise ValueError(f"an image of {size} bytes is not a whole number of blocks of {BLOCK}")
    image.seek(0)
    levels = [_level(iter(lambda: image.read(BLOCK), b""))]
    while len(levels[-1]) > BLOCK:
        level = levels[-1]
        levels.append(_level(level[at : at + BLOCK] for at in range(0, len(level), BLOCK)))
    # The level nearest to the root comes first.
    for level in reversed(levels):
        image.write(level)
    return Verity(size // BLOCK, hashlib.sha256(SALT + levels[-1]).hexdigest())


def _level(blocks: Iterator[bytes]) -> bytes:
    """The digests of `blocks`, filled up with zeros to whole blocks."""
    salted = hashlib.sha256(SALT)
    out = bytearray()
    for block in blocks:
        digest = salted.copy()
        digest.update(block)
        out += digest.digest()
    return bytes(out) + bytes(-len(out) % BLOCK)
