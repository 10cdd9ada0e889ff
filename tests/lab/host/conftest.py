"""One image and one boot for all that is asked of the guest host."""

from __future__ import annotations

from pathlib import Path

import pytest
from stockade.lab.host import By, File, HostRun, Image, Task, build, run
from stockade.lab.host.image import root_tree
from stockade.lab.host.packages import packages
from stockade.lab.host.programs import programs
from stockade.lab.tree import Tree

TOOL = "/usr/bin/containerd-lab"
CONTAINER = "system_u:system_r:container_t:s0:c1,c2"


@pytest.fixture(scope="session")
def image(bundle: Path) -> Image:
    """The standard image under the shipped policy."""
    return build(bundle)


@pytest.fixture(scope="session")
def root(bundle: Path) -> Tree:
    """What the standard image is made of, by path."""
    return root_tree(bundle, packages(), programs())


def tool(name: str, *words: str, stdin: bytes = b"", by: By = By.RUNTIME, context: str = "") -> Task:
    """A task that uses the root's own tool."""
    return Task((TOOL, *words), by, context, stdin, name=name)


TASKS = (
    tool("kernel label", "read", "/proc/self/attr/current", by=By.KERNEL),
    Task(("/usr/lib/systemd/systemd", "read", "/proc/self/attr/current"), By.INIT, name="init label"),
    Task(("/usr/libexec/stockade-lab", "read", "/proc/self/attr/current"), By.SYSTEM, name="system label"),
    tool("runtime label", "read", "/proc/self/attr/current"),
    tool("container label", "read", "/proc/self/attr/current", context=CONTAINER),
    tool("laid", "read", "/var/lib/laid"),
    tool("mounts", "read", "/proc/self/mounts"),
    tool("create on root", "create", "/usr/new"),
    tool("remount root", "remount", "/"),
    tool("container creates on root", "create", "/usr/new", context=CONTAINER),
    tool("container remounts root", "remount", "/", context=CONTAINER),
    tool("container weakens", "write", "/sys/fs/selinux/enforce", stdin=b"0", context=CONTAINER),
    tool("container loads", "write", "/sys/fs/selinux/load", stdin=b"\x8c\xff\x7c\xf9", context=CONTAINER),
    tool("runtime weakens", "write", "/sys/fs/selinux/enforce", stdin=b"0"),
    Task(("/usr/bin/nosuch",), name="absent"),
    Task((TOOL, "sleep", "20"), timeout=0.3, name="slow"),
    tool("binary", "read", "/usr/bin/ctr"),
    tool("last", "read", "/proc/self/attr/current"),
    # Told to stop as soon as it is started, for nothing comes behind it.
    Task((TOOL, "sleep", "60"), background=True, name="background"),
)


@pytest.fixture(scope="session")
def told(image: Image) -> HostRun:
    """The tasks above, in one boot."""
    return run(image, TASKS, files=[File("/var/lib/laid", b"\x00\xffbytes", 0o600)])
