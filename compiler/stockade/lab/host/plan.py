"""What a guest host is asked to do: files to lay, tasks to run; and the bytes in which its PID 1 reads that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

_KINDS = {"file": b"f", "folder": b"d", "link": b"l", "socket": b"s"}
PATH = "/usr/bin:/usr/sbin"


class By(Enum):
    """Who starts a task, and so which label it has before its program's own label decides."""

    KERNEL = "kernel"
    """PID 1 with the policy loaded and not yet enforced, as kernel_t: may sabotage whatever it likes."""
    INIT = "init"
    """A child of PID 1, init_t; the program it executes gets whatever label that gives."""
    SYSTEM = "system"
    """A program of the host without a domain of its own, system_t."""
    RUNTIME = "runtime"
    """Where the container runtime stands, runtime_t; the one who may enter a container's domain."""


@dataclass(frozen=True, slots=True)
class File:
    """A node laid before any task runs, below /etc, /run, /tmp or /var.

    `kind` is file, folder, link or socket (nobody listens on it), `data` a file's bytes or a link's target. Without a
    `label` (an SELinux context) it gets the one that the policy gives whatever is made in its folder. Missing folders
    above it are made.
    """

    path: str
    data: bytes = b""
    mode: int = 0o644
    label: str = ""
    kind: str = "file"


@dataclass(frozen=True, slots=True)
class Task:
    """One program, run as root in a process group of its own for at most `timeout` seconds.

    `context` is the SELinux context that its program is entered in, as runtimes ask for one; without it the policy
    decides. In the `background` it runs beside the tasks after it, until it ends or all of those have.
    """

    argv: tuple[str, ...]
    by: By = By.RUNTIME
    context: str = ""
    stdin: bytes = b""
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str = "/"
    timeout: float = 30
    background: bool = False
    name: str = ""


def encode(tasks: Sequence[Task], files: Sequence[File], *, enforcing: bool, containerd: bool) -> bytes:
    """The plan as netstrings, as guest/plan.h reads them; ValueError for what cannot be said."""
    out = bytearray()

    def say(*fields: str | bytes | int) -> None:
        for one in fields:
            data = one if isinstance(one, bytes) else str(one).encode("utf-8", "surrogateescape")
            out.extend(b"%d:%b," % (len(data), data))

    say("stockade-plan 1", int(enforcing), int(containerd), len(files))
    for file in files:
        if file.kind not in _KINDS or not file.path.startswith("/") or ".." in file.path.split("/"):
            raise ValueError(f"{file.path!r}: a {file.kind} that cannot be laid; paths are absolute")
        _text(file.path, file.label)
        say(_KINDS[file.kind], file.path, f"{file.mode:o}", file.label, file.data)
    say(len(tasks))
    for task in tasks:
        if not task.argv or not task.timeout > 0:
            raise ValueError(f"{task}: a task has a program and a time limit")
        environment = [f"{name}={value}" for name, value in sorted({"PATH": PATH, **task.env}.items())]
        _text(*task.argv, task.context, task.cwd, *environment)
        say(task.by.value, task.context, round(task.timeout * 1000), int(task.background), task.cwd, task.stdin)
        say(len(task.argv), *task.argv, len(environment), *environment)
    return bytes(out)


def _text(*words: str) -> None:
    for word in words:
        if "\0" in word:
            raise ValueError(f"{word!r}: a zero byte ends what the kernel takes as text")
