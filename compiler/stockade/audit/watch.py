"""Waits until a host is another: until its mounts or its SELinux change, or a waiver ends. Costs a wake-up a second."""

from __future__ import annotations

import math
import mmap
import os
import select
import time
from typing import Final

from stockade.audit.facts.fact import Fact
from stockade.audit.facts.host import Host
from stockade.audit.facts.selinux import FOLDER

MOUNTS: Final = "/proc/1/mountinfo"
STATUS: Final = f"{FOLDER}/status"
_SAID: Final = 20
"""Bytes of the status page that say something: version, sequence, enforcing, policyload, deny_unknown."""


class Watch:
    """What a host's mounts and SELinux were when this was made. Make it before the host is read: then nothing that
    changes while it is read is missed. Close it, or use it in a with statement.

    The kernel tells of mounts by poll(2). Of its status page it tells nothing: the page is mapped, and looked at.
    """

    def __init__(self, host: Host) -> None:
        found = host.open(MOUNTS)
        self.fault = found if isinstance(found, Fact) else None
        """Why mounts cannot be watched; None where they can."""
        self._mounts = -1 if isinstance(found, Fact) else found
        self._page = _mapped(host)
        self._said = self._status()
        self._mounted = self._moved()

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Gives the descriptors back."""
        if self._mounts >= 0:
            os.close(self._mounts)
        if self._page is not None:
            self._page.close()
        self._mounts, self._page = -1, None

    @property
    def sees_selinux(self) -> bool:
        """Is there a status page to look at?"""
        return self._page is not None

    def changed(self) -> tuple[str, ...]:
        """What is another since this was made: `mounts`, `SELinux`, both or nothing."""
        self._mounted = self._mounted or self._moved()
        what = (("mounts", self._mounted), ("SELinux", self._status() != self._said))
        return tuple(name for name, is_so in what if is_so)

    def wait(self, stop: int, interval: float, until: float = math.inf) -> tuple[str, ...]:
        """Sleeps until something has changed, and says what; nothing once `stop`, a descriptor, can be read.

        `interval` is the seconds after which a change of SELinux is seen at the latest; one of mounts is seen at once.
        At `until`, in seconds since 1970, the end of a waiver is such a change: `waivers`.
        """
        poll = select.poll()
        poll.register(stop, select.POLLIN)
        if self._mounts >= 0:
            poll.register(self._mounts, select.POLLPRI)
        while not (found := self.changed()):
            if time.time() >= until:
                return ("waivers",)
            for descriptor, _ in poll.poll(interval * 1000):
                if descriptor == stop:
                    return ()
                self._mounted = True
        return found

    def _moved(self) -> bool:
        """Has the kernel something to tell of mounts? It tells once."""
        if self._mounts < 0:
            return False
        poll = select.poll()
        poll.register(self._mounts, select.POLLPRI)
        return bool(poll.poll(0))

    def _status(self) -> bytes:
        return self._page[:_SAID] if self._page is not None else b""


def _mapped(host: Host) -> mmap.mmap | None:
    descriptor = host.open(STATUS)
    if isinstance(descriptor, Fact):
        return None
    try:
        return mmap.mmap(descriptor, mmap.PAGESIZE, prot=mmap.PROT_READ, flags=mmap.MAP_SHARED)
    except (OSError, ValueError):
        return None
    finally:
        os.close(descriptor)


def rest(stop: int, seconds: float) -> bool:
    """Sleeps so long; False as soon as `stop` can be read."""
    poll = select.poll()
    poll.register(stop, select.POLLIN)
    return not poll.poll(max(seconds, 0) * 1000)
