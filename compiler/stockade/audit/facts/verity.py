"""The live table of a device-mapper device by ioctl: what is really read, whatever its name."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from typing import Any, Final

from stockade.audit.facts.fact import Fact
from stockade.audit.facts.host import Host, fault_of

CONTROL: Final = "/dev/mapper/control"
_HEAD: Final = struct.Struct("<3IIIIiIIIQ128s129s7x")
_TARGET: Final = struct.Struct("<QQiI16s")
_TABLE_STATUS: Final = 0xC138FD0C
_SIZE: Final = 64 << 10
_NUMBER: Final = (10, 236)  # MISC_MAJOR, MAPPER_CTRL_MINOR
_TABLE_FLAG, _READONLY, _ACTIVE, _INACTIVE, _FULL = 0x10, 0x1, 0x20, 0x40, 0x100


def table(host: Host, major: int, minor: int) -> Fact:
    """The table of the device with that number: name, uuid, readonly, active, staged, targets.

    Each target has start and length in sectors of 512 bytes, type, parameters and status. `staged` says that another
    table waits to take this one's place.
    """
    control = host.open(CONTROL, os.O_RDWR)
    if isinstance(control, Fact):
        return control
    try:
        if os.fstat(control).st_rdev != os.makedev(*_NUMBER):
            return Fact.malformed(CONTROL, "not the control device of device-mapper")
        head, lines = _ask(control, major, minor, _TABLE_FLAG)
        _, statuses = _ask(control, major, minor, 0)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return Fact.absent(CONTROL, f"device {major}:{minor} is no device of device-mapper")
        return fault_of(error, CONTROL)
    except ValueError as error:
        return Fact.malformed(CONTROL, str(error))
    finally:
        os.close(control)
    flags = head[6]
    return Fact.of(
        {
            "name": head[-2].split(b"\0")[0].decode("utf-8", "backslashreplace"),
            "uuid": head[-1].split(b"\0")[0].decode("utf-8", "backslashreplace"),
            "readonly": bool(flags & _READONLY),
            "active": bool(flags & _ACTIVE),
            "staged": bool(flags & _INACTIVE),
            "targets": [{**one, "status": status["parameters"]} for one, status in zip(lines, statuses, strict=False)],
        },
        CONTROL,
    )


def _ask(control: int, major: int, minor: int, flags: int) -> tuple[tuple[Any, ...], list[dict[str, Any]]]:
    # struct dm_ioctl: version[3], data_size, data_start, target_count, open_count, flags, event_nr, padding, dev,
    # name, uuid, data[7].
    device = (minor & 0xFF) | (major << 8) | ((minor & ~0xFF) << 12)
    buffer = bytearray(_SIZE)
    _HEAD.pack_into(buffer, 0, 4, 0, 0, _SIZE, _HEAD.size, 0, 0, flags, 0, 0, device, b"", b"")
    fcntl.ioctl(control, _TABLE_STATUS, buffer)
    head = _HEAD.unpack_from(buffer)
    # Index 3 data_size, 4 data_start, 5 target_count, 6 open_count, 7 flags.
    if head[7] & _FULL:
        raise ValueError(f"a table of more than {_SIZE} bytes")
    start = at = head[4]
    found = []
    for _ in range(head[5]):
        begin, length, _status, following, kind = _TARGET.unpack_from(buffer, at)
        said = bytes(buffer[at + _TARGET.size :]).split(b"\0", 1)[0]
        found.append(
            {
                "start": begin,
                "length": length,
                "type": kind.split(b"\0")[0].decode("ascii", "backslashreplace"),
                "parameters": said.decode("ascii", "backslashreplace"),
            }
        )
        at = start + following
    return (*head[:6], head[7], head[-2], head[-1]), found
