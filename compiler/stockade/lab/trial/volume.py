"""An empty file system on a block device, the smallest that Linux mounts: what the probes of quotas are tried on."""

from __future__ import annotations

import struct

_BLOCK, _BLOCKS, _INODES = 1024, 64, 16
_BITMAP, _USED, _TABLE, _ROOT = 3, 4, 5, 7
"""The blocks of what block and inode bitmaps, inodes and the root folder are in; 1 is the superblock, 2 the group."""


def volume() -> bytes:
    """An ext2 file system of 64 blocks of 1024 bytes, with nothing in its root: the same bytes each time."""
    image = bytearray(_BLOCK * _BLOCKS)

    def put(block: int, data: bytes, offset: int = 0) -> None:
        at = block * _BLOCK + offset
        image[at : at + len(data)] = data

    used = _ROOT  # blocks 1 to 7; the first block of a file system of such blocks belongs to none of its groups
    free_blocks, free_inodes = _BLOCKS - 1 - used, _INODES - 10
    # inodes, blocks, reserved, free blocks, free inodes, first block, block and fragment size, per group, mounted and
    # written when, mounts so far and at most, magic, clean, go on after errors
    head = (_INODES, _BLOCKS, 0, free_blocks, free_inodes, 1, 0, 0, 8192, 8192, _INODES, 0, 0, 0, 0xFFFF, 0xEF53, 1, 1)
    put(1, struct.pack("<13I6H", *head[:13], *head[13:], 0))
    put(2, struct.pack("<3I3H", _BITMAP, _USED, _TABLE, free_blocks, free_inodes, 1))
    put(_BITMAP, _bitmap(used, _BLOCKS - 1))
    put(_USED, _bitmap(10, _INODES))
    # mode, owner, size, four times, group, links, sectors, flags, unused, first block
    inode = struct.pack("<2H5I2H4I", 0o040755, 0, _BLOCK, 0, 0, 0, 0, 0, 2, _BLOCK // 512, 0, 0, _ROOT)
    put(_TABLE, inode, 128)
    put(_ROOT, struct.pack("<I2H4s", 2, 12, 1, b".") + struct.pack("<I2H4s", 2, _BLOCK - 12, 2, b".."))
    return bytes(image)


def _bitmap(used: int, there: int) -> bytes:
    """A block of bits: the first `used` are taken, and all behind the `there` that exist."""
    bits = (1 << used) - 1 | ((1 << _BLOCK * 8) - 1) ^ ((1 << there) - 1)
    return bits.to_bytes(_BLOCK, "little")
